"""Events as a person reads them: one row each, with the time and the role of its colour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.format import clock, data_size, duration, figure
from core.text import printable
from tui.model.forecasts import changes_in_words, read_rung

ROLES = {"eval": "good", "checkpoint": "good", "result": "good", "ladder": "warn", "warning": "warn", "phase": "busy"}


def event_row(line: str) -> tuple[str, str]:
    """(text, role) of a line of `events.jsonl`; a line that is no event is shown as it is."""
    try:
        event = json.loads(line)
        kind = event["kind"]
        said = words(event, kind)
        moment = clock(float(event["time"]), seconds=True)
    except (ValueError, KeyError, TypeError, AttributeError):
        return line, "text"
    return f"{moment} {kind:<10} {printable(said)}", ROLES.get(kind, "text")


def words(event: Mapping[str, Any], kind: str) -> str:
    """What an event says besides its kind."""
    match kind:
        case "phase":
            return joined(event.get("name"), short(event.get("detail")))
        case "step":
            return joined(
                f"{event['step']:,} of {event['total']:,}",
                told("loss", event.get("loss")),
                told("lr", event.get("lr")),
                told("grad", event.get("grad_norm")),
                f"{event['tokens_per_second']:,.0f} tok/s" if event.get("tokens_per_second") else None,
                f"peak {data_size(event['peak_memory_bytes'])}" if event.get("peak_memory_bytes") else None,
            )
        case "progress":
            far = f"{event.get('done')} of {event.get('total')} {event.get('unit') or ''}".strip()
            coming = event.get("tokens_coming")
            return joined(far, event.get("label"), f"{coming:,} tokens coming" if isinstance(coming, int) else None)
        case "eval":
            best = "the best so far" if event.get("best") else None
            return joined(told("loss", event.get("loss")), f"at step {event['step']:,}", best)
        case "ladder":
            rung = read_rung(event, 0)
            begins = f"on from step {rung.from_step:,}" if rung.from_step else "from the start again"
            return joined(f"rung {rung.rung}: {changes_in_words(rung.changes)}", begins, rung.reason)
        case "checkpoint":
            size = f"{data_size(event['bytes'])}" if event.get("bytes") else None
            seconds = event.get("seconds") or 0.0
            return joined(f"at step {event['step']:,}", size, duration(seconds) if seconds >= 0.5 else None)
        case "memory":
            return joined(
                *(f"{key.removesuffix('_bytes')} {data_size(event[key])}" for key in MEMORY if event.get(key))
            )
        case "warning":
            return str(event.get("message") or event.get("code"))
        case "result":
            return str(event.get("message"))
        case _:
            return joined(*(f"{key} {value}" for key, value in event.items() if key not in ("seq", "time", "kind")))


def short(detail: Any) -> str | None:
    """A detail; of a path its name, which is what tells files apart: the whole of it is in the log."""
    return Path(detail).name if isinstance(detail, str) and detail.startswith("/") else detail


MEMORY = ("allocated_bytes", "peak_bytes", "host_bytes")


def told(name: str, value: Any) -> str | None:
    return f"{name} {figure(value)}" if isinstance(value, int | float) else None


def joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)
