"""The words for candidates that a bake-off did without."""

from __future__ import annotations

from collections.abc import Sequence

from core.format import listed, plural
from core.jobfile.lacking import Lack, LackingCandidate
from core.text import printable

MOST_NAMED = 5
_WHY: dict[Lack, str] = {
    "censored": "job {job} lost its race",
    "failed": "job {job} failed",
    "not_ended": "job {job} left no result",
    "not_started": "job {job} was not started",
    "gone": "what job {job} made is gone",
    "no_model": "the model is not there",
    "bad_model": "the model's files are torn",
}


def lacking_words(lacking: Sequence[LackingCandidate]) -> str:
    """`Left out: judge 4-bit r16 (job 12 failed) and judge bf16 r8 (job 14 lost its race).`; empty of none."""
    if not lacking:
        return ""
    named = [f"{one.candidate} ({_WHY[one.state].format(job=one.job)})" for one in lacking[:MOST_NAMED]]
    if len(lacking) > MOST_NAMED:
        named.append(plural(len(lacking) - MOST_NAMED, "other"))
    return printable(f"Left out: {listed(named)}.")
