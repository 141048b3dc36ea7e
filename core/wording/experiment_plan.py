"""Words for an experiment that is queued: what of it is missing, what was put into the queue, what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.config.experiment import Experiment
from core.experiments.standing import Stand
from core.format import data_size, listed, plural
from core.store.jobs import ENDED
from core.wording.experiments import MARKS

if TYPE_CHECKING:
    from core.experiment_submission.plan import ExperimentPlan, LeftOutArm
    from core.experiment_submission.queueing import QueuedExperiment
    from core.experiment_submission.retry import RetriedJobs
    from core.experiments.arms import Arm

ROLES = {
    "trial": ("trial", "trials"),
    "race": ("race", "races"),
    "final": ("training", "trainings"),
    "merge": ("merge", "merges"),
    "convert": ("conversion", "conversions"),
    "quantize": ("quantisation", "quantisations"),
}


def asked_words(experiment: Experiment, arms: int) -> str:
    """`precision: 7 arms, task judge, seeds 0, 1 and 2`."""
    tasks = f"task{'' if len(experiment.tasks) == 1 else 's'} {listed(experiment.tasks)}"
    seeds = experiment.seed_list
    chosen = f"seed{'' if len(seeds) == 1 else 's'} {listed([str(seed) for seed in seeds])}"
    return f"{experiment.name}: {plural(arms, 'arm')}, {tasks}, {chosen}"


def held_words(experiment: Experiment) -> str:
    """What is the same in all arms, and how a learning rate is chosen."""
    held = [f"{key} {value}" for key, value in experiment.hold.items()]
    parts = [f"held equal: the recipe {experiment.recipe}" + (f" with {listed(held)}" if held else "")]
    varied = {*experiment.vary, *(key for arm in experiment.arms for key in arm)}
    if "rank" in varied and "alpha" not in {*varied, *experiment.hold}:
        parts.append("alpha follows the rank, so that the scale of an update stays the recipe's")
    if experiment.has_trials:
        trial = experiment.trial
        rates = len(experiment.learning_rates)
        chosen = f"each arm takes the one of {rates} learning rates" if rates > 1 else "each arm is tried"
        parts.append(
            f"{chosen} by the held-out loss of trials of {plural(trial.steps, 'step')}, {trial.eval_fraction:.0%} held out"
        )
    if experiment.race is not None:
        parts.append(
            f"only the {plural(experiment.race.keep, 'arm')} with the lowest held-out loss a byte are trained in full"
        )
    return "; ".join(parts)


def counted(roles: Sequence[str], bakeoffs: int) -> str:
    """`6 trials, 21 trainings and 3 bake-offs`."""
    parts = []
    for role, (one, several) in ROLES.items():
        if number := sum(name == role for name in roles):
            parts.append(f"{number} {one if number == 1 else several}")
    if bakeoffs:
        parts.append(plural(bakeoffs, "bake-off"))
    return listed(parts)


def missing_words(plan: ExperimentPlan) -> str:
    """What would be queued; bake-offs follow from it."""
    if not plan.missing:
        return "nothing is missing"
    return f"would queue {counted([run.role for run in plan.missing], 0)}, and a bake-off behind each block of seeds"


def queued_words(queued: QueuedExperiment) -> str:
    """`queued 21 trainings and 3 bake-offs, as jobs 12 to 35`."""
    jobs = [run.job_id for run in queued.runs]
    jobs += [one.job_id for one in queued.races] + [one.job_id for one in queued.bakeoffs]
    if not jobs:
        return "nothing was missing: all of it is queued or done"
    numbers = f"job {jobs[0]}" if len(jobs) == 1 else f"jobs {min(jobs)} to {max(jobs)}"
    roles = [*(run.role for run in queued.runs), *("race" for _ in queued.races)]
    return f"queued {counted(roles, len(queued.bakeoffs))}, as {numbers}"


def retried_words(retried: RetriedJobs) -> str:
    """`tried again: jobs 12 and 14`."""
    return f"tried again: job{'' if len(retried.jobs) == 1 else 's'} {listed([str(job) for job in retried.jobs])}"


def left_out_arm_words(one: LeftOutArm) -> str:
    remedy = f" ({one.error.remedy})" if one.error.remedy else ""
    return f"{one.arm.name}, {one.task}: {one.error.message}{remedy}"


def lacking_words(jobs: Mapping[int, str]) -> str:
    """What has ended without being done, by job and state, and what brings it back."""
    said = listed([f"{job} ({state})" for job, state in jobs.items()])
    what = "job has" if len(jobs) == 1 else "jobs have"
    return f"{len(jobs)} {what} ended without being done: {said}; run the experiment again with --retry"


def listed_words(one: Mapping[str, Any]) -> str:
    """An experiment in a line of `bakehouse experiment list`."""
    if one["problem"] is not None:
        return f"✗ {one['name']}: {one['problem']}"
    if one["jobs"] is None:
        return f"  {one['name']}: not run yet; {one['question'] or listed(one['tasks'])}"
    return f"{MARKS[jobs_stand(one['jobs'])]} {one['name']}: {jobs_words(one['jobs'])}"


def jobs_stand(jobs: Mapping[str, int]) -> Stand:
    """How an experiment with so many jobs in each state stands."""
    if set(jobs) <= {"done"}:
        return "done"
    return "failed" if set(jobs) <= ENDED else "running"


def jobs_words(jobs: Mapping[str, int]) -> str:
    """`7 of 21 jobs done (1 failed, 13 waiting)`."""
    others = [f"{number} {state}" for state, number in jobs.items() if state != "done"]
    done = f"{jobs.get('done', 0)} of {plural(sum(jobs.values()), 'job')} done"
    return f"{done} ({', '.join(others)})" if others else done


def memory_words(plan: ExperimentPlan, arm: Arm) -> str:
    """What a training of an arm is expected to take at most, and whether it fits; empty where nothing of it is missing."""
    specs = [spec for (_, key, _, _), spec in plan.specs.items() if key == arm.key]
    notes = [spec.forecast for spec in specs if spec.forecast is not None]
    if not notes:
        return "memory not predicted" if specs else ""
    largest = max(notes, key=lambda note: note.device_bytes)
    fits = "fits" if largest.fits else "may not fit"
    return f"{fits}: {data_size(largest.device_bytes)} of {data_size(largest.limit_bytes)}"


def plan_lines(plan: ExperimentPlan) -> Iterator[str]:
    """What is asked for: the arms, what is held equal, what is left out."""
    experiment = plan.experiment
    if experiment.question:
        yield experiment.question
    yield asked_words(experiment, len(plan.expansion.arms))
    yield held_words(experiment)
    missing = {arm.key: 0 for arm in plan.expansion.arms}
    for run in plan.missing:
        missing[run.arm.key] += 1
    for number, arm in enumerate(plan.expansion.arms, 1):
        count = missing[arm.key]
        words = [f"{plural(count, 'job')} to queue", memory_words(plan, arm)] if count else []
        yield f"{number:>3}. {arm.name}" + (f": {', '.join(word for word in words if word)}" if words else "")
    again: dict[str, list[str]] = {}
    for task, arm in plan.revived_arms:
        again.setdefault(task, []).append(arm.name)
    for task, names in again.items():
        yield f"  {task}: the race had stopped these, and they go on now: {', '.join(names)}"
    yield from (f"  ✗ left out: {left_out_arm_words(one)}" for one in plan.left_out)
