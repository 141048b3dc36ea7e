"""Putting a judging into the queue: what the judges of an ended bake-off have not said yet."""

from __future__ import annotations

import contextlib
import json
import sqlite3

from core.errors import BakehouseError, InputError
from core.home import Home
from core.jobfile.judging import JudgingSpec
from core.results.load import StoredBakeoff, bakeoff_file, load_bakeoff
from core.results.rescoring import project_of
from core.scoring.to_judge import judge_models
from core.store.database import open_database
from core.store.jobs import JobRow, get_job
from core.store.results import bakeoff_answers
from core.store.verdicts import list_verdicts
from core.submission.asked_servers import Ask, served_facts
from core.submission.enqueue import store
from core.submission.input_store import keep_content
from core.submission.judges import as_line, find_judges, keep_verdicts, known_verdicts, look_at_judges


def submit_judging(
    home: Home, job_id: int, *, author: str, remarks: list[str], ask: Ask | None = served_facts
) -> JobRow:
    """Queue the judging of a bake-off under the checks that it is shown with. Its judges' servers are those of the settings.

    What a person should know is added to `remarks`. Raises `NotFoundError`, `InputError` where no answer lacks a verdict,
    `BakehouseError` for a bake-off that is not done, or whose judges another job asks.
    """
    file, spec = bakeoff_file(home, job_id)
    project = project_of(file)
    with contextlib.closing(open_database(home)) as connection:
        if (state := get_job(connection, job_id).state) != "done":
            raise BakehouseError(
                f"Bake-off {job_id} is {state}. Only the answers of a finished bake-off can be judged.", code="not_done"
            )
        _require_nobody_asks(connection, job_id)
        stored = load_bakeoff(home, connection, job_id)
        tasks = [one.task for one in stored.tasks]
        _require_open(job_id, stored)
        judges = find_judges(home, project, tasks)
        look_at_judges(judges, spec.candidates, {}, remarks, ask)
        answers = bakeoff_answers(connection, job_id)
        own = [as_line(one) for one in list_verdicts(connection, bakeoff_job_id=job_id)]
        others = known_verdicts(connection, [(one.task, one.inputs) for one in stored.tasks])
    lines = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    under_test = {one.name: one for one in spec.tasks}
    judging = JudgingSpec(
        bakeoff=job_id,
        scoring=stored.scoring.number,
        tasks=[under_test[one.name].model_copy(update={"task": one.task}) for one in stored.tasks],
        candidates=list(spec.candidates),
        incumbent=spec.incumbent,
        judges=judges,
        answers=keep_content(home, lines.encode("utf-8", "surrogatepass"), home.run_dir(job_id).answers),
        verdicts=keep_verdicts(home, own),
        earlier_verdicts=keep_verdicts(home, others),
        curtailed={one.name: sorted(one.curtailed) for one in stored.tasks if one.curtailed},
        concurrency=spec.concurrency,
        pattern_timeout_seconds=project.settings.bakeoff.pattern_timeout_seconds,
    )
    return store(home, project, judging, author=author)


def _require_nobody_asks(connection: sqlite3.Connection, job_id: int) -> None:
    """Refuse a second judging beside one that has not ended: it would ask the same again, and its scores would not count."""
    there = connection.execute(
        """
        SELECT id FROM jobs JOIN job_states USING (state)
        WHERE kind = 'judging' AND json_extract(settings, '$.bakeoff') = ? AND stage <> 'ended' LIMIT 1
        """,
        [job_id],
    ).fetchone()
    if there is not None:
        raise InputError(
            f"job {there['id']} asks the judges of bake-off {job_id} already",
            code="on_its_way",
            remedy="`bakehouse queue` shows how far it is",
        )


def _require_open(job_id: int, stored: StoredBakeoff) -> None:
    """Refuse where nothing is to be judged."""
    if not judge_models(task.task for task in stored.tasks):
        raise InputError(
            f"no check of bake-off {job_id} asks a judge",
            code="no_judge",
            remedy=f"write one into its task, and `bakehouse results {job_id} --rescore` first",
        )
    if not any(board.lacks_verdicts for board in stored.leaderboards().values()):
        raise InputError(
            f"all answers of bake-off {job_id} are judged by the checks that it is shown with",
            code="nothing_to_judge",
            remedy=f"where its task has other checks by now, `bakehouse results {job_id} --rescore` first",
        )
