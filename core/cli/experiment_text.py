"""An experiment as text: arms and states, the forest plot, the answer with its caveats, what to run next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from core.bakeoff.figures import signed
from core.bakeoff.short_names import heads
from core.cli.text_grid import MIN_WIDTH, blocks, wrap
from core.experiments.forest import drawn, extent, forest_rows
from core.experiments.shown import ShownExperiment, ShownTask
from core.experiments.standing import ArmStanding
from core.experiments.tables import ExperimentTable
from core.format import SCORE_SCALE, data_size, duration
from core.scoring.scorer import Part
from core.wording.experiment_tables import heads_of, rows_of, title_of
from core.wording.experiments import (
    MARKS,
    STANDS,
    answer_lines,
    caveat_words,
    effect_words,
    next_words,
    score_words,
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
    for title, lines in (
        ("before you believe it", [caveat_words(one, shown.names) for one in answer.caveats]),
        ("to sharpen it", [next_words(one, shown.names) for one in answer.next_steps]),
    ):
        if lines:
            yield ""
            yield title
            for line in lines:
                yield from wrap(f"  {line}", width)


def _arms(shown: ShownExperiment, task: ShownTask) -> Iterator[list[str]]:
    short = heads([arm.name for arm in task.evidence.arms], _NAME)
    parts = task.answer.parts
    yield ["arm", "state", *parts, "peak", "a training", "a step"]
    standings = {arm.key: arm for arm in shown.standing.arms if arm.task == task.name}
    order = {key: place for place, key in enumerate(task.answer.ranking.order)}
    for arm in sorted(task.evidence.arms, key=lambda arm: (order.get(arm.key, len(order)), arm.place)):
        cost = task.answer.cost(arm.key)
        scores = [task.answer.score(arm.key, part) for part in parts]
        yield [
            short.of[arm.name],
            _state(standings[arm.key]),
            *(score_words(None if one is None else one.tuned) for one in scores),
            "—" if cost is None or cost.peak_bytes is None else data_size(cost.peak_bytes),
            "—" if cost is None or cost.seconds is None else duration(cost.seconds),
            "—" if cost is None or cost.seconds_a_step is None else f"{cost.seconds_a_step:.1f} s",
        ]


def _state(arm: ArmStanding) -> str:
    """`✓ 3 of 3`: trainings that are done."""
    finals = arm.of_role("final")
    done = sum(run.stand == "done" for run in finals)
    told = f"{done} of {len(finals)}" if arm.stand in ("running", "waiting", "done") else STANDS[arm.stand]
    return f"{MARKS[arm.stand]} {told}"


def _forest(names: Mapping[str, str], task: ShownTask, part: Part, width: int) -> Iterator[str]:
    rows = forest_rows(task.answer, part)
    if len(rows) < 2:
        return
    short = heads([names[row.arm] for row in rows], _NAME)
    low, high = extent(rows)
    room = min(_PLOT, max(11, width - _NAME - 30))
    yield ""
    yield from wrap(f"{part}: less the leader ◆, with 95 % intervals; ✗ shown to be worse, over all pairs", width)
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
