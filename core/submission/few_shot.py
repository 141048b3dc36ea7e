"""The examples that stand before an input for candidates that are asked with examples: the same for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.data.examples import CHARACTERS_PER_TOKEN, Example, Message, load_examples
from core.data.leaks import find_leaks
from core.data.shots import wanted_shots
from core.data.source import read_source
from core.errors import InputError
from core.files import sha256_json
from core.jobfile.bakeoff import ExampleTurn
from core.jobfile.train import TrainSpec
from core.thinking import split_thinking

Shown = list[ExampleTurn]
TOO_FEW = ("no_train_data", "too_few_examples")
"""Codes of refusals."""


@dataclass(frozen=True)
class ExamplePool:
    """What can be shown of a task's training data, in the order in which it is taken.

    `left_out` says how many examples were not taken, by reason. `fitting` is how many of the first fit the task's
    `context_length` together, with system text, the longest golden input and the longest answer.
    """

    examples: tuple[Shown, ...]
    fitting: int
    left_out: dict[str, int]

    def first(self, count: int, task: Task) -> list[Shown]:
        """The first of them. Raises `InputError` where there are fewer."""
        if count > len(self.examples):
            reasons = ", ".join(f"{number} {reason}" for reason, number in self.left_out.items() if number)
            raise InputError(
                f"few_shot={count}: {len(self.examples)} examples can be shown" + (f" ({reasons})" if reasons else ""),
                code="too_few_examples",
                file=task.file,
                key="data.train",
                remedy="take a smaller few_shot, or add examples to the training data",
            )
        return list(self.examples[:count])


def example_pool(
    task: Task, examples: Sequence[Example], golden: Sequence[GoldenInput], seed: int = 0, former: Sequence[Shown] = ()
) -> ExamplePool:
    """The examples in the order of a draw: by the hash of seed and text, so that further training data moves none of them.

    One conversation is one example, with all its turns. None of its user messages is a golden input, contains one or is part
    of one. As long as they fit together they come in the order of the draw; those that do not fit any more follow, the shortest
    first. The length of a text in tokens is taken for a quarter of its characters. `former` are examples that were shown
    before: they stay the first.
    """
    conversations = [one for one in _whole(examples) if _ends_apart(one)]
    foreign = [one for one in conversations if _other_system(one, task)]
    own = [one for one in conversations if not _other_system(one, task)]
    leaking = _leaking(own, golden)
    kept = [_turns(one) for index, one in enumerate(own) if index not in leaking]
    former_keys = {_key(shown, seed) for shown in former}
    drawn = {_key(shown, seed): shown for shown in kept if all(turn.content.strip() for turn in shown)}
    order = [*former, *(drawn[key] for key in sorted(drawn) if key not in former_keys)]
    fitting, rest = _that_fit(order, _room(task, golden), len(former))
    left_out = {
        "repeat golden inputs": len(leaking),
        "have a system message of their own": len(foreign),
        "are doubled or empty": len(kept) - len(drawn),
    }
    return ExamplePool((*fitting, *rest), len(fitting), left_out)


def asked_as_trained(
    project: Project, references: Sequence[str], training: TrainSpec, task: str, remarks: list[str]
) -> tuple[str, ...]:
    """The candidates, asked with as many examples as training put in front of nearly every prompt; unchanged where it put them
    in front of a part or of none, and, with a remark, where the task has not so many to show now.

    All are asked alike, the base as well: what is compared is what training gained. Raises `InputError`, `NotFoundError`.
    """
    if task != training.task.name:
        return tuple(references)
    try:
        shown = examples_as_trained(project, training)
    except InputError as error:
        if error.code not in TOO_FEW:
            raise
        remarks.append(
            f"nearly every trained prompt had examples in front, and the bake-off asks without: {error.message}"
        )
        return tuple(references)
    return tuple(f"{reference}@few_shot={len(shown)}" for reference in references) if shown else tuple(references)


def examples_as_trained(project: Project, training: TrainSpec) -> list[Shown]:
    """As many examples as training put in front of nearly every prompt, those that bake-offs show; empty where it put them in
    front of a part or of none. Raises `NotFoundError`, `InputError`: one of TOO_FEW where the task has not so many now."""
    shots = wanted_shots(training.recipe.few_shot)
    if shots is None or not shots.expected:
        return []
    task = project.task(training.task.name)
    learnt, _ = load_examples(read_source(project.train_file(task)), task)
    return example_pool(task, learnt, project.golden(task).inputs).first(shots.count, task)


def _whole(examples: Sequence[Example]) -> Iterator[Example]:
    """Of the examples of one conversation (`loss: every_turn`) the one that holds all its turns."""
    longest: dict[tuple[str, int], Example] = {}
    for example in examples:
        place = (example.file, example.line)
        if place not in longest or len(example.messages) > len(longest[place].messages):
            longest[place] = example
    yield from longest.values()


def _ends_apart(example: Example) -> bool:
    """Whether its turns go user, assistant, user, …: so they can be followed by the input."""
    roles = [message.role for message in example.messages if message.role != "system"]
    return (
        bool(roles)
        and all(role == ("assistant" if index % 2 else "user") for index, role in enumerate(roles))
        and (roles[-1] == "user")
    )


def _other_system(example: Example, task: Task) -> bool:
    first = example.messages[0]
    return first.role == "system" and first.content.strip() != task.system.strip()


def _leaking(examples: Sequence[Example], golden: Sequence[GoldenInput]) -> set[int]:
    """The places of examples of which any user message repeats a golden input."""
    asked = [
        replace(example, messages=example.messages[: end + 1], line=index)
        for index, example in enumerate(examples)
        for end, message in enumerate(example.messages)
        if message.role == "user"
    ]
    return {leak.line for leak in find_leaks(asked, golden)}


def repeats_golden(shown: Sequence[Shown], golden: Sequence[GoldenInput]) -> bool:
    """Whether examples that were shown before repeat what is a golden input now."""
    asked = [
        Example(tuple(Message(turn.role, turn.content) for turn in one[:-1]), one[-1].content, 0, "") for one in shown
    ]
    return bool(_leaking(asked, golden))


def _turns(example: Example) -> Shown:
    """The messages and the answer, without the thoughts in it: the input is asked for an answer, however it is thought of."""
    turns = [message for message in example.messages if message.role != "system"]
    said = [ExampleTurn(role="user" if turn.role == "user" else "assistant", content=turn.content) for turn in turns]
    # A tag such as <reasoning> in what is learnt is of the answer that is wanted.
    answer = split_thinking(example.completion, lambda: example.completion).text
    return [*said, ExampleTurn(role="assistant", content=answer)]


def _key(shown: Shown, seed: int) -> str:
    return sha256_json([seed, [[turn.role, turn.content] for turn in shown]])


def _tokens(text: str) -> float:
    return len(text) / CHARACTERS_PER_TOKEN


def _room(task: Task, golden: Sequence[GoldenInput]) -> float:
    """The tokens that are left for examples."""
    longest = max((sum(_tokens(text) for _, text in item.conversation("")) for item in golden), default=0.0)
    return task.sampling.context_length - task.sampling.max_new_tokens - _tokens(task.system) - longest


def _that_fit(order: Sequence[Shown], room: float, first: int) -> tuple[list[Shown], list[Shown]]:
    """Those that fit together, taken in this order (the `first` ones in any case), and the others by their length."""
    fitting: list[Shown] = []
    rest: list[tuple[float, int, Shown]] = []
    for index, shown in enumerate(order):
        length = sum(_tokens(turn.content) for turn in shown)
        if index < first or length <= room:
            fitting.append(shown)
            room -= length
        else:
            rest.append((length, index, shown))
    return fitting, [shown for _, _, shown in sorted(rest, key=lambda one: one[:2])]
