"""From the servers of the settings to those of a job file, and from there to a model that answers."""

from __future__ import annotations

from pathlib import Path

from core.config.servers import BUILT_IN
from core.config.settings import Settings, load_settings
from core.errors import BakehouseError, NotFoundError
from core.gpu.devices import find_gpu
from core.home import Home, ServedDir
from core.jobfile.bakeoff import ServerUnderTest
from core.served.record import HOST, ServedModelRecord, read_record
from core.served.state import memory_bytes, read_state
from core.serving.address import ServerAddress, is_here, server_address
from core.serving.errors import ServerError
from core.serving.ollama import Ollama
from core.serving.ollama_model import OllamaModel
from core.serving.openai_model import OpenAIModel
from core.serving.servers import OPENAI_PORT, address_of, key_of, open_served

SERVED = "served"
"""The name of the home's served models as a server: each answers at an address of its own."""


def known_servers(settings: Settings) -> dict[str, ServerUnderTest]:
    """Every server that can be named, `ollama` first; none of their addresses holds a password.

    InputError where that of the built-in one (`ollama.url`, `OLLAMA_HOST`) is none.
    """
    url = server_address(settings.ollama.url).url
    found = {BUILT_IN: ServerUnderTest(name=BUILT_IN, api="ollama", url=url, is_local=is_here(url))}
    for name, written in settings.servers.items():
        port = {} if written.api == "ollama" else {"default_port": OPENAI_PORT}
        url = server_address(written.url, key=f"servers.{name}.url", **port).url
        found[name] = ServerUnderTest(
            name=name,
            api=written.api,
            url=url,
            key_variable=written.key_env,
            is_local=is_here(url) if written.local is None else written.local,
            silence_seconds=written.silence_seconds,
            answer_seconds=written.answer_seconds,
            omit=tuple(written.omit),
        )
    return found


def named_server(settings: Settings, name: str) -> ServerUnderTest:
    """One of them. NotFoundError that lists those that there are."""
    servers = known_servers(settings)
    if name not in servers:
        raise NotFoundError(
            f"no server {name!r}: there are {', '.join(servers)}",
            code="server_not_found",
            remedy="name it under `servers:` of bakehouse.yaml",
        )
    return servers[name]


def home_server(home: Home, record: ServedModelRecord) -> ServerUnderTest:
    """A served model of the home as a server. It is local where it computes on what the jobs compute on."""
    folder = home.served_dir(record.name).path
    local = record.on_gpu or find_gpu() is None
    return ServerUnderTest(name=SERVED, api="openai", url=record.url, is_local=local, served_dir=str(folder))


def served_model_of(home: Home, name: str) -> ServerUnderTest:
    """A served model of the home that a job deploys, the same before it is there and afterwards: where it is stands in its
    folder by the time that it is asked."""
    return ServerUnderTest(name=SERVED, api="openai", url=f"http://{HOST}", served_dir=str(home.served_dir(name).path))


def opened(server: ServerUnderTest, model: str, *, weights: str | None = None) -> OllamaModel | OpenAIModel:
    """A model of a job file's server (see `open_served`). A password of `ollama.url` is taken from there: no job holds it.

    A served model of the home is opened as it is deployed now; ServerError where there is none of that name any more.
    """
    if server.served_dir is not None:
        return _opened_of_home(server, ServedDir(Path(server.served_dir)))
    return open_served(server, model, weights=weights, login=login_of(server))


def _opened_of_home(server: ServerUnderTest, folder: ServedDir) -> OpenAIModel:
    name = folder.path.name
    try:
        record = read_record(folder.home, name)
    except NotFoundError as error:
        raise ServerError(error.message, code="model_not_found", remedy=error.remedy) from error
    except BakehouseError as error:
        raise ServerError(error.message, code="server_refused", remedy=error.remedy) from error
    return OpenAIModel(
        SERVED,
        server_address(record.url, default_port=OPENAI_PORT),
        name,
        weights=record.weights if ":" in record.weights else f"sha256:{record.weights}",
        silence_seconds=server.silence_seconds,
        answer_seconds=server.answer_seconds,
        host_bytes=lambda: memory_bytes(read_state(folder.home, name)),
    )


def not_serving(server: ServerUnderTest) -> ServerError | None:
    """Why a served model of the home does not answer now, as its folder tells; None of one that does, and of other servers."""
    if server.served_dir is None:
        return None
    folder = ServedDir(Path(server.served_dir))
    name = folder.path.name
    if not folder.record.exists():
        return ServerError(f"{name} is not deployed", code="server_down")
    state = read_state(folder.home, name)
    match state.phase:
        case "serving":
            return None
        case "loading":
            said, remedy = f"{name} is being loaded", None
        case "away":
            said, remedy = f"{name} is away for a job that has {_slot()} to itself, and is back after that", None
        case "failed":
            said, remedy = f"{name} does not come up", f"`bakehouse served logs {name}` shows why"
        case "stopped":
            said, remedy = f"{name} is stopped", f"`bakehouse served start {name}` has it serve"
    return ServerError(said, code="server_down", remedy=remedy)


def _slot() -> str:
    return "the GPU" if find_gpu() is not None else "the CPU"


def ollama_of(server: ServerUnderTest) -> Ollama:
    """A client of a job file's Ollama, with its key or password. InputError as in `open_served`."""
    return Ollama(login_of(server) or address_of(server), key=key_of(server))


def login_of(server: ServerUnderTest) -> ServerAddress | None:
    """The built-in server's address with its password, where it has one and the job means that server."""
    if server.name != BUILT_IN or server.key_variable is not None:
        return None
    address = server_address(load_settings().ollama.url)
    return address if address.url == server.url else None
