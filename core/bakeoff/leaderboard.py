"""The leaderboard: who is better, by how much, and how sure one may be; from stored answers and scores alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from core.bakeoff.rows import CandidateRow, build_row
from core.bakeoff.summary import Headline, headline, notes
from core.checks import check_ids
from core.errors import InputError
from core.scoring.answers import Answer
from core.scoring.scored_answers import ScoredAnswers, place
from core.scoring.scorer import PARTS, Part, Score, part_score, plan_checks
from core.statistics.comparison import Comparison, compare_pairs, pair_tests, tied_set
from core.statistics.consistency import Repeats
from core.statistics.input_scores import InputScores, scores_of_answers
from core.statistics.selection import Selection, select

if TYPE_CHECKING:
    from core.config.golden import GoldenInput, GoldenSet
    from core.config.task import Task


@dataclass(frozen=True)
class Leaderboard:
    """Rows by mean format score, then content; curtailed ones are last. `parts` are those the task has checks for; the first
    leads.

    The order of the rows is that of what was measured, and no statement. The statement is `tied_set`: all who are not shown
    to be worse than another, in one family of all pairs. `best` is its first row, the one with the highest mean; that it is
    better than the others in the set is not shown. `comparisons` are against the incumbent, `ties` against the highest mean of
    each part; `notes` say in plain words what the figures can't tell. `input_ids` is the order of
    `CheckSummary.worst_by_input`, `sources` the cluster of each of them. `curtailed` candidates were stopped before their end:
    they have a row, and are in nothing else.
    """

    task: str
    headline: Headline
    rows: tuple[CandidateRow, ...]
    incumbent: str | None
    best: str | None
    tied_set: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    ties: tuple[Comparison, ...]
    notes: tuple[str, ...]
    parts: tuple[Part, ...]
    input_ids: tuple[str, ...]
    clusters: int
    repeats: int
    margin: float
    complete: bool
    sources: tuple[str, ...] = ()
    curtailed: tuple[str, ...] = ()
    selection: Selection | None = None

    def row(self, name: str) -> CandidateRow:
        """The row of a candidate; KeyError when it has none."""
        return {row.name: row for row in self.rows}[name]

    def comparison(self, candidate: str, part: Part) -> Comparison | None:
        """A candidate against the incumbent on one part; None for the incumbent itself and where nothing is shared."""
        return next((one for one in self.comparisons if one.candidate == candidate and one.part == part), None)

    def to_json(self) -> dict[str, Any]:
        """Plain types only: numbers are finite or null, and an interval that is null says its reason."""
        document: dict[str, Any] = plain_types({"schema": 1, **asdict(self), "headline": self.headline.text})
        return document


def plain_types(value: Any) -> Any:
    """The value in what JSON has: strings as keys, lists, and null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain_types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_types(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def build_leaderboard(
    task: Task,
    golden: GoldenSet | Sequence[GoldenInput],
    answers: Iterable[Answer],
    scores: Iterable[Score],
    incumbent: str | None = None,
    *,
    candidates: Mapping[str, str] | None = None,
    repeats: int | None = None,
    curtailed: Collection[str] = (),
) -> Leaderboard:
    """The leaderboard of a bake-off, finished or not.

    `candidates` maps the names of those who take part to their form ("base", "adapter", "merged", …), `repeats` is how
    often each input is asked; both are read off the answers when they are not given, and then a candidate or a repeat
    of which there is nothing yet is not seen as missing. The incumbent is the candidate that the others are compared
    with: by default the first base model, else the first that is named, else (without `candidates`) the best. InputError when
    there is no such candidate. `curtailed` candidates were stopped because they can't reach the incumbent any more.
    """
    inputs: Sequence[GoldenInput] = golden if isinstance(golden, Sequence) else golden.inputs
    answered = list(answers)
    placed, strangers = place(task, inputs, answered, scores, candidates or {})
    return leaderboard_of_cells(
        task,
        inputs,
        placed,
        strangers,
        incumbent,
        candidates=candidates,
        repeats=repeats or len({answer.repeat for answer in answered}) or task.repeats,
        curtailed=curtailed,
    )


def leaderboard_of_cells(
    task: Task,
    inputs: Sequence[GoldenInput],
    placed: Mapping[str, ScoredAnswers],
    strangers: int,
    incumbent: str | None,
    *,
    candidates: Mapping[str, str] | None,
    repeats: int,
    curtailed: Collection[str] = (),
) -> Leaderboard:
    """The same of answers that are in their places; `strangers` counts those that have none."""
    forms = dict(candidates or {})
    if incumbent is not None and incumbent not in placed:
        message = f"the incumbent `{incumbent}` is not among the candidates {', '.join(placed) or '(there are none)'}"
        raise InputError(message, code="unknown_candidate")
    asked = repeats
    parts = tuple(part for part in PARTS if _has_part(task, part))
    cluster_of = {item.id: item.source or item.id for item in inputs}

    scores_of = {
        name: scores_of_answers(cells, parts, sampled=task.sampling.temperature > 0) for name, cells in placed.items()
    }
    ranked = sorted(placed.values(), key=lambda cells: _rank(scores_of[cells.candidate], parts), reverse=True)
    held_name = incumbent or _named_incumbent(placed, forms)
    stopped = [cells for cells in ranked if cells.candidate in curtailed and cells.candidate != held_name]
    ranked = [cells for cells in ranked if cells not in stopped]
    competing = [scores_of[cells.candidate] for cells in ranked]
    ties = tied_set(competing, parts, cluster_of, task.margin)
    tied = ties.members
    best = tied[0] if tied else None
    held = placed.get(held_name or best or "")
    comparisons: list[Comparison] = []
    if held is not None:
        pairs = [(scores, scores_of[held.candidate]) for scores in competing if scores.candidate != held.candidate]
        # An incumbent that the data have chosen is one of all pairs: so many are corrected for.
        tests = pair_tests(pairs, parts, cluster_of, among=competing) if held_name else ties.tests
        comparisons = compare_pairs(pairs, parts, cluster_of, task.margin, tests)
    plan = plan_checks(task, inputs[0]) if inputs else []
    rows = tuple(
        build_row(
            task,
            inputs,
            plan,
            cells,
            held if held is not None else cells,
            form=forms.get(cells.candidate),
            tied=cells.candidate in tied and len(tied) > 1,
            repeats=asked,
            leading=parts[0] if parts else "format",
            curtailed=cells in stopped,
            sampling_sd={part: one.deviation for part, one in scores_of[cells.candidate].repeats_of.items()},
        )
        for cells in [*ranked, *stopped]
    )
    unscored = {cells.candidate: cells.unscored for cells in [*ranked, *stopped] if cells.unscored}
    selection = select(competing, None if held is None else held.candidate, inputs, parts, task.margin, best)
    incumbent_name = None if held is None else held.candidate
    clusters = len(set(cluster_of.values()))
    return Leaderboard(
        task=task.name,
        headline=headline(rows, comparisons, best, incumbent_name, parts, len(inputs), asked),
        rows=rows,
        incumbent=incumbent_name,
        best=best,
        tied_set=tied,
        comparisons=tuple(comparisons),
        ties=ties.ties,
        notes=tuple(
            notes(task, rows, tied, ties.ties, parts, len(inputs), clusters, asked, unscored, strangers, selection)
        ),
        parts=parts,
        input_ids=tuple(item.id for item in inputs),
        clusters=clusters,
        repeats=asked,
        margin=task.margin,
        complete=bool(rows) and not any(row.missing for row in rows if not row.curtailed),
        sources=tuple(cluster_of[item.id] for item in inputs),
        curtailed=tuple(cells.candidate for cells in stopped),
        selection=selection,
    )


def scores_of_board(board: Leaderboard) -> dict[str, InputScores]:
    """Those of all rows of a leaderboard, by candidate."""
    return {row.name: scores_of_row(row, board.input_ids) for row in board.rows}


def scores_of_row(row: CandidateRow, input_ids: Sequence[str]) -> InputScores:
    """Those of a row of a leaderboard, whose inputs are `input_ids`; none of a candidate that was stopped before its end."""
    by_part: dict[Part, dict[str, float]] = {part: {} for part in PARTS}
    counts = {name: cell.answers for name, cell in zip(input_ids, row.inputs, strict=True) if cell.answers}
    for name, cell in zip(input_ids, row.inputs, strict=True):
        for part in PARTS if not row.curtailed else ():
            scores = cell.part(part)
            if scores is not None:
                by_part[part][name] = scores.mean
    repeats = {part: Repeats(deviation, counts) for part, deviation in row.sampling_sd.items()}
    return InputScores(row.name, by_part, repeats)


def _has_part(task: Task, part: Part) -> bool:
    return part_score(task, part, dict.fromkeys(check_ids([*task.format, *task.content]), 0.0)) is not None


def _rank(scores: InputScores, parts: Sequence[Part]) -> tuple[float, ...]:
    return tuple(-1.0 if (mean := scores.mean(part)) is None else mean for part in parts)


def _named_incumbent(placed: Mapping[str, ScoredAnswers], forms: Mapping[str, str]) -> str | None:
    """The first base model among the candidates as they were named, else the first of them; None where none was named."""
    if forms:
        return next((name for name, form in forms.items() if form == "base"), next(iter(forms)))
    return min((name for name in placed if "base" in name.casefold().replace("-", " ").split()), default=None)
