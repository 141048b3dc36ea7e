"""What the dashboard's keys do with the selected job and with the queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.format import duration
from core.runner.commands import COMMANDS, QueueCommand
from core.store.jobs import JobRow
from core.text import printable
from core.wording.jobs import why_not_offered
from tui import actions
from tui.commands import Command, command
from tui.queries.bakeoff_plan import BakeoffPlan
from tui.screens.confirm import Confirm
from tui.screens.parity_question import ParityQuestion
from tui.screens.start_bakeoff import AskBakeoff

if TYPE_CHECKING:
    from core.submission.wanted_export import WantedGguf, WantedMerge
    from core.submission.wanted_ship import WantedShip
    from tui.context import Context
    from tui.model.snapshot import Snapshot
    from tui.queries.deploy_outlook import WantedDeploy


def queue_commands(
    on_job: Callable[[Callable[[JobRow | None], bool]], Callable[[Any], bool]],
    *,
    whole_queue: bool,
    elsewhere: str = "",
) -> tuple[Command, ...]:
    """The keys of all commands of the queue. `on_job` makes a condition about a job one about the screen.

    `elsewhere` says where to go when a command applies to the selected job and is still not offered.
    """
    found = []
    for name, item in COMMANDS.items():
        if item.on_job is None and not whole_queue:
            continue
        when = on_job(item.offered_for) if item.on_job is not None else would_change_queue(item)
        for index, key in enumerate(item.keys):
            action = f"ask_queue('{name}', {index})"
            unless = why_not(item, elsewhere)
            found.append(command(key.shown, key.label, key.help, key.keys, action, when, rank=key.rank, unless=unless))
    return tuple(found)


def would_change_queue(item: QueueCommand) -> Callable[[Any], bool]:
    return lambda screen: not item.queue_is_needless(screen.snapshot.queue)


def why_not(item: QueueCommand, elsewhere: str) -> Callable[[Any], str]:
    def words(screen: Any) -> str:
        job = screen.job if item.on_job is not None else None
        if elsewhere and item.offered_for(job):
            return elsewhere
        return why_not_offered(item, job, screen.snapshot.queue)

    return words


class JobActions(ParityQuestion):
    """A part of the dashboard: it asks, the runner decides."""

    if TYPE_CHECKING:
        app: Any
        context: Context
        snapshot: Snapshot

        @property
        def job(self) -> JobRow | None: ...
        @property
        def runs_to_compare(self) -> list[JobRow]: ...
        @property
        def marked_runs(self) -> list[JobRow]: ...

    def action_ask_queue(self, name: str, key: int) -> None:
        """Ask the runner for a command of the queue, after the person's yes where the command wants one."""
        item = COMMANDS[name]
        job = self.job if item.on_job is not None else None
        if item.on_job is not None and job is None:
            return
        arguments = dict(item.keys[key].arguments)

        def ask() -> None:
            actions.ask(self.context, name, job, item.done(job, arguments), arguments)

        if item.confirmation is None:
            ask()
            return

        def answered(yes: bool | None) -> None:
            if yes:
                ask()

        words = {} if job is None else {"job": str(job.id), "name": f"{job.id}, {printable(job.title)}"}
        sample = self.snapshot.sample
        device = None if sample is None else sample.job_gpu
        explanation = item.confirmation.explain(job, None if device is None else device.vendor)
        if job is not None and job.stop_asked_at is not None:
            explanation = f"Asked to stop {duration(self.snapshot.time - job.stop_asked_at)} ago. {explanation}"
        question, yes = (text.format(**words) for text in (item.confirmation.question, item.confirmation.yes))
        self.app.push_screen(Confirm(question, explanation, yes, leave=item.confirmation.no), answered)

    def action_bake_off(self) -> None:
        chosen = self.runs_to_compare
        if not chosen:
            return
        if len({other.task for other in chosen}) > 1:  # more than the short question is about
            self._open_bakeoff_form(chosen)
            return
        job, ticked = chosen[0], {other.id for other in chosen[1:]}
        others = [
            other
            for other in self.snapshot.jobs
            if actions.can_bake_off(other)
            and (other.state == "done" or other.id in ticked)
            and other.task == job.task
            and other.id != job.id
        ]
        others.sort(key=lambda other: other.id not in ticked)

        def answered(plan: BakeoffPlan | Sequence[JobRow] | None) -> None:
            if isinstance(plan, BakeoffPlan):
                self.bake_off_started()
                actions.bake_off(self.context, plan)
            elif plan is not None:
                self._open_bakeoff_form(plan)

        self.app.push_screen(AskBakeoff(self.context, job, others, self.snapshot, ticked), answered)

    def bake_off_started(self) -> None:
        """A bake-off was agreed to."""

    def action_export(self) -> None:
        job = self.job
        if job is None:
            return

        def answered(wanted: WantedGguf | WantedMerge | None) -> None:
            if wanted is not None:
                actions.export(self.context, job, wanted)

        from tui.screens.start_export import (
            AskExport,  # its formats are those of a pydantic model, which takes time to import
        )

        self.app.push_screen(AskExport(self.context, job), answered)

    def action_ship(self) -> None:
        """The dialog, about the selected training where there is one."""
        self.ask_ship(self.job if actions.can_ship(self.job) else None)

    def ask_ship(
        self, training: JobRow | None, like: JobRow | None = None, begun: Mapping[str, str] | None = None
    ) -> None:
        """Ask how `training` is shipped; a new one is at first as `begun` says, else as `like` was."""

        def answered(wanted: WantedShip | None) -> None:
            if wanted is not None:
                actions.ship(self.context, wanted)

        from tui.screens.start_ship import AskShip  # as for an export

        self.app.push_screen(AskShip(self.context, training, self.snapshot, like, begun or {}), answered)

    def action_parity(self) -> None:
        """Of the file that the selected job makes; without one of a model that a server has."""
        if actions.makes_gguf(self.job):
            assert self.job is not None  # it makes a file
            actions.check_parity(self.context, f"job:{self.job.id}")
        else:
            self.ask_parity()

    def action_deploy(self) -> None:
        job = self.job
        if job is None:
            return

        def answered(wanted: WantedDeploy | None) -> None:
            if wanted is not None:
                actions.deploy(self.context, wanted)

        from tui.screens.start_deploy import AskDeploy  # as above

        self.app.push_screen(AskDeploy(self.context, job), answered)

    def action_stages(self) -> None:
        if self.job is not None:
            actions.compare_stages(self.context, self.job)

    def action_marking(self) -> None:
        if self.job is not None:
            from tui.screens.marking import MarkingScreen

            self.app.push_screen(MarkingScreen(self.context, self.job.id, self.job.task))

    def action_why(self) -> None:
        if self.job is not None:
            from tui.screens.why import WhyScreen

            self.app.push_screen(WhyScreen(self.context, self.job.id))

    def action_demo(self) -> None:
        explanation = (
            "SmolLM2-135M learns the task judge from 71 examples, then a bake-off compares it with its base, and with "
            "the base that has two examples in its prompt. The model (93 MB) is fetched once. About 10 minutes on 2 CPU cores."
        )

        def answered(yes: bool | None) -> None:
            if yes:
                actions.start_demo(self.context)

        self.app.push_screen(Confirm("Start the demo?", explanation, "Start", leave="Cancel"), answered)

    def action_new_bakeoff(self) -> None:
        """The form, with the marked runs ticked; of the selected one `b` asks, and leads on to the form."""
        self._open_bakeoff_form(self.marked_runs)

    def _open_bakeoff_form(self, jobs: Sequence[JobRow]) -> None:
        from tui.screens.new_bakeoff import NewBakeoff

        self.app.push_screen(NewBakeoff(self.context, jobs))

    def action_new_run(self) -> None:
        from tui.screens.new_run import NewRun

        self.app.push_screen(NewRun(self.context))
