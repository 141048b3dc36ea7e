"""The words for what a check for drift found, of the summary in its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.format import listed, of_five, plural
from core.reasons import Reason
from core.wording.parity import finding_words

_NOT_CHECKED = {
    "no_lineage": "no record tells which tokenizer trained it",
    "no_model_files": "the files of the model that was trained are not on this disk",
    "no_render": "the server shows no prompts",
}
_UNKNOWN = {
    "no_answer": "the server gave no answer",
    "not_stored": "no answer is stored",
    "asked_otherwise": "the task asked another question then",
}
_CHANGED = {"weights": "weights", "template": "chat template", "version": "server version"}
DUE = {
    "no_baseline": "no check for drift yet",
    "digest_differs": "another model serves under the alias",
    "server_version_differs": "the server has another version",
}
"""By the code of why a check is due, in short."""


OUTCOMES = {
    "baseline_taken": "answers stored",
    "same": "no drift",
    "differs_no_loss": "answers differ, no loss shown",
    "differs_unknown": "answers differ, loss unknown",
    "loss": "loss",
    "prompts_differ": "other prompts than in training",
    "overtaken": "another version came before its end",
}
"""By the outcome of a check (`core.drift.outcome`), in short."""
DRIFTED = frozenset({"loss", "prompts_differ"})
"""The outcomes that a person must look at."""


def outcome_words(outcome: str) -> str:
    return OUTCOMES.get(outcome, outcome)


NOTE = "drift_"
"""In front of an outcome: the code of the note that the runner adds when a check ends."""


def note_words(note: Reason) -> str | None:
    """A note of a check for drift in a line; None for any other note."""
    outcome = note.code.removeprefix(NOTE)
    if not note.code.startswith(NOTE) or outcome not in OUTCOMES:
        return None
    values = note.values
    parts = [f"check for drift: {OUTCOMES[outcome]}"]
    if isinstance(before := values.get("before"), float) and isinstance(now := values.get("now"), float):
        inputs = plural(int(str(values.get("inputs", 0))), "input")
        parts.append(f"{values.get('part')} {of_five(before)} → {of_five(now)} over {inputs}")
    changed = values.get("changed")
    if isinstance(changed, list) and changed:
        parts.append(f"changed since: {listed([_CHANGED.get(str(name), str(name)) for name in changed])}")
    return "; ".join([*parts, f"version {values.get('version')}, job {values.get('job')}"])


def due_words(code: str) -> str:
    return DUE.get(code, code)


def drift_words(summary: Mapping[str, Any]) -> str:
    """What a check came to, in a line."""
    outcome = summary.get("outcome")
    parts: list[str] = []
    match outcome:
        case "baseline_taken":
            parts.append(_stored(summary))
        case "same":
            parts.append(f"no drift: {_same(summary)}")
        case "differs_no_loss":
            parts.append(f"{_difference(summary)}; {_no_loss(summary)}")
        case "differs_unknown":
            parts.append(
                f"{_difference(summary)}; whether scores were lost is unknown: no bake-off has measured this version"
            )
        case "loss":
            parts.append(f"loss: {_scores(summary, 'first')}, and in a second run {_scores(summary, 'second')}")
        case "prompts_differ":
            parts.append("the served model does not get the prompts that it was trained on" + _finding(summary))
        case _:
            parts.append(outcome_words(str(outcome)))
    if summary.get("full") and not summary.get("asked_all") and outcome != "differs_unknown":
        parts.append("all inputs were not asked: no bake-off has measured this version")
    if missing := int((summary.get("first") or {}).get("missing") or 0):
        parts.append(f"{plural(missing, 'input')} without an answer")
    if changed := [_CHANGED.get(name, str(name)) for name in summary.get("changed") or ()]:
        parts.append(f"changed since it became the alias: {listed(changed)}")
    if unknown := _unknown(summary):
        parts.append(unknown)
    prompts = summary.get("prompts") or {}
    if not prompts.get("checked"):
        parts.append(not_compared_words(prompts.get("why")))
    return "; ".join(parts)


def not_compared_words(why: object) -> str:
    """Why the prompts of a check were not compared with those of training."""
    return f"prompts not compared: {_NOT_CHECKED.get(str(why), str(why))}"


def smoke_words(smoke: Mapping[str, Any]) -> str:
    """`2 of 5 greedy answers differ`, `5 greedy answers stored: later checks are held to them`; `smoke` as in the summary."""
    told = {"smoke": smoke}
    if smoke.get("same") or smoke.get("differing"):
        return "; ".join(filter(None, [_difference(told), _unknown(told)]))
    return _stored(told)


def _smoke(summary: Mapping[str, Any]) -> tuple[int, int, Mapping[str, str]]:
    smoke = summary.get("smoke") or {}
    return len(smoke.get("same") or ()), len(smoke.get("differing") or ()), smoke.get("unknown") or {}


def _asked(summary: Mapping[str, Any]) -> int:
    same, differing, unknown = _smoke(summary)
    return same + differing + sum(why != "no_answer" for why in unknown.values())


def _stored(summary: Mapping[str, Any]) -> str:
    return f"{plural(_asked(summary), 'greedy answer')} stored: later checks are held to them"


def _same(summary: Mapping[str, Any]) -> str:
    same, differing, _ = _smoke(summary)
    words = f"{same} of {plural(same + differing, 'greedy answer')} as before"
    return f"{words}; {_scores(summary, 'first')}" if _parts(summary, "first") else words


def _difference(summary: Mapping[str, Any]) -> str:
    same, differing, _ = _smoke(summary)
    if differing:
        return f"{differing} of {plural(same + differing, 'greedy answer')} differ"
    if same:
        return f"{same} of {plural(same, 'greedy answer')} as before"
    return "no earlier answers to compare with"


def _unknown(summary: Mapping[str, Any]) -> str:
    """What of the smoke set was not compared; of a first check nothing could be."""
    if summary.get("outcome") == "baseline_taken":
        return ""
    reasons = _smoke(summary)[2]
    whys = [_UNKNOWN.get(why, why) for why in dict.fromkeys(reasons.values())]
    return f"{plural(len(reasons), 'input')} not compared: {listed(whys)}" if reasons else ""


def _parts(summary: Mapping[str, Any], run: str) -> Mapping[str, Mapping[str, Any]]:
    parts = (summary.get(run) or {}).get("parts")
    return parts if isinstance(parts, Mapping) else {}


def _scores(summary: Mapping[str, Any], run: str) -> str:
    told = [
        f"{part} {of_five(found['before'])} → {of_five(found['now'])} over {plural(found['inputs'], 'input')}"
        for part, found in _parts(summary, run).items()
    ]
    return listed(told)


def _no_loss(summary: Mapping[str, Any]) -> str:
    if _parts(summary, "second"):
        first, second = _scores(summary, "first"), _scores(summary, "second")
        return f"a loss in a first run of all inputs ({first}) was not confirmed by a second one ({second})"
    return f"no loss is shown: {_scores(summary, 'first')}{_ruled_out(summary)}"


def _ruled_out(summary: Mapping[str, Any]) -> str:
    """What the inputs rule out, of every part."""
    parts, margin = _parts(summary, "first"), summary.get("margin")
    if not parts or not isinstance(margin, int | float):
        return ""
    if all(found["no_worse"] for found in parts.values()):
        return f"; a loss of {of_five(margin)} or more is ruled out"
    largest = -min(found["low"] for found in parts.values())
    return f"; a loss of up to {of_five(largest)} is not ruled out by so few inputs"


def _finding(summary: Mapping[str, Any]) -> str:
    found = (summary.get("prompts") or {}).get("finding")
    try:
        return f": {finding_words(Reason.from_json(found))}" if isinstance(found, Mapping) else ""
    except (ValueError, KeyError):
        return ""
