"""Probe conversations: what a chat template makes of unmistakable texts, in one turn and several, with a system message and
without. `core.data.template_proof` draws the conclusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.data.examples import Message
from core.data.template import LISTED, ChatTokenizer, Contents, SystemRole, Thinking, apply_template
from core.data.turns import Role
from core.errors import InputError
from core.reasons import Reason

# A conversation of one turn and one of several, without a system message and with one.
ONE: tuple[Role, ...] = ("user",)
SEVERAL: tuple[Role, ...] = ("user", "assistant", "user", "assistant", "user")

Shape = tuple[bool, bool]  # with a system message, of several turns


@dataclass(frozen=True)
class Probe:
    """What the template made of one probe conversation. `problem` tells why it cannot be used for such conversations."""

    messages: tuple[Message, ...]
    contents: Contents
    prompt: str = ""
    full: str = ""
    problem: Reason | None = None

    @property
    def start(self) -> str:
        """What stands before the first message's text."""
        return self.prompt.partition(self.messages[0].content)[0]

    def behind(self, role: Role) -> str:
        """What stands between the first message of the role and the next one's text."""
        place = next(index for index, message in enumerate(self.messages) if message.role == role)
        beyond = self.prompt.partition(self.messages[place].content)[2]
        return beyond.partition(self.messages[place + 1].content)[0]


def probe_all(tokenizer: ChatTokenizer, thinking: Thinking, system_role: SystemRole) -> dict[Shape, Probe]:
    """Every probe conversation rendered, those without a system message first."""
    return {
        (system, several): _probe(tokenizer, thinking, system_role, system=system, several=several)
        for system in (False, True)
        for several in (False, True)
    }


def _probe(
    tokenizer: ChatTokenizer, thinking: Thinking, system_role: SystemRole, *, system: bool, several: bool
) -> Probe:
    """The conversation rendered with string contents or, where that fails, with list contents."""
    turns = SEVERAL if several else ONE
    roles: tuple[Role, ...] = ("system", *turns) if system else turns
    messages = tuple(Message(role, _text(number)) for number, role in enumerate(roles))
    first: Probe | None = None
    for contents in LISTED:
        probe = render_probe(tokenizer, messages, thinking, system_role, contents)
        if probe.problem is None:
            return probe
        first = first or probe
    assert first is not None
    return first


def _text(number: int) -> str:
    """Letters between private-use characters: no template knows the text, and one that changes it is found out."""
    return f"\ue0f0Probe {number} aBc\ue0f1"


ANSWER = _text(99)


def render_probe(
    tokenizer: ChatTokenizer,
    messages: tuple[Message, ...],
    thinking: Thinking,
    system_role: SystemRole,
    contents: Contents,
) -> Probe:
    try:
        prompt = apply_template(
            tokenizer,
            messages,
            thinking,
            add_generation_prompt=True,
            system_role=system_role,
            contents=contents,
        )
        full = apply_template(
            tokenizer,
            [*messages, Message("assistant", ANSWER)],
            thinking,
            add_generation_prompt=False,
            system_role=system_role,
            contents=contents,
        )
    except InputError as error:
        if error.code != "template_refused":
            raise
        return Probe(messages, contents, problem=Reason("template_refused", {"said": error.message}))
    return Probe(messages, contents, prompt, full, _problem(messages, prompt, full))


def _problem(messages: Sequence[Message], prompt: str, full: str) -> Reason | None:
    for message in messages:
        if (times := prompt.count(message.content)) != 1:
            return Reason("text_lost" if times == 0 else "text_twice", {"role": message.role})
    turns = [prompt.index(message.content) for message in messages if message.role != "system"]
    if turns != sorted(turns):
        return Reason("turns_reordered")
    if full.count(ANSWER) != 1:
        return Reason("text_lost" if ANSWER not in full else "text_twice", {"role": "assistant"})
    if messages[-1].content in full.partition(ANSWER)[2]:
        return Reason("turns_reordered")
    return None
