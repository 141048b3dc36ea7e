"""The frame "What the model will see": the audit by lengths, and one example with the part that carries loss marked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from core.format import plural, share
from core.text import printable
from core.wording.data import data_remarks, duplicate_words
from core.wording.texts import fault_remedy, template_words, text_words
from tui.lines import Line, wrapped
from tui.queries.audit import AuditAnswer
from tui.queries.catalogue import Lesson

if TYPE_CHECKING:
    from core.data.audit import Audit, LengthRow, ShownExample

TITLE = "What the model will see"
GUTTER = 8
WORDS = re.compile(r"\S+\s*|\s+")
LEGEND = "green carries loss"
COUNTING, NOT_COUNTING = ("counting tokens …", "busy"), ("tokens are counted once the fields are right", "dim")


def frame(
    found: AuditAnswer | None, lesson: Lesson | None, example: int, width: int, height: int, counting: bool = True
) -> tuple[list[Line], str]:
    """(rows, what stands at the right of the title): the audit when it is there, else what characters tell."""
    audit = found.audit if found else None
    if audit is not None:
        rows = audit_rows(audit, width, most=max(2, height // 3))
        if audit.shown:
            if height - len(rows) >= 6:
                rows.append(Line())
            rows += example_rows(audit.shown[example % len(audit.shown)], width, height - len(rows))
        return rows, f"{LEGEND} · {number(example, len(audit.shown), audit.examples)}"
    if lesson is None:
        return [], ""
    # The remedy stands at the end of a sentence, which may be long.
    said = (
        [Line(text, "warn") for text in wrapped(found.why, width)]
        if found
        else [Line(*(COUNTING if counting else NOT_COUNTING))]
    )
    rows = character_rows(lesson, example, width, height - len(said))
    return [*said, *rows], f"{LEGEND} · {number(example, len(lesson.shown), lesson.examples)}"


def number(example: int, shown: int, total: int) -> str:
    """`example 7 of 48`, which of those that can be paged through is shown."""
    return f"example {example % shown + 1} of {total:,}" if shown else plural(total, "example")


def part(count: int, total: int) -> str:
    return share(count / total) if total else "—"


def audit_rows(audit: Audit, width: int, most: int = 100) -> list[Line]:
    """The table by max length, and what is said of the data as a whole: at most so many rows of remarks."""
    head, column = 26, 10
    lengths = near(audit, max(1, (width - head) // column))

    def row(name: str, said: Callable[[LengthRow], tuple[str, str]], role: str = "text") -> Line:
        line = Line(name, role).to(head)
        for length in lengths:
            text, shade = said(length)
            line.add(text.rjust(column), f"bold {shade}" if length.max_length == audit.max_length else shade)
        return line

    def skipped(length: LengthRow) -> tuple[str, str]:
        return part(length.skipped, length.total), "bad" if length.skipped else "text"

    rows = [
        row("max length", lambda length: (f"{length.max_length:,}", "text"), "dim"),
        row("whole", lambda length: (part(length.whole, length.total), "text")),
        row("prompt cut in the middle", lambda length: (part(length.cut, length.total), "text")),
        row("skipped", skipped, "bad" if any(length.skipped for length in lengths) else "text"),
    ]
    loss = share(audit.row.loss_share)
    answers = (
        f"answers: median {audit.completion_median:,.0f}, 90 % below {audit.completion_p90:,.0f}, "
        f"longest {audit.completion_max:,} tokens; {loss} "
    )
    answers += "of all tokens carry loss" if len(answers) + 24 <= width else "carry loss"
    rows += [Line(text, "dim") for text in wrapped(answers, width)]
    role = "bad" if audit.refused else "warn"
    said = list(wrapped("; ".join(remarks(audit)), width))
    if len(said) > most:
        rest = " … all of it: bakehouse audit"
        said[most - 1 :] = [set_cell_size(said[most - 1], max(0, width - len(rest))).rstrip() + rest]
    rows += [Line(text, role).cut(width) for text in said]
    return rows


def near(audit: Audit, most: int) -> list[LengthRow]:
    """At most so many lengths, the recipe's own among them."""
    rows = sorted(audit.rows, key=lambda row: row.max_length)
    own = next(index for index, row in enumerate(rows) if row.max_length == audit.max_length)
    start = max(0, min(own - most // 2, len(rows) - most))
    return rows[start : start + most]


def remarks(audit: Audit) -> list[str]:
    """What is wrong with the data, if anything is; first what a training would be refused for."""
    found = []
    if audit.leaks:
        found.append(f"{plural(len(audit.leaks), 'leak')}: {printable(str(audit.leaks[0]))}")
    refused = [finding for finding in audit.texts if finding.refused]
    found += [f"refused: {text_words(finding)}; {fault_remedy(finding.reason)}" for finding in refused]
    if audit.refused == "too_many_skipped":
        allowed = share(audit.max_skipped)
        found.append(f"refused: more than {allowed} would be skipped (max_skipped)")
    found += [text_words(finding) for finding in audit.texts if not finding.refused]
    found += data_remarks(audit)
    if audit.duplicates:
        found.append(duplicate_words(audit.duplicates))
    if audit.further_keys:
        found.append(f"further keys ignored: {', '.join(printable(key) for key in audit.further_keys)}")
    found += [template_words(note) for note in audit.template]
    if not found:
        return []
    return [f"{'✗' if audit.refused else '▲'} {found[0]}", *found[1:]]


def example_rows(shown: ShownExample, width: int, height: int) -> list[Line]:
    """One example as the model sees it: what it is given, then what it learns, in rows with a gutter."""
    head = Line(f"line {shown.line}" if shown.line else "added by the recipe", "dim")
    if shown.shots:
        head.add(f", {plural(shown.shots, 'answered example')} in front", "dim")
    if shown.state == "cut":
        head.add(f", prompt cut by {plural(shown.cut_tokens, 'token')} in its middle", "warn")
    elif shown.state == "skipped":
        head.add(", skipped: the completion leaves no room for its prompt", "bad")
    head.add(f"; {shown.prompt_tokens:,} tokens given, {shown.completion_tokens:,} learnt", "dim")
    room = max(1, height - 1)
    given = in_rows(shown, False, width - GUTTER)
    learnt = in_rows(shown, True, width - GUTTER)
    for_learnt = min(len(learnt), max(room - len(given), (room + 1) // 2))
    given = around_mark(shown, given, width - GUTTER, room - for_learnt)
    rows = [Line("given" if index == 0 else "", "dim").to(GUTTER).extend(row) for index, row in enumerate(given)]
    for index, row in enumerate(learnt[:for_learnt]):
        if index == for_learnt - 1 and len(learnt) > for_learnt:
            row.add(" …", "dim")
        rows.append(Line("learnt" if index == 0 else "", "dim").to(GUTTER).extend(row))
    return [head.cut(width), *(row.cut(width) for row in rows)]


def in_rows(shown: ShownExample, loss: bool, width: int) -> list[Line]:
    """The text that carries loss, or that which does not, broken at `width`; line ends are written as ⏎."""
    rows = [Line()]
    for piece in shown.pieces:
        if piece.loss != loss:
            continue
        role = "warn" if piece.mark else "good" if loss else "text"
        text = one_line(piece.text)
        for word in [text] if piece.mark else WORDS.findall(text):
            rest = word
            while rest:
                if rows[-1].width + cell_len(rest.rstrip()) <= width:
                    rows[-1].add(rest, role)
                    break
                if rows[-1].pieces:
                    rows.append(Line())
                    continue
                head = set_cell_size(rest, width).rstrip()
                rows[-1].add(head, role)
                rest = rest[max(1, len(head)) :]
                rows.append(Line())
    return [row for row in rows if row.pieces]


def around_mark(shown: ShownExample, rows: list[Line], width: int, room: int) -> list[Line]:
    """At most `room` rows of what is given: the place of a cut, the end, the beginning, then more before the end.

    Where rows are left out, the next one begins with `…`.
    """
    if len(rows) <= room:
        return rows
    cut = place_of_cut(shown, width)
    ends = [len(rows) - 1, 0, *range(len(rows) - 2, 0, -1)]
    kept = sorted(ends[: max(0, room - len(cut))])
    first = [rows[0]] if 0 in kept else []
    last: list[Line] = []
    former = 0 if first and not cut else -1
    for index in [index for index in kept if index]:
        gap = index != former + 1
        last.append(Line("… ", "dim").extend(rows[index]).cut(width) if gap else rows[index])
        former = index
    return [*first, *cut, *last][:room]


def place_of_cut(shown: ShownExample, width: int) -> list[Line]:
    """A row with what stands on both sides of the cut; none where nothing was cut."""
    at = next((index for index, piece in enumerate(shown.pieces) if piece.mark), None)
    if at is None:
        return []
    mark = printable(shown.pieces[at].text)
    before = one_line("".join(piece.text for piece in shown.pieces[:at]))
    after = one_line("".join(piece.text for piece in shown.pieces[at + 1 :] if not piece.loss))
    side = max(4, (width - cell_len(mark)) // 2 - 2)
    return [Line("… ", "dim").add(before[-side:]).add(mark, "warn").add(after[:side]).cut(width)]


def one_line(text: str) -> str:
    return "⏎".join(printable(part) for part in text.split("\n"))


def character_rows(lesson: Lesson, example: int, width: int, height: int) -> list[Line]:
    """What can be said without a tokenizer: lengths in characters, and an example's last question with its answer."""
    parts = [f"answers: median {lesson.median_characters:,} characters, longest {lesson.longest_characters:,}"]
    if lesson.system_characters:
        parts.append(f"a system prompt of {lesson.system_characters:,} stands before each")
    if lesson.duplicates:
        parts.append(f"{plural(lesson.duplicates, 'duplicate')}")
    asked, answer, before = lesson.shown[example % len(lesson.shown)]
    width, height = width - GUTTER, height - 3 - bool(before)
    rows = [Line("; ".join(parts), "dim"), Line()]
    user = list(wrapped(" ".join(printable(line) for line in asked.splitlines()), width)) or ["(empty)"]
    shown = user[: max(1, height // 3)]
    if len(shown) < len(user):
        shown[-1] = f"{shown[-1][: width - 2]} …"
    if before:
        rows.append(Line("", "dim").to(GUTTER).add(f"{plural(before, 'message')} of the conversation before it", "dim"))
    rows += [Line("user" if index == 0 else "", "dim").to(GUTTER).add(row) for index, row in enumerate(shown)]
    lines = [printable(line) for line in answer.splitlines()]
    whole = len(lines) <= height - len(shown) and all(len(line) <= width for line in lines)
    learnt = lines if whole else list(wrapped("⏎ ".join(lines), width))
    rows += [
        Line("answer" if index == 0 else "", "dim").to(GUTTER).add(row, "good") for index, row in enumerate(learnt)
    ]
    return rows
