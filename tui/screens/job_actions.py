"""What the dashboard's keys do with the selected job and with the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.format import duration
from core.store.jobs import ACTIVE, JobRow
from core.text import printable
from tui import actions
from tui.model.gpu_facts import gpu
from tui.queries.bakeoff_plan import BakeoffPlan
from tui.screens.confirm import Confirm
from tui.screens.start_bakeoff import AskBakeoff

if TYPE_CHECKING:
    from tui.context import Context
    from tui.model.snapshot import Snapshot


def kill_warning(snapshot: Snapshot, job: JobRow) -> str:
    """What SIGKILL can do to a process that works on the GPU."""
    asked = f"It was asked to stop {duration(snapshot.time - job.stop_asked_at)} ago. " if job.stop_asked_at else ""
    from core.gpu.vendors import VENDORS  # with the readers of every vendor, which the first paint does not need

    device = gpu(snapshot.sample)
    if device is not None and (vendor := VENDORS.get(device.vendor)) is not None and vendor.strands_memory:
        return (
            f"{asked}On an {vendor.label} GPU this is the last means: killed inside a call of the driver, a process can leave "
            "memory of the GPU that no process owns until the machine restarts, and the machine itself can hang. What it has "
            "computed since its last checkpoint is lost. Waiting costs nothing but time."
        )
    return f"{asked}It cannot clean up: what it has computed since its last checkpoint is lost."


class JobActions:
    """A part of the dashboard: it asks, the runner decides."""

    if TYPE_CHECKING:
        app: Any
        context: Context
        snapshot: Snapshot

        @property
        def job(self) -> JobRow | None: ...

    def action_cancel(self) -> None:
        job = self.job
        if job is None:
            return
        name = f"{job.id}, {printable(job.title)}"
        if job.state in ACTIVE:
            explanation = "It stops at its next step and keeps a checkpoint; r retries it from there."
        else:
            explanation = "It has not begun; r queues it again."

        def answered(yes: bool | None) -> None:
            if yes:
                actions.ask(
                    self.context, "cancel", job, f"cancelled {name}" if job.state not in ACTIVE else f"{name} stops"
                )

        question = f"Cancel job {name}?"
        self.app.push_screen(Confirm(question, explanation, f"Cancel job {job.id}", leave="Keep it"), answered)

    def action_kill(self) -> None:
        job = self.job
        if job is None:
            return
        name = f"{job.id}, {printable(job.title)}"

        def answered(yes: bool | None) -> None:
            if yes:
                actions.ask(self.context, "kill", job, f"{name} was ended with SIGKILL")

        question = f"End job {name} with SIGKILL?"
        self.app.push_screen(
            Confirm(question, kill_warning(self.snapshot, job), f"Kill job {job.id}", leave="Let it be"), answered
        )

    def action_retry(self) -> None:
        if self.job is not None:
            actions.ask(self.context, "retry", self.job, f"{self.job.id} is queued again")

    def action_hold(self) -> None:
        if self.job is not None:
            said = (
                f"{self.job.id} stops at a checkpoint, then it is held"
                if self.job.state in ACTIVE
                else f"{self.job.id} is held"
            )
            actions.ask(self.context, "hold", self.job, said)

    def action_release(self) -> None:
        if self.job is not None:
            actions.ask(self.context, "release", self.job, f"{self.job.id} may start")

    def action_reorder(self, to: str) -> None:
        if self.job is not None:
            actions.ask(self.context, "move", self.job, f"{self.job.id} moved {to}", {"to": to})

    def action_pause(self) -> None:
        actions.ask(self.context, "pause", None, "the queue is paused: what runs goes on, nothing new starts")

    def action_resume(self) -> None:
        actions.ask(self.context, "resume", None, "the queue goes on")

    def action_bake_off(self) -> None:
        job = self.job
        if job is None:
            return
        others = [
            other
            for other in self.snapshot.jobs
            if other.kind == "train" and other.state == "done" and other.task == job.task and other.id != job.id
        ]

        def answered(plan: BakeoffPlan | None) -> None:
            if plan is not None:
                actions.bake_off(self.context, plan)

        self.app.push_screen(AskBakeoff(self.context, job, others, self.snapshot.time), answered)

    def action_merge(self) -> None:
        job = self.job
        if job is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                actions.merge(self.context, job)

        explanation = f"The adapter of {printable(job.title)} is merged into its base: bakehouse export {job.id}"
        self.app.push_screen(Confirm(f"Merge job {job.id}?", explanation, "Merge", leave="Cancel"), answered)

    def action_demo(self) -> None:
        explanation = (
            "SmolLM2-135M learns the task judge from 48 examples, then a bake-off compares it with its base. "
            "The model (93 MB) is fetched once. About 7 minutes on two CPU cores."
        )

        def answered(yes: bool | None) -> None:
            if yes:
                actions.start_demo(self.context)

        self.app.push_screen(Confirm("Start the demo?", explanation, "Start", leave="Cancel"), answered)

    def action_new_run(self) -> None:
        from tui.screens.new_run import NewRun

        self.app.push_screen(NewRun(self.context))
