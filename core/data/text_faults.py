"""Texts of the data that a template turns into something else: found for each example, told or refused with their lines.

Refused is what would be learnt wrongly: a completion that brings its own end of turn or another sign of the frame (the model
would learn to stop and go on), that begins with the generation prompt, or whose thoughts are not where the task wants them;
and a message that the template loses. Told is a sign of the frame in a message that is only read: a server reads it in the
same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config.task import Task
from core.data.examples import Example, Message
from core.data.template import THOUGHTS, Thinking
from core.data.template_proof import TemplateProof
from core.errors import GateError
from core.reasons import Reason

REFUSED = frozenset(
    {
        "end_in_completion",
        "control_in_completion",
        "foreign_end_in_completion",
        "foreign_head_in_completion",
        "prompt_in_completion",
        "thoughts_while_off",
        "thoughts_not_opened",
        "thoughts_not_closed",
        "message_lost",
    }
)
CODES = REFUSED | {"control_in_message", "foreign_head_in_message", "foreign_turn_in_completion"}
# What ends a turn in the formats of other models: data that was made for one of these brings it along.
FOREIGN_ENDS = (
    *("</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "<turn|>"),
    *("<|end|>", "<|return|>", "<eos>", "<|eos|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>", "<|end_of_turn|>"),
)
# How an answer begins in other formats, and in those of base models: what was formatted already ends or begins with it.
FOREIGN_HEADS = (
    *("[/INST]", "<|im_start|>assistant", "<start_of_turn>model", "<|start_header_id|>assistant<|end_header_id|>"),
    *("<|assistant|>", "<｜Assistant｜>", "<|Assistant|>", "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|turn>model"),
    *("### Response:", "### Assistant:", "### Output:", "### Answer:"),
)
# Words that an answer may well begin with, and no question ends with.
PLAIN_HEADS = ("Assistant:", "ASSISTANT:")
# How the next question begins there: an answer that holds it goes on with a conversation of its own.
FOREIGN_TURNS = (
    *("[INST]", "<|im_start|>user", "<start_of_turn>user", "<|start_header_id|>user<|end_header_id|>", "<|user|>"),
    *("<｜User｜>", "<|User|>", "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|turn>user"),
    *("\n### Instruction:", "\n### Human:", "\n### User:", "\nUSER:", "\nHuman:"),
)
NAMED_LINES = 1000
NAMED_AT_MOST = 5


@dataclass(frozen=True)
class TextFinding:
    """The same thing found in so many examples. `lines` are those of the first of them, ascending, each once."""

    reason: Reason
    lines: tuple[int, ...]
    examples: int

    @property
    def refused(self) -> bool:
        return self.reason.code in REFUSED

    def to_json(self) -> dict[str, Any]:
        return {**self.reason.to_json(), "lines": list(self.lines), "examples": self.examples}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> TextFinding:
        return cls(Reason.from_json(document), tuple(document["lines"]), document["examples"])


def summed_up(found: Iterable[tuple[int, Sequence[Reason]]]) -> tuple[TextFinding, ...]:
    """What was found at each line, the same things together: what is refused first, then in the order of the lines."""
    lines: dict[tuple[str, str], dict[int, None]] = {}
    counts: dict[tuple[str, str], int] = {}
    reasons: dict[tuple[str, str], Reason] = {}
    for line, faults in found:
        for reason in faults:
            key = (reason.code, repr(sorted(reason.values.items())))
            reasons.setdefault(key, reason)
            lines.setdefault(key, {})[line] = None
            counts[key] = counts.get(key, 0) + 1
    findings = [TextFinding(reasons[key], tuple(sorted(lines[key])[:NAMED_LINES]), counts[key]) for key in reasons]
    return tuple(sorted(findings, key=lambda finding: (not finding.refused, finding.lines[0])))


def text_faults(
    proof: TemplateProof, messages: Sequence[Message], completion: str, prompt: str, thinking: Thinking
) -> tuple[Reason, ...]:
    """What is wrong with the texts of one example, of which `prompt` is the rendered prompt."""
    learnt = completion.strip()
    return (*_thoughts(proof, learnt, thinking), *_signs(proof, learnt), *message_faults(proof, messages, prompt))


def message_faults(proof: TemplateProof, messages: Sequence[Message], prompt: str) -> tuple[Reason, ...]:
    """What is wrong with the texts of a rendered prompt."""
    return (*_in_messages(proof, messages), *_lost(proof, messages, prompt))


def refuse_thoughts(examples: Iterable[Example], task: Task, source: str | Path) -> None:
    """Raise `GateError` (`thoughts_while_off`) when completions hold `<think>` and the task does not think: what can be told
    before there is a tokenizer, for whatever model."""
    if task.thinking == "on":
        return
    lines = sorted({item.line for item in examples if any(sign in item.completion for sign in THOUGHTS[0])})
    if lines:
        named = ", ".join(map(str, lines[:NAMED_AT_MOST]))
        more = f" and {len(lines) - NAMED_AT_MOST} more" if len(lines) > NAMED_AT_MOST else ""
        raise GateError(
            f"completions hold thoughts (`<think>`), and the task has `thinking: off`: lines {named}{more}",
            code="thoughts_while_off",
            file=source,
            line=lines[0],
            remedy="remove the thoughts, or set `thinking: on` in the task",
        )


def _thoughts(proof: TemplateProof, completion: str, thinking: Thinking) -> list[Reason]:
    for opening, closing in proof.blocks:
        opens, closes = opening in completion, closing in completion
        if thinking == "off":
            if opens or closes:
                return [Reason("thoughts_while_off", {"sign": opening if opens else closing})]
            continue
        if completion.startswith(opening):
            if not closes:
                return [Reason("thoughts_not_closed", {"sign": opening})]
        elif closes and not proof.opened and opening not in completion.partition(closing)[0]:
            return [Reason("thoughts_not_opened", {"sign": closing})]
    return []


def _signs(proof: TemplateProof, completion: str) -> list[Reason]:
    found = list(dict.fromkeys(proof.control.findall(completion)))
    if ends := [sign for sign in found if sign in proof.end_signs]:
        return [Reason("end_in_completion", {"sign": ends[0]})]
    if proof.head and completion.startswith(proof.head):
        return [Reason("prompt_in_completion", {"sign": proof.head})]
    if found:
        return [Reason("control_in_completion", {"sign": found[0]})]
    if head := next((sign for sign in FOREIGN_HEADS if completion.startswith(sign)), None):
        return [Reason("foreign_head_in_completion", {"sign": head})]
    foreign = next((sign for sign in FOREIGN_ENDS if completion.endswith(sign)), None)
    # `<s>…</s>` is how a page strikes words out.
    if foreign is not None and not (foreign == "</s>" and "<s>" in completion.replace("<s>[INST]", "")):
        return [Reason("foreign_end_in_completion", {"sign": foreign})]
    turn = next((sign for sign in FOREIGN_TURNS if sign in completion), None)
    return [] if turn is None else [Reason("foreign_turn_in_completion", {"sign": turn.strip()})]


def _in_messages(proof: TemplateProof, messages: Sequence[Message]) -> list[Reason]:
    found = dict.fromkeys((message.role, sign) for message in messages for sign in _held(proof, message.content))
    told = [Reason("control_in_message", {"role": role, "sign": sign}) for role, sign in found]
    users = [message.content.rstrip() for message in messages if message.role == "user"]
    heads = [sign for sign in (*FOREIGN_HEADS, *PLAIN_HEADS) if sign != proof.head and not proof.control.search(sign)]
    formatted = next((sign for text in users for sign in heads if text.endswith(sign)), None)
    return (
        told if formatted is None else [*told, Reason("foreign_head_in_message", {"role": "user", "sign": formatted})]
    )


def _held(proof: TemplateProof, text: str) -> list[str]:
    """The signs of the frame in a text; of a frame of plain words, the head of an answer."""
    found: list[str] = proof.control.findall(text)
    return found or ([proof.head] if proof.head and proof.head in text else [])


def _lost(proof: TemplateProof, messages: Sequence[Message], prompt: str) -> list[Reason]:
    """Messages whose text is not in the prompt. Thoughts of an earlier answer are left out on purpose, as when serving."""
    thoughts = [sign for block in proof.blocks for sign in block]
    end = 0
    lost: dict[str, None] = {}
    for message in messages:
        text = message.content.strip()
        if message.role == "assistant" and any(sign in text for sign in thoughts):
            continue
        place = prompt.find(text, 0 if message.role == "system" else end)
        if place < 0:
            lost[message.role] = None
        elif message.role != "system":
            end = place + len(text)
    return [Reason("message_lost", {"role": role}) for role in lost]
