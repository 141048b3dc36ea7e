"""The rows of a leaderboard: what one candidate did, over all inputs and check by check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING

from core.bakeoff.input_cells import InputCell, input_cells
from core.bakeoff.mode_counts import ModeCount, count_modes, count_thinking_aloud
from core.scoring.scored_answers import ScoredAnswers
from core.scoring.scorer import Part, PlannedCheck
from core.statistics.consistency import agreement, pass_hat, repeatability, worst_of
from core.statistics.paired import ROUNDING, Interval, of_scores, t_interval
from core.statistics.proportions import majority_test, wilson

if TYPE_CHECKING:
    from core.config.golden import GoldenInput

_PASSED = 1 - ROUNDING


@dataclass(frozen=True)
class LostPoints:
    """Why answers lost points, and how many did for that reason."""

    detail: str
    count: int


@dataclass(frozen=True)
class CheckSummary:
    """One check over all answers of a candidate.

    `mean` is over inputs; `interval` is Wilson's, for a check that only says 0 or 1; `worst_by_input` has the worst
    repeat of each golden input (None without an answer); `p_to_incumbent` is McNemar's, on whether most repeats of an
    input pass, and is not adjusted: it is for looking, not for deciding.
    """

    id: str
    part: Part
    mean: float | None
    interval: Interval | None
    faulty: int
    reasons: tuple[LostPoints, ...]
    worst_by_input: tuple[float | None, ...]
    p_to_incumbent: float | None


@dataclass(frozen=True)
class CandidateRow:
    """One candidate. Scores, `worst` and the intervals are in [0, 1]; None where there is nothing to tell.

    `consistency` is the share of inputs whose repeats give the same parsed output, `worst` the mean of the worst
    repeats, `pass_k` the share of inputs that all repeats pass, `repeatability_sd` the standard deviation between
    repeats; these are of the format score, or of the content score when the task has no format checks.
    `seconds_per_answer` and the speeds are amortised over the batches. `missing` counts places without a scored answer,
    `at_limit` answers that were cut at `max_new_tokens`; `longest_whole` is the longest of those that were not, in
    tokens (None when all were cut). `thinking_tokens` are those of a mean answer, of servers that count them.
    `first_token_seconds` is the median over what servers streamed. `timed_shared` counts answers that were given while
    others used the server, `asked_again` those that were asked for more than once, `server_faults` places that the server
    left open. `thinking_aloud` counts answers that seem to hold thinking which nothing marks: the failure mode of that
    code, or of older scores what `seems_to_think_aloud` says.
    `cold_load_seconds` (the median of the loads of a model that was not in memory) and `vram_bytes` (the most of
    any load) come from `measured`. `inputs` has a cell for each golden input. A `curtailed` candidate was stopped when it could
    not reach the incumbent any more: its figures are of the answers until then, and nothing is compared with them.
    `sampling_sd` is the repeatability of each part; a part is missing where the repeats were not sampled. `modes` are the
    failure modes of the answers, the most frequent first; None: these scores were made before they were looked for. `unjudged`
    counts answers whose content is unknown: a judge is still to be asked, or could not be understood.
    """

    name: str
    form: str | None
    incumbent: bool
    tied: bool
    format_score: float | None
    content_score: float | None
    format_interval: Interval
    content_interval: Interval
    consistency: float | None
    worst: float | None
    pass_k: float | None
    repeatability_sd: float | None
    seconds_per_answer: float | None
    tokens_per_second: float | None
    characters_per_second: float | None
    completion_tokens: float | None
    batch_size: int | None
    answers: int
    expected: int
    missing: int
    at_limit: int
    longest_whole: int | None
    faults: Mapping[str, int]
    checks: tuple[CheckSummary, ...]
    reasons: tuple[LostPoints, ...]
    thinking_tokens: float | None = None
    first_token_seconds: float | None = None
    timed_shared: int = 0
    asked_again: int = 0
    server_faults: int = 0
    thinking_aloud: int = 0
    cold_load_seconds: float | None = None
    vram_bytes: int | None = None
    inputs: tuple[InputCell, ...] = ()
    curtailed: bool = False
    sampling_sd: Mapping[Part, float] = field(default_factory=dict)
    modes: tuple[ModeCount, ...] | None = None
    unjudged: int = 0

    def score_of(self, part: Part) -> float | None:
        """The score of a part; None where nothing of it is scored."""
        return self.format_score if part == "format" else self.content_score

    def interval_of(self, part: Part) -> Interval:
        """The interval of that score."""
        return self.format_interval if part == "format" else self.content_interval

    @property
    def score(self) -> float | None:
        """The score that leads: format, or content when the task has no format checks."""
        return self.content_score if self.format_score is None else self.format_score

    @property
    def interval(self) -> Interval:
        """The interval of `score`."""
        return self.content_interval if self.format_score is None else self.format_interval


def build_row(
    inputs: Sequence[GoldenInput],
    plan: Sequence[PlannedCheck],
    scored: ScoredAnswers,
    incumbent: ScoredAnswers | None,
    *,
    form: str | None,
    tied: bool,
    repeats: int,
    leading: Part,
    curtailed: bool = False,
    sampling_sd: Mapping[Part, float] | None = None,
) -> CandidateRow:
    """The row of one candidate; `leading` is the part that the consistency figures are of."""
    clusters = {item.id: item.cluster for item in inputs}
    means: dict[Part, dict[str, float]] = {"format": scored.means("format"), "content": scored.means("content")}
    led = [values for values in scored.part(leading).values() if values]
    given, figures = scored.columns, scored.columns.figures
    answers = len(given)
    seconds, tokens = float(figures["seconds"].sum()), int(figures["completion_tokens"].sum())
    whole = figures["completion_tokens"][~given.cut]
    expected = len(inputs) * repeats
    return CandidateRow(
        name=scored.candidate,
        form=form,
        incumbent=scored is incumbent,
        tied=tied,
        format_score=_mean(means["format"].values()),
        content_score=_mean(means["content"].values()),
        format_interval=score_interval(means["format"], clusters),
        content_interval=score_interval(means["content"], clusters),
        consistency=agreement(_repeats(scored)) if repeats > 1 else None,
        worst=worst_of(led),
        pass_k=pass_hat([[value >= _PASSED for value in values] for values in led], repeats),
        repeatability_sd=repeatability(led),
        seconds_per_answer=seconds / answers if answers else None,
        tokens_per_second=tokens / seconds if seconds > 0 else None,
        characters_per_second=float(figures["characters"].sum()) / seconds if seconds > 0 else None,
        completion_tokens=tokens / answers if answers else None,
        batch_size=int(figures["batch_size"].max()) if answers else None,
        answers=answers,
        expected=expected,
        missing=max(0, expected - answers),
        at_limit=int(given.cut.sum()),
        longest_whole=int(whole.max()) if len(whole) else None,
        faults=dict(Counter(fault for fault in given.faults if fault is not None)),
        checks=tuple(_summary(check, clusters, scored, incumbent) for check in plan),
        reasons=_reasons(scored),
        thinking_tokens=_mean(given.measured("thinking_tokens").tolist()),
        first_token_seconds=_median(given.measured("first_token_seconds").tolist()),
        timed_shared=int((figures["shared"] == 1).sum()),
        asked_again=int((figures["tries"] > 1).sum()),
        server_faults=scored.server_faults,
        thinking_aloud=count_thinking_aloud(scored),
        inputs=input_cells(scored, repeats),
        curtailed=curtailed,
        sampling_sd=sampling_sd or {},
        modes=count_modes(scored, incumbent, clusters),
        unjudged=scored.unjudged,
    )


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return median(listed) if listed else None


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return fmean(listed) if listed else None


def score_interval(means: Mapping[str, float], clusters: Mapping[str, str]) -> Interval:
    """The t interval of one candidate's own score, kept inside [0, 1]."""
    if not means:
        return Interval(None, None, "interval not estimable: no answers")
    interval = t_interval(of_scores(means, clusters))
    if interval.low is None or interval.high is None:
        return interval
    return Interval(max(0.0, interval.low), min(1.0, interval.high))


def _repeats(scored: ScoredAnswers) -> list[Sequence[Hashable]]:
    """What the repeats of each input are compared by."""
    parsed = scored.parsed()
    return [parsed[first:behind] for _, first, behind in scored.spans]


def _summary(
    check: PlannedCheck,
    clusters: Mapping[str, str],
    scored: ScoredAnswers,
    incumbent: ScoredAnswers | None,
) -> CheckSummary:
    means, worst = scored.check_means(check.id), scored.check_worst(check.id)
    binary = not check.definition.partial
    units = len({clusters[name] for name in means})
    p = None
    if binary and incumbent is not None and scored is not incumbent and means:
        p = majority_test(means, incumbent.check_means(check.id))
    return CheckSummary(
        id=check.id,
        part=check.part,
        mean=_mean(means.values()),
        # As many units as clusters: inputs of one source are no independent trials.
        interval=wilson(fmean(means.values()) * units, units) if binary and units else None,
        faulty=int(scored.columns.faulty[:, scored.checks.index(check.id)].sum()),
        reasons=_reasons(scored, check.id),
        worst_by_input=tuple(map(worst.get, scored.inputs)),
        p_to_incumbent=p,
    )


def _reasons(scored: ScoredAnswers, check_id: str | None = None) -> tuple[LostPoints, ...]:
    return tuple(LostPoints(detail, count) for detail, count in scored.reasons(check_id))
