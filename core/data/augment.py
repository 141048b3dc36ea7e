"""What a recipe adds to the examples of a data set, between loading and fitting: `few_shot` and `skeletons`.

Both are functions of the examples' contents and the recipe's seed alone: neither the order of the lines nor a second call
changes what is drawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from core.config.recipe import FewShot, Recipe
from core.config.task import Task
from core.data.examples import Example, Message, normalised
from core.data.render import ChatTokenizer, RenderedExample, render_example
from core.data.skeletons import skeleton_examples

Render = Callable[[Example], RenderedExample]


@dataclass(frozen=True)
class AugmentReport:
    """What was added.

    Of `few_shot_chosen` examples that were to get `few_shot_count` answered ones in front, `few_shot_full` got all of them,
    `few_shot_fewer` some and `few_shot_none` none: there was no room, or no other example to take. `skeletons` of
    `skeletons_asked` were made; `skeletons_why` says why fewer.
    """

    few_shot_count: int = 0
    few_shot_chosen: int = 0
    few_shot_full: int = 0
    few_shot_fewer: int = 0
    few_shot_none: int = 0
    skeletons_asked: int = 0
    skeletons: int = 0
    skeletons_why: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def augment(
    examples: Sequence[Example],
    task: Task,
    recipe: Recipe,
    tokenizer: ChatTokenizer,
    render: Render | None = None,
) -> tuple[list[Example], AugmentReport]:
    """The examples as the recipe wants them, and what was added.

    `few_shot`: a share of the examples is drawn, and each of them gets other examples of the data set in front of its own
    turns, as turns that were already answered. Never itself, none with the same input (letters and digits compared), none of
    its own line or `source`, none under another system message. Only what fits `max_length` as a whole is put there, so
    that nothing is cut for it. The loss stays on the last turn.

    `skeletons`: examples of the bare form (see `core.data.skeletons`) are appended; their line is 0.

    `render` gives an example's tokens (a memory of them, say); by default they are made anew. InputError as `render_example`.
    """
    make = render or (lambda example: render_example(tokenizer, example, task.thinking, system_role=task.system_role))
    result, report = list(examples), AugmentReport()
    if recipe.few_shot is not None and examples:
        result, report = _few_shot(result, recipe.few_shot, recipe, make)
    if recipe.skeletons:
        made, why = skeleton_examples(examples, recipe.skeletons, recipe.seed)
        fitting = [example for example in made if make(example).tokens <= recipe.max_length]
        if len(fitting) < len(made):
            why = f"{len(made) - len(fitting)} do not fit into {recipe.max_length} tokens"
        result += fitting
        report = replace(report, skeletons_asked=recipe.skeletons, skeletons=len(fitting), skeletons_why=why)
    return result, report


def shots_in_front(example: Example, original: Example) -> int:
    """How many answered turns stand in front of what `original` begins with."""
    return sum(message.role == "assistant" for message in example.messages) - sum(
        message.role == "assistant" for message in original.messages
    )


def _few_shot(
    examples: list[Example], wanted: FewShot, recipe: Recipe, render: Render
) -> tuple[list[Example], AugmentReport]:
    keys = [_draw(recipe.seed, example) for example in examples]
    order = sorted(range(len(examples)), key=lambda place: keys[place])
    chosen = order[: max(1, round(wanted.share * len(examples)))]
    # Donors are taken along a second ring, from the example's own place on: each example meets others there.
    ring = sorted(range(len(examples)), key=lambda place: hashlib.sha256(keys[place]).digest())
    at = {place: index for index, place in enumerate(ring)}
    inputs = [normalised(example.last_user) for example in examples]
    result = list(examples)
    counts = {"full": 0, "fewer": 0, "none": 0}
    for place in chosen:
        following = (ring[(at[place] + step) % len(ring)] for step in range(1, len(ring)))
        donors = _donors(place, following, wanted.count, examples, inputs)
        result[place], shots = _in_front(examples[place], donors, recipe.max_length, render)
        counts["full" if shots == wanted.count else "fewer" if shots else "none"] += 1
    return result, AugmentReport(
        few_shot_count=wanted.count,
        few_shot_chosen=len(chosen),
        few_shot_full=counts["full"],
        few_shot_fewer=counts["fewer"],
        few_shot_none=counts["none"],
    )


def _draw(seed: int, example: Example) -> bytes:
    """A random number of the example's content."""
    turns = [message.to_json() for message in example.messages]
    text = json.dumps([seed, turns, example.completion], ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()


def _donors(
    place: int, following: Iterable[int], count: int, examples: Sequence[Example], inputs: Sequence[str]
) -> list[Example]:
    """The next examples that may stand in front of the one at `place`."""
    example = examples[place]
    used = {inputs[place]}
    donors: list[Example] = []
    for other in following:
        donor = examples[other]
        same_line = donor.line == example.line and donor.file == example.file
        same_source = donor.source is not None and donor.source == example.source
        if same_line or same_source or inputs[other] in used or _system(donor) != _system(example):
            continue
        used.add(inputs[other])
        donors.append(donor)
        if len(donors) == count:
            break
    return donors


def _in_front(example: Example, donors: Sequence[Example], max_length: int, render: Render) -> tuple[Example, int]:
    """The example with as many donors in front as fit, and how many these are."""
    head = _system(example)
    own = example.messages[len(head) :]
    for count in range(len(donors), 0, -1):
        turns = [turn for donor in donors[:count] for turn in _answered(donor)]
        grown = replace(example, messages=(*head, *turns, *own))
        if render(grown).tokens <= max_length:
            return grown, count
    return example, 0


def _system(example: Example) -> tuple[Message, ...]:
    return example.messages[:1] if example.messages[0].role == "system" else ()


def _answered(donor: Example) -> tuple[Message, ...]:
    """The donor's turns with its answer, without the system message."""
    return (*donor.messages[len(_system(donor)) :], Message("assistant", donor.completion))
