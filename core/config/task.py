"""A task: a production job that a model does."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from core.checks import CheckDefinition, capture_names
from core.config.base import Loaded, Name, NonEmpty, Written
from core.errors import KeyedError

LARGEST = 2**31 - 1
"""Of a count that is handed to a server or a library, which hold it in 32 bits."""


class Sampling(Written):
    """How answers are generated; the same values in bake-offs and when serving."""

    temperature: float = Field(default=0.0, ge=0, le=5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1, le=LARGEST)
    context_length: int = Field(default=4096, ge=64, le=LARGEST)
    max_new_tokens: int = Field(default=512, ge=1, le=LARGEST)
    repeat_penalty: float = Field(default=1.0, gt=0, le=5)

    also_called: ClassVar[dict[str, str]] = {
        "num_ctx": "context_length",
        "num_predict": "max_new_tokens",
        "max_tokens": "max_new_tokens",
        "max_length": "max_new_tokens",
        "repetition_penalty": "repeat_penalty",
        "temp": "temperature",
    }

    @model_validator(mode="after")
    def _an_answer_fits(self) -> Sampling:
        if self.max_new_tokens > self.context_length:
            raise KeyedError(
                f"{self.max_new_tokens} new tokens do not fit into a context of {self.context_length}",
                key="max_new_tokens",
                remedy="raise context_length: it holds prompt and answer",
            )
        return self


class TaskData(Written):
    """What a model learns the task from."""

    train: NonEmpty | None = None
    system: Literal["keep"] | None = None
    loss: Literal["last_turn", "every_turn"] = "last_turn"


class Task(Loaded):
    """A task as its file says it. Paths are as written: `Project.resolve` finds them."""

    name: Name
    title: str | None = None
    system: str = ""
    # As which role a chat template is given the system text: `user` for templates that take no system message.
    system_role: Literal["system", "user"] = "system"
    thinking: Literal["off", "on"] = "off"
    sampling: Sampling = Sampling()
    repeats: int = Field(default=3, ge=1, le=100)
    golden: NonEmpty | None = None
    data: TaskData = TaskData()
    format: list[CheckDefinition] = Field(default=[])
    content: list[CheckDefinition] = Field(default=[])
    margin: float = Field(default=0.05, ge=0, lt=1)

    also_called: ClassVar[dict[str, str]] = {
        "system_prompt": "system",
        "prompt": "system",
        "think": "thinking",
        "enable_thinking": "thinking",
        "checks": "format",
        "train": "data",
        "runs": "repeats",
    }

    @model_validator(mode="after")
    def _checks_fit_together(self) -> Task:
        """Given ids differ, a check stands where it may, and what it reads of captures is captured by a format check."""
        seen: dict[str, str] = {}
        captured = capture_names(self.format)
        for part, checks in (("format", self.format), ("content", self.content)):
            for index, check in enumerate(checks):
                where = f"{part}[{index}]"
                if part == "format" and check.CONTENT_ONLY:
                    message = f"`{check.default_id()}` says nothing of form: it never counts into the format score"
                    raise KeyedError(message, key=f"{part}.{index}.check", remedy="write it under `content:`")
                if check.id is not None and (first := seen.setdefault(check.id, where)) != where:
                    raise KeyedError(f"the id `{check.id}` is that of {first} too", key=f"{part}.{index}.id")
                missing = [name for name in check.read_names() or () if name not in captured]
                if missing:
                    names = f"they capture {', '.join(sorted(captured))}" if captured else "they capture nothing"
                    remedy = f"{names}; a group is written (?P<{missing[0]}>…)"
                    message = f"no format check captures `{missing[0]}`"
                    raise KeyedError(message, key=f"{part}.{index}.{check.READ_KEY}", remedy=remedy)
        return self

    def scored_by(self) -> dict[str, Any]:
        """What a score of an answer rests on, as plain values: the checks of both parts, and the margin."""
        return self.model_dump(mode="json", include={"format", "content", "margin"})
