"""Putting a bake-off into the queue: its tasks, who answers them and how, and what can be known to be impossible before."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from core.config.golden import GoldenSet
from core.config.project import Project
from core.config.task import Task
from core.data.examples import load_examples
from core.data.source import read_source
from core.errors import BakehouseError, InputError
from core.format import listed
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ExampleTurn, TaskUnderTest
from core.jobfile.spec import InputFile
from core.models.llama_cpp import LlamaCpp
from core.scoring.verdicts import GivenVerdict
from core.store.database import open_database
from core.store.jobs import JobRow
from core.submission.asked_servers import Ask, served_facts
from core.submission.candidates import parse_candidate, parse_candidates
from core.submission.doubts import code, interruptions, lengths, marks, thinking
from core.submission.enqueue import store
from core.submission.extension import Extended, extended, require_former, told_of_former, united
from core.submission.few_shot import example_pool, repeats_golden
from core.submission.input_store import golden_file
from core.submission.judges import checked_judges, keep_verdicts, known_verdicts
from core.submission.possible import refuse_impossible, still_to_serve
from core.submission.server_memory import ServersMemory, servers_memory
from core.submission.taken_over import TakenOver, taken_over
from core.submission.told_apart import name_of, refuse_doubles
from core.submission.wanted_bakeoff import WantedBakeoff

MOST_REPEATS = 1000
"""More answers to each input tell nothing more, and a slip of the finger is seen."""
MOST_AT_ONCE = 256
"""Requests that a job has on their way to one server."""


@dataclass(frozen=True)
class GoldenTask:
    """A task that can be baked off, with its golden inputs as they are now."""

    task: Task
    golden: GoldenSet


@dataclass(frozen=True)
class CheckedTask:
    """A task with its golden inputs, how often each is asked, and the examples for variants that show some."""

    task: Task
    golden: GoldenSet
    repeats: int
    examples: list[list[ExampleTurn]]

    @property
    def answers(self) -> int:
        """Of one candidate."""
        return len(self.golden.inputs) * self.repeats

    def under_test(self, golden: InputFile) -> TaskUnderTest:
        """As the job is told it; `golden` is the copy of the golden inputs."""
        return TaskUnderTest(task=self.task, golden=golden, repeats=self.repeats, examples=self.examples)


@dataclass(frozen=True)
class CheckedBakeoff:
    """A bake-off that can be queued."""

    wanted: WantedBakeoff
    tasks: tuple[CheckedTask, ...]
    candidates: tuple[CandidateSpec, ...]
    incumbent: str | None
    before: Extended | None = None
    llama_server: str | None = None
    servers: ServersMemory = field(default_factory=ServersMemory)
    taken: TakenOver = field(default_factory=TakenOver)
    judges: tuple[CandidateSpec, ...] = ()
    verdicts: tuple[GivenVerdict, ...] = ()

    def keep(self, home: Home, project: Project) -> BakeoffSpec:
        """What the job is told, with copies of its golden inputs and of the answers that it takes over."""
        wanted, former = self.wanted, None if self.before is None else self.before.spec
        return BakeoffSpec(
            tasks=[one.under_test(golden_file(home, project, one.task, one.golden)) for one in self.tasks],
            candidates=list(self.candidates),
            incumbent=self.incumbent,
            seed=0 if former is None else former.seed,
            batch_size=None if former is None else former.batch_size,
            concurrency=concurrency_of(wanted, self.before),
            curtail=wanted.curtail if wanted.curtail is not None else former is not None and former.curtail,
            extends=wanted.extend,
            earlier=None if self.before is None else self.before.keep_answers(home),
            llama_server=self.llama_server,
            server_memory=dict(self.servers.by_name),
            pattern_timeout_seconds=project.settings.bakeoff.pattern_timeout_seconds,
            judges=list(self.judges),
            earlier_verdicts=keep_verdicts(home, self.verdicts),
        )


def submit_bakeoff(
    home: Home, project: Project, wanted: WantedBakeoff, *, author: str, remarks: list[str] | None = None
) -> JobRow:
    """Queue a bake-off; jobs that its candidates need are waited for.

    What a person should know is added to `remarks`, a sentence each: tasks that `all` left out, servers that did not answer,
    how a file is loaded. Raises `InputError`, `NotFoundError`.
    """
    told: list[str] = [] if remarks is None else remarks
    with contextlib.closing(open_database(home)) as connection:
        checked = check_bakeoff(home, connection, project, wanted, told)
    return store(home, project, checked.keep(home, project), author=author)


def check_bakeoff(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    wanted: WantedBakeoff,
    remarks: list[str],
    ask: Ask | None = served_facts,
    own: Collection[int] = (),
    given: Sequence[GoldenTask] | None = None,
    answering: Sequence[CandidateSpec] | None = None,
) -> CheckedBakeoff:
    """What is wanted, looked up and checked; nothing is stored. Raises as `submit_bakeoff`.

    `ask` asks a server what a candidate's model can do; None: nobody is asked. `own` are jobs of its chain. `given` are tasks
    with inputs that stand in no golden file, `answering` candidates that are known already.
    """
    before = None if wanted.extend is None else extended(home, connection, project, wanted.extend)
    found = wanted_tasks(project, wanted, before, remarks) if given is None else given
    candidates = list(answering or parse_candidates(home, connection, project, wanted.candidates))
    incumbent = name_of(
        wanted.incumbent,
        wanted.candidates,
        candidates,
        before,
        lambda reference: parse_candidate(home, connection, project, reference),
    )
    if before is not None:
        require_former(home, connection, before)
        candidates, incumbent = united(before, candidates, wanted.candidates, incumbent)
    if not candidates:
        raise InputError("a bake-off needs a candidate", code="no_candidate", remedy="name at least one, better two")
    tasks = tuple(_checked(project, one, candidates, wanted, before, remarks) for one in found)
    to_come = still_to_serve(connection, candidates, remarks, own)
    with told_of_former(before, () if before is None else before.spec.forms):
        asked = refuse_impossible(candidates, remarks, ask, to_come)
    refuse_doubles(candidates, [one.task for one in tasks], asked)
    # What is given has no board, so that nobody scores or judges it.
    counts = [(one.task, one.answers * len(candidates)) for one in tasks] if given is None else []
    judges = checked_judges(home, connection, project, counts, candidates, asked, remarks, ask)
    verdicts = known_verdicts(connection, [(one.task, one.golden.inputs) for one in tasks]) if judges else ()
    remarks += [
        *marks(candidates),
        *thinking(home, candidates),
        *interruptions([*candidates, *judges]),
        *code(one.task for one in tasks if given is None),
    ]
    server, servers = gguf_server(
        home, project, candidates, [one.task for one in tasks], concurrency_of(wanted, before), remarks
    )
    taken = TakenOver()
    if before is not None:
        kept_nowhere = InputFile(path="", sha256="", source="")  # nothing is stored before all is known to be possible
        now = [(one.under_test(kept_nowhere), tuple(one.golden.inputs)) for one in tasks]
        taken = taken_over(home, before, now, candidates, asked)
        remarks += taken.remarks
    return CheckedBakeoff(
        wanted, tasks, tuple(candidates), incumbent, before, server, servers, taken, tuple(judges), verdicts
    )


def concurrency_of(wanted: WantedBakeoff, before: Extended | None) -> int:
    """How many answers a server is asked for at a time."""
    return wanted.concurrency or (1 if before is None else before.spec.concurrency)


def wanted_tasks(
    project: Project, wanted: WantedBakeoff, before: Extended | None, remarks: list[str]
) -> list[GoldenTask]:
    """The tasks in their order, those of the bake-off that is extended first. Raises `InputError`, `NotFoundError`."""
    names = list(before.task_names) if before is not None else []
    doubled = sorted({name for name in wanted.tasks if wanted.tasks.count(name) > 1})
    if doubled:
        raise InputError(f"the task {doubled[0]} is named twice", code="doubled_task", key="tasks")
    with told_of_former(before):
        found = [golden_task(project, name) for name in names]
    found += [golden_task(project, name) for name in wanted.tasks if name not in names]
    if wanted.every_task:
        every, left_out = tasks_with_golden(project)
        found += [one for one in every if one.task.name not in {have.task.name for have in found}]
        remarks += [f"{name} is left out: {reason}" for name, reason in left_out]
    if not found:
        raise InputError(
            "no task of this project has golden inputs and checks" if wanted.every_task else "no task is named",
            code="no_task",
            key="tasks",
            remedy="name tasks, or `--tasks all` for every one of the project that has golden inputs and checks",
        )
    return found


def golden_task(project: Project, name: str) -> GoldenTask:
    """One task. Raises `NotFoundError`, `InputError` where it has no golden inputs or no checks."""
    task = project.task(name)
    golden = project.golden(task)
    if not task.format and not task.content:
        raise InputError(
            "the task has no checks, so nothing could be scored",
            code="no_checks",
            file=task.file,
            key="format",
            remedy="write at least one check under `format:` or `content:`",
        )
    return GoldenTask(task, golden)


def tasks_with_golden(project: Project) -> tuple[list[GoldenTask], list[tuple[str, str]]]:
    """Every task of the project's own folder that can be baked off, and the others by name with the reason."""
    found, left_out = [], []
    for name in project.own_task_names():
        try:
            found.append(golden_task(project, name))
        except BakehouseError as error:
            left_out.append((name, error.message))
    return found, left_out


def _checked(
    project: Project,
    one: GoldenTask,
    candidates: Sequence[CandidateSpec],
    wanted: WantedBakeoff,
    before: Extended | None,
    remarks: list[str],
) -> CheckedTask:
    """A task with as many examples as the largest variant wants."""
    task = one.task
    for candidate in candidates:
        _check_sampling(task, candidate)
    former = None if before is None else before.task(task.name)
    for value, most, option in (
        (wanted.repeats, MOST_REPEATS, "repeats"),
        (wanted.concurrency, MOST_AT_ONCE, "concurrency"),
    ):
        if value is not None and not 1 <= value <= most:
            raise InputError(
                f"expected a whole number from 1 to {most:,}, found {value:,}", code="wrong_value", key=option
            )
    repeats = wanted.repeats or (task.repeats if former is None else former.repeats)
    if former is not None and repeats < former.repeats:
        raise InputError(
            f"{task.name} has {former.repeats} answers to each input already: an extension takes none away",
            code="fewer_repeats",
            key="repeats",
            remedy=f"give at least {former.repeats}, or start a bake-off of its own",
        )
    most = max(candidate.variant.few_shot for candidate in candidates)
    try:
        examples = _examples(project, one, most, former.examples if former is not None else [], remarks)
    except InputError as error:
        if error.code == "no_train_data":
            shows = next(one.name for one in candidates if one.variant.few_shot == most)
            error.message = f"{shows} is shown examples, and {error.message}"
        raise
    remarks += lengths(task, one.golden, candidates, examples)
    return CheckedTask(task, one.golden, repeats, examples)


def _examples(
    project: Project, one: GoldenTask, most: int, former: list[list[ExampleTurn]], remarks: list[str]
) -> list[list[ExampleTurn]]:
    """As many examples as the largest variant wants. Those of an extended bake-off stay: its answers were asked with them."""
    task = one.task
    if former and repeats_golden(former, one.golden.inputs):
        remarks.append(f"{task.name}: examples that were shown repeat new golden inputs, so others are shown now")
        former = []
    if most <= len(former):
        return former
    learnt, _ = load_examples(read_source(project.train_file(task)), task)
    pool = example_pool(task, learnt, one.golden.inputs, former=former)
    return pool.first(most, task)


def gguf_server(
    home: Home,
    project: Project,
    candidates: Sequence[CandidateSpec],
    tasks: Sequence[Task],
    slots: int,
    remarks: list[str],
) -> tuple[str | None, ServersMemory]:
    """The llama-server that answers for GGUF files and the memory that it will take, None and nothing where there are none.

    How each file is loaded is added to `remarks`, and what may not fit. Raises `InputError` where there is no llama-server and
    a job makes the file, and for a model that this machine cannot hold.
    """
    names = [candidate.name for candidate in candidates if candidate.form == "gguf"]
    if names:
        llama_cpp = LlamaCpp.find(project.settings.llama_cpp.folder)
        path = llama_cpp.require("llama-server")
        way = llama_cpp.server.way if llama_cpp.server is not None else ""
        doubts: list[str] = []
        memory = servers_memory(home, candidates, tasks, slots, path, doubts)
        takes = f" and takes {memory.words}" if memory.words else ""
        remarks += [f"a llama-server of the job answers for {listed(names)}{takes}: {path} (by {way})", *doubts]
        return str(path), memory
    loaded = [one.name for one in candidates if one.model is not None and (one.model.path or "").endswith(".gguf")]
    if loaded:
        remarks.append(f"the job loads {listed(loaded)} itself, de-quantised: no llama-server answers for it")
    return None, ServersMemory()


def _check_sampling(task: Task, candidate: CandidateSpec) -> None:
    """A variant replaces single values of a task's sampling: what it comes to must be a sampling still."""
    try:
        candidate.variant.applied(task.sampling)
    except ValidationError as error:
        cause = error.errors(include_url=False)[0].get("ctx", {}).get("error")
        raise InputError(
            f"{candidate.name} at the task {task.name}: {cause}",
            code="bad_sampling",
            key=f"@{candidate.variant.written}",
            remedy="context_length holds prompt and answer: raise it, or lower max_new_tokens",
        ) from error
