"""The words for served models: what each does now, why it does not serve, and what keeps it running.

What a server has said is foreign text: made printable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.format import data_size, listed, moment
from core.process.ports import LOOPBACK
from core.reasons import Reason
from core.served.record import ServedModelRecord
from core.served.state import ServedState
from core.text import printable

SIGNS: Mapping[str, str] = {"serving": "▶", "loading": "▷", "away": "◷", "failed": "✗", "stopped": "■"}
"""A sign for each phase."""


def state_words(record: ServedModelRecord, state: ServedState, memory_bytes: int | None = None) -> str:
    """`serving since 14:20, 127.0.0.1:18080, 1.2 GB`, `away for job 7`, `failed: port 18080 is taken; …`, …"""
    where = f"{LOOPBACK}:{record.port}"
    why = served_words(state.reason)
    if state.phase == "serving":
        size = [] if memory_bytes is None else [data_size(memory_bytes)]
        return ", ".join([f"serving since {moment(state.since)}", where, *size])
    if state.phase == "loading":
        return f"loading since {moment(state.since)}, {where}" + (f": {why}" if why else "")
    if state.phase == "failed":
        return f"failed: {why or 'why is not known'}"
    if state.phase == "away":
        return why or "away"
    return f"stopped: {why}" if why else "stopped"


def served_words(reason: Reason | None) -> str:
    """Why a served model is in its phase, without a full stop; empty of None. An unknown code is shown with its values."""
    if reason is None:
        return ""
    retry = reason.values.get("retry_seconds")
    try:
        words = _REASONS[reason.code](reason.values)
        return printable(words if retry is None else f"{words}; next try after {retry:.0f} s")
    except (KeyError, TypeError, ValueError):
        told = (f"{key} {value}" for key, value in reason.values.items())
        return printable(", ".join([reason.code.replace("_", " "), *told]))


def note_words(reason: Reason) -> str:
    """What a person should know of what keeps a served model running."""
    return _NOTES[reason.code](reason.values)


def _jobs(values: Mapping[str, Any]) -> str:
    jobs = [str(one) for one in values.get("jobs") or () if one]
    return f"job {jobs[0]}" if len(jobs) == 1 else f"jobs {listed(jobs)}" if jobs else "a job"


_REASONS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "away": lambda values: f"away for {_jobs(values)}",
    "died": lambda values: str(values["said"]),
    "refused": lambda values: str(values["said"]),
    "out_of_memory": lambda values: str(values["said"]),
    "no_start": lambda values: f"llama-server does not start: {values['said']}",
    "port_taken": lambda values: f"port {values['port']} is taken by another program",
    "by_person": lambda values: "on request",
    "ended": lambda values: f"its process was sent {values['signal']}",
    "not_started": lambda values: "not started yet",
    "restarted": lambda values: "the machine was restarted",
    "shim_gone": lambda values: "its process is gone",
}
_NOTES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "no_linger": lambda values: (
        "without linger systemd "
        + ("starts it at your first login, not with the machine, and " if values["at_boot"] else "")
        + "ends it at your last logout: `loginctl enable-linger` lets it run without you"
    ),
    "ends_at_logout": lambda values: (
        "logind ends it when you log out (KillUserProcesses=yes), and no systemd of yours answers that could keep it"
    ),
}
