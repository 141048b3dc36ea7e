"""All that is wrong with a project, found without loading a model or a tokenizer: `bakehouse config check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from core.authoring.tried_checks import idle_checks
from core.checks import check_ids
from core.config.check_files import with_files
from core.config.golden import GoldenInput, check_document, golden_document
from core.config.model import ModelEntry
from core.config.project import PROJECT_FILE, RECIPES, TASKS, Project, load_task, named
from core.config.recipe import Recipe
from core.config.settings import ProjectFile, Settings, says_something, settings_file
from core.config.shipped import MODELS
from core.config.task import Task
from core.config.validation import check, nearest
from core.config.yaml import Marked, found, load_mapping
from core.data.examples import Example, load_examples
from core.data.leaks import CODE, REMEDY, find_leaks
from core.data.text_faults import refuse_thoughts
from core.errors import GateError, InputError
from core.text import printable

# The least p of n inputs is 2/2ⁿ: below 0.05 from six on.
FEWEST_INPUTS = 6
# So many ids are named in one problem.
MOST_IDS = 6


def check_project(
    project: Project, known: Mapping[str, Sequence[InputError]] = MappingProxyType({})
) -> list[InputError]:
    """Every problem in the project's own files (not in the shipped ones behind it), by file and line.

    `known` are the problems of tasks, by name, that `check_task` has been asked for already.
    """
    problems = [
        *_check_settings(project),
        *_check_folder(project, TASKS, known),
        *_check_folder(project, RECIPES, {}),
        *_check_models(project),
    ]
    return sorted(problems, key=lambda problem: (problem.file or "", problem.line or 0))


def check_task(project: Project, file: Path) -> list[InputError]:
    """Every problem of one task: its file, its golden inputs, its training data, and leaks between the two."""
    try:
        document, unread = with_files(named(file))
    except InputError as problem:
        return [problem]
    task, problems = check(Task, document, given={"name": file.stem})
    if task is None or unread:
        return [*unread, *problems]
    golden, golden_problems = _check_golden(project, task, document)
    return [*golden_problems, *_check_data(project, task, golden)]


def check_settings_file(problem: InputError) -> list[InputError]:
    """All problems of the `bakehouse.yaml` or `settings.yaml` because of which no project could be loaded."""
    file = Path(problem.file or "")
    kind = ProjectFile if file.name == PROJECT_FILE else Settings if file == settings_file() else None
    if kind is None or not file.is_file():
        return [problem]
    try:
        return check(kind, load_mapping(file))[1] or [problem]
    except InputError as unreadable:
        return [unreadable]


def task_warnings(project: Project, file: Path, *, run_code: bool = False) -> list[InputError]:
    """What is not wrong but will disappoint: golden sets too small to show any difference, checks that nothing passes. None for
    a task that cannot be read. `run_code`: checks that run a file of the project are tried, too: whoever asks for that has told
    the person so."""
    try:
        task = load_task(file)
    except InputError:
        return []
    return [*_data_warnings(project, task, run_code), *_golden_warnings(project, task)]


def _data_warnings(project: Project, task: Task, run_code: bool) -> Iterator[InputError]:
    if task.data.train is None:
        return
    try:
        path = project.train_file(task)
        examples, report = load_examples(path, task)
    except InputError:
        return
    yield from _idle_checks(project, task, examples, run_code)
    if report.no_prompts:
        message = "every prompt is empty: the model would learn one answer to whatever is asked"
        yield InputError(message, code="empty_prompts", file=path, remedy="check which column holds the prompts")


def _idle_checks(project: Project, task: Task, examples: list[Example], run_code: bool) -> Iterator[InputError]:
    """Checks that none of the completions pass: what is learnt from them, no answer can score by."""
    if task.file is None or not examples:
        return
    document = named(task.file)
    try:
        golden = project.golden(task).inputs if task.golden else []
    except InputError:
        golden = []
    for idle in idle_checks(task, examples, golden, run_code=run_code):
        count = "the completion" if idle.tried == 1 else f"any of {idle.tried} completions"
        if idle.faulty:
            message = f"the check `{idle.name}` cannot be done on {count} of the training data"
        elif idle.best > 0:
            message = (
                f"the check `{idle.name}` does not fully pass {count} of the training data (the best: {idle.best:.2f})"
            )
        else:
            message = f"the check `{idle.name}` does not pass {count} of the training data"
        remedy = f"compare it with one: `bakehouse audit {task.name} --show 1`"
        told = f"{message}; the first: {printable(idle.reason, limit=200)}" if idle.reason else message
        yield document.error(told, (idle.part, idle.place), code="idle_check", remedy=remedy)


def _golden_warnings(project: Project, task: Task) -> list[InputError]:
    try:
        golden = project.golden(task) if task.golden else None
    except InputError:
        return []
    units = len({item.cluster for item in golden.inputs}) if golden else 0
    if golden is None or not 0 < units < FEWEST_INPUTS:
        return []
    one = "1 golden input" if len(golden.inputs) == 1 else f"{len(golden.inputs)} golden inputs"
    sources = "" if units == len(golden.inputs) else f" from {units} source{'' if units == 1 else 's'}"
    message = f"{one}{sources}: with fewer than {FEWEST_INPUTS} no difference between models can ever be proved"
    remedy = f"add {FEWEST_INPUTS - units} or more; 12 are a good beginning"
    return [InputError(message, code="few_golden_inputs", file=project.resolve(task.golden or "", task), remedy=remedy)]


def _check_settings(project: Project) -> Iterator[InputError]:
    python = project.settings.jobs.python
    if not python or "/" not in python or Path(python).is_file():
        return
    message, remedy = f"there is no interpreter {python}", "name one whose torch fits the GPU, or take the line out"
    for file in (project.root / PROJECT_FILE, settings_file()):
        if file.is_file() and says_something(file):
            document = load_mapping(file)
            if (document.data.get("jobs") or {}).get("python"):
                yield document.error(message, ("jobs", "python"), code="missing_file", remedy=remedy)
                return


def _check_folder(project: Project, folder: Path, known: Mapping[str, Sequence[InputError]]) -> Iterator[InputError]:
    for file in sorted((project.root / folder).glob("*")):
        if file.name.startswith(".") or file.is_dir():
            continue
        if file.suffix != ".yaml":
            remedy = f"rename it to {file.stem}.yaml" if file.suffix == ".yml" else "move it elsewhere"
            yield InputError("is not read: only *.yaml is", code="unknown_file", file=file, remedy=remedy)
        elif folder == TASKS:
            yield from known[file.stem] if file.stem in known else check_task(project, file)
        else:
            yield from _check_recipe(file)


def _check_recipe(file: Path) -> list[InputError]:
    try:
        document = named(file)
    except InputError as problem:
        return [problem]
    return check(Recipe, document, given={"name": file.stem})[1]


def _check_models(project: Project) -> Iterator[InputError]:
    file = project.root / MODELS
    if not file.exists():
        return
    try:
        document = load_mapping(file)
    except InputError as problem:
        yield problem
        return
    for name, entry in document.data.items():
        if not isinstance(entry, dict):
            yield document.error(f"expected a mapping of keys, found {found(entry)}", (name,))
            continue
        model, problems = check(ModelEntry, document, (name,), {"name": name})
        yield from problems
        if model and model.path and not project.resolve(model.path, model).exists():
            message = f"there is no {project.resolve(model.path, model)}"
            yield document.error(message, (name, "path"), code="missing_file")


def _check_golden(project: Project, task: Task, document: Marked) -> tuple[list[GoldenInput], list[InputError]]:
    if task.golden is None:
        return [], []
    problems: list[InputError] = []
    if not task.format and not task.content:
        remedy = "write at least one under `format:` or `content:`: without it every answer scores the same"
        problems.append(document.error("the task has no check yet", ("format",), code="no_checks", remedy=remedy))
    file = project.resolve(task.golden, task)
    if not file.is_file():
        message = f"there is no file {file}"
        return [], [*problems, document.error(message, ("golden",), code="missing_file")]
    try:
        written = golden_document(file)
    except InputError as problem:
        return [], [*problems, problem]
    golden, wrong = check_document(written, project.owner(task).root)
    if golden is None:
        return [], problems + wrong
    return golden.inputs, [*problems, *_check_expectations(task, golden.inputs, written)]


def _check_expectations(task: Task, inputs: list[GoldenInput], document: Marked) -> Iterator[InputError]:
    """A check that asks for `expect.KEY` is faulty on an input that has no such key. One problem for each key."""
    asking: dict[str, list[str]] = {}
    definitions = [*task.format, *task.content]
    for definition, name in zip(definitions, check_ids(definitions), strict=True):
        for key in dict.fromkeys(definition.expect_keys()):
            asking.setdefault(key, []).append(f"`{name}`")
    for key, names in asking.items():
        without = [(index, item) for index, item in enumerate(inputs) if key not in item.expect]
        if not without:
            continue
        ids = ", ".join(f"`{item.id}`" for _, item in without[:MOST_IDS])
        more = f" and {len(without) - MOST_IDS} more" if len(without) > MOST_IDS else ""
        checks = f"the check {names[0]} asks" if len(names) == 1 else f"the checks {', '.join(names)} ask"
        verb = "has" if len(without) == 1 else "have"
        message = f"{ids}{more} {verb} no `{key}`, which {checks} for"
        unasked = {known for _, item in without for known in item.expect if known not in asking}
        meant = nearest(key, sorted(unasked))
        remedy = f"did you mean `{meant}`, which no check asks for?" if meant else f"write `expect: {{{key}: …}}`"
        path = ("inputs", without[0][0], "expect")
        yield document.error(message, path, code="missing_expect", remedy=remedy)


def _check_data(project: Project, task: Task, golden: list[GoldenInput]) -> Iterator[InputError]:
    if task.data.train is None:
        return
    try:
        file = project.train_file(task)
        examples, _ = load_examples(file, task)
    except InputError as problem:
        yield problem
        return
    try:
        refuse_thoughts(examples, task, file)
    except GateError as refused:
        yield InputError(
            refused.message, code=refused.code, file=refused.file, line=refused.line, remedy=refused.remedy
        )
    for leak in find_leaks(examples, golden):
        yield InputError(f"data leak: the example {leak.relation}", code=CODE, file=file, line=leak.line, remedy=REMEDY)
