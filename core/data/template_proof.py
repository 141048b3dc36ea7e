"""The proof of a chat template, made once before anything is rendered with it: at audit, at training, at a bake-off.

Probe conversations with unmistakable texts are rendered: one turn and several, with a system message and without. Proved is
that each text comes through once and in order, where the model's turn ends, and what stands around its answer. What the
template writes behind the end of the turn (a generation prompt that nobody asked for, the end of the whole text, the line feed
behind `<|im_end|>`) is never learnt: when the model answers, nothing reads on behind that end.

A template that cannot be proved for a kind of conversation is refused for that kind, with what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from weakref import WeakKeyDictionary

from core.data.examples import Message
from core.data.template import (
    ChatTokenizer,
    Contents,
    SystemRole,
    Thinking,
    apply_template,
    pieces,
    signs_pattern,
    special_tokens,
    thought_blocks,
)
from core.data.template_probe import ANSWER, Probe, Shape, probe_all, render_probe
from core.errors import InputError
from core.reasons import Reason

OTHER_TEMPLATE = (
    "take another model, or give this one a chat_template that writes every message's text once and in order"
)
FOLD = "set `system_role: user` in the task: its system text then stands at the head of the first user message"
# Of the text behind the end of a turn, a note quotes so much.
QUOTED_CHARACTERS = 60


@dataclass(frozen=True)
class TemplateProof:
    """What is known of a template for one policy of thinking.

    `before` is what an answer without thoughts begins with (an empty block, a channel's name; often nothing), `behind` what is
    learnt behind it, and `end` the same without white space around it, for which generation looks. `opened` is the opening of
    thoughts at the end of a prompt, which the completion must not repeat. `blocks` are the signs around thoughts, `control` the
    signs of the frame. `head` is the generation prompt. `notes` are told, and harm nothing.
    """

    before: str
    behind: str
    tail: str
    opened: str
    head: str
    blocks: tuple[tuple[str, str], ...]
    control: re.Pattern[str]
    end_signs: frozenset[str]
    probes: Mapping[Shape, Probe]
    system_role: SystemRole
    notes: tuple[Reason, ...]

    def told(self, *, system: bool) -> tuple[Reason, ...]:
        """The notes for conversations with a system message, or without one."""
        return tuple(note for note in self.notes if system or note.code != "system_moved")

    @property
    def end(self) -> str:
        return self.behind.strip()

    def contents(self, messages: Sequence[Message]) -> Contents:
        """How such messages are to be handed to the template. InputError where they do not come through."""
        shape = (messages[0].role == "system", any(message.role == "assistant" for message in messages))
        probe = self.probes[shape]
        if probe.problem is not None:
            # Whether the system message is at fault shows in the same conversation without it.
            refuse(probe.problem, system=shape[0] and self.probes[False, shape[1]].problem is None)
        return probe.contents


_PROOFS: WeakKeyDictionary[ChatTokenizer, dict[tuple[str, Thinking, SystemRole], TemplateProof]] = WeakKeyDictionary()


def prove(tokenizer: ChatTokenizer, thinking: Thinking, system_role: SystemRole = "system") -> TemplateProof:
    """The proof of the tokenizer's template, made once. InputError when no conversation comes through, when nothing ends a
    turn (`no_end_of_turn`), or when the template thinks whatever it is told and the task does not (`thinks_always`)."""
    known = _PROOFS.setdefault(tokenizer, {})
    key = (repr(tokenizer.chat_template), thinking, system_role)
    if key not in known:
        known[key] = _prove(tokenizer, thinking, system_role)
    return known[key]


def _prove(tokenizer: ChatTokenizer, thinking: Thinking, system_role: SystemRole) -> TemplateProof:
    probes = probe_all(tokenizer, thinking, system_role)
    base = next((probe for probe in probes.values() if probe.problem is None), None)
    if base is None:
        problem = probes[False, False].problem
        assert problem is not None
        refuse(problem)
    tags = signs_pattern(special_tokens(tokenizer), tags=True)
    tail = base.full.partition(ANSWER)[2]
    behind = _behind(tokenizer, tail, probes, base, tags)
    if not behind.strip():
        raise InputError(
            "the chat template writes nothing behind an assistant turn that ends it: a model could not learn where to stop",
            code="no_end_of_turn",
            remedy="take another model, or give this one a chat_template that writes its end token behind each answer",
        )
    blocks = thought_blocks(tokenizer)
    opened = _found(blocks, r"{0}\s*$", base.prompt)
    if opened and thinking == "off":
        raise InputError(
            f"the model's chat template opens thoughts ({opened.strip()}) in every prompt, and the task has `thinking: off`: "
            "the answer would be learnt as a thought",
            code="thinks_always",
            remedy="set `thinking: on` in the task, or take a model whose template can turn thinking off",
        )
    frame = base.start[-80:] + tail + _frames(probes)
    thoughts = {sign for pair in blocks for sign in pair}
    control = {sign for sign in tags.findall(frame) if sign not in thoughts} | special_tokens(tokenizer) - thoughts
    end_signs = {sign for sign in tags.findall(behind) if sign in control} | {behind.strip()}
    if (eos := getattr(tokenizer, "eos_token", None)) is not None:
        end_signs.add(str(eos))
    return TemplateProof(
        before=_before(base, blocks, opened, thinking),
        behind=behind,
        tail=tail,
        opened=opened,
        head=_head(tokenizer, base, thinking, system_role),
        blocks=blocks,
        control=signs_pattern(control | end_signs),
        end_signs=frozenset(end_signs),
        probes=probes,
        system_role=system_role,
        notes=(
            *_end_note(tokenizer, tags.findall(behind)),
            *_notes(tokenizer, probes, base, tail.partition(behind)[2], opened, thinking, system_role),
        ),
    )


def refuse(problem: Reason, *, system: bool = False) -> NoReturn:
    """Raise what a probe came to. `system`: the system message is what the template does not take."""
    said = str(problem.values.get("said", ""))
    role = problem.values.get("role")
    if system:
        how = {
            "template_refused": f"refuses a system message ({said.rpartition(': ')[2]})",
            "text_lost": "leaves out the system message" if role == "system" else "loses texts beside a system message",
            "text_twice": "writes texts twice beside a system message",
        }.get(problem.code, "puts the turns into another order beside a system message")
        code = "system_refused" if problem.code == "template_refused" else "system_lost"
        raise InputError(f"the model's chat template {how}, and there is one", code=code, remedy=FOLD)
    if problem.code == "template_refused":
        raise InputError(said, code="template_refused", remedy=OTHER_TEMPLATE)
    what = {
        "text_lost": f"loses the text of {role} messages, whether they are given as text or as lists of parts",
        "text_twice": f"writes the text of {role} messages twice",
    }.get(problem.code, "puts the turns into another order")
    raise InputError(f"the model's chat template {what}", code=f"template_{problem.code}", remedy=OTHER_TEMPLATE)


def _frames(probes: Mapping[Shape, Probe]) -> str:
    """What the template writes between messages."""
    several = [probe for (_, many), probe in probes.items() if many and probe.problem is None]
    return "".join(probe.behind(role) for probe in several for role in ("user", "assistant"))


def _behind(
    tokenizer: ChatTokenizer, tail: str, probes: Mapping[Shape, Probe], base: Probe, tags: re.Pattern[str]
) -> str:
    """Of what the template writes behind the last answer, the part that ends the turn.

    An answer that another turn follows is ended in the same way: what the two have in common is the end, less what is the
    head of a next turn. Where they have nothing in common (gpt-oss ends the last answer with a token of its own), the end goes
    as far as the first end token.
    """
    eos = str(getattr(tokenizer, "eos_token", None))
    last = pieces(tail, tags)
    several = next((probe for (_, many), probe in probes.items() if many and probe.problem is None), None)
    common = last
    if several is not None:
        gap = pieces(several.behind("assistant"), tags)
        common = _common_prefix(last, gap)
        if not "".join(common).strip():
            signs = [index for index, piece in enumerate(last) if piece == eos] or [
                index for index, piece in enumerate(last) if len(piece) > 1
            ]
            common = last[: signs[0] + 1] if signs else []
        elif not any(len(piece) > 1 for piece in common):
            # A frame of plain words: the head of the next turn is what the first turn begins with, too.
            head = _common_suffix(gap, pieces(base.start, tags))
            ended = gap[: len(gap) - len(head)]
            common = ended if "".join(ended).strip() and len(ended) < len(common) else common
    with_system = probes[True, False]
    openers = {
        piece for piece in pieces((with_system if with_system.problem is None else base).start, tags) if len(piece) > 1
    }
    for index, piece in enumerate(common):
        if piece in openers and "".join(common[:index]).strip():
            common = common[:index]
            break
    if eos in common:
        common = common[: common.index(eos) + 1]
    return "".join(common).rstrip()


def _common_prefix(first: Sequence[str], second: Sequence[str]) -> list[str]:
    common: list[str] = []
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        common.append(one)
    return common


def _common_suffix(first: Sequence[str], second: Sequence[str]) -> list[str]:
    return _common_prefix(first[::-1], second[::-1])[::-1]


def _found(blocks: Sequence[tuple[str, str]], pattern: str, text: str) -> str:
    """The first match of the pattern with the signs of a block in it, empty where there is none."""
    for opening, closing in blocks:
        if match := re.search(pattern.format(re.escape(opening), re.escape(closing)), text):
            return match[0]
    return ""


def without_empty_block(text: str, blocks: Sequence[tuple[str, str]]) -> str:
    """The text without a block of thoughts in which nothing is thought."""
    for opening, closing in blocks:
        text = re.sub(rf"{re.escape(opening)}\s*{re.escape(closing)}\s*", "", text)
    return text


def _before(probe: Probe, blocks: Sequence[tuple[str, str]], opened: str, thinking: Thinking) -> str:
    """What an answer without thoughts begins with, behind the prompt of generation."""
    before = ""
    for beyond in ("", opened, _found(blocks, r"{0}\s*{1}\s*$", probe.prompt)):
        prompt = probe.prompt.removesuffix(beyond)
        if probe.full.startswith(prompt):
            before = probe.full[len(prompt) :].partition(ANSWER)[0]
            break
    if thinking == "off":
        return without_empty_block(before, blocks)
    closing = next((closing for opening, closing in blocks if opened.startswith(opening)), "")
    if closing and not probe.full.startswith(probe.prompt):
        # The prompt has opened thoughts; as the template writes a past turn, they are closed or were never opened.
        return closing + before.partition(closing)[2] if closing in before else f"\n{closing}\n\n"
    return before


def _head(tokenizer: ChatTokenizer, probe: Probe, thinking: Thinking, system_role: SystemRole) -> str:
    """The generation prompt: what is written beyond the last message because an answer is asked for. Empty where it is
    written always, or never."""
    bare = apply_template(
        tokenizer,
        probe.messages,
        thinking,
        add_generation_prompt=False,
        system_role=system_role,
        contents=probe.contents,
    )
    return probe.prompt[len(bare) :].strip() if probe.prompt.startswith(bare) else ""


def _end_note(tokenizer: ChatTokenizer, signs: Sequence[str]) -> list[Reason]:
    """That what ends a turn looks like a token and is several: the template was written for another tokenizer."""
    in_pieces = signs and len(tokenizer(signs[-1], add_special_tokens=False)["input_ids"]) > 1
    return [Reason("end_is_no_token", {"text": signs[-1]})] if in_pieces else []


def _notes(
    tokenizer: ChatTokenizer,
    probes: Mapping[Shape, Probe],
    base: Probe,
    unlearnt: str,
    opened: str,
    thinking: Thinking,
    system_role: SystemRole,
) -> list[Reason]:
    notes = []
    if any(probe.problem is None and probe.contents != "text" for probe in probes.values()):
        notes.append(Reason("list_contents"))
    if unlearnt.strip():
        notes.append(Reason("behind_the_end", {"text": unlearnt.strip()[:QUOTED_CHARACTERS]}))
    with_system = probes[True, True]
    if with_system.problem is None:
        first, second = (with_system.prompt.index(message.content) for message in with_system.messages[:2])
        if first > second:
            notes.append(Reason("system_moved"))
    if thinking == "on" and not opened:
        off = render_probe(tokenizer, base.messages, "off", system_role, base.contents)
        if (off.prompt, off.full) == (base.prompt, base.full):
            notes.append(Reason("no_thinking_switch"))
    return notes
