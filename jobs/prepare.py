"""From the examples of a file to those that are trained and those that are held out, in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.config.recipe import Recipe
from core.data.augment import augment
from core.data.examples import Example
from core.data.render import FitReport, FittedExample, fit_all
from core.data.template_proof import prove
from core.errors import GateError, InputError
from core.files import sha256_json
from core.jobfile.train import TrainSpec
from jobs.context import JobContext
from jobs.gates import length_gate, text_gate
from jobs.oom_fallbacks import Ladder
from jobs.ordering import held_out_lines, length


@dataclass(frozen=True)
class Prepared:
    """`fits` is about the examples of the file; `added` tells what the recipe made of those that are trained."""

    fits: FitReport
    trained: tuple[FittedExample, ...]
    held_out: tuple[FittedExample, ...]
    added: dict[str, Any]

    @property
    def longest(self) -> int:
        """Tokens of the longest example: the peak of memory belongs to it."""
        return max(length(item) for item in (*self.trained, *self.held_out))

    def held_out_figures(self, loss: float | None, data_sha256: str) -> dict[str, Any] | None:
        """What a summary tells of the held-out examples, at which the kept adapter has this loss; None where none is held out.

        `tokens` carry the loss, `bytes` are the completions in UTF-8 as the data has them: both make losses comparable over
        tokenizers. `lines_sha256` tells which examples they were, of the file with that hash.
        """
        if not self.held_out:
            return None
        return {
            "examples": len(self.held_out),
            "loss": loss,
            "tokens": sum(len(item.completion_ids) for item in self.held_out),
            "bytes": sum(item.completion_bytes for item in self.held_out),
            "lines_sha256": sha256_json([data_sha256, *(item.line for item in self.held_out)]),
        }

    def counts(self) -> dict[str, Any]:
        return {
            "examples": len(self.fits.fitted),
            "skipped": len(self.fits.skipped),
            "cut": self.fits.cut,
            "trained": len(self.trained),
            "held_out": len(self.held_out),
            **({"added": self.added} if self.added else {}),
        }


def prepare(
    context: JobContext, spec: TrainSpec, recipe: Recipe, ladder: Ladder, tokenizer: Any, examples: Sequence[Example]
) -> Prepared:
    """Fit, hold out, augment. `recipe` is the submitted one after the ladder; GateError when its length loses too much.

    What is held out is drawn at the submitted length, so that a shorter one moves no example from one side to the other, and
    before anything is added: a held-out example stands in no other's prompt, and is asked as it will be in production.
    """
    thinking, role = spec.task.thinking, spec.task.system_role
    try:
        fits = submitted = fit_all(tokenizer, examples, thinking, spec.recipe.max_length, system_role=role)
    except InputError as error:
        if error.line is not None:
            error.file = spec.train.source  # and not the copy of it
        raise
    notes = prove(tokenizer, thinking, role).told(system=any(item.messages[0].role == "system" for item in examples))
    text_gate(context, spec, notes, fits.texts)
    if ladder.changed_length:
        fits = fit_all(tokenizer, examples, thinking, recipe.max_length, system_role=role)
    try:
        length_gate(context, spec, recipe, fits, shortened=ladder.changed_length)
    except GateError:
        if ladder.changed_length:
            ladder.withdraw()
        raise
    lines = held_out_lines(submitted.fitted, recipe)
    held_out = tuple(item for item in fits.fitted if item.line in lines)
    trained = tuple(item for item in fits.fitted if item.line not in lines)
    if not trained:
        raise GateError(
            f"every example that fits into {recipe.max_length} tokens is held out",
            code="too_many_skipped",
            file=spec.train.source,
            key="eval_fraction",
            remedy="hold out fewer, or raise max_length",
        )
    if recipe.few_shot is None and not recipe.skeletons:
        return Prepared(fits, trained, held_out, {})
    more, report = augment([item for item in examples if item.line not in lines], spec.task, recipe, tokenizer)
    added = {key: value for key, value in report.to_json().items() if value}
    context.say("added by the recipe: " + ", ".join(f"{key} {value}" for key, value in added.items()))
    grown = fit_all(tokenizer, more, thinking, recipe.max_length, system_role=role)
    return Prepared(fits, grown.fitted, held_out, added)
