"""An answer as the detectors of failure modes see it: with what its candidate was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from core.errors import BakehouseError
from core.failure_modes import AnsweredExample, SeenAnswer
from core.scoring.answers import Answer, Fault
from core.scoring.questions import AskedTask, asked_task
from core.thinking import Split

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.jobfile.bakeoff import CandidateSpec, ExampleTurn, TaskUnderTest

MOST_USUAL = 40
"""Good answers to other inputs of a task that a detector is told."""


@dataclass(frozen=True)
class AskedCandidate:
    """What a candidate was asked of one task, in the form that the detectors want."""

    asked: AskedTask

    @cached_property
    def examples(self) -> tuple[AnsweredExample, ...]:
        """The examples that stood in front of each input: what was asked in each, and its last answer."""
        shown = self.asked.under_test.examples[: self.asked.variant.few_shot]
        return tuple(example for turns in shown if (example := _example(turns)) is not None)

    @cached_property
    def inputs(self) -> Mapping[str, str]:
        return {item.id: asked_text(item) for item in self.asked.inputs}

    @cached_property
    def references(self) -> Mapping[str, tuple[str, ...]]:
        return {item.id: references_of(item) for item in self.asked.inputs}

    @cached_property
    def usual(self) -> tuple[str, ...]:
        """Good answers of the task: references, and the answers of its examples, whoever was shown those."""
        examples = (_example(turns) for turns in self.asked.under_test.examples)
        found = [text for texts in self.references.values() for text in texts]
        found += [example.answer for example in examples if example is not None]
        return tuple(dict.fromkeys(found))[:MOST_USUAL]

    def seen(self, answer: Answer, split: Split, fault: Fault | None) -> SeenAnswer:
        """An answer of this candidate, its thinking parted from it. KeyError for an input that the golden set lacks."""
        asked, output = self.asked, self.asked.variant.output
        return SeenAnswer(
            input_id=answer.input_id,
            repeat=answer.repeat,
            text=split.text,
            system=asked.system,
            asked=self.inputs[answer.input_id],
            # Thinking that a server keeps apart is in nobody's way.
            thinking=None if answer.thinking_apart and fault != "thinking" else split.thinking,
            finish=answer.finish,
            fault=fault,
            thinking_asked=(answer.asked_thinking or asked.thinking) == "on",
            completion_tokens=answer.completion_tokens,
            examples=self.examples,
            references=self.references[answer.input_id],
            usual=self.usual,
            limit=asked.sampling.max_new_tokens,
            wants_json=output is not None and output.kind in ("json", "schema"),
        )


def asked_candidates(
    under_test: TaskUnderTest, inputs: Sequence[GoldenInput], candidates: Iterable[CandidateSpec]
) -> dict[str, AskedCandidate]:
    """What each candidate was asked of a task, by its name."""
    return {one.name: AskedCandidate(asked_task(under_test, tuple(inputs), one)) for one in candidates}


def asked_text(item: GoldenInput) -> str:
    """What a golden input says, its messages one after the other."""
    try:
        return "\n".join(text for role, text in item.conversation("") if role != "system")
    except BakehouseError:  # it names a file that is gone
        return ""


def references_of(item: GoldenInput) -> tuple[str, ...]:
    """The good answers that a person wrote for an input: `expect.reference`, a text or several."""
    given = item.expect.get("reference")
    listed = given if isinstance(given, list) else [given]
    return tuple(text for text in listed if isinstance(text, str) and text.strip())


def _example(turns: Sequence[ExampleTurn]) -> AnsweredExample | None:
    asked = "\n".join(turn.content for turn in turns if turn.role == "user")
    answers = [turn.content for turn in turns if turn.role == "assistant"]
    return AnsweredExample(asked, answers[-1]) if answers else None
