"""The judges that the checks of a bake-off's tasks ask: who is meant, what their servers say, what has been said before."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from core.checks.base import CheckFault
from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.errors import BakehouseError, InputError, NotFoundError
from core.format import duration, listed, plural
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.kin import kin_of
from core.jobfile.spec import InputFile
from core.scoring.to_judge import judge_checks
from core.scoring.verdicts import GivenVerdict, asked_hash
from core.store.verdicts import JudgeVerdict, verdicts_of_checks
from core.submission.asked_servers import Ask, Asked, ServedFacts, ask_servers, served_facts, served_place
from core.submission.expected_time import measured_judges
from core.submission.input_store import keep_content
from core.submission.server_candidates import server_candidate


def checked_judges(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    tasks: Sequence[tuple[Task, int]],
    candidates: Sequence[CandidateSpec],
    asked: Asked,
    remarks: list[str],
    ask: Ask | None = served_facts,
) -> list[CandidateSpec]:
    """The judges of these tasks, each of which has so many answers, with all that is known of them in `remarks`. Raises as
    `find_judges` and `look_at_judges`."""
    judges = find_judges(home, project, [task for task, _ in tasks])
    look_at_judges(judges, candidates, asked, remarks, ask)
    remarks += verdict_remarks(connection, project.id, tasks, judges)
    return judges


def find_judges(home: Home, project: Project, tasks: Iterable[Task]) -> list[CandidateSpec]:
    """The judges of these tasks, each once and named as its checks name it. Raises `InputError`, `NotFoundError`."""
    found: dict[str, CandidateSpec] = {}
    for task in tasks:
        for name, check in judge_checks(task):
            if check.model not in found:
                found[check.model] = _judge(home, project, task, name, check.model)
    return list(found.values())


def _judge(home: Home, project: Project, task: Task, check: str, model: str) -> CandidateSpec:
    where = f"the check `{check}` of {task.name}"
    try:
        judge = server_candidate(home, project, model)
    except BakehouseError as error:
        error.message = f"{where}: {error.message}"
        error.file = error.file or (str(task.file) if task.file is not None else None)
        raise
    if judge is None:
        raise InputError(
            f"{where} asks `{model}`, which is no served model",
            code="no_judge",
            file=task.file,
            key="content",
            remedy="write served:NAME, or SERVER:MODEL with a server of bakehouse.yaml",
        )
    return judge.model_copy(update={"name": model})


def look_at_judges(
    judges: Sequence[CandidateSpec],
    candidates: Sequence[CandidateSpec],
    asked: Asked,
    remarks: list[str],
    ask: Ask | None = served_facts,
) -> None:
    """Add to `remarks` what is known of these judges: whose server is silent, who judges itself or its own family.

    `asked` is what the candidates' servers said. Raises `NotFoundError` for a model that its server does not have.
    """
    told = {} if ask is None else ask_servers(judges, ask)
    for judge in judges:
        place = served_place(judge)
        answer = None if place is None else told.get(place)
        if isinstance(answer, NotFoundError):
            raise answer
        if isinstance(answer, BakehouseError):
            remarks.append(
                f"the judge {judge.name} was not asked what it can do: {answer.message}; the job asks it, and what it does not "
                "judge is left out of the content scores"
            )
        remarks += kin_remarks(judge, candidates, {**asked, **told})


def verdict_remarks(
    connection: sqlite3.Connection, project_id: str, tasks: Iterable[tuple[Task, int]], judges: Iterable[CandidateSpec]
) -> list[str]:
    """How many verdicts each judge is asked for at most, and how long they take where that was measured. `tasks` are each with
    the number of its answers; the same answer to one input is judged once."""
    counts: dict[str, int] = {}
    for task, answers in tasks:
        for _, check in judge_checks(task):
            counts[check.model] = counts.get(check.model, 0) + answers * len(check.verdicts)
    paces = measured_judges(connection, project_id) if counts else {}
    found = []
    for judge in judges:
        count = counts[judge.name]
        seconds = paces.get(judge.name)
        takes = (
            "how long is not known: it was not measured here"
            if seconds is None
            else f"about {duration(count * seconds)}"
        )
        found.append(f"the judge {judge.name} is asked for up to {plural(count, 'verdict')}, {takes}")
    return found


def kin_remarks(judge: CandidateSpec, candidates: Sequence[CandidateSpec], asked: Asked) -> list[str]:
    """Who among the candidates a judge is, or may be kin of; by the weights, too, where servers tell them."""
    kin = kin_of(judge, candidates)
    itself = [one.name for one in candidates if one.name in kin.itself or _same_weights(judge, one, asked)]
    family = [name for name in kin.family if name not in itself]
    found = []
    if itself:
        found.append(
            f"the judge {judge.name} is a candidate ({listed(itself)}): models tend to prefer their own answers"
        )
    if family:
        own = "models tend to prefer answers like their own"
        found.append(f"the judge {judge.name} seems to be of one family with {listed(family)}: {own}")
    return found


def _same_weights(judge: CandidateSpec, candidate: CandidateSpec, asked: Asked) -> bool:
    facts = [asked.get(place) for one in (judge, candidate) if (place := served_place(one)) is not None]
    weights = [one.identity.weights for one in facts if isinstance(one, ServedFacts)]
    return len(weights) == 2 and weights[0] is not None and weights[0] == weights[1]


def asked_hashes(task: Task, inputs: Iterable[GoldenInput]) -> set[str]:
    """The hashes of all that the judges of a task can be asked, apart from the answers."""
    checks = judge_checks(task)
    found = set[str]()
    for item in inputs if checks else ():
        for _, check in checks:
            try:
                found.add(asked_hash(check, item.text(), check.reference(item.expect)))
            except CheckFault:
                continue
    return found


def known_verdicts(
    connection: sqlite3.Connection, tasks: Iterable[tuple[Task, Sequence[GoldenInput]]]
) -> tuple[GivenVerdict, ...]:
    """What the judges of these tasks have said in any bake-off of the home: they are not asked for it again."""
    hashes = set[str]().union(*(asked_hashes(task, inputs) for task, inputs in tasks))
    return tuple(map(as_line, verdicts_of_checks(connection, hashes))) if hashes else ()


def as_line(stored: JudgeVerdict) -> GivenVerdict:
    """A stored verdict as the files of jobs have it."""
    return GivenVerdict(
        key=stored.key,
        task=stored.task,
        check_hash=stored.check_hash,
        answer_key=stored.answer_key,
        answer_sha256=stored.answer_sha256,
        candidate=stored.candidate,
        judge=stored.judge,
        judge_identity=stored.judge_identity,
        ask_order=stored.ask_order,
        ask=stored.ask,
        text=stored.text,
        value=stored.value,
        time=stored.time,
    )


def keep_verdicts(home: Home, verdicts: Sequence[GivenVerdict]) -> InputFile | None:
    """A copy of them for a job; None where there are none."""
    if not verdicts:
        return None
    lines = "".join(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in verdicts)
    return keep_content(home, lines.encode("utf-8", "surrogatepass"), home.database)
