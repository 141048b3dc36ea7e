"""A home with a set of drafts that two candidates have answered, and a project whose golden file grows by marking them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.config.golden import GoldenInput
from core.config.project import Project, load_project
from core.files import write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ServerUnderTest, TaskUnderTest
from core.jobfile.drafts import DraftsSpec
from core.jobfile.spec import InputFile
from core.store.database import transaction
from core.store.results import import_answers
from tests.support.invented_answers import answer
from tests.support.job_files import put_job
from tests.support.projects import write_files
from tests.support.stored import fresh, step_to

TASK = """\
system: Say whether the letter asks for something, and how soon it is to be answered.
golden: golden/letters.yaml
data: {train: configs/data/letters.train.jsonl}
repeats: 1
margin: 0.1
format:
  - {check: regex, id: verdict, pattern: '(?m)^VERDICT: (?P<verdict>ASKS|TELLS)$'}
  - {check: regex, id: days, pattern: '(?m)^DAYS: (?P<days>\\d+)$'}
content:
  - {check: captured_equals, name: verdict}
  - {check: captured_equals, name: days}
"""
GOLDEN = """\
# What the post room meets. The layout is a person's own.

- id: roof   # the oldest one
  input: |
    The roof of the boat house leaks again. Could somebody look at it before the regatta?
  expect: {verdict: ASKS, days: 7}
- {id: thanks, input: Thank you for the cake., expect: {verdict: TELLS, days: 0}, use: choose}
"""
TRAIN = {
    "prompt": "The gate creaks so loudly that the choir stops. Please oil it today.",
    "completion": "VERDICT: ASKS",
}
ONE, OTHER = "small", "tuned"
LETTERS = {
    "piano": "The piano in the hall is out of tune, and the concert is on Friday.",
    "bees": "Two hives have swarmed into the chimney of the school kitchen.",
    "ferry": "The ferry leaves at nine from now on, also on Sundays.",
    "seeds": "Whoever has bean seeds left may bring them to the shed on Monday.",
    "clock": "The tower clock has been eleven minutes late since the storm.",
    "lamp": "Lamp 14 by the quay is dark, and somebody fell there last night.",
    "minutes": "Attached are the minutes of the meeting in March.",
    "fee": "Is the fee for the slipway due in May or in June this year?",
}
SAID: Mapping[str, Mapping[str, str]] = {
    ONE: {
        "piano": "VERDICT: TELLS\nDAYS: 0",
        "bees": "VERDICT: ASKS\nDAYS: 1",
        "ferry": "VERDICT: TELLS\nDAYS: 0",
        "seeds": "VERDICT: ASKS\nDAYS: 5",
        "clock": "VERDICT: ASKS\nDAYS: 9",
        "lamp": "",
        "minutes": "VERDICT: TELLS\nDAYS: 0",
        "fee": "It is June, I believe.",
    },
    OTHER: {
        "piano": "VERDICT: ASKS\nDAYS: 4",
        "bees": "VERDICT: ASKS\nDAYS: 1",
        "ferry": "VERDICT: TELLS\nDAYS: 0\n\nThe ferry leaves at nine.",
        "seeds": "VERDICT: TELLS\nDAYS: 5",
        "clock": "VERDICT: ASKS\nDAYS: 20",
        "lamp": "VERDICT: ASKS\nDAYS: 1",
        "minutes": "VERDICT: ASKS\nDAYS: 2",
        "fee": "VERDICT: ASKS\nDAYS: 3",
    },
}


def letters_project(root: Path, golden: str = GOLDEN) -> Project:
    files = {
        "bakehouse.yaml": "id: post-room\n",
        "configs/tasks/letters.yaml": TASK,
        "golden/letters.yaml": golden,
        "configs/data/letters.train.jsonl": json.dumps(TRAIN) + "\n",
    }
    return load_project(write_files(root, files))


def under_test(
    home: Home, project: Project, inputs: Sequence[GoldenInput], name: str, names: Sequence[str] = (ONE, OTHER)
) -> BakeoffSpec:
    """What two served models are asked."""
    file = home.root / name
    write_json(file, [item.model_dump(mode="json") for item in inputs])
    server = ServerUnderTest(name="ollama", api="ollama", url="http://127.0.0.1:1")
    kept = InputFile(path=str(file), sha256="0" * 64, source=name)
    return BakeoffSpec(
        tasks=[TaskUnderTest(task=project.task("letters"), golden=kept, repeats=1)],
        candidates=[CandidateSpec(name=one, form="served", server=server, served_model=one) for one in names],
    )


def drafted_home(
    folder: Path, said: Mapping[str, Mapping[str, str]] = SAID, letters: Mapping[str, str] = LETTERS, seed: int = 4
) -> tuple[Home, Project, int]:
    """The home, the project and the set of drafts, whose answers are stored."""
    home, connection = fresh(folder)
    project = letters_project(folder / "project")
    inputs = [GoldenInput(id=name, input=text) for name, text in letters.items()]
    spec = DraftsSpec(asked=under_test(home, project, inputs, "drafts.json"), source="letters.jsonl", seed=seed)
    job_id, run = put_job(home, connection, project, spec, on_restart="hold")
    lines = [answer(one, "letters", name, 1, said[one][name]).to_json() for one in (ONE, OTHER) for name in letters]
    run.answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with transaction(connection):
        import_answers(connection, job_id, run)
    step_to(connection, job_id, "done")
    connection.close()
    return home, project, job_id
