"""What is ticked in the form of a bake-off: tasks, candidates, and the ways in which a candidate is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.format import of_five, when
from core.jobfile.kinds import kind_of
from core.store.jobs import JobRow
from core.text import printable
from tui.model.snapshot import Snapshot
from tui.queries.bakeoff_form import Offers, ServerRead
from tui.widgets.tick_list import TickRow

MODELS_MADE = frozenset({"adapter", "merged", "gguf"})
FORMER = "former:"
"""Stands before the names of what an extended bake-off has already."""


@dataclass
class Choices:
    """References and names as the command line takes them, in the order in which they were ticked; what was unticked stays
    offered."""

    tasks: list[str] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Candidates that a person wrote: paths, hashes, models of servers that do not list them."""
    variants: dict[str, list[str]] = field(default_factory=dict)
    """By the candidate below which they stand: references with a variant."""

    def tick(self, ticked: list[str], key: str) -> None:
        if key in ticked:
            ticked.remove(key)
        else:
            ticked.append(key)

    def turn_all_tasks(self, offers: Offers | None, rows: Sequence[TickRow]) -> None:
        """Tick those that `bakehouse bakeoff --tasks all` means (the project's own, and the shipped ones where it has none), or
        none where all of them are ticked."""
        possible = [row.key for row in rows if not row.fixed and not row.problem]
        own = {one.key for one in offers.tasks if one.own} if offers is not None else set()
        possible = [key for key in possible if key in own] or possible
        self.tasks = [] if set(possible) <= set(self.tasks) else possible

    def add(self, reference: str) -> None:
        """Take in a candidate that was written, below the model that it is of."""
        from core.submission.variants import split_reference

        model, written = split_reference(reference)
        offered = self.variants.setdefault(model, []) if written else self.others
        if reference not in offered:
            offered.append(reference)
        if written and model not in self.others:
            self.others.append(model)  # shown once, where no list has it
        if reference not in self.candidates:
            self.candidates.append(reference)

    def ordered(self, rows: Sequence[TickRow]) -> tuple[str, ...]:
        """The ticked candidates as they stand in the list."""
        shown = [row.key for row in rows if row.key in self.candidates]
        return (*shown, *(key for key in self.candidates if key not in shown))


def reference_of(selected: str | None, text: str) -> str:
    """What is meant by a text: `@few_shot=2` or `few_shot=2` is the selected candidate's variant, all else a candidate.

    Empty where a variant is written and no candidate is selected.
    """
    from core.submission.variants import split_reference

    variant = f"@{text.removeprefix('@')}"
    if split_reference(variant)[0]:
        return text
    return f"{selected}{variant}" if selected is not None and not selected.startswith(FORMER) else ""


def runs(snapshot: Snapshot) -> list[JobRow]:
    """Jobs that make a model, or have made one, newest first."""
    return [job for job in snapshot.jobs if MODELS_MADE & set(kind_of(job.kind).makes) and not job.makes_nothing]


def task_rows(offers: Offers, choices: Choices) -> list[TickRow]:
    former = offers.former.tasks if offers.former is not None else ()
    kept = [TickRow(FORMER + name, name, "there already", True, fixed=True) for name in former]
    return kept + [
        TickRow(one.key, one.key, one.note, one.key in choices.tasks, one.problem)
        for one in offers.tasks
        if one.key not in former
    ]


def candidate_rows(
    offers: Offers,
    servers: Mapping[str, ServerRead],
    snapshot: Snapshot,
    choices: Choices,
    problems: Mapping[str, str],
) -> list[TickRow]:
    """Sections: what an extended bake-off has, runs, models of models.yaml, those of each server, what was written."""
    rows: list[TickRow] = []
    listed: set[str] = set()

    def add(key: str, words: str, note: str, problem: str = "") -> None:
        listed.add(key)
        ticked = key in choices.candidates
        rows.append(TickRow(key, words, note, ticked, problems.get(key, "") if ticked else problem))
        for reference in choices.variants.get(key, ()):
            on = reference in choices.candidates
            wrong = problems.get(reference, "") if on else ""
            rows.append(TickRow(reference, reference[len(key) :], "", on, wrong, inner=True))

    if offers.former is not None:
        rows.append(TickRow("", f"bake-off {offers.former.job_id}"))
        rows += [TickRow(FORMER + one, one, "there already", True, fixed=True) for one in offers.former.candidates]
    made = runs(snapshot)
    if made:
        rows.append(TickRow("", "runs"))
    for job in made:
        add(f"job:{job.id}", f"job:{job.id} {job.model or job.title}", run_note(job, snapshot))
    rows.append(TickRow("", "models"))
    for one in offers.models:
        add(one.key, one.key, one.note, one.problem)
    for name in offers.servers:
        told = servers.get(name)
        state = "asking it …" if told is None else "" if told.references else told.problem or "has no model"
        rows.append(TickRow("", f"server {name}", problem=state))
        for reference in told.references if told is not None else ():
            add(reference, reference, "")
    written = [one for one in choices.others if one not in listed]
    if written:
        rows.append(TickRow("", "written below"))
    for reference in written:
        add(reference, reference, "")
    return rows


def run_note(job: JobRow, snapshot: Snapshot) -> str:
    """What tells a run from the others: its task, its settings, its score so far."""
    difference = snapshot.differences.get(job.id)
    parts = [job.task or "", *(difference.words if difference is not None else ())]
    if job.state != "done":
        parts.append("waits for it")
    else:
        score = snapshot.run_scores.get(job.id)
        parts += [of_five(score)] if score is not None else []
        parts.append(when(job.ended_at, snapshot.time))
    return printable(", ".join(part for part in parts if part))


def begun_with(jobs: Sequence[JobRow], offers: Offers, begun: Choices) -> Choices:
    """Runs are compared on their tasks with the models that they started from, beside what is `begun`; without a task the only
    one there is."""
    choices = Choices()
    possible = [one.key for one in offers.tasks if not one.problem]
    choices.tasks = [
        name for name in dict.fromkeys((*(job.task or "" for job in jobs), *begun.tasks)) if name in possible
    ]
    models = {one.key for one in offers.models}
    choices.candidates = [name for name in dict.fromkeys(job.model or "" for job in jobs) if name in models]
    choices.candidates += [f"job:{job.id}" for job in jobs]
    choices.candidates += [one for one in begun.candidates if one not in choices.candidates]
    if not choices.tasks and len(possible) == 1 and offers.former is None:
        choices.tasks = possible
    return choices
