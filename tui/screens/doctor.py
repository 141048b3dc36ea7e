"""The doctor's report: what is installed, what it can do, and what to mend. The last one is shown at once, with its age."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from core.format import duration, percent, plural
from core.store.jobs import ACTIVE, ENDED, JobRow
from core.text import printable
from core.wording.doctor import section_title
from core.wording.jobs import phase_words, reason_words
from tui import actions
from tui.commands import ENDS, Command, bindings, command, scrolling
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.failures import ask_beside
from tui.screens.confirm import Confirm
from tui.screens.rows_screen import RowsScreen, problem_rows

if TYPE_CHECKING:
    from core.doctor.results import Diagnostic, Report

SIGNS = {"ok": ("✓", "good"), "warning": ("▲", "warn"), "fault": ("✗", "bad"), "absent": ("·", "dim")}
STRESS = "stress"
DEFAULT_MINUTES = 5.0
SUBJECT = 26
MOST_SUBJECT = 34


def report_rows(report: Report, width: int) -> list[Line]:
    """How to train on this box, and what was found of it in sections."""
    subjects = [len(printable(line.subject)) for line in report.lines]
    column = min(MOST_SUBJECT, max([SUBJECT, *(length + 2 for length in subjects)])) if width >= 90 else 20
    best = printable(report.recommended.method)
    rows = [Line("recommended", "bold").to(column + 2).add(best or "nothing", "good" if best else "warn")]
    rows += [
        Line(" " * (column + 2)).add(row, "dim")
        for row in wrapped(printable(report.recommended.why), width - column - 2)
    ]
    for name, lines in report.sections():
        rows += [Line(), Line(printable(section_title(name)), "bold")]
        for line in lines:
            rows += finding_rows(line, column, width)
    return rows


def finding_rows(finding: Diagnostic, column: int, width: int) -> list[Line]:
    sign, role = SIGNS.get(finding.state, ("?", "text"))
    text = {"ok": "text", "absent": "dim"}.get(finding.state, role)
    rows = []
    for index, said in enumerate(list(wrapped(printable(finding.message), width - column - 2)) or [""]):
        head = Line(f"{sign} ", role).add(printable(finding.subject), text) if index == 0 else Line()
        rows.append(head.cut(column + 1).to(column + 2).add(said, text))
    for index, said in enumerate(wrapped(printable(finding.remedy), width - column - 4) if finding.remedy else ()):
        rows.append(Line(" " * (column + 2)).add("→ " if index == 0 else "  ", "focus").add(said, "text"))
    return rows


def stress_rows(snapshot: Snapshot, width: int) -> list[Line]:
    """The newest stress test: how far it is, or what came of it. Nothing where there was none."""
    tests = [job for job in snapshot.jobs if job.kind == STRESS]
    job = max(tests, key=lambda one: one.id, default=None)
    if job is None:
        return []
    progress = job.progress
    parts = [printable(reason_words(job.reason))]
    if job.state in ACTIVE and progress is not None:
        share = "" if progress.fraction is None else percent(progress.fraction)
        left = f"{progress.left} left" if progress.left else ""
        step = "" if progress.step is None else f"step {progress.step}"
        parts = [share, left, step, printable(phase_words(progress.phase or "")), *parts]
    role = {"done": "good", "failed": "bad"}.get(job.state, "busy" if job.state in ACTIVE else "warn")
    head = f"stress test, job {job.id}"
    said = ", ".join(part for part in (printable(job.state), *parts) if part)
    return [*(Line(row, role) for row in wrapped(f"{head}: {said}", width)), Line()]


def headline(report: Report, now: float) -> Line:
    """`3 faults · 2 warnings · 14 ok · 3 min ago`."""
    line = Line()
    for state, word, role in (("fault", "fault", "bad"), ("warning", "warning", "warn")):
        if count := report.count(state):  # type: ignore[arg-type]
            line.add(" · " if line.pieces else "", "dim").add(plural(count, word), role)
    line.add(" · " if line.pieces else "", "dim").add(f"{report.count('ok')} ok", "good")
    age = max(0.0, now - report.time)
    line.add(f" · {duration(age)} ago" if age >= 10 else " · just now", "warn" if age > 86400 else "dim")
    return line.add(" · without torch" if report.quick else "", "warn")


class DoctorScreen(RowsScreen):
    heading = "Doctor"
    commands: ClassVar[tuple[Command, ...]] = (
        *scrolling(page_rank=2),
        *ENDS,
        command(
            "r", "examine again", "Examine the box again: up to a minute", "r", "examine", lambda s: not s.busy, rank=1
        ),
        command(
            "s",
            "stress test",
            "Train a small model for some minutes: what single products cannot show",
            "s",
            "stress",
            lambda s: s.stress_test is None,
            rank=1,
            unless="A stress test waits or runs already.",
        ),
        command(
            "x",
            "cancel test",
            "Cancel the stress test",
            "x",
            "cancel_stress",
            lambda s: s.stress_test is not None,
            rank=1,
        ),
        command(
            "esc", "back", "Back to the dashboard; an examination goes on", "escape,q,enter", "app.pop_screen", rank=1
        ),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class Examined(Message):
        """A report, or why there is none; `stored`: it is the last one, and a new one is to be made."""

        def __init__(self, report: Report | None, problem: str = "", stored: bool = False) -> None:
            super().__init__()
            self.report = report
            self.problem = problem
            self.stored = stored

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.report: Report | None = None
        self.problem = ""
        self.busy_since: float | None = None

    @property
    def busy(self) -> bool:
        return self.busy_since is not None

    @property
    def stress_test(self) -> JobRow | None:
        """The stress test that waits or runs."""
        return next((job for job in self.snapshot.jobs if job.kind == STRESS and job.state not in ENDED), None)

    def begin(self) -> None:
        ask_beside("last-report", self._read_last, lambda line: self.Examined(None, line, stored=True), self.tell)

    @property
    def rows_title(self) -> Line:
        title = Line("Doctor", "bold")
        if self.busy_since is not None:
            title.add(f"  examining, {duration(max(0.0, self.snapshot.time - self.busy_since))} …", "busy")
        if self.report is not None:
            title.add("  ").extend(headline(self.report, self.snapshot.time))
        return title

    def _rows(self, width: int, height: int) -> list[Line]:
        rows = stress_rows(self.snapshot, width)
        if self.problem:
            rows += problem_rows(self.problem, width)
        if self.report is not None:
            return [*rows, *report_rows(self.report, width)]
        if not rows and self.busy:
            return [Line("looking at driver, torch, GPU and server: the probes with torch take up to a minute", "dim")]
        return rows or [Line("not examined yet: ", "dim").add("r", "bold").add(" examines the box", "dim")]

    def action_stress(self) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                actions.start_stress(self.context, DEFAULT_MINUTES)

        command = f"bakehouse doctor --stress --minutes {DEFAULT_MINUTES:g}"
        explanation = (
            f"A small model with random weights is trained for {DEFAULT_MINUTES:g} minutes in several layouts, as a job of "
            "the queue: it waits for the GPU, and served models are unloaded meanwhile. A GPU that faults can need a restart "
            f"of the machine. That nothing faults proves nothing. The same as {command}"
        )
        question = "Start a stress test?"
        self.app.push_screen(Confirm(question, explanation, "Start", leave="Not now"), answered)

    def action_cancel_stress(self) -> None:
        job = self.stress_test
        if job is not None:
            actions.ask(self.context, "cancel", job, f"Stress test (job {job.id}) is being cancelled")

    def _read_last(self) -> Examined:
        from core.doctor.report import last_report

        return self.Examined(last_report(self.context.home), stored=True)

    def action_examine(self) -> None:
        self.busy_since = self.snapshot.time
        self._paint()
        ask_beside("doctor", self._examine, lambda line: self.Examined(None, line), self.tell)

    def _examine(self) -> Examined:
        from core.doctor.report import examine

        return self.Examined(examine(self.context.home))

    def on_doctor_screen_examined(self, message: Examined) -> None:
        if message.stored and self.report is None and message.report is None:
            # There is nothing to show: looking is what one came for.
            self.action_examine()
            return
        if not message.stored:
            self.busy_since = None
        self.problem = message.problem
        self.report = message.report or self.report
        self._paint()
