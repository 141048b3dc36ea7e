"""The one place where it is decided how a server is asked, and which models a server has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, Protocol

from core.errors import InputError
from core.redaction import remember_secret
from core.serving.address import ServerAddress, server_address
from core.serving.ollama import Ollama
from core.serving.ollama_model import OllamaModel
from core.serving.openai import OpenAIClient
from core.serving.openai_model import OpenAIModel

OPENAI_PORT = 8080  # llama-server's, for an address without a scheme and a port


class NamedServer(Protocol):
    """What is known of a server that has a name: a `ServerUnderTest` of a job file is one."""

    @property
    def name(self) -> str: ...

    @property
    def api(self) -> Literal["ollama", "openai"]: ...

    @property
    def url(self) -> str: ...

    @property
    def key_variable(self) -> str | None: ...

    @property
    def silence_seconds(self) -> float: ...

    @property
    def answer_seconds(self) -> float: ...

    @property
    def omit(self) -> tuple[str, ...]: ...


def open_served(
    server: NamedServer,
    model: str,
    *,
    weights: str | None = None,
    login: ServerAddress | None = None,
    environ: Mapping[str, str] | None = None,
) -> OllamaModel | OpenAIModel:
    """A model of this server, not asked anything yet. `weights`: see `OpenAIModel`. `login`: its address with a password.

    InputError for an address that is none, or where the variable that holds the key is not set (`environ`: the process's).
    """
    key = key_of(server, environ)
    if server.api == "ollama":
        return OllamaModel(
            server.name,
            login or address_of(server),
            model,
            key=key,
            silence_seconds=server.silence_seconds,
            answer_seconds=server.answer_seconds,
        )
    return OpenAIModel(
        server.name,
        address_of(server),
        model,
        key=key,
        weights=weights,
        omit=server.omit,
        silence_seconds=server.silence_seconds,
        answer_seconds=server.answer_seconds,
    )


def model_names(
    server: NamedServer,
    *,
    login: ServerAddress | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_seconds: float = 10.0,
) -> tuple[str, ...]:
    """The models that this server has, in its order. InputError as in `open_served`; ServerError when it does not tell."""
    key = key_of(server, environ)
    if server.api == "ollama":
        with Ollama(login or address_of(server), key=key, timeout_seconds=timeout_seconds) as ollama:
            return tuple(tag.name for tag in ollama.tags())
    client = OpenAIClient(address_of(server), key=key, timeout_seconds=timeout_seconds)
    try:
        return tuple(one.name for one in client.models())
    finally:
        client.close()


def address_of(server: NamedServer) -> ServerAddress:
    """Where it is. InputError for an address that is none."""
    if server.api == "ollama":
        return server_address(server.url)
    return server_address(server.url, key=f"servers.{server.name}.url", default_port=OPENAI_PORT)


def key_of(server: NamedServer, environ: Mapping[str, str] | None = None) -> str | None:
    """The key that the server takes, from the variable that it is said to be in; from now on no text of ours shows it.

    A value that begins with `Basic ` or `Bearer ` is sent as it is. InputError where that variable is not set or holds what no
    header can carry.
    """
    variable = server.key_variable
    if variable is None:
        return None
    key = (os.environ if environ is None else environ).get(variable, "").strip()
    if not key:
        raise InputError(
            f"the key of server {server.name} is expected in the environment variable {variable}, which is not set",
            code="key_missing",
            key=variable,
            remedy=f"export {variable} where the command and the runner are started",
        )
    remember_secret(key, key.rpartition(" ")[2])
    if not key.isascii() or not key.isprintable():
        raise InputError(
            f"the key of server {server.name} in {variable} has signs that no key has",
            code="key_unusable",
            key=variable,
        )
    return key
