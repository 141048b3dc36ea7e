"""Skeletons: examples of an answer's bare form, so that a small model sees what belongs to it and what does not.

In an ordinary example the form is mixed with content: headings, table heads and labels are a few tokens among many, and with
a few dozen examples a small model learns by heart which words went with which input. A skeleton is the same form with nothing
in it. Its completion is built from the training completions themselves, not from the task's checks: a check says what must be
there, often as a pattern from which no text can be read; the completions show it, every line in its place. Lines that they
share stay (headings, table heads, first cells, labels, keys), and what differs between them becomes "…"; see `core.data.forms`.

The user turn asks for the bare form in words that no input holds, and gives the input's bare form below them: with several
forms of answers (one note, three notes) it says which one is meant. So nothing in an ordinary input calls for a "…".
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from core.data.examples import Example, Message
from core.data.forms import Form, forms, free_placeholder

# With fewer examples, what they have in common is chance.
FEWEST_EXAMPLES = 4
# A form that fewer than this share of the texts have says nothing about the task.
COMMON_SHARE = 0.05
REQUESTS = (
    "Give only the form of the answer, with {sign} for everything that depends on the input:",
    "Which form does the answer have? Put {sign} in place of what the input decides:",
    "Leave the content out. Write the answer's frame, {sign} wherever something would be filled in:",
    "Do not answer this input; show how an answer to it is laid out, {sign} standing for its content:",
    "An empty answer, please: all that is always the same, and {sign} for the rest:",
    "Write the template that the answer follows, with {sign} in every place that is filled in:",
)


def skeleton_examples(examples: Sequence[Example], count: int, seed: int) -> tuple[list[Example], str]:
    """Up to `count` skeletons, line 0, and why they are fewer ("" when they are not).

    The commonest forms come first; once each has been asked for, they are asked for again in other words. Deterministic by
    seed, whatever the order of the examples.
    """
    if len(examples) < FEWEST_EXAMPLES:
        return [], f"of {len(examples)} examples no form can be told"
    completions = [example.completion for example in examples]
    sign = free_placeholder([*completions, *(example.last_user for example in examples)])
    found = [form for form in forms(completions, sign) if form.share >= COMMON_SHARE]
    if not found:
        return [], "the completions have no form in common"
    requests = list(REQUESTS)
    random.Random(seed).shuffle(requests)
    head = _commonest_system(examples)
    made = [
        Example(
            (*head, Message("user", f"{request.format(sign=sign)}\n\n{_bare_input(examples, form, sign)}")),
            form.text,
            0,
            "",
        )
        for request in requests
        for form in found
    ]
    why = (
        ""
        if len(made) >= count
        else f"the completions have {len(found)} forms, each is asked for in {len(REQUESTS)} ways"
    )
    return made[:count], why


def _bare_input(examples: Sequence[Example], form: Form, sign: str) -> str:
    """The form of the inputs whose answers have this form; the sign alone where half of them share none."""
    inputs = forms([examples[place].last_user for place in form.members], sign)
    return inputs[0].text if inputs and inputs[0].share >= 0.5 else sign


def _commonest_system(examples: Sequence[Example]) -> tuple[Message, ...]:
    heads = Counter(example.messages[:1] if example.messages[0].role == "system" else () for example in examples)
    return max(heads, key=lambda head: (heads[head], [message.content for message in head]))
