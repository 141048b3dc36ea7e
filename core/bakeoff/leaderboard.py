"""The leaderboard: who is better, by how much, and how sure one may be; from stored answers and scores alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from core.bakeoff.answers import Answer
from core.bakeoff.comparison import Comparison, compare, tied_set
from core.bakeoff.rows import CandidateRow, build_row
from core.bakeoff.scored_answers import ScoredAnswers, place
from core.bakeoff.scoring import PARTS, Part, Score, part_score, plan_checks
from core.bakeoff.summary import Headline, headline, notes
from core.checks import check_ids
from core.errors import InputError

if TYPE_CHECKING:
    from core.config.golden import GoldenInput, GoldenSet
    from core.config.task import Task


@dataclass(frozen=True)
class Leaderboard:
    """Rows by format, then content. `parts` are those the task has checks for; the first of them leads.

    `best` is the first row of the tied set; `comparisons` are against the incumbent, `ties` against the best of each
    part; `notes` say in plain words what the figures can't tell. `input_ids` is the order of
    `CheckSummary.worst_by_input`.
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
) -> Leaderboard:
    """The leaderboard of a bake-off, finished or not.

    `candidates` maps the names of those who take part to their form ("base", "adapter", "merged", …), `repeats` is how
    often each input is asked; both are read off the answers when they are not given, and then a candidate or a repeat
    of which there is nothing yet is not seen as missing. The incumbent is the candidate that the others are compared
    with: by default the first base model, else the best. InputError when there is no such candidate.
    """
    inputs: Sequence[GoldenInput] = golden if isinstance(golden, Sequence) else golden.inputs
    answered = list(answers)
    forms = dict(candidates or {})
    placed, strangers = place(task, inputs, answered, scores, forms)
    if incumbent is not None and incumbent not in placed:
        message = f"the incumbent `{incumbent}` is not among the candidates {', '.join(placed) or '(there are none)'}"
        raise InputError(message, code="unknown_candidate")
    asked = repeats or len({answer.repeat for answer in answered}) or task.repeats
    parts = tuple(part for part in PARTS if _has_part(task, part))
    cluster_of = {item.id: item.source or item.id for item in inputs}

    ranked = sorted(placed.values(), key=lambda cells: _rank(cells, parts), reverse=True)
    tied, ties = tied_set(ranked, parts, cluster_of, task.margin)
    best = tied[0] if tied else None
    held = placed[incumbent] if incumbent else _default_incumbent(ranked, forms, best)
    comparisons: list[Comparison] = []
    if held is not None:
        others = [cells for cells in ranked if cells is not held]
        for part in parts:
            comparisons += compare(held, others, part, cluster_of, task.margin)
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
        )
        for cells in ranked
    )
    unscored = {cells.candidate: cells.unscored for cells in ranked if cells.unscored}
    incumbent_name = None if held is None else held.candidate
    clusters = len(set(cluster_of.values()))
    return Leaderboard(
        task=task.name,
        headline=headline(rows, comparisons, best, incumbent_name, parts, len(inputs), asked),
        rows=rows,
        incumbent=incumbent_name,
        best=best,
        tied_set=tuple(tied),
        comparisons=tuple(comparisons),
        ties=tuple(ties),
        notes=tuple(notes(task, rows, tied, ties, parts, len(inputs), clusters, asked, unscored, strangers)),
        parts=parts,
        input_ids=tuple(item.id for item in inputs),
        clusters=clusters,
        repeats=asked,
        margin=task.margin,
        complete=bool(rows) and not any(row.missing for row in rows),
    )


def _has_part(task: Task, part: Part) -> bool:
    return part_score(task, part, dict.fromkeys(check_ids([*task.format, *task.content]), 0.0)) is not None


def _rank(cells: ScoredAnswers, parts: Sequence[Part]) -> tuple[float, ...]:
    means = [cells.means(part) for part in parts]
    return tuple(sum(by_input.values()) / len(by_input) if by_input else -1.0 for by_input in means)


def _default_incumbent(
    ranked: Sequence[ScoredAnswers], forms: Mapping[str, str], best: str | None
) -> ScoredAnswers | None:
    """The first base model among the candidates as they were named, else the best; None without answers."""
    by_name = {cells.candidate: cells for cells in ranked}
    if forms:
        bases = [name for name, form in forms.items() if form == "base"]
    else:
        bases = sorted(name for name in by_name if "base" in name.casefold().replace("-", " ").split())
    chosen = bases[0] if bases else best
    return None if chosen is None else by_name[chosen]
