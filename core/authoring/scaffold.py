"""A new project and a new task: files to begin with. Nothing is overwritten, and nothing is set aside unasked."""

from __future__ import annotations

import re
import secrets
import shlex
from codecs import BOM_UTF8
from dataclasses import dataclass
from pathlib import Path

from core.authoring.derive import (
    FEWEST_EXAMPLES,
    Field,
    Lengths,
    checks,
    comparison,
    expectation,
    fields,
    lengths,
    shared_system,
)
from core.authoring.derive_structure import structure_checks
from core.authoring.new_files import make_folder, write_new_files
from core.authoring.templates import EXAMPLE_CHECKS, GOLDEN_HEAD, PROJECT, TASK
from core.authoring.yaml_text import block, comment, flow, scalar
from core.config.golden import GoldenInput, GoldenMessage
from core.config.project import DATA, GOLDEN, PROJECT_FILE, RECIPES, TASKS, Project
from core.config.task import Sampling, Task, TaskData
from core.data.conversion import converted
from core.data.examples import Example, examples_of
from core.data.leaks import find_leaks
from core.data.reading import DataFile, in_training_form, open_data, read_training
from core.data.records import UNIT_PLURALS, Unit
from core.data.source import read_source
from core.errors import InputError
from core.home import expanded
from core.text import printable

TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def new_project(folder: Path) -> list[Path]:
    """Make `folder` a project: `bakehouse.yaml` with an id of its own, and the folders. Returns the files written.

    Raises InputError when it is one already, or cannot be written.
    """
    folder = expanded(folder).absolute()
    file = folder / PROJECT_FILE
    if file.exists():
        raise InputError("this is a project already", code="exists", file=file)
    word = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-") or "project"
    text = _fill(PROJECT, id=f"{word[:40]}-{secrets.token_hex(4)}", name=scalar(printable(folder.name) or word))
    for place in (TASKS, RECIPES, DATA, GOLDEN):
        make_folder(folder / place)
    return write_new_files({file: text})


def new_task(project: Project, name: str, *, examples: Path | DataFile | None = None, hold_out: int = 0) -> list[Path]:
    """Write a commented task, its golden file and its training data into the project. Returns the files written.

    `examples`: what to train on, a file of any form that `core.data.reading` knows, or what was read of one. Lines in the
    project's form are copied as they are, others are converted; lengths, system message and checks are worked out from them.
    Data that lies in its place already is taken where it is. `hold_out`: so many of the records become golden inputs and
    are left out of the copy; what became of which one stands at the top of the golden file.

    Raises InputError for a bad name, a file that is there already, a line that cannot be used; nothing is written then.
    """
    if project.is_shipped:
        remedy = "`bakehouse new project FOLDER` makes one; or go to its folder"
        raise InputError("there is no project here to write into", code="no_project", remedy=remedy)
    return write_new_files(_task_files(project.root, name, examples, hold_out))


def new_project_with_task(folder: Path, name: str, *, examples: DataFile, hold_out: int = 0) -> list[Path]:
    """`new_project` and `new_task` as one: what the task is refused for leaves no project behind either."""
    root = expanded(folder).absolute()
    files = _task_files(root, name, examples, hold_out)
    made = new_project(root)
    try:
        return [*made, *write_new_files(files)]
    except InputError:
        for file in made:
            file.unlink(missing_ok=True)
        raise


def _task_files(root: Path, name: str, examples: Path | DataFile | None, hold_out: int) -> dict[Path, str | bytes]:
    """The files of a task and what is to stand in them, the task's own first; nothing is written. InputError as `new_task`."""
    if not TASK_NAME.fullmatch(name):
        message = f"expected a name of letters, digits, `-` and `_` that begins with a letter or digit, found {name!r}"
        raise InputError(message, code="bad_name")
    task_file, golden_file = root / TASKS / f"{name}.yaml", root / GOLDEN / f"{name}.yaml"
    data_file = root / DATA / f"{name}.train.jsonl"
    named = examples.path if isinstance(examples, DataFile) else examples
    in_place = data_file.exists() and (named is None or named.resolve() == data_file.resolve())
    left_out = isinstance(examples, DataFile) and examples.left_out
    if in_place and (hold_out or left_out):
        how = "held out" if hold_out else "left out"
        message = f"lines are {how} of a copy, and this file is where the copy goes"
        raise InputError(message, code="exists", file=data_file, remedy="move it elsewhere and name it as the examples")
    there = [file for file in (task_file, golden_file, *(() if in_place else (data_file,))) if file.exists()]
    if there:
        rest = f", and so {'is' if len(there) == 2 else 'are'} {' and '.join(map(str, there[1:]))}" if there[1:] else ""
        them = "them" if there[1:] else "it"
        remedy = (
            f"take another name; or, when there is nothing of yours in {them} to keep, delete {them} and ask again: "
        )
        raise InputError(
            f"the file is there already{rest}",
            code="exists",
            file=there[0],
            remedy=remedy + shlex.join(["rm", *map(str, there)]),
        )
    if in_place:
        empty = examples is None and not data_file.stat().st_size
        data = None if empty else read_training(read_source(data_file))
    else:
        data = open_data(examples) if isinstance(examples, Path) else examples
    learnt = _learn(name, data, hold_out)
    task = _task_text(name, learnt)
    golden = _golden_text(name, learnt)
    written: dict[Path, str | bytes] = {task_file: task, golden_file: golden}
    if not in_place:
        written[data_file] = "" if data is None else _train_lines(data, {example.line for example in learnt.held_out})
    return written


@dataclass(frozen=True)
class _Learnt:
    """What the examples tell; without examples all is empty."""

    data: DataFile | None = None
    examples: tuple[Example, ...] = ()
    held_out: tuple[Example, ...] = ()
    lengths: Lengths | None = None
    system: str | None = ""
    fields: tuple[Field, ...] = ()
    structure: tuple[str, ...] = ()


def _learn(name: str, data: DataFile | None, hold_out: int) -> _Learnt:
    if data is None:
        if hold_out:
            raise InputError("there are no examples to hold any out of", code="no_examples", remedy="name their file")
        return _Learnt()
    examples, _ = examples_of(data, Task(name=name, data=TaskData(system="keep")))
    completions = [example.completion for example in examples]
    return _Learnt(
        data,
        tuple(examples),
        tuple(_hold_out(examples, hold_out, data)),
        lengths(examples),
        shared_system(examples),
        tuple(fields(completions)),
        tuple(structure_checks(completions)) if len(completions) >= FEWEST_EXAMPLES else (),
    )


def _hold_out(examples: list[Example], number: int, data: DataFile) -> list[Example]:
    """`number` examples spread evenly over the file, whose input no other record repeats."""
    if not number:
        return []
    step = len(examples) / number
    first = [examples[int(index * step + step / 2)] for index in range(number)] if step >= 1 else []
    chosen: list[Example] = []
    for example in dict.fromkeys([*first, *examples]):
        if len(chosen) == number:
            break
        others = [other for other in examples if other.line != example.line]
        if not find_leaks(others, [_golden_input(example, data.unit, with_system=False)]):
            chosen.append(example)
    many = UNIT_PLURALS[data.unit]
    if len(chosen) < number:
        message = f"{number} {many} were to be held out, {len(chosen)} have an input that no other one repeats"
        raise InputError(message, code="too_few_examples", file=data.path)
    if len(chosen) == len(examples):
        raise InputError(f"no {data.unit} would be left to learn from", code="too_few_examples", file=data.path)
    return sorted(chosen, key=lambda example: example.line)


def _golden_input(example: Example, unit: Unit, *, with_system: bool) -> GoldenInput:
    """An example as a golden input: a text where that says all, else messages."""
    turns = [turn for turn in example.messages if with_system or turn.role != "system"]
    name = f"{unit}-{example.line}"
    if [turn.role for turn in turns] == ["user"]:
        return GoldenInput(id=name, input=turns[0].content)
    return GoldenInput(id=name, messages=[GoldenMessage(role=turn.role, content=turn.content) for turn in turns])


def _task_text(name: str, learnt: _Learnt) -> str:
    if learnt.lengths is None:
        sampling = Sampling()
        why = "twice the longest answer you expect: none should lose by being cut off"
    else:
        found = learnt.lengths
        sampling = Sampling(context_length=found.context_length, max_new_tokens=found.max_new_tokens)
        longest = f"line {found.longest_line}: {found.longest_completion:,} characters"
        why = f"twice the longest completion ({longest}, 3 to a token)"
    return _fill(
        TASK,
        name=name,
        system=block(learnt.system or "", 2) if learnt.system else "''",
        system_note=_system_note(learnt),
        context_length=str(sampling.context_length),
        max_new_tokens=str(sampling.max_new_tokens),
        max_new_tokens_note=why,
        golden=f"{GOLDEN}/{name}.yaml",
        train=f"{DATA}/{name}.train.jsonl",
        keep="system: keep" if learnt.system is None else "# system: keep",
        checks=_checks_text(learnt),
    )


def _system_note(learnt: _Learnt) -> str:
    if learnt.system is None:
        return (
            "# Your lines have different system messages, which training keeps (`system: keep` below). A golden input\n"
            "# without a system message of its own is asked with the one that stands here.\n"
        )
    if learnt.system:
        return f"# It is the one that all {len(learnt.examples)} examples have.\n"
    return ""


def _checks_text(learnt: _Learnt) -> str:
    if not learnt.fields and not learnt.structure:
        return f"format:\n{EXAMPLE_CHECKS['format']}\ncontent:\n{EXAMPLE_CHECKS['content']}"
    compared = _compared(learnt)
    left = [field for field in learnt.fields if field not in compared]
    lines = [
        f"# All {len(learnt.examples)} completions pass these checks, which were made from them: look at each, and",
        "# take out what is mere chance.",
        "format:",
        *(f"  - {line}" for line in learnt.structure),
        *(f"  - {line}" for line in checks(learnt.fields, [example.completion for example in learnt.examples])),
        EXAMPLE_CHECKS["format"],
        "",
    ]
    if compared:
        lines.append("# Against what `expect` of the golden input says.")
    lines += ["content:", *(f"  - {comparison(field)}" for field in compared)]
    if left:
        lines.append(
            "  # Free text: to be compared letter by letter, if you want it and `expect` of each input says it."
        )
        lines += [f"  # - {comparison(field)}" for field in left]
    return "\n".join([*lines, EXAMPLE_CHECKS["content"]])


def _compared(learnt: _Learnt) -> list[Field]:
    """The fields whose content is checked: of few values; and short ones where held-out inputs say what is expected."""
    return [field for field in learnt.fields if field.values or (learnt.held_out and field.short)]


def _golden_text(name: str, learnt: _Learnt) -> str:
    compared = _compared(learnt)
    example_expect = flow(expectation(compared, learnt.examples[0].completion)) if compared else "{verdict: PASS}"
    head = _fill(GOLDEN_HEAD, name=name, expect=example_expect)
    if not learnt.held_out:
        return head
    assert learnt.data is not None
    data = learnt.data
    numbers = ", ".join(str(example.line) for example in learnt.held_out)
    many = UNIT_PLURALS[data.unit]
    text = f"{head}  # Held out of {printable(data.source.name)}, and so not in the training data: {many} {numbers}.\n"
    text += f"  # Above each input stands the completion that the {data.unit} had, to look at: no candidate gets to see it.\n"
    for example in learnt.held_out:
        # Where all lines have one system message, the task has it, and what it says there later is what is asked.
        item = _golden_input(example, data.unit, with_system=learnt.system is None)
        text += f"\n{comment(example.completion, 2)}\n  - id: {item.id}\n{_asked(item)}"
        if expect := expectation(list(learnt.fields), example.completion):
            text += f"    expect: {flow(expect)}\n"
    return text


def _asked(item: GoldenInput) -> str:
    if item.input is not None:
        return f"    input: {block(item.input, 6)}\n"
    turns = [f"      - role: {turn.role}\n        content: {block(turn.content, 10)}\n" for turn in item.messages]
    return "    messages:\n" + "".join(turns)


def _train_lines(data: DataFile, held_out: set[int]) -> str | bytes:
    """What is trained on: lines that are in the project's form as they are, others converted; without those held out."""
    if not in_training_form(data):
        return converted(data, without=held_out)[0]
    content = data.source.content.removeprefix(BOM_UTF8)
    kept = [line for number, line in enumerate(content.split(b"\n"), start=1) if number not in held_out]
    return b"\n".join(kept).rstrip(b"\n") + b"\n"


def _fill(template: str, **values: str) -> str:
    for key, value in values.items():
        template = template.replace(f"«{key}»", value)
    return template
