"""Servers that answer for candidates of a bake-off, as `servers:` of a settings file names them."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from core.config.base import NonEmpty, Written
from core.errors import InputError, KeyedError
from core.redaction import remember_secret
from core.serving.address import server_address

BUILT_IN = "ollama"
# What stands before the colon of another kind of reference.
_TAKEN = {
    BUILT_IN: "`ollama.url` says where it is",
    **dict.fromkeys(("job", "artefact", "served"), "such references mean something else"),
}
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class ServerSettings(Written):
    """`api`: how it is asked. `url`: everything before `/chat/completions` or `/api`. `key_env`: the environment variable that
    holds its key; the key itself stands in no file.

    `local`: its models share this machine's GPU (None: as the address says). `silence_seconds`: how long nothing may come of
    an answer; `answer_seconds`: how long one may take. `omit`: options that the server refuses and that are not sent.
    """

    api: Literal["ollama", "openai"]
    url: NonEmpty
    key_env: VariableName | None = None
    local: bool | None = None
    silence_seconds: float = Field(default=300.0, ge=1, le=86400)
    answer_seconds: float = Field(default=3600.0, ge=1, le=86400)
    omit: list[NonEmpty] = Field(default_factory=list)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            address = server_address(value)
        except InputError as error:
            raise KeyedError(error.message, remedy=error.remedy) from None
        if address.authorization is not None:
            remedy = "name the environment variable that holds `Basic …` or a key: `key_env: NAME`"
            raise KeyedError("a password would stand in the job files", remedy=remedy)
        return value

    @model_validator(mode="after")
    def _asks_for_an_answer(self) -> ServerSettings:
        if self.api == "ollama" and self.omit:
            raise KeyedError("Ollama refuses no option", key="omit")
        needed = {"model", "messages", "stream"} & set(self.omit)
        if needed:
            raise KeyedError(f"`{sorted(needed)[0]}` has to be sent", key="omit")
        return self

    def remember_key(self) -> None:
        """From now on no text of this process shows its key."""
        if self.key_env is not None:
            remember_secret(os.environ.get(self.key_env, "").strip())


def checked_servers(servers: dict[str, ServerSettings]) -> dict[str, ServerSettings]:
    """The same. KeyedError for a name that means something else."""
    for name in servers:
        if name.lower() in _TAKEN:
            raise KeyedError(f"no server can be called `{name}`", key=name, remedy=_TAKEN[name.lower()])
    return servers
