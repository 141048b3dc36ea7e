"""What a version of an alias is by its texts: its chat template and the parameters that its server adds to a request.

No row holds them: they are read where the version is kept, on its server or in its file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.aliases.digests import is_same
from core.aliases.observing import SERVER_SECONDS, KnownServers, brief_ollama, server_of
from core.errors import BakehouseError
from core.home import Home
from core.jobfile.bakeoff import ServerUnderTest
from core.models.gguf import check_gguf
from core.reasons import Reason
from core.served.record import ServedModelRecord, of_document
from core.serving.errors import reason_of
from core.serving.ollama import Ollama
from core.serving.replies import name_key
from core.serving.side_by_side import ask_side_by_side
from core.store.fleet import Alias, AliasVersion


@dataclass(frozen=True)
class VersionTexts:
    """`template` is None where there is none, and where `fault` says why nothing can be told. `parameters` are those of the
    Modelfile, or the options of llama-server's command, by name."""

    template: str | None = None
    system: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    fault: Reason | None = None


NOT_KEPT = VersionTexts(fault=Reason("version_not_kept"))
"""The server has the version no more under any name that is known."""


def version_texts(
    home: Home, alias: Alias, versions: Collection[AliasVersion], servers: KnownServers
) -> dict[int, VersionTexts]:
    """The texts of versions of one alias, by their ids; its server is asked, and waited for a few seconds at most."""
    if alias.is_served_here:
        return {one.id: _of_file(home, alias, one) for one in versions}
    asked = {alias.id: alias}
    answers = ask_side_by_side(
        asked,
        lambda one: _of_ollama(server_of(one, servers), one, versions),
        seconds=2 * SERVER_SECONDS,
        server_of=lambda key: key,
        is_away=lambda _: False,
    )
    slow = VersionTexts(fault=Reason("server_slow", {"seconds": 2 * SERVER_SECONDS}))
    return answers.get(alias.id) or {one.id: slow for one in versions}


def _of_ollama(server: ServerUnderTest, alias: Alias, versions: Collection[AliasVersion]) -> dict[int, VersionTexts]:
    try:
        with brief_ollama(server) as ollama:
            digests = {name_key(tag.name): tag.digest for tag in ollama.tags()}
            return {one.id: _shown(ollama, _name_of(alias, one, digests)) for one in versions}
    except BakehouseError as error:
        return {one.id: VersionTexts(fault=reason_of(error)) for one in versions}


def _name_of(alias: Alias, version: AliasVersion, digests: Mapping[str, str | None]) -> str | None:
    """A name under which the server has this very version."""
    names = [name for name in (version.kept_as, alias.name, version.source) if name]
    return next((name for name in names if is_same(version.digest, digests.get(name_key(name)))), None)


def _shown(ollama: Ollama, name: str | None) -> VersionTexts:
    if name is None:
        return NOT_KEPT
    try:
        info = ollama.show(name)
    except BakehouseError as error:
        return VersionTexts(fault=reason_of(error))
    parameters = {key: ", ".join(values) for key, values in info.parameters.items()}
    return VersionTexts(info.template, info.system, parameters)


def _of_file(home: Home, alias: Alias, version: AliasVersion) -> VersionTexts:
    try:
        record = of_document(home, alias.name, {**(version.record or {}), "name": alias.name})
    except ValueError:
        return NOT_KEPT
    parameters = _options(record)
    try:
        return VersionTexts(check_gguf(record.file, record.file.name).chat_template, parameters=parameters)
    except (BakehouseError, OSError):
        return VersionTexts(parameters=parameters, fault=Reason("served_file_gone", {"file": record.file.name}))


def _options(record: ServedModelRecord) -> dict[str, str]:
    """The options of the command that starts it, without those that name the file and the place."""
    found: dict[str, str] = {"program": Path(record.command[0]).name}
    words = list(record.command[1:])
    while words:
        name = words.pop(0)
        value = words.pop(0) if words and not words[0].startswith("--") else ""
        if name not in ("--model", "--alias", "--host", "--port"):
            found[name.removeprefix("--")] = value
    return found
