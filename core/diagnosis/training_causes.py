"""What a training's and a merge's own records say against the model that came of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from core.diagnosis.causes import Cause, Certainty, Evidence
from core.diagnosis.lineage import Lineage, Link
from core.jobfile.convert import ConvertSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.train import TrainSpec
from core.reasons import Reason

FEW_STEPS = 10
NOT_FALLEN = 0.9
"""Of the loss at the beginning: a training that is still above it at its end has learnt next to nothing."""
HARDLY_FALLEN = 0.7
MANY_LOST = 0.05
"""Share of the examples that were skipped or cut, from which on that is a likely cause."""
MUCH_LOST, SOME_LOST = 0.5, 0.9
"""Shares of the update that a merge keeps."""
UNCHANGED = ("nothing_changed", "weights_of_base")
"""The errors of a job that wrote the base again."""
RESULT = "result.json"


def training_causes(lineage: Lineage) -> Iterator[Cause]:
    """Of every training of a lineage, and of what was written of its update."""
    for link, training in lineage.trainings:
        yield from _of_examples(link)
        yield from _of_losses(link)
        yield from _of_ladder(link, training)
    for link, merge in lineage.merges:
        yield from _of_merge(lineage, link, merge)
    for link, made in lineage.files:
        yield from _of_survival(link, made.format if isinstance(made, ConvertSpec) else made.quantization)


def _of_examples(link: Link) -> Iterator[Cause]:
    trained, skipped, cut = (_count(link.summary, key) for key in ("examples", "skipped", "cut"))
    total = trained + skipped
    for code, count in (("completions_skipped", skipped), ("prompts_cut", cut)):
        if count:
            sure: Certainty = "likely" if count >= MANY_LOST * total else "possible"
            key = "skipped" if code == "completions_skipped" else "cut"
            figures = (_summary(link, key), _summary(link, "examples"))
            yield Cause(Reason(code, {"count": count, "of": total}), sure, link.id, figures)


def _of_losses(link: Link) -> Iterator[Cause]:
    losses = [event["loss"] for event in link.events if event["kind"] == "step" and _is_number(event.get("loss"))]
    ends = (link.summary.get("first_loss"), link.summary.get("last_loss"))
    if not losses and all(map(_is_number, ends)):
        losses = list(ends)
    if not losses:
        return
    steps = _count(link.summary, "steps") or max(
        (_count(event, "step") for event in link.events if event["kind"] == "step"), default=0
    )
    where = "attempt-1/events.jsonl" if link.events else RESULT
    if not all(math.isfinite(loss) for loss in losses):
        at = next(index for index, loss in enumerate(losses, 1) if not math.isfinite(loss))
        figure = Evidence(link.id, where, "loss", f"not finite, step {at}")
        yield Cause(Reason("loss_not_finite", {"step": at}), "shown", link.id, (figure,))
        return
    part = max(1, len(losses) // 10)
    first, last = fmean(losses[:part]), fmean(losses[-part:])
    values = {"first": round(first, 4), "last": round(last, 4), "steps": steps}
    figures = (Evidence(link.id, where, "loss", f"{first:.4g} → {last:.4g}"), _summary(link, "steps"))
    if last > NOT_FALLEN * first:
        yield Cause(Reason("loss_not_fallen", values), "likely", link.id, figures)
    if 0 < steps < FEW_STEPS:
        sure: Certainty = "likely" if last > HARDLY_FALLEN * first else "possible"
        yield Cause(Reason("too_few_steps", values), sure, link.id, figures)


def _of_ladder(link: Link, training: TrainSpec) -> Iterator[Cause]:
    """The memory held no longer examples, so the length was lowered while the job ran."""
    used = link.summary.get("recipe_used")
    after = used.get("max_length") if isinstance(used, dict) else None
    before = training.recipe.max_length
    if isinstance(after, int) and after < before:
        figure = Evidence(link.id, RESULT, "summary.recipe_used.max_length", after)
        yield Cause(Reason("length_lowered", {"before": before, "after": after}), "possible", link.id, (figure,))


def _of_merge(lineage: Lineage, link: Link, merge: MergeSpec) -> Iterator[Cause]:
    yield from _of_survival(link, merge.dtype)
    trained = lineage.training_of(link.id)
    if trained is not None and trained[1].recipe.hqq is not None and merge.base_weights == "original":
        bits = trained[1].recipe.hqq.bits
        figures = (
            Evidence(trained[0].id, "job.yaml", "spec.recipe.hqq.bits", bits),
            Evidence(link.id, "job.yaml", "spec.base_weights", merge.base_weights),
        )
        yield Cause(Reason("original_base_weights", {"bits": bits}), "possible", link.id, figures)


def _of_survival(link: Link, dtype: str) -> Iterator[Cause]:
    """How much of the training's update is in what a merge, a conversion or a quantisation wrote."""
    if link.error in UNCHANGED:
        figure = Evidence(link.id, f"attempt-{link.job.attempt}/error.json", "code", link.error)
        yield Cause(Reason("weights_unchanged", {"dtype": dtype}), "shown", link.id, (figure,))
    found = link.summary.get("survival")
    survival: Mapping[str, Any] = found if isinstance(found, dict) else {}
    updated, unchanged = _count(survival, "updated"), _count(survival, "unchanged")
    share: Any = survival.get("share")
    if updated and 2 * unchanged >= updated:
        figures = (_summary(link, "survival.unchanged"), _summary(link, "survival.updated"))
        yield Cause(Reason("weights_unchanged", {"dtype": dtype}), "shown", link.id, figures)
    elif _is_number(share) and share < SOME_LOST:
        sure: Certainty = "likely" if share < MUCH_LOST else "possible"
        reason = Reason("update_lost", {"share": share, "dtype": dtype})
        yield Cause(reason, sure, link.id, (_summary(link, "survival.share"),))


def _summary(link: Link, key: str) -> Evidence:
    value: Any = link.summary
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return Evidence(link.id, RESULT, f"summary.{key}", value)


def _count(document: Mapping[str, Any], key: str) -> int:
    value = document.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
