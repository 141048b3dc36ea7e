"""The audit itself: what training would make of the data, found with the functions that training uses."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from core.config.golden import GoldenInput
from core.config.recipe import Recipe
from core.config.task import Task
from core.data.audit import Audit, LengthRow, Piece, ShownExample
from core.data.augment import AugmentReport, augment, shots_in_front
from core.data.examples import DataReport, Example
from core.data.inspection import percentile
from core.data.leaks import find_leaks
from core.data.render import (
    ChatTokenizer,
    FittedExample,
    RenderedExample,
    Skipped,
    fit,
    render_all,
    render_example,
)
from core.data.template_proof import prove
from core.data.text_faults import summed_up

# The lengths that are chosen: where these shares of the examples are whole, rounded up to multiples of STEP.
WHOLE_SHARES = (0.5, 0.8, 0.95, 1.0)
STEP = 256
NAMED_LINES = 1000


class Renderer:
    """Renders each example once, however often its tokens are asked for."""

    def __init__(self, tokenizer: ChatTokenizer, task: Task, examples: Sequence[Example] = ()) -> None:
        self.tokenizer = tokenizer
        self.task = task
        rendered = render_all(tokenizer, examples, task.thinking, system_role=task.system_role)
        self._known = dict(zip(examples, rendered, strict=True))

    def __call__(self, example: Example) -> RenderedExample:
        if example not in self._known:
            self._known[example] = render_example(
                self.tokenizer, example, self.task.thinking, system_role=self.task.system_role
            )
        return self._known[example]


@dataclass(frozen=True)
class _AtLength:
    """The data set as it is trained at one length: examples, what they were in the file (None: added), their tokens."""

    examples: Sequence[Example]
    originals: Sequence[Example | None]
    results: Sequence[FittedExample | Skipped]
    rendered: Sequence[RenderedExample]
    added: AugmentReport


def make_audit(
    tokenizer: ChatTokenizer,
    examples: Sequence[Example],
    report: DataReport,
    golden: Sequence[GoldenInput] | None,
    task: Task,
    recipe: Recipe,
    model: str,
    lengths: Iterable[int] | None = None,
    show: Iterable[int] | Literal["all"] = (),
) -> Audit:
    """The audit of a data set that `load_examples` gave; see Audit. There is a row for the recipe's length and for each of
    `lengths`, chosen around the data when they are None. `show` names examples, from 1. InputError when the tokenizer has no
    usable chat template."""
    renderer = Renderer(tokenizer, task, examples)
    rendered = [renderer(example) for example in examples]
    prompts = [len(item.prompt_ids) for item in rendered]
    completions = [len(item.completion_ids) for item in rendered]
    wanted = whole_lengths([item.tokens for item in rendered]) if lengths is None else lengths
    rows = []
    for length in sorted({*wanted, recipe.max_length}):
        at = _at_length(renderer, examples, task, recipe, length)
        rows.append(_row(at, length))
        if length == recipe.max_length:
            trained = at
    leaks = find_leaks(examples, golden or ())
    skipped = [item.line for item in trained.results if isinstance(item, Skipped)]
    return Audit(
        task=task.name,
        model=model,
        recipe=recipe.name,
        examples=len(examples),
        lines=report.lines,
        duplicate_lines=report.duplicate_lines,
        leaks=tuple(leaks),
        golden=None if golden is None else len(golden),
        further_keys=dict(report.further_keys),
        completion_median=statistics.median(completions),
        completion_p90=percentile(completions, 0.9),
        completion_max=max(completions),
        prompt_median=statistics.median(prompts),
        prompt_p90=percentile(prompts, 0.9),
        prompt_max=max(prompts),
        ratio=sum(prompts) / sum(completions),
        loss_share=sum(completions) / (sum(prompts) + sum(completions)),
        max_length=recipe.max_length,
        max_skipped=recipe.max_skipped,
        rows=tuple(rows),
        tokens_median=statistics.median(item.tokens for item in rendered),
        tokens_max=max(item.tokens for item in rendered),
        skipped_lines=tuple(skipped[:NAMED_LINES]),
        unlearnt_turns=report.unlearnt_turns,
        unlearnt_lines=report.unlearnt_lines[:NAMED_LINES],
        empty_prompts=report.empty_prompts,
        augmented=trained.added,
        template=prove(tokenizer, task.thinking, task.system_role).told(
            system=any(example.messages[0].role == "system" for example in examples)
        ),
        texts=summed_up((item.line, item.faults) for item in rendered),
        shown=tuple(_shown(tokenizer, trained, index) for index in _places(show, len(trained.examples))),
    )


def whole_lengths(tokens: Sequence[int]) -> list[int]:
    """The lengths at which 50, 80, 95 and 100 % of the examples are whole, rounded up to multiples of 256."""
    ordered = sorted(tokens)
    at = [ordered[math.ceil(share * len(ordered) - 1e-9) - 1] for share in WHOLE_SHARES]
    return sorted({-(-length // STEP) * STEP for length in at})


def _at_length(
    renderer: Renderer, examples: Sequence[Example], task: Task, recipe: Recipe, max_length: int
) -> _AtLength:
    at_this = recipe.model_copy(update={"max_length": max_length})
    grown, added = augment(examples, task, at_this, renderer.tokenizer, renderer)
    rendered = [renderer(example) for example in grown]
    originals: list[Example | None] = [*examples, *([None] * (len(grown) - len(examples)))]
    return _AtLength(grown, originals, [fit(item, max_length) for item in rendered], rendered, added)


def _row(at: _AtLength, max_length: int) -> LengthRow:
    fitted = [item for item in at.results if isinstance(item, FittedExample)]
    cut = sum(item.cut_tokens > 0 for item in fitted)
    learnt = sum(len(item.completion_ids) for item in fitted)
    read = sum(len(item.prompt_ids) for item in fitted)
    return LengthRow(
        max_length=max_length,
        whole=len(fitted) - cut,
        cut=cut,
        skipped=len(at.results) - len(fitted),
        loss_share=learnt / (learnt + read) if fitted else 0.0,
        right_cut=sum(item.tokens > max_length for item in at.rendered),
        right_dropped=sum(len(item.prompt_ids) >= max_length for item in at.rendered),
        few_shot=at.added.few_shot_full + at.added.few_shot_fewer,
        longest=max((len(item.prompt_ids) + len(item.completion_ids) for item in fitted), default=0),
    )


def _places(show: Iterable[int] | Literal["all"], count: int) -> list[int]:
    """The examples to show that there are, from 1."""
    if show == "all":
        return list(range(1, count + 1))
    return sorted({index for index in show if isinstance(index, int) and 1 <= index <= count})


def _shown(tokenizer: ChatTokenizer, at: _AtLength, index: int) -> ShownExample:
    """An example as the model sees it; its text is what its tokens decode to, special ones included."""
    example, original, result = at.examples[index - 1], at.originals[index - 1], at.results[index - 1]
    whole = at.rendered[index - 1]
    prompt_ids = whole.prompt_ids if isinstance(result, Skipped) else result.prompt_ids
    cut_tokens = 0 if isinstance(result, Skipped) else result.cut_tokens
    cut_at = result.cut_at if isinstance(result, FittedExample) and cut_tokens else len(prompt_ids)
    head, rest, completion = _texts(
        tokenizer, list(prompt_ids[:cut_at]), list(prompt_ids[cut_at:]), list(whole.completion_ids)
    )
    pieces = [Piece(head, loss=False)]
    if cut_tokens:
        pieces += [Piece(f"… −{cut_tokens} tokens …", loss=False, mark=True), Piece(rest, loss=False)]
    return ShownExample(
        index=index,
        line=example.line,
        state="skipped" if isinstance(result, Skipped) else "cut" if cut_tokens else "whole",
        cut_tokens=cut_tokens,
        prompt_tokens=len(prompt_ids),
        completion_tokens=len(whole.completion_ids),
        pieces=(*pieces, Piece(completion, loss=True)),
        shots=0 if original is None else shots_in_front(example, original),
    )


def _texts(tokenizer: ChatTokenizer, *parts: list[int]) -> list[str]:
    """The text of each part of a sequence, as it reads behind those before it: by themselves some tokenizers drop the blank
    in front of a word."""
    texts: list[str] = []
    ids: list[int] = []
    before = ""
    for part in parts:
        ids = ids + part
        upto = _decoded(tokenizer, ids)
        texts.append(upto[len(before) :] if upto.startswith(before) else _decoded(tokenizer, part))
        before = upto
    return texts


def _decoded(tokenizer: ChatTokenizer, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
