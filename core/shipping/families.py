"""The families of chat templates that Bakehouse writes a Go TEMPLATE for, and how a model's template is found to be of one.

A template is recognised by what it renders: conversations that templates are known to treat unlike have to come out, letter by
letter, as the family's. What its text looks like is not asked; two texts that render the same are the same to a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from core.data.examples import Message
from core.data.template_proof import prove
from core.errors import InputError
from core.reasons import Reason
from core.shipping.go_text import go_text
from core.shipping.jinja import JinjaTemplate

FamilyName = Literal["chatml", "qwen3", "gemma"]
LABELS: dict[FamilyName, str] = {"chatml": "ChatML", "qwen3": "Qwen3", "gemma": "Gemma"}

_START, _END = "<|im_start|>", "<|im_end|>"
_TURN, _TURN_END = "<start_of_turn>", "<end_of_turn>"
_NO_THOUGHTS = "<think>\n\n</think>\n\n"
MOMENTS = (datetime(2001, 2, 3, 4, 5, 6), datetime(2010, 11, 12, 13, 14, 15))
"""Two that share no part of a date or time."""
THINKS: tuple[bool | None, ...] = (None, False, True)
"""What a request says of thinking; None: nothing."""


@dataclass(frozen=True)
class Family:
    """`default_system` is what stands in the place of a system message that a conversation has not, empty for nothing; `end`
    is what ends the model's own turn, where that is another sign than the family's.

    Gemma's has no system message: its text stands at the head of the message behind it. The sign that begins the whole text is
    none of a family's prompt: servers write it."""

    name: FamilyName
    default_system: str = ""
    end: str = ""

    @property
    def label(self) -> str:
        return LABELS[self.name]

    @property
    def capabilities(self) -> frozenset[str]:
        """What a server reads out of the Go TEMPLATE besides completion."""
        return frozenset({"thinking"} if self.name == "qwen3" else ())

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends an answer, the sign of the end first. The other begins a turn that is not the model's."""
        start, end = (_TURN, _TURN_END) if self.name == "gemma" else (_START, _END)
        return tuple(dict.fromkeys((self.end or end, end, start)))

    def prompt(self, messages: Sequence[Message], think: bool | None) -> str:
        """The family's format, in Python: the measure for templates in jinja and in Go. The last message asks for an answer."""
        turns = list(messages)
        if self.name == "gemma":
            return _gemma(turns)
        if self.default_system and (not turns or turns[0].role != "system"):
            turns.insert(0, Message("system", self.default_system))
        text = "".join(f"{_START}{turn.role}\n{turn.content}{_END}\n" for turn in turns)
        no_thoughts = _NO_THOUGHTS if self.name == "qwen3" and think is False else ""
        return f"{text}{_START}assistant\n{no_thoughts}"

    @property
    def go_template(self) -> str:
        """The TEMPLATE of Ollama that renders the same.

        It goes over `.Messages`, which hold the system message, and so does not print `.System`: that would be twice. Qwen3's
        names `.Thinking` within the loop, between its signs: from there Ollama knows that the model thinks, and which signs
        stand around thoughts. Past thoughts are not rendered before the last question, as Qwen3's own template has it.
        """
        if self.name == "gemma":
            return (
                '{{- $before := "" }}{{- range $i, $_ := .Messages }}'
                '{{ if eq .Role "system" }}{{ $before = .Content }}{{ else }}'
                f'{_TURN}{{{{ if eq .Role "assistant" }}}}model{{{{ else }}}}{{{{ .Role }}}}{{{{ end }}}}\n'
                '{{ if $before }}{{ $before }}\n\n{{ $before = "" }}{{ end }}'
                f"{{{{ .Content }}}}{_TURN_END}\n{{{{ end }}}}{{{{ end }}}}{_TURN}model\n"
            )
        default = ""
        if self.default_system:
            block = go_text(f"{_START}system\n{self.default_system}{_END}\n")
            default = f'{{{{ if eq $i 0 }}}}{{{{ if ne .Role "system" }}}}{block}{{{{ end }}}}{{{{ end }}}}'
        if self.name == "chatml":
            return (
                f"{{{{- range $i, $_ := .Messages }}}}{default}{_START}{{{{ .Role }}}}\n"
                f"{{{{ .Content }}}}{_END}\n{{{{ end }}}}{_START}assistant\n"
            )
        return (
            '{{- $last := -1 }}{{- range $i, $_ := .Messages }}{{- if eq .Role "user" }}{{ $last = $i }}{{ end }}{{ end }}\n'
            f"{{{{- range $i, $_ := .Messages }}}}{default}{_START}{{{{ .Role }}}}\n"
            '{{ if and (eq .Role "assistant") .Thinking (gt $i $last) }}<think>\n{{ .Thinking }}\n</think>\n\n{{ end }}'
            f"{{{{ .Content }}}}{_END}\n{{{{ end }}}}{_START}assistant\n"
            f"{{{{ if and .IsThinkSet (not .Think) }}}}{_NO_THOUGHTS}{{{{ end }}}}"
        )


FAMILIES = (Family("chatml"), Family("qwen3"), Family("gemma"))


def _gemma(turns: Sequence[Message]) -> str:
    text, before = "", ""
    for turn in turns:
        if turn.role == "system":
            before = f"{turn.content}\n\n" if turn.content else ""
            continue
        text += f"{_TURN}{'model' if turn.role == 'assistant' else turn.role}\n{before}{turn.content}{_TURN_END}\n"
        before = ""
    return f"{text}{_TURN}model\n"


def recognise(template: JinjaTemplate) -> Family | Reason:
    """The family of a chat template, or why it is of none that is known here.

    Reasons: `template_unproved` (`why`: the code of its proof's error), `template_differs` (`family`: the one that is nearest,
    `conversation`: the first that it renders otherwise, `think`), `template_dated`: its prompts hold the time.
    """
    try:
        if _holds_the_time(template):
            return Reason("template_dated")
        end = prove(template, "off").end
        default = _default_system(template)
        found = [_first_difference(template, replace(family, default_system=default)) for family in FAMILIES]
    except InputError as error:
        return Reason("template_unproved", {"why": error.code})
    except Exception:  # noqa: BLE001 - a template is a program of others: it can raise whatever Python can
        return Reason("template_unproved", {"why": "template_refused"})
    for family, difference in zip(FAMILIES, found, strict=True):
        if difference is None:
            own = Family(family.name).stops[0]
            return replace(family, default_system=default, end="" if end == own else end)
    # The one that goes along the longest: nearer than the other, whatever it is called.
    nearest = max(range(len(FAMILIES)), key=lambda at: found[at][0])  # type: ignore[index]
    difference = found[nearest]
    assert difference is not None
    _, name, think = difference
    return Reason("template_differs", {"family": FAMILIES[nearest].label, "conversation": name, "think": think})


def _holds_the_time(template: JinjaTemplate) -> bool:
    """Whether a prompt of one day is another one on the next: a TEMPLATE that is written once cannot follow it."""
    if "strftime_now" not in template.chat_template:
        return False
    now = template.moment
    try:
        rendered = []
        for template.moment in MOMENTS:
            rendered.append([template.prompt(messages, think) for _, messages, think in _asked()])
    finally:
        template.moment = now
    return rendered[0] != rendered[1]


def _default_system(template: JinjaTemplate) -> str:
    """What stands in the place of a system message; empty where nothing does, or it stands in another frame."""
    text = "\ue0f0probe\ue0f1"
    before = template.prompt([Message("user", text)], None).partition(text)[0]
    body = before.removeprefix(f"{_START}system\n").removesuffix(f"{_END}\n{_START}user\n")
    return body if before == f"{_START}system\n{body}{_END}\n{_START}user\n" else ""


def _first_difference(template: JinjaTemplate, family: Family) -> tuple[int, str, bool | None] | None:
    """How many conversations come out as the family's, and the first that does not; None where all do."""
    for same, (name, messages, think) in enumerate(_asked()):
        prompt = template.prompt(messages, think)
        if template.adds_bos:
            prompt = prompt.removeprefix(template.bos_token)
        if prompt != family.prompt(messages, think):
            return same, name, think
    return None


def _asked() -> list[tuple[str, tuple[Message, ...], bool | None]]:
    return [(name, messages, think) for name, messages in CONVERSATIONS.items() for think in THINKS]


_SYSTEM = Message("system", "You grade notes.\n\nAnswer in one line.")
_TURNS = (Message("user", "First."), Message("assistant", "An answer."), Message("user", "And then?"))
CONVERSATIONS: dict[str, tuple[Message, ...]] = {
    "one question": (Message("user", "What is bread made of?"),),
    "one question with a system message": (_SYSTEM, Message("user", "What is bread made of?")),
    "several turns": _TURNS,
    "several turns with a system message": (_SYSTEM, *_TURNS, Message("assistant", ""), Message("user", "So?")),
    "an empty question": (_SYSTEM, Message("user", "")),
    "white space at the ends": (
        Message("system", "  System.\n\n"),
        Message("user", " \n two spaces \n\n"),
        Message("assistant", "\n answer \n"),
        Message("user", "\tlast\t"),
    ),
    "letters of many scripts": (
        _SYSTEM,
        Message("user", "Grüße, שלום, 你好, 👩\u200d👩\u200d👧, zero\u200bwidth \\n \"x\" 'y' & <z>"),
    ),
    "signs of a frame in the text": (
        _SYSTEM,
        Message("user", "It says <|im_end|>\n<|im_start|>assistant\n{{ .System }} {% raw %}"),
    ),
    "a switch in the text": (
        _SYSTEM,
        Message("user", "Why? /no_think"),
        Message("assistant", "So."),
        Message("user", "/think"),
    ),
}
"""By name: what is rendered before a template is believed to be of a family. Each asks for an answer.

Thoughts in past answers are none of them: clients of a server that parts thoughts send them apart, or not at all."""
