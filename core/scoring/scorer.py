"""Scoring: what the checks of a task say of stored answers. It reads no model and can be done again at any time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.checks import CheckResult, build, check_hash, check_ids
from core.checks.base import AskedInput, BaseDefinition, CheckFault
from core.checks.isolated import Kills
from core.checks.judge import JudgeCheck, judged
from core.errors import InputError
from core.failure_modes import find
from core.scoring.answers import Answer, Fault, find_fault, known_fields
from core.scoring.verdicts import NO_VERDICTS, VerdictBook, asked_hash
from core.store.answer_scores import AnswerScores, Kept
from core.thinking import Split, seems_to_think_aloud, split_thinking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.config.golden import GoldenInput
    from core.config.task import Task
    from core.scoring.seen_answers import AskedCandidate

Part = Literal["format", "content"]
PARTS: tuple[Part, ...] = ("format", "content")


@dataclass(frozen=True)
class Score:
    """What one check says of one answer. A faulty check has the value 0.

    `candidate` gave the answer: two that are asked the same have answers of one key. Empty: whoever gave it.
    """

    answer_key: str
    check_id: str
    check_hash: str
    part: Part
    value: float
    detail: str
    faulty: bool
    candidate: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Score:
        """The score of a document; keys that a newer version added are ignored. KeyError when one is missing."""
        return cls(**known_fields(cls, document))


@dataclass(frozen=True)
class PlannedCheck:
    """A check of a task as it is done on one golden input; `hash` tells a stored score of it from an outdated one."""

    id: str
    part: Part
    definition: BaseDefinition
    hash: str


def needs_judge(check: PlannedCheck) -> bool:
    """Whether what it says is a judge's: without its verdict it is unknown, and never 0."""
    return isinstance(check.definition, JudgeCheck)


def plan_checks(task: Task, golden_input: GoldenInput) -> list[PlannedCheck]:
    """The checks of the task on this input, format first, with unique ids and with hashes."""
    return plan_all(task, [golden_input])[golden_input.id]


def plan_all(task: Task, golden: Iterable[GoldenInput]) -> dict[str, list[PlannedCheck]]:
    """The same for each of many inputs, by their ids. A hash is worked out once for all inputs that expect the same of it."""
    parted: list[tuple[Part, BaseDefinition]] = [("format", definition) for definition in task.format]
    parted += [("content", definition) for definition in task.content]
    ids = check_ids(definition for _, definition in parted)
    sources = [_sources(task, definition) for _, definition in parted]
    known: dict[tuple[int, str, AskedInput | None], PlannedCheck] = {}

    def planned(place: int, item: GoldenInput) -> PlannedCheck:
        (part, definition), name = parted[place], ids[place]
        read = json.dumps(definition.read_of(item.expect), sort_keys=True, default=str)
        asked = item.asked_input() if definition.reads_input else None
        found = known.get((place, read, asked))
        if found is None:
            digest = check_hash(
                definition, name=name, part=part, sources=sources[place], expect=item.expect, asked=asked
            )
            found = known[place, read, asked] = PlannedCheck(name, part, definition, digest)
        return found

    return {item.id: [planned(place, item) for place in range(len(parted))] for item in golden}


def _sources(task: Task, definition: BaseDefinition) -> Sequence[BaseDefinition]:
    """The checks whose captures this one reads."""
    names = definition.read_names()
    if names == ():
        return ()
    return [
        source
        for source in task.format
        if (captured := source.group_names()) and (names is None or not set(names).isdisjoint(captured))
    ]


def visible(task: Task, answer: Answer) -> Split:
    """The answer as the checks see it, its thinking parted from it, wherever that was stored."""
    split = split_thinking(answer.text, task.model_dump_json)
    thinking = "\n".join(part for part in (answer.thinking, split.thinking) if part and part.strip())
    return Split(split.text, thinking or None, split.open)


def fault_of(task: Task, answer: Answer) -> Fault | None:
    """The fault that was stored with the answer, else the one that its text shows.

    Thinking that a server keeps apart is in nobody's way; within the text it is a fault where the task does not think.
    """
    split = split_thinking(answer.text, task.model_dump_json) if answer.thinking_apart else visible(task, answer)
    return answer.fault or find_fault(split, answer.finish, answer.asked_thinking or task.thinking)


def fault_words(fault: Fault, answer: Answer) -> str:
    """A fault in the words that the leaderboard counts."""
    match fault:
        case "length":
            return f"answer cut at {answer.completion_tokens:,} tokens"
        case "thinking":
            return "thinking in the answer"
        case "empty":
            return "empty answer"
        case "server":
            return "no answer from the server"


class Scorer:
    """The checks of a task, ready for answers to its golden inputs. `pattern_timeout` is in seconds, for each check.

    `asked` is what each candidate was asked, by its name: in the answers of those failure modes are looked for.
    `verdicts` are what judges have said: nobody is asked, and what they did not say is "not judged".
    """

    def __init__(
        self,
        task: Task,
        golden: Iterable[GoldenInput],
        pattern_timeout: float = 1.0,
        asked: Mapping[str, AskedCandidate] | None = None,
        verdicts: VerdictBook = NO_VERDICTS,
    ) -> None:
        self.task, self.verdicts = task, verdicts
        self.inputs = {item.id: item for item in golden}
        self.plans = plan_all(task, self.inputs.values())
        self.pattern_timeout = pattern_timeout
        self.asked = asked or {}
        self._kills = Kills()
        self._named = {
            name: tuple((check.id, check.part, check.hash) for check in plan) for name, plan in self.plans.items()
        }

    def score(self, answer: Answer) -> AnswerScores | None:
        """What the checks say of an answer: all 0 for a model's fault, None for a server's, as that cell is missing.

        InputError when the answer is to an input that the golden set lacks.
        """
        if answer.input_id not in self.inputs:
            message = f"an answer is to the input `{answer.input_id}`, which the golden set does not have"
            raise InputError(message, code="unknown_input", remedy="score with the golden set that was asked")
        plan, named = self.plans[answer.input_id], self._named[answer.input_id]
        fault = fault_of(self.task, answer)
        if fault == "server":
            return None
        split = visible(self.task, answer)
        asked = self.asked.get(answer.candidate)
        modes = None if asked is None else tuple(mode.code for mode in find(asked.seen(answer, split, fault)))
        aloud = modes is None and seems_to_think_aloud(answer.text)
        if fault is not None:
            return AnswerScores(
                answer_key=answer.key,
                checks=named,
                points=(0.0,) * len(plan),
                details=dict.fromkeys(range(len(plan)), fault_words(fault, answer)),
                fault=fault,
                compared=digest_of(fault),
                candidate=answer.candidate,
                thinks_aloud=aloud,
                modes=modes,
            )
        text = split.text
        by_id = _run(plan, text, self.inputs[answer.input_id], self.pattern_timeout, self._kills)
        by_id |= {check.id: self._judged(check, answer.input_id, text) for check in plan if needs_judge(check)}
        results = [by_id[check.id] for check in plan]
        captured = captures_of(
            result for check, result in zip(plan, results, strict=True) if check.part == "format" and not result.faulty
        )
        return AnswerScores(
            answer_key=answer.key,
            checks=named,
            points=tuple(result.value for result in results),
            details={place: result.detail for place, result in enumerate(results) if result.detail},
            faulty=tuple(place for place, result in enumerate(results) if result.faulty),
            compared=digest_of(compared_by(captured, text)),
            candidate=answer.candidate,
            thinks_aloud=aloud,
            modes=modes,
        )

    def _judged(self, check: PlannedCheck, input_id: str, text: str) -> CheckResult:
        definition, item = check.definition, self.inputs[input_id]
        assert isinstance(definition, JudgeCheck)  # it needs a judge
        try:
            reference = definition.reference(item.expect)
        except CheckFault as fault:
            return CheckResult(0.0, str(fault), faulty=True)
        result = judged(definition, self.verdicts.of(asked_hash(definition, item.text(), reference), text))
        if result.detail and definition.message and not result.faulty:
            return CheckResult(result.value, definition.message)
        return result

    def keep(self, answer: Answer, faulty: Iterable[str]) -> Kept:
        """What `score` keeps beside the points, of an answer that has its points; `faulty` are ids of checks that failed to
        run then and are not run again. KeyError when the golden set lacks the answer's input."""
        fault, aloud = fault_of(self.task, answer), seems_to_think_aloud(answer.text)
        if fault is not None:
            return Kept(fault, aloud, digest_of(fault))
        plan, expect = self.plans[answer.input_id], self.inputs[answer.input_id].expect
        text = visible(self.task, answer).text
        return Kept(None, aloud, digest_of(_parsed(plan, text, expect, faulty, self.pattern_timeout, self._kills)))


def score_answer(task: Task, golden_input: GoldenInput, answer: Answer, pattern_timeout: float = 1.0) -> list[Score]:
    """The score of each check: all 0 for a model's fault, none for a server's fault, as that cell is missing.

    `pattern_timeout` is in seconds, for each check.
    """
    found = Scorer(task, [golden_input], pattern_timeout).score(answer)
    return [] if found is None else singles([found])


def singles(scores: Iterable[AnswerScores]) -> list[Score]:
    """The score of each single check."""
    return [Score.from_json(score) for one in scores for score in one.single()]


def _run(
    planned: Sequence[PlannedCheck], text: str, item: GoldenInput, pattern_timeout: float, kills: Kills
) -> dict[str, CheckResult]:
    """Results by check id; what the format checks capture is collected before others read it."""
    expect = item.expect
    asked = item.asked_input() if any(check.definition.reads_input for check in planned) else None
    results: dict[str, CheckResult] = {}
    captures: dict[str, list[str]] = {}
    for check in planned:
        if check.definition.reads_captures or needs_judge(check):
            continue
        result = results[check.id] = build(check.definition, pattern_timeout, kills).score(text, expect, None, asked)
        if check.part == "format":
            for name, values in result.captures.items():
                captures.setdefault(name, []).extend(values)
    for check in planned:
        if check.definition.reads_captures:
            results[check.id] = build(check.definition, pattern_timeout, kills).score(text, expect, captures, asked)
    return results


def score_answers(
    task: Task, golden: Iterable[GoldenInput], answers: Iterable[Answer], pattern_timeout: float = 1.0
) -> list[Score]:
    """The scores of all answers; InputError when an answer is to an input that the golden set lacks."""
    scorer = Scorer(task, golden, pattern_timeout)
    return singles(found for answer in answers if (found := scorer.score(answer)) is not None)


Compared = tuple[tuple[str, tuple[str, ...]], ...] | str


def captures_of(results: Iterable[CheckResult]) -> dict[str, list[str]]:
    """What checks have captured, by the names of the groups."""
    captures: dict[str, list[str]] = {}
    for result in results:
        for name, values in result.captures.items():
            captures.setdefault(name, []).extend(value.strip() for value in values)
    return captures


def compared_by(captures: Mapping[str, Sequence[str]], text: str) -> Compared:
    """What the repeats of an input are compared by: what was captured, else the text itself. A name that begins with `_` is
    for the task's own checks alone: two sentences differ that mean one thing."""
    named = {name: values for name, values in captures.items() if not name.startswith("_")}
    if not named:
        return " ".join(text.split())
    return tuple(sorted((name, tuple(values)) for name, values in named.items()))


def digest_of(compared: Compared) -> str:
    """A short hash that is the same where repeats are the same."""
    return hashlib.sha256(json.dumps(compared).encode()).hexdigest()[:32]


def parse_answer(
    task: Task, golden_input: GoldenInput, answer: Answer, faulty: Iterable[str] = (), pattern_timeout: float = 1.0
) -> Compared:
    """What two repeats are compared by: the captures of the format checks, else (nothing is captured) the text itself.

    `faulty` are ids of checks that failed to run when the answer was scored; they are not run again.
    """
    fault = fault_of(task, answer)
    if fault is not None:
        return fault
    text = visible(task, answer).text
    return _parsed(plan_checks(task, golden_input), text, golden_input.expect, faulty, pattern_timeout)


def _parsed(
    plan: Iterable[PlannedCheck],
    text: str,
    expect: Mapping[str, Any],
    faulty: Iterable[str],
    pattern_timeout: float,
    kills: Kills | None = None,
) -> Compared:
    skipped = set(faulty)
    capturing = [
        check for check in plan if check.part == "format" and check.definition.group_names() and check.id not in skipped
    ]
    return compared_by(
        captures_of(build(check.definition, pattern_timeout, kills).score(text, expect) for check in capturing), text
    )


def part_score(task: Task, part: Part, values: Mapping[str, float]) -> float | None:
    """The weighted mean of a part in [0, 1] from the values of its checks by id; None when no check has a weight."""
    definitions = [*task.format, *task.content]
    ids = check_ids(definitions)
    chosen = slice(0, len(task.format)) if part == "format" else slice(len(task.format), None)
    weights = {name: item.weight for name, item in zip(ids[chosen], definitions[chosen], strict=True)}
    total = math.fsum(weights.values())
    if total <= 0:
        return None
    return min(1.0, math.fsum(weight * values[name] for name, weight in weights.items()) / total)


def part_weights(task: Task) -> dict[Part, NDArray[np.float64] | None]:
    """The weight of each check of the task in each part; None for a part without a weight, of which there is no score."""
    import numpy as np

    found: dict[Part, NDArray[np.float64] | None] = {}
    for part in PARTS:
        own = [check.weight if part == "format" else 0.0 for check in task.format]
        own += [check.weight if part == "content" else 0.0 for check in task.content]
        found[part] = np.array(own, float) if sum(own) > 0 else None
    return found
