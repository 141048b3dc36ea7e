"""What a training of an experiment chooses before anything is loaded, by the results of its trials; made once, then kept."""

from __future__ import annotations

from core.errors import GateError
from core.experiments.choice import Censored, Chosen, HeldOut, choose, from_json, to_json
from core.files import read_json, write_json
from core.format import learning_rate, plural
from core.home import Home, RunDir
from core.jobfile.race import record_of, rule_of
from core.jobfile.train import TrainSpec, TrialChoice, TrialRef
from jobs.context import JobContext


def decide(context: JobContext, choice: TrialChoice) -> Chosen | Censored:
    """The choice of this job: the one that it made before, else that of a sibling, else from its trials as they are now.

    It is on the disk when this returns, so a retry chooses the same, whatever has become of a trial meanwhile. Raises
    `GateError` where no trial of its arm can be chosen; then nothing is kept.
    """
    context.phase("choosing by trials", plural(len(choice.trials), "trial"))
    found = kept(context.run)
    for sibling in choice.siblings if found is None else ():
        found = _of_sibling(context, choice, sibling)
        if found is not None:
            context.say(f"as job {sibling} of the same arm chose")
            break
    if found is None:
        found = choose(*_by_now(context.home, choice))
    write_json(context.run.choice, to_json(found))
    _tell(context, found)
    return found


def _of_sibling(context: JobContext, choice: TrialChoice, sibling: int) -> Chosen | Censored | None:
    """The choice of a sibling that stands for this job. One that was stopped by a race was by the rule of that time: what is on
    the record of the race is the same for both, and the rule is the one of now."""
    found = kept(context.home.run_dir(sibling))
    return None if choice.race is not None and isinstance(found, Censored) else found


def _by_now(home: Home, choice: TrialChoice) -> tuple[TrialChoice, dict[int, HeldOut | None]]:
    """The choice with every trial that it is made by, and what these reached.

    In a race that is what the race has on record, and its rule is the one that the experiment has now. An arm that had no
    figure then is held against those by what its own trials have reached since.
    """
    seen: dict[int, HeldOut | None] = {}
    if choice.race is not None:
        run = home.run_dir(choice.race)
        trials, seen = recorded(run)
        known = {trial.job for trial in trials}
        more = [trial for trial in choice.trials if trial.job not in known]
        rule = read_json(rule_of(run))
        keep = choice.keep if rule is None else rule["keep"]
        choice = choice.model_copy(update={"trials": [*trials, *more], "keep": keep})
    if all(seen.get(trial.job) is None for trial in choice.trials if trial.arm == choice.arm):
        mine = choice.trials if choice.race is None else [one for one in choice.trials if one.arm == choice.arm]
        seen |= {trial.job: held_out_of(home.run_dir(trial.job)) for trial in mine}
    return choice, seen


def recorded(run: RunDir) -> tuple[list[TrialRef], dict[int, HeldOut | None]]:
    """The trials of a race that was decided, and what each had reached. Raises `GateError` where it was not."""
    document = read_json(record_of(run))
    if document is None:
        raise GateError(
            f"job {run.path.name} has not put the arms in order",
            code="no_race",
            remedy=f"retry job {run.path.name}, then this one",
        )
    trials = [TrialRef(arm=one["arm"], job=one["job"], lr=one["lr"]) for one in document["trials"]]
    return trials, {one["job"]: one["held_out"] and HeldOut(**one["held_out"]) for one in document["trials"]}


def kept(run: RunDir) -> Chosen | Censored | None:
    """The choice that a job has made; None where it has made none."""
    document = read_json(run.choice)
    return None if document is None else from_json(document)


def held_out_of(run: RunDir) -> HeldOut | None:
    """What a trial reached; None of one that made no result, and of one whose result has no such figure."""
    result = read_json(run.result)
    return None if result is None else HeldOut.of(result["summary"])


def leave_out(context: JobContext, spec: TrainSpec, censored: Censored) -> None:
    """End without an adapter: the arm lost its race."""
    context.finish(
        f"left out by its trials: place {censored.rank} of {censored.of}, and {censored.keep} go on",
        summary={
            "task": spec.task.name,
            "model": spec.model.name,
            "recipe": spec.recipe.name,
            "censored": to_json(censored),
        },
    )


def _tell(context: JobContext, found: Chosen | Censored) -> None:
    for trial in found.trials:
        reached = (
            "no held-out loss"
            if trial.loss is None or trial.bits_per_byte is None
            else f"held-out loss {trial.loss:.4f}, {trial.bits_per_byte:.4f} bits per byte"
        )
        context.say(f"trial of job {trial.job}, lr {learning_rate(trial.lr)}: {reached}")
    if isinstance(found, Censored):
        return
    if found.race_off is not None:
        context.warn(found.race_off, "no arm is left out: the trials were measured on different held-out examples")
    elif found.rank is not None:
        context.say(f"place {found.rank} of {found.of} by held-out bits per byte, and {found.keep} go on")
    context.say(f"chosen: lr {learning_rate(found.lr)}")
