"""From the servers of the settings to those of a job file, and from there to a model that answers."""

from __future__ import annotations

from core.config.servers import BUILT_IN
from core.config.settings import Settings, load_settings
from core.errors import NotFoundError
from core.jobfile.bakeoff import ServerUnderTest
from core.serving.address import ServerAddress, is_here, server_address
from core.serving.ollama import Ollama
from core.serving.ollama_model import OllamaModel
from core.serving.openai_model import OpenAIModel
from core.serving.servers import OPENAI_PORT, address_of, key_of, open_served


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


def opened(server: ServerUnderTest, model: str, *, weights: str | None = None) -> OllamaModel | OpenAIModel:
    """A model of a job file's server (see `open_served`). A password of `ollama.url` is taken from there: no job holds it."""
    return open_served(server, model, weights=weights, login=login_of(server))


def ollama_of(server: ServerUnderTest) -> Ollama:
    """A client of a job file's Ollama, with its key or password. InputError as in `open_served`."""
    return Ollama(login_of(server) or address_of(server), key=key_of(server))


def login_of(server: ServerUnderTest) -> ServerAddress | None:
    """The built-in server's address with its password, where it has one and the job means that server."""
    if server.name != BUILT_IN or server.key_variable is not None:
        return None
    address = server_address(load_settings().ollama.url)
    return address if address.url == server.url else None
