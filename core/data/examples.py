"""Training examples: JSONL brought to one form, context messages and one assistant target."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from core.config.task import Task
from core.errors import InputError
from core.text import visible

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")
KNOWN_KEYS = frozenset({"messages", "prompt", "completion"})
# Of a key or a value of the file that an error message quotes, at most so much.
QUOTED_CHARACTERS = 60
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Message:
    role: Role
    content: str

    def to_json(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Example:
    """What stands before the target (system message included), the target, and the line it came from.

    Lines count from 1; 0 is an example that a recipe adds. `source` is what the line says under that key: the document it
    was made of.
    """

    messages: tuple[Message, ...]
    completion: str
    line: int
    file: str
    source: str | None = None

    @property
    def last_user(self) -> str:
        """Text of the last user message."""
        return next(message.content for message in reversed(self.messages) if message.role == "user")


@dataclass(frozen=True)
class DataReport:
    """Counts over a file: its lines that are not blank, the examples made of them, keys that were ignored, and
    examples that an earlier line already gave."""

    lines: int
    examples: int
    further_keys: dict[str, int] = field(default_factory=dict)
    duplicate_lines: tuple[int, ...] = ()

    @property
    def duplicates(self) -> int:
        return len(self.duplicate_lines)


def load_examples(path: Path, task: Task) -> tuple[list[Example], DataReport]:
    """The examples of a JSONL file with the task's system message in front.

    Raises InputError with file and line for a line that cannot be used, and for a file without any example.
    """
    examples: list[Example] = []
    further: Counter[str] = Counter()
    seen: set[tuple[tuple[Message, ...], str]] = set()
    duplicates: list[int] = []
    lines = 0
    for number, line in _documents(path):
        lines += 1
        further.update(_word(key) for key in line.keys if key not in line.document)
        for example in _examples_of(line, task):
            content = (example.messages, example.completion)
            if content in seen:
                duplicates.append(number)
            seen.add(content)
            examples.append(example)
    if not examples:
        raise InputError(
            "the data set is empty",
            code="empty_data_set",
            file=path,
            remedy="give it at least one line with messages or prompt and completion",
        )
    return examples, DataReport(lines, len(examples), dict(sorted(further.items())), tuple(duplicates))


def normalised(text: str) -> str:
    """A text's letters and digits, case-folded, with one blank between words; of a text without any, its signs."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded)) or folded.strip()


@dataclass(frozen=True)
class _Line:
    """A parsed line: `document` with what is used of it, `keys` with all of its keys."""

    document: dict[str, Any]
    keys: tuple[str, ...]
    number: int
    file: Path

    def refuse(
        self, message: str, *, key: str | None = None, code: str = "bad_line", remedy: str | None = None
    ) -> NoReturn:
        raise InputError(message, code=code, file=self.file, line=self.number, key=key, remedy=remedy)


def _documents(path: Path) -> Iterator[tuple[int, _Line]]:
    """Each line that is not blank, parsed."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError("there is no such file", code="no_such_file", file=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", code="unreadable", file=path) from error
    # Only \n ends a line: a JSON string may hold U+2028 and the like, at which str.splitlines would cut.
    for number, content in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if content.strip():
            yield number, _parse(content, number, path)


def _parse(content: bytes, number: int, path: Path) -> _Line:
    doubled: list[str] = []
    keys: tuple[str, ...] = ()

    def pairs_to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal keys
        counts = Counter(key for key, _ in pairs)
        doubled.extend(key for key, count in counts.items() if count > 1)
        keys = tuple(counts)  # the outermost object is closed last
        return dict(pairs)

    def refuse(message: str, key: str | None = None, code: str = "bad_line", remedy: str | None = None) -> NoReturn:
        raise InputError(message, code=code, file=path, line=number, key=key, remedy=remedy)

    try:
        document = json.loads(content.decode(), object_pairs_hook=pairs_to_dict)
    except UnicodeDecodeError as error:
        remedy = "it looks like UTF-16: save it as UTF-8" if content.startswith(UTF16_MARKS) else None
        refuse(f"is not UTF-8: byte {error.start + 1} of the line", code="not_utf8", remedy=remedy)
    except json.JSONDecodeError as error:
        refuse(f"is not JSON: {error.msg} at column {error.colno}", code="not_json")
    except (RecursionError, ValueError) as error:
        refuse(f"is not JSON that can be read: {error}", code="not_json")
    if not isinstance(document, dict):
        refuse("expected a JSON object with messages or prompt and completion")
    if doubled:
        refuse("is there twice", key=_word(doubled[0]), code="doubled_key")
    used = {key: document[key] for key in keys if key in KNOWN_KEYS or (key == "source" and _names(document[key]))}
    return _Line(used, keys, number, path)


def _names(source: Any) -> bool:
    """True of what can name a document: a text that is not empty, or a whole number."""
    return bool(source.strip()) if isinstance(source, str) else isinstance(source, int) and not isinstance(source, bool)


def _word(text: str) -> str:
    """A key of the file in a message: short, and nothing in it that no encoding takes or that speaks to a terminal."""
    return visible(text, limit=QUOTED_CHARACTERS).replace("\n", "\\n").replace("\t", "\\t")


def _quoted(value: Any) -> str:
    """A value of the file in a message. Of what is no text only the kind is said: its repr can be too deep to make."""
    if not isinstance(value, str):
        return {list: "a list", dict: "an object", type(None): "null", bool: "true or false"}.get(
            type(value), "a number"
        )
    short = value if len(value) <= QUOTED_CHARACTERS else f"{value[:QUOTED_CHARACTERS]}…"
    return repr(short)


def _examples_of(line: _Line, task: Task) -> Iterator[Example]:
    """The examples of one line: one, or one for each assistant turn with `loss: every_turn`."""
    turns = _with_system(_turns(line), task, line)
    start = 1 if turns[0].role == "system" else 0
    expected: Role = "user"
    for position, turn in enumerate(turns[start:], start=start):
        if turn.role != expected:
            line.refuse(
                f"message {position + 1} is a {turn.role} turn where a {expected} turn was expected",
                key="messages",
                remedy="user and assistant take turns, beginning with user",
            )
        expected = "assistant" if expected == "user" else "user"
    if turns[-1].role != "assistant":
        line.refuse("the last message must be an assistant turn: it is what is learnt", key="messages")
    every_turn = task.data.loss == "every_turn"
    source = None if (named := line.document.get("source")) is None else str(named).strip()
    for position, turn in enumerate(turns):
        if turn.role != "assistant" or not (every_turn or position == len(turns) - 1):
            continue
        if not turn.content.strip():
            key = "completion" if "completion" in line.document else "messages"
            line.refuse("the assistant turn that is to be learnt is empty", key=key, code="empty_completion")
        yield Example(tuple(turns[:position]), turn.content, line.number, str(line.file), source)


def _turns(line: _Line) -> list[Message]:
    document = line.document
    if "messages" in document:
        if extra := [key for key in ("prompt", "completion") if key in document]:
            line.refuse(f"a line has either messages or prompt and completion, this one has messages and {extra[0]}")
        return _messages(line)
    for key in ("prompt", "completion"):
        if key not in document:
            other = f", only {', '.join(map(_word, line.keys[:5]))}" if line.keys else ""
            line.refuse(f"has no {key}{other}", key=key, remedy="a line has messages, or prompt and completion")
        if not isinstance(document[key], str):
            line.refuse("expected a text", key=key, remedy="several turns are written as messages")
        _refuse_surrogates(line, document[key], key)
    return [Message("user", document["prompt"]), Message("assistant", document["completion"])]


def _messages(line: _Line) -> list[Message]:
    messages = line.document["messages"]
    if not isinstance(messages, list) or not messages:
        line.refuse("expected a list of messages", key="messages")
    result = []
    for position, message in enumerate(messages):
        key = f"messages[{position}]"
        if not isinstance(message, dict) or "role" not in message or "content" not in message:
            line.refuse("expected an object with role and content", key=key)
        if message["role"] not in ROLES:
            line.refuse(
                f"the role must be one of {', '.join(ROLES)}, not {_quoted(message['role'])}", key=f"{key}.role"
            )
        content = message["content"]
        if isinstance(content, list):
            content = _joined_parts(line, content, f"{key}.content")
        if not isinstance(content, str):
            line.refuse("expected a text", key=f"{key}.content")
        _refuse_surrogates(line, content, f"{key}.content")
        result.append(Message(cast(Role, message["role"]), content))
    return result


def _joined_parts(line: _Line, parts: list[Any], key: str) -> str:
    """The text of a content that is written as a list of text parts."""
    texts = []
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            line.refuse("only parts of type text can be learnt from", key=key)
        texts.append(part["text"])
    return "".join(texts)


def _refuse_surrogates(line: _Line, text: str, key: str) -> None:
    if re.search("[\ud800-\udfff]", text):
        line.refuse("holds half of a surrogate pair (\\ud800 to \\udfff): it is no text", key=key)


def _with_system(turns: list[Message], task: Task, line: _Line) -> list[Message]:
    """The turns with one system message in front (none when neither the task nor the line has one)."""
    own = turns[0].content if turns[0].role == "system" else None
    rest = turns if own is None else turns[1:]
    if any(turn.role == "system" for turn in rest):
        line.refuse("a system message must be the first message", key="messages")
    if not rest:
        line.refuse("has only a system message", key="messages")
    if own is not None and own.strip() != task.system.strip():
        if task.data.system != "keep":
            line.refuse(
                f"its system message differs from the one of the task {task.name}",
                key="messages[0]",
                code="system_differs",
                remedy="remove it from the line, or say `system: keep` under `data:` in the task",
            )
        return [Message("system", own), *rest]
    return [Message("system", task.system), *rest] if task.system.strip() else rest
