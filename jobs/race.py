"""The job `race`: the arms of an experiment in the order of their trials. Trainings decide by it whether they are done."""

from __future__ import annotations

from dataclasses import asdict

from core.experiments.choice import places, race_off
from core.files import read_json, write_json
from core.format import learning_rate, plural
from core.jobfile.race import RaceSpec, record_of, rule_of
from jobs.choice import held_out_of, recorded
from jobs.context import JobContext


def run(context: JobContext, spec: RaceSpec) -> None:
    """Put what the trials reached on record, made once, then kept: a retry, and every training, goes by the same figures."""
    context.phase("reading the trials", plural(len(spec.trials), "trial"))
    if not record_of(context.run).exists():
        found = []
        for trial in spec.trials:
            held_out = held_out_of(context.home.run_dir(trial.job))
            found.append({**trial.model_dump(), "held_out": None if held_out is None else asdict(held_out)})
        write_json(record_of(context.run), {"trials": found})
    trials, seen = recorded(context.run)
    placed, off = places(trials, seen), race_off(seen.values())
    rule = read_json(rule_of(context.run))
    keep = spec.keep if rule is None else rule["keep"]
    for place in placed:
        context.say(
            f"place {place.rank}: {spec.arms.get(place.arm, place.arm)}, {place.bits_per_byte:.4f} bits per byte at "
            f"lr {learning_rate(place.lr)}"
        )
    have = {place.arm for place in placed}
    for key in dict.fromkeys(trial.arm for trial in trials):
        if key not in have:
            context.say(f"no place: {spec.arms.get(key, key)}, none of its trials has a held-out loss")
    if off is not None:
        context.warn(off, "no arm is left out: the trials were measured on different held-out examples")
    goes_on = [place for place in placed if off is not None or keep is None or place.rank <= keep]
    context.finish(
        f"{len(goes_on)} of {plural(len(have), 'arm')} go on",
        summary={
            "task": spec.task,
            "experiment": spec.experiment,
            "keep": keep,
            "race_off": off,
            "places": [asdict(place) for place in placed],
        },
    )
