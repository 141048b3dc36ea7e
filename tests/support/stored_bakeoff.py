"""A home with two bake-offs of invented answers, without any process: job 1 is scored, job 2 has no answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.authoring.scaffold import new_project
from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.files import write_json
from core.home import Home
from core.jobfile.spec import JobFile
from core.scoring.answers import Answer
from core.scoring.scorer import score_answers
from core.store.database import transaction
from core.store.results import import_answers
from tests.support.check_scores import insert_check_scores
from tests.support.invented_answers import answer
from tests.support.stored import add_job, fresh, path_to, step

TASK = {
    "name": "judge",
    "repeats": 1,
    "format": [{"check": "regex", "id": "line", "pattern": "^PRICE: (?P<price>.+)$", "count": 1}],
    "content": [{"check": "captured_equals", "name": "price"}],
}
GOLDEN = [
    GoldenInput(id="sofa", input="A grey sofa, 110\nand a cat", expect={"price": "110"}),
    GoldenInput(id="tent", input="A tent for 65", expect={"price": "65"}),
]
ANSWERS = {
    ("base", "sofa"): "no idea",
    ("base", "tent"): "",
    ("tuned", "sofa"): "PRICE: 11",
    ("tuned", "tent"): "PRICE: 65",
}


def stored_answers() -> Iterator[Answer]:
    for (candidate, input_id), text in ANSWERS.items():
        key = f"{candidate}/{input_id}"
        usual = {"prompt_tokens": 9, "completion_tokens": 4, "seconds": 1.0, "batch_size": 1, "tokens_per_second": 4.0}
        yield answer(candidate, "judge", input_id, 1, text, key=key, **usual)


def store(home: Home, job_id: int, project: Path, golden: Path) -> None:
    model = {"name": "m", "hub": "a/b"}
    document = {
        "id": job_id,
        "title": "a bake-off",
        "project_id": Project.find(project).id,
        "project_root": str(project),
        "home": str(home.root),
        "artefacts": str(home.root / "artefacts"),
        "python": "python",
        "author": "tester",
        "submitted_at": 0.0,
        "lane": "gpu",
        "host_memory_bytes": 0,
        "spec": {
            "kind": "bakeoff",
            "task": TASK,
            "golden": {"path": str(golden), "sha256": "0" * 64, "source": str(golden)},
            "candidates": [
                {"name": "base", "form": "base", "model": model},
                {"name": "tuned", "form": "adapter", "model": model, "path": "/x"},
            ],
            "repeats": 1,
        },
    }
    home.run_dir(job_id).path.mkdir(parents=True)
    JobFile.model_validate(document).save(home.run_dir(job_id))


def write_task(project: Path, task: Mapping[str, Any]) -> None:
    (project / "configs/tasks/judge.yaml").write_text(json.dumps(task))


def home_with_bakeoffs(folder: Path) -> tuple[Home, Path]:
    """The home and the folder of the project. XDG_CONFIG_HOME and BAKEHOUSE_HOME are for the caller to set."""
    home, connection = fresh(folder)
    project = folder / "project"
    new_project(project)
    write_task(project, TASK)
    golden = folder / "golden.json"
    write_json(golden, [item.model_dump() for item in GOLDEN])
    for _ in range(2):
        store(home, add_job(connection, kind="bakeoff"), project, golden)
    run_dir = home.run_dir(1)
    run_dir.answers.write_text("".join(json.dumps(answer.to_json()) + "\n" for answer in stored_answers()))
    with transaction(connection):
        import_answers(connection, 1, run_dir)
        scores = score_answers(Task.model_validate(TASK), GOLDEN, stored_answers())
        insert_check_scores(connection, 1, (score.to_json() for score in scores))
    for state in path_to(connection, "done"):
        step(connection, 1, state)
    connection.close()
    return home, project
