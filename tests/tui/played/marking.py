"""Take the pictures of docs/pictures of marking: `python -m tests.tui.played.marking OUT_FOLDER [NAME …]`.

The home is invented: a task with golden inputs, a bake-off of two candidates over them, and drafts that both have answered.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

from core.config.golden import GoldenInput
from core.config.project import load_project
from core.home import Home
from core.jobfile.drafts import DraftsSpec
from core.marking.golden_file import item_text
from core.scoring.scorer import score_answers
from core.store.database import transaction
from core.store.results import import_answers
from tests.support.check_scores import insert_check_scores
from tests.support.drafted import TASK, under_test
from tests.support.invented_answers import answer
from tests.support.job_files import put_job
from tests.support.projects import write_files
from tests.support.stored import fresh, step_to
from tests.tui.played.shipping import picture
from tests.tui.played.taking import in_both_sizes, take_pictures

ONE, OTHER = "ollama:post-room", "ollama:post-room-tuned"
KNOWN = {
    "roof": ("The roof of the boat house leaks again. Could somebody look at it before the regatta?", "ASKS", 7),
    "thanks": ("Thank you all for the cake and the songs.", "TELLS", 0),
    "keys": ("I have left the keys of the workshop with the baker.", "TELLS", 0),
    "dogs": ("May dogs come along on the walk to the lighthouse on Sunday?", "ASKS", 3),
    "stove": ("The stove in the scouts' hut smokes as soon as the wind turns west.", "ASKS", 2),
    "sheets": ("New hymn sheets lie in the vestry, sorted by number.", "TELLS", 0),
    "pump": ("Since Tuesday the pump in the garden gives brown water. Is it safe?", "ASKS", 1),
    "chess": ("The chess evening moves from Thursday to Wednesday.", "TELLS", 0),
}
"""Text, verdict and days."""
NEW = {
    "piano": (
        "The piano in the hall is half a tone flat, two of its strings are gone, and the choir sings on Friday. Herr Lund "
        "says that he could come on Wednesday afternoon, for 90, if somebody lets him in and the heating is on from noon.",
        "VERDICT: TELLS\nDAYS: 0\n\nThe letter reports the state of the piano and that Herr Lund could come on Wednesday. It "
        "names a price of 90.\nNothing is asked of the post room.",
        "VERDICT: ASKS\nDAYS: 2\n\nThe letter reports the state of the piano and that Herr Lund could come on Wednesday. It "
        "names a price of 90.\nSomebody has to let him in and turn on the heating by noon on that day.",
    ),
    "bees": (
        "Two hives have swarmed into the chimney of the school.",
        "VERDICT: ASKS\nDAYS: 1",
        "VERDICT: ASKS\nDAYS: 1",
    ),
    "ferry": (
        "The ferry leaves at nine from now on.",
        "VERDICT: TELLS\nDAYS: 0",
        "VERDICT: TELLS\nDAYS: 0\n\nNew times.",
    ),
    "clock": ("The tower clock is eleven minutes late.", "VERDICT: ASKS\nDAYS: 9", "VERDICT: ASKS\nDAYS: 20"),
    "lamp": ("Lamp 14 by the quay is dark.", "", "VERDICT: ASKS\nDAYS: 1"),
    "fee": ("Is the fee for the slipway due in May?", "It is June, I believe.", "VERDICT: ASKS\nDAYS: 3"),
    "nets": ("The nets behind the goal are torn.", "VERDICT: TELLS\nDAYS: 0", "VERDICT: ASKS\nDAYS: 14"),
    "minutes": ("Attached are the minutes of March.", "VERDICT: TELLS\nDAYS: 0", "VERDICT: TELLS\nDAYS: 0"),
}
"""Text, and what each says."""
SEED = 50
"""With which the piano comes second."""


def post_room(folder: Path) -> tuple[Home, Path, int]:
    """The home, its project, and the set of drafts."""
    home, connection = fresh(folder)
    golden = [
        GoldenInput(id=name, input=text, expect={"verdict": verdict, "days": days})
        for name, (text, verdict, days) in KNOWN.items()
    ]
    files = {
        "bakehouse.yaml": "id: post-room\n",
        "configs/tasks/letters.yaml": TASK,
        "golden/letters.yaml": "\n".join(item_text(one) for one in golden),
    }
    project = load_project(write_files(folder / "post-room", files))
    asked = under_test(home, project, golden, "golden.json", (ONE, OTHER))
    bakeoff, run = put_job(home, connection, project, asked, on_restart="hold")
    answers = []
    for number, (name, (_, verdict, days)) in enumerate(KNOWN.items()):
        slips = {ONE: number % 3 == 1, OTHER: number % 5 == 4}
        for one in (ONE, OTHER):
            told = days + 4 if slips[one] else days
            answers.append(answer(one, "letters", name, 1, f"VERDICT: {verdict}\nDAYS: {told}"))
    run.answers.write_text("".join(json.dumps(one.to_json()) + "\n" for one in answers))
    drafts = [GoldenInput(id=name, input=text) for name, (text, _, _) in NEW.items()]
    spec = DraftsSpec(
        asked=under_test(home, project, drafts, "drafts.json", (ONE, OTHER)), source="letters.jsonl", seed=SEED
    )
    job_id, of_drafts = put_job(home, connection, project, spec, on_restart="hold")
    lines = [
        answer(one, "letters", name, 1, said[at]).to_json()
        for name, (_, *said) in NEW.items()
        for at, one in enumerate((ONE, OTHER))
    ]
    of_drafts.answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with transaction(connection):
        import_answers(connection, bakeoff, run)
        import_answers(connection, job_id, of_drafts)
        scores = score_answers(project.task("letters"), golden, answers)
        insert_check_scores(connection, bakeoff, (score.to_json() for score in scores))
    for job in (bakeoff, job_id):
        step_to(connection, job, "done")
    connection.close()
    return home, project.root, job_id


def take(name: str, folder: Path, out: Path) -> None:
    os.environ.setdefault("BAKEHOUSE_GPU_SOURCE", "none")
    in_both_sizes(name, out, partial(_picture, folder))


def _picture(folder: Path, file: Path, size: str) -> str:
    """The first pair is marked, and the second is shown: each size has a home of its own, in which nothing is marked yet."""
    home, project, _ = post_room(folder / size)
    return picture(home, project, file, "3M{3}h{2}", size)


if __name__ == "__main__":
    take_pictures(__doc__, ["marking"], take)
