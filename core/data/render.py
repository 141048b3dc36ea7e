"""Rendering: one chat template for training and for generation, and the length rules.

A prompt is rendered and tokenised exactly as generation does it. The completion is what the template itself writes
after it, up to and including the end-of-turn token: a model learns to stop where the server looks for the stop.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from core.data.examples import Example, Message
from core.data.template import ChatTokenizer, SystemRole, Thinking, apply_template
from core.data.template_proof import TemplateProof, prove, without_empty_block
from core.data.text_faults import TextFinding, summed_up, text_faults
from core.errors import InputError
from core.reasons import Reason

__all__ = ["ChatTokenizer", "Thinking"]

# Stands for a message while its place in the rendered text is looked for: private-use characters that no tokenizer or
# template knows, so that nothing trims or splits them.
MARKER = "\ue0f0\ue0f7\ue0f1"
# Of the room that a too long message has, this share is kept at its beginning; the rest is kept at its end.
HEAD_SHARE = 1 / 3
MIN_ROOM = 3


@dataclass(frozen=True)
class RenderedExample:
    """Token ids of a prompt and of its completion (end-of-turn token included).

    `cut_points` are the ascending indices into `prompt_ids` within the longest user message at which a cut splits no
    token and no character; the first is where the message begins, the last is behind its end. `faults` are what
    `core.data.text_faults` finds in its texts. `completion_bytes` is the completion in UTF-8 as the data has it, without what
    a template puts around it: the same for every tokenizer and template.
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    cut_points: tuple[int, ...]
    line: int
    faults: tuple[Reason, ...] = ()
    completion_bytes: int = 0

    @property
    def tokens(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True)
class FittedExample:
    """An example that fits. `cut_tokens` is how many tokens the middle cut took out of the prompt (usually 0), `cut_at`
    the number of prompt tokens in front of the cut. `completion_bytes` is that of `RenderedExample`."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    line: int
    cut_tokens: int = 0
    cut_at: int = 0
    completion_bytes: int = 0


@dataclass(frozen=True)
class Skipped:
    """An example that cannot fit: its line, the tokens it has, and those that may not be cut."""

    line: int
    tokens: int
    needed: int
    max_length: int

    @property
    def reason(self) -> str:
        return (
            f"line {self.line}: {self.tokens} tokens, of which {self.needed} (completion and frame of the prompt) "
            f"may not be cut, do not fit into {self.max_length}"
        )


@dataclass(frozen=True)
class FitReport:
    """What the length rules made of a data set, and what was found in its texts."""

    fitted: tuple[FittedExample, ...]
    skipped: tuple[Skipped, ...]
    texts: tuple[TextFinding, ...] = ()

    @property
    def total(self) -> int:
        return len(self.fitted) + len(self.skipped)

    @property
    def skipped_share(self) -> float:
        return len(self.skipped) / self.total if self.total else 0.0

    @property
    def cut(self) -> int:
        """Number of prompts that lost their middle."""
        return sum(1 for item in self.fitted if item.cut_tokens)


def render_prompt(
    tokenizer: ChatTokenizer, messages: Sequence[Message], thinking: Thinking, *, system_role: SystemRole = "system"
) -> str:
    """The text that generation starts from. InputError when there is no template or it is not proved for such messages: see
    `core.data.template_proof`."""
    proof = prove(tokenizer, thinking, system_role)
    return _apply(tokenizer, messages, thinking, proof, add_generation_prompt=True)


def encode_prompt(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """Token ids of a rendered prompt. The template has written the special tokens already; none is added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def end_of_turn(tokenizer: ChatTokenizer, thinking: Thinking) -> str:
    """What ends an assistant turn, white space around it removed (`<|im_end|>` say)."""
    return prove(tokenizer, thinking).end


def render_example(
    tokenizer: ChatTokenizer, example: Example, thinking: Thinking, *, system_role: SystemRole = "system"
) -> RenderedExample:
    """Token ids of an example, prompt and completion apart.

    Prompt ids are those that generation uses. The completion follows in the same tokenisation where the prompt's tokens
    stay the same in it; else (tokens would merge across the seam) it is tokenised by itself, as generation produces it.
    """
    return render_all(tokenizer, [example], thinking, system_role=system_role)[0]


def render_all(
    tokenizer: ChatTokenizer, examples: Sequence[Example], thinking: Thinking, *, system_role: SystemRole = "system"
) -> list[RenderedExample]:
    """`render_example` of each."""
    if not examples:
        return []
    proof = prove(tokenizer, thinking, system_role)
    return [_render(tokenizer, example, thinking, proof) for example in examples]


def _render(tokenizer: ChatTokenizer, example: Example, thinking: Thinking, proof: TemplateProof) -> RenderedExample:
    proof.contents(example.messages)
    try:
        prompt = _apply(tokenizer, example.messages, thinking, proof, add_generation_prompt=True)
        completion = _completion_text(tokenizer, example, prompt, thinking, proof)
    except InputError as error:
        # The template takes such conversations: what it does not take is this one.
        error.file, error.line = example.file, example.line
        raise
    encoded = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
    prompt_ids = list(encoded["input_ids"])
    whole = encode_prompt(tokenizer, prompt + completion)
    seamless = whole[: len(prompt_ids)] == prompt_ids
    completion_ids = whole[len(prompt_ids) :] if seamless else encode_prompt(tokenizer, completion)
    cut_points = _cut_points(tokenizer, example.messages, prompt, encoded["offset_mapping"], thinking, proof)
    faults = text_faults(proof, example.messages, example.completion, prompt, thinking)
    size = len(example.completion.strip().encode())
    return RenderedExample(tuple(prompt_ids), tuple(completion_ids), cut_points, example.line, faults, size)


def fit(rendered: RenderedExample, max_length: int | None) -> FittedExample | Skipped:
    """The example within `max_length` tokens. The completion is never touched.

    A prompt that is too long loses the middle of its longest user message: of the room left for that message the first
    third and the last two thirds are kept, in whole tokens. An example without that room is skipped.
    """
    if max_length is None or rendered.tokens <= max_length:
        return FittedExample(
            rendered.prompt_ids, rendered.completion_ids, rendered.line, completion_bytes=rendered.completion_bytes
        )
    points = rendered.cut_points
    message_tokens = points[-1] - points[0] if points else 0
    needed = rendered.tokens - message_tokens
    room = max_length - needed
    if room < MIN_ROOM:
        return Skipped(rendered.line, rendered.tokens, needed, max_length)
    head = max(1, int(room * HEAD_SHARE))
    # The nearest places that keep no more than the room allows: down for the head, up for the tail.
    left = points[bisect_right(points, points[0] + head) - 1]
    right = points[bisect_left(points, points[-1] - (room - head))]
    ids = rendered.prompt_ids[:left] + rendered.prompt_ids[right:]
    return FittedExample(
        ids,
        rendered.completion_ids,
        rendered.line,
        cut_tokens=right - left,
        cut_at=left,
        completion_bytes=rendered.completion_bytes,
    )


def fit_all(
    tokenizer: ChatTokenizer,
    examples: Sequence[Example],
    thinking: Thinking,
    max_length: int | None,
    *,
    system_role: SystemRole = "system",
) -> FitReport:
    """Render and fit a data set."""
    whole = render_all(tokenizer, examples, thinking, system_role=system_role)
    results = [fit(rendered, max_length) for rendered in whole]
    return FitReport(
        tuple(item for item in results if isinstance(item, FittedExample)),
        tuple(item for item in results if isinstance(item, Skipped)),
        summed_up((rendered.line, rendered.faults) for rendered in whole),
    )


def _apply(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    thinking: Thinking,
    proof: TemplateProof,
    *,
    add_generation_prompt: bool,
    answer: str | None = None,
) -> str:
    """The messages as the template writes them, followed by `answer` where there is one."""
    turns = [*messages] if answer is None else [*messages, Message("assistant", answer)]
    return apply_template(
        tokenizer,
        turns,
        thinking,
        add_generation_prompt=add_generation_prompt,
        system_role=proof.system_role,
        contents=proof.contents(messages),
    )


def _completion_text(
    tokenizer: ChatTokenizer, example: Example, prompt: str, thinking: Thinking, proof: TemplateProof
) -> str:
    """What is learnt behind `prompt`: what the template writes for this completion, up to the end of the turn."""
    wanted = example.completion.strip()
    opening = next((block[0] for block in proof.blocks if wanted.startswith(block[0])), "")
    # Where the prompt itself opens the thoughts, the completion goes on inside of them.
    inside = wanted.removeprefix(opening).strip() if opening and proof.opened.startswith(opening) else wanted
    full = _apply(tokenizer, example.messages, thinking, proof, add_generation_prompt=False, answer=example.completion)
    if full.startswith(prompt) and full.endswith(proof.tail) and len(full) >= len(prompt) + len(proof.tail):
        text = full[len(prompt) : len(full) - len(proof.tail)]
        if text.strip() == inside or (not opening and text.removeprefix(proof.before).strip() == wanted):
            return text + proof.behind
    # The template writes a past turn in another way than the one it asks for (it drops thinking from it, say). What
    # counts is what the model is to say after the prompt, and none of that may be lost.
    before = proof.before
    if opening or (proof.opened and any(block[1] in wanted for block in proof.blocks)):
        before = "" if proof.opened else without_empty_block(before, proof.blocks)
    return before + inside + proof.behind


def _cut_points(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    prompt: str,
    offsets: Sequence[tuple[int, int]],
    thinking: Thinking,
    proof: TemplateProof,
) -> tuple[int, ...]:
    """Where the longest user message may be cut: see RenderedExample. `offsets` are those of the prompt's tokens."""
    user = [index for index, message in enumerate(messages) if message.role == "user"]
    longest = max(user, key=lambda index: len(messages[index].content))
    marked = [Message(item.role, MARKER) if index == longest else item for index, item in enumerate(messages)]
    head, found, tail = _apply(tokenizer, marked, thinking, proof, add_generation_prompt=True).partition(MARKER)
    if not found or not (prompt.startswith(head) and prompt.endswith(tail)) or len(head) + len(tail) > len(prompt):
        return ()
    begin, end = len(head), len(prompt) - len(tail)
    inside = [index for index, (start, stop) in enumerate(offsets) if start >= begin and stop <= end and start < stop]
    if not inside or inside[-1] - inside[0] + 1 != len(inside):
        return ()
    first, last = inside[0], inside[-1]
    # Tokens that are parts of one character share its offsets: no cut between them.
    between = [index for index in range(first + 1, last + 1) if offsets[index][0] >= offsets[index - 1][1]]
    return (first, *between, last + 1)
