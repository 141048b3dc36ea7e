"""The words for what became of aliases: a plain sentence for each asked move and for each thing that was noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from core.format import duration
from core.reasons import Reason
from core.store.fleet import AliasVersion
from core.store.fleet_changes import FleetChange
from core.text import printable
from core.wording import drift
from core.wording.fleet import asker_words, change_reason_words, phase_words, short_digest
from core.wording.promotion import NAMES

if TYPE_CHECKING:  # pydantic may stand behind it
    from core.fleet.history import HistoryEntry

Values = Mapping[str, Any]
OUTCOMES = {"pass": "passed", "fail": "failed", "cannot_tell": "cannot tell"}
"""What a gate said."""


def entry_words(entry: HistoryEntry) -> str:
    """`vault-judge became version 2 (Qwen3-4B), copied from judge-4b for judge: asked by anna@box (command); …`."""
    if entry.note is not None:
        return printable(note_words(entry.alias.name, entry.note.reason))
    change = entry.change
    assert change is not None  # one of the two
    return printable(f"{_sentence(entry, change)}{_why(change)}")


def _sentence(entry: HistoryEntry, change: FleetChange) -> str:
    name, by = entry.alias.name, f"asked by {asker_words(change.author)}"
    task = f" for {change.task}" if change.task is not None else ""
    match change.kind:
        case "assign":
            return f"{name} answers{task}: {by}"
        case "release":
            return f"{name} no longer answers{task}: {by}"
        case "adopt" if entry.before is None:
            given = f" and answers{task}" if change.task is not None else ""
            return f"{name} was taken in as it was, as {version_words(entry.after)}{given}: {by}"
        case "adopt":
            found = f"what was found under {name} was taken as {version_words(entry.after)}"
            return f"{found}, in place of {version_words(entry.before)}: {by}"
    what = "rollback" if change.kind == "rollback" else f"promotion of {change.target.source or 'a model'}"
    if change.state == "done" and entry.before is not None and entry.before == entry.after:
        return f"{name}, which somebody had removed, is {version_words(entry.after)} again{task}: {by}{_took(change)}"
    if change.state == "done":
        was = f", in place of {version_words(entry.before)}" if entry.before is not None else ""
        was += (
            ", which somebody else had put there" if entry.before is not None and entry.before.origin == "found" else ""
        )
        source = "" if change.kind == "rollback" else f", copied from {change.target.source}"
        became = "went back to" if change.kind == "rollback" else "became"
        return f"{name} {became} {version_words(entry.after)}{source}{task}{was}: {by}{_took(change)}"
    to = f" to {version_words(entry.after)}" if entry.after is not None else ""
    about = f"{what} of {name}{to}{task}" if change.kind == "rollback" else f"{what} to {name}{task}"
    if change.state == "open":
        return f"{about} is under way ({phase_words(change.phase)}): {by}"
    stays = f"{name} is {version_words(entry.before)} as before" if entry.before is not None else f"{name} is as before"
    ended = "was taken back" if change.state == "taken_back" else "was not done"
    return f"the {about} {ended}, {stays}: {by}"


def version_words(version: AliasVersion | None) -> str:
    """`version 2 (Qwen3-4B)`; without a model its digest, by which it is known again."""
    if version is None:
        return "a version that is not recorded"
    known = version.model or (f"digest {short_digest(version.digest)}" if version.digest else "unknown model")
    return f"version {version.number} ({known})"


def _took(change: FleetChange) -> str:
    seconds = (change.ended_at or 0.0) - change.asked_at
    return f", took {duration(seconds)}" if seconds >= 1 else ""


def _why(change: FleetChange) -> str:
    parts = []
    if change.gate is not None:
        parts.append(_gate_words(change.gate))
    if change.override_reason is not None:
        parts.append(f"overridden: {change.override_reason}")
    if change.reason is not None:
        parts.append(change_reason_words(change.reason))
    return "".join(f"; {part}" for part in parts)


def _gate_words(gate: Mapping[str, Any]) -> str:
    """`the gate cannot tell (not worse, prompts)`: with the conditions that it rests on where it did not pass."""
    outcome = str(gate.get("outcome"))
    told = [one for one in gate.get("conditions") or () if isinstance(one, Mapping) and one.get("outcome") == outcome]
    names = dict.fromkeys(NAMES.get(str(one.get("code")), str(one.get("code"))) for one in told)
    because = f" ({', '.join(names)})" if names and outcome != "pass" else ""
    return f"the gate {OUTCOMES.get(outcome, outcome)}{because}"


def note_words(alias: str, note: Reason) -> str:
    """What was noticed of an alias. A code that this version does not know is shown with its values."""
    if (said := drift.note_words(note)) is not None:
        return f"{alias}: {said}"
    words = NOTES.get(note.code)
    try:
        if words is not None:
            return f"{alias}: {words(note.values)}"
    except (KeyError, TypeError, ValueError):
        pass
    told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in note.values.items())
    return f"{alias}: {note.code.replace('_', ' ')}" + (f" ({told})" if told else "")


NOTES: Mapping[str, Callable[[Values], str]] = {
    "alias_changed": lambda values: (
        f"somebody else put another model there, digest {short_digest(values['digest'])}; "
        f"version {values['version']} has {short_digest(values['recorded'])}"
    ),
    "alias_gone": lambda values: f"somebody else removed it from its server; it was version {values['version']}",
    "alias_back": lambda values: f"it is version {values['version']} again, as recorded",
    "candidate_stopped": lambda values: (
        f"{values['served']} is stopped, which would hold the same model in memory again; "
        f"`bakehouse served remove {values['served']}` forgets it, its file stays"
    ),
    "candidate_runs": lambda values: (
        f"{values['served']} still holds the same model in memory; `bakehouse served stop {values['served']}` ends it"
    ),
}
