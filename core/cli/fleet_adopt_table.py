"""What serves and can be taken into the fleet, as a table for a terminal of any width."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from core.cli.text_grid import grid
from core.fleet.adoptable import Adoptable
from core.format import data_size, gb, when
from core.text import clip, printable
from core.wording.fleet import short_digest
from core.wording.fleet_rows import silent_words

HEAD = ("model", "task", "GB", "quant", "size", "made from", "modified", "digest")
LONGEST = 36


def adoptable_lines(found: Sequence[Adoptable], width: int) -> Iterator[str]:
    """A line a model. A task with a question mark is a guess; `●` stands before what is in the fleet as it is, `▲` before an
    alias under which somebody else has put another model."""
    now = time.time()
    yield from grid([HEAD, *(_cells(one, now) for one in found)], width, left=2)


def sign_lines(found: Sequence[Adoptable]) -> Iterator[str]:
    """What the signs mean that are in the table."""
    if any(one.is_current for one in found):
        yield "● in the fleet as it is"
    if any(one.alias is not None and not one.is_current for one in found):
        yield "▲ in the fleet, and changed by somebody else since: adopted again, it is the next version"
    if any(one.proposed_task and not one.tasks for one in found):
        yield "?: a task that the name suggests; nothing follows from it"


def _cells(one: Adoptable, now: float) -> tuple[str, ...]:
    sign = "●" if one.is_current else "▲" if one.alias is not None else "○"
    task = ", ".join(one.tasks) or (f"{one.proposed_task}?" if one.proposed_task else "")
    return (
        clip(printable(f"{sign} {_name(one)}"), LONGEST),
        printable(task),
        "" if one.target.size_bytes is None else gb(one.target.size_bytes),
        printable(one.quantization or ""),
        printable(one.parameter_size or ""),
        printable(clip(_made_from(one), LONGEST)),
        when(one.modified_at, now),
        short_digest(one.target.digest) if one.target.digest else "",
    )


def _name(one: Adoptable) -> str:
    return one.name if one.server == "ollama" else one.reference


def _made_from(one: Adoptable) -> str:
    """What our deployments tell, else what its server calls it."""
    if one.target.model is None:
        return one.family or "unknown"
    training = "" if one.lineage.train_job is None else f", training {one.lineage.train_job}"
    return f"{one.target.model}{training}"


def facts_words(one: Adoptable) -> str:
    """`4.3 GB, Q8_0, Qwen3-4B, recipe plain, data judge.jsonl, training 12`, as far as that is known."""
    facts = [data_size(one.target.size_bytes), one.quantization or "", one.target.model or one.family or ""]
    lineage = one.lineage
    made = [f"recipe {lineage.recipe}" if lineage.recipe else "", f"data {lineage.data}" if lineage.data else ""]
    made += [f"training {lineage.train_job}" if lineage.train_job is not None else ""]
    told = [part for part in (*facts, *made) if part]
    told += [] if one.fault is None else [f"not all is known: {silent_words(one.fault)}"]
    return printable(", ".join(told))
