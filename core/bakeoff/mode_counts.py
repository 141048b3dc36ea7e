"""How often the answers of a candidate have each failure mode, and which answer shows it best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from core.scoring.scored_answers import ScoredAnswers
from core.statistics.paired import Interval
from core.statistics.proportions import majority_test, wilson


@dataclass(frozen=True)
class ModeCount:
    """A failure mode (`code` of `core.failure_modes`) that `count` of `of` answers of a candidate to `inputs` inputs have.

    `interval` is Wilson's of the share, with as many trials as the inputs have sources: repeats of an input are no independent
    trials. `p_to_incumbent` is McNemar's, on whether most repeats of an input have it, and is not adjusted: it is for looking,
    not for deciding; None of the incumbent itself, and where nothing can be compared. `input_id`, `repeat` and `excerpt` are of
    the answer that shows it best.
    """

    code: str
    count: int
    of: int
    input_id: str
    repeat: int
    excerpt: str
    inputs: int
    interval: Interval
    p_to_incumbent: float | None = None

    @property
    def share(self) -> float:
        return self.count / self.of


def count_modes(
    scored: ScoredAnswers, incumbent: ScoredAnswers | None, clusters: Mapping[str, str]
) -> tuple[ModeCount, ...] | None:
    """The failure modes of a candidate's answers, the most frequent first. Answers that were scored before failure modes were
    looked for are left out; None where that are all of them, and there are some."""
    known = [codes for codes in scored.columns.modes if codes is not None]
    if not known:
        return None if len(scored.columns) else ()
    counts = Counter(code for codes in known for code in codes)
    ours, theirs = mode_shares(scored), {} if incumbent is None or incumbent is scored else mode_shares(incumbent)
    units = len({clusters[name] for name in ours})
    found = []
    for code, count in counts.items():
        by_input = {name: shares.get(code, 0.0) for name, shares in ours.items()}
        shown = scored.shown[code]
        found.append(
            ModeCount(
                code=code,
                count=count,
                of=len(known),
                input_id=shown.input_id,
                repeat=shown.repeat,
                excerpt=shown.excerpt,
                inputs=sum(share > 0 for share in by_input.values()),
                interval=wilson(fmean(by_input.values()) * units, units),
                p_to_incumbent=majority_test(
                    by_input, {name: shares.get(code, 0.0) for name, shares in theirs.items()}
                ),
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.count, one.code)))


def count_thinking_aloud(scored: ScoredAnswers) -> int:
    """Answers that seem to think aloud: by their failure modes, and where these were not looked for by the older scoring."""
    flags, modes = scored.columns.aloud.tolist(), scored.columns.modes
    seen = (flag if codes is None else "thinking_aloud" in codes for flag, codes in zip(flags, modes, strict=True))
    return sum(map(bool, seen))


def mode_shares(scored: ScoredAnswers) -> dict[str, dict[str, float]]:
    """Of each input that was answered and looked at: the share of its answers that have each failure mode, by code."""
    shares: dict[str, dict[str, float]] = {}
    for name, first, behind in scored.spans:
        known = [codes for codes in scored.columns.modes[first:behind] if codes is not None]
        if known:
            counts = Counter(code for codes in known for code in codes)
            shares[name] = {code: count / len(known) for code, count in counts.items()}
    return shares
