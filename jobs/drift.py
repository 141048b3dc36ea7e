"""The job `drift`: whether what serves under an alias still answers a task as it did when it became the alias.

First the prompts, as the job `parity` compares them, and the smoke set: a few greedy answers held to stored ones. On any
difference the whole golden set is asked and scored, and held to the scores that the version's place rests on, input by input. A
loss is told when a second run of the set, with other seeds, shows it as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.config.golden import GoldenInput
from core.drift.loss import ScoreChange, score_change, scores_by_input
from core.drift.outcome import confirmed_losses, outcome_of, wants_all_inputs
from core.drift.smoke import (
    SmokeComparison,
    compare_smoke,
    read_smoke,
    smoke_candidate,
    smoke_document,
    smoke_file,
    smoke_inputs,
    smoke_task,
)
from core.errors import InputError
from core.files import write_json
from core.format import listed, of_five, plural
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, TaskUnderTest
from core.jobfile.drift import CheckedVersion, DriftSpec
from core.jobfile.servers import opened
from core.scoring.answers import Answer
from core.serving.answering import ServedIdentity
from core.serving.errors import ServerError
from core.wording.drift import drift_words, due_words, not_compared_words, smoke_words
from jobs.bakeoff.job import nothing_answered, tally_of
from jobs.bakeoff.record import AnswerRecord
from jobs.bakeoff.served import answer_served
from jobs.bakeoff.served_models import have_serve
from jobs.context import JobContext
from jobs.inputs import read_golden
from jobs.manifest import extend_manifest, start_manifest
from jobs.parity import ServedPromptModel, check_served, leave, require_unchanged

SMOKE, FIRST, SECOND = "smoke set", "golden set", "golden set, second run"
"""Under these names the answers of the alias are kept apart."""


@dataclass(frozen=True)
class Prompts:
    """What the comparison of prompts came to. `why`: why there was none. `finding`: what was found first, as a
    `Reason`."""

    checked: bool
    differ: bool = False
    prompts: int = 0
    finding: dict[str, Any] | None = None
    why: str | None = None


def run(context: JobContext, spec: DriftSpec) -> None:
    start_manifest(context)
    if spec.due:
        context.say(f"due: {', '.join(due_words(code) for code in spec.due)}")
    server, name = spec.asked.server, spec.asked.served_model
    assert server is not None and name is not None  # the candidate was validated
    if server.served_dir is not None:
        have_serve(context, server)
    check_drift(context, spec, lambda: opened(server, name))


def check_drift(context: JobContext, spec: DriftSpec, open_model: Callable[[], ServedPromptModel]) -> None:
    """All of it, and the result. `open_model` gives the served model, anew for each part. Raises ServerError where the server
    does not serve it, or serves another one at the end."""
    inputs = read_golden(spec.under_test.golden)
    if not inputs:
        raise InputError("there are no golden inputs", code="empty_golden", file=spec.under_test.golden.source)
    with _held_in_memory(context, spec, open_model) as model:
        identity = model.identity()
        extend_manifest(context, seed=spec.seed, server=asdict(identity))
        changed = changed_since(spec.version, identity)
        prompts = _prompts(context, spec, open_model)
        smoke = _smoke(context, spec, inputs, identity, open_model)
        context.say(f"smoke set: {smoke_words(smoke.to_json())}")
        first = second = None
        # Without scores of before there is nothing to hold those of now to.
        asked_all = spec.verdict is not None and wants_all_inputs(
            full=spec.full, smoke=smoke, prompts_differ=prompts.differ, identity_changed=changed
        )
        if asked_all:
            first = _whole_set(context, spec, inputs, FIRST, spec.seed, open_model)
            if first.lost:
                context.say(f"{FIRST}: a loss of {listed(first.lost)} is shown, so all inputs are asked a second time")
                second = _whole_set(context, spec, inputs, SECOND, spec.seed + 1, open_model)
        require_unchanged(model, identity)
    outcome = outcome_of(smoke, prompts_differ=prompts.differ, identity_changed=changed, first=first, second=second)
    summary: dict[str, Any] = {
        "outcome": outcome,
        "task": spec.under_test.name,
        "alias": spec.asked.name,
        "alias_id": spec.version.alias_id,
        "version": spec.version.number,
        "version_id": spec.version.version_id,
        "server_version": identity.version,
        "weights": identity.weights,
        "template": identity.template,
        "changed": list(changed),
        "prompts": asdict(prompts),
        "smoke": {**smoke.to_json(), "baseline_job": spec.baseline_job},
        "full": spec.full,
        "asked_all": asked_all,
        "verdict": None if spec.verdict is None else spec.verdict.bakeoff,
        "first": None if first is None else first.to_json(),
        "second": None if second is None else second.to_json(),
        "lost": list(confirmed_losses(first, second)),
        "margin": spec.under_test.task.margin,
    }
    context.finish(drift_words(summary), summary=summary)


def changed_since(version: CheckedVersion, now: ServedIdentity) -> tuple[str, ...]:
    """What of the model and its server is known to be another than the version was: `weights`, `template`, `version`."""
    pairs = {
        "weights": (version.weights, now.weights),
        "template": (version.template, now.template),
        "version": (version.server_version, now.version),
    }
    return tuple(
        name
        for name, (then, present) in pairs.items()
        if then is not None and present is not None and then.removeprefix("sha256:") != present.removeprefix("sha256:")
    )


@contextlib.contextmanager
def _held_in_memory(
    context: JobContext, spec: DriftSpec, open_model: Callable[[], ServedPromptModel]
) -> Iterator[ServedPromptModel]:
    """The model in memory from here on, so that no part of the check loads it anew; afterwards it is there if it was before."""
    task = spec.under_test.task
    with contextlib.closing(open_model()) as model:
        context.phase("loading the model", model.name)
        model.load(spec.asked.variant.applied(task.sampling).context_length)
        try:
            yield model
        finally:
            try:
                model.unload()
            except ServerError as error:
                context.warn("not_unloaded", f"{model.name} may still be in memory: {error.message}")


def _prompts(context: JobContext, spec: DriftSpec, open_model: Callable[[], ServedPromptModel]) -> Prompts:
    """What the job `parity` finds; `parity.json` holds it. A server that shows no prompts is not at fault."""
    if spec.model is None:
        context.say(not_compared_words(spec.not_checked))
        return Prompts(checked=False, why=spec.not_checked)
    task, golden = spec.under_test.task, spec.under_test.golden
    try:
        with contextlib.closing(open_model()) as model:
            checked, report = check_served(context, task, golden, spec.model, model)
    except ServerError as error:
        if error.code != "no_render":
            raise
        context.warn(error.code, error.message)
        return Prompts(checked=False, why="no_render")
    leave(context, checked, report)
    finding = report.refused[0].to_json() if report.refused else None
    return Prompts(checked=True, differ=not report.passed, prompts=len(report.cases), finding=finding)


def _smoke(
    context: JobContext,
    spec: DriftSpec,
    inputs: Sequence[GoldenInput],
    identity: ServedIdentity,
    open_model: Callable[[], ServedPromptModel],
) -> SmokeComparison:
    """The smoke set asked and compared; `smoke.json` holds its answers."""
    chosen = smoke_inputs(inputs)
    asked = smoke_candidate(spec.asked, SMOKE)
    answers = _answers(context, spec, smoke_task(spec.under_test), asked, chosen, 0, open_model)
    write_json(smoke_file(context.run), smoke_document(identity, answers))
    before = None if spec.baseline is None else read_smoke(Path(spec.baseline.path))
    return compare_smoke(chosen, before or {}, answers)


def _whole_set(
    context: JobContext,
    spec: DriftSpec,
    inputs: Sequence[GoldenInput],
    name: str,
    seed: int,
    open_model: Callable[[], ServedPromptModel],
) -> ScoreChange:
    """One run of all golden inputs, held to the verdict."""
    assert spec.verdict is not None  # else nothing is asked
    asked = spec.asked.model_copy(update={"name": name})
    answers = _answers(context, spec, spec.under_test, asked, tuple(inputs), seed, open_model)
    context.phase("scoring", name)
    task = spec.under_test.task
    now = scores_by_input(task, inputs, answers, spec.pattern_timeout_seconds)
    change = score_change(task, inputs, spec.verdict.scores, now)
    for part, found in change.parts.items():
        context.say(
            f"{name}: {part} {of_five(found.before)} → {of_five(found.now)} over {plural(found.inputs, 'input')}"
        )
    return change


def _answers(
    context: JobContext,
    spec: DriftSpec,
    under_test: TaskUnderTest,
    asked: CandidateSpec,
    inputs: tuple[GoldenInput, ...],
    seed: int,
    open_model: Callable[[], ServedPromptModel],
) -> list[Answer]:
    """What a bake-off of this one candidate would have: answers of a killed attempt are there already."""
    of_bakeoff = BakeoffSpec(
        tasks=[under_test],
        candidates=[asked],
        seed=seed,
        pattern_timeout_seconds=spec.pattern_timeout_seconds,
    )
    by_task = {under_test.name: inputs}
    record = AnswerRecord(context, of_bakeoff, by_task, context.run.path / "drift-answers.jsonl")
    with contextlib.closing(open_model()) as model:
        answer_served(
            context, of_bakeoff, of_bakeoff.candidates, model, by_task, record, tally_of(context, of_bakeoff, by_task)
        )
    answers = [one for one in record.answers if one.candidate == asked.name]
    if all(one.fault == "server" for one in answers):
        raise nothing_answered(record)
    return answers
