"""What stands in the frames below the form of a new task: what the file is, and what would be learnt of it."""

from __future__ import annotations

import re

from core.text import one_line, printable
from core.wording.data import file_words, inspection_rows, problem_words, warning_words
from tui.lines import Line, wrapped
from tui.queries.data_file import DataAnswer, NewTaskMade
from tui.screens.help import marked_rows

KNOWN = (
    "JSON lines, a JSON array, CSV, TSV or Parquet, also as .gz; "
    "with messages, prompt and completion, questions and answers, in the form of OpenAI, TRL, ShareGPT or Alpaca."
)
# What a command asks for by an option is a field here.
FIELDS = {
    "`--prompt-column NAME`": "the field `prompt column`",
    "`--completion-column NAME`": "the field `answer column`",
}
IGNORE = re.compile(r"`--ignore (.+?)`")
ENCODING = re.compile(r"`--encoding (.+?)`")


def in_the_form(text: str) -> str:
    """A remedy as the form has it."""
    for option, field in FIELDS.items():
        text = text.replace(option, field)
    text = IGNORE.sub(r"`\1` in the field `ignore keys`", text)
    return ENCODING.sub(r"`\1` in the field `encoding`", text)


LABEL_COLUMNS = 11  # of the file's figures
SAMPLE_LABEL_COLUMNS = 11
MOST_TEXT_LINES = 200  # of one message
EMPTY = "(empty)"


def found_rows(answer: DataAnswer | None, asked: bool, width: int) -> tuple[list[Line], str]:
    """(rows, title) of what the file is; `asked` is true once a path is written."""
    title = "What the file is"
    if answer is None:
        return [] if asked else [Line(row, "dim") for row in wrapped(KNOWN, width)], title
    found = answer.found
    if found is None:
        return [Line(row, "bad") for row in wrapped(printable(in_the_form(answer.problem)), width)], title
    rows: list[Line] = []
    for label, text in inspection_rows(found):
        for index, row in enumerate(wrapped(printable(text), width - LABEL_COLUMNS)):
            rows.append(Line("" if index else label, "dim").to(LABEL_COLUMNS).add(row))
    rows += [Line(row, "warn") for text in warning_words(found) for row in wrapped(f"▲ {printable(text)}", width)]
    # First what has to be done, which must not fall below the last row of a small frame.
    problems = [f"✗ {printable(in_the_form(text))}" for text in problem_words(found)]
    rows[:0] = [Line(row, "bad") for text in problems for row in wrapped(text, width)]
    return rows, printable(file_words(found))


def sample_rows(answer: DataAnswer | None, example: int, width: int, height: int) -> tuple[list[Line], str]:
    """(rows, what stands at the right of the title): the messages of one record, and in green what is learnt of it.

    Where the rows are too few the beginning is cut: what is learnt is at the end.
    """
    if answer is None or answer.found is None or not answer.found.samples:
        return [], ""
    found = answer.found
    sample = found.samples[example % len(found.samples)]
    rows: list[Line] = []
    for role, text in (*sample.messages, ("learnt", sample.completion)):
        shade = "good" if role == "learnt" else "text"
        for index, row in enumerate(text_rows(text, width - SAMPLE_LABEL_COLUMNS) or [EMPTY]):
            rows.append(Line("" if index else role, "dim").to(SAMPLE_LABEL_COLUMNS).add(row, shade if row else "dim"))
    where = f"{found.unit} {sample.number:,} of {found.records:,}"
    return rows[-height:] if height else [], f"{where} · green carries loss"


def written_rows(made: NewTaskMade) -> list[Line]:
    """What was written, and what is left to do."""
    rows = [Line(f"  {printable(str(file))}") for file in made.files]
    rows.append(Line())
    for text in made.warnings:
        rows += marked_rows("▲", "warn", text)
    for text in made.open_points:
        rows += marked_rows("✗", "bad", text)
    if not made.open_points:
        look = "Look at the checks" if made.asks else "Say in `system:` what is asked, and look at the checks,"
        rows += marked_rows("✓", "good", f"{look} in {made.task_file.parent.name}/{made.task_file.name}.")
    return rows


def text_rows(text: str, width: int) -> list[str]:
    """A text line by line, as where a line ends can be what is learnt; long ones wrapped, blank ones kept within the text."""
    rows: list[str] = []
    for line in text.strip().split("\n")[:MOST_TEXT_LINES]:
        rows += list(wrapped(one_line(line, limit=20 * max(1, width)), width)) or [""]
    return rows if text.strip() else []
