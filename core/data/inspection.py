"""What a data file is and what would be learnt from it: the figures behind `bakehouse data inspect` and the form of a new task.

    found = inspect(data)           # an Inspection: frozen, without words; `core.wording.data` makes them
    found.to_json()

Nothing here needs a tokenizer or waits for anything; a file of some hundred thousand records takes seconds, so a console calls
it in a thread.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.data.garbled import garbled_word, is_filled, is_garbled
from core.data.line_forms import Conversation, LineForm
from core.data.reading import DataFile, empty_answer, in_training_form
from core.data.records import Format, Unit, word
from core.data.turns import learnt_places

Use = Literal["read", "ignored", "partly"]
SHOWN_PROBLEMS = 5
SHOWN_SAMPLES = 3


@dataclass(frozen=True)
class TextLengths:
    """Of texts, in characters or in tokens."""

    median: float
    p90: float
    longest: int


@dataclass(frozen=True)
class ColumnUse:
    """A key of the records: how many have it, and whether something of it is used."""

    name: str
    records: int
    use: Use


@dataclass(frozen=True)
class DataSample:
    """What the last learnt turn of a record makes: its messages as (role, text), and what is learnt."""

    number: int
    messages: tuple[tuple[str, str], ...]
    completion: str


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used: its number, its line in the file if any, and why."""

    number: int
    line: int | None
    code: str
    key: str | None
    message: str
    remedy: str | None


@dataclass(frozen=True)
class Inspection:
    """What is in a data file.

    `forms` counts the usable records of each form. `own` is true of a file that can be trained on as it is; any other is
    converted first. `unit` is what a record is called: a line, an entry, a row. `learnt_last` and `learnt_every` are the
    examples with `loss: last_turn` and with `every_turn`; `unlearnt_turns` the assistant turns that the file says not to
    learn, `unlearnt_records` the records of which nothing is learnt for it. `empty_prompts` counts records whose last user
    message is empty, `empty_answers` those whose answer is (they cannot be trained on); `filled` counts those whose answer is a
    program's word for nothing (`nan`), `garbled` those with a text that was read in a wrong encoding, each with the first such
    text beside. `systems` is the number of different
    system messages. `ignored` counts each key of which nothing is used; `bad` the records that cannot be used, `problems` are
    the first of them. TextLengths are characters of whole prompts (all messages in front) and of what is learnt.
    """

    file: str
    format: Format
    compression: str | None
    encoding: str
    delimiter: str | None
    unit: Unit
    size_bytes: int
    records: int
    blank: int
    forms: dict[LineForm, int]
    own: bool
    columns: tuple[ColumnUse, ...]
    roles: dict[str, int]
    turns: dict[int, int]
    systems: int
    learnt_last: int
    learnt_every: int
    unlearnt_turns: int
    unlearnt_records: int
    empty_prompts: int
    empty_answers: int
    filled: int
    filled_text: str
    garbled: int
    garbled_text: str
    duplicates: int
    prompt_characters: TextLengths | None
    completion_characters: TextLengths | None
    ignored: dict[str, int]
    bad: int
    problems: tuple[BadRecord, ...]
    samples: tuple[DataSample, ...]

    @property
    def usable(self) -> int:
        """Records that are read."""
        return self.records - self.bad

    @property
    def trainable(self) -> int:
        """Examples that a training takes."""
        return self.learnt_last - self.empty_answers

    @property
    def untrainable(self) -> int:
        """Records that keep a file from being trained on: those that cannot be used, and those whose answer is empty."""
        return self.bad + self.empty_answers

    @property
    def no_prompts(self) -> bool:
        """True when the prompts of all records are empty."""
        return 0 < self.usable == self.empty_prompts

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "usable": self.usable, "no_prompts": self.no_prompts}


def inspect(data: DataFile, samples: int = SHOWN_SAMPLES) -> Inspection:
    """The figures of a file that `read_data` gave, with the first `samples` records of which something is learnt."""
    talks = data.conversations
    learnt = [(talk, learnt_places(talk.turns, every_turn=True)) for talk in talks]
    last = [(talk, places[-1]) for talk, places in learnt if places]
    prompts = [sum(len(turn.content) for turn in talk.turns[:place]) for talk, place in last]
    answers = [len(talk.turns[place].content) for talk, place in last]
    turns = [turn for talk in talks for turn in talk.turns]
    filled = [text for talk, place in last if is_filled(text := talk.turns[place].content)]
    garbled = [talk for talk in talks if any(is_garbled(turn.content) for turn in talk.turns)]
    contents = {(talk.turns[: place + 1]) for talk, place in last}
    return Inspection(
        file=str(data.path),
        format=data.format,
        compression=data.compression,
        encoding=data.encoding,
        delimiter=data.delimiter,
        unit=data.unit,
        size_bytes=len(data.source.content),
        records=data.records,
        blank=data.blank,
        forms=dict(Counter(talk.form for talk in talks).most_common()),
        own=in_training_form(data),
        columns=tuple(ColumnUse(name, count, _use(data, name, count)) for name, count in data.columns.items()),
        roles=dict(Counter(turn.role for turn in turns)),
        turns=dict(sorted(Counter(sum(turn.role == "assistant" for turn in talk.turns) for talk in talks).items())),
        systems=len({talk.turns[0].content for talk in talks if talk.turns[0].role == "system"}),
        learnt_last=len(last),
        learnt_every=sum(len(places) for _, places in learnt),
        unlearnt_turns=sum(not turn.learn for turn in turns),
        unlearnt_records=len(talks) - len(last),
        empty_prompts=sum(not _last_user(talk, place).strip() for talk, place in last),
        empty_answers=sum(empty_answer(talk) for talk, _ in last),
        filled=len(filled),
        filled_text=filled[0].strip() if filled else "",
        garbled=len(garbled),
        garbled_text=garbled_word(" ".join(turn.content for turn in garbled[0].turns)) if garbled else "",
        duplicates=len(last) - len(contents),
        prompt_characters=lengths(prompts),
        completion_characters=lengths(answers),
        ignored=data.ignored,
        bad=data.bad,
        problems=tuple(
            BadRecord(
                problem.number,
                problem.error.line,
                problem.error.code,
                problem.error.key,
                problem.error.message,
                problem.error.remedy,
            )
            for problem in data.problems[:SHOWN_PROBLEMS]
        ),
        samples=tuple(_sample(talk, place) for talk, place in last[:samples]),
    )


def lengths(values: Sequence[int]) -> TextLengths | None:
    """Median, 90th percentile and maximum; None of nothing."""
    if not values:
        return None
    return TextLengths(statistics.median(values), percentile(values, 0.9), max(values))


def percentile(values: Sequence[int], share: float) -> float:
    """The value below which `share` of the values lie, interpolated linearly between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _use(data: DataFile, name: str, count: int) -> Use:
    unused = data.ignored.get(word(name), 0)
    return "read" if not unused else "ignored" if unused >= count - data.bad else "partly"


def _last_user(talk: Conversation, place: int) -> str:
    return next((turn.content for turn in reversed(talk.turns[:place]) if turn.role == "user"), "")


def _sample(talk: Conversation, place: int) -> DataSample:
    messages = tuple((str(turn.role), turn.content) for turn in talk.turns[:place])
    return DataSample(talk.number, messages, talk.turns[place].content)
