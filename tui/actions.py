"""What the keys ask for. Each request goes to the store in a thread of its own and ends in one line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from textual.message import Message

from core.errors import InputError
from core.format import plural
from core.home import Home
from core.jobfile.kinds import JobKind, kind_of
from core.runner.commands import RefusedError
from core.store.jobs import QUEUED, JobRow
from core.text import printable
from core.wording.jobs import reason_words
from tui.queries.failures import ask_beside

if TYPE_CHECKING:
    from core.config.task import Task
    from core.submission.wanted_export import WantedGguf, WantedMerge
    from core.submission.wanted_ship import WantedShip
    from tui.context import Context
    from tui.queries.bakeoff_plan import BakeoffPlan
    from tui.queries.deploy_outlook import WantedDeploy

AUTHOR = "console"


class RequestDone(Message):
    """What came of a request."""

    def __init__(self, text: str, failed: bool = False, job_ids: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.text = text
        self.failed = failed
        self.job_ids = job_ids
        """The jobs that were queued."""


def in_background(context: Context, act: Callable[[], RequestDone]) -> None:
    """Run `act` beside the console and post its line."""

    def do() -> RequestDone:
        try:
            return act()
        except RefusedError as error:
            return RequestDone(reason_words(error.reason), failed=True)

    def tell(done: RequestDone) -> None:
        context.post(done)
        context.feed.wake()

    ask_beside("request", do, lambda line: RequestDone(line, failed=True), tell)


def ask(context: Context, kind: str, job: JobRow | None, said: str, arguments: dict[str, Any] | None = None) -> None:
    """Send a command to the runner; `said` is the line that tells that it was carried out."""

    def act() -> RequestDone:
        from core.runner.client import author, request

        request(context.home, kind, None if job is None else job.id, arguments, by=author(AUTHOR))
        return RequestDone(said)

    in_background(context, act)


def ask_of_chain(context: Context, name: str, chain_id: int) -> None:
    """Send a command to the runner for each job of a chain that it applies to; what has ended meanwhile is passed over."""

    def act() -> RequestDone:
        from core.runner.client import author, request
        from core.runner.commands import COMMANDS, jobs_of_chain
        from core.store.chains import get_chain
        from core.store.database import open_database

        with contextlib.closing(open_database(context.home)) as connection:
            jobs = jobs_of_chain(COMMANDS[name], get_chain(connection, chain_id))
        refused: list[RefusedError] = []
        for job in jobs:
            try:
                request(context.home, name, job.id, {}, by=author(AUTHOR))
            except RefusedError as error:
                refused.append(error)
        if len(refused) == len(jobs):
            raise refused[0]
        return RequestDone(f"Chain {chain_id}: {name} of {plural(len(jobs) - len(refused), 'job')}")

    in_background(context, act)


def submit(context: Context, make: Callable[[Home, Any, str], list[JobRow]], remarks: list[str] | None = None) -> None:
    """Queue jobs: `make(home, project, author)` returns their rows, and may add to `remarks`, which are told with them."""

    def act() -> RequestDone:
        from core.attempt.launcher import launcher
        from core.runner.client import author

        rows = make(context.home, context.find_project(), author(AUTHOR))
        said = "queued " + ", ".join(f"{row.id} {printable(row.title)}" for row in rows)
        told = [said, *(remarks or ()), launcher(context.home).warning()]
        return RequestDone("; ".join(part for part in told if part), job_ids=tuple(row.id for row in rows))

    in_background(context, act)


def start_stress(context: Context, minutes: float) -> None:
    """Queue a stress test of the GPU, or of the CPU where there is none."""

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.config.project import shipped
        from core.submission.stress import submit_stress

        return [submit_stress(home, shipped(), minutes, author=author)]

    submit(context, make)


def can_bake_off(job: JobRow | None) -> bool:
    """What the job makes, or will make, can be compared with its base: a bake-off waits for the job."""
    return _will_make(job, lambda kind: kind.can_bake_off)


def _will_make(job: JobRow | None, fits: Callable[[JobKind], bool]) -> bool:
    return job is not None and fits(kind_of(job.kind)) and job.task is not None and not job.makes_nothing


def bake_off(context: Context, plan: BakeoffPlan) -> None:
    """Queue a bake-off of training runs against the base model that the first of them started from."""

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.bakeoff import submit_bakeoff
        from core.submission.wanted_bakeoff import WantedBakeoff

        wanted = WantedBakeoff(tasks=(plan.task,), candidates=plan.candidates, incumbent=plan.base)
        return [submit_bakeoff(home, project, wanted, author=author)]

    submit(context, make)


def can_export(job: JobRow | None) -> bool:
    """What the job makes, or will make, can be merged into its base or become a GGUF file."""
    return job is not None and kind_of(job.kind).can_export and not job.makes_nothing


def export(context: Context, job: JobRow, wanted: WantedGguf | WantedMerge) -> None:
    """Queue the merging of a training run's adapter into its base, or what makes a GGUF file; what was made already is told
    instead."""

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.gguf import submit_gguf
        from core.submission.merge import submit_merge
        from core.submission.wanted_export import WantedMerge

        if isinstance(wanted, WantedMerge):
            return [submit_merge(home, project, wanted, author=author)]
        made = submit_gguf(home, project, wanted, author=author)
        if not made.queued:
            raise InputError(made.words, code="already_made")
        return list(made.queued)

    submit(context, make)


def makes_gguf(job: JobRow | None) -> bool:
    """What the job makes, or will make, is a GGUF file for a task: it can be checked, and deployed."""
    return job is not None and "gguf" in kind_of(job.kind).makes and job.task is not None and not job.makes_nothing


def can_compare_stages(job: JobRow | None) -> bool:
    """The job makes, or will make, an adapter for a task."""
    return _will_make(job, lambda kind: "adapter" in kind.makes)


def compare_stages(context: Context, job: JobRow) -> None:
    """Queue what is missing between a training's adapter and what serves, and one bake-off over all of it."""

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.stages import submit_stages
        from core.submission.wanted_stages import WantedStages

        queued = submit_stages(home, project, WantedStages(job.id), author=author)
        return [*queued.makers, queued.bakeoff]

    submit(context, make)


def can_ask_why(job: JobRow | None) -> bool:
    """What the job makes, or looks at, is a model whose records can be read."""
    kind = None if job is None else kind_of(job.kind)
    return kind is not None and bool(kind.makes or kind.has_leaderboard or kind.has_parity)


def can_mark(job: JobRow | None) -> bool:
    """The job has answers, or had time to get some: a person can say which are right."""
    return job is not None and kind_of(job.kind).has_answers and job.state not in QUEUED


def check_parity(context: Context, source: str, task: str | None = None, model: str | None = None) -> None:
    """Queue the comparison of the prompts that a model gets with those that it was trained on: `job:12`, or a server's model,
    for which task and model are named."""

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.parity import submit_parity

        return [submit_parity(home, project, source, task=task, model=model, author=author)]

    submit(context, make)


def deploy(context: Context, wanted: WantedDeploy) -> None:
    """Queue the deployment of a GGUF file."""

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.deploy import submit_deploy

        job = submit_deploy(
            home,
            project,
            f"job:{wanted.job_id}",
            to=wanted.to,
            name=wanted.name,
            at_boot=wanted.at_boot,
            slots=wanted.slots,
            author=author,
        )
        return [job]

    submit(context, make)


def run_command(context: Context, words: Sequence[str]) -> None:
    """Run a command of Bakehouse's beside the console, in the project's folder, and tell what it said last."""

    def act() -> RequestDone:
        root = context.find_project().root
        environ = {**os.environ, "BAKEHOUSE_HOME": str(context.home.root)}
        done = subprocess.run(
            [sys.executable, "-P", "-c", "from core.cli.main import main; main()", *words],
            cwd=root,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        said = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip().splitlines()
        return RequestDone(said[-1] if said else f"exit code {done.returncode}", failed=done.returncode != 0)

    in_background(context, act)


def start_served(context: Context, name: str) -> None:
    """Start a served model; what a person should know of what keeps it running is told with it."""

    def act() -> RequestDone:
        from core.aliases.guard import require_no_move
        from core.served.control import start
        from core.wording.served import note_words

        require_no_move(context.home, name)
        kept = start(context.home, name)
        return RequestDone("; ".join([f"{printable(name)} is started, and loads", *map(note_words, kept.notes)]))

    in_background(context, act)


def stop_served(context: Context, name: str) -> None:
    def act() -> RequestDone:
        from core.aliases.guard import require_no_move
        from core.served.control import stop
        from core.served.install import confirm

        require_no_move(context.home, name)
        ran = stop(context.home, name)
        confirm(context.home, name)  # a person has decided: nothing is taken back
        return RequestDone(f"{printable(name)} {'is stopped' if ran else 'did not run'}")

    in_background(context, act)


def remove_served(context: Context, name: str) -> None:
    def act() -> RequestDone:
        from core.aliases.guard import require_removable
        from core.served.control import remove

        require_removable(context.home, name)
        remove(context.home, name)
        return RequestDone(f"{printable(name)} is removed; its GGUF file stays")

    in_background(context, act)


def can_ship(job: JobRow | None) -> bool:
    """The job is a training whose adapter is there or on its way."""
    return _will_make(job, lambda kind: "adapter" in kind.makes)


def ship(context: Context, wanted: WantedShip) -> None:
    """Queue what is missing between a training and a model that serves."""
    remarks: list[str] = []

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.ship import submit_ship

        made = submit_ship(home, project, wanted, author=author, later=remarks, remarks=remarks)
        if not made.queued:
            raise InputError(f"all of this is there already, as chain {made.chain.id}", code="already_made")
        return list(made.queued)

    submit(context, make, remarks)


def rescore(context: Context, job_id: int) -> None:
    """Rescore a bake-off with the checks that its task has now: a result that every console and command shows from then on."""

    def act() -> RequestDone:
        from core.results.rescoring import rescore as rescore_answers
        from core.runner.client import author
        from core.store.database import open_database
        from core.submission.doubts import code
        from core.wording.scoring import change_words

        def name_files(tasks: Sequence[Task]) -> None:
            for line in code(tasks):
                context.post(RequestDone(line))

        with contextlib.closing(open_database(context.home)) as connection:
            scoring, is_new = rescore_answers(context.home, connection, job_id, author=author(AUTHOR), told=name_files)
        if not is_new:
            return RequestDone(f"Checks and scores of bake-off {job_id} are unchanged: nothing to rescore")
        context.reader.data_changed()
        return RequestDone(f"Bake-off {job_id} rescored: {change_words(scoring.changes)}. The original scores are kept")

    in_background(context, act)


def ask_judges(context: Context, job_id: int) -> None:
    """Queue the asking of a bake-off's judges for the verdicts that are missing."""
    remarks: list[str] = []

    def make(home: Home, project: Any, author: str) -> list[JobRow]:
        from core.submission.judging import submit_judging

        return [submit_judging(home, job_id, author=author, remarks=remarks)]

    submit(context, make, remarks)


def start_demo(context: Context) -> None:
    """Queue the demo: the shipped task, the shipped small model, and their bake-off."""

    def make(home: Home, _: Any, author: str) -> list[JobRow]:
        from core.config.project import shipped
        from core.submission.submit import submit_demo

        return submit_demo(home, shipped(), author=author)

    submit(context, make)
