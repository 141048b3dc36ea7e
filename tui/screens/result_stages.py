"""The rows of the stages of an adapter: at which step quality was lost, with an interval a stage and a difference a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.format import score_figure
from core.text import printable
from core.wording.stages import OUTCOMES, difference_words, headline_words, legend_words, stage_words, step_words
from tui.lines import Line, wrapped
from tui.panes.bakeoff import axis
from tui.widgets.bars import interval

if TYPE_CHECKING:
    from core.bakeoff.stages import StageTable
    from core.scoring.scorer import Part

SCORE, SAID, GAP = 7, 13, 2
LEAST_SCALE, WIDEST_SCALE = 14, 60
ROLES = {"gain": "good", "no_loss": "good", "same_answers": "good", "loss": "bad", "cannot_tell": "warn"}


def stage_rows(table: StageTable, part: Part, selected: int, width: int) -> list[Line]:
    """A head and a line a stage in the order in which they are made: its score, drawn with its interval, and the step to it."""
    labels = [stage_words(row.stage) for row in table.rows]
    name = min(max(len(label) for label in labels) + 4, max(12, width // 4))
    of_part = [one for one in table.steps if one.part == part]
    step_room = max((len(difference_words(one)) for one in of_part), default=4) + GAP
    scale = min(WIDEST_SCALE, width - name - SCORE - SAID - step_room - GAP)
    head = Line("  stage", "dim").to(name).add(f"{part[:SCORE]:>{SCORE}}", "dim")
    if scale >= LEAST_SCALE:
        head.add(" " * GAP).extend(axis(0.0, scale))
    head.add(f"{'step':>{step_room}}", "dim")
    rows = [head.cut(width)]
    for index, (row, label) in enumerate(zip(table.rows, labels, strict=True)):
        score = row.scores[part]
        own = row.intervals[part]
        step = table.step(row.name, part)
        role = "text" if step is None else ROLES[step.outcome]
        line = Line("▸ " if index == selected else "  ", "focus")
        line.add(label, "bold" if index == selected else "text").cut(name - 1).to(name)
        line.add(f"{score_figure(score):>{SCORE}}")
        if scale >= LEAST_SCALE:
            line.add(" " * GAP)
            drawn = Line() if score is None else interval(own.low, score, own.high, 0.0, 1.0, scale, role)
            line.extend(drawn.to(scale))
        line.add(f"{'' if step is None else difference_words(step):>{step_room}}")
        line.add(" " * GAP).add("" if step is None else OUTCOMES[step.outcome], role)
        rows.append(line.cut(width))
    return rows


def below_rows(table: StageTable, selected: int, width: int) -> list[Line]:
    """Where quality was lost, the selected stage's step in full, and how to read the table."""
    chosen = table.rows[selected]
    rows = [Line(), *(Line(row, "bold") for row in wrapped(headline_words(table), width)), Line()]
    rows.append(Line(printable(chosen.name), "focus").cut(width))
    for part in table.parts:
        step = table.step(chosen.name, part)
        if step is not None:
            rows += [Line(row, ROLES[step.outcome]) for row in wrapped(step_words(table, step), width)]
    if not any(table.step(chosen.name, part) for part in table.parts):
        rows.append(Line("the first stage: the others are compared with what they were made from", "dim").cut(width))
    return [*rows, Line(), *(Line(row, "dim") for row in wrapped(legend_words(table), width))]
