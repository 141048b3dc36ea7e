"""A home with a bake-off of several tasks and candidates, of invented answers and without any process."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.authoring.scaffold import new_project
from core.bakeoff.measured import MeasuredCandidate, append_measured
from core.config.golden import GoldenInput
from core.config.project import Project, shipped
from core.config.task import Task
from core.files import write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ServerUnderTest, TaskUnderTest, Variant
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from core.scoring.answers import Answer, repeat_numbers
from core.scoring.scorer import score_answers
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity
from core.store.database import transaction
from core.store.results import import_answers
from tests.support.check_scores import insert_check_scores
from tests.support.invented_answers import answer as invented_answer
from tests.support.job_files import put_job
from tests.support.stored import fresh, step_to

TASKS = ("judge", "planner", "tidy")
BASE, TUNED, OTHER, EXAMPLES, OLD, SERVED = (
    "SmolLM2 base",
    "SmolLM2 judge, rank 8",
    "SmolLM2 judge, rank 16",
    "SmolLM2 base@few_shot=2",
    "Qwen3 base",
    "ollama:qwen3:8b",
)
QUALITY: Mapping[str, Mapping[str, float]] = {
    BASE: {"judge": 0.3, "planner": 0.5, "tidy": 0.5},
    TUNED: {"judge": 0.95, "planner": 0.2, "tidy": 0.5},
    OTHER: {"judge": 0.95, "planner": 0.3, "tidy": 0.45},
    EXAMPLES: {"judge": 0.6, "planner": 0.55, "tidy": 0.5},
    OLD: {"judge": 0.7, "planner": 0.85, "tidy": 0.75},
    SERVED: {"judge": 0.8, "planner": 0.9, "tidy": 0.8},
}
"""The chance that a candidate gets a line of an answer right, by task."""
INPUTS = ("empty", *(f"note-{number}" for number in range(1, 12)))
REPEATS = 3
LINES = ("TITLE", "VERDICT", "REASON", "SUMMARY", "NEXT")


def task_named(name: str) -> Task:
    checks = [{"check": "regex", "id": line.lower(), "pattern": f"(?m)^{line}: .+$"} for line in LINES]
    content = [{"check": "contains_any", "id": "right", "values": [f"right {name}"]}]
    return Task.model_validate(
        {
            "name": name,
            "repeats": REPEATS,
            "system": f"You {name} notes.",
            "sampling": {"temperature": 0.2},
            "format": checks,
            "content": content,
        }
    )


def golden(name: str, inputs: Sequence[str] = INPUTS, confirming: Collection[str] = ()) -> list[GoldenInput]:
    return [
        GoldenInput(
            id=one,
            input="" if one == "empty" else f"The {name} input {one}:\nwater boils at 100 degrees.",
            use="confirm" if one in confirming else None,
        )
        for one in inputs
    ]


def written(candidate: str, task: str, input_id: str, number: int, quality: float) -> str:
    """An answer by chance, but the same each time; the old model says nothing to nothing."""
    if input_id == "empty" and candidate == OLD:
        return ""
    chance = random.Random(f"{candidate} {task} {input_id} {number}")
    lines = [] if chance.random() < quality else ["Sure! Here is what you asked for:"]
    lines += [f"{line}: {chance.choice(('brief', 'plain', 'in turn'))}" for line in LINES if chance.random() < quality]
    if chance.random() < quality:
        lines.append(f"right {task}")
    return "\n".join(lines) or "I can't help with that."


def answers(
    tasks: Sequence[str], quality: Mapping[str, Mapping[str, float]], inputs: Sequence[str], repeats: int
) -> Iterator[Answer]:
    for candidate in quality:
        for task in tasks:
            for input_id in inputs:
                for number, repeat in enumerate(repeat_numbers(repeats)):
                    text = written(candidate, task, input_id, number, quality[candidate][task])
                    yield answer(candidate, task, input_id, repeat, text)


def answer(candidate: str, task: str, input_id: str, repeat: int, text: str) -> Answer:
    usual = {"completion_tokens": 30 + 10 * repeat, "seconds": 1.2}
    if candidate != SERVED:
        return invented_answer(candidate, task, input_id, repeat, text, **usual)
    served = {**usual, "seconds": 3.0, "batch_size": 1}
    if (task, input_id, repeat) == ("tidy", "note-3", 2):
        missing = {"fault": "server", "problem": "timeout", "tries": 4, "characters": len(text)}
        return invented_answer(candidate, task, input_id, repeat, "", **{**served, **missing})
    more = {"first_token_seconds": 0.4, "thinking_tokens": 12, "shared": task == "tidy", "tries": 1 + (repeat == 3)}
    return invented_answer(candidate, task, input_id, repeat, text, **{**served, **more})


def candidates(home: Home, trainings: Sequence[int]) -> list[CandidateSpec]:
    project = shipped()
    small, other = project.model("SmolLM2-135M"), project.model("Qwen3-4B")
    server = ServerUnderTest(name="ollama", api="ollama", url="http://127.0.0.1:11434")
    first, second = trainings
    return [
        CandidateSpec(name=BASE, form="base", model=small),
        CandidateSpec(name=TUNED, form="adapter", model=small, ref=f"job:{first}/adapter"),
        CandidateSpec(name=OTHER, form="adapter", model=small, ref=f"job:{second}/adapter"),
        CandidateSpec(name=EXAMPLES, form="base", model=small, variant=Variant(written="few_shot=2", few_shot=2)),
        CandidateSpec(name=OLD, form="base", model=other),
        CandidateSpec(name=SERVED, form="served", server=server, served_model="qwen3:8b"),
    ]


def home_with_tasks(folder: Path, confirming: Collection[str] = ()) -> tuple[Home, int]:
    """The home, and the bake-off of three tasks and six candidates; jobs 1 and 2 trained two of them. `confirming`: inputs of
    each task that are kept to confirm by."""
    home, connection = fresh(folder)
    project = folder / "project"
    new_project(project)
    trainings = [trained(home, connection, project, rank) for rank in (8, 16)]
    made = candidates(home, trainings)
    job_id = bakeoff(home, connection, project, made, TASKS, QUALITY, INPUTS, REPEATS, confirming)
    for load, resident in ((6.5, False), (0.1, True)):
        identity = ServedIdentity("ollama", "qwen3:8b", "ollama", "0.30.8", "sha256:1")
        loaded = LoadedModel(load, resident, 5_900_000_000)
        append_measured(
            home.run_dir(job_id).candidates, MeasuredCandidate(SERVED, 1, 0.0, identity, loaded, Capabilities())
        )
    connection.close()
    return home, job_id


def bakeoff(
    home: Home,
    connection: sqlite3.Connection,
    project: Path,
    made: Sequence[CandidateSpec],
    tasks: Sequence[str],
    quality: Mapping[str, Mapping[str, float]],
    inputs: Sequence[str],
    repeats: int,
    confirming: Collection[str] = (),
) -> int:
    """A finished bake-off with its answers and scores."""
    under_test = []
    for name in tasks:
        file = home.root / f"{name}.golden.json"
        write_json(file, [item.model_dump(mode="json") for item in golden(name, inputs, confirming)])
        under_test.append(
            TaskUnderTest(
                task=task_named(name),
                golden=InputFile(path=str(file), sha256="0" * 64, source=file.name),
                repeats=repeats,
            )
        )
    spec = BakeoffSpec(tasks=under_test, candidates=list(made), incumbent=made[0].name)
    job_id = stored(home, connection, project, spec)
    run = home.run_dir(job_id)
    every = list(answers(tasks, quality, inputs, repeats))
    run.answers.write_text("".join(json.dumps(one.to_json()) + "\n" for one in every))
    with transaction(connection):
        import_answers(connection, job_id, run)
        for name in tasks:
            own = [one for one in every if one.task == name]
            scores = score_answers(task_named(name), golden(name, inputs), own)
            insert_check_scores(connection, job_id, (score.to_json() for score in scores))
    step_to(connection, job_id, "done")
    return job_id


def trained(home: Home, connection: sqlite3.Connection, project: Path, rank: int) -> int:
    from_shipped = shipped()
    recipe = from_shipped.recipe("demo").model_copy(update={"rank": rank})
    file = InputFile(path="/nowhere.jsonl", sha256="0" * 64, source="judge.train.jsonl")
    spec = TrainSpec(task=task_named("judge"), model=from_shipped.model("SmolLM2-135M"), recipe=recipe, train=file)
    job_id = stored(home, connection, project, spec)
    step_to(connection, job_id, "done")
    return job_id


def stored(home: Home, connection: sqlite3.Connection, project: Path, spec: Any) -> int:
    """A job of the home with its job file."""
    return put_job(home, connection, Project.find(project), spec, on_restart="hold")[0]
