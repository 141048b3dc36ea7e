"""Where quality was lost: the stages between an adapter and what serves, each compared with the one that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from core.bakeoff.leaderboard import Leaderboard, plain_types, scores_of_board
from core.jobfile.bakeoff import Stage
from core.scoring.scorer import Part
from core.statistics.comparison import Comparison, compare_pairs, pair_tests
from core.statistics.paired import Interval

Outcome = Literal["gain", "no_loss", "same_answers", "loss", "cannot_tell"]
SameAnswers = Callable[[str, str], bool]
"""Whether two candidates, by their names, gave the same answers, word for word."""


@dataclass(frozen=True)
class StageStep:
    """A stage against the one before, on one part. `comparison` is None where the two share no answered input.

    `outcome`: `gain` and `loss` are shown and at least the margin; `no_loss`: a loss of the margin or more is ruled out;
    `same_answers`: both wrote the same, word for word, which says more than equal scores; `cannot_tell`: the inputs do not say.
    `is_training`: from the base model to its adapter, which is what may get lost.
    """

    stage: str
    before: str
    part: Part
    outcome: Outcome
    comparison: Comparison | None
    is_training: bool = False

    @property
    def same_everywhere(self) -> bool:
        """Whether every input has the same score at both stages."""
        one = self.comparison
        return one is not None and not one.interval.estimable and one.difference == 0 and one.inputs > 1


@dataclass(frozen=True)
class StageRow:
    """A stage: a candidate's name, which stage that is, and its own score by part, in [0, 1] with its 95 % interval."""

    name: str
    stage: Stage
    scores: Mapping[Part, float | None]
    intervals: Mapping[Part, Interval]


@dataclass(frozen=True)
class StageTable:
    """The stages in the order in which they are made, and the steps between neighbours: one family of tests over all parts."""

    task: str
    margin: float
    parts: tuple[Part, ...]
    rows: tuple[StageRow, ...]
    steps: tuple[StageStep, ...]

    def step(self, stage: str, part: Part) -> StageStep | None:
        """The step that leads to a stage; None of the first one."""
        return next((one for one in self.steps if (one.stage, one.part) == (stage, part)), None)

    def row(self, name: str) -> StageRow:
        """The row of a stage by its candidate's name. KeyError."""
        return {row.name: row for row in self.rows}[name]

    @property
    def after_training(self) -> tuple[StageStep, ...]:
        """The steps on which a gain can get lost."""
        return tuple(one for one in self.steps if not one.is_training)

    def to_json(self) -> dict[str, Any]:
        rows = [{**asdict(row), "stage": row.stage.model_dump()} for row in self.rows]
        document: dict[str, Any] = plain_types({"schema": 1, **asdict(self), "rows": rows})
        return document


def stage_table(
    board: Leaderboard,
    stages: Mapping[str, Stage],
    same_answers: SameAnswers = lambda stage, before: False,
    before: Mapping[str, str] | None = None,
) -> StageTable | None:
    """The stages of a board, of which `stages` says which candidate is which; None where fewer than two have a row.

    `same_answers` is asked of stages with equal scores alone: it may have to read their texts. `before` says whom each is
    compared with; by default that is told by the order (`stage_before`).

    The p-values of all steps and parts are adjusted together, by max-T over the sign flips as those of the board are
    (`pair_tests`); the intervals are of each step alone.
    """
    scores = scores_of_board(board)
    placed = {name: stage for name, stage in stages.items() if name in scores}
    if len(placed) < 2 or not board.parts:
        return None
    if before is None:
        before = {name: found for name in placed if (found := stage_before(name, placed)) is not None}
    neighbours = [(name, earlier) for name, earlier in before.items() if name in placed and earlier in placed]
    pairs = [(scores[name], scores[before]) for name, before in neighbours]
    among = [scores[name] for name in placed]
    tests = pair_tests(pairs, board.parts, board.cluster_of, among=among)
    compared = {
        (one.candidate, one.part): one
        for one in compare_pairs(pairs, board.parts, board.cluster_of, board.margin, tests)
    }
    steps = [
        StageStep(
            stage=name,
            before=earlier,
            part=part,
            outcome=_outcome(one := compared.get((name, part))),
            comparison=one,
            is_training=placed[earlier].kind == "base",
        )
        for part in board.parts
        for name, earlier in neighbours
    ]
    alike = {name for name, _ in neighbours} - {step.stage for step in steps if not step.same_everywhere}
    same = {name for name, earlier in neighbours if name in alike and same_answers(name, earlier)}
    steps = [replace(step, outcome="same_answers") if step.stage in same else step for step in steps]
    rows = []
    for name, stage in placed.items():
        row = board.row(name)
        of_part = {part: row.score_of(part) for part in board.parts}
        rows.append(StageRow(name, stage, of_part, {part: row.interval_of(part) for part in board.parts}))
    return StageTable(board.task, board.margin, board.parts, tuple(rows), tuple(steps))


def stage_before(name: str, stages: Mapping[str, Stage]) -> str | None:
    """Whom a stage is compared with: the one before, in the order of `stages`; an adapter on a GGUF base with the merged file
    of that format, because the two hold the same model. None of the first."""
    stage, names = stages[name], list(stages)
    earlier = names[: names.index(name)]
    if stage.kind == "lora":
        same = [one for one in earlier if stages[one].kind == "gguf" and stages[one].format == stage.format]
        return same[-1] if same else (earlier[-1] if earlier else None)
    on_the_way = [one for one in earlier if stages[one].kind != "lora"]
    return on_the_way[-1] if on_the_way else None


def _outcome(one: Comparison | None) -> Outcome:
    """What may be said of a step, by the board's own rules."""
    if one is None:
        return "cannot_tell"
    if one.verdict == "better":
        return "gain"
    if one.verdict == "worse":
        return "loss"
    return "no_loss" if one.verdict == "no_worse" else "cannot_tell"
