"""What stands in the frames below the form of a new task: what the file is, and what would be learnt of it."""

from __future__ import annotations

from core.text import one_line, printable
from core.wording.data import file_words, inspection_rows, problem_words, warning_words
from tui.lines import Line, wrapped
from tui.queries.data_file import DataAnswer

KNOWN = (
    "JSON lines, a JSON array, CSV, TSV or Parquet, also as .gz; "
    "with messages, prompt and completion, questions and answers, in the form of OpenAI, TRL, ShareGPT or Alpaca."
)
LABEL_COLUMNS = 11  # of the file's figures
SAMPLE_LABEL_COLUMNS = 11


def found_rows(answer: DataAnswer | None, asked: bool, width: int) -> tuple[list[Line], str]:
    """(rows, title) of what the file is; `asked` is true once a path is written."""
    title = "What the file is"
    if answer is None:
        return [] if asked else [Line(row, "dim") for row in wrapped(KNOWN, width)], title
    found = answer.found
    if found is None:
        return [Line(row, "bad") for row in wrapped(printable(answer.problem), width)], title
    rows: list[Line] = []
    for label, text in inspection_rows(found):
        for index, row in enumerate(wrapped(printable(text), width - LABEL_COLUMNS)):
            rows.append(Line("" if index else label, "dim").to(LABEL_COLUMNS).add(row))
    rows += [Line(row, "warn") for text in warning_words(found) for row in wrapped(f"▲ {printable(text)}", width)]
    rows += [Line(row, "bad") for text in problem_words(found) for row in wrapped(f"✗ {printable(text)}", width)]
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
        for index, row in enumerate(wrapped(one_line(text, limit=20 * max(1, width)), width - SAMPLE_LABEL_COLUMNS)):
            rows.append(Line("" if index else role, "dim").to(SAMPLE_LABEL_COLUMNS).add(row, shade))
    return rows[-height:] if height else [], f"{found.unit} {sample.number} · green carries loss"
