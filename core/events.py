"""Progress is a file: `events.jsonl`, one JSON object a line. Jobs write it, the runner and the console read it.

Every event has `seq` (from 1, anew with each attempt), `time` (Unix seconds) and `kind`. The kinds and their fields:

| kind       | fields |
|------------|--------|
| phase      | name (what the job does now, in words a person reads), detail |
| step       | step, total, epoch, loss, lr, grad_norm, tokens, tokens_per_second, peak_memory_bytes, |
|            | eta_seconds (or eta_low_seconds, eta_high_seconds) |
| progress   | done, total, unit ("answers", "bytes", …), label, eta_seconds (or the two), tokens_per_second, |
|            | tokens_coming (of the answers that are being given) |
| eval       | step, loss (held out, the mean over all completion tokens), best (lower than all before it) |
| ladder     | rung (from 1), changes ({key: [before, after]}), reason, from_step (of the checkpoint to go on from, or null) |
| checkpoint | step, path, bytes, seconds |
| memory     | allocated_bytes, peak_bytes, host_bytes |
| warning    | code, message |
| result     | message (the headline of what came out) |

A field that is not known is absent or null, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from core.files import append_line, read_lines
from core.redaction import redact_all

EventKind = Literal["phase", "step", "progress", "eval", "ladder", "checkpoint", "memory", "warning", "result"]
KINDS: frozenset[str] = frozenset(get_args(EventKind))


class EventWriter:
    """Appends events of one attempt. Not safe for several processes: a job has one writer.

    `seq` goes on where the file ends: a job that started itself again within an attempt writes to the same file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = max((int(event.get("seq", 0)) for event, _ in read_lines(path)), default=0)

    def write(self, kind: EventKind, **fields: Any) -> None:
        self.seq += 1
        append_line(
            self.path, {"seq": self.seq, "time": time.time(), "kind": kind, **redact_all(fields)}, durable=False
        )


class EventReader:
    """Reads the events that were written since it was last asked."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for event, behind in read_lines(self.path, self.offset):
            self.offset = behind
            if event.get("kind") in KINDS:
                yield event
