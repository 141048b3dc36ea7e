"""`job:12/adapter`: how one job names what another one makes."""

from __future__ import annotations

import re
from typing import NamedTuple

_REFERENCE = re.compile(r"job:(?P<id>\d+)(?:/(?P<makes>\w+))?")


class Reference(NamedTuple):
    """What a job makes; `makes` is the artefact's kind, None where it is left to the job."""

    job_id: int
    makes: str | None = None


def parse_reference(text: str | None) -> Reference | None:
    """A reference as it is written (`job:12`, `job:12/adapter`); None for anything else, such as a path."""
    match = _REFERENCE.fullmatch(text or "")
    return Reference(int(match["id"]), match["makes"]) if match else None


def needed_jobs(*texts: str | None) -> tuple[int, ...]:
    """The jobs that references name, each once, in order; what is no reference is left out."""
    return tuple(sorted({found.job_id for text in texts if (found := parse_reference(text))}))
