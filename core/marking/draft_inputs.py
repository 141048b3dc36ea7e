"""Draft inputs from a file or a folder of production inputs: what is new, and nothing that is known already.

A draft that a candidate could have learnt by heart proves nothing, and one that is golden already, or nearly another one, tells
nothing new: those are left out and counted.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.config.golden import GoldenInput, GoldenMessage
from core.config.task import Task
from core.config.yaml import read_text
from core.data.examples import Example, normalised
from core.data.leaks import find_leaks
from core.data.line_forms import Conversation
from core.data.reading import open_data
from core.data.turns import ReadOptions
from core.errors import InputError

MOST = 100
"""Drafts that are taken where nobody says how many: more than a person marks in a sitting."""
LOOKED_AT = 400
"""Of a longer file so many inputs, or three times as many as are wanted, are drawn by chance and compared with each other."""
ALIKE = 90.0
"""Two inputs are near-duplicates from here on, in percent of their signs (rapidfuzz's `ratio`: 2·matches / length of both)."""
COMPARED = 4_000
"""Characters of an input that is compared with others."""
PLAIN = frozenset({".txt", ".md", ".text", ".markdown"})
DATA = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".gz"})
LONGEST_ID = 48
UNNAMED = "?"
"""The id of a draft until one is made of its text."""


@dataclass(frozen=True)
class Drafts:
    """`inputs` are the drafts, ids and all. `left_out` counts the others: `unusable`, `golden`, `near_golden`, `near_other`,
    `leak`, `over` (more than were wanted; which ones was drawn by chance)."""

    inputs: tuple[GoldenInput, ...]
    left_out: dict[str, int]
    read: int
    problem: InputError | None = None
    """Why the first of the unusable ones was not read."""


def read_drafts(
    path: Path,
    task: Task,
    golden: Sequence[GoldenInput],
    examples: Sequence[Example],
    *,
    options: ReadOptions | None = None,
    most: int = MOST,
    seed: int = 0,
) -> Drafts:
    """The drafts of a file, or of the files of a folder, in their order.

    `golden` are the inputs that the task has, `examples` its training data. InputError where nothing can be read, or nothing is
    left.
    """
    found, problems, unusable = _read(path, task, options or ReadOptions())
    left = Counter({"unusable": unusable} if unusable else {})
    read, found = len(found) + unusable, _drawn(found, max(LOOKED_AT, 3 * most), seed)
    if over := read - unusable - len(found):
        left["over"] += over
    kept: list[GoldenInput] = []
    compared = [text_to_compare(item) for item in golden]
    exact = set(compared)
    names = {item.id for item in golden}
    leaked = {leak.golden_id for leak in find_leaks(examples, [_numbered(one, at) for at, one in enumerate(found)])}
    for at, one in enumerate(found):
        text = text_to_compare(one)
        if text in exact:
            left["golden" if text in compared[: len(golden)] else "near_other"] += 1
        elif str(at) in leaked:
            left["leak"] += 1
        elif (near := nearest(text, compared)) is not None:
            left["near_golden" if near < len(golden) else "near_other"] += 1
        else:
            compared.append(text)
            exact.add(text)
            kept.append(one)
    if len(kept) > most:
        left["over"] += len(kept) - most
        kept = _drawn(kept, most, seed)
    if not kept:
        why = ", ".join(f"{number} {LEFT_OUT[code]}" for code, number in left.items()) or "it holds none"
        raise InputError(
            f"no input of it can be a draft: {why}",
            code="no_drafts",
            file=path,
            remedy=str(problems[0]) if problems else "name a file of inputs that the task has not seen",
        )
    named = []
    for one in kept:
        named.append(
            one.model_copy(update={"id": unused_id("" if one.id == UNNAMED else one.id, text_to_compare(one), names)})
        )
        names.add(named[-1].id)
    return Drafts(tuple(named), dict(left), read, problems[0] if problems else None)


LEFT_OUT = {
    "unusable": "cannot be read",
    "golden": "golden already",
    "near_golden": "nearly a golden input",
    "near_other": "nearly another draft",
    "leak": "in the training data",
    "over": "more than wanted",
}
"""Words for the codes of `Drafts.left_out`."""


def text_to_compare(item: GoldenInput) -> str:
    """What two inputs are compared by: the letters and digits of what the user says, in one case."""
    if item.messages:
        return normalised("\n".join(turn.content for turn in item.messages if turn.role != "system"))[:COMPARED]
    return normalised(item.input or "")[:COMPARED]


def nearest(text: str, others: Sequence[str]) -> int | None:
    """The place of the first near-duplicate among `others`; None where there is none. An empty text is near to nothing."""
    if not text:
        return None
    from rapidfuzz import fuzz, process

    found = process.extractOne(text, others, scorer=fuzz.ratio, score_cutoff=ALIKE)
    return None if found is None else int(found[2])


def unused_id(wanted: str, text: str, taken: Iterable[str]) -> str:
    """An id that nothing has: the wanted one, else one of the first words of the text; with a number where that is taken."""
    words = re.findall(r"[a-z0-9]+", normalised(wanted or text[:400]))
    plain = "-".join(words)
    while len(plain) > LONGEST_ID and len(words) > 1:
        words.pop()
        plain = "-".join(words)
    plain = (wanted if wanted and len(wanted) <= LONGEST_ID else plain[:LONGEST_ID]) or "input"
    known, number, name = set(taken), 2, plain
    while name in known:
        name, number = f"{plain}-{number}", number + 1
    return name


def _drawn(inputs: list[GoldenInput], most: int, seed: int) -> list[GoldenInput]:
    """At the most so many of them, drawn by chance, in their order."""
    if len(inputs) <= most:
        return inputs
    return [inputs[at] for at in sorted(random.Random(seed).sample(range(len(inputs)), most))]


def _read(path: Path, task: Task, options: ReadOptions) -> tuple[list[GoldenInput], list[InputError], int]:
    """All inputs, why some cannot be read, and how many those are."""
    found: list[GoldenInput] = []
    problems: list[InputError] = []
    unusable = 0
    files = list(_files(path))
    for file in files:
        if file.suffix.lower() in PLAIN:
            try:
                name = file.stem if len(files) > 1 else ""
                found.append(GoldenInput(id=_label(name) or UNNAMED, input=read_text(file)))
            except InputError as error:
                problems.append(error)
                unusable += 1
            continue
        data = open_data(file, replace(options, prompts=True))
        problems += [problem.error for problem in data.problems]
        unusable += data.bad
        found += [_input_of(talk, task) for talk in data.conversations]
    return found, problems, unusable


def _files(path: Path) -> Iterator[Path]:
    """The file, or those of a folder that hold inputs, by their names. InputError for a folder without any."""
    if not path.is_dir():
        yield path
        return
    files = sorted(
        one
        for one in path.iterdir()
        if one.is_file() and not one.name.startswith(".") and one.suffix.lower() in PLAIN | DATA
    )
    if not files:
        known = ", ".join(sorted(PLAIN | DATA))
        raise InputError("the folder holds no inputs", code="no_drafts", file=path, remedy=f"it may have {known}")
    yield from files


def _input_of(talk: Conversation, task: Task) -> GoldenInput:
    """A conversation as a golden input: a text where that says all. The task's own system message is left out."""
    turns = [turn for turn in talk.turns if turn.role != "system" or turn.content.strip() != task.system.strip()]
    document = talk.record.document
    name = _label(document.get("id")) if isinstance(document, dict) else ""
    source = _label(talk.source) or None
    if [turn.role for turn in turns] == ["user"]:
        return GoldenInput(id=name or UNNAMED, input=turns[0].content, source=source)
    messages = [GoldenMessage(role=turn.role, content=turn.content) for turn in turns]
    return GoldenInput(id=name or UNNAMED, messages=messages, source=source)


def _label(value: object) -> str:
    """What a file calls an input or its source, as far as that can be an id."""
    text = " ".join(str(value).split()) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if len(text) <= 200 and text.isprintable() else ""


def _numbered(item: GoldenInput, at: int) -> GoldenInput:
    return item.model_copy(update={"id": str(at)})
