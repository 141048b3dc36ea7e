"""A verdict belongs to what was measured: what has changed since a bake-off, of its tasks and of its candidates.

What files tell is read here; what servers have now is asked for apart (`present_servers`), because a server can take its time.
What cannot be known is listed as unknown, with why.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from core.bakeoff.measured import MeasuredCandidate
from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.data.examples import load_examples
from core.errors import BakehouseError
from core.files import read_json
from core.home import Home
from core.jobfile.bakeoff import IN_PROCESS, CandidateSpec, ServerUnderTest, TaskUnderTest
from core.jobfile.servers import known_servers
from core.results.load import bakeoff_file, golden_inputs, measured_of, with_checks
from core.results.rescoring import project_of
from core.serving.answering import ServedIdentity
from core.staleness.present_files import NotHashed, PresentFiles, ThingGone
from core.staleness.present_servers import NO_SERVER_ASKED, ServedModelKey, Told, served_model
from core.store.rescorings import list_rescorings

OfTask = Literal["task", "checks", "margin", "golden", "system", "thinking", "sampling", "examples"]
OfCandidate = Literal[
    "weights", "template", "parameters", "version", "model", "api", "server", "system_file", "format_file", "mixed"
]
What = OfTask | OfCandidate
Why = Literal["not_stored", "not_asked", "no_answer", "no_key", "not_told", "unreadable", "too_large"]
"""Why something is unknown: the bake-off stored nothing of it; its server was not asked, did not answer, or wants a key that is
not set here; the server answers, but does not tell it any more; its file cannot be read, or is too large to be hashed at each
look."""

IDENTITY: tuple[OfCandidate, ...] = ("weights", "template", "parameters", "version", "model", "api", "server")
"""The fields of `ServedIdentity`, those that change most often first."""
ASKED = IDENTITY[:4]
"""Those that only its server can tell."""
SHOWN_OF_TASK: tuple[OfTask, ...] = ("checks", "margin", "golden", "system", "thinking", "sampling")


@dataclass(frozen=True)
class StaleCause:
    """One thing that has changed since: of a task (`candidate` is None) or of a candidate, in a task where it is of one.

    `before` and `now` are hashes, versions or plain values; `now` is None where the thing is gone. `mixed`: the candidate's
    answers are of several models (`now` is how many), since its model changed while it was asked.
    """

    candidate: str | None
    task: str | None
    what: What
    before: Any
    now: Any


@dataclass(frozen=True)
class UnknownCause:
    """Something of which it is not known whether it has changed."""

    candidate: str | None
    task: str | None
    what: What
    why: Why


@dataclass(frozen=True)
class Staleness:
    """What has changed since a bake-off, and of what that is not known."""

    causes: tuple[StaleCause, ...] = ()
    unknown: tuple[UnknownCause, ...] = ()

    @property
    def is_stale(self) -> bool:
        return bool(self.causes)

    def of_task(self, name: str) -> Staleness:
        """What concerns the board of one task: its own causes, and those of candidates, who answered it as well."""
        return Staleness(
            tuple(one for one in self.causes if one.task in {None, name}),
            tuple(one for one in self.unknown if one.task in {None, name}),
        )

    def to_json(self) -> dict[str, Any]:
        return {"stale": self.is_stale, **asdict(self)}


def staleness(
    home: Home,
    connection: sqlite3.Connection,
    job_id: int,
    number: int | None = None,
    *,
    told: Mapping[ServedModelKey, Told] = NO_SERVER_ASKED,
) -> Staleness:
    """What has changed since a bake-off, with the checks of its newest scores or of those of rescoring `number`.

    From files, and from what servers `told` (`ask_servers`): a model that is not in it is unknown, as not asked. Raises
    `NotFoundError` and `InputError` for what is no bake-off.
    """
    file, spec = bakeoff_file(home, job_id)
    project: Project | None = None
    with contextlib.suppress(BakehouseError):  # moved or gone: of each task it is told that it is not there
        project = project_of(file)
    found: list[StaleCause | UnknownCause] = []
    for under_test in spec.tasks:
        found += task_causes(project, scored_task(connection, job_id, under_test, number), under_test)
        if any(candidate.variant.few_shot for candidate in spec.candidates):
            found += _of_examples(project, under_test)
    then = identities_then(home, connection, job_id)
    present = PresentFiles(home, connection, project)
    older = weights_then(home, job_id)
    servers: Mapping[str, ServerUnderTest] = {}
    with contextlib.suppress(BakehouseError):  # an address that is none: no server is known to be another one
        servers = {} if project is None else known_servers(project.settings)
    for candidate in spec.candidates:
        found += _of_variant(project, candidate)
        identity = then.get(candidate.name)
        if candidate.form in IN_PROCESS or candidate.form == "gguf":
            found += _of_files(present, candidate, identity, older.get(candidate.name))
        else:
            found += _of_address(servers, candidate)
            found += _of_server(candidate, identity, told.get(served_model(candidate)))
    present.keep()
    found += _mixed(connection, job_id)
    return Staleness(
        tuple(one for one in found if isinstance(one, StaleCause)),
        tuple(one for one in found if isinstance(one, UnknownCause)),
    )


def scored_task(
    connection: sqlite3.Connection, job_id: int, under_test: TaskUnderTest, number: int | None = None
) -> Task:
    """A task with the checks that its scores were made with: those of the newest rescoring, or of `number`."""
    rescorings = {one.number: one for one in list_rescorings(connection, job_id)}
    rescoring = rescorings.get(max(rescorings, default=0) if number is None else number)
    return under_test.task if rescoring is None else with_checks(under_test.task, rescoring.checks_of(under_test.name))


def identities_then(home: Home, connection: sqlite3.Connection, job_id: int) -> dict[str, ServedIdentity]:
    """Who answered for each candidate, as its newest load measured it among those that its answers name."""
    named = {
        (row["candidate"], row["identity"])
        for row in connection.execute("SELECT DISTINCT candidate, identity FROM answers WHERE job_id = ?", [job_id])
    }
    newest: dict[str, MeasuredCandidate] = {}
    for one in measured_of(home, connection, job_id):
        former = newest.get(one.candidate)
        is_named = (one.candidate, one.identity.sha256) in named
        if former is None or is_named or (one.candidate, former.identity.sha256) not in named:
            newest[one.candidate] = one
    return {name: one.identity for name, one in newest.items()}


def weights_then(home: Home, job_id: int) -> dict[str, str]:
    """The weights that in-process candidates were computed with, by the manifests of older bake-offs."""
    found: dict[str, str] = {}
    for attempt in home.run_dir(job_id).attempts():
        try:
            manifest = read_json(attempt.manifest)
        except (OSError, ValueError):
            continue
        listed = manifest.get("candidates") if isinstance(manifest, dict) else None
        if isinstance(listed, dict):
            found |= {str(name): weights for name, weights in listed.items() if isinstance(weights, str)}
    return found


def task_causes(project: Project | None, then: Task, under_test: TaskUnderTest) -> Iterator[StaleCause | UnknownCause]:
    """What of a task and its golden inputs is not as it was measured; `then` has the checks that scored."""
    name = under_test.name
    if project is None or name not in project.task_names():
        yield StaleCause(None, name, "task", name, None)
        return
    try:
        now = project.task(name)
    except BakehouseError:
        yield UnknownCause(None, name, "task", "unreadable")
        return
    for what in SHOWN_OF_TASK:
        if what == "golden":
            yield from golden_causes(project, now, under_test)
        elif (before := _part(then, what)) != (present := _part(now, what)):
            yield StaleCause(None, name, what, before, present)


def _part(task: Task, what: OfTask) -> Any:
    """What of a task is compared, as plain values. A check's id is shown and its weight counts, so both belong to it."""
    document = task.model_dump(mode="json")
    if what == "checks":
        return {key: document[key] for key in ("format", "content")}
    return {key: document[key] for key in ("system", "system_role")} if what == "system" else document[what]


def golden_causes(project: Project, task: Task, under_test: TaskUnderTest) -> Iterator[StaleCause | UnknownCause]:
    """Whether golden inputs that were kept are those that the project's `task` has now."""
    try:
        before = _plain(golden_inputs(under_test))
    except (BakehouseError, OSError, ValueError, TypeError):
        yield UnknownCause(None, task.name, "golden", "not_stored")
        return
    try:
        now = _plain(project.golden(task).inputs)
    except BakehouseError:
        if task.golden is None or not project.resolve(task.golden, task).exists():
            yield StaleCause(None, task.name, "golden", len(before), None)
        else:
            yield UnknownCause(None, task.name, "golden", "unreadable")
        return
    if before != now:
        yield StaleCause(None, task.name, "golden", len(before), len(now))


def _plain(inputs: Iterable[GoldenInput]) -> list[dict[str, Any]]:
    """Golden inputs as they are compared: where a text came from and its tags change no result."""
    return [item.model_dump(mode="json", exclude={"file", "tags"}) for item in inputs]


def _of_examples(project: Project | None, under_test: TaskUnderTest) -> Iterator[StaleCause | UnknownCause]:
    """Whether the examples that candidates were shown are still in the task's training data."""
    if project is None or under_test.name not in project.task_names() or not under_test.examples:
        return
    try:
        task = project.task(under_test.name)
        learnt, _ = load_examples(project.train_file(task), task)
    except BakehouseError:
        yield UnknownCause(None, under_test.name, "examples", "unreadable")
        return
    present = {
        (*((m.role, m.content) for m in one.messages if m.role != "system"), ("assistant", one.completion))
        for one in learnt
    }
    shown = [tuple((turn.role, turn.content) for turn in example) for example in under_test.examples]
    gone = sum(example not in present for example in shown)
    if gone:
        yield StaleCause(None, under_test.name, "examples", len(shown), len(shown) - gone)


def _of_variant(project: Project | None, candidate: CandidateSpec) -> Iterator[StaleCause | UnknownCause]:
    """Whether the files of a variant still hold what the candidate was asked with."""
    variant = candidate.variant
    texts: list[tuple[OfCandidate, str | None, str | None]] = [("system_file", variant.system_file, variant.system)]
    if variant.output is not None:
        texts.append(("format_file", variant.output.file, variant.output.text))
    for what, file, before in texts:
        if file is None or before is None:
            continue
        path = Path(file) if project is None else project.resolve(file)
        try:
            now = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            yield StaleCause(candidate.name, None, what, file, None)
        except (OSError, ValueError):
            yield UnknownCause(candidate.name, None, what, "unreadable")
        else:
            # A file's last line may have been kept without its newline.
            if now.strip() != before.strip():
                yield StaleCause(candidate.name, None, what, before, now)


def _of_files(
    present: PresentFiles, candidate: CandidateSpec, then: ServedIdentity | None, older: str | None
) -> Iterator[StaleCause | UnknownCause]:
    """Weights and template of a candidate whose files are here."""
    name = candidate.name
    weights = then.weights if then is not None and then.weights is not None else older
    try:
        now = present.weights(candidate)
    except ThingGone:
        yield StaleCause(name, None, "weights", weights, None)
        return
    except NotHashed:
        yield UnknownCause(name, None, "weights", "too_large")
        return
    except (BakehouseError, OSError, ValueError):
        yield UnknownCause(name, None, "weights", "unreadable")
        return
    if weights is None:
        yield UnknownCause(name, None, "weights", "not_stored")
    elif weights.removeprefix("sha256:") != now:
        yield StaleCause(name, None, "weights", weights, now)
    template = None if then is None else then.template
    if template is None or candidate.form not in IN_PROCESS or present.has_template_in_weights(candidate):
        return
    try:
        in_files = present.template(candidate)
    except (BakehouseError, OSError, ValueError):
        in_files = None
    if in_files is None:
        yield UnknownCause(name, None, "template", "unreadable")
    elif in_files != template:
        yield StaleCause(name, None, "template", template, in_files)


def _of_address(servers: Mapping[str, ServerUnderTest], candidate: CandidateSpec) -> Iterator[StaleCause]:
    """Whether the server of that name is another one by now."""
    then = candidate.server
    now = None if then is None else servers.get(then.name)
    if then is not None and now is not None and now.url != then.url:
        yield StaleCause(candidate.name, None, "server", then.url, now.url)


def _of_server(
    candidate: CandidateSpec, then: ServedIdentity | None, now: Told | None
) -> Iterator[StaleCause | UnknownCause]:
    """What a server has now, against what answered; None: it was not asked."""
    name = candidate.name
    if now == "gone":
        yield StaleCause(name, None, "model", candidate.served_model, None)
        return
    if then is None or not isinstance(now, ServedIdentity):
        silent: Why = "not_asked" if now is None else "no_key" if now == "no_key" else "no_answer"
        why: Why = "not_stored" if then is None else silent
        yield from (UnknownCause(name, None, what, why) for what in ASKED)
        return
    before, present = asdict(then), asdict(now)
    for what in IDENTITY:
        if before[what] == present[what]:
            continue
        if before[what] is None or present[what] is None:
            # Said by one version of a server and not by another: nothing is known to have changed.
            yield UnknownCause(name, None, what, "not_stored" if before[what] is None else "not_told")
        else:
            yield StaleCause(name, None, what, before[what], present[what])


def _mixed(connection: sqlite3.Connection, job_id: int) -> Iterator[StaleCause]:
    rows = connection.execute(
        """
        SELECT candidate, count(DISTINCT identity) AS models FROM answers
        WHERE job_id = ? AND fault IS NOT 'server' GROUP BY candidate HAVING models > 1
        """,
        [job_id],
    )
    yield from (StaleCause(row["candidate"], None, "mixed", 1, row["models"]) for row in rows)
