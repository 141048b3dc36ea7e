"""The smoke set of a task: a few golden inputs, answered greedily, held to how the same version answered them before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.config.golden import GoldenInput
from core.config.task import Sampling
from core.files import read_json
from core.home import RunDir
from core.jobfile.bakeoff import CandidateSpec, TaskUnderTest
from core.scoring.answers import Answer
from core.serving.answering import ServedIdentity

MOST_INPUTS = 5
MOST_TOKENS = 64
SMOKE_SCHEMA = 1
WhyUnknown = Literal["no_answer", "not_stored", "asked_otherwise"]
"""Why two answers to an input are not compared: none came now, none is stored, or another question was asked then."""


@dataclass(frozen=True)
class SmokeAnswer:
    """One greedy answer. `prompt_sha256` is the hash of what was sent; `tokens` are as many as the server counted, 0 where it
    did not count them.
    """

    input_id: str
    prompt_sha256: str
    text: str
    thinking: str | None
    finish: str
    tokens: int

    @classmethod
    def of(cls, answer: Answer) -> SmokeAnswer:
        return cls(
            answer.input_id,
            answer.prompt_sha256,
            answer.text,
            answer.thinking,
            answer.finish,
            answer.completion_tokens,
        )

    def is_same(self, other: SmokeAnswer) -> bool:
        """Whether the two are word by word the same, and as many tokens where both servers counted them."""
        counts = {self.tokens, other.tokens} - {0}
        return (self.text, self.thinking, self.finish) == (other.text, other.thinking, other.finish) and len(counts) < 2


@dataclass(frozen=True)
class SmokeComparison:
    """Ids of inputs: those answered the same, those answered otherwise, and those that cannot be compared, each with why."""

    same: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    unknown: Mapping[str, WhyUnknown] = field(default_factory=dict)

    @property
    def is_comparable(self) -> bool:
        """Whether any input could be compared at all."""
        return bool(self.same or self.differing)

    def to_json(self) -> dict[str, Any]:
        return {"same": list(self.same), "differing": list(self.differing), "unknown": dict(self.unknown)}


def smoke_file(run: RunDir) -> Path:
    """Where a check for drift leaves its greedy answers, which later checks of the same version are held to."""
    return run.path / "smoke.json"


def smoke_inputs(inputs: Sequence[GoldenInput]) -> tuple[GoldenInput, ...]:
    """Up to five golden inputs, spread over the set in its order: the same ones as long as the set is the same."""
    number = min(MOST_INPUTS, len(inputs))
    return tuple(inputs[place * len(inputs) // number] for place in range(number))


def smoke_task(under_test: TaskUnderTest) -> TaskUnderTest:
    """The task as the smoke set asks it: once an input, greedily, with a fixed seed, for a few tokens."""
    task = under_test.task
    sampling = Sampling.model_validate(
        {
            **task.sampling.model_dump(),
            "temperature": 0.0,
            "top_p": None,
            "top_k": None,
            "max_new_tokens": min(MOST_TOKENS, task.sampling.max_new_tokens),
        }
    )
    greedy = task.model_copy(update={"sampling": sampling})
    return under_test.model_copy(update={"task": greedy, "repeats": 1})


def smoke_candidate(asked: CandidateSpec, name: str) -> CandidateSpec:
    """The alias under a name of its own among the answers, asked as its variant says but for the sampling."""
    variant = asked.variant.model_copy(update={"sampling": {}})
    return asked.model_copy(update={"name": name, "variant": variant})


def smoke_document(identity: ServedIdentity, answers: Iterable[Answer]) -> dict[str, Any]:
    """What `smoke.json` holds: who answered, and the answers. Those that the server did not give are left out."""
    given = [asdict(SmokeAnswer.of(one)) for one in answers if one.fault != "server"]
    return {"schema": SMOKE_SCHEMA, "identity": asdict(identity), "answers": given}


def read_smoke(path: Path) -> dict[str, SmokeAnswer] | None:
    """The answers of a `smoke.json` by input; None where it is gone, damaged or of another version."""
    try:
        document = read_json(path)
        if not isinstance(document, dict) or document.get("schema") != SMOKE_SCHEMA:
            return None
        return {one["input_id"]: SmokeAnswer(**one) for one in document["answers"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def compare_smoke(
    inputs: Iterable[GoldenInput], before: Mapping[str, SmokeAnswer], answers: Iterable[Answer]
) -> SmokeComparison:
    """The answers of now held to those of before, input by input."""
    now = {one.input_id: SmokeAnswer.of(one) for one in answers if one.fault != "server"}
    same: list[str] = []
    differing: list[str] = []
    unknown: dict[str, WhyUnknown] = {}
    for item in inputs:
        stored, given = before.get(item.id), now.get(item.id)
        if given is None:
            unknown[item.id] = "no_answer"
        elif stored is None:
            unknown[item.id] = "not_stored"
        elif stored.prompt_sha256 != given.prompt_sha256:
            unknown[item.id] = "asked_otherwise"
        else:
            (same if stored.is_same(given) else differing).append(item.id)
    return SmokeComparison(tuple(same), tuple(differing), unknown)
