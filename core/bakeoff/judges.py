"""How far a judge can be believed: its agreement with itself, with the other order, and with what persons said of answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from core.checks.base import CheckFault
from core.checks.judge import JudgeCheck, Order
from core.jobfile.kin import Kin
from core.scoring.to_judge import judge_checks
from core.scoring.verdicts import Said, answer_sha256, asked_hash, counting
from core.statistics.agreement import RaterAgreement, rater_agreement

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task

MARK_IS_RIGHT = 0.5
"""From here on a person's mark says that an answer is right; of a judge, `least` of its check does."""

Doubt = Literal["itself", "family", "no_marks", "chance", "cannot_tell", "order"]
Marks = Mapping[tuple[str, str], float]
"""What persons said of an answer, by (id or hash of the input, hash of the answer's text)."""


@dataclass(frozen=True)
class JudgeAgreement:
    """One check of a judge. Counts are of different texts of answers, each of which is judged once.

    `judged` have a verdict, `unread` replies held none, `outdated` verdicts (of another rubric, scale, reference or judge) do
    not count. `asks` is the agreement of repeated asks, `orders` that of the two orders, `marks` that with marks by hand on
    whether an answer is right. Each is None where there is nothing to compare.
    """

    check: str
    judge: str
    compares: bool
    judged: int
    unread: int = 0
    outdated: int = 0
    asks: RaterAgreement | None = None
    orders: RaterAgreement | None = None
    marks: RaterAgreement | None = None
    kin: Kin = field(default_factory=Kin)

    @property
    def order_dependent(self) -> float | None:
        """The share of comparisons that come out another way in the other order."""
        return None if self.orders is None or self.orders.share is None else 1 - self.orders.share

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Why the scores that rest on it may say little, the gravest first."""
        found: list[Doubt] = []
        if self.marks is None:
            found.append("no_marks")
        elif (beyond := self.marks.beyond_chance) is not True:
            found.append("chance" if beyond is False else "cannot_tell")
        if self.orders is not None and self.orders.beyond_chance is False:
            found.append("order")
        if self.kin.itself:
            found.append("itself")
        if self.kin.family:
            found.append("family")
        return tuple(found)


def judge_agreements(
    task: Task,
    inputs: Sequence[GoldenInput],
    verdicts: Sequence[Said],
    marks: Marks,
    kin: Mapping[str, Kin],
) -> tuple[JudgeAgreement, ...]:
    """Of each check of the task that asks a judge, in their order. `verdicts` are all of the bake-off's task, `kin` says by the
    judges' names who among the candidates is theirs."""
    checks = judge_checks(task)
    hashes = {name: _hashes(check, inputs) for name, check in checks}
    valid = counting(verdicts)
    # Verdicts of what nobody asks any more are told with the first check.
    known = {one for of_check in hashes.values() for one in of_check}
    counted = sum(one.check_hash in known for one in valid)
    found = []
    for place, (name, check) in enumerate(checks):
        own = [one for one in valid if one.check_hash in hashes[name]]
        outdated = len(verdicts) - counted if place == 0 else 0
        found.append(_agreement(name, check, hashes[name], own, outdated, marks, kin.get(check.model, Kin())))
    return tuple(found)


def _hashes(check: JudgeCheck, inputs: Iterable[GoldenInput]) -> dict[str, GoldenInput]:
    """The inputs by what the judge is asked of them."""
    found = {}
    for item in inputs:
        try:
            found[asked_hash(check, item.text(), check.reference(item.expect))] = item
        except CheckFault:
            continue
    return found


def _agreement(
    name: str,
    check: JudgeCheck,
    items: Mapping[str, GoldenInput],
    verdicts: Sequence[Said],
    outdated: int,
    marks: Marks,
    kin: Kin,
) -> JudgeAgreement:
    said: dict[tuple[str, str], dict[tuple[Order, int], float | None]] = {}
    for one in verdicts:
        said.setdefault((one.check_hash, one.answer_sha256), {})[one.ask_order, one.ask] = one.value
    asks, orders, marked = _Pairs(), _Pairs(), _Pairs()
    judged = 0
    for (check_hash, text), given in said.items():
        item = items[check_hash]
        for order in check.orders:
            of_order = [given.get((order, ask)) for ask in range(1, check.asks + 1)]
            asks.add_all(combinations([value for value in of_order if value is not None], 2), item.cluster)
        for ask in range(1, check.asks + 1) if check.against is not None else ():
            first, second = given.get(("AB", ask)), given.get(("BA", ask))
            if first is not None and second is not None:
                orders.add(first, second, item.cluster)
        value = check.value_of(given)
        judged += value is not None
        mark = marks.get((answer_sha256(item.text()), text), marks.get((item.id, text)))
        if value is not None and mark is not None:
            marked.add(value >= check.least, mark >= MARK_IS_RIGHT, item.cluster)
    return JudgeAgreement(
        check=name,
        judge=check.model,
        compares=check.against is not None,
        judged=judged,
        unread=sum(one.value is None for one in verdicts),
        outdated=outdated,
        asks=asks.agreement(exchangeable=True),
        orders=orders.agreement(),
        marks=marked.agreement(),
        kin=kin,
    )


@dataclass
class _Pairs:
    """Ratings of the same things, each with its cluster."""

    pairs: list[tuple[float, float]] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)

    def add(self, one: float, other: float, cluster: str) -> None:
        self.pairs.append((one, other))
        self.clusters.append(cluster)

    def add_all(self, pairs: Iterable[tuple[float, float]], cluster: str) -> None:
        for one, other in pairs:
            self.add(one, other, cluster)

    def agreement(self, *, exchangeable: bool = False) -> RaterAgreement | None:
        return rater_agreement(self.pairs, self.clusters, exchangeable=exchangeable) if self.pairs else None


def marks_by_answer(marks: Iterable[tuple[str, str, str, float]]) -> Marks:
    """(input's hash, input's id, answer's hash, value) of each mark, as means over those who marked the same answer."""
    found: dict[tuple[str, str], list[float]] = {}
    for input_sha256, input_id, text, value in marks:
        for name in dict.fromkeys((input_sha256, input_id)):
            found.setdefault((name, text), []).append(value)
    return {place: fmean(values) for place, values in found.items()}
