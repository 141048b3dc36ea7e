"""A home with a finished bake-off of the judge whose answers are wrong in several ways, invented.

What is seen in them is what the detectors of failure modes found when the answers were rescored.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from core.authoring.scaffold import new_project
from core.config.golden import GoldenInput
from core.config.project import Project, shipped
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.results.rescoring import rescore
from core.scoring.answers import append_answer
from core.scoring.scorer import score_answers
from core.store.database import open_database, transaction
from core.store.results import import_answers
from core.submission.input_store import keep_document
from tests.support.check_scores import insert_check_scores
from tests.support.invented_answers import answer
from tests.support.job_files import put_job
from tests.support.stored import step_to

BASE, WORDY, TUNED = "SmolLM2-135M base", "SmolLM2-135M hot", "SmolLM2-135M tuned"
INPUTS = (
    *("empty", "very-short", "wrong-format", "own-output", "batch-of-three", "batch-of-two", "ski-wax", "hearing-aid"),
    *("copper-roof", "diary-rust", "pep-talk", "hearsay", "half-finished"),
)
"""Golden inputs of the judge by name: its set grows, and what is counted here stays."""
RIGHT = """### {note} — {verdict} ({mean}/5)
| Criterion | Score | Reason |
|---|---|---|
| Clarity | {score} | Plain words |
| Order | {score} | One after the other |
| Detail | {score} | Figures, or none |
| Evidence | {score} | What was seen |
| Use | {score} | For the next time |

SUMMARY: 1 note, {passed} pass, {failed} fail"""


def good(item: GoldenInput) -> str:
    """An answer in the form of the judge, with the first note and verdict that the input expects."""
    note, verdict = (one[0] if isinstance(one, list) else one for one in (item.expect["note"], item.expect["verdict"]))
    score = 4 if verdict == "PASS" else 1
    passed = int(verdict == "PASS")
    return RIGHT.format(note=note, verdict=verdict, mean=f"{score}.0", score=score, passed=passed, failed=1 - passed)


def home_with_modes(folder: Path, rescored: bool = True) -> tuple[Home, int]:
    """The home and the bake-off. `BASE` repeats the instructions or the input or is cut, `WORDY` greets and says the same over
    and over, `TUNED` answers well. Not `rescored`: as an older version left it, without any failure mode."""
    home = Home(folder / "home").create()
    project = folder / "project"
    new_project(project)
    task, model = shipped().task("judge"), shipped().model("SmolLM2-135M")
    by_id = {item.id: item for item in shipped().golden(task).inputs}
    inputs = [by_id[name] for name in INPUTS]
    golden = keep_document(home, [item.model_dump(mode="json") for item in inputs], "judge.golden.json", "test")
    candidates = [
        CandidateSpec(name=BASE, form="base", model=model),
        CandidateSpec(name=WORDY, form="adapter", model=model, path=str(folder)),
        CandidateSpec(name=TUNED, form="adapter", model=model, path=str(folder)),
    ]
    spec = BakeoffSpec(task=task, golden=golden, candidates=candidates, incumbent=BASE, repeats=1)
    answers = []
    for number, item in enumerate(inputs):
        asked = item.text()
        echo = asked if len(asked.split()) > 20 and number % 2 else task.system
        cut = number % 5 == 4
        loop = "I think that this note is a good note. " * 12
        for name, text, finish in (
            (BASE, f"The note {item.id} says " + "more and " * 3 if cut else echo, "length" if cut else "stop"),
            (WORDY, loop if number % 3 == 0 else f"Sure! Here is the grade:\n\n{good(item)}", "stop"),
            (TUNED, good(item), "stop"),
        ):
            answers.append(answer(name, task.name, item.id, 1, text, finish=finish, seconds=1.2))
    with contextlib.closing(open_database(home)) as connection:
        job_id, run = put_job(home, connection, Project.find(project), spec, on_restart="hold")
        for one in answers:
            append_answer(run.answers, one)
        with transaction(connection):
            import_answers(connection, job_id, run)
            insert_check_scores(connection, job_id, (one.to_json() for one in score_answers(task, inputs, answers)))
        step_to(connection, job_id, "done")
        if rescored:
            rescore(home, connection, job_id, author="anna")
    return home, job_id
