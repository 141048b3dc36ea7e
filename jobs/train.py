"""The job `train`: a LoRA adapter for a task. It learns whole answers: no completion is ever cut."""

from __future__ import annotations

import time
from typing import Any

from core.data.examples import DataReport, Example, find_leaks
from core.errors import GateError, InputError
from core.files import sha256_json
from core.queue.spec import METHODS, TrainSpec
from jobs.context import JobContext
from jobs.inputs import read_examples, read_golden
from jobs.manifest import device_facts, extend_manifest, start_manifest

NAMED_AT_MOST = 5


def run(context: JobContext, spec: TrainSpec) -> None:
    started = time.time()
    context.phase("reading the data", spec.train.source)
    start_manifest(context)
    _refuse_other_methods(spec)
    examples, report = read_examples(spec.train, spec.task)
    _tell_data(context, report)
    _leak_gate(spec, examples)

    context.phase("loading the tokenizer", spec.model.name)
    from jobs import models

    models.prepare_libraries()
    base = models.locate(spec.model, context.home)
    tokenizer = models.load_tokenizer(base, context.home)
    from core.data.render import fit_all

    fits = fit_all(tokenizer, examples, spec.task.thinking, spec.recipe.max_length)
    _length_gate(context, spec, fits)

    context.phase("loading the model", spec.model.name)
    device = models.choose_device()
    dtype = models.choose_dtype(spec.recipe.dtype, device)
    model = models.load_model(base, context.home, device, dtype)
    template_sha256 = sha256_json(tokenizer.chat_template)
    extend_manifest(
        context,
        device=device_facts(),
        dtype=str(dtype).removeprefix("torch."),
        model={"name": base.name, "fingerprint": base.fingerprint, "config": model.config.to_dict()},
        chat_template_sha256=template_sha256,
        seed=spec.recipe.seed,
        data={"examples": len(examples), "trained": len(fits.fitted), "skipped": len(fits.skipped), "cut": fits.cut},
    )

    from jobs.training import Training

    training = Training(context, spec, model, tokenizer, fits.fitted, device, dtype)
    outcome = training.run()

    context.phase("saving the adapter")
    lineage = {
        "job": context.job.id,
        "attempt": context.attempt.number,
        "project": context.job.project_id,
        "task": spec.task.name,
        "model": spec.model.model_dump(mode="json", exclude_none=True),
        "base_fingerprint": base.fingerprint,
        "recipe": spec.recipe.model_dump(mode="json", exclude_none=True),
        "data_sha256": spec.train.sha256,
        "chat_template_sha256": template_sha256,
        "thinking": spec.task.thinking,
    }
    artefact = context.artefacts.add("adapter", lineage, training.save_adapter)
    summary: dict[str, Any] = {
        "task": spec.task.name,
        "model": spec.model.name,
        "recipe": spec.recipe.name,
        "examples": len(fits.fitted),
        "skipped": len(fits.skipped),
        "cut": fits.cut,
        "seconds": time.time() - started,
        **outcome.to_json(),
    }
    # The job's title names task and model already.
    message = f"loss {outcome.first_loss:.2f} → {outcome.last_loss:.2f} in {outcome.steps} steps"
    context.finish(message, artefacts=[artefact], summary=summary)


def _refuse_other_methods(spec: TrainSpec) -> None:
    if spec.recipe.method not in METHODS:
        raise InputError(
            f"method {spec.recipe.method} cannot be trained: this version trains {', '.join(METHODS)}",
            code="method_not_supported",
            key="method",
            remedy=f"choose a recipe with method {METHODS[0]}",
        )


def _tell_data(context: JobContext, report: DataReport) -> None:
    context.say(f"{report.examples} examples from {report.lines} lines")
    if report.further_keys:
        keys = ", ".join(f"{key} ({count})" for key, count in report.further_keys.items())
        context.say(f"further keys ignored: {keys}")
    if report.duplicates:
        lines = _some(str(line) for line in report.duplicate_lines)
        context.warn("duplicates", f"{report.duplicates} examples repeat an earlier line: lines {lines}")


def _leak_gate(spec: TrainSpec, examples: list[Example]) -> None:
    """GateError when a golden input stands in the training data."""
    if spec.golden is None:
        return
    leaks = find_leaks(examples, read_golden(spec.golden))
    if leaks:
        named = _some(f"line {leak.line} ({leak.golden_id})" for leak in leaks)
        raise GateError(
            f"golden inputs stand in the training data: {named}",
            code="leak",
            file=spec.train.source,
            line=leaks[0].line,
            remedy="remove them from the training data: a bake-off on them would only measure memory",
        )


def _length_gate(context: JobContext, spec: TrainSpec, fits: Any) -> None:
    """Name what is skipped or cut; GateError when too many are skipped."""
    for skipped in fits.skipped[:NAMED_AT_MOST]:
        context.warn("skipped", f"skipped {skipped.reason}")
    if len(fits.skipped) > NAMED_AT_MOST:
        rest = _some(str(item.line) for item in fits.skipped[NAMED_AT_MOST:])
        context.warn("skipped", f"skipped {len(fits.skipped) - NAMED_AT_MOST} more: lines {rest}")
    if fits.cut:
        context.warn("cut", f"{fits.cut} prompts lost the middle of their longest user message")
    if not fits.fitted or fits.skipped_share > spec.recipe.max_skipped:
        raise GateError(
            f"{len(fits.skipped)} of {fits.total} examples do not fit into {spec.recipe.max_length} tokens; "
            f"{spec.recipe.max_skipped:.0%} may be skipped",
            code="too_many_skipped",
            file=spec.train.source,
            key="max_length",
            remedy="raise max_length, or max_skipped, in the recipe",
        )


def _some(items: Any, at_most: int = 20) -> str:
    """The first items, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - at_most} more" if len(listed) > at_most else ""
    return ", ".join(listed[:at_most]) + more
