"""How long a bake-off still takes: a range until every candidate has answered, then one figure.

Model by model, what comes last is known last: how fast a candidate answers is not known before its turn. What a task costs is:
the candidates before have answered it. So an answer of candidate c in task t is taken to have

    tokens(c, t) = verbosity(c) · length(t),    seconds(c, t) = rate(c) · tokens(c, t)

with length and verbosity by weighted least squares of the logarithms of the mean tokens so far, and a candidate's own answers
in a task weighing more than the product as they come. Answers that are generated together take as long as the longest of them:
of n tokens drawn from those seen so far, the largest is expected at Σ x₍ₖ₎ · ((k/N)ⁿ − ((k−1)/N)ⁿ). A step of n answers takes
nᵖ times as long as one of one, p from the batches seen so far.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.bakeoff.pace_fit import (
    NEW_TO_TASK,
    PaceCell,
    PaceRates,
    fitted_lengths,
    pooled_variation,
    seconds_a_step,
)

WITHIN, STILL_WITHIN = 1 / 3, 1 / 2
"""One figure is told once it is known to within the first share of it, and as long as it is to within the second."""
SPREAD_OF_MEANS = 2.0
"""The mean of so many answers is within so many of its standard errors, as a rule."""
MISSES = 1.5
"""It may be so many times as much."""
ONE_KNOWN, SEVERAL_KNOWN = 4.0, 1.5
"""By so much a candidate that has not answered may be faster or slower than the one that has, or the extremes of several."""
TASK_UNKNOWN = 2.5
"""By so much the answers of a task that nobody has answered may be shorter or longer than those of the others."""
LOAD_UNKNOWN = 2.0
STEP_EXPONENT, LEAST_EXPONENT, MOST_EXPONENT = 0.5, 0.0, 1.0
"""p before batches of two sizes were seen; a GPU is near 0 and a CPU near 1."""
OVERDUE = 0.1
"""What is overdue is taken to need so much more of what was expected."""
FIRST_TOKENS = 16
"""So many of the first answer are there before anything is told from them: the first one waits for the prompt."""
KEPT_TOKENS = 300
"""So many of a cell's answers are kept to tell how long the longest of a batch is."""


@dataclass(frozen=True)
class TimeLeft:
    """In seconds; `low` and `high` are equal once it is one figure."""

    low: float
    high: float

    @property
    def event_fields(self) -> dict[str, Any]:
        """The fields of a progress event."""
        if self.low == self.high:
            return {"eta_seconds": self.low}
        return {"eta_low_seconds": self.low, "eta_high_seconds": self.high}


@dataclass(frozen=True)
class UnderWay:
    """Answers that are being generated: `steps` tokens of each are there, of `limit` at most.

    Those of a server do not come together: `alone` is how many tokens are there of each that it is giving.
    """

    candidate: str
    task: str
    size: int = 1
    steps: int = 0
    limit: int | None = None
    alone: tuple[int, ...] = ()


class BakeoffPace:
    """Told of answers and loads as they come; it asks no clock. `planned` is how many answers are wanted of each candidate in
    each task, `turns` which candidates share one load, in any order.

    >>> pace = BakeoffPace({"base": {"judge": 30}, "tuned": {"judge": 30}}, [["base", "tuned"]])
    >>> pace.loaded("base", seconds=9.0)
    >>> pace.answered("base", "judge", tokens=[40, 44], seconds=2.0)   # two that were generated together, in 2 s
    >>> pace.left()   # a TimeLeft, or None while nothing is known; `event_fields` goes into a progress event
    """

    def __init__(self, planned: Mapping[str, Mapping[str, int]], turns: Iterable[Collection[str]]) -> None:
        self._cells = {who: {task: PaceCell(count) for task, count in tasks.items()} for who, tasks in planned.items()}
        self._rates = {who: PaceRates() for who in planned}
        self._turn = {who: number for number, turn in enumerate(turns) for who in turn}
        self._loads: dict[int, float] = {}
        self._exponent = STEP_EXPONENT
        self._sizes: set[int] = set()
        self._settled = False

    # What has happened.

    def settled(self, candidate: str, task: str, count: int = 1) -> None:
        """So many answers need not be waited for: they are there already, were given up, or are not asked for any more."""
        cell = self._cells[candidate][task]
        cell.open = max(0, cell.open - count)

    def reopened(self, candidate: str, task: str, count: int) -> int:
        """So many answers are wanted from now on; by how many more that is than were before."""
        cell = self._cells[candidate][task]
        more, cell.open = count - cell.open, count
        return more

    @property
    def open_answers(self) -> int:
        """How many answers are still wanted, of all candidates and tasks."""
        return sum(cell.open for cells in self._cells.values() for cell in cells.values())

    def loaded(self, candidate: str, seconds: float) -> None:
        """The candidate's model was loaded, and so that of all candidates of its turn."""
        self._loads[self._turn[candidate]] = max(0.0, seconds)

    def answered(self, candidate: str, task: str, tokens: Sequence[int], seconds: float) -> None:
        """Answers that were generated together, each with its tokens, in so many seconds in all.

        Of a server that is asked for several at a time each answer is told by itself, with its share of the time. Where the
        tokens are not known, 0 counts as 1.
        """
        if not tokens or not math.isfinite(seconds) or seconds < 0:
            return
        counts = [max(1, count) for count in tokens]
        cell, rates = self._cells[candidate][task], self._rates[candidate]
        cell.open = max(0, cell.open - len(counts))
        cell.count += len(counts)
        cell.tokens += sum(counts)
        cell.squares += sum(count * count for count in counts)
        # The last ones of a task can be fewer.
        cell.group = len(counts) if cell.open else max(cell.group, len(counts))
        cell.seen = (cell.seen + counts)[-KEPT_TOKENS:]
        if len(counts) == 1:
            rates.seconds += seconds
            rates.steps += counts[0]
        else:
            rates.groups = [*rates.groups, (seconds, max(counts), len(counts))][-KEPT_TOKENS:]
        if len(counts) > 1 or self._sizes:
            self._sizes.add(len(counts))
            self._exponent = self._fitted_exponent()

    # What follows.

    def left(self, waited: float = 0.0, under_way: UnderWay | None = None) -> TimeLeft | None:
        """Seconds until the last answer; None while nobody has answered anything.

        `waited`: how long ago the last answer came, or the asking began that is under way. Costs some hundred operations a
        candidate and task: to be called once a second, not once an answer.
        """
        warm = {who for who, cells in self._cells.items() if any(cell.count for cell in cells.values())}
        if not self.open_answers:
            return TimeLeft(0.0, 0.0)
        if not warm:
            return self._before_any(under_way, waited)
        figures = _Figures(self._cells, self._rates, warm, self._exponent)
        low = mid = high = missed = 0.0
        for who, cells in self._cells.items():
            for task, cell in cells.items():
                if cell.open:
                    one = figures.of(who, task, cell.open)
                    low, mid, high = low + one[0], mid + one[1], high + one[2]
                    missed += (figures.miss(who, task) * one[1]) ** 2
        # One task by chance longer and one shorter than the product says: these do not add up.
        low, high = low - math.sqrt(missed), high + math.sqrt(missed)
        for seconds in self._loads_to_come():
            low, mid, high = low + seconds[0], mid + seconds[1], high + seconds[2]
        passed = 0.0 if under_way is None else figures.passed(under_way, waited)
        # How well it is known does not change by what passes.
        rest = max(0.0, mid - passed) / mid if mid > 0 else 0.0
        low, mid, high = max(0.0, low) * rest, mid * rest, high * rest
        to_come = {who for who, cells in self._cells.items() if any(cell.open for cell in cells.values())}
        share = STILL_WITHIN if self._settled else WITHIN
        self._settled = to_come <= warm and high - mid <= share * mid and mid - low <= share * mid
        return TimeLeft(mid, mid) if self._settled else TimeLeft(low, high)

    def _before_any(self, now: UnderWay | None, waited: float) -> TimeLeft | None:
        """From the first answer alone, while it comes: all as long as it is now, or all up to the limit."""
        steps = 0 if now is None else sum(now.alone)
        if now is None or now.limit is None or steps < FIRST_TOKENS or waited <= 0:
            return None
        own = sum(cell.open for cell in self._cells[now.candidate].values())
        others = self.open_answers - own
        each = waited / steps
        low = each * max(now.alone) * (own + others / ONE_KNOWN)
        high = each * now.limit * (own + others * ONE_KNOWN)
        return TimeLeft(max(0.0, low - waited), max(0.0, high - waited))

    def _loads_to_come(self) -> list[tuple[float, float, float]]:
        known = list(self._loads.values())
        turns = {
            self._turn[who]
            for who, cells in self._cells.items()
            if who in self._turn and any(cell.open for cell in cells.values())
        }
        if not known:
            return []
        mean = sum(known) / len(known)
        return [(min(known) / LOAD_UNKNOWN, mean, max(known) * LOAD_UNKNOWN) for turn in turns - set(self._loads)]

    def _fitted_exponent(self) -> float:
        """p of seconds ∝ steps · sizeᵖ: least squares of log(seconds a step) on log(size), a level for each candidate."""
        if len(self._sizes) < 2:
            return STEP_EXPONENT
        across = along = 0.0
        for rates in self._rates.values():
            points = [(math.log(size), math.log(max(1e-9, took) / steps)) for took, steps, size in rates.groups]
            if rates.steps and rates.seconds:
                points.append((0.0, math.log(rates.seconds / rates.steps)))
            if len(points) > 1:
                mean_x = sum(x for x, _ in points) / len(points)
                mean_y = sum(y for _, y in points) / len(points)
                across += sum((x - mean_x) * (y - mean_y) for x, y in points)
                along += sum((x - mean_x) ** 2 for x, _ in points)
        return STEP_EXPONENT if along < 0.05 else min(MOST_EXPONENT, max(LEAST_EXPONENT, across / along))


class _Figures:
    """The fit of one moment."""

    def __init__(
        self,
        cells: Mapping[str, Mapping[str, PaceCell]],
        rates: Mapping[str, PaceRates],
        warm: Collection[str],
        exponent: float,
    ) -> None:
        self.cells, self.warm, self.exponent = cells, sorted(warm), exponent
        self.rate = {who: seconds_a_step(rates[who], exponent) for who in self.warm}
        self.variation = pooled_variation(cells, self.warm)
        self.length, self.verbosity = fitted_lengths(cells, self.warm, self.variation)
        self.seen: dict[str, list[float]] = {}
        self._costs: dict[tuple[str, int], list[float]] = {}

    def of(self, who: str, task: str, count: int) -> tuple[float, float, float]:
        """(low, expected, high) seconds of so many answers."""
        width = 1.0 if task in self.length else TASK_UNKNOWN
        if who in self.rate:
            mid = self.seconds(who, task, count)
            own = sum(cell.count for cell in self.cells[who].values())
            miss = SPREAD_OF_MEANS * self.variation / math.sqrt(own)
            if not self.cells[who][task].count:
                tasks = sum(cell.count > 0 for cell in self.cells[who].values())
                miss = math.hypot(miss, NEW_TO_TASK / math.sqrt(tasks))
            return mid / (width * (1 + miss)), mid, mid * width * (1 + miss)
        key = (task, count)
        if key not in self._costs:
            self._costs[key] = [self.seconds(other, task, count) for other in self.warm if task in self.cells[other]]
        known = self._costs[key] or [self.seconds(other, task, count) for other in self.warm]
        width *= ONE_KNOWN if len(known) == 1 else SEVERAL_KNOWN
        mid = math.exp(sum(math.log(max(1e-9, cost)) for cost in known) / len(known))
        return min(known) / width, mid, max(known) * width

    def miss(self, who: str, task: str) -> float:
        """By what share this cell alone may differ from what is expected, beside what `of` says of its candidate."""
        cell = self.cells[who][task]
        others = sum(task in self.cells[other] and self.cells[other][task].count > 0 for other in self.warm)
        if who not in self.rate or not others:
            return 0.0
        return MISSES * NEW_TO_TASK * math.sqrt(1 + 1 / others) / (1 + cell.count / self._prior)

    def seconds(self, who: str, task: str, count: int) -> float:
        """What so many answers of a candidate that has answered take."""
        group = self._group(who, task)
        full, rest = divmod(count, group)
        return full * self.group_seconds(who, task, group) + (self.group_seconds(who, task, rest) if rest else 0.0)

    def group_seconds(self, who: str, task: str, size: int) -> float:
        return self.rate[who] * self._longest(who, task, size) * math.pow(size, self.exponent)

    def tokens(self, who: str, task: str) -> float:
        """Expected of one answer."""
        whole = self.verbosity.get(who, 1.0) * self._task_length(task)
        cell = self.cells[who].get(task)
        if cell is None or not cell.count:
            return whole
        return (cell.tokens + self._prior * whole) / (cell.count + self._prior)

    @property
    def _prior(self) -> float:
        """Noise over how far the product misses: the weight, in answers, that the product has beside a candidate's own."""
        return float((self.variation / NEW_TO_TASK) ** 2)

    def passed(self, now: UnderWay, waited: float) -> float:
        """How much of the expected time of what is under way is over already."""
        if now.candidate not in self.rate:
            # Its first answer: how long that takes is known of the others alone.
            return min(waited, (1 - OVERDUE) * self.of(now.candidate, now.task, 1)[1]) if now.alone else 0.0
        if any(now.alone):
            return self._passed_alone(now)
        whole = self.group_seconds(now.candidate, now.task, now.size)
        if now.steps <= 0 or waited <= 0:
            return min(waited, (1 - OVERDUE) * whole)
        longest = self._longest(now.candidate, now.task, now.size, beyond=now.steps)
        if now.limit is not None:
            longest = min(longest, float(now.limit))
        return whole - max(0.0, longest - now.steps) * waited / now.steps

    def _passed_alone(self, now: UnderWay) -> float:
        """By the tokens that are there: less is over where an answer turns out longer than was expected of it."""
        whole, over = self.tokens(now.candidate, now.task), 0.0
        for steps in now.alone:
            if steps > 0:
                longest = self._longest(now.candidate, now.task, 1, beyond=steps)
                longest = longest if now.limit is None else min(longest, float(now.limit))
                over += whole - max(0.0, longest - steps)
        return self.rate[now.candidate] * over

    def _group(self, who: str, task: str) -> int:
        cell = self.cells[who].get(task)
        if cell is not None and cell.count:
            return cell.group
        return max((one.group for one in self.cells[who].values() if one.count), default=1)

    def _task_length(self, task: str) -> float:
        known = self.length.get(task)
        return known if known is not None else sum(self.length.values()) / len(self.length)

    def _longest(self, who: str, task: str, size: int, beyond: int = 0) -> float:
        """The expected tokens of the longest of `size` answers, of which one has more than `beyond`."""
        mean = self.tokens(who, task)
        if size == 1 and not beyond:
            return mean
        values = [mean * one for one in self._relative(who, task)]
        count, below = len(values), sum(value <= beyond for value in values)
        if below == count:
            return (1 + OVERDUE) * max(mean, float(beyond))
        chance = 1.0 - (below / count) ** size
        longest = 0.0
        for at in range(below, count):
            longest += values[at] * (((at + 1) / count) ** size - (at / count) ** size)
        return longest / chance

    def _relative(self, who: str, task: str) -> list[float]:
        """Tokens over their mean, in order: of this candidate in this task once it has some, else of all in this task, else
        of all there is."""
        own = self.cells[who].get(task)
        if own is not None and own.count >= 8:
            return sorted(one / own.mean for one in own.seen)
        if task not in self.seen:
            cells = [self.cells[other][task] for other in self.warm if task in self.cells[other]]
            cells = [cell for cell in cells if cell.count]
            cells = cells or [cell for other in self.warm for cell in self.cells[other].values() if cell.count]
            self.seen[task] = sorted(one / cell.mean for cell in cells for one in cell.seen)
        return self.seen[task]
