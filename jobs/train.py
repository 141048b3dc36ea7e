"""The job `train`: a LoRA adapter for a task. It learns whole answers: no completion is ever cut."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.config.base import writing
from core.config.recipe import Recipe
from core.data.shots import shots_to_json, trained_shots
from core.experiments.choice import Censored, Chosen, to_json
from core.files import sha256_json
from core.home import RunDir
from core.jobfile.train import TrainSpec
from core.own_paths import former_home
from jobs.choice import decide, leave_out
from jobs.context import JobContext
from jobs.cpu_dtype import TRAINING, dtype_for
from jobs.device import job_device
from jobs.gates import leak_gate, tell_data
from jobs.inputs import read_examples
from jobs.manifest import device_facts, extend_manifest, start_manifest
from jobs.oom_fallbacks import Ladder, loading, stepping_down
from jobs.serving_tokenizer import template_hashes
from jobs.tracking import prepare_tracker, require_tracker

if TYPE_CHECKING:
    import torch

    from jobs.models import BaseModel

# Parts of a job file that say nothing about what is trained.
FORECAST = {"forecast", "not_predicted"}
NEW_KEYS = ("steps",)
"""Keys of a recipe that are no part of the hash where they are not set: checkpoints of before there were any stay known."""


def purpose_of(run: RunDir, spec: TrainSpec) -> str:
    """The hash of what is trained, by which checkpoints and the like are known as this job's, wherever the home lies."""
    return sha256_json(what_is_trained(spec, writing(run.home, former_home(run))))


def what_is_trained(spec: TrainSpec, paths: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The part of a job file that says what is trained, `paths` as they are written there. What a choice came to stands in its
    recipe by then."""
    document: dict[str, Any] = spec.model_dump(mode="json", exclude=FORECAST | {"choice"}, context=paths)
    for key in NEW_KEYS:
        if document["recipe"][key] is None:
            del document["recipe"][key]
    return document


def run(context: JobContext, spec: TrainSpec) -> None:
    started = start_manifest(context)
    decision: Chosen | Censored | None = None
    if spec.choice is not None:
        decision = decide(context, spec.choice)
        if isinstance(decision, Censored):
            leave_out(context, spec, decision)
            return
        spec = spec.with_rate(decision.lr)
    # A retry with other inputs must not go on where the former ones had led.
    purpose = purpose_of(context.run, spec)
    ladder = Ladder.open(context.run.path, purpose)
    recipe = ladder.recipe(spec.recipe)
    context.phase("reading the data", spec.train.source)
    require_tracker(recipe)
    examples, report = read_examples(spec.train, spec.task)
    tell_data(context, report)
    leak_gate(spec, examples)

    context.phase("loading the tokenizer", spec.model.name)
    from jobs import models

    prepare_tracker(recipe, context.attempt)
    models.prepare_libraries()
    base = models.locate(spec.model, context.home)
    tokenizer = models.load_tokenizer(base, context.home)
    from jobs.prepare import prepare

    data = prepare(context, spec, recipe, ladder, tokenizer, examples)

    context.phase("loading the model", spec.model.name)
    device = job_device(context)
    computes_in = dtype_for(context, recipe.dtype, device, spec.model, TRAINING)
    recipe = recipe.model_copy(update={"dtype": computes_in})
    dtype = models.as_torch(computes_in)
    with loading():
        model = _load_model(context, base, recipe, device, dtype)
    from jobs.load_report import require_rows

    met = (token for item in (*data.trained, *data.held_out) for token in (*item.prompt_ids, *item.completion_ids))
    require_rows(model, tokenizer, met, base.name)
    recipe = _with_targets(context, model, recipe)
    device_now = device_facts()
    templates = template_hashes(tokenizer)
    changes = {"fitted": [item.model_dump(mode="json") for item in spec.fitted], "ladder": ladder.to_json()}
    extend_manifest(
        context,
        device=device_now,
        dtype=str(dtype).removeprefix("torch."),
        model={"name": base.name, "fingerprint": base.fingerprint, "config": model.config.to_dict()},
        **templates,
        seed=recipe.seed,
        data=data.counts(),
        recipe_used=recipe.model_dump(mode="json"),
        **changes,
    )

    from jobs.training import Training

    with stepping_down(context, ladder, recipe, data.longest):
        training = Training(
            context,
            spec,
            recipe,
            purpose,
            model,
            tokenizer,
            data.trained,
            data.held_out,
            device=device,
            dtype=dtype,
            compares_from=ladder.compares_from,
        )
        outcome = training.run()

    context.phase("saving the adapter")
    lineage = {
        "job": context.job.id,
        "attempt": context.attempt.number,
        "project": context.job.project_id,
        "task": spec.task.name,
        "model": spec.model.model_dump(mode="json", exclude_none=True, context=writing(context.home)),
        "base_fingerprint": base.fingerprint,
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "step": outcome.best_step or outcome.steps,
        "data": spec.train.source,
        "data_sha256": spec.train.sha256,
        **templates,
        "thinking": spec.task.thinking,
        "system_role": spec.task.system_role,
        "few_shot": shots_to_json(trained_shots(recipe.few_shot, data.counts())),
    }
    artefact = context.artefacts.add("adapter", lineage, training.save_adapter)
    summary: dict[str, Any] = {
        "task": spec.task.name,
        "model": spec.model.name,
        "recipe": recipe.name,
        "recipe_used": recipe.model_dump(mode="json"),
        "device": {key: device_now[key] for key in ("type", "name")},
        "predicted_bytes": None if ladder.rungs else _predicted(spec, computes_in),
        **data.counts(),
        "held_out": data.held_out_figures(outcome.best_loss, spec.train.sha256),
        **changes,
        **({} if decision is None else {"chosen_lr": recipe.lr, "choice": to_json(decision)}),
        # The peak belongs to this length: a calibration of forecasts compares the two.
        "longest_tokens": data.longest,
        "seconds": time.monotonic() - started,
        **outcome.to_json(),
    }
    # The job's title names task and model already.
    message = f"loss {outcome.first_loss:.2f} → {outcome.last_loss:.2f} in {outcome.steps} steps"
    if outcome.best_loss is not None:
        message += f", held out {outcome.best_loss:.2f} at step {outcome.best_step}"
    context.finish(message, artefacts=[artefact], summary=summary)


def _predicted(spec: TrainSpec, computes_in: str) -> int | None:
    """The forecast of what was done: it was for the submitted recipe, on a CPU with `dtype: auto` for the larger dtype."""
    if spec.forecast is None or spec.forecast.dtype not in (None, computes_in):
        return None
    return spec.forecast.allocated_bytes


def _with_targets(context: JobContext, model: Any, recipe: Recipe) -> Recipe:
    """The recipe with the layers that the adapter is put on, told where they are not called as the recipe calls them."""
    from jobs.targets import targets_for

    targets = targets_for(model, recipe)
    if targets != recipe.targets:
        names = ", ".join(targets)
        context.warn("targets", f"all linear layers are trained, which this model calls {names}")
    return recipe.model_copy(update={"targets": targets})


def _load_model(context: JobContext, base: BaseModel, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Any:
    """The base model as the recipe's method wants it."""
    from jobs import models

    if recipe.hqq is None:
        return models.load_model(base, context.home, device, dtype, context.warn)
    from jobs.quantised import load_quantised

    def tell(done: int, total: int) -> None:
        context.check_stop()
        context.progress(done, total, "bytes", label=f"quantising to {hqq.bits} bits")

    hqq = recipe.hqq
    return load_quantised(base, context.home, device, dtype, hqq, tell, context.warn)
