"""A home with a tournament of two sizes in two precisions, of invented answers and figures and without any process.

The smaller model, the worst before training, is the best after it in bf16: as in the published comparison.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.authoring.scaffold import new_project
from core.config.experiment import Experiment
from core.config.project import Project
from core.experiments.arms import Arm, ArmRun, expand, final_recipe
from core.files import write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, TaskUnderTest
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from core.scoring.scorer import score_answers
from core.store.database import transaction
from core.store.experiments import (
    BakeoffBlock,
    StoredArm,
    StoredRun,
    put_arms,
    put_bakeoff,
    put_experiment,
    put_run,
)
from core.store.results import import_answers
from tests.support.check_scores import insert_check_scores
from tests.support.stored import fresh, step_to
from tests.support.stored_tasks import INPUTS, answers, golden, stored, task_named

NAME = "tournament-judge"
TASK = "judge"
SMALL, LARGE = "Qwen3-4B", "Qwen3-8B"
UNTRAINED = {SMALL: 0.15, LARGE: 0.5}
TUNED = {f"{SMALL} bf16": 0.95, f"{SMALL} 4-bit": 0.7, f"{LARGE} 4-bit": 0.72}
"""The chance that a line of an answer is right, by model and by arm."""
PEAKS = {f"{SMALL} bf16": 10_060_000_000, f"{SMALL} 4-bit": 4_890_000_000, f"{LARGE} 4-bit": 9_310_000_000}
STEP_SECONDS = {f"{SMALL} bf16": 21.0, f"{SMALL} 4-bit": 26.0, f"{LARGE} 4-bit": 44.0}
STEPS = 40


def written_experiment(seeds: int = 3) -> Experiment:
    """What is asked for."""
    return Experiment.model_validate(
        {
            "name": NAME,
            "question": "Which model deserves to be trained for judge?",
            "tasks": [TASK],
            "recipe": "lora-bf16",
            "arms": [
                {"model": SMALL, "weights": "bf16"},
                {"model": SMALL, "weights": "4-bit"},
                {"model": LARGE, "weights": "4-bit"},
            ],
            "hold": {"steps": STEPS},
            "seeds": seeds,
            "repeats": 2,
        }
    )


def home_with_experiment(
    folder: Path, *, seeds: int = 3, blocks: int = 3, failed: Sequence[tuple[str, int]] = ()
) -> tuple[Home, Project]:
    """The home and its project. `blocks` seeds are trained and baked off, of the rest the first training runs; `failed` are
    (arm, seed) that made nothing."""
    home, connection = fresh(folder)
    new_project(folder / "project")
    project = Project.find(folder / "project")
    experiment = written_experiment(seeds)
    expansion = expand(experiment, project)
    with transaction(connection):
        known = put_experiment(
            connection,
            name=NAME,
            project_id=project.id,
            kind="tournament",
            definition={"experiment": experiment.model_dump(mode="json"), "data": {}, "about": {}},
            author="tester",
        )
        put_arms(connection, known, [_stored(arm, place) for place, arm in enumerate(expansion.arms, 1)])
    measured: list[tuple[Arm, int, int]] = []
    for block, seed in enumerate(experiment.seed_list, 1):
        for run in (one for one in expansion.runs if one.seed == seed):
            job_id = stored(home, connection, project.root, _spec(project, run))
            with transaction(connection):
                put_run(connection, known, StoredRun(TASK, run.arm.key, "final", seed, None, job_id))
            if block > blocks:
                if run is expansion.runs[blocks * len(expansion.arms)]:
                    step_to(connection, job_id, "running")
            elif (run.arm.name, seed) in failed:
                step_to(connection, job_id, "failed")
            else:
                _train(connection, job_id, run)
                measured.append((run.arm, seed, job_id))
        job_id = _bakeoff(home, connection, project, measured, answered=block <= blocks)
        with transaction(connection):
            put_bakeoff(connection, known, BakeoffBlock(TASK, block, job_id))
    connection.close()
    return home, project


def _stored(arm: Arm, place: int) -> StoredArm:
    definition = {"model": arm.model, "weights": arm.weights, "values": dict(arm.values)}
    definition |= {"recipe": arm.recipe.model_dump(mode="json"), "learning_rates": []}
    return StoredArm(arm.key, arm.name, place, definition)


def _spec(project: Project, run: ArmRun) -> TrainSpec:
    return TrainSpec(
        task=task_named(TASK),
        model=project.model(run.arm.model),
        recipe=final_recipe(run.arm, run.seed),
        train=InputFile(path="/nowhere.jsonl", sha256="0" * 64, source="judge.train.jsonl"),
    )


def _train(connection: sqlite3.Connection, job_id: int, run: ArmRun) -> None:
    """Bring a training to its end, with what it took."""
    arm = run.arm.name
    summary = {
        "task": TASK,
        "steps": STEPS,
        "recipe_used": final_recipe(run.arm, run.seed).model_dump(mode="json"),
        "seconds_per_step": STEP_SECONDS[arm],
        "seconds": STEPS * STEP_SECONDS[arm],
        "peak_memory_bytes": PEAKS[arm],
        "trainable_parameters": 66_060_288 if arm.startswith(SMALL) else 87_293_952,
    }
    step_to(connection, job_id, "done")
    spent = {"energy_joules": STEPS * STEP_SECONDS[arm] * 210.0, "seconds": STEPS * STEP_SECONDS[arm]}
    with transaction(connection):
        connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [json.dumps({"summary": summary}), job_id])
        connection.execute(
            """
            INSERT INTO attempts (job_id, number, outcome, boot_id, created_at, ended_at, exit_code, telemetry)
            VALUES (?, 1, 'done', 'boot', 1000, ?, 0, ?)
            """,
            [job_id, 1000 + summary["seconds"], json.dumps(spent)],
        )


def _bakeoff(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    measured: Sequence[tuple[Arm, int, int]],
    *,
    answered: bool,
) -> int:
    """The bake-off over the untrained models and all that is trained so far."""
    made = [CandidateSpec(name=f"{name} base", form="base", model=project.model(name)) for name in UNTRAINED]
    quality: dict[str, Mapping[str, float]] = {f"{name} base": {TASK: chance} for name, chance in UNTRAINED.items()}
    for arm, seed, job_id in measured:
        name = f"{arm.name} s{seed}"
        model = project.model(arm.model)
        made.append(CandidateSpec(name=name, form="adapter", model=model, ref=f"job:{job_id}/adapter"))
        quality[name] = {TASK: TUNED[arm.name] + (-0.02, 0.02, 0.0)[seed % 3]}
    file = home.root / f"{TASK}.golden.json"
    write_json(file, [item.model_dump(mode="json") for item in golden(TASK)])
    copy = InputFile(path=str(file), sha256="0" * 64, source=file.name)
    under_test = TaskUnderTest(task=task_named(TASK), golden=copy, repeats=2)
    spec = BakeoffSpec(tasks=[under_test], candidates=made, incumbent=made[0].name, lacking_left_out=True)
    job_id = stored(home, connection, project.root, spec)
    if not answered:
        return job_id
    run = home.run_dir(job_id)
    every: list[Any] = list(answers((TASK,), quality, INPUTS, 2))
    run.answers.write_text("".join(json.dumps(one.to_json()) + "\n" for one in every))
    with transaction(connection):
        import_answers(connection, job_id, run)
        scores = score_answers(task_named(TASK), golden(TASK), every)
        insert_check_scores(connection, job_id, (score.to_json() for score in scores))
    step_to(connection, job_id, "done")
    return job_id
