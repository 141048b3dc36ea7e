"""Training examples: conversations brought to one form, context messages and one assistant target."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from core.config.golden import GoldenInput
from core.config.task import Task
from core.data.line_forms import Conversation
from core.data.reading import DataFile, read_training
from core.data.records import MOST_PROBLEMS, BadRecordsError, Problem
from core.data.source import DataSource, read_source
from core.data.turns import Role, Turn, learnt_places
from core.errors import InputError

CHARACTERS_PER_TOKEN = 4
"""What a token of English holds on average; enough to tell what fits from what does not, before there is a tokenizer."""


@dataclass(frozen=True)
class Message:
    role: Role
    content: str

    def to_json(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Example:
    """What stands before the target (system message included), the target, and the line it came from.

    Lines count from 1; 0 is an example that a recipe adds. Of a file that is no JSON lines it is the number of the entry or
    the row. `source` is what the line says under that key: the document it was made of; `expect` what an answer like its own is
    expected to be, in the words of a golden input, where the line says so.
    """

    messages: tuple[Message, ...]
    completion: str
    line: int
    file: str
    source: str | None = None
    expect: Mapping[str, Any] | None = field(default=None, compare=False)

    @property
    def last_user(self) -> str:
        """Text of the last user message."""
        return next(message.content for message in reversed(self.messages) if message.role == "user")


@dataclass(frozen=True)
class DataReport:
    """Counts over a file: its lines that are not blank, the examples made of them, keys that were ignored, and examples that
    an earlier line already gave.

    `unlearnt_turns` are the assistant turns that the file says not to learn (`weight` 0 and the like), `unlearnt_lines` the
    lines of which nothing is learnt for it; `empty_prompts` counts examples whose last user message is empty.
    """

    lines: int
    examples: int
    further_keys: dict[str, int] = field(default_factory=dict)
    duplicate_lines: tuple[int, ...] = ()
    unlearnt_turns: int = 0
    unlearnt_lines: tuple[int, ...] = ()
    empty_prompts: int = 0

    @property
    def duplicates(self) -> int:
        return len(self.duplicate_lines)

    @property
    def no_prompts(self) -> bool:
        """True when every example's prompt is empty: whatever is asked, the same would be learnt as the answer."""
        return 0 < self.examples == self.empty_prompts


def load_examples(file: Path | DataSource, task: Task) -> tuple[list[Example], DataReport]:
    """The examples of training data with the task's system message in front; a `DataSource` is not read again.

    Raises InputError with file and line when lines cannot be used (the first of them in full, a few more and the count), for
    a file in another form or format (the remedy names the command that converts it), and for one without any example.
    """
    return examples_of(read_training(file if isinstance(file, DataSource) else read_source(file)), task)


def examples_of(data: DataFile, task: Task) -> tuple[list[Example], DataReport]:
    """The examples of a file that was read. InputError as `load_examples`."""
    examples: list[Example] = []
    problems = list(data.problems)
    bad = data.bad
    seen: set[tuple[tuple[Message, ...], str]] = set()
    duplicates: list[int] = []
    unlearnt: list[int] = []
    for conversation in data.conversations:
        try:
            made = list(_examples_of(conversation, task))
        except InputError as error:
            bad += 1
            if bad - data.bad <= MOST_PROBLEMS:
                problems.append(Problem(conversation.number, error))
            continue
        for example in made:
            content = (example.messages, example.completion)
            if content in seen:
                duplicates.append(example.line)
            seen.add(content)
        examples += made
        if not made:
            unlearnt.append(conversation.number)
    if bad:
        problems.sort(key=lambda problem: problem.number)
        raise BadRecordsError(problems, bad, data.unit)
    if not examples:
        raise _nothing(data)
    turns = [turn for conversation in data.conversations for turn in conversation.turns]
    return examples, DataReport(
        lines=data.records,
        examples=len(examples),
        further_keys=data.ignored,
        duplicate_lines=tuple(duplicates),
        unlearnt_turns=sum(not turn.learn for turn in turns),
        unlearnt_lines=tuple(unlearnt),
        empty_prompts=sum(not example.last_user.strip() for example in examples),
    )


def asked_messages(item: GoldenInput, system: str) -> list[Message]:
    """What a candidate is asked with a golden input, under the task's system message or the input's own."""
    return [Message(cast(Role, role), content) for role, content in item.conversation(system)]


def normalised(text: str) -> str:
    """A text's letters and digits, case-folded, with one blank between words; of a text without any, its signs."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded)) or folded.strip()


def _nothing(data: DataFile) -> InputError:
    if data.conversations:
        return InputError(
            "nothing in it is to be learnt: every assistant turn has the weight 0",
            code="nothing_learnt",
            file=data.path,
            remedy="take the weight out of the turns that are to be learnt",
        )
    return InputError(
        "the data set is empty",
        code="empty_data_set",
        file=data.path,
        remedy="give it at least one line with messages or prompt and completion",
    )


def _examples_of(conversation: Conversation, task: Task) -> Iterator[Example]:
    """The examples of one conversation: of its last assistant turn that may be learnt, or of each with `loss: every_turn`."""
    record = conversation.record
    turns = _with_system(conversation, task)
    for position in learnt_places(turns, every_turn=task.data.loss == "every_turn"):
        turn = turns[position]
        if not turn.content.strip():
            message = "the assistant turn that is to be learnt is empty"
            record.refuse(message, key=conversation.key, code="empty_completion")
        if turn.reasoning and task.thinking == "on":
            record.refuse(
                "has thoughts beside the answer, which would not be learnt though the task thinks",
                key=conversation.key,
                code="reasoning_beside",
                remedy="write them into the answer, between <think> and </think>",
            )
        before = tuple(Message(item.role, item.content) for item in turns[:position])
        expect = conversation.expect if position == len(turns) - 1 else None
        yield Example(before, turn.content, record.number, str(record.file), conversation.source, expect)


def _with_system(conversation: Conversation, task: Task) -> list[Turn]:
    """The turns with one system message in front (none when neither the task nor the line has one)."""
    turns = list(conversation.turns)
    own = turns[0] if turns[0].role == "system" else None
    rest = turns if own is None else turns[1:]
    if own is not None and own.content.strip() != task.system.strip():
        if task.data.system != "keep":
            conversation.record.refuse(
                f"its system message differs from the one of the task {task.name}",
                key="messages[0]" if conversation.form == "messages" else "system",
                code="system_differs",
                remedy="remove it from the line, or say `system: keep` under `data:` in the task",
            )
        return [own, *rest]
    if not task.system.strip():
        return rest
    return [replace(own, content=task.system) if own is not None else Turn("system", task.system), *rest]
