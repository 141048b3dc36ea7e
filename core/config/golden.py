"""Golden inputs: what every candidate is asked, and what is expected of the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from core.checks.base import AskedInput
from core.config.base import Label, Loaded, NonEmpty, Written
from core.config.validation import check
from core.config.yaml import Marked, found, load_marked, read_text
from core.errors import InputError, KeyedError
from core.home import expanded

Chosen = Literal["disagreement", "random"]


class GoldenMessage(Written):
    """One message of a golden input that is a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str

    also_called: ClassVar[dict[str, str]] = {"from": "role", "value": "content", "text": "content"}


class GoldenInput(Written):
    """One input: a text, a file, or the messages of a conversation of which the last asks for the answer.

    `source` names the document it comes from: one source is one cluster. `use`: the best of several candidates is chosen on the
    inputs to `choose` by, and those to `confirm` by then say without bias how good that one is. Where there are some to
    confirm by, an input without a use is one to choose by. `chosen`: marking offered the input because two candidates
    disagreed on it, or by chance; only what was offered by chance says how large their difference is (docs/statistics.md).
    """

    id: Label
    input: str | None = None
    file: NonEmpty | None = None
    messages: list[GoldenMessage] = Field(default=[])
    expect: dict[str, Any] = Field(default={})
    source: Label | None = None
    use: Literal["choose", "confirm"] | None = None
    chosen: Chosen | None = None
    tags: list[Label] = Field(default=[])

    also_called: ClassVar[dict[str, str]] = {
        "name": "id",
        "prompt": "input",
        "text": "input",
        "path": "file",
        "expected": "expect",
        "cluster": "source",
    }

    @model_validator(mode="after")
    def _one_text(self) -> GoldenInput:
        given = [name for name in ("input", "file") if getattr(self, name) is not None]
        given += ["messages"] if self.messages else []
        if not given:
            remedy = "give `input:` or `file:`, or `messages:`; an empty input is written as input: ''"
            raise KeyedError(f"`{self.id}` has no text", remedy=remedy)
        if len(given) > 1:
            raise KeyedError(f"`{given[0]}` and `{given[1]}` are given: exactly one may be", key=given[1])
        if given == ["messages"]:
            self._check_messages()
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A copy of golden inputs has the hash that it had before there was a use, or a choice by marking."""
        document: dict[str, Any] = write(self)
        for key in ("use", "chosen"):
            if document.get(key) is None:
                document.pop(key, None)
        return document

    def _check_messages(self) -> None:
        turns = self.messages[1:] if self.messages and self.messages[0].role == "system" else self.messages
        expected = "user"
        for turn in turns:
            if turn.role != expected:
                names = {"system": "a system", "user": "a user", "assistant": "an assistant"}
                message = f"{names[turn.role]} message stands where {names[expected]} message was expected"
                remedy = "user and assistant take turns, beginning with user; a system message is the first"
                raise KeyedError(message, key="messages", remedy=remedy)
            expected = "assistant" if expected == "user" else "user"
        if not turns or turns[-1].role != "user":
            raise KeyedError("the last message must be of the user: it asks for the answer", key="messages")

    @property
    def cluster(self) -> str:
        """What counts as one unit in statistics: the source, else the input itself."""
        return self.source or self.id

    def conversation(self, system: str) -> list[tuple[str, str]]:
        """The messages that a candidate is asked, as (role, content). `system` is the task's; the input's own stands for it."""
        turns = [(turn.role, turn.content) for turn in self.messages] or [("user", self.text())]
        if turns[0][0] == "system" or not system.strip():
            return [turn for turn in turns if turn[0] != "system" or turn[1].strip()]
        return [("system", system), *turns]

    def asked_input(self) -> AskedInput:
        """What checks compare an answer with. InputError as `text`."""
        return AskedInput.of(self.conversation(""))

    def text(self, root: Path | None = None) -> str:
        """What is asked, to be read by a person: the input's text, or its messages with their roles in front.

        A `file` is read, relative to `root`. InputError when it cannot be read.
        """
        if self.input is not None:
            return self.input
        if self.messages:
            return "\n".join(f"{turn.role}: {turn.content}" for turn in self.messages)
        assert self.file is not None
        return read_text((root or Path()) / expanded(self.file))


class GoldenSet(Loaded):
    """The inputs of a golden file, in its order."""

    inputs: list[GoldenInput]


def load_golden(file: Path, root: Path) -> GoldenSet:
    """The golden set of a file, every `file:` (relative to `root`) read into `input`. Raises the first problem."""
    golden, wrong = check_golden(file, root)
    if golden is None:
        raise wrong[0]
    return golden


def check_golden(file: Path, root: Path) -> tuple[GoldenSet | None, list[InputError]]:
    """The resolved golden set and no problem, or all problems, each with its line."""
    try:
        document = golden_document(file)
    except InputError as problem:
        return None, [problem]
    return check_document(document, root)


def check_document(document: Marked, root: Path) -> tuple[GoldenSet | None, list[InputError]]:
    """`check_golden` of a document that is read already."""
    golden, wrong = check(GoldenSet, document)
    texts, between = _texts(document, root)
    wrong = sorted([*wrong, *between], key=lambda problem: problem.line or 0)
    if golden is None or wrong:
        return None, wrong
    inputs = [
        item if item.messages else item.model_copy(update={"input": texts[index], "file": None})
        for index, item in enumerate(golden.inputs)
    ]
    return golden.model_copy(update={"inputs": inputs}), []


def _texts(document: Marked, root: Path) -> tuple[dict[int, str], list[InputError]]:
    """The text of each input by its place, and what is wrong with files and between inputs.

    From the document, not from a checked model: so these mistakes are told together with those of single inputs.
    """
    texts: dict[int, str] = {}
    wrong: list[InputError] = []
    first: dict[str, int] = {}
    items = document.data.get("inputs")
    for index, item in enumerate(items if isinstance(items, list) else []):
        if not isinstance(item, dict):
            continue
        name, text, file = item.get("id"), item.get("input"), item.get("file")
        if isinstance(name, str) and (earlier := first.setdefault(name, index)) != index:
            message = f"the id `{name}` is that of input {earlier + 1} too"
            wrong.append(document.error(message, ("inputs", index, "id")))
        if isinstance(text, str):
            texts[index] = text
        elif isinstance(file, str) and file:
            try:
                texts[index] = read_text(root / expanded(file))
            except InputError as problem:
                message = f"{problem.file}: {problem.message}"
                remedy = "paths start at the project's folder"
                wrong.append(document.error(message, ("inputs", index, "file"), code=problem.code, remedy=remedy))
    return texts, [*wrong, *_uses(document, items if isinstance(items, list) else [])]


def _uses(document: Marked, items: list[Any]) -> list[InputError]:
    """Sources whose inputs are partly to confirm by: what was chosen on a source is not confirmed by that source."""
    wrong: list[InputError] = []
    first: dict[str, tuple[int, bool]] = {}
    for index, item in enumerate(items):
        if isinstance(item, dict) and isinstance(source := item.get("source"), str):
            confirms = item.get("use") == "confirm"
            earlier, before = first.setdefault(source, (index, confirms))
            if before != confirms:
                message = (
                    f"the source `{source}` is used to choose and to confirm (input {earlier + 1} has another use)"
                )
                remedy = "give all inputs of a source the same use: they are not independent of each other"
                place = ("inputs", index, "use" if "use" in item else "source")
                wrong.append(document.error(message, place, code="mixed_use", remedy=remedy))
    return wrong


def golden_document(file: Path) -> Marked:
    """The file as a mapping with `inputs`; it may also be written as the list alone."""
    document = load_marked(file)
    data = document.data
    if isinstance(data, list):
        lines = {("inputs", *path): line for path, line in document.lines.items()}
        document = Marked(document.file, {"inputs": data}, lines | {(): document.lines[()]})
    elif not isinstance(data, dict):
        message = f"expected a list of golden inputs, found {found(data)}"
        raise document.error(message, code="not_a_list")
    if "inputs" in document.data and not document.data["inputs"]:
        raise document.error(
            "no golden inputs yet",
            ("inputs",),
            code="empty_golden",
            remedy="write at least 6 of them, none from the training data: with fewer no difference can be proved",
        )
    return document
