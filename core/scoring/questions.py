"""What a candidate is asked: the conversation of each golden input, as the task or the candidate's variant says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from core.config.golden import GoldenInput
from core.config.task import Sampling, Task
from core.data.examples import Message, asked_messages
from core.data.template import Thinking, fold_system
from core.files import sha256_json
from core.jobfile.bakeoff import CandidateSpec, TaskUnderTest, Variant
from core.scoring.answers import answer_key, repeat_numbers
from core.serving.answering import Question


@dataclass(frozen=True)
class AskedTask:
    """A task as one candidate is asked it: with the variant's system text, examples, thinking and sampling in it."""

    under_test: TaskUnderTest
    inputs: tuple[GoldenInput, ...]
    variant: Variant
    sampling: Sampling
    thinking: Thinking

    @property
    def task(self) -> Task:
        return self.under_test.task

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def system(self) -> str:
        return self.task.system if self.variant.system is None else self.variant.system

    @property
    def repeats(self) -> int:
        return self.under_test.repeats

    def asked_for(self, item: GoldenInput) -> str:
        """All that says what an answer to this input looks like: tags that stand in it belong to the answer.

        Examples count for every candidate of the task, whoever is shown them: they are of the data that models are tuned on.
        """
        shown = (turn.content for example in self.under_test.examples for turn in example)
        asked = (text for _, text in item.conversation(self.system))
        output = "" if self.variant.output is None else self.variant.output.text
        return "\n".join((self.task.model_dump_json(), self.system, output, *asked, *shown))

    def messages(self, item: GoldenInput) -> list[Message]:
        """What is sent for an input: the system text, the examples as turns, the input."""
        asked = asked_messages(item, self.system)
        examples = self.under_test.examples[: self.variant.few_shot]
        shown = [Message(turn.role, turn.content) for example in examples for turn in example]
        at = 1 if asked and asked[0].role == "system" else 0
        return [*asked[:at], *shown, *asked[at:]]


def asked_task(under_test: TaskUnderTest, inputs: tuple[GoldenInput, ...], candidate: CandidateSpec) -> AskedTask:
    variant, task = candidate.variant, under_test.task
    return AskedTask(under_test, inputs, variant, variant.applied(task.sampling), variant.think or task.thinking)


@dataclass(frozen=True)
class Cell:
    """A place of the result: one repeat of one input of one task, with the seed that all candidates get there."""

    task: str
    item: GoldenInput
    repeat: int
    seed: int


def cells(asked: AskedTask, seed: int) -> Iterator[Cell]:
    """The places of a task, the repeats of an input one after the other: a server has its prompt in the cache then."""
    for item in asked.inputs:
        for repeat in repeat_numbers(asked.repeats):
            yield Cell(asked.name, item, repeat, answer_seed(seed, item.id, repeat))


def answer_seed(seed: int, input_id: str, repeat: int) -> int:
    """The seed of an answer, below 2³¹: the same for every candidate, another for each input and repeat."""
    digest = hashlib.sha256(f"{seed}\0{input_id}\0{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def question(asked: AskedTask, cell: Cell, window: int) -> Question:
    """What a server is sent for a place of the result, every option with it; `window` is the context length that it has."""
    messages = asked.messages(cell.item)
    if asked.task.system_role == "user":
        messages = fold_system(messages)
    sampling, output = asked.sampling, asked.variant.output
    return Question(
        messages=tuple((message.role, message.content) for message in messages),
        seed=cell.seed,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        repeat_penalty=sampling.repeat_penalty,
        max_new_tokens=sampling.max_new_tokens,
        context_length=window,
        think=asked.thinking == "on",
        output=None if output is None else (output.kind, output.text),
    )


def prompt_hash(sent: Question) -> str:
    """Hex SHA-256 of the conversation that a server is sent."""
    return sha256_json(sent.messages)


def served_key(asked: AskedTask, cell: Cell, sent: Question, identity: str) -> str:
    """The key of the answer to this question; `identity` is the hash of who answers."""
    return answer_key(
        task=asked.name,
        weights=identity,
        prompt_sha256=prompt_hash(sent),
        sampling={**asked.sampling.model_dump(), "think": sent.think, "output": sent.output},
        seed=cell.seed,
        repeat=cell.repeat,
        input_id=cell.item.id,
    )
