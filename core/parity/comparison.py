"""Two prompts of one conversation, the trained one and the served one: where they part, and what is the likely cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.data.examples import Message
from core.data.template import Thinking
from core.data.template_proof import TemplateProof
from core.reasons import Reason

CAUSES = (
    "doubled_bos",
    "added_bos",
    "lost_bos",
    "added_eos",
    "tokens_differ",
    "system_dropped",
    "no_template",
    "system_moved",
    "trailing_whitespace",
    "whitespace_differs",
    "thinking_differs",
    "other_template",
    "text_differs",
)
"""What can be told of a difference, as codes; the first that holds is taken."""
CONTEXT_CHARACTERS = 60


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt, and the token ids that the model gets of it."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of the beginning and the end of a text; None where the tokenizer has none."""

    bos: int | None
    eos: int | None


@dataclass(frozen=True)
class ParityCase:
    """One conversation with one policy of thinking: both prompts, and the cause (a code of `CAUSES`) where they differ."""

    name: str
    thinking: Thinking
    trained: Prompt
    served: Prompt
    cause: Reason | None

    @property
    def same(self) -> bool:
        return self.trained.tokens == self.served.tokens

    @property
    def first_difference(self) -> int | None:
        """The index of the first token that differs, or behind which only one prompt goes on; None where both are the same."""
        if self.same:
            return None
        return _common(self.trained.tokens, self.served.tokens)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "thinking": self.thinking,
            "same": self.same,
            "tokens": len(self.trained.tokens),
            **({} if self.cause is None else self._difference(self.cause)),
        }

    def _difference(self, cause: Reason) -> dict[str, Any]:
        at = _common(self.trained.text, self.served.text)
        return {
            "served_tokens": len(self.served.tokens),
            "first_difference": self.first_difference,
            "cause": cause.to_json(),
            "before": self.trained.text[max(0, at - CONTEXT_CHARACTERS) : at],
            "trained": self.trained.text[at : at + CONTEXT_CHARACTERS],
            "served": self.served.text[at : at + CONTEXT_CHARACTERS],
            "trained_tokens_there": list(self.trained.tokens[self.first_difference :][:3]),
            "served_tokens_there": list(self.served.tokens[self.first_difference :][:3]),
            "trained_text": self.trained.text,
            "served_text": self.served.text,
        }


def compare(
    name: str,
    thinking: Thinking,
    messages: Sequence[Message],
    trained: Prompt,
    served: Prompt,
    proof: TemplateProof,
    special: SpecialTokens,
) -> ParityCase:
    """Both prompts of a conversation as a case. `proof` is the trained template's."""
    same = trained.tokens == served.tokens
    cause = None if same else _cause(messages, trained, served, proof, special)
    return ParityCase(name, thinking, trained, served, cause)


def _cause(
    messages: Sequence[Message], trained: Prompt, served: Prompt, proof: TemplateProof, special: SpecialTokens
) -> Reason:
    at_ends = _at_the_ends(trained.tokens, served.tokens, special)
    if at_ends is not None:
        return Reason(at_ends)
    if trained.text == served.text:
        return Reason("tokens_differ")
    if _lacks_system(messages, served.text):
        return Reason("system_dropped")
    if not proof.control.search(_without_contents(served.text, messages)):
        return Reason("no_template")
    if _parts_system(messages, trained.text, proof) and not _parts_system(messages, served.text, proof):
        return Reason("system_moved")
    if trained.text.rstrip() == served.text.rstrip():
        return Reason("trailing_whitespace", {"trained": _tail(trained.text), "served": _tail(served.text)})
    if "".join(trained.text.split()) == "".join(served.text.split()):
        return Reason("whitespace_differs")
    if _without_blocks(trained.text, proof) == _without_blocks(served.text, proof):
        return Reason(
            "thinking_differs", {"trained": _blocks_of(trained.text, proof), "served": _blocks_of(served.text, proof)}
        )
    frames = [_frame(prompt.text, messages) for prompt in (trained, served)]
    return Reason("other_template" if frames[0] != frames[1] else "text_differs")


def _at_the_ends(trained: Sequence[int], served: Sequence[int], special: SpecialTokens) -> str | None:
    """A beginning or an end of a text that one side has and the other has not, all else being equal."""
    bos, eos = special.bos, special.eos
    if bos is not None and tuple(served) == (bos, *trained):
        return "doubled_bos" if trained[:1] == (bos,) else "added_bos"
    if bos is not None and tuple(trained) == (bos, *served):
        return "lost_bos"
    if eos is not None and tuple(served) == (*trained, eos):
        return "added_eos"
    return None


def _lacks_system(messages: Sequence[Message], text: str) -> bool:
    system = next((message.content.strip() for message in messages if message.role == "system"), "")
    return bool(system) and system not in text


def _parts_system(messages: Sequence[Message], text: str, proof: TemplateProof) -> bool:
    """Whether a sign of the frame stands between the system text and the message behind it."""
    if len(messages) < 2 or messages[0].role != "system" or not messages[1].content.strip():
        return False
    _, found, behind = text.partition(messages[0].content.strip())
    between, reached, _ = behind.partition(messages[1].content.strip())
    return bool(found and reached and proof.control.search(between))


def _without_contents(text: str, messages: Sequence[Message]) -> str:
    for message in sorted(messages, key=lambda one: -len(one.content)):
        if message.content.strip():
            text = text.replace(message.content.strip(), "")
    return text


def _frame(text: str, messages: Sequence[Message]) -> str:
    return "".join(_without_contents(text, messages).split())


def _without_blocks(text: str, proof: TemplateProof) -> str:
    """The text without blocks in which nothing is thought, without openings at its end and switches in words."""
    for opening, closing in proof.blocks:
        text = re.sub(rf"{re.escape(opening)}\s*{re.escape(closing)}", "", text)
        text = re.sub(rf"{re.escape(opening)}\s*$", "", text)
    return "".join(re.sub(r" ?/(?:no_)?think\b", "", text).split())


def _blocks_of(text: str, proof: TemplateProof) -> str:
    """What of thinking stands in a prompt, for people: an empty block, an opening, a switch in words, or nothing."""
    found = [
        re.search(rf"{re.escape(opening)}\s*(?:{re.escape(closing)})?\s*$", text) for opening, closing in proof.blocks
    ]
    switch = re.search(r"/(?:no_)?think\b", text)
    return "".join(match[0] for match in (*found, switch) if match)


def _tail(text: str) -> str:
    return text[len(text.rstrip()) :]


def _common(first: Sequence[Any], second: Sequence[Any]) -> int:
    """How many elements both begin with."""
    return next(
        (at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
        min(len(first), len(second)),
    )
