"""A promotion: which candidate, the evidence for it condition by condition, then the question, then the move to its end.

The evidence stands on the screen before the question. What the gate does not pass takes a reason, which is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message
from textual.widget import Widget

from core.errors import InputError
from core.format import data_size
from core.runner.commands import RefusedError
from core.text import printable
from core.wording.fleet import change_reason_words, phase_words, state_words, still_open_words
from core.wording.jobs import reason_words
from tui import fleet_requests
from tui.actions import RequestDone
from tui.commands import Command, bindings
from tui.context import Context
from tui.lines import Line, folded, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.failures import ask_beside
from tui.queries.promotion_candidates import PromotionCandidate
from tui.screens.confirm import Confirm
from tui.screens.promotion_commands import PROMOTION_COMMANDS
from tui.screens.rows_screen import RowsScreen, problem_rows
from tui.widgets.gate_rows import gate_rows
from tui.widgets.text_field import TextField

if TYPE_CHECKING:
    from core.fleet.promotion import Promotion
    from core.fleet.rows import FleetRow
    from core.store.fleet_changes import FleetChange


WHY = "Why is it promoted though its gate does not pass? The reason is kept: ⏎ goes on, esc cancels."
NONE = "No deployment of this home is a candidate: w writes another model; s in the fleet ships one."
WHICH = "Which candidate? SERVER:MODEL, served:NAME, job:12, or a name on the server of the alias."


def _size(count: int | None) -> str:
    return f", {data_size(count)}" if count else ""


class PromotionScreen(RowsScreen):
    heading = "Promotion"
    commands: ClassVar[tuple[Command, ...]] = PROMOTION_COMMANDS
    BINDINGS: ClassVar = bindings(commands)

    class CandidatesRead(Message):
        def __init__(self, found: tuple[PromotionCandidate, ...], problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.problem = problem

    class EvidenceRead(Message):
        """What the gate says of a candidate, or why it could not be asked."""

        def __init__(self, reference: str, found: Promotion | None, problem: str = "") -> None:
            super().__init__()
            self.reference = reference
            self.found = found
            self.problem = problem

    class MoveEnded(Message):
        """How the promotion ended, or why it was refused."""

        def __init__(self, change: FleetChange | None, problem: str = "") -> None:
            super().__init__()
            self.change = change
            self.problem = problem

    def __init__(self, context: Context, row: FleetRow, reference: str = "") -> None:
        """`reference`: the candidate, where it is chosen already."""
        super().__init__(context)
        self.row = row
        self.reference = reference
        self.candidates: tuple[PromotionCandidate, ...] | None = None
        self.index = 0
        self.evidence: Promotion | None = None
        self.problem = ""
        self.writing = ""
        """What is written: a candidate or a reason."""
        self.override: str | None = None
        self.is_moving = False
        self.ended: FleetChange | None = None

    # How far it is

    @property
    def is_choosing(self) -> bool:
        return not self.reference

    @property
    def is_writing(self) -> bool:
        return bool(self.writing)

    @property
    def can_promote(self) -> bool:
        return self.evidence is not None and not self.is_moving and self.ended is None and not self.is_writing

    @property
    def can_ask(self) -> bool:
        idle = not self.is_moving and not self.is_writing
        return bool(self.reference) and idle and (self.evidence is not None or bool(self.problem))

    # Showing

    def below_rows(self) -> Iterable[Widget]:
        field = TextField(id="written")
        field.display = False
        yield field

    def begin(self) -> None:
        if self.reference:
            self.ask()
        else:
            ask_beside("candidates", self._candidates, lambda line: self.CandidatesRead((), line), self.tell)

    def show(self, snapshot: Snapshot) -> None:
        rows = () if snapshot.fleet is None else snapshot.fleet.rows
        key = (self.row.project_id, self.row.task)
        self.row = next((one for one in rows if (one.project_id, one.task) == key), self.row)
        super().show(snapshot)

    @property
    def rows_title(self) -> Line:
        row = self.row
        return Line(f"Promote {printable(row.task or '')}", "bold").add(" · ", "frame").add(printable(row.alias.name))

    def _paint_end(self) -> None:
        """What is asked and what becomes of a move stands in the last rows."""
        self._paint()
        self.scrolled.go(True)

    def _rows(self, width: int, height: int) -> list[Line]:
        rows = self._choice(width) if self.is_choosing else self._evidence(width)
        if self.problem:
            rows += [Line(), *problem_rows(self.problem, width)]
        if self.writing:
            rows += [Line(), *folded(Line(WHY if self.writing == "reason" else WHICH, "bold"), width)]
        return [row.cut(width) for row in [*rows, *self._move(width)]]

    def _choice(self, width: int) -> list[Line]:
        if self.candidates is None:
            return [Line("looking for candidates …", "dim")]
        rows = [Line("Which candidate is to serve?", "bold"), Line()]
        for number, one in enumerate(self.candidates):
            line = Line("▸ " if number == self.index else "  ", "focus", mark="chosen" if number == self.index else "")
            rows.append(line.add(printable(one.words)).add(f"  {printable(one.note)}" if one.note else "", "dim"))
        if not self.candidates:
            rows += folded(Line(NONE, "dim"), width)
        return rows

    def _evidence(self, width: int) -> list[Line]:
        rows = [self._candidate(), self._incumbent(), Line()]
        if self.evidence is None:
            return [*rows, *([] if self.problem else [Line("asking the servers and the gate …", "dim")])]
        return [*rows, *gate_rows(self.evidence.gate, width)]

    def _candidate(self) -> Line:
        what = self.reference
        if self.evidence is not None:
            target = self.evidence.target
            what += f": {target.source}, {target.model or 'model unknown'}{_size(target.size_bytes)}"
        return Line("candidate  ", "dim").add(printable(what))

    def _incumbent(self) -> Line:
        version = self.row.version
        what = "nothing is known to serve yet"
        if version is not None:
            what = f"version {version.number}, {self.row.model or 'model unknown'}{_size(version.size_bytes)}"
        return Line("serves now ", "dim").add(printable(what))

    def _move(self, width: int) -> list[Line]:
        """The move, once it is asked for, to its end."""
        if self.ended is not None:
            if self.ended.state == "open":
                return [
                    Line(),
                    *folded(Line(f"▲ {still_open_words(self.row.alias.name, self.ended.kind)}", "warn"), width),
                ]
            good = self.ended.state == "done"
            name = printable(self.row.alias.name)
            said = f"{name} is the candidate now" if good else f"The promotion was {state_words(self.ended.state)}"
            why = "" if self.ended.reason is None else f": {change_reason_words(self.ended.reason)}"
            sign, role = ("✓", "good") if good else ("✗", "bad")
            had = self.evidence is not None and self.evidence.incumbent is not None
            back = "; R in the fleet brings back what served before" if good and had else ""
            return [Line(), *(Line(part, role) for part in wrapped(f"{sign} {said}{why}{back}", width))]
        if not self.is_moving:
            return []
        fleet = self.context.snapshot.fleet
        rows = () if fleet is None else fleet.rows
        change = next((one.change for one in rows if one.alias.id == self.row.alias.id and one.change), None)
        phase = "asking the runner" if change is None else phase_words(change.phase)
        return [Line(), Line(f"▷ {phase} …", "busy")]

    # Choosing

    def _candidates(self) -> CandidatesRead:
        from tui.queries.promotion_candidates import candidates_of

        return self.CandidatesRead(candidates_of(self.context.home, self.row))

    def on_promotion_screen_candidates_read(self, message: CandidatesRead) -> None:
        self.candidates, self.problem = message.found, message.problem
        if len(message.found) == 1 and self.is_choosing:
            self._choose(message.found[0].reference)
        self._paint()

    def _choose(self, reference: str) -> None:
        self.reference, self.evidence, self.problem, self.override = reference, None, "", None
        self.ask()
        self._paint()

    def action_look(self) -> None:
        if self.candidates:
            self._choose(self.candidates[self.index].reference)

    def action_choose(self) -> None:
        if self.ended is not None:  # what serves is no candidate
            self.candidates, self.index = None, 0
        self.reference, self.evidence, self.problem, self.ended = "", None, "", None
        if self.candidates is None and self.context.live:
            ask_beside("candidates", self._candidates, lambda line: self.CandidatesRead((), line), self.tell)
        self._paint()

    # The evidence

    def ask(self) -> None:
        if self.context.live:
            reference = self.reference
            failed = lambda line: self.EvidenceRead(reference, None, line)  # noqa: E731
            ask_beside("gate", lambda: self._ask(reference), failed, self.tell)

    def _ask(self, reference: str) -> EvidenceRead:
        from core.fleet.promotion import promotion_gate
        from core.store.database import open_database

        assert self.row.task is not None
        project = self.context.find_project()
        if project.id != self.row.project_id:
            raise InputError(
                f"{self.row.task} is a task of another project: its golden inputs and checks are not here",
                code="other_project",
                remedy="open the console with --project, in the folder of that project",
            )
        with contextlib.closing(open_database(self.context.home)) as connection:
            found = promotion_gate(self.context.home, connection, project, self.row.task, reference)
        return self.EvidenceRead(reference, found)

    def on_promotion_screen_evidence_read(self, message: EvidenceRead) -> None:
        if message.reference == self.reference:
            self.evidence, self.problem = message.found, message.problem
            self._paint()

    def action_ask_again(self) -> None:
        self.evidence, self.problem, self.ended = None, "", None
        self.ask()
        self._paint()

    # The promotion

    def action_promote(self) -> None:
        if self.evidence is None:
            return
        if self.evidence.gate.outcome == "pass":
            self._question()
        else:
            self._write("reason")

    def _question(self) -> None:
        evidence = self.evidence
        assert evidence is not None
        name = self.row.alias.name
        former = evidence.incumbent
        kept = "" if former is None else f" Version {former.number} is kept: R brings it back."
        why = f" Against its gate, because: {self.override}." if self.override else ""
        explanation = f"Clients of {name} get {evidence.target.source} from then on.{why}{kept}"

        def answered(yes: bool | None) -> None:
            if yes:
                self._promote(evidence)
            else:
                self.override = None
                self._paint()

        self.app.push_screen(Confirm(f"Promote {self.reference} to {name}?", explanation, "Promote"), answered)

    def _promote(self, evidence: Promotion) -> None:
        self.is_moving, self.problem = True, ""
        self._paint_end()
        override = self.override
        failed = lambda line: self.MoveEnded(None, line)  # noqa: E731
        ask_beside("promote", lambda: self._carried_out(evidence, override), failed, self._tell_end)

    def _tell_end(self, ended: MoveEnded) -> None:
        change = ended.change
        words = ended.problem if change is None else fleet_requests.ended_words(self.row.alias.name, change)
        self.tell(ended, RequestDone(words, failed=change is None or change.state != "done"))

    def _carried_out(self, evidence: Promotion, override: str | None) -> MoveEnded:
        try:
            return self.MoveEnded(fleet_requests.promote(self.context, evidence, override))
        except RefusedError as error:
            return self.MoveEnded(None, reason_words(error.reason))

    def on_promotion_screen_move_ended(self, message: MoveEnded) -> None:
        self.is_moving, self.ended, self.problem, self.override = False, message.change, message.problem, None
        if message.change is None:
            self.evidence = None  # it was about what was current then
        self._paint_end()
        self.context.feed.wake()

    # Writing

    def _write(self, what: str) -> None:
        self.writing = what
        field = self.query_one("#written", TextField)
        field.value, field.display = "", True
        field.focus()
        self.call_after_refresh(self._paint_end)  # the field takes a row

    def action_write(self) -> None:
        self._write("candidate")

    def on_input_submitted(self, event: TextField.Submitted) -> None:
        event.stop()
        what, text = self.writing, event.value.strip()
        self._end_writing()
        if not text:
            return
        if what == "reason":
            self.override = text
            self._question()
        else:
            self._choose(text)

    def _end_writing(self) -> None:
        self.writing = ""
        self.query_one("#written").display = False
        self.scrolled.focus()
        self._paint()

    def action_leave(self) -> None:
        if self.is_writing:
            self._end_writing()
        else:
            self.app.pop_screen()

    # The rest

    def action_bake_off(self) -> None:
        from core.fleet.names import reference_of
        from tui.screens.new_bakeoff import NewBakeoff
        from tui.screens.new_bakeoff.choices import Choices

        candidate, found = self.reference, self.evidence
        if found is not None and not candidate.startswith("job:"):  # a name alone is one of the alias' server
            candidate = reference_of(replace(found.alias, name=found.target.source))
        choices = Choices([self.row.task or ""], [self.row.reference, candidate])
        self.app.push_screen(NewBakeoff(self.context, begun=choices))

    def action_scroll(self, step: int) -> None:
        if self.is_choosing and self.candidates:
            self.index = max(0, min(len(self.candidates) - 1, self.index + step))
            self._paint()
        else:
            super().action_scroll(step)
