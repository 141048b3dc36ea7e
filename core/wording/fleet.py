"""The words for what the fleet is, how it moves, and why a move was refused or came to nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.format import moment
from core.reasons import Reason
from core.store.fleet_reasons import ChangeReasonCode, FleetRefusalCode
from core.text import printable

Values = Mapping[str, Any]
Words = Callable[[Values], str]

ORIGINS: Mapping[str, str] = {"adopted": "adopted", "promoted": "promoted", "found": "found there"}
"""How a version came to be one of an alias."""
KINDS: Mapping[str, str] = {
    "adopt": "adoption",
    "assign": "assignment",
    "release": "release",
    "promote": "promotion",
    "rollback": "rollback",
}
STATES: Mapping[str, str] = {
    "open": "under way",
    "done": "done",
    "taken_back": "taken back",
    "failed": "not done",
}
PHASES: Mapping[str, str] = {
    "": "waiting for the runner",
    "keeping": "keeping both versions under names of their own",
    "placing": "placing the model under the alias",
    "verifying": "looking what the alias is now",
    "loading": "loading the model that the alias is to serve",
    "waiting_for_lease": "waiting: served models are away for a job",
    "waiting_for_job": "waiting for a job that asks a server of this machine",
    "putting_back": "putting back what the alias was",
    "waiting_server": "waiting for the server: the alias may have been moved or not",
}
"""Where an open change is; those from `loading` to `putting_back` are of served models."""
_DIGEST_SIGNS = 12


def origin_words(origin: str) -> str:
    return ORIGINS.get(origin, origin)


def kind_words(kind: str) -> str:
    return KINDS.get(kind, kind)


def state_words(state: str) -> str:
    return STATES.get(state, state)


def still_open_words(alias: str, kind: str) -> str:
    """Of a change on which nobody waits any more, for somebody has stopped the runner."""
    return f"The {kind_words(kind)} of {printable(alias)} is still under way: the runner was stopped. The next one ends it."


def phase_words(phase: str) -> str:
    return printable(PHASES.get(phase, phase.replace("_", " ")))


def change_reason_words(reason: Reason) -> str:
    """Why a change ended as it did, as one line; a code that this version does not know is shown as it is."""
    words: Words | None = CHANGE_WORDS.get(reason.code)  # type: ignore[call-overload]
    try:
        said = reason.code if words is None else words(reason.values)
    except (KeyError, TypeError, ValueError):
        said = reason.code
    later = "; a later runner found the change open" if reason.values.get("after_restart") else ""
    return printable(said + later)


def short_digest(digest: object) -> str:
    """The first signs of a digest, as people compare them; `nothing` for none."""
    return printable(str(digest).removeprefix("sha256:")[:_DIGEST_SIGNS]) if digest else "nothing"


def asker_words(author: object) -> str:
    """Who asked, in a sentence: `anna@box (command)` of `anna@box, command`."""
    who, _, way = str(author).rpartition(", ")
    return f"{who} ({way})" if who else str(author)


def _by(values: Values) -> str:
    author, at = values.get("author"), values.get("at")
    return (f" by {asker_words(author)}" if author else "") + (f", {moment(float(at))}" if at else "")


def _not_current(values: Values) -> str:
    now = "is no version yet" if values["version"] is None else f"is version {values['version']} by now"
    return f"{values['alias']} {now}{_by(values)}: nothing was done. Look at it again, then ask again."


def _task_moved(values: Values) -> str:
    now = "has no alias any more" if values["alias"] is None else f"has the alias {values['alias']} by now"
    return f"The task {values['task']} {now}{_by(values)}: nothing was done."


FLEET_REFUSAL_WORDS: dict[FleetRefusalCode, Words] = {
    "change_open": lambda values: (
        f"A {kind_words(values['kind'])} of {values['alias']} is under way, asked for{_by(values)}: nothing was done."
    ),
    "not_current": _not_current,
    "gate_not_asked": lambda values: (
        f"The gate of {values['task']} has not been asked: a promotion without it needs a reason, which is kept."
    ),
    "no_alias": lambda values: f"The task {values['task']} has no alias.",
    "alias_unknown": lambda values: f"There is no alias {values['alias']}; `bakehouse fleet list` shows them.",
    "no_former_version": lambda values: (
        f"{values['alias']} has no version before its present one: there is nothing to go back to."
    ),
    "version_unknown": lambda values: f"{values['alias']} has no such version.",
    "already_current": lambda values: f"{values['alias']} is that model already, as version {values['version']}.",
    "no_digest": lambda values: (
        f"The server does not tell the digest of {values['source']}: nothing could be verified."
    ),
    "task_moved": _task_moved,
    "is_alias_itself": lambda values: f"{values['alias']} is the alias itself: name the model that it is to become.",
}

CHANGE_WORDS: dict[ChangeReasonCode, Words] = {
    "gate_not_passed": lambda values: "nobody gave a reason to override the gate",
    "finished_after_restart": lambda values: "the runner ended in the middle; the next one finished the change",
    "server_away": lambda values: f"the server did not answer, and nothing was touched: {values['message']}",
    "move_refused": lambda values: str(values["message"]),
    "digest_differs": lambda values: (
        f"{values['alias']} became {short_digest(values['digest'])} and not {short_digest(values['wanted'])}"
    ),
    "source_gone": lambda values: f"{values['source']} is not on the server any more",
    "source_changed": lambda values: f"{values['source']} is another model than it was when this was asked",
    "name_taken": lambda values: f"{values['alias']} is somebody else's model on that server, which was left alone",
    "former_gone": lambda values: f"{values['alias']} is gone, and the server has nothing of what it was",
    "alias_changed": lambda values: (
        f"somebody else changed {values['alias']} to {short_digest(values['digest'])}, which was left alone"
    ),
}
