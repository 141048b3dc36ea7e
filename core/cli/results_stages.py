"""The stages of an adapter as plain text: where quality was lost on the way to what serves."""

from __future__ import annotations

from collections.abc import Iterator

from core.bakeoff.figures import DASH, p_value
from core.bakeoff.stages import StageTable
from core.cli.results_report import SCALE, draw_score
from core.cli.text_grid import MIN_WIDTH, grid, wrap
from core.format import score_figure
from core.scoring.scorer import Part
from core.text import printable
from core.wording.stages import OUTCOMES, difference_words, headline_words, legend_words, stage_words


def stages_text(table: StageTable, width: int) -> str:
    """A line a stage with the step that led to it, part by part, no line wider than `width` (at least 60 columns)."""
    width = max(width, MIN_WIDTH)
    lines = [*wrap(f"Stages of {printable(table.task)}: where quality was lost", width)]
    lines += wrap(headline_words(table), width)
    for part in table.parts:
        lines += ["", *_of_part(table, part, width)]
    return "\n".join([*lines, *wrap(legend_words(table), width)])


def _of_part(table: StageTable, part: Part, width: int) -> Iterator[str]:
    rows = [["stage", part, "", "step", "p"]]
    drawn = [SCALE]
    for row in table.rows:
        step = table.step(row.name, part)
        one = None if step is None else step.comparison
        rows.append(
            [
                stage_words(row.stage),
                score_figure(row.scores[part]),
                "" if step is None else OUTCOMES[step.outcome],
                "" if step is None else difference_words(step),
                "" if step is None else DASH if one is None else p_value(one.p_adjusted),
            ]
        )
        drawn.append(draw_score(row.scores[part], row.intervals[part]))
    yield from grid(rows, width, last=drawn)
