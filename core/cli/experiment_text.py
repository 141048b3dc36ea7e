"""An experiment as text: arms and states, the forest plot, the answer with its caveats, what to run next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from core.bakeoff.figures import signed
from core.bakeoff.short_names import heads
from core.cli.text_grid import MIN_WIDTH, blocks, wrap
from core.experiments.forest import drawn, extent, forest_rows
from core.experiments.shown import ShownExperiment, ShownTask
from core.experiments.tables import ExperimentTable
from core.format import SCORE_SCALE
from core.scoring.scorer import Part
from core.wording.experiment_tables import heads_of, rows_of, title_of
from core.wording.experiments import (
    FIGURES,
    FOREST_LEGEND,
    MARKS,
    answer_lines,
    caveat_lines,
    effect_words,
    figures_of,
    next_lines,
    stand_words,
    standing_words,
)

_NAME = 28
_PLOT = 41


def experiment_text(shown: ShownExperiment, width: int) -> Iterator[str]:
    """All of it, no line wider than `width` (at least 60 columns)."""
    width = max(width, MIN_WIDTH)
    if shown.runs.experiment.question:
        yield from wrap(shown.runs.experiment.question, width)
    yield from wrap(f"{shown.stored.name}: {standing_words(shown.standing)}", width)
    for task in shown.tasks:
        yield ""
        yield from _task(shown, task, width)


def tables_text(tables: Sequence[ExperimentTable], width: int) -> Iterator[str]:
    """Tables below each other, no line wider than `width` (at least 60 columns)."""
    width = max(width, MIN_WIDTH)
    for number, table in enumerate(tables):
        if number:
            yield ""
        yield from wrap(title_of(table), width)
        yield from blocks([heads_of(table), *rows_of(table)], width)


def _task(shown: ShownExperiment, task: ShownTask, width: int) -> Iterator[str]:
    answer = task.answer
    seen = f"block {answer.block} of {answer.blocks}" if answer.block else "no bake-off has ended yet"
    yield from wrap(f"{task.name}: scores 0 to {SCORE_SCALE}, {seen}", width)
    yield from blocks(list(_arms(shown, task)), width)
    for part in answer.parts:
        yield from _forest(shown.names, task, part, width)
    yield ""
    for line in answer_lines(answer, shown.names):
        yield from wrap(line, width)
    for title, lines in (caveat_lines(answer, shown.names), next_lines(answer, shown.names)):
        if lines:
            yield ""
            yield title
            for line in lines:
                yield from wrap(f"  {line}", width)


def _arms(shown: ShownExperiment, task: ShownTask) -> Iterator[list[str]]:
    short = heads([arm.name for arm in task.evidence.arms], _NAME)
    yield ["arm", "state", *task.answer.parts, *FIGURES]
    standings = {arm.key: arm for arm in shown.standing.arms if arm.task == task.name}
    for arm in task.ranked:
        standing = standings[arm.key]
        state = f"{MARKS[standing.stand]} {stand_words(standing)}"
        yield [short.of[arm.name], state, *figures_of(task.answer, arm.key)]


def _forest(names: Mapping[str, str], task: ShownTask, part: Part, width: int) -> Iterator[str]:
    rows = forest_rows(task.answer, part)
    if len(rows) < 2:
        return
    short = heads([names[row.arm] for row in rows], _NAME)
    low, high = extent(rows)
    room = min(_PLOT, max(11, width - _NAME - 30))
    yield ""
    yield from wrap(f"{part}: {FOREST_LEGEND}", width)
    for row in rows:
        told = "" if row.effect is None else effect_words(row.effect)
        line = f"{'✗' if row.worse else ' '} {short.of[names[row.arm]]:<{_NAME}} {drawn(row, low, high, room)}"
        if len(line) + 1 + len(told) <= width:
            yield f"{line} {told}".rstrip()
        else:
            yield line.rstrip()
            yield from wrap(f"    {told}", width)
    yield f"  {'':<{_NAME}} {signed(low)}{signed(high).rjust(room - len(signed(low)))}"
    if short.key:
        yield from wrap(short.key, width)
