"""Models that a running server answers for, as a person names them: `served:NAME`, `SERVER:MODEL`.

`served:NAME` is a served model of the home, else a tag of Ollama. Where both have the name, `ollama:NAME` and
`llama-server:NAME` tell them apart.
"""

from __future__ import annotations

from core.config.project import Project
from core.config.servers import BUILT_IN
from core.errors import BakehouseError, InputError, NotFoundError
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.servers import SERVED, home_server, known_servers, login_of
from core.served.record import ServedModelRecord, read_record, require_name
from core.serving.replies import name_key
from core.serving.servers import model_names
from core.store.fleet import Alias

LLAMA_SERVER = "llama-server"
"""What stands before a served model's name where `served:` could mean two."""
LOOK_SECONDS = 2.0


def server_candidate(home: Home, project: Project, reference: str) -> CandidateSpec | None:
    """The model of a running server that a reference names; None where it names no server.

    Nobody has asked the server yet whether it has the model. Raises `InputError` for a name that means two, or none.
    """
    kind, colon, name = reference.partition(":")
    servers = known_servers(project.settings)
    if not colon or kind not in (SERVED, LLAMA_SERVER, *servers):
        return None
    if not name.strip():
        raise InputError("no model is named behind the colon", code="bad_candidate", key=reference)
    if kind == SERVED:
        record = _record(home, name)
        if record is None:
            return of_server(project, BUILT_IN, name)
        if _ollama_has(project, record.name):
            raise _ambiguous(record.name, LLAMA_SERVER not in servers)
        return of_home(home, record)
    if kind == LLAMA_SERVER and kind not in servers:
        return of_home(home, read_record(home, name.strip()))
    return of_server(project, kind, name)


def of_server(project: Project, name: str, model: str) -> CandidateSpec:
    """A model of a server of the settings. An Ollama's without a tag is its `latest`."""
    server = known_servers(project.settings)[name]
    # As Ollama itself shows it: the same model under one name.
    tag = model.removesuffix(":latest") if server.api == "ollama" else model
    shown = tag if name == BUILT_IN else f"{name}:{tag}"
    return CandidateSpec(name=shown, form="served", server=server, served_model=tag)


def of_home(home: Home, record: ServedModelRecord) -> CandidateSpec:
    """A served model of the home."""
    return CandidateSpec(name=record.name, form="served", server=home_server(home, record), served_model=record.name)


def require_server_of(project: Project, alias: Alias) -> None:
    """Refuse an alias whose server the settings do not have any more, or have at another address. Raises `InputError`."""
    server = known_servers(project.settings).get(alias.server)
    if server is None or server.url != alias.url:
        now = "is in no settings" if server is None else f"is {server.url} now"
        raise InputError(
            f"{alias.name} is an alias of the server `{alias.server}` at {alias.url}, which {now}",
            code="other_server",
            key=f"servers.{alias.server}",
            remedy="set the server's address to what it was, or adopt the alias where it is now",
        )


def _record(home: Home, name: str) -> ServedModelRecord | None:
    """None where the home has no served model of that name. Raises `BakehouseError` for one that cannot be read."""
    try:
        return read_record(home, require_name(name.strip()))
    except (InputError, NotFoundError):
        return None


def _ollama_has(project: Project, name: str) -> bool:
    """Whether Ollama has a tag of that name, as far as it answers now."""
    try:
        server = known_servers(project.settings)[BUILT_IN]
        tags = model_names(server, login=login_of(server), timeout_seconds=LOOK_SECONDS)
    except BakehouseError:
        return False
    return any(name_key(tag) == name_key(name) for tag in tags)


def _ambiguous(name: str, can_be_named: bool) -> InputError:
    other = f", `{LLAMA_SERVER}:{name}` for the served model" if can_be_named else ""
    return InputError(
        f"`served:{name}` means two: a served model of this home, and a model of Ollama",
        code="ambiguous",
        key="candidates",
        remedy=f"write `{BUILT_IN}:{name}` for Ollama's{other}",
    )
