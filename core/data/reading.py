"""The one reading of data files: from a file of any known format and form to conversations, with all that is not used counted.

    data = read_data(read_source(path))         # a DataFile; never raises for a single bad record
    examples, report = examples_of(data, task)  # core.data.examples
    inspect(data), converted(data)              # core.data.inspection, core.data.conversion

`read_training` is the same for training data, which is JSON lines in the project's own form: what is trained is a file whose
lines a person can look at, and no column of it is guessed. Everything else is converted first.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.containers import parse, parse_json_lines
from core.data.line_forms import Conversation, read_record
from core.data.records import MOST_PROBLEMS, BadRecordsError, Format, Ignored, Parsed, Problem, Unit, word
from core.data.source import DataSource, Waiting, read_source
from core.data.turns import ReadOptions, is_conversation, learnt_places
from core.errors import InputError

OTHER_FORM = frozenset({"other_form", "other_format"})


@dataclass(frozen=True)
class DataFile:
    """What a data file holds.

    `columns` counts, for each key of the records in the order of the file, the records that have it; `ignored` the keys of
    which nothing is used, those of messages as `messages[].name`. `problems` are the first records that cannot be used, `bad`
    is how many there are; `records` counts all.
    """

    source: DataSource
    format: Format
    compression: str | None
    encoding: str
    delimiter: str | None
    unit: Unit
    records: int
    blank: int
    columns: dict[str, int]
    conversations: tuple[Conversation, ...]
    ignored: dict[str, int]
    problems: tuple[Problem, ...]
    bad: int
    left_out: int = 0
    """Records that were asked to be left out, as they cannot be trained on; they are counted nowhere else."""

    @property
    def path(self) -> Path:
        return self.source.path

    def refuse_bad(self) -> None:
        """InputError that names the records that cannot be used, when there are any."""
        if self.bad:
            raise BadRecordsError(self.problems, self.bad, self.unit)


def read_data(source: DataSource, options: ReadOptions | None = None) -> DataFile:
    """A file of any known format and form. InputError when it is none of them as a whole, or a named column is in no record."""
    chosen = options or ReadOptions()
    parsed = parse(source, chosen.encoding)
    if parsed.format == "json_array" and not parsed.bad and is_conversation([item.document for item in parsed.records]):
        first = parsed.records[0]
        parsed.records = [replace(first, document=[item.document for item in parsed.records])]
    data = _read(source, parsed, chosen)
    for column in (chosen.prompt_column, chosen.completion_column, chosen.system_column, chosen.messages_column):
        if column is not None and column not in data.columns and parsed.records:
            known = ", ".join(list(data.columns)[:12])
            raise InputError(
                f"no column `{word(column)}`", code="no_such_column", file=source.path, remedy=f"there are: {known}"
            )
    return data


def read_training(source: DataSource) -> DataFile:
    """Training data: JSON lines of messages, or prompt and completion. What is in another form is a problem of its line; the
    remedy names the command that converts it. InputError (`other_format`) for another format."""
    remedy = convert_command(source)
    try:
        data = _read(source, parse_json_lines(source), ReadOptions(training=True))
    except InputError as error:
        error.remedy = error.remedy or remedy
        raise
    for problem in data.problems:
        if problem.error.code in OTHER_FORM:
            problem.error.remedy = remedy
    return data


def in_training_form(data: DataFile) -> bool:
    """True of a file that can be trained on as it is, and then gives just what was read of it here."""
    usable = bool(data.conversations) and not data.bad and not data.left_out
    if not usable or data.format != "jsonl" or data.compression or data.encoding != "UTF-8":
        return False
    training, uncounted = ReadOptions(training=True), Ignored()
    try:
        return all(_same(read_record(talk.record, training, uncounted), talk) for talk in data.conversations)
    except InputError:
        return False


def without_bad(data: DataFile) -> DataFile:
    """The file without the records that cannot be used, and without those whose answer is empty: training refuses these, too.

    InputError when none is left.
    """
    kept = tuple(talk for talk in data.conversations if not empty_answer(talk))
    left_out = data.records - len(kept)
    if not kept:
        data.refuse_bad()
        raise InputError("every answer in it is empty", code="empty_data_set", file=data.path)
    if not left_out:
        return data
    return replace(data, conversations=kept, problems=(), bad=0, records=len(kept), left_out=left_out)


def empty_answer(talk: Conversation) -> bool:
    """True of a conversation whose learnt answer is empty."""
    places = learnt_places(talk.turns, every_turn=False)
    return bool(places) and not talk.turns[places[-1]].content.strip()


def _same(one: Conversation, other: Conversation) -> bool:
    return (one.turns, one.source) == (other.turns, other.source)


def convert_command(source: DataSource) -> str:
    """What a person types to have the file in the project's form."""
    return f"`bakehouse data convert {shlex.quote(str(source.path))}` brings it to that form"


def open_data(path: Path, options: ReadOptions | None = None, waiting: Waiting | None = None) -> DataFile:
    """`read_data` of the file at a path, which is read once; see `read_source` for pipes."""
    return read_data(read_source(path, waiting), options)


def _read(source: DataSource, parsed: Parsed, options: ReadOptions) -> DataFile:
    conversations: list[Conversation] = []
    problems, bad = list(parsed.problems), parsed.bad
    columns: dict[str, int] = {}
    for record in parsed.records:
        if isinstance(record.document, dict):
            for key in record.document:
                columns[key] = columns.get(key, 0) + 1
        try:
            conversations.append(read_record(record, options, parsed.ignored))
        except InputError as error:
            bad += 1
            if bad - parsed.bad <= MOST_PROBLEMS:  # they come in order: of more the first are named
                problems.append(Problem(record.number, error))
    problems.sort(key=lambda problem: problem.number)
    return DataFile(
        source=source,
        format=parsed.format,
        compression=parsed.compression,
        encoding=parsed.encoding,
        delimiter=parsed.delimiter,
        unit=parsed.unit,
        records=len(parsed.records) + parsed.bad,
        blank=parsed.blank,
        columns=columns,
        conversations=tuple(conversations),
        ignored=parsed.ignored.sorted(),
        problems=tuple(problems[:MOST_PROBLEMS]),
        bad=bad,
    )
