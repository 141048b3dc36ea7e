"""The tasks of a project as a table: what each asks of a model, what it can show, and what is wrong with its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.authoring.lint import check_task, task_warnings
from core.checks import check_ids
from core.config.golden import GoldenInput
from core.config.project import TASKS, Project
from core.config.task import Task
from core.data.examples import CHARACTERS_PER_TOKEN, Example, load_examples
from core.errors import BakehouseError, InputError


@dataclass(frozen=True)
class TaskRow:
    """One task. `shipped`: it comes with Bakehouse and is not the project's own.

    `inputs` counts golden inputs, `confirm` those kept to confirm by, `sources` the units of statistics that they are.
    `format_checks` and `content_checks` are their ids, `examples` the training examples (None: the task has no training data).
    Lengths are in tokens, estimated from characters: `example_tokens` of a mean example with its prompt, `prompt_tokens` of the
    longest golden prompt, which has `room_tokens` (the context without the longest answer).
    """

    name: str
    title: str
    shipped: bool
    inputs: int
    confirm: int
    sources: int
    format_checks: tuple[str, ...]
    content_checks: tuple[str, ...]
    examples: int | None
    example_tokens: int | None
    prompt_tokens: int | None
    room_tokens: int
    system: str = ""
    problems: tuple[InputError, ...] = ()
    warnings: tuple[InputError, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "problems": [one.to_json() for one in self.problems],
            "warnings": [one.to_json() for one in self.warnings],
        }


def task_rows(project: Project, own: bool = False, *, run_code: bool = False) -> list[TaskRow]:
    """A row for each task, the project's own first, in the order of their names; `own`: without those that come with Bakehouse.

    It reads every golden and data file and tries the checks on the training data: call it in a thread. `run_code`: also those
    checks of the project's own tasks that run a file of it, as `task_warnings` has it.
    """
    written = project.own_task_names()
    found = []
    for name in written if own else project.task_names():
        try:
            found.append(task_row(project, project.task(name), run_code=run_code and name in written))
        except InputError as problem:
            wrong = check_task(project, project.root / TASKS / f"{name}.yaml") if name in written else []
            found.append(unreadable(name, wrong or [problem]))
    return found


def task_row(project: Project, task: Task, *, run_code: bool = False) -> TaskRow:
    """The row of one task. What cannot be read of it is counted as nothing and told by `problems`."""
    owner = project.owner(task)
    golden, examples = _golden(project, task), _examples(project, task)
    of_examples = [tokens_of(*(turn.content for turn in one.messages), one.completion) for one in examples or ()]
    prompts = [tokens_of(*(text for _, text in item.conversation(task.system))) for item in golden]
    names = tuple(check_ids([*task.format, *task.content]))
    assert task.file is not None
    return TaskRow(
        name=task.name,
        title=task.title or "",
        shipped=owner.is_shipped,
        inputs=len(golden),
        confirm=sum(item.use == "confirm" for item in golden),
        sources=len({item.cluster for item in golden}),
        format_checks=names[: len(task.format)],
        content_checks=names[len(task.format) :],
        examples=None if examples is None else len(examples),
        example_tokens=round(sum(of_examples) / len(of_examples)) if of_examples else None,
        prompt_tokens=max(prompts, default=None),
        room_tokens=task.sampling.context_length - task.sampling.max_new_tokens,
        system=task.system,
        problems=tuple(check_task(owner, task.file)),
        warnings=tuple(task_warnings(owner, task.file, run_code=run_code)),
    )


def unreadable(name: str, problems: Sequence[InputError]) -> TaskRow:
    """The row of a task whose file is none."""
    return TaskRow(name, "", False, 0, 0, 0, (), (), None, None, None, 0, problems=tuple(problems))


def tokens_of(*texts: str) -> int:
    """About so many tokens are in these texts."""
    return round(sum(map(len, texts)) / CHARACTERS_PER_TOKEN)


def _golden(project: Project, task: Task) -> Sequence[GoldenInput]:
    try:
        return project.golden(task).inputs if task.golden else ()
    except BakehouseError:
        return ()


def _examples(project: Project, task: Task) -> list[Example] | None:
    if task.data.train is None:
        return None
    try:
        return load_examples(project.train_file(task), task)[0]
    except BakehouseError:
        return []
