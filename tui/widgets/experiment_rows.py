"""Experiments as rows: all of a project, and one of them with arms, differences, answer and what to run next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.bakeoff.figures import signed
from core.bakeoff.short_names import heads
from core.format import listed, plural
from core.text import printable
from core.wording.experiment_plan import jobs_stand, jobs_words
from core.wording.experiments import (
    FIGURES,
    FOREST_LEGEND,
    MARKS,
    answer_lines,
    caveat_lines,
    effect_words,
    figures_of,
    headline,
    next_lines,
    stand_words,
    standing_words,
)
from tui.lines import Line, folded

if TYPE_CHECKING:
    from core.experiments.shown import ShownExperiment, ShownTask
    from core.experiments.standing import ArmStanding, Stand
    from core.scoring.scorer import Part

ROLES: Mapping[Stand, str] = {"waiting": "dim", "running": "busy", "done": "good", "failed": "bad", "censored": "dim"}
MOST_NAME, LEAST_NAME = 30, 14
LEAST_PLOT, MOST_PLOT = 15, 45
_GAP = 2
NOT_RUN = "not run yet"


def experiment_list_rows(rows: Sequence[Mapping[str, Any]], selected: str | None, width: int) -> list[Line]:
    """A row an experiment; of the selected one its question, arms and what is wrong with its file below."""
    name = min(MOST_NAME, max([LEAST_NAME, *(len(row["name"]) + 4 for row in rows)]))
    stands = [NOT_RUN if row["jobs"] is None else jobs_words(row["jobs"]) for row in rows]
    tasks = name + max(
        [len("jobs"), *(len(told) for row, told in zip(rows, stands, strict=True) if not row["problem"])]
    )
    head = Line("  experiment", "dim").to(name).add("jobs", "dim").to(tasks + _GAP).add("tasks", "dim")
    lines = [head.cut(width)] if rows else []
    for row, told in zip(rows, stands, strict=True):
        jobs: Mapping[str, int] | None = row["jobs"]
        sign, role = ("✗", "bad") if row["problem"] else (" ", "dim")
        if jobs is not None:
            stand = jobs_stand(jobs)
            sign, role = MARKS[stand], ROLES[stand]
        line = Line(f"{sign} ", role, mark="chosen" if row["name"] == selected else "")
        line.add(printable(row["name"])).cut(name - 1).to(name)
        if row["problem"]:
            line.add(printable(row["problem"]), "bad")
        else:
            line.add(told, "dim" if jobs is None else "text").to(tasks + _GAP).add(listed([*row["tasks"]]), "dim")
        lines.append(line.cut(width))
    chosen = next((row for row in rows if row["name"] == selected), None)
    if chosen is not None:
        lines.append(Line())
        for text, role in (
            (chosen["question"], "bold"),
            (f"{plural(len(chosen['arms']), 'arm')}: {listed([*chosen['arms']])}" if chosen["arms"] else None, "text"),
            (chosen["problem"], "bad"),
        ):
            if text:
                lines += folded(Line(printable(text), role), width)
    return lines


def experiment_rows(shown: ShownExperiment, task: ShownTask | None, selected: str | None, width: int) -> list[Line]:
    """One experiment at one of its tasks; `selected` is the key of an arm."""
    lines: list[Line] = []
    if shown.runs.experiment.question:
        lines += folded(Line(printable(shown.runs.experiment.question), "bold"), width)
    lines += folded(Line(standing_words(shown.standing), ROLES[shown.standing.stand]), width)
    if task is None:
        return lines
    lines += folded(Line(headline(task.answer, shown.names), "bold" if task.answer.leader else "dim"), width)
    lines.append(Line())
    lines += arm_rows(shown, task, selected, width)
    plots = [plot for part in task.answer.parts if (plot := forest_lines(shown.names, task, part, width))]
    if plots:
        lines += [Line(), *folded(Line(FOREST_LEGEND, "dim"), width)]
    for number, plot in enumerate(plots):
        lines += [Line(), *plot] if number else plot
    inner = True
    for text in list(answer_lines(task.answer, shown.names))[1:]:
        if inner and not text.startswith(" "):
            lines.append(Line())  # what follows from one statement stands below it, and apart from the next
        inner = text.startswith(" ")
        lines += folded(Line(text), width)
    for (title, texts), role in (
        (caveat_lines(task.answer, shown.names), "warn"),
        (next_lines(task.answer, shown.names), "text"),
    ):
        if texts:
            lines += [Line(), Line(title, "dim")]
            for text in texts:
                lines += folded(Line("▲ " if role == "warn" else "→ ", role).add(text), width)
    return lines


def arm_rows(shown: ShownExperiment, task: ShownTask, selected: str | None, width: int) -> list[Line]:
    """The arms in the order of the ranking, those without scores last: state, scores, memory and time."""
    arms = task.ranked
    name = min(MOST_NAME, max([LEAST_NAME, *(len(arm.name) + 3 for arm in arms)]))
    short = heads([arm.name for arm in arms], name - 3)
    standings = {arm.key: arm for arm in shown.standing.arms if arm.task == task.name}
    table = [[_state(standings[arm.key]), *figures_of(task.answer, arm.key)] for arm in arms]
    titles = ["state", *task.answer.parts, *FIGURES]
    columns = [max(len(title), *(len(row[place]) for row in table)) + _GAP for place, title in enumerate(titles)]
    fit, room = 0, width - name
    while fit < len(columns) and columns[fit] <= room:
        room -= columns[fit]
        fit += 1
    head = Line("  arm", "dim").to(name)
    for title, column in list(zip(titles, columns, strict=True))[:fit]:
        head.add(f"{title:>{column}}", "dim")
    lines = [head.cut(width)]
    for arm, row in zip(arms, table, strict=True):
        stand = standings[arm.key].stand
        member = arm.key in task.answer.ranking.members
        line = Line(f"{MARKS[stand]} ", ROLES[stand], mark="chosen" if arm.key == selected else "")
        line.add(short.of[arm.name], "good" if member else "text").cut(name - 1).to(name)
        for text, column in list(zip(row, columns, strict=True))[:fit]:
            line.add(f"{text:>{column}}")
        lines.append(line.cut(width))
    if short.key:
        lines += folded(Line(short.key, "dim"), width)
    return lines


def _state(standing: ArmStanding) -> str:
    """How far it is, with how much of what runs is done."""
    running = next((run for run in standing.runs if run.stand == "running"), None)
    share = "" if running is None or running.share is None else f", {running.share:.0%}"
    return stand_words(standing) + share


def forest_lines(names: Mapping[str, str], task: ShownTask, part: Part, width: int) -> list[Line]:
    """Each arm less the leader, with its interval; nothing where there is nothing to compare."""
    from core.experiments.forest import drawn, extent, forest_rows

    rows = forest_rows(task.answer, part)
    if len(rows) < 2:
        return []
    told = [effect_words(row.effect) if row.effect is not None else "leads" for row in rows]
    name = min(MOST_NAME, max([LEAST_NAME, *(len(names[row.arm]) + 3 for row in rows)]))
    short = heads([names[row.arm] for row in rows], name - 3)
    figures = max(map(len, told)) + _GAP
    low, high = extent(rows)
    plot = min(MOST_PLOT, width - name - figures)
    beside = plot >= LEAST_PLOT
    if not beside:
        plot = min(MOST_PLOT, width - name)
    if plot < LEAST_PLOT:
        return []
    lines = [Line(f"  {part}", "bold")]
    for row, text in zip(rows, told, strict=True):
        line = Line("✗ " if row.worse else "  ", "bad").add(short.of[names[row.arm]]).cut(name - 1).to(name)
        before, rule, after = drawn(row, low, high, plot).partition("│")  # no difference: a line of no arm's colour
        role = "bad" if row.worse else "good" if row.effect is None else "text"
        line.add(before, role).add(rule, "dim").add(after, role)
        if beside:
            lines.append(line.add(f"  {text}"))
        else:
            lines += [line, *folded(Line(" " * 4).add(text), width)]
    left, right = signed(low), signed(high)
    scale = left + right.rjust(plot - len(left))
    lines.append(Line(" " * name).add(scale, "dim").cut(width))
    return lines
