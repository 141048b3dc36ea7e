"""What an extension takes over of the bake-off that it goes on from, and what it does not, with the reason."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from core.config.golden import GoldenInput
from core.errors import InputError
from core.format import listed, plural
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, TaskUnderTest
from core.results.load import golden_inputs
from core.scoring.answers import read_answers
from core.scoring.questions import AskedTask, asked_task, cells, question, served_key
from core.submission.asked_servers import Asked, ServedFacts, served_place
from core.submission.extension import Extended

MOST_NAMES = 5


@dataclass(frozen=True)
class StoredPlace:
    """Where an answer stands that a model gave, and by which key it would be known again."""

    candidate: str
    task: str
    input_id: str
    repeat: int
    key: str
    identity: str | None


@dataclass(frozen=True)
class TakenOver:
    """How many answers of each candidate need not be asked for again, and what is not taken over, with the reason (`remarks`).

    `is_exact`: the keys of the answers were compared. Else it is that many at most: the weights of a model that no running
    server tells are looked at when it is loaded.
    """

    by_candidate: Mapping[str, int] = field(default_factory=dict)
    is_exact: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def answers(self) -> int:
        return sum(self.by_candidate.values())


@dataclass(frozen=True)
class _OneTask:
    """A task now and as it was asked before."""

    now: TaskUnderTest
    inputs: tuple[GoldenInput, ...]
    former: TaskUnderTest
    former_inputs: Mapping[str, GoldenInput]

    @property
    def name(self) -> str:
        return self.now.name


def taken_over(
    home: Home,
    before: Extended,
    tasks: Sequence[tuple[TaskUnderTest, tuple[GoldenInput, ...]]],
    candidates: Sequence[CandidateSpec],
    asked: Asked,
) -> TakenOver:
    """What the answers of `before` come to in a bake-off of these tasks and candidates. `asked` is what the servers said."""
    places = stored_places(home, before)
    found = list(_compared(before, tasks))
    remarks = [remark for one in found for remark in _task_remarks(before, one, places)]
    former = {candidate.name for candidate in before.spec.candidates}
    there: dict[str, int] = {}
    exact = True
    for candidate in candidates:
        place = served_place(candidate)
        facts = None if place is None else asked.get(place)
        if isinstance(facts, ServedFacts):
            there[candidate.name] = _by_keys(candidate, facts.identity.sha256, before.spec, tasks, places)
            remarks += _other_identity(before, candidate, facts.identity.sha256, places)
        elif candidate.name in former:
            there[candidate.name] = count = sum(_by_question(candidate, one, places) for one in found)
            exact = exact and not count
    return TakenOver(there, exact, tuple(dict.fromkeys(remarks)))


def stored_places(home: Home, before: Extended) -> tuple[StoredPlace, ...]:
    """The answers of an ended bake-off, and those that it was handed; what a server failed to give is not among them."""
    found: dict[tuple[str, str], StoredPlace] = {}
    for file in before.answer_files(home):
        with contextlib.suppress(FileNotFoundError):
            about = file.stat()
            for place in _places(file, about.st_mtime_ns, about.st_size):
                found.setdefault((place.candidate, place.key), place)
    return tuple(found.values())


@lru_cache(maxsize=4)
def _places(file: Path, mtime_ns: int, size: int) -> tuple[StoredPlace, ...]:
    """Of one file; a form asks at each tick."""
    return tuple(
        StoredPlace(one.candidate, one.task, one.input_id, one.repeat, one.key, one.identity)
        for one in read_answers(file)
        if one.fault != "server"
    )


def _compared(before: Extended, tasks: Sequence[tuple[TaskUnderTest, tuple[GoldenInput, ...]]]) -> Iterator[_OneTask]:
    """The tasks that were asked before, where the copy of their golden inputs is still there."""
    for now, inputs in tasks:
        if (former := before.task(now.name)) is not None:
            with contextlib.suppress(InputError):
                yield _OneTask(now, inputs, former, {item.id: item for item in golden_inputs(former)})


def _by_keys(
    candidate: CandidateSpec,
    identity: str,
    spec: BakeoffSpec,
    tasks: Sequence[tuple[TaskUnderTest, tuple[GoldenInput, ...]]],
    places: Sequence[StoredPlace],
) -> int:
    """How many answers are known by their keys, as the job itself will find."""
    known = {place.key for place in places}
    count = 0
    for now, inputs in tasks:
        asked = asked_task(now, inputs, candidate)
        for cell in cells(asked, spec.seed):
            sent = question(asked, cell, asked.sampling.context_length)  # the window is no part of a key
            count += served_key(asked, cell, sent, identity) in known
    return count


def _by_question(candidate: CandidateSpec, one: _OneTask, places: Sequence[StoredPlace]) -> int:
    """How many answers were given to the very question that would be asked now, whoever's weights answered."""
    now, former = asked_task(one.now, one.inputs, candidate), asked_task(one.former, (), candidate)
    if _asked_how(now) != _asked_how(former):
        return 0
    same = {
        item.id
        for item in one.inputs
        if item.id in one.former_inputs and now.messages(item) == former.messages(one.former_inputs[item.id])
    }
    return sum(
        place.candidate == candidate.name
        and place.task == one.name
        and place.input_id in same
        and place.repeat <= one.now.repeats
        for place in places
    )


def _asked_how(asked: AskedTask) -> tuple[object, ...]:
    return asked.sampling, asked.thinking, asked.task.system_role, asked.variant.output


def _task_remarks(before: Extended, one: _OneTask, places: Sequence[StoredPlace]) -> Iterator[str]:
    """What has changed in a task since, as far as it costs answers or scores."""
    mine = [place for place in places if place.task == one.name]
    now = {item.id: item for item in one.inputs}
    gone = [name for name in one.former_inputs if name not in now]
    if gone:
        kept = sum(place.input_id in gone for place in mine)
        yield (
            f"{one.name}: {_named(gone)} of bake-off {before.job_id} {_are(gone)} not among the golden inputs any more: "
            f"{plural(kept, 'stored answer')} to {'it' if len(gone) == 1 else 'them'} {'is' if kept == 1 else 'are'} kept, "
            f"and not counted"
        )
    changed = [
        name
        for name, item in one.former_inputs.items()
        if name in now and now[name].conversation("") != item.conversation("")
    ]
    if changed:
        yield (
            f"{one.name}: the text of {_named(changed)} has changed since bake-off {before.job_id}: "
            f"{'it is' if len(changed) == 1 else 'they are'} asked again"
        )
    if parts := list(_changed_parts(one.former, one.now)):
        yield (
            f"{one.name}: {listed(parts)} {_are(parts)} not as in bake-off {before.job_id}: candidates that are asked with "
            f"{'it' if len(parts) == 1 else 'them'} are asked again"
        )
    if one.former.task.scored_by() != one.now.task.scored_by():
        yield f"{one.name}: its checks have changed since bake-off {before.job_id}: all answers are scored by the present ones"


def _changed_parts(former: TaskUnderTest, now: TaskUnderTest) -> Iterator[str]:
    """What every candidate is asked with, unless its variant replaces it."""
    for key in ("system", "system_role", "thinking"):
        if getattr(former.task, key) != getattr(now.task, key):
            yield f"`{key}`"
    before, after = former.task.sampling.model_dump(), now.task.sampling.model_dump()
    yield from (f"`sampling.{key}`" for key in after if after[key] != before.get(key))
    if former.examples != now.examples[: len(former.examples)]:
        yield "the examples"


def _other_identity(
    before: Extended, candidate: CandidateSpec, identity: str, places: Sequence[StoredPlace]
) -> Iterator[str]:
    """A served model that is not the one that answered before."""
    known = {place.identity for place in places if place.candidate == candidate.name}
    if known and identity not in known:
        yield (
            f"{candidate.name.partition(' @')[0]} is not what bake-off {before.job_id} asked (its weights, template or "
            f"parameters have changed, or the version of its server): it is asked again"
        )


def _named(names: Sequence[str]) -> str:
    """`the golden input `a``, `3 golden inputs (a, b, c)`."""
    if len(names) == 1:
        return f"the golden input `{names[0]}`"
    more = len(names) - MOST_NAMES
    shown = ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"{len(names)} golden inputs ({shown})"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
