"""Results at scale: 100,000 stored answers of 1 kB, imported, rescored, and shown as a board and as a matrix. Takes 3 minutes.

Two bake-offs of invented answers in a scratch home: one task × 20 candidates × 1,000 inputs × 5 repeats, and 8 tasks × 20
candidates × 125 inputs × 5 repeats; four checks a task, one answer in seven with a fault. Every figure is of a process of its
own: what one user waits for, without what this benchmark has in memory. `--answers` makes them smaller.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.authoring.scaffold import new_project
from core.config.golden import GoldenInput
from core.config.project import Project
from core.files import write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec
from core.scoring.answers import Answer
from core.store.database import open_database, transaction
from core.store.results import import_answers
from tests.bench.command_line import parser
from tests.support.invented_answers import answer
from tests.support.job_files import job_file
from tests.support.stored import add_job, path_to, step

ANSWERS = 100_000
CANDIDATES = 20
REPEATS = 5
SHAPES = {"board": 1, "matrix": 8}
WORDS = (
    "the offer",
    "a price",
    "in good order",
    "as described",
    "collected by hand",
    "near the station",
    "with its cover",
)
CHECKS: dict[str, list[dict[str, Any]]] = {
    "format": [
        {"check": "heading", "level": 2, "pattern": "Verdict"},
        {"check": "regex", "id": "line", "pattern": "^PRICE: (?P<price>[0-9]+)$", "count": 1, "multiline": True},
        {"check": "not_contains", "values": ["As an AI", "I cannot"]},
    ],
    "content": [{"check": "captured_equals", "name": "price"}],
}
BOARD = """
import sys, time
from core.home import Home
from core.store.database import open_database
home = Home.find()
connection = open_database(home)
import numpy, scipy.stats
from core.results.load import load_bakeoff
from core.results.trainings import bakeoff_matrix
began = time.perf_counter()
stored = load_bakeoff(home, connection, int(sys.argv[1]))
boards = stored.leaderboards()
matrix = bakeoff_matrix(home, stored, boards)
print(time.perf_counter() - began, sum(row.answers for board in boards.values() for row in board.rows))
"""


def text_of(chance: random.Random, price: int) -> str:
    """An answer of about 1 kB; one in seven says something wrong."""
    wrong = chance.random()
    head = "# Verdict" if wrong < 0.05 else "## Verdict"
    said = price + 1 if 0.05 <= wrong < 0.1 else price
    line = "" if 0.1 <= wrong < 0.14 else f"PRICE: {said}"
    body = " ".join(chance.choice(WORDS) for _ in range(64))
    return f"{head}\n\n{body}\n\n{line}\n"


def answers_of(task: str, candidates: int, inputs: int, chance: random.Random) -> Iterator[Answer]:
    for number in range(candidates):
        for place in range(inputs):
            for repeat in range(1, REPEATS + 1):
                yield answer(
                    f"model-{number:02}",
                    task,
                    f"input-{place:04}",
                    repeat,
                    text_of(chance, place),
                    key=f"{chance.getrandbits(256):064x}",
                    prompt_tokens=400,
                    completion_tokens=250 + number,
                    seconds=1.0 + chance.random(),
                    batch_size=8,
                    tokens_per_second=120.0,
                    prompt_sha256=f"{chance.getrandbits(256):064x}",
                    first_token_seconds=chance.random(),
                    identity="0" * 64,
                )


def make(folder: Path, home: Home, project: Path, tasks: Sequence[str], answers: int) -> int:
    """A finished bake-off without scores over these tasks, its answers in its run directory; its number."""
    inputs = answers // (len(tasks) * CANDIDATES * REPEATS)
    under_test = []
    for name in tasks:
        document = {"name": name, "repeats": REPEATS, "golden": f"golden/{name}.json", **CHECKS}
        (project / f"configs/tasks/{name}.yaml").write_text(json.dumps(document))
        golden = [
            GoldenInput(id=f"input-{place:04}", input=f"offer {place}", expect={"price": str(place)})
            for place in range(inputs)
        ]
        copy = folder / f"{name}.golden.json"
        write_json(copy, [item.model_dump(mode="json") for item in golden])
        file = {"path": str(copy), "sha256": "0" * 64, "source": str(copy)}
        under_test.append({"task": document, "golden": file, "repeats": REPEATS})
    server = {"name": "box", "api": "ollama", "url": "http://127.0.0.1:9"}
    candidates = [
        {"name": f"model-{n:02}", "form": "served", "server": server, "served_model": f"m{n}"}
        for n in range(CANDIDATES)
    ]
    spec = BakeoffSpec.model_validate(
        {"kind": "bakeoff", "tasks": under_test, "candidates": candidates, "incumbent": "model-00"}
    )
    connection = open_database(home)
    job_id = add_job(connection, kind="bakeoff")
    run = home.run_dir(job_id)
    run.path.mkdir(parents=True)
    place = {"project_id": Project.find(project).id, "project_root": str(project)}
    job_file(home, spec, job_id, **place).save(run)
    chance = random.Random(job_id)
    with run.answers.open("w") as file:
        for name in tasks:
            for answer in answers_of(name, CANDIDATES, inputs, chance):
                file.write(json.dumps(answer.to_json(), ensure_ascii=False) + "\n")
    for state in path_to(connection, "done"):
        step(connection, job_id, state)
    began = time.perf_counter()
    with transaction(connection):
        import_answers(connection, job_id, run)
    print(f"{len(tasks)} tasks: {answers:,} answers imported in {time.perf_counter() - began:.1f} s", flush=True)
    connection.close()
    return job_id


def as_migrated(home: Home, job_id: int) -> None:
    """Scores as the migration of an older schema leaves them: without what was not kept then."""
    with contextlib.closing(open_database(home)) as connection, transaction(connection):
        connection.execute(
            "UPDATE scores SET fault = NULL, compared = NULL, thinks_aloud = 0 WHERE job_id = ?", [job_id]
        )


def bakehouse() -> str:
    """The command of the environment that this runs in."""
    return str(Path(sys.executable).with_name("bakehouse"))


def measured(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float, str]:
    """(seconds, CPU seconds of it and its children, what it said)."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, spent, said


def main(arguments: Sequence[str] = ()) -> None:
    made = parser("results", __doc__)
    made.add_argument(
        "--answers", type=int, default=ANSWERS, help=f"of each of the two bake-offs (default {ANSWERS:,})"
    )
    made.add_argument("--rounds", type=int, default=3, help="boards and matrices that are made (default 3)")
    options = made.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bakehouse-bench-") as name:
        folder = Path(name)
        environment = {**os.environ, "BAKEHOUSE_HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder / "config")}
        os.environ.update(environment)
        home, project = Home(folder / "home").create(), folder / "project"
        new_project(project)
        for shape, tasks in SHAPES.items():
            names = [f"{shape}-{number}" for number in range(tasks)]
            job_id = make(folder, home, project, names, options.answers)
            command = [bakehouse(), "results", str(job_id), "--rescore"]
            seconds, spent, _ = measured(command, environment)
            print(f"{shape}: `bakehouse results {job_id} --rescore`: {seconds:.1f} s ({spent:.1f} s of CPU time)")
            for _ in range(options.rounds):
                _, spent, said = measured([sys.executable, "-c", BOARD, str(job_id)], environment)
                took, answers = said.split()
                print(f"{shape}: {float(took):.2f} s over {int(answers):,} answers ({spent:.1f} s of CPU time in all)")
            command = [bakehouse(), "results", str(job_id)]
            seconds, spent, _ = measured(command, environment)
            print(f"{shape}: `bakehouse results {job_id}`: {seconds:.2f} s", flush=True)
            as_migrated(home, job_id)
            for which in ("the first time", "then"):
                _, spent, said = measured([sys.executable, "-c", BOARD, str(job_id)], environment)
                print(f"{shape} of an older schema, {which}: {float(said.split()[0]):.2f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
