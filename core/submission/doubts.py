"""What is no reason to refuse a bake-off and should be known before it runs, a sentence each."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.checks import code_files
from core.config.golden import GoldenSet
from core.config.task import Task
from core.data.examples import CHARACTERS_PER_TOKEN
from core.data.text_faults import FOREIGN_ENDS, FOREIGN_HEADS, FOREIGN_TURNS
from core.errors import BakehouseError, InputError
from core.format import listed
from core.gpu.devices import find_gpu
from core.home import Home
from core.jobfile.bakeoff import IN_PROCESS, CandidateSpec, ExampleTurn
from core.models.files import model_folder
from core.models.fingerprints import chat_template
from core.models.gguf import check_gguf

CHARACTERS_PER_TOKEN_AT_MOST = 32
"""No text that people write comes to more on average: what is longer than that fits nowhere."""
MOST_NAMES = 3
# Words are no marks: `### Answer:` is as good a heading as any.
_MARKS = tuple(mark for mark in (*FOREIGN_ENDS, *FOREIGN_HEADS, *FOREIGN_TURNS) if mark.startswith(("<", "[")))


def lengths(
    task: Task, golden: GoldenSet, candidates: Sequence[CandidateSpec], examples: Sequence[Sequence[ExampleTurn]]
) -> list[str]:
    """Candidates whose system text, examples and longest golden input may not fit into the context beside an answer.

    Without a tokenizer a token is taken for four characters. Raises `InputError` where no tokenizer could make them fit.
    """
    longest: dict[tuple[int, int], list[str]] = {}
    for candidate in candidates:
        variant = candidate.variant
        sampling = variant.applied(task.sampling)
        system = task.system if variant.system is None else variant.system
        shown = sum(len(turn.content) for one in examples[: variant.few_shot] for turn in one)
        asked = max((sum(len(text) for _, text in item.conversation(system)) for item in golden.inputs), default=0)
        characters = shown + asked
        if characters > CHARACTERS_PER_TOKEN_AT_MOST * sampling.context_length:
            raise InputError(
                f"{candidate.name} at the task {task.name}: {characters:,} characters are asked, which no context of "
                f"{sampling.context_length:,} tokens holds",
                code="input_too_long",
                key=f"@{variant.written}" if variant.written else task.name,
                remedy="shorten the system text or the inputs, or raise context_length",
            )
        tokens = characters // CHARACTERS_PER_TOKEN
        if tokens + sampling.max_new_tokens > sampling.context_length:
            longest.setdefault((tokens, sampling.context_length), []).append(candidate.name)
    return [
        f"{task.name}: {_some(names)} may not fit into a context_length of {context:,} tokens: about {tokens:,} are asked "
        f"(a quarter of the characters), and the answer comes on top"
        for (tokens, context), names in longest.items()
    ]


def marks(candidates: Iterable[CandidateSpec]) -> list[str]:
    """Marks of chat templates in the system texts of variants: a model reads them as the frame, not as a text."""
    found: dict[str, str] = {}
    for candidate in candidates:
        file, text = candidate.variant.system_file, candidate.variant.system or ""
        mark = next((mark for mark in _MARKS if mark.strip() in text), None)
        if file is not None and mark is not None:
            found[file] = mark.strip()
    return [
        f"{file} holds `{mark}`, a mark of chat templates: a model reads such a mark as the end or the beginning of a message"
        for file, mark in found.items()
    ]


def thinking(home: Home, candidates: Iterable[CandidateSpec]) -> list[str]:
    """Models of this disk that are asked to think by a variant, and whose chat template has no switch for that."""
    names = [
        candidate.name
        for candidate in candidates
        if candidate.variant.think == "on" and _has_switch(home, candidate) is False
    ]
    return [f"{name}: its chat template has no switch for thinking, so that think=on changes nothing" for name in names]


def code(tasks: Iterable[Task]) -> list[str]:
    """Files of checks that will be run with the rights of the person: who had the task from elsewhere should read them
    first."""
    return [
        f"{task.name}: scoring runs {listed(files)}, with your rights: a check of the kind `python`"
        for task in tasks
        if (files := code_files(task.format, task.content))
    ]


def interruptions(asked: Sequence[CandidateSpec]) -> list[str]:
    """Served models of the home, candidates and judges, that make room on the GPU for what the job loads itself: their clients
    have no answer then."""
    served = [
        one.served_model or one.name
        for one in asked
        if one.server is not None and one.server.served_dir is not None and one.server.is_local
    ]
    loads = any(one.form != "served" for one in asked)
    names = list(dict.fromkeys(served))
    if not names or not loads or find_gpu() is None:
        return []
    verb = "does" if len(names) == 1 else "do"
    return [f"{_some(names)} {verb} not serve while the job loads other models on the GPU"]


def _has_switch(home: Home, candidate: CandidateSpec) -> bool | None:
    """Whether the template knows `enable_thinking` or `thinking`; None where no template can be read."""
    template: str | None = None
    with contextlib.suppress(OSError, ValueError, BakehouseError):
        if candidate.form == "gguf" and candidate.path is not None:
            template = check_gguf(Path(candidate.path), candidate.name).chat_template
        elif candidate.form in IN_PROCESS and candidate.model is not None and candidate.model.template_text is not None:
            template = candidate.model.template_text
        elif candidate.form in IN_PROCESS and candidate.model is not None:
            folder = model_folder(home, candidate.model)
            template = None if folder is None else chat_template(folder)
    return None if template is None else re.search(r"\b(?:enable_)?thinking\b", template) is not None


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return listed(names) if more <= 0 else f"{', '.join(names[:MOST_NAMES])} and {more} more"
