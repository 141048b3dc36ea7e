"""Marking: a pair of answers is offered, a person decides, and the decision becomes marks and a golden input.

A session is a value: each decision makes the next one, and what was decided last can be taken back as long as nobody else has
written the golden file.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.data.examples import Example
from core.errors import InputError
from core.home import Home
from core.marking.additions import add_golden, golden_text, new_input, training_examples
from core.marking.answered import AnsweredJob, answered_job, pairs_of, text_sha256
from core.marking.expectations import Expectation, expectation
from core.marking.golden_file import GoldenText, take_back
from core.marking.measured import Scores, measured_scores, scored_here
from core.marking.needs import Needs, needs
from core.marking.usefulness import MarkingOffer, Pair, next_offer, offer_of, split
from core.store.database import open_database, transaction
from core.store.marks import Mark, delete_marks, insert_mark, list_marks

Decision = Literal["left", "right", "both", "neither", "skip"]
DECISIONS: tuple[Decision, ...] = ("left", "right", "both", "neither", "skip")
VALUES: Mapping[str, tuple[float, float]] = {
    "left": (1.0, 0.0),
    "right": (0.0, 1.0),
    "both": (1.0, 1.0),
    "neither": (0.0, 0.0),
}
"""The marks of the answer on the left and of the one on the right."""


@dataclass(frozen=True)
class Session:
    """What is marked. `done` are the inputs that need no mark any more: marked, golden by now, or skipped in this session.

    `measured` are scores of the two candidates by input that a bake-off has; `only_random` offers what is drawn by chance
    alone.
    """

    project: Project
    job: AnsweredJob
    names: tuple[str, str]
    pairs: tuple[Pair, ...]
    golden: GoldenText
    examples: tuple[Example, ...]
    measured: Scores | None = None
    done: tuple[str, ...] = ()
    difference: float | None = None
    only_random: bool = False

    @property
    def task(self) -> Task:
        return self.job.task

    @property
    def left(self) -> int:
        """How many pairs are still to be offered: of those that are bound only chance offers any."""
        of_chance = split([pair.input_id for pair in self.pairs], self.job.seed)
        return sum(
            pair.input_id not in self.done and (not pair.bound or pair.input_id in of_chance) for pair in self.pairs
        )

    @cached_property
    def offer(self) -> MarkingOffer | None:
        """The next pair to mark; None when all are done."""
        known = [one.text() for one in self.golden.inputs] if self.job.drafts else []
        return next_offer(self.pairs, self.done, self.job.seed, known, only_random=self.only_random)

    def offer_of(self, input_id: str) -> MarkingOffer:
        """The pair of a certain input, as it is offered in its turn. Raises `NotFoundError`."""
        self.job.input(input_id)
        for name in self.names:
            self.job.answer(name, input_id)
        named = next(pair for pair in self.pairs if pair.input_id == input_id)  # it has both answers
        return offer_of(named, split([pair.input_id for pair in self.pairs], self.job.seed), self.job.seed)

    def expected(self, offer: MarkingOffer) -> tuple[Expectation, Expectation]:
        """What a golden input would expect by the answer on the left, and by the one on the right."""
        timeout = self.job.pattern_timeout
        return expectation(self.task, offer.left.text, timeout), expectation(self.task, offer.right.text, timeout)

    @cached_property
    def needs(self) -> Needs:
        """How many inputs are missing until the difference can be shown."""
        scores = [one for one in (self.measured, scored_here(self.job, self.names, self.golden.inputs)) if one]
        return needs(self.task, self.golden.inputs, self.names, scores, self.difference)


@dataclass(frozen=True)
class Decided:
    """What came of a decision: the session after it, the golden input that was written (None: none, and `why` where one might
    have been expected), and what takes it back."""

    session: Session
    offer: MarkingOffer
    decision: Decision
    added: GoldenInput | None = None
    why: str = ""
    mark_ids: tuple[int, ...] = ()
    before: Session | None = None


def open_session(
    home: Home,
    project: Project,
    job_id: int,
    *,
    task: str | None = None,
    candidates: Sequence[str] | None = None,
    difference: float | None = None,
) -> Session:
    """Read all that marking needs. Raises `InputError`, `NotFoundError`."""
    with contextlib.closing(open_database(home)) as connection:
        job = answered_job(home, connection, project, job_id, task)
        names = job.pair_of(candidates)
        golden = golden_text(project, job.task)
        # Marks of a bake-off make no golden input, so that nothing is confirmed by what is picked of it.
        confirming = [one.source for one in golden.inputs if job.drafts and one.use == "confirm"]
        pairs = pairs_of(job, names, frozenset(source for source in confirming if source is not None))
        marked = list_marks(connection, project.id, job.task.name)
        measured = measured_scores(home, connection, project, job.task, names)
    session = Session(
        project,
        job,
        names,
        tuple(pairs),
        golden,
        tuple(training_examples(project, job.task)),
        measured,
        difference=difference,
    )
    return replace(session, done=_done(session, marked))


def _done(session: Session, marked: Sequence[Mark]) -> tuple[str, ...]:
    """Inputs of which an answer of the two is marked; of drafts also those that are golden by now."""
    known = {(one.input_sha256, one.answer_sha256) for one in marked}
    golden = {one.text() for one in session.golden.inputs} if session.job.drafts else set()
    return tuple(
        pair.input_id
        for pair in session.pairs
        if pair.text in golden or any((text_sha256(pair.text), side.sha256) in known for side in (pair.one, pair.other))
    )


def decide(
    home: Home,
    session: Session,
    offer: MarkingOffer,
    decision: Decision,
    *,
    expect: Mapping[str, Any] | None = None,
    note: str = "",
    author: str,
) -> Decided:
    """Store what a person decided: a mark for each answer, and the golden input that comes of it; all of it or nothing.

    `expect` is what the person wrote, else it is read off the right answer. Raises `InputError` where expectations are missing
    or ambiguous (`open_expectations`), where the golden file has changed (`changed_meanwhile`) or is not the project's, and
    `GateError` for an input of the training data.
    """
    if decision == "skip":
        after = replace(session, done=(*session.done, offer.pair.input_id))
        return Decided(after, offer, decision, before=session)
    item, why = _golden_input(session, offer, decision, expect)
    marks = _marks(session, offer, decision, note, author)
    golden = session.golden
    if item is not None:
        golden = add_golden(session.project, session.task, golden, [item], session.examples)
    try:
        with contextlib.closing(open_database(home)) as connection, transaction(connection):
            ids = tuple(insert_mark(connection, mark) for mark in marks)
    except BaseException:
        if item is not None:
            take_back(session.golden, golden)
        raise
    after = replace(session, golden=golden, done=(*session.done, offer.pair.input_id))
    return Decided(after, offer, decision, item, why, ids, session)


def undo(home: Home, decided: Decided) -> Session:
    """Take a decision back: its marks and its golden input. InputError (`changed_meanwhile`) where the golden file has been
    written by others since; nothing is taken back then."""
    before, after = decided.before, decided.session
    assert before is not None
    if decided.mark_ids:
        with contextlib.closing(open_database(home)) as connection, transaction(connection):
            delete_marks(connection, decided.mark_ids)
            if decided.added is not None:
                take_back(before.golden, after.golden)
    return before


def reread(session: Session) -> Session:
    """The session with the golden file as it is now; nothing that was decided is lost."""
    return replace(session, golden=golden_text(session.project, session.task))


def _golden_input(
    session: Session, offer: MarkingOffer, decision: Decision, expect: Mapping[str, Any] | None
) -> tuple[GoldenInput | None, str]:
    """What is to be written into the golden file, or why nothing is."""
    if not session.job.drafts:
        return None, ""
    if expect is None:
        left, right = session.expected(offer)
        if decision == "neither":
            return (
                None,
                "no answer is right, so nothing says what to expect: write the expectations, or leave it a mark",
            )
        if decision == "both" and left.values != right.values:
            raise InputError(
                "both are right, and the checks read different things in them",
                code="open_expectations",
                remedy="call one of them right, or write the expectations yourself",
            )
        chosen = right if decision == "right" else left
        if chosen.missing:
            raise InputError(
                f"the answer does not show what the checks expect under {', '.join(chosen.missing)}",
                code="open_expectations",
                remedy="write the expectations yourself",
            )
        expect = chosen.values
    draft = session.job.input(offer.pair.input_id)
    return new_input(session.task, session.golden.inputs, draft, expect, offer.chosen), ""


def _marks(session: Session, offer: MarkingOffer, decision: Decision, note: str, author: str) -> list[Mark]:
    now, values = time.time(), dict[str, float]()
    for side, value in zip((offer.left, offer.right), VALUES[decision], strict=True):
        values[side.sha256] = max(value, values.get(side.sha256, 0.0))  # of the same text from both there is one mark
    return [
        Mark(
            project_id=session.project.id,
            task=session.task.name,
            input_sha256=text_sha256(offer.pair.text),
            input_id=offer.pair.input_id,
            answer_sha256=sha256,
            value=value,
            note=note,
            author=author,
            time=now,
        )
        for sha256, value in values.items()
    ]
