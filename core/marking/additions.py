"""Golden inputs that are added to a task: what is written of one, and what is looked at before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from core.authoring.own_copy import require_own
from core.config.golden import Chosen, GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.data.examples import Example, load_examples
from core.data.leaks import refuse_leaks
from core.data.source import read_source
from core.errors import InputError
from core.marking.draft_inputs import UNNAMED, nearest, text_to_compare, unused_id
from core.marking.golden_file import GoldenText, append_inputs, read_golden_text
from core.marking.written_expect import check_expect

CONFIRM_SHARE = 3
"""One of so many inputs is kept to confirm by."""
Use = Literal["choose", "confirm"]


def golden_text(project: Project, task: Task) -> GoldenText:
    """The golden file of a task as it is now, which may not be there yet. InputError where the task names none."""
    if task.golden is None:
        raise InputError(
            f"the task `{task.name}` names no golden inputs",
            code="no_golden",
            file=task.file,
            key="golden",
            remedy=f"write `golden: golden/{task.name}.yaml`",
        )
    return read_golden_text(project.resolve(task.golden, task), project.owner(task).root)


def training_examples(project: Project, task: Task) -> list[Example]:
    """The training data of a task; none where it names none, or its file is not there. InputError for data that is wrong."""
    try:
        return load_examples(read_source(project.train_file(task)), task)[0]
    except InputError as error:
        if error.code in {"no_train_data", "missing_file", "empty_data_set"}:
            return []
        raise


def use_of(golden: Sequence[GoldenInput], chosen: Chosen | None, source: str | None) -> Use:
    """To choose or to confirm by, so that a third of the inputs confirm.

    An input of a source has the use of that source. What was chosen because two candidates disagree is one to choose by: on
    such inputs these two look worse than a third one that had no part in the choice, so nothing is confirmed by them. Any
    other is one to confirm by as long as fewer than a third of all are.
    """
    if source is not None and (same := [one for one in golden if one.source == source]):
        return "confirm" if any(one.use == "confirm" for one in same) else "choose"
    if chosen == "disagreement":
        return "choose"
    confirming = sum(one.use == "confirm" for one in golden)
    return "confirm" if CONFIRM_SHARE * confirming < len(golden) + 1 else "choose"


def new_input(
    task: Task,
    golden: Sequence[GoldenInput],
    draft: GoldenInput,
    expect: Mapping[str, Any],
    chosen: Chosen | None = None,
    *,
    use: Use | None = None,
    tags: Iterable[str] = (),
) -> GoldenInput:
    """A golden input of a draft, under an id that none has. InputError (`open_expectations`) where a check asks for a key that
    is not there."""
    check_expect(expect, task)
    return GoldenInput(
        id=unused_id("" if draft.id == UNNAMED else draft.id, text_to_compare(draft), [one.id for one in golden]),
        input=draft.input,
        messages=draft.messages,
        expect=dict(expect),
        source=draft.source,
        use=use or use_of(golden, chosen, draft.source),
        chosen=chosen,
        tags=list(tags),
    )


def add_golden(
    project: Project, task: Task, before: GoldenText, added: Sequence[GoldenInput], examples: Sequence[Example]
) -> GoldenText:
    """Write golden inputs behind those of a task: all or none, and nothing that is learnt or golden already.

    Raises `InputError` for a task of Bakehouse's own, a doubled input, a file that has changed; `GateError` for a leak.
    """
    require_own(project, task)
    known = [text_to_compare(one) for one in before.inputs]
    for item in added:
        text = text_to_compare(item)
        near = known.index(text) if text in known else nearest(text, known)
        if near is not None:
            raise InputError(
                f"the input is {'' if known[near] == text else 'nearly '}the golden input `{before.inputs[near].id}`",
                code="golden_already",
                file=before.path,
            )
    refuse_leaks(examples, added, str(task.data.train or ""))
    return append_inputs(before, added)
