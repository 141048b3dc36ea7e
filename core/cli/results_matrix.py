"""The matrix of a bake-off as text: task × candidate, who wins how many tasks, and what tuning for one cost at the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from core.bakeoff.figures import DASH, bounds, count, signed
from core.bakeoff.matrix import Matrix, MatrixCell, Standing
from core.bakeoff.short_names import heads
from core.cli.text_grid import MIN_WIDTH, blocks, grid, wrap
from core.format import SCORE_SCALE, listed, score_figure
from core.text import clip, printable
from core.wording.matrix import AGAINST, LEFT_OUT, OUTCOMES, by_standing, cell_legend, cell_mark

_HEAD = 12
_NAME = 28


def matrix_text(
    matrix: Matrix, width: int, *, above: Sequence[str] = (), trained: Mapping[str, str] | None = None
) -> str:
    """The matrix, no line wider than `width` (at least 60 columns); `above` are lines below the title."""
    width = max(width, MIN_WIDTH)
    parts = [
        list(_title(matrix, width, above)),
        list(_scores(matrix, width)),
        list(_standings(matrix, width)),
        list(_trainings(trained or {}, width)),
        list(_costs(matrix, width)),
        list(_left_out(matrix, width)),
        [line for note in matrix.notes for line in wrap(f"* {note}", width)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _title(matrix: Matrix, width: int, above: Sequence[str]) -> Iterator[str]:
    size = f"{count(len(matrix.tasks), 'task')} × {count(len(matrix.candidates), 'candidate')}"
    against = f", incumbent {printable(matrix.incumbent)}" if matrix.incumbent else ""
    yield from wrap(f"Bake-off over {size}, scores 0 to {SCORE_SCALE}{against}", width)
    for line in above:
        yield from wrap(line, width)


def _scores(matrix: Matrix, width: int) -> Iterator[str]:
    order = by_standing(matrix)
    short = heads(order, _NAME)
    tasks = heads(list(matrix.tasks), _HEAD)
    lines = [["candidate", *(f"{tasks.of[task]:>4}    " for task in matrix.tasks)]]
    for name in order:
        lines.append([short.of[name], *(_cell(matrix.cell(task, name)) for task in matrix.tasks)])
    yield from blocks(lines, width)
    yield from wrap("; ".join(cell_legend(matrix)), width)
    for key in (short.key, tasks.key):
        if key:
            yield from wrap(key, width)


def _cell(cell: MatrixCell) -> str:
    return f"{score_figure(cell.score)} {_signs(cell):<3}"


def _signs(cell: MatrixCell) -> str:
    return cell_mark(cell) + AGAINST.get(cell.outcome or "", "")


def _standings(matrix: Matrix, width: int) -> Iterator[str]:
    """Who wins how many tasks against the incumbent, corrected over candidates and tasks."""
    if matrix.incumbent is None or len(matrix.candidates) < 2:
        return
    order = by_standing(matrix)
    short = heads(order, _NAME)
    lines = [
        [f"against {clip(short.of[matrix.incumbent], 20)}", "wins", "no worse", "loses", "mixed", "cannot tell", "mean"]
    ]
    for name in order:
        one = matrix.standing(name)
        if not one.incumbent:
            lines.append([short.of[name], *_counts(one), _mean(one)])
    yield from grid(lines, width)
    legend = (
        "Tasks, each statement corrected over candidates and tasks (max-T, Holm). mean: of the differences of the tasks"
    )
    yield from wrap(f"{legend}, 95 % with the task as the unit.", width)
    for name in order:
        if said := _which(matrix.standing(name)):
            yield from wrap(f"{printable(name)}: {said}", width)


def _which(one: Standing) -> str:
    """`wins judge; loses planner and tidy`: at which tasks something is shown; empty where at none, and of the incumbent."""
    shown = [outcome for outcome in OUTCOMES if outcome != "cannot_tell" and getattr(one, outcome)]
    return "; ".join(
        f"{OUTCOMES[outcome]} {listed([printable(task) for task in getattr(one, outcome)])}" for outcome in shown
    )


def _counts(one: Standing) -> list[str]:
    return [str(len(getattr(one, outcome)) or DASH) for outcome in OUTCOMES]


def _mean(one: Standing) -> str:
    if one.mean_difference is None:
        return DASH
    return signed(one.mean_difference) + (f" {bounds(one.interval)}" if one.interval.estimable else "")


def _trainings(trained: Mapping[str, str], width: int) -> Iterator[str]:
    """What tells trainings of one model apart, where their names do not."""
    for name, words in trained.items():
        if words not in name:
            yield from wrap(f"{printable(name)}: trained with {printable(words)}", width)


def _costs(matrix: Matrix, width: int) -> Iterator[str]:
    """What a candidate that was trained for one task lost or won at the others."""
    if not matrix.tuning_costs:
        return
    short = heads(by_standing(matrix), _NAME).of
    lines = [["tuned for one task", "for", "at", "to its base", ""]]
    for cost in matrix.tuning_costs:
        interval = cost.statements[0].comparison.interval
        figure = signed(cost.difference) + (f" {bounds(interval)}" if interval.estimable else "")
        words = [
            short[cost.candidate],
            printable(cost.trained_for),
            printable(cost.task),
            figure,
            OUTCOMES[cost.outcome],
        ]
        lines.append(words)
    yield from grid(lines, width, left=3)


def _left_out(matrix: Matrix, width: int) -> Iterator[str]:
    """Cells that take no part in any statement, and those of which answers are missing."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for cell in matrix.cells:
        if cell.left_out is not None:
            reasons.setdefault(LEFT_OUT[cell.left_out], {}).setdefault(cell.candidate, []).append(cell.task)
    for words, by_candidate in reasons.items():
        for name, tasks in by_candidate.items():
            yield from wrap(f"{printable(name)}: {words} at {listed([printable(task) for task in tasks])}", width)
    missing = Counter({(cell.candidate, cell.task): cell.missing for cell in matrix.cells if cell.left_out is None})
    for (name, task), number in missing.items():
        if number:
            cell = matrix.cell(task, name)
            said = f"{number} of {count(cell.expected, 'answer')} missing at {printable(task)}"
            yield from wrap(f"{printable(name)}: {said}", width)
