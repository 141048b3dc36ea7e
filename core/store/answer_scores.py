"""What a scoring says of one answer, as jobs write it and the store keeps it. Jobs import this: it knows no database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kept:
    """What a scoring keeps of an answer beside its points; see `AnswerScores`."""

    fault: str | None
    thinks_aloud: bool
    compared: str


@dataclass(frozen=True)
class AnswerScores:
    """All that a scoring says of one answer; a line of `scores.jsonl`.

    `checks` are (id, part, hash) of what was checked, `points` their values in [0, 1]. `details` has the words to those that
    have some, and `faulty` those that could not be done, by their place in `checks`. `fault` is what the model did wrong, by
    which all points are 0. `compared` is the hash of what the repeats of an input are compared by; None: this scoring did not
    keep it, nor the two before. A `candidate` of None: whoever gave the answer with this key. `modes` are the codes of what is
    wrong with the answer (`core.failure_modes`); None: they were not looked for. `thinks_aloud` says of such an answer that it
    seems to begin with thinking; of others the modes do.
    """

    answer_key: str
    checks: tuple[tuple[str, str, str], ...]
    points: tuple[float, ...]
    details: Mapping[int, str] = field(default_factory=dict)
    faulty: tuple[int, ...] = ()
    fault: str | None = None
    compared: str | None = None
    candidate: str | None = None
    thinks_aloud: bool = False
    modes: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "candidate": self.candidate,
            "answer_key": self.answer_key,
            "checks": self.checks,
            "points": self.points,
        }
        if self.details:
            document["details"] = {str(place): words for place, words in self.details.items()}
        if self.faulty:
            document["faulty"] = self.faulty
        if self.thinks_aloud:
            document["thinks_aloud"] = True
        if self.modes is not None:
            document["modes"] = self.modes
        return document | {"fault": self.fault, "compared": self.compared}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> AnswerScores:
        """The scores of a line. KeyError, TypeError or ValueError for one that is not as this version expects it."""
        return cls(
            answer_key=document["answer_key"],
            checks=tuple((name, part, digest) for name, part, digest in document["checks"]),
            points=tuple(float(value) for value in document["points"]),
            details={int(place): words for place, words in document.get("details", {}).items()},
            faulty=tuple(document.get("faulty", ())),
            fault=document.get("fault"),
            compared=document.get("compared"),
            candidate=document.get("candidate"),
            thinks_aloud=bool(document.get("thinks_aloud")),
            modes=None if document.get("modes") is None else tuple(str(code) for code in document["modes"]),
        )

    def __post_init__(self) -> None:
        if len(self.points) != len(self.checks) or not all(0 <= value <= 1 for value in self.points):
            raise ValueError(
                f"the scores of the answer {self.answer_key} are no numbers from 0 to 1, one for each check"
            )

    def single(self) -> Iterator[dict[str, Any]]:
        """The score of each check, as `core.scoring.scorer.Score` has them."""
        for place, ((name, part, digest), value) in enumerate(zip(self.checks, self.points, strict=True)):
            yield {
                "answer_key": self.answer_key,
                "check_hash": digest,
                "check_id": name,
                "part": part,
                "value": value,
                "detail": self.details.get(place, ""),
                "faulty": place in self.faulty,
                "candidate": self.candidate or "",
            }


def of_single(scores: Iterable[Mapping[str, Any]]) -> AnswerScores:
    """One answer's scores from those of its single checks, at least one; of two of a check's hash the later counts."""
    by_hash = {score["check_hash"]: score for score in scores}
    listed = list(by_hash.values())
    return AnswerScores(
        answer_key=listed[0]["answer_key"],
        checks=tuple((score["check_id"], score["part"], digest) for digest, score in by_hash.items()),
        points=tuple(float(score["value"]) for score in listed),
        details={place: score["detail"] for place, score in enumerate(listed) if score["detail"]},
        faulty=tuple(place for place, score in enumerate(listed) if score["faulty"]),
        candidate=listed[0].get("candidate") or None,
    )
