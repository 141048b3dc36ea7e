"""The leaderboard of a task: who is better, by how much, and how sure one may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.bakeoff.judges import JudgeAgreement
from core.bakeoff.rows import CandidateRow
from core.scoring.scorer import PARTS, Part
from core.statistics.comparison import Comparison
from core.statistics.consistency import Repeats
from core.statistics.input_scores import InputScores
from core.statistics.selection import Selection


@dataclass(frozen=True)
class Headline:
    """The comparison that matters, in pieces: a narrow place leaves out the later ones.

    `result` says who is above whom, or why nothing is compared; `difference` is on the scale of five with its interval, and
    `evidence` what it rests on. Both are empty where there is no comparison.
    """

    result: str
    difference: str = ""
    evidence: str = ""

    @property
    def short(self) -> str:
        """Without the evidence."""
        return f"{self.result}: {self.difference}" if self.difference else self.result

    @property
    def text(self) -> str:
        return f"{self.short}, {self.evidence}" if self.evidence else self.short


@dataclass(frozen=True)
class Leaderboard:
    """Rows by mean format score, then content; curtailed ones are last. `parts` are those the task has checks for; the first
    leads.

    The order of the rows is that of what was measured, and no statement. The statement is `tied_set`: all who are not shown
    to be worse than another, in one family of all pairs. `best` is its first row, the one with the highest mean; that it is
    better than the others in the set is not shown. `comparisons` are against the incumbent, `ties` against the highest mean of
    each part; `notes` say in plain words what the figures can't tell. `input_ids` is the order of
    `CheckSummary.worst_by_input`, `sources` the cluster of each of them. `curtailed` candidates were stopped before their end:
    they have a row, and are in nothing else. `confirming` are the inputs that are kept to confirm by. `judges` say how far the
    checks of judges can be believed.
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
    confirming: tuple[str, ...] = ()
    judges: tuple[JudgeAgreement, ...] = ()

    @property
    def lacks_verdicts(self) -> bool:
        """Whether judges are still to be asked: of an answer that counts, or for a reply that could not be read."""
        return any(row.unjudged for row in self.rows) or any(one.unread for one in self.judges)

    @property
    def cluster_of(self) -> dict[str, str]:
        """The cluster of each golden input, in their order."""
        return dict(zip(self.input_ids, self.sources, strict=True))

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


def scores_of_board(board: Leaderboard) -> dict[str, InputScores]:
    """Those of all rows of a leaderboard, by candidate."""
    return {row.name: scores_of_row(row, board.input_ids) for row in board.rows}


def scores_of_row(row: CandidateRow, input_ids: Sequence[str]) -> InputScores:
    """Those of a row of a leaderboard, whose inputs are `input_ids`; none of a candidate that was stopped before its end."""
    by_part: dict[Part, dict[str, float]] = {part: {} for part in PARTS}
    cells = dict(zip(input_ids, row.inputs, strict=True))
    counts = {part: {name: n for name, cell in cells.items() if (n := cell.scored(part))} for part in PARTS}
    for name, cell in cells.items():
        for part in PARTS if not row.curtailed else ():
            scores = cell.part(part)
            if scores is not None:
                by_part[part][name] = scores.mean
    repeats = {part: Repeats(deviation, counts[part]) for part, deviation in row.sampling_sd.items()}
    return InputScores(row.name, by_part, repeats)
