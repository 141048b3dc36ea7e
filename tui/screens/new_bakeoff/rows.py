"""What a bake-off would be, in rows: how many answers, of whom, how long, and what stands against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from core.format import data_size, duration, plural
from core.submission.wanted_bakeoff import WantedBakeoff
from core.text import printable
from tui.lines import Line, wrapped
from tui.queries.bakeoff_form import BakeoffOutlook
from tui.screens.new_bakeoff.choices import FORMER

MOST_TASKS = 4
MOST_COMMAND_ROWS = 3
Lacking = Literal["task", "candidate"]
TO_TICK: Mapping[Lacking, str] = {"task": "Tick a task", "candidate": "Tick a candidate, better two"}


def lacking(wanted: WantedBakeoff) -> Lacking | None:
    """What has to be ticked before there is anything to look at."""
    if wanted.extend is not None:
        return None
    return "task" if not wanted.tasks else None if wanted.candidates else "candidate"


def add_note(added: str, problem: str, checking: bool, selected: str | None) -> Line:
    """What is said of the candidate that is being written; of none, what could be written."""
    if not added:
        offered = selected is not None and not selected.startswith(FORMER)
        return Line(f"@… adds a variant of {printable(selected or '')}" if offered else "", "dim")
    if checking:
        return Line("checking …", "busy")
    return Line(f"✗ {printable(problem)}", "bad") if problem else Line("✓", "good").add("  ⏎ adds it", "dim")


def outlook_rows(outlook: BakeoffOutlook | None, problem: str, waiting: bool, width: int, height: int) -> list[Line]:
    """At most `height` rows: what is wrong first, then the sum, then model by model."""
    if problem:
        return _told("✗ ", problem, "bad", width)[:height]
    if outlook is None:
        return [Line("looking at it …" if waiting else "Tick tasks and candidates.", "busy" if waiting else "dim")]
    role = "dim" if waiting else "text"
    head = [sum_line(outlook, role).cut(width), tasks_line(outlook).cut(width)]
    remarks = [row for remark in outlook.remarks for row in _told("▲ ", remark, "warn", width)]
    room = max(0, height - len(head) - len(remarks))
    parts = outlook.models if len(outlook.models) <= room else outlook.models[: max(0, room - 1)]
    name = max((len(part.name) for part in parts), default=0) + 2
    rows = []
    for part in parts:
        line = Line(f"{printable(part.name)}", role).to(min(name, max(12, width - 44)))
        line.add(f"{part.answers:>7,} answers", role)
        line.add(f"  {part.candidates} candidates" if part.candidates > 1 else "", "dim")
        line.add("" if part.memory_bytes is None else f"  {data_size(part.memory_bytes)} of memory", "dim")
        line.add(f"  about {duration(part.seconds)}" if part.seconds else "", "dim")
        rows.append(line.cut(width))
    if room and len(parts) < len(outlook.models):
        rows.append(Line(f"and {len(outlook.models) - len(parts)} more models", "dim"))
    return [*head, *remarks, *rows][:height]


def sum_line(outlook: BakeoffOutlook, role: str) -> Line:
    """`312 answers in all, 104 of them there already, about 14 min`."""
    line = Line(f"{outlook.answers:,} answers", f"bold {role}").add(" in all", role)
    if outlook.there == outlook.answers:
        return line.add(", all there already: tick more, or raise the repeats", role)
    if outlook.there:
        line.add(f", {'up to ' if outlook.there_at_most else ''}{outlook.there:,} of them there already", role)
    known = [part.seconds for part in outlook.models if part.seconds is not None]
    if known and len(known) == len(outlook.models):
        line.add(f", about {duration(sum(known))} and the loads of the models", "dim")
    elif known:
        more = plural(len(outlook.models) - len(known), "model")
        line.add(f", about {duration(sum(known))} and what {more} not measured here will take", "dim")
    else:
        line.add(", how long is not known: none of them was measured here", "dim")
    return line


def tasks_line(outlook: BakeoffOutlook) -> Line:
    """`judge 13 inputs × 2, titles 8 inputs × 3; each by 4 candidates`."""
    shown = [f"{name} {plural(inputs, 'input')} × {repeats}" for name, inputs, repeats in outlook.tasks[:MOST_TASKS]]
    more = len(outlook.tasks) - len(shown)
    candidates = sum(part.candidates for part in outlook.models)
    words = ", ".join(shown) + (f" and {plural(more, 'task')} more" if more else "")
    return Line(printable(f"{words}; each by {plural(candidates, 'candidate')}"), "dim")


def _told(mark: str, text: str, role: str, width: int) -> list[Line]:
    rows = wrapped(printable(text), max(10, width - len(mark)))
    return [Line(mark if index == 0 else " " * len(mark), role).add(row, role) for index, row in enumerate(rows)]


def command_rows(words: str, queueing: bool, width: int) -> list[Line]:
    """The command that does the same, as far as three rows hold it."""
    if queueing:
        return [Line(" queueing: servers, examples and the interpreter are checked …", "busy")]
    rows = list(wrapped(words, max(20, width - 2))) if words else [""]
    return [Line(f" {row}", "dim") for row in rows[:MOST_COMMAND_ROWS]]


def told_against(
    wrong: Mapping[str, str], lacking: Lacking | None, problem: str, outlook: BakeoffOutlook | None
) -> str:
    """Why it is not queued: what is wrong in a field first; empty where that is being looked at still."""
    if wrong:
        return next(iter(wrong.values())) or "⏎ in the field adds the candidate that is written there"
    if lacking is not None:
        return TO_TICK[lacking]
    return problem or (outlook.told if outlook is not None else "")
