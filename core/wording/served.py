"""The words for what a served model does, and why it does not serve. What a server has said is foreign text: made printable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.format import listed
from core.reasons import Reason
from core.text import printable

Words = Callable[[Mapping[str, Any]], str]


def served_words(reason: Reason | None) -> str:
    """Why a served model is in its phase, without a full stop; empty of None. An unknown code is shown with its values."""
    if reason is None:
        return ""
    try:
        return printable(WORDS[reason.code](reason.values))
    except (KeyError, TypeError, ValueError):
        told = (f"{key} {value}" for key, value in reason.values.items())
        return printable(", ".join([reason.code.replace("_", " "), *told]))


def _jobs(values: Mapping[str, Any]) -> str:
    jobs = [str(one) for one in values.get("jobs") or () if one]
    return f"job {jobs[0]}" if len(jobs) == 1 else f"jobs {listed(jobs)}" if jobs else "a job"


def _again(values: Mapping[str, Any]) -> str:
    seconds = values.get("retry_seconds")
    return "" if seconds is None else f"; tried again after {seconds:.0f} s"


def _said(values: Mapping[str, Any]) -> str:
    return f": {values['said']}" if values.get("said") else ""


WORDS: Mapping[str, Words] = {
    "away": lambda values: f"away for {_jobs(values)}, back after that",
    "died": lambda values: f"llama-server died{_said(values)}{_again(values)}",
    "port_taken": lambda values: f"port {values['port']} is another program's{_again(values)}",
    "out_of_memory": lambda values: f"not enough memory{_said(values)}{_again(values)}",
    "refused": lambda values: f"llama-server does not take it{_said(values)}{_again(values)}",
    "no_start": lambda values: f"llama-server could not be started{_said(values)}{_again(values)}",
    "by_person": lambda values: "stopped by a person",
    "ended": lambda values: f"ended by {values['signal']}" if values.get("signal") else "ended",
    "not_started": lambda values: "not started yet",
    "restarted": lambda values: "the machine was restarted",
    "shim_gone": lambda values: "its process is gone",
}
