"""Where the record leaves more than one cause: the cheapest test that tells them apart, as a command."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.diagnosis.causes import CONSEQUENCES, Cause
from core.diagnosis.lineage import Lineage
from core.diagnosis.stages import StageScore
from core.jobfile.deploy import DeploySpec
from core.jobfile.servers import SERVED
from core.parity.comparison import CAUSES

TOLD_BY_PARITY = frozenset(
    {*CAUSES, "template_differs", "prompt_tokens_differ", "stop_token_lost", "file_without_template", "training_marks"}
)
TOLD_OF_SERVED = frozenset(
    {*CAUSES, "prompt_tokens_differ", "served_weights_changed", "served_template_changed", "server_version_changed"}
)
TOLD_BY_AUDIT = frozenset({"completions_skipped", "prompts_cut", "length_lowered", "no_gain"})
TOLD_BY_TRAINING = frozenset({"too_few_steps", "loss_not_fallen", "no_gain"})
PREFIX = "bakehouse "


@dataclass(frozen=True)
class NextTest:
    """`tells`: the causes (codes) that it tells apart, none where it looks for one that is not known yet.

    `code` says what comes of it: `prompts`, `lengths`, `limit`, `weights`, `steps`, `stages`.
    """

    code: str
    command: str
    tells: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "command": self.command, "tells": list(self.tells)}


def next_tests(
    lineage: Lineage,
    causes: Sequence[Cause],
    scores: Sequence[StageScore],
    ill: Collection[int],
    proved: Collection[int] = (),
) -> tuple[NextTest, ...]:
    """The tests worth making, the cheapest first: those that train nothing and generate nothing before the others.

    `ill` are the jobs whose models have symptoms or lose their score.
    """
    unsure = [cause for cause in causes if cause.certainty != "shown" or cause.code in CONSEQUENCES]
    shown = {cause.job for cause in causes if cause.certainty == "shown" and cause.code not in CONSEQUENCES}
    # What a training did not give, nothing behind it can have lost.
    useless = {cause.job for cause in causes if cause.code == "no_gain"}
    ill = {job for job in ill if not useless & {link.id for link in lineage.above(job)}}
    found = [
        *_parity(lineage, unsure, causes, ill, shown, proved),
        *_served(lineage, causes, ill, shown),
        *_audits(lineage, unsure),
        *_exports(lineage, unsure),
        *_limits(unsure),
        *_stages(lineage, scores, ill, shown),
        *_trainings(lineage, unsure),
    ]
    return tuple({one.command: one for one in found}.values())


def _parity(
    lineage: Lineage,
    unsure: Sequence[Cause],
    causes: Sequence[Cause],
    ill: Collection[int],
    shown: Collection[int],
    proved: Collection[int],
) -> Iterator[NextTest]:
    """A render of each prompt by both sides: seconds to minutes on a CPU."""
    checked = _checked(causes)
    files = {link.id for link, spec in lineage.files if spec.task is not None}
    wanted: dict[int, list[str]] = {}
    for job in sorted(files - checked):
        codes = [cause.code for cause in unsure if cause.job == job and cause.code in TOLD_BY_PARITY]
        counted = any(cause.job == job and cause.code == "prompt_tokens_differ" for cause in causes)
        if codes or counted or (job in ill and job not in shown and job not in proved):
            wanted[job] = codes
    for job in sorted(wanted):
        # What a file was made from is told by the file that answers.
        before = [link.id for link in lineage.above(job) if link.id in wanted]
        if not any(job in [link.id for link in lineage.above(later)] for later in wanted if later != job):
            codes = [code for one in reversed(before) for code in wanted[one]]
            yield NextTest("prompts", f"{PREFIX}parity {job} --wait", tuple(dict.fromkeys(codes)))


def _checked(causes: Sequence[Cause]) -> set[int]:
    """The jobs of which a check has found something."""
    return {cause.job for cause in causes if any(one.file == "parity.json" for one in cause.evidence)}


def _served(
    lineage: Lineage, causes: Sequence[Cause], ill: Collection[int], shown: Collection[int]
) -> Iterator[NextTest]:
    """The same of what a server has: as a deployment left it, which proved it then, or as a person made it."""
    for link, spec in lineage.deployments:
        codes = [cause.code for cause in causes if cause.job == link.id and cause.code in TOLD_OF_SERVED]
        unknown = link.id in ill and link.id not in shown
        if link.job.state == "done" and link.id not in _checked(causes) and (codes or unknown):
            yield _check_of(_served_name(spec), spec.task.name, spec.model.name, codes)
    by_hand = {str(cause.reason.values["candidate"]): cause for cause in causes if cause.code == "served_by_hand"}
    for name, cause in by_hand.items():
        made = next((spec for link, spec in lineage.files if link.id == cause.job), None)
        if made is not None and made.model is not None and made.task is not None:
            yield _check_of(name.partition(" @")[0], made.task, made.model.name, [cause.code])


def _served_name(spec: DeploySpec) -> str:
    """How a deployed model is named as a candidate."""
    return f"{SERVED if spec.server is None else spec.server.name}:{spec.name}"


def _check_of(served: str, task: str, model: str, codes: Sequence[str]) -> NextTest:
    words = ["parity", served, "--task", task, "--model", model, "--wait"]
    return NextTest("prompts", PREFIX + shlex.join(words), tuple(dict.fromkeys(codes)))


def _audits(lineage: Lineage, unsure: Sequence[Cause]) -> Iterator[NextTest]:
    """Counts the tokens of the data: seconds, and nothing is trained."""
    for link, spec in lineage.trainings:
        codes = [cause.code for cause in unsure if cause.job == link.id and cause.code in TOLD_BY_AUDIT]
        if codes:
            words = ["audit", spec.task.name, "--model", spec.model.name, "--recipe", spec.recipe.name]
            yield NextTest("lengths", PREFIX + shlex.join(words), tuple(dict.fromkeys(codes)))


def _exports(lineage: Lineage, unsure: Sequence[Cause]) -> Iterator[NextTest]:
    for link, _ in lineage.merges:
        codes = {cause.code for cause in unsure if cause.job == link.id}
        if link.takes is None:
            continue
        if "original_base_weights" in codes:
            command = f"{PREFIX}export {link.takes} --base-weights dequantized --wait"
            yield NextTest("weights", command, ("original_base_weights",))
        if "update_lost" in codes:
            yield NextTest("weights", f"{PREFIX}export {link.takes} --dtype fp32 --wait", ("update_lost",))


def _limits(unsure: Sequence[Cause]) -> Iterator[NextTest]:
    for cause in unsure:
        limit, task = cause.reason.values.get("limit"), cause.reason.values.get("task")
        if cause.code == "limit_too_low" and isinstance(limit, int):
            model = f"job:{cause.job}"
            words = ["bakeoff", str(task), model, f"{model}@max_new_tokens={2 * limit}", "--wait"]
            yield NextTest("limit", PREFIX + shlex.join(words), ("limit_too_low",))


def _stages(
    lineage: Lineage, scores: Sequence[StageScore], ill: Collection[int], shown: Collection[int]
) -> Iterator[NextTest]:
    """A bake-off of the stages that nothing is known of yet, where a later one is ill and no record says why."""
    for link, spec in lineage.trainings:
        below = [one for one in lineage.links if one.id in ill and one.id != link.id and link in lineage.above(one.id)]
        if not below or any(one.id in shown for link in below for one in lineage.above(link.id)):
            continue
        last = max(below, key=lambda one: one.id)
        if _is_located(lineage, scores, last.id):
            continue
        scored = {one.job for one in scores if one.task == spec.task.name}
        chain = list(lineage.above(last.id))[::-1]
        if {one.id for one in chain} <= scored:
            continue
        candidates = [_served_name(one.spec) if isinstance(one.spec, DeploySpec) else f"job:{one.id}" for one in chain]
        words = ["bakeoff", spec.task.name, spec.model.name, *candidates, "--wait"]
        yield NextTest("stages", PREFIX + shlex.join(words), ())


def _is_located(lineage: Lineage, scores: Sequence[StageScore], job: int) -> bool:
    """Whether a bake-off shows that the loss is between a job and the very one that it was made from."""
    jobs = {(one.bakeoff, one.candidate): one.job for one in scores}
    lost = (one for one in scores if one.job == job and one.outcome == "loss" and one.before is not None)
    return any(jobs.get((one.bakeoff, str(one.before))) == lineage.by_id[job].takes for one in lost)


def _trainings(lineage: Lineage, unsure: Sequence[Cause]) -> Iterator[NextTest]:
    for link, spec in lineage.trainings:
        codes = [cause.code for cause in unsure if cause.job == link.id and cause.code in TOLD_BY_TRAINING]
        if codes:
            words = ["train", spec.task.name, "--model", spec.model.name, "--recipe", spec.recipe.name]
            recipe = spec.recipe
            longer = (
                ["--epochs", f"{2 * recipe.epochs:g}"]
                if recipe.steps is None
                else ["--set", f"steps={2 * recipe.steps}"]
            )
            command = PREFIX + shlex.join([*words, *longer, "--wait"])
            yield NextTest("steps", command, tuple(dict.fromkeys(codes)))
