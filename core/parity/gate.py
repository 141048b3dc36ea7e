"""The gate before a model may serve: its server's prompts are those of training, and its answers end where training's do."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from core.data.render import ChatTokenizer, encode_prompt, render_prompt
from core.data.shots import TrainedShots
from core.data.template import SystemRole, Thinking, fold_system
from core.data.template_proof import TemplateProof, prove
from core.data.training_marks import has_training_marks
from core.errors import InputError
from core.parity.blocking import ROOTS, TOLD
from core.parity.comparison import ParityCase, Prompt, SpecialTokens, compare, refused
from core.parity.conversations import GOLDEN, ProbeConversation
from core.reasons import Reason, Value
from core.serving.answering import Question, Reply, ServedFile
from core.serving.errors import ServerError

# The names by which llama.cpp knows that a token ends an answer, whatever the file says (its src/llama-vocab.cpp).
KNOWN_ENDS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"),
        *("<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>", "_<EOT>", "<｜end▁of▁sentence｜>", "</s>"),
        *("<|tool_response>", "[EOT]", "[EOS]", "<end_of_utterance>", "<turn|>"),
    }
)
END_KEYS = ("eos_token_id", "eos_token_ids", "eot_token_id", "eom_token_id")
NORMAL_FORMS: tuple[Literal["NFC", "NFKC", "NFD", "NFKD"], ...] = ("NFC", "NFKC", "NFD", "NFKD")


class PromptServer(Protocol):
    """What is asked of a server beside an answer."""

    def render(self, messages: Sequence[tuple[str, str]], *, think: bool) -> str:
        """The prompt as its template writes it. ServerError where it does not."""

    def tokenize(self, text: str) -> tuple[int, ...] | None:
        """The ids that the model gets of a prompt, what the server adds by itself included; None where it does not tell."""


@dataclass(frozen=True)
class ParityReport:
    """What the gate found. `findings` are codes with values beside the prompts' own; `refused` are those that block. `reply` is
    the one real answer, None where none was asked for."""

    cases: tuple[ParityCase, ...]
    findings: tuple[Reason, ...] = ()
    reply: Reply | None = None

    @property
    def differing(self) -> tuple[ParityCase, ...]:
        return tuple(case for case in self.cases if not case.same)

    @property
    def refused(self) -> tuple[Reason, ...]:
        """Every cause and finding that keeps the model from serving, each once: first what the others follow from, then the
        prompts'."""
        causes = [cause for case in self.differing for cause in case.causes]
        found: dict[str, Reason] = {}
        for reason in sorted((*causes, *self.findings), key=lambda one: one.code not in ROOTS):
            if reason.code not in TOLD:
                found.setdefault(reason.code, reason)
        return tuple(found.values())

    @property
    def told(self) -> tuple[Reason, ...]:
        """Every cause and finding that does not block, each once."""
        causes = [cause for case in self.differing for cause in case.causes]
        return tuple({reason.code: reason for reason in (*self.findings, *causes) if reason.code in TOLD}.values())

    @property
    def passed(self) -> bool:
        return not self.refused

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "cases": [case.to_json() for case in self.cases],
            "findings": [reason.to_json() for reason in self.findings],
        }


def compare_prompts(
    tokenizer: ChatTokenizer,
    server: PromptServer,
    conversations: Sequence[ProbeConversation],
    thinking: Thinking,
    system_role: SystemRole,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ParityCase, ...]:
    """Each conversation as the trained template and as the server's render it.

    `tokenizer` is the trained model's. A conversation that its template refuses was never trained on, and is passed over. One
    that the server refuses, where it has rendered another, is a case that differs. Raises ServerError where it renders none.
    """
    proof = prove(tokenizer, thinking, system_role)
    special = special_tokens_of(tokenizer)
    cases = []
    first_refusal: ServerError | None = None
    for done, conversation in enumerate(conversations):
        tell(done, len(conversations))
        try:
            text = render_prompt(tokenizer, conversation.messages, thinking, system_role=system_role)
        except InputError:
            continue
        trained = Prompt(text, tuple(encode_prompt(tokenizer, text)))
        try:
            case = _case(tokenizer, server, conversation, trained, thinking, system_role, proof, special)
        except ServerError as error:
            if error.code != "server_refused":
                raise
            first_refusal = first_refusal or error
            case = refused(conversation.name, thinking, trained, error.said or error.message)
        cases.append(case)
    tell(len(conversations), len(conversations))
    if first_refusal is not None and not any(case.was_rendered for case in cases):
        raise first_refusal
    return tuple(cases)


def _case(
    tokenizer: ChatTokenizer,
    server: PromptServer,
    conversation: ProbeConversation,
    trained: Prompt,
    thinking: Thinking,
    system_role: SystemRole,
    proof: TemplateProof,
    special: SpecialTokens,
) -> ParityCase:
    messages = conversation.messages
    sent = fold_system(messages) if system_role == "user" else messages
    text = server.render([(message.role, message.content) for message in sent], think=thinking == "on")
    tokens = server.tokenize(text)
    served = Prompt(text, tuple(encode_prompt(tokenizer, text)) if tokens is None else tokens)
    form = _normal_form(server, trained) if text == trained.text and served.tokens != trained.tokens else None
    return compare(
        conversation.name,
        thinking,
        messages,
        trained,
        served,
        proof,
        special,
        normal_form=form,
        place_of_token=lambda token: len(tokenizer.decode(list(trained.tokens[:token]))),
    )


def _normal_form(server: PromptServer, trained: Prompt) -> str | None:
    """The form of Unicode in which the server gives the trained tokens of a prompt: the trained tokenizer brings texts to it by
    itself. None where no form does."""
    for form in NORMAL_FORMS:
        text = unicodedata.normalize(form, trained.text)
        if text != trained.text and server.tokenize(text) == trained.tokens:
            return form
    return None


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
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    texts = {number: str(token) for number, token in added.items() if token.special}
    return SpecialTokens(getattr(tokenizer, "bos_token_id", None), texts)


def file_findings(file: ServedFile, proof: TemplateProof, end_ids: Sequence[int]) -> list[Reason]:
    """What is against a file that is served. `proof` is the trained template's, `end_ids` are the token ids of its end."""
    found = []
    if file.template is None:
        found.append(Reason("file_without_template"))
    elif has_training_marks(file.template):
        found.append(Reason("training_marks"))
    if file.keys is not None:
        ends = {number for key in END_KEYS for number in _numbers(file.keys.get(f"tokenizer.ggml.{key}"))}
        known = proof.end in file.stops or (file.ends_by_name and proof.end in KNOWN_ENDS)
        if not known and (len(end_ids) != 1 or end_ids[0] not in ends):
            found.append(Reason("stop_token_lost", {"text": proof.end}))
    words = [word for word in file.stops if word.strip() not in KNOWN_ENDS and not proof.control.search(word)]
    if words:
        found.append(Reason("stop_word_added", {"words": words}))
    return found


def window_findings(cases: Sequence[ParityCase], context_length: int) -> list[Reason]:
    """That a prompt of the task does not fit into the window with which the model serves, told of the longest."""
    of_task = [case for case in cases if case.name.startswith(GOLDEN)]
    longest = max(of_task, key=lambda case: len(case.trained.tokens), default=None)
    if longest is None or len(longest.trained.tokens) < context_length:
        return []
    values: dict[str, Value] = {"name": longest.name, "tokens": len(longest.trained.tokens), "window": context_length}
    return [Reason("prompt_over_window", values)]


def answer_findings(question: Question, reply: Reply, tokens: int, proof: TemplateProof) -> list[Reason]:
    """What one real answer says against the model: another count than the `tokens` of its prompt, an end that it ran over."""
    found = count_findings(reply, tokens)
    leaked = next((sign for sign in sorted(proof.end_signs, key=len, reverse=True) if sign in reply.text), None)
    if leaked is not None:
        found.append(Reason("end_in_answer", {"text": leaked}))
    elif reply.finish == "length":
        found.append(Reason("answer_not_ended", {"tokens": question.max_new_tokens}))
    return found


def count_findings(reply: Reply, tokens: int) -> list[Reason]:
    """That the server counted other tokens in the prompt than it has by the trained tokenizer."""
    if reply.prompt_tokens is None or reply.prompt_tokens == tokens:
        return []
    return [Reason("prompt_count", {"trained": tokens, "served": reply.prompt_tokens})]


def _numbers(value: Any) -> tuple[int, ...]:
    if isinstance(value, list | tuple):
        return tuple(one for one in value if isinstance(one, int))
    return (value,) if isinstance(value, int) else ()
