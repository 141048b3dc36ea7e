"""What the marking screen shows and asks for: read, decided and written in threads, never in the console's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.errors import BakehouseError, InputError

if TYPE_CHECKING:
    from core.config.project import Project
    from core.home import Home
    from core.marking.expectations import Expectation
    from core.marking.needs import Needs
    from core.marking.session import Decided, Decision, Session
    from core.marking.usefulness import MarkingOffer
    from core.results.answer_diff import AnswerDiff


@dataclass(frozen=True)
class MarkingView:
    """A session with all that is drawn of it. `offer` None: nothing is left to mark. `decided` are the decisions of this
    session that can be taken back, the last one last."""

    session: Session
    needs: Needs
    offer: MarkingOffer | None = None
    expected: tuple[Expectation, Expectation] | None = None
    diff: AnswerDiff | None = None
    decided: tuple[Decided, ...] = ()


@dataclass(frozen=True)
class MarkingAnswer:
    """What came of a question: the view, a line for the person, and what a person must do first (`code` of a refusal)."""

    view: MarkingView | None
    told: str = ""
    failed: bool = False
    code: str | None = None


def view_of(session: Session, decided: tuple[Decided, ...] = ()) -> MarkingView:
    """Works out all that a screen shows."""
    from core.results.answer_diff import diff_answers

    offer = session.offer
    if offer is None:
        return MarkingView(session, session.needs, decided=decided)
    diff = diff_answers(offer.left.text, offer.right.text)
    return MarkingView(session, session.needs, offer, session.expected(offer), diff, decided)


def read_marking(
    home: Home, find_project: Callable[[], Project], job_id: int | None, task: str | None
) -> MarkingAnswer:
    """The beginning, with the answers of a job; None: of the newest drafts of the task, else its newest bake-off. Raises as
    `open_session`."""
    from core.marking.session import open_session

    project = find_project()
    number = newest_job(home, project, task or "") if job_id is None else job_id
    return MarkingAnswer(view_of(open_session(home, project, number, task=task)))


def newest_job(home: Home, project: Project, task: str) -> int:
    """The job with answers to mark of a task. Raises `InputError` where there is none."""
    from core.marking.overview import markable_jobs
    from core.store.database import open_database

    with contextlib.closing(open_database(home)) as connection:
        jobs = markable_jobs(connection, project.id, task)
    if not jobs:
        raise InputError(
            f"no candidate has answered anything of `{task}` yet",
            code="no_answers",
            remedy=f"`bakehouse golden draft {task} --inputs FILE --candidates A B`, or a bake-off",
        )
    return jobs[0].job_id


def mark_offer(
    home: Home, view: MarkingView, decision: Decision, expect: Mapping[str, Any] | None, author: str
) -> MarkingAnswer:
    """A decision about what is offered. What is refused leaves everything as it was, but for a golden file that others have
    written: that one is read again."""
    from core.marking.session import decide, reread
    from core.wording.marking import decided_words

    assert view.offer is not None  # the key works only then
    try:
        done = decide(home, view.session, view.offer, decision, expect=expect, author=author)
    except BakehouseError as error:
        session = reread(view.session) if error.code == "changed_meanwhile" else view.session
        return MarkingAnswer(view_of(session, view.decided), str(error), failed=True, code=error.code)
    return MarkingAnswer(view_of(done.session, (*view.decided, done)), decided_words(done))


def undo_last(home: Home, view: MarkingView) -> MarkingAnswer:
    """Take back what was decided last."""
    from core.marking.session import reread, undo

    *before, last = view.decided
    try:
        session = undo(home, last)
    except BakehouseError as error:
        session = reread(view.session) if error.code == "changed_meanwhile" else view.session
        return MarkingAnswer(view_of(session, ()), f"not taken back: {error}", failed=True, code=error.code)
    # What was chosen on the screen since stays chosen.
    session = replace(session, difference=view.session.difference, only_random=view.session.only_random)
    return MarkingAnswer(view_of(session, tuple(before)), f"taken back: {last.offer.pair.input_id}")


def change_session(view: MarkingView, **values: Any) -> MarkingAnswer:
    """Another difference that is to be shown, or another order."""
    return MarkingAnswer(view_of(replace(view.session, **values), view.decided))


def copy_and_read(home: Home, find_project: Callable[[], Project], job_id: int | None, task: str) -> MarkingAnswer:
    """The task copied into the project, and the beginning again."""
    from core.authoring.own_copy import copy_task

    files = copy_task(find_project(), task)
    answer = read_marking(home, find_project, job_id, task)
    return replace(answer, told=f"copied into the project: {', '.join(file.name for file in files)}")
