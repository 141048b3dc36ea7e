"""What a training refuses before it begins: leaks and lost answers. And what it tells about its data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.config.recipe import Recipe
from core.data.examples import DataReport, Example
from core.data.leaks import refuse_leaks
from core.data.render import FitReport
from core.data.text_faults import TextFinding
from core.errors import GateError
from core.jobfile.train import TrainSpec
from core.reasons import Reason
from core.submission.gates import too_many_skipped
from core.wording.data import data_remarks, duplicate_words
from core.wording.texts import fault_remedy, template_words, text_words
from jobs.context import JobContext
from jobs.inputs import read_golden

NAMED_AT_MOST = 5


def tell_data(context: JobContext, report: DataReport) -> None:
    context.say(f"{report.examples} examples from {report.lines} lines")
    if report.further_keys:
        keys = ", ".join(f"{key} ({count})" for key, count in report.further_keys.items())
        context.say(f"further keys ignored: {keys}")
    for remark in data_remarks(report):
        context.warn("data", remark)
    if report.duplicates:
        lines = _some(str(line) for line in report.duplicate_lines)
        context.warn("duplicates", duplicate_words(report.duplicates, lines))


def leak_gate(spec: TrainSpec, examples: list[Example]) -> None:
    """GateError when a golden input appears in the training data."""
    if spec.golden is not None:
        refuse_leaks(examples, read_golden(spec.golden), spec.train.source)


def text_gate(context: JobContext, spec: TrainSpec, template: Sequence[Reason], texts: Sequence[TextFinding]) -> None:
    """Tell what the chat template does and what was found in the texts; GateError when some of that would be learnt wrongly."""
    for note in template:
        context.say(f"note: {template_words(note)}")
    for finding in texts:
        if not finding.refused:
            context.warn("texts", text_words(finding))
    if refused := [finding for finding in texts if finding.refused]:
        raise GateError(
            "; ".join(text_words(finding) for finding in refused[:NAMED_AT_MOST]),
            code=refused[0].reason.code,
            file=spec.train.source,
            line=refused[0].lines[0],
            remedy=fault_remedy(refused[0].reason),
        )


def length_gate(
    context: JobContext, spec: TrainSpec, recipe: Recipe, fits: FitReport, *, shortened: bool = False
) -> None:
    """Name what is skipped or cut; GateError when too many are skipped.

    `shortened`: the ladder has lowered `max_length`, because the memory holds no longer examples.
    """
    for skipped in fits.skipped[:NAMED_AT_MOST]:
        context.warn("skipped", f"skipped {skipped.reason}")
    if len(fits.skipped) > NAMED_AT_MOST:
        rest = _some(str(item.line) for item in fits.skipped[NAMED_AT_MOST:])
        context.warn("skipped", f"skipped {len(fits.skipped) - NAMED_AT_MOST} more: lines {rest}")
    if fits.cut:
        context.warn("cut", f"{fits.cut} prompts lost the middle of their longest user message")
    if not fits.fitted or fits.skipped_share > recipe.max_skipped:
        why = "the memory holds no longer examples, but " if shortened else ""
        raise too_many_skipped(
            len(fits.skipped),
            fits.total,
            recipe.max_length,
            recipe.max_skipped,
            spec.train.source,
            why=why,
            remedy="take a smaller model, a lower rank or shorter examples" if shortened else None,
        )


def _some(items: Any, at_most: int = 20) -> str:
    """The first items, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - at_most} more" if len(listed) > at_most else ""
    return ", ".join(listed[:at_most]) + more
