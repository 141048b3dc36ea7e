"""Whoever answers, behind one protocol: a model of an Ollama, of a server with OpenAI's API, or of a llama-server of ours.

A question is sent with every option that the server knows, so that no default of a version decides. What comes back is told as
it was measured at the client; a wait for a free slot is in no server's own figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from core.files import sha256_json


@dataclass(frozen=True)
class ServedIdentity:
    """What answers: everything that makes its answers those of another model when it changes. None: the server does not say.

    `weights` is a digest (`sha256:…`), `template` the SHA-256 of the chat template, `parameters` what the server adds to a
    request by itself (stop words, a system prompt), `api` how it is asked, `version` that of the server. `server` is its name
    where the weights are known, which are the same anywhere; else its address.
    """

    api: Literal["ollama", "openai", "llama-server", "in-process"]
    model: str
    server: str = ""
    version: str | None = None
    weights: str | None = None
    template: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """By this an answer is known to be of the same model, asked in the same way."""
        return sha256_json(asdict(self))

    def changed_from(self, former: ServedIdentity) -> tuple[str, ...]:
        """The names of what differs, in the order of the fields."""
        return tuple(name for name, value in asdict(self).items() if value != asdict(former)[name])


@dataclass(frozen=True)
class Capabilities:
    """What a server can be asked for; None where that is not known. `formats` are kinds of `OutputFormat`.

    `unsent` are the fields of a Question that this server has no name for (`top_k`, `repeat_penalty`): it decides on them.
    """

    thinking: bool | None = None
    formats: frozenset[str] = frozenset()
    seed: bool = True
    unsent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ServedFile:
    """What a server tells of the file that it has. `keys` are those of its header (`tokenizer.ggml.…`), None where they are not
    told; `template` is the chat template that is known of it, None of a file without one, empty where none is told.

    `stops` are the words at which the server ends an answer by itself; `ends_by_name`: what runs the file knows the usual ends
    of a turn by their names, as llama.cpp does.
    """

    keys: Mapping[str, Any] | None
    template: str | None
    stops: tuple[str, ...] = ()
    ends_by_name: bool = True


@dataclass(frozen=True)
class Question:
    """One answer that is wanted. `messages` are (role, text), the system's first where there is one.

    `output` is (kind, text) of what the answer is held to. `max_new_tokens` holds what is thought and what is answered.
    """

    messages: tuple[tuple[str, str], ...]
    seed: int
    temperature: float
    top_p: float | None
    top_k: int | None
    repeat_penalty: float
    max_new_tokens: int
    context_length: int
    think: bool
    output: tuple[Literal["json", "schema", "grammar"], str] | None = None


@dataclass(frozen=True)
class Reply:
    """What came back. Times in seconds; None where the server does not tell.

    `finish` is `stop`, `length`, or another word of the server. `thinking` is what the server moved into a field of its own.
    `seconds` runs from the request to its last byte, `first_token_seconds` to the first text or thought, both at the client.
    `cached_tokens` of the prompt were not computed again. `other_model`: who answered, where the server names somebody else
    than it was asked for.
    """

    text: str
    thinking: str | None
    finish: str
    seconds: float
    first_token_seconds: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    thinking_tokens: int | None = None
    load_seconds: float | None = None
    prompt_seconds: float | None = None
    completion_seconds: float | None = None
    other_model: str | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A model that was loaded for us. `vram_bytes` as the server tells it; `was_resident`: it was in memory before.

    `host_bytes` is the resident size of a server of ours, just after the load. `context_length` is the window
    that it got, where the server tells one.
    """

    seconds: float
    was_resident: bool = False
    vram_bytes: int | None = None
    host_bytes: int | None = None
    context_length: int | None = None


class ServedModel(Protocol):
    """One model of one server. `ask` may be called by several threads at a time, the rest by one.

    Every method raises `core.serving.errors.ServerError`, and nothing else, when the server does not do what it was asked.
    Its `is_transient` says whether the same request may succeed later (busy, slow, gone for a moment), its `code` what
    happened.
    """

    @property
    def name(self) -> str:
        """`SERVER:MODEL`, for people."""

    def identity(self) -> ServedIdentity: ...

    def capabilities(self) -> Capabilities: ...

    def load(self, context_length: int) -> LoadedModel:
        """Have it in memory with that window, and return when it is."""

    def stamp(self) -> str:
        """What is other than before when `identity` is, for less than that costs: to be asked for every other second.

        It may be other where the identity is not: the model was replaced by the same, or changed and changed back.
        """

    def ask(
        self, question: Question, stopped: Callable[[], bool] = lambda: False, came: Callable[[], None] = lambda: None
    ) -> Reply:
        """One answer. `stopped` is looked at while the answer comes; once true, the request is given up (ServerError).

        `came` is called for each piece of it and of its thinking, as it comes: mostly one token.
        """

    def unload(self) -> None:
        """Give its memory back, where the server can be asked to; what was there before the first load is so again."""

    def others_active(self) -> bool | None:
        """Whether somebody else uses the server now; None where that can't be seen."""

    def close(self) -> None: ...
