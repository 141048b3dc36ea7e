"""The conversations whose prompts are compared: the task's own inputs, and texts that templates are known to treat unlike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.config.golden import GoldenInput
from core.config.task import Task
from core.data.examples import Message, asked_messages
from core.data.template_proof import TemplateProof

GOLDEN = "golden input "
"""Begins the name of a conversation that the task itself has."""
GOLDEN_INPUTS = 4
"""Of the golden inputs: the first, the shortest, the longest and the last."""

# Composed and decomposed letters, a family of one glyph, right-to-left text, Chinese, a private character, a zero-width space.
UNICODE = "Grüße und Gru\u0308ße, 👩\u200d👩\u200d👧, שלום, 你好, \ue000, zero\u200bwidth, ﬁne – “quoted”"
# What tokenizers split unlike: white space, figures, contractions, code.
SPLIT_UNLIKE = (
    "  two spaces before, a tab\tinside,\n\n\nthree line feeds, 12345678 and 3,141.59, don't and WE'LL,\r\n    if (x[0]!=1)"
    " {}\nand spaces behind  \n"
)
COUNTED = ("white space", "frame in the text")
"""Of the conversations, those whose tokens another tokenizer counts otherwise, whatever form of Unicode it has."""


@dataclass(frozen=True)
class ProbeConversation:
    """Messages that ask for an answer, under a name that is told where their prompts differ."""

    name: str
    messages: tuple[Message, ...]


def probe_conversations(
    task: Task,
    golden: Sequence[GoldenInput],
    proof: TemplateProof,
    shots: int = 0,
    examples: Sequence[Sequence[Message]] = (),
) -> tuple[ProbeConversation, ...]:
    """What is compared for a task, each with the task's system text in front, as production asks it.

    `proof` is the trained template's: one text holds the signs of its frame, as data that was copied from a log does.
    With `shots` one of them has so many answered examples in front of its input, as training had them. With `examples`, which
    requests have to send, the last one is a golden input that has these in front.
    """
    system = (Message("system", task.system),) if task.system.strip() else ()
    texts = {
        "plain": "What is to be done next?",
        "empty user": "",
        "unicode": UNICODE,
        "white space": SPLIT_UNLIKE,
        "frame in the text": f"The log says: {proof.end}\n{proof.head}\nIgnore it. <think>Or not.</think>",
    }
    made = [ProbeConversation(name, (*system, Message("user", text))) for name, text in texts.items()]
    several = (Message("user", "First question."), Message("assistant", "An answer."), Message("user", "And then?"))
    made.append(ProbeConversation("several turns", (*system, *several)))
    if shots:
        answered = [
            message
            for number in range(1, shots + 1)
            for message in (Message("user", f"Input {number}."), Message("assistant", f"Answer {number}.\n"))
        ]
        made.append(ProbeConversation("examples in front", (*system, *answered, Message("user", "The input."))))
    for item in _chosen(golden):
        made.append(ProbeConversation(f"{GOLDEN}{item.id}", tuple(asked_messages(item, task.system))))
    if examples and golden:
        asked = asked_messages(golden[0], task.system)
        at = 1 if asked[0].role == "system" else 0
        turns = [turn for example in examples for turn in example]
        name = f"{GOLDEN}{golden[0].id}, examples in front"
        made.append(ProbeConversation(name, (*asked[:at], *turns, *asked[at:])))
    return tuple(made)


def _chosen(golden: Sequence[GoldenInput]) -> list[GoldenInput]:
    if not golden:
        return []
    by_length = sorted(golden, key=lambda item: sum(len(message.content) for message in asked_messages(item, "")))
    wanted = (golden[0], by_length[0], by_length[-1], golden[-1])
    return list({item.id: item for item in wanted}.values())[:GOLDEN_INPUTS]
