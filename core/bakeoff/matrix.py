"""The leaderboards of several tasks side by side: task × candidate, and what may be said over all tasks together.

A board holds its error rate at 5 %; of eight such boards a third show a win that is none. What the matrix states ("wins five
tasks") is therefore corrected over tasks as well: max-T over the candidates and parts of a task, Holm over tasks. Mean ranks
are not shown: they depend on who else took part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

from core.bakeoff.leaderboard import Leaderboard, plain_types, scores_of_board
from core.errors import InputError
from core.statistics.comparison import Comparison, compare_pairs
from core.statistics.multiplicity import holm, holm_over_groups
from core.statistics.paired import ALPHA, Interval, Paired, t_interval
from core.statistics.permutation import clusters_to_show
from core.statistics.verdicts import Verdict, verdict

Outcome = Literal["wins", "no_worse", "loses", "mixed", "cannot_tell"]
LeftOut = Literal["not_asked", "no_answers", "curtailed", "incumbent_not_answered"]
"""`incumbent_not_answered`: the two share no answered input."""


@dataclass(frozen=True)
class MatrixStatement:
    """One comparison of a task, corrected over all of the matrix.

    `comparison` is that of the task: its `p_adjusted` holds within the task, `p_matrix` over the tasks, too, and `verdict` is
    what may be said by that. `p_no_worse` is the one-sided p of "worse by the margin or more", corrected over the matrix.
    """

    comparison: Comparison
    p_matrix: float
    p_no_worse: float
    verdict: Verdict


@dataclass(frozen=True)
class MatrixCell:
    """One candidate at one task. Scores are in [0, 1].

    `score` is that of the part that leads the task's board. `tied` means that the candidate is in the tied set, `best` that it
    is the first of it. `statements` are against the incumbent, one a part; they are empty for the incumbent itself and where
    `left_out` says why the cell takes no part in any statement. `missing` counts answers, `faults` answers by what the model
    did.
    """

    task: str
    candidate: str
    score: float | None
    interval: Interval
    format_score: float | None
    content_score: float | None
    tied: bool
    best: bool
    answers: int
    expected: int
    missing: int
    curtailed: bool
    faults: Mapping[str, int]
    statements: tuple[MatrixStatement, ...] = ()
    outcome: Outcome | None = None
    left_out: LeftOut | None = None

    @property
    def difference(self) -> float | None:
        """`score` less the incumbent's, over the inputs that both answered; None without a comparison."""
        return self.statements[0].comparison.difference if self.statements else None


@dataclass(frozen=True)
class Standing:
    """One candidate over all tasks, each named in exactly one of the tuples of its outcomes.

    `tied_sets` are the tasks in whose tied set it is. `mean_difference` is that of its scores to the incumbent's with the task
    as the unit, over `tasks_compared`; its interval is not corrected over candidates, and no statement is made by it.
    """

    candidate: str
    form: str | None
    incumbent: bool
    wins: tuple[str, ...]
    no_worse: tuple[str, ...]
    loses: tuple[str, ...]
    mixed: tuple[str, ...]
    cannot_tell: tuple[str, ...]
    left_out: tuple[str, ...]
    tied_sets: tuple[str, ...]
    mean_difference: float | None
    interval: Interval
    tasks_compared: int


@dataclass(frozen=True)
class TuningCost:
    """What training a candidate for one task (`trained_for`) has changed at another: its difference to its base there."""

    candidate: str
    base: str
    trained_for: str
    task: str
    statements: tuple[MatrixStatement, ...]
    outcome: Outcome

    @property
    def difference(self) -> float:
        """Of the part that leads the task's board; below 0 where the candidate has lost."""
        return self.statements[0].comparison.difference


@dataclass(frozen=True)
class Matrix:
    """Tasks in their order, candidates in the order of the first task's board, and a cell for each pair of them.

    `incumbent` is whom all statements are against; None: the boards have no common one, and there are no statements. `notes`
    say in plain words what a reader must know before believing the figures.
    """

    tasks: tuple[str, ...]
    candidates: tuple[str, ...]
    incumbent: str | None
    cells: tuple[MatrixCell, ...]
    standings: tuple[Standing, ...]
    tuning_costs: tuple[TuningCost, ...]
    notes: tuple[str, ...]

    def cell(self, task: str, candidate: str) -> MatrixCell:
        """KeyError for an unknown task or candidate."""
        return self.cells[_place(self.tasks, task) * len(self.candidates) + _place(self.candidates, candidate)]

    def standing(self, candidate: str) -> Standing:
        """KeyError for an unknown candidate."""
        return self.standings[_place(self.candidates, candidate)]

    def to_json(self) -> dict[str, Any]:
        """Plain types only: numbers are finite or null."""
        document: dict[str, Any] = plain_types({"schema": 1, **asdict(self)})
        return document


def _place(names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise KeyError(name)
    return names.index(name)


def build_matrix(
    boards: Mapping[str, Leaderboard],
    *,
    incumbent: str | None = None,
    trained_for: Mapping[str, str] | None = None,
    bases: Mapping[str, str] | None = None,
) -> Matrix:
    """The matrix of the boards by task. The incumbent is by default the one that all boards have.

    `trained_for` is the task that a candidate was trained for, `bases` the candidate that it was trained from: of those in both
    the costs at the other tasks are worked out. InputError for an incumbent that no board knows.
    """
    shared = _common_incumbent(boards) if incumbent is None else incumbent
    candidates = tuple(dict.fromkeys(row.name for board in boards.values() for row in board.rows))
    if incumbent is not None and incumbent not in candidates:
        message = (
            f"the incumbent `{incumbent}` is not among the candidates {', '.join(candidates) or '(there are none)'}"
        )
        raise InputError(message, code="unknown_candidate")
    margins = {task: board.margin for task, board in boards.items()}
    stated = state({task: _against(board, shared) for task, board in boards.items()}, margins)
    cells = tuple(
        _cell(task, board, name, shared, stated.get((task, name), ()))
        for task, board in boards.items()
        for name in candidates
    )
    return Matrix(
        tasks=tuple(boards),
        candidates=candidates,
        incumbent=shared,
        cells=cells,
        standings=tuple(
            _standing(name, [cell for cell in cells if cell.candidate == name], shared, boards) for name in candidates
        ),
        tuning_costs=_tuning_costs(boards, trained_for or {}, bases or {}),
        notes=tuple(matrix_notes(boards, cells, candidates, shared, trained_for or {}, bases or {})),
    )


def matrix_notes(
    boards: Mapping[str, Leaderboard],
    cells: Sequence[MatrixCell],
    candidates: Sequence[str],
    incumbent: str | None,
    trained_for: Mapping[str, str],
    bases: Mapping[str, str],
) -> Iterator[str]:
    """What the cells do not say, and a reader must know before believing the matrix."""
    if incumbent is None and len(boards) > 1:
        yield "The tasks have no incumbent in common: nothing is said over all of them. Name one."
    yield from _power(cells, len(boards))
    lost = [name for name in trained_for if name in candidates and bases.get(name) not in candidates]
    if lost:
        yield f"What tuning has cost at other tasks is not known of {', '.join(lost)}: the base takes no part."


def _power(cells: Sequence[MatrixCell], tasks: int) -> Iterator[str]:
    """Tasks of so few inputs that nothing can be shown there as long as the other tasks show nothing."""
    most: dict[str, Comparison] = {}
    for cell in cells:
        for statement in cell.statements:
            # Of candidates that have answered different inputs, the one that can show the most tells what the task can.
            if cell.task not in most or statement.comparison.least_p < most[cell.task].least_p:
                most[cell.task] = statement.comparison
    few = {task: one for task, one in most.items() if one.exact and min(1.0, tasks * one.least_p) > ALPHA}
    for task, one in few.items():
        unit = "input" if one.clusters == one.inputs else "source"
        units = f"1 {unit}" if one.clusters == 1 else f"{one.clusters} {unit}s"
        yield (
            f"{task}: {units} can reach p {min(1.0, tasks * one.least_p):.2g} at best over {tasks} tasks. "
            f"Add {clusters_to_show(tasks) - one.clusters} for p {ALPHA}."
        )


def _common_incumbent(boards: Mapping[str, Leaderboard]) -> str | None:
    names = {board.incumbent for board in boards.values()}
    return names.pop() if len(names) == 1 else None


def _against(board: Leaderboard, incumbent: str | None) -> list[Comparison]:
    """All candidates of a board against the incumbent."""
    if incumbent is None:
        return []
    if incumbent == board.incumbent:
        return list(board.comparisons)
    return _compare(board, {row.name: incumbent for row in board.rows if row.name != incumbent})


def _compare(board: Leaderboard, against: Mapping[str, str]) -> list[Comparison]:
    """Candidates of a board against others of it, as one family; those that share no answered input are left out."""
    scores = scores_of_board(board)
    pairs = [(scores[ours], scores[theirs]) for ours, theirs in against.items() if {ours, theirs} <= scores.keys()]
    return compare_pairs(pairs, board.parts, board.cluster_of, board.margin)


def state(
    compared: Mapping[str, Sequence[Comparison]], margins: Mapping[str, float]
) -> dict[tuple[str, str], tuple[MatrixStatement, ...]]:
    """The comparisons of each task by (task, candidate), corrected over the tasks.

    They come corrected within their task. False wins and losses are held at 5 % over all tasks, and so is a false "no worse".
    """
    corrected = holm_over_groups([[one.p_adjusted for one in found] for found in compared.values()])
    # A task is called no worse where each of its parts is: the largest p counts, and parts need no correction.
    largest: dict[tuple[str, str], float] = {}
    for task, found in compared.items():
        for one in found:
            largest[(task, one.candidate)] = max(one.p_no_worse, largest.get((task, one.candidate), 0.0))
    no_worse = dict(zip(largest, holm(list(largest.values())), strict=True))
    stated: dict[tuple[str, str], tuple[MatrixStatement, ...]] = {}
    for (task, found), p_values in zip(compared.items(), corrected, strict=True):
        for one, p_matrix in zip(found, p_values, strict=True):
            key = (task, one.candidate)
            said = verdict(one.difference, p_matrix, no_worse[key], margins[task])
            statement = MatrixStatement(one, p_matrix, no_worse[key], said)
            stated[key] = (*stated.get(key, ()), statement)
    return stated


def _tuning_costs(
    boards: Mapping[str, Leaderboard], trained_for: Mapping[str, str], bases: Mapping[str, str]
) -> tuple[TuningCost, ...]:
    """The trained candidates at the tasks that they were not trained for, all corrected together."""
    away = {
        task: {name: bases[name] for name, own in trained_for.items() if own != task and bases.get(name, name) != name}
        for task in boards
    }
    margins = {task: board.margin for task, board in boards.items()}
    stated = state({task: _compare(board, away[task]) for task, board in boards.items()}, margins)
    return tuple(
        TuningCost(name, bases[name], trained_for[name], task, statements, _outcome(statements))
        for (task, name), statements in stated.items()
    )


def _cell(
    task: str, board: Leaderboard, candidate: str, incumbent: str | None, statements: tuple[MatrixStatement, ...]
) -> MatrixCell:
    rows = {row.name: row for row in board.rows}
    row = rows.get(candidate)
    if row is None:
        unknown = Interval(None, None, "interval not estimable: no answers")
        return MatrixCell(
            task, candidate, None, unknown, None, None, False, False, 0, 0, 0, False, {}, left_out="not_asked"
        )
    left_out: LeftOut | None = None
    if row.curtailed:
        left_out = "curtailed"
    elif row.score is None:
        left_out = "no_answers"
    elif not statements and incumbent not in {None, candidate}:
        left_out = "incumbent_not_answered"
    return MatrixCell(
        task=task,
        candidate=candidate,
        score=row.score,
        interval=row.interval,
        format_score=row.format_score,
        content_score=row.content_score,
        tied=candidate in board.tied_set,
        best=candidate == board.best,
        answers=row.answers,
        expected=row.expected,
        missing=row.missing,
        curtailed=row.curtailed,
        faults=row.faults,
        statements=statements,
        outcome=_outcome(statements) if statements else None,
        left_out=left_out,
    )


def _outcome(statements: Sequence[MatrixStatement]) -> Outcome:
    said = {statement.verdict for statement in statements}
    if {"better", "worse"} <= said:
        return "mixed"
    if "worse" in said:
        return "loses"
    if "better" in said:
        return "wins"
    return "no_worse" if said == {"no_worse"} else "cannot_tell"


def _standing(
    candidate: str, cells: Sequence[MatrixCell], incumbent: str | None, boards: Mapping[str, Leaderboard]
) -> Standing:
    def tasks(outcome: Outcome) -> tuple[str, ...]:
        return tuple(cell.task for cell in cells if cell.outcome == outcome)

    differences = {cell.task: cell.difference for cell in cells if cell.difference is not None}
    forms = [row.form for board in boards.values() for row in board.rows if row.name == candidate]
    return Standing(
        candidate=candidate,
        form=forms[0] if forms else None,
        incumbent=candidate == incumbent,
        wins=tasks("wins"),
        no_worse=tasks("no_worse"),
        loses=tasks("loses"),
        mixed=tasks("mixed"),
        cannot_tell=tasks("cannot_tell"),
        left_out=tuple(cell.task for cell in cells if cell.left_out is not None),
        tied_sets=tuple(cell.task for cell in cells if cell.tied),
        mean_difference=fmean(differences.values()) if differences else None,
        interval=_over_tasks(differences),
        tasks_compared=len(differences),
    )


def _over_tasks(differences: Mapping[str, float]) -> Interval:
    """The t interval of the mean difference, each task one observation."""
    if len(differences) < 2:
        return Interval(None, None, "interval not estimable: it needs two tasks")
    interval = t_interval(Paired(tuple(differences.values()), tuple(differences)))
    return interval if interval.estimable else Interval(None, None, "interval not estimable: all tasks say the same")
