"""A parity check as a job of a workshop, and what it left."""

from __future__ import annotations

from typing import Any

from core.config.task import Sampling, Task
from core.files import read_json
from core.jobfile.parity import ParitySpec
from tests.support.workshop import Workshop, events

HELLO = Task(
    name="hello",
    system="Answer in one short sentence.",
    sampling=Sampling(context_length=1024, max_new_tokens=16),
)
REFUSED = 3
"""The exit code of a job that a gate refused."""
Outcome = tuple[int, dict[str, Any], dict[str, Any], list[dict[str, Any]]]
"""The exit code, what was found, the error where it ended in one, and its events of one kind."""


def outcome_of(shop: Workshop, number: int, spec: ParitySpec, kind: str) -> Outcome:
    """Run a check as job `number`; the events are those of `kind`."""
    run = shop.submit(number, spec)
    code = shop.finish(run)
    return code, read_json(run.parity) or {}, read_json(run.attempt(1).error_json) or {}, events(run, 1, kind)
