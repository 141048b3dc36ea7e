"""An experiment of 200 arms: what its expansion, its cost, its resumption and its queueing take. A few seconds.

200 arms (four models, in 16 and in 4 bits, at 25 ranks), three seeds: 600 trainings and three bake-offs. What is to take less
than a second is held to it. Queueing writes 603 job files, each on the disk before the database knows its job; a race by trials
of three learning rates writes 1,204.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from core.config.project import Project, load_project
from core.experiment_submission.cost import ExperimentCost, experiment_cost
from core.experiment_submission.hours import within_hours
from core.experiment_submission.plan import plan_experiment
from core.experiment_submission.queueing import QueuedExperiment, submit_experiment
from core.experiments.arms import expand
from core.home import Home
from core.store.database import open_database
from core.store.experiments import find_experiment, runs_of
from core.submission.measured_trainings import NEWEST
from core.vram.budget import Budget
from tests.bench.command_line import parser
from tests.support.stored import add_job, step_to

Made = TypeVar("Made")
ARMS, SEEDS = 200, 3
LIMIT_SECONDS = 1.0
EXPERIMENT = {
    "tasks": ["judge"],
    "recipe": "lora-bf16",
    "vary": {
        "model": ["Qwen3-1.7B", "Qwen3-4B", "Qwen3-8B", "Qwen3-14B"],
        "weights": ["bf16", "4-bit"],
        "rank": list(range(2, 52, 2)),
    },
    "hold": {"steps": 40, "out_of_memory": "fail"},
    "seeds": SEEDS,
}
RATES = [1e-4, 2e-4, 4e-4]
RACED = {**EXPERIMENT, "learning_rates": RATES, "race": {"keep": 4}}


def timed(what: str, act: Callable[[], Made], limit: float | None = None) -> tuple[Made, bool]:
    """What came of an act; whether it kept to its limit is printed and returned."""
    began = time.perf_counter()
    made = act()
    seconds = time.perf_counter() - began
    kept = limit is None or seconds <= limit
    held = "" if limit is None else f"   limit {limit:.1f} s" + ("" if kept else "   EXCEEDED")
    print(f"{what:<64}{seconds:>8.2f} s{held}")
    return made, kept


def main(arguments: Sequence[str] = ()) -> None:
    parser("experiment", __doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bakehouse-bench-") as folder, large_machine():
        root = Path(folder)
        (root / "lab/configs/experiments").mkdir(parents=True)
        (root / "lab/bakehouse.yaml").write_text("id: lab\n")
        (root / "lab/configs/experiments/wide.yaml").write_text(json.dumps(EXPERIMENT))
        (root / "lab/configs/experiments/raced.yaml").write_text(json.dumps(RACED))
        home, project = Home(root / "home").create(), load_project(root / "lab")
        open_database(home).close()
        experiment = project.experiment("wide")
        expansion, first = timed("expansion of the file", lambda: expand(experiment, project), LIMIT_SECONDS)
        plan, second = timed(
            "every arm looked up: data, files, memory",
            lambda: plan_experiment(home, project, experiment),
            LIMIT_SECONDS,
        )

        remember_trainings(home, project)

        def priced() -> ExperimentCost:
            with closing(open_database(home)) as connection:
                return experiment_cost(home, connection, project, plan)

        cost, fourth = timed("what it takes, by what was measured here", priced, LIMIT_SECONDS)
        known = ExperimentCost(
            tuple(replace(one, seconds=600.0) for one in cost.runs),
            tuple(replace(one, seconds=3600.0) for one in cost.bakeoffs),
        )
        assert not cost.unknown and cost.is_scaled
        part, fifth = timed("what of it can be done in 8 hours", lambda: within_hours(plan, known, 8.0), LIMIT_SECONDS)
        assert part.arms_left_out and part.seconds <= 8 * 3600
        queued, _ = timed("queueing it", lambda: submit_experiment(home, project, plan, author="bench"))

        def again() -> int:
            found = plan_experiment(home, project, experiment)
            return len(submit_experiment(home, project, found, author="bench").runs)

        missing, third = timed("asked for again: nothing is missing", again, LIMIT_SECONDS)
        with closing(open_database(home)) as connection:
            found = find_experiment(connection, project.id, "wide")
            stored = [] if found is None else runs_of(connection, found.id)
        race_all(home, project)
    print(
        f"{len(expansion.arms)} arms, {len(queued.runs)} runs, {len(queued.bakeoffs)} bake-offs, {len(plan.left_out)} left out"
    )
    assert (len(expansion.arms), len(queued.runs), len(stored), missing) == (ARMS, ARMS * SEEDS, ARMS * SEEDS, 0)
    assert first and second and third and fourth and fifth, f"more than {LIMIT_SECONDS} s"


def race_all(home: Home, project: Project) -> None:
    """The same arms in a race: what is queued of it, and what it takes to ask for it again with a larger `keep`."""
    plan = plan_experiment(home, project, project.experiment("raced"))
    what = f"queueing a race of them, {len(RATES)} learning rates tried"
    queued, _ = timed(what, lambda: submit_experiment(home, project, plan, author="bench"))
    file = project.root / "configs/experiments/raced.yaml"
    file.write_text(json.dumps({**RACED, "race": {"keep": 8}}))

    def larger() -> QueuedExperiment:
        found = plan_experiment(home, project, project.experiment("raced"))
        return submit_experiment(home, project, found, author="bench")

    again, _ = timed("asked for again with a larger keep, before it is decided", larger)
    with closing(open_database(home)) as connection:
        rows = connection.execute("SELECT count(*) FROM dependencies").fetchone()[0]
    print(
        f"{len(queued.runs)} runs, {len(queued.races)} race, {len(queued.bakeoffs)} bake-offs, {rows} dependencies in all"
    )
    assert len(queued.runs) == ARMS * (SEEDS + len(RATES)) and len(queued.races) == 1
    assert again.runs == () and again.races == () and again.remarks


def remember_trainings(home: Home, project: Project) -> None:
    """As many trainings as are looked at for the cost, done in this home: one model, each at another rank."""
    used = project.recipe("lora-bf16").model_dump(mode="json")
    with closing(open_database(home)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for number in range(NEWEST):
            summary = {
                "recipe_used": {**used, "rank": number + 1},
                "steps": 40,
                "seconds": 620.0,
                "seconds_per_step": 15.0,
                "device": {"type": "cuda", "name": "x"},
            }
            job_id = add_job(connection, model="Qwen3-1.7B")
            step_to(connection, job_id, "done")
            connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [json.dumps({"summary": summary}), job_id])


@contextmanager
def large_machine() -> Iterator[None]:
    """A machine with a large GPU that is not there: every arm fits, and no runner is started."""
    budget = Budget(total_bytes=192 * 10**9, baseline_bytes=0, name="192 GB", kind="gpu")
    with ExitStack() as patches:
        for target, instead in {
            "core.submission.enqueue.ensure_runner": lambda home: None,
            "core.submission.enqueue.check_host_memory": lambda wanted: None,
            "core.experiment_submission.plan.check_host_memory": lambda wanted: None,
            "core.submission.memory_check.this_machine": lambda home: budget,
        }.items():
            patches.enter_context(patch(target, instead))
        yield


if __name__ == "__main__":
    main(sys.argv[1:])
