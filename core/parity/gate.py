"""The gate before a model may serve: its server's prompts are those of training, and its answers end where training's do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.data.render import ChatTokenizer, encode_prompt, render_prompt
from core.data.shots import TrainedShots
from core.data.template import SystemRole, Thinking, fold_system
from core.data.template_proof import TemplateProof, prove
from core.data.training_marks import has_training_marks
from core.errors import InputError
from core.parity.comparison import ParityCase, Prompt, SpecialTokens, compare
from core.parity.conversations import ProbeConversation
from core.reasons import Reason
from core.serving.answering import Question, Reply

# The names by which llama.cpp knows that a token ends an answer, whatever the file says (its src/llama-vocab.cpp).
KNOWN_ENDS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"),
        *("<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>", "_<EOT>", "<｜end▁of▁sentence｜>", "</s>"),
        *("<|tool_response>", "[EOT]", "[EOS]", "<end_of_utterance>", "<turn|>"),
    }
)
END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


class PromptServer(Protocol):
    """What is asked of a server beside an answer."""

    def render(self, messages: Sequence[tuple[str, str]], *, think: bool) -> str:
        """The prompt as its template writes it. ServerError where it does not."""

    def tokenize(self, text: str) -> tuple[int, ...] | None:
        """The ids that the model gets of a prompt, what the server adds by itself included; None where it does not tell."""


@dataclass(frozen=True)
class ParityReport:
    """What the gate found. `findings` are codes with values beside the prompts' own; `refused` are those that block."""

    cases: tuple[ParityCase, ...]
    findings: tuple[Reason, ...] = ()

    @property
    def differing(self) -> tuple[ParityCase, ...]:
        return tuple(case for case in self.cases if not case.same)

    @property
    def refused(self) -> tuple[Reason, ...]:
        """Every cause and finding that keeps the model from serving, each once, the prompts' first."""
        causes = [case.cause for case in self.differing if case.cause is not None]
        found = {reason.code: reason for reason in (*causes, *self.findings) if reason.code not in TOLD}
        return tuple(found.values())

    @property
    def passed(self) -> bool:
        return not self.refused

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "cases": [case.to_json() for case in self.cases],
            "findings": [reason.to_json() for reason in self.findings],
        }


TOLD = frozenset({"answer_not_ended", "switch_differs", "few_shot_expected", "few_shot_for_training"})
"""Findings that do not block: an answer that ran to its limit may be the model's own doing, and clients send the examples."""


def compare_prompts(
    tokenizer: ChatTokenizer,
    server: PromptServer,
    conversations: Sequence[ProbeConversation],
    thinking: Thinking,
    system_role: SystemRole,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ParityCase, ...]:
    """Each conversation as the trained template and as the server's render it. Raises ServerError.

    `tokenizer` is the trained model's. A conversation that its template refuses was never trained on, and is passed over.
    """
    proof = prove(tokenizer, thinking, system_role)
    special = special_tokens_of(tokenizer)
    cases = []
    for done, conversation in enumerate(conversations):
        tell(done, len(conversations))
        case = _case(tokenizer, server, conversation, thinking, system_role, proof, special)
        if case is not None:
            cases.append(case)
    tell(len(conversations), len(conversations))
    return tuple(cases)


def _case(
    tokenizer: ChatTokenizer,
    server: PromptServer,
    conversation: ProbeConversation,
    thinking: Thinking,
    system_role: SystemRole,
    proof: TemplateProof,
    special: SpecialTokens,
) -> ParityCase | None:
    messages = conversation.messages
    try:
        text = render_prompt(tokenizer, messages, thinking, system_role=system_role)
    except InputError:
        return None
    sent = fold_system(messages) if system_role == "user" else messages
    served = server.render([(message.role, message.content) for message in sent], think=thinking == "on")
    tokens = server.tokenize(served)
    return compare(
        conversation.name,
        thinking,
        messages,
        Prompt(text, tuple(encode_prompt(tokenizer, text))),
        Prompt(served, tuple(encode_prompt(tokenizer, served)) if tokens is None else tokens),
        proof,
        special,
    )


def other_policy(
    tokenizer: ChatTokenizer,
    server: PromptServer,
    conversations: Sequence[ProbeConversation],
    thinking: Thinking,
    system_role: SystemRole,
) -> tuple[ParityCase, ...]:
    """The same with the policy of thinking that the task does not have, where the trained template has a switch for it.

    Nobody asks the model so for this task: a difference is told, and does not block. Raises ServerError.
    """
    other: Thinking = "on" if thinking == "off" else "off"
    try:
        proof = prove(tokenizer, other, system_role)
    except InputError:  # the template knows one policy
        return ()
    if proof.head == prove(tokenizer, thinking, system_role).head:
        return ()
    return compare_prompts(tokenizer, server, conversations, other, system_role)


def switch_findings(cases: Sequence[ParityCase]) -> list[Reason]:
    """That the served template has not the trained one's switch for thinking, told of the first case that shows it."""
    differing = [case for case in cases if not case.same]
    return (
        [Reason("switch_differs", {"thinking": differing[0].thinking, "prompts": len(differing)})] if differing else []
    )


def few_shot_findings(shots: TrainedShots | None) -> list[Reason]:
    """That the server puts no answered examples in front of an input, where training did: requests send them, or need none."""
    if shots is None:
        return []
    code = "few_shot_expected" if shots.expected else "few_shot_for_training"
    return [Reason(code, {"count": shots.count, "share": shots.share})]


def special_tokens_of(tokenizer: Any) -> SpecialTokens:
    return SpecialTokens(getattr(tokenizer, "bos_token_id", None), getattr(tokenizer, "eos_token_id", None))


def file_findings(keys: Mapping[str, Any], template: str | None, end: str, end_ids: Sequence[int]) -> list[Reason]:
    """What a GGUF file's header says against it. `end` is what ends a trained turn, `end_ids` are its token ids."""
    found = []
    if template is None:
        found.append(Reason("file_without_template"))
    elif has_training_marks(template):
        found.append(Reason("training_marks"))
    ends = {keys.get(f"tokenizer.ggml.{key}") for key in END_KEYS}
    if end not in KNOWN_ENDS and (len(end_ids) != 1 or end_ids[0] not in ends):
        found.append(Reason("stop_token_lost", {"text": end}))
    return found


def answer_findings(question: Question, reply: Reply, trained_tokens: int, proof: TemplateProof) -> list[Reason]:
    """What one real answer says against the model: another count of the prompt's tokens, or an end that it ran over."""
    found = []
    if reply.prompt_tokens is not None and reply.prompt_tokens != trained_tokens:
        found.append(Reason("prompt_count", {"trained": trained_tokens, "served": reply.prompt_tokens}))
    leaked = next((sign for sign in sorted(proof.end_signs, key=len, reverse=True) if sign in reply.text), None)
    if leaked is not None:
        found.append(Reason("end_in_answer", {"text": leaked}))
    elif reply.finish == "length":
        found.append(Reason("answer_not_ended", {"tokens": question.max_new_tokens}))
    return found
