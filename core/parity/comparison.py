"""Two prompts of one conversation, the trained one and the served one: where they part, and what is the likely cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.data.examples import Message
from core.data.template import Thinking
from core.data.template_proof import TemplateProof
from core.reasons import Reason

CAUSES = (
    "render_refused",
    "doubled_bos",
    "added_bos",
    "lost_bos",
    "added_eos",
    "normal_form_differs",
    "tokens_differ",
    "no_template",
    "system_dropped",
    "system_twice",
    "default_system_differs",
    "system_moved",
    "trailing_whitespace",
    "whitespace_differs",
    "thinking_differs",
    "other_template",
    "text_differs",
)
"""What can be told of a difference, as codes. A token at an end is told beside what else differs; of the text, the first that
holds is taken."""
CONTEXT_CHARACTERS = 60
SWITCH = re.compile(r" ?(?<!<)/(?:no_)?think\b")
"""Qwen3's switch in words, and no closing sign of a thought."""
SIGN = re.compile(r"<[^<>\s]{1,40}>|\[[A-Z_]{1,20}\]")
"""What a template writes for a special token."""


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt, and the token ids that the model gets of it."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class SpecialTokens:
    """The texts of all special tokens by id, and the id that begins a text; None where the tokenizer has none."""

    bos: int | None
    texts: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ParityCase:
    """One conversation with one policy of thinking: both prompts, and the causes (codes of `CAUSES`) where they differ.

    `text_place` is the index of the first character that differs; of equal texts that of the first token that does.
    """

    name: str
    thinking: Thinking
    trained: Prompt
    served: Prompt
    causes: tuple[Reason, ...] = ()
    text_place: int = 0

    @property
    def same(self) -> bool:
        return not self.causes

    @property
    def cause(self) -> Reason | None:
        """The first one."""
        return next(iter(self.causes), None)

    @property
    def was_rendered(self) -> bool:
        """Whether the server made a prompt of it at all."""
        return all(one.code != "render_refused" for one in self.causes)

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
        at = self.text_place
        return {
            "served_tokens": len(self.served.tokens),
            "first_difference": self.first_difference,
            "cause": cause.to_json(),
            "also": [one.to_json() for one in self.causes[1:]],
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
    *,
    normal_form: str | None = None,
    place_of_token: Callable[[int], int] = lambda token: 0,
) -> ParityCase:
    """Both prompts of a conversation as a case. `proof` is the trained template's.

    `normal_form`: the form of Unicode in which the server gives the trained tokens; None where there is none, or where they are
    the same as it is. `place_of_token` tells where in the trained text a token of it begins.
    """
    if trained.tokens == served.tokens:
        return ParityCase(name, thinking, trained, served)
    if trained.text != served.text:
        place = _common(trained.text, served.text)
    else:
        place = place_of_token(_common(trained.tokens, served.tokens))
    causes = tuple(_causes(messages, trained, served, proof, special, normal_form))
    return ParityCase(name, thinking, trained, served, causes, place)


def refused(name: str, thinking: Thinking, trained: Prompt, said: str) -> ParityCase:
    """A conversation of which the server made no prompt, with what it said of that."""
    return ParityCase(name, thinking, trained, Prompt("", ()), (Reason("render_refused", {"said": said}),))


def _causes(
    messages: Sequence[Message],
    trained: Prompt,
    served: Prompt,
    proof: TemplateProof,
    special: SpecialTokens,
    normal_form: str | None,
) -> Iterator[Reason]:
    trained, served, at_ends = _without_ends(trained, served, special)
    yield from map(Reason, at_ends)
    if trained.tokens == served.tokens:
        return
    if trained.text != served.text:
        yield from causes_of_text(messages, trained.text, served.text, proof)
    elif normal_form is not None:
        yield Reason("normal_form_differs", {"form": normal_form})
    else:
        yield Reason("tokens_differ")


def causes_of_text(messages: Sequence[Message], trained: str, served: str, proof: TemplateProof) -> Iterator[Reason]:
    """Why two rendered texts of a conversation differ: codes of `CAUSES` that need no tokens."""
    for longer, shorter, is_served in ((served, trained, True), (trained, served, False)):
        first = SIGN.match(longer)
        rest = "" if first is None else longer[first.end() :]
        if first is not None and rest[:BEGINNING] == shorter[:BEGINNING] != longer[:BEGINNING]:
            yield Reason(("doubled_bos" if shorter.startswith(first[0]) else "added_bos") if is_served else "lost_bos")
            served, trained = (rest, trained) if is_served else (served, rest)
            break
    if trained == served:
        return
    if not _frame(served, messages):
        yield Reason("no_template")
        if _lacks_system(messages, served):
            yield Reason("system_dropped")
    elif (of_system := _of_system(messages, trained, served)) is not None:
        yield of_system
        yield from _of_the_end(trained, served, proof)
    elif trained.rstrip() == served.rstrip():
        yield from _of_the_end(trained, served, proof)
    elif "".join(trained.split()) == "".join(served.split()):
        yield Reason("whitespace_differs")
    elif _without_blocks(trained, proof) == _without_blocks(served, proof):
        yield _of_thinking(trained, served, proof)
    else:
        frames = [_frame(text, messages) for text in (trained, served)]
        yield Reason("other_template" if frames[0] != frames[1] else "text_differs")


def _of_system(messages: Sequence[Message], trained: str, served: str) -> Reason | None:
    """What became of the system text."""
    if _lacks_system(messages, served):
        return Reason("system_dropped")
    if _times_system(messages, served) > _times_system(messages, trained):
        return Reason("system_twice")
    if (put_in := _default_system(messages, trained, served)) is not None:
        return put_in
    between = [_behind_system(messages, text) for text in (trained, served)]
    if between[0] and between[0].strip() and between[1] is not None and not between[1].strip():
        return Reason("system_moved")
    return None


def _of_the_end(trained: str, served: str, proof: TemplateProof) -> Iterator[Reason]:
    """What differs at the end of the prompts, whatever differs before."""
    if _blocks_of(trained, proof).rstrip() != _blocks_of(served, proof).rstrip():
        yield _of_thinking(trained, served, proof)
    elif _tail(trained) != _tail(served):
        yield Reason("trailing_whitespace", {"trained": _tail(trained), "served": _tail(served)})


def _of_thinking(trained: str, served: str, proof: TemplateProof) -> Reason:
    blocks = {"trained": _blocks_of(trained, proof), "served": _blocks_of(served, proof)}
    return Reason("thinking_differs", blocks)


BEGINNING = 40
"""So many letters tell that the rest of two texts begins in the same way."""
ALIKE = 3
"""So many tokens tell that the rest of two prompts begins, or ends, in the same way."""


def _without_ends(trained: Prompt, served: Prompt, special: SpecialTokens) -> tuple[Prompt, Prompt, list[str]]:
    """Both prompts without a special token in front, or an end behind, that one has and the other has not; and what that is.

    A template writes it as a text, a server adds it to the tokens.
    """
    known = {*special.texts, *([] if special.bos is None else [special.bos])}
    found = []
    ours, theirs = trained.tokens, served.tokens
    if ours[:ALIKE] != theirs[:ALIKE]:
        if theirs and theirs[0] in known and theirs[1 : 1 + ALIKE] == ours[:ALIKE]:
            found.append("doubled_bos" if theirs[0] == ours[0] else "added_bos")
            served = _without_first(served, trained, special)
        elif ours and ours[0] in known and ours[1 : 1 + ALIKE] == theirs[:ALIKE]:
            found.append("lost_bos")
            trained = _without_first(trained, served, special)
    ours, theirs = trained.tokens, served.tokens
    if theirs and theirs[-1] in known and theirs[:-1][-ALIKE:] == ours[-ALIKE:]:
        found.append("added_eos")
        text = special.texts.get(theirs[-1], "")
        served = Prompt(served.text.removesuffix(text), theirs[:-1])
    return trained, served, found


def _without_first(prompt: Prompt, other: Prompt, special: SpecialTokens) -> Prompt:
    """Without its first token, and without the text of that where it is what the other one's text has not."""
    sign = special.texts.get(prompt.tokens[0], "")
    written = prompt.text.removeprefix(sign)[: len(sign) + 1] == other.text[: len(sign) + 1]
    return Prompt(prompt.text.removeprefix(sign) if written else prompt.text, prompt.tokens[1:])


def _lacks_system(messages: Sequence[Message], text: str) -> bool:
    system = next((message.content.strip() for message in messages if message.role == "system"), "")
    return bool(system) and system.casefold() not in text.casefold()


def _times_system(messages: Sequence[Message], text: str) -> int:
    system = next((message.content.strip() for message in messages if message.role == "system"), "")
    return text.count(system) if system else 0


def _default_system(messages: Sequence[Message], trained: str, served: str) -> Reason | None:
    """A text that one template puts in front of a conversation without a system message, and the other does not."""
    if any(message.role == "system" for message in messages):
        return None
    for longer, shorter, values in ((trained, served, "trained"), (served, trained, "served")):
        put_in = longer.removesuffix(shorter)
        if put_in != longer and any(map(str.isalpha, put_in)):
            return Reason("default_system_differs", {"trained": "", "served": "", values: put_in.strip()})
    return None


def _behind_system(messages: Sequence[Message], text: str) -> str | None:
    """What stands between the system text and the message behind it; None where that cannot be seen."""
    if len(messages) < 2 or messages[0].role != "system" or not messages[1].content.strip():
        return None
    _, found, behind = text.partition(messages[0].content.strip())
    between, reached, _ = behind.partition(messages[1].content.strip())
    return between if found and reached else None


def _without_contents(text: str, messages: Sequence[Message]) -> str:
    for message in sorted(messages, key=lambda one: -len(one.content)):
        if message.content.strip():
            text = re.sub(re.escape(message.content.strip()), "", text, flags=re.IGNORECASE)
    return text


def _frame(text: str, messages: Sequence[Message]) -> str:
    return "".join(_without_contents(text, messages).split())


def _without_blocks(text: str, proof: TemplateProof) -> str:
    """The text without blocks in which nothing is thought, without openings at its end and switches in words."""
    for opening, closing in proof.blocks:
        text = re.sub(rf"{re.escape(opening)}\s*{re.escape(closing)}", "", text)
        text = re.sub(rf"{re.escape(opening)}\s*$", "", text)
    return "".join(SWITCH.sub("", text).split())


def _blocks_of(text: str, proof: TemplateProof) -> str:
    """What of thinking stands in a prompt, for people: an empty block, an opening, a switch in words, or nothing."""
    found = [
        re.search(rf"{re.escape(opening)}\s*(?:{re.escape(closing)})?\s*$", text) for opening, closing in proof.blocks
    ]
    return "".join(match[0].strip(" ") for match in (*found, SWITCH.search(text)) if match)


def _tail(text: str) -> str:
    return text[len(text.rstrip()) :]


def _common(first: Sequence[Any], second: Sequence[Any]) -> int:
    """How many elements both begin with."""
    return next(
        (at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
        min(len(first), len(second)),
    )
