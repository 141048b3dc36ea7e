"""The words for what has changed since a bake-off, and for what of that is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any, Protocol

from core.format import listed, score_figure
from core.text import clip, printable

PARTS_OF_A_VERDICT: Mapping[str, str] = {
    "task": "task",
    "checks": "checks",
    "margin": "margin",
    "golden": "golden inputs",
    "system": "system prompt",
    "thinking": "thinking",
    "sampling": "sampling",
    "examples": "examples of the training data",
    "weights": "weights",
    "template": "chat template",
    "parameters": "parameters on the server",
    "version": "version of the server",
    "model": "model",
    "api": "API of the server",
    "server": "address of the server",
    "system_file": "file of the system prompt",
    "format_file": "file of the schema or grammar",
}
"""What a verdict rests on, by the codes of `core.staleness.staleness`."""
UNKNOWN_WHY: Mapping[str, str] = {
    "not_stored": "the bake-off stored nothing of it",
    "not_asked": "its server was not asked",
    "no_answer": "its server did not answer",
    "no_key": "the key of its server is not set here",
    "not_told": "its server does not tell it any more",
    "unreadable": "its files cannot be read",
    "too_large": "its file is too large to be hashed at each look",
}
ALL_OF_A_SERVER = ("weights", "template", "parameters", "version")
"""What is unknown of a model whose server told nothing: its name alone is said then."""
MOST_NAMES = 3
LONGEST_VALUE = 40


class CauseFacts(Protocol):
    """A cause of `core.staleness.staleness`: something of a candidate, of a task, or of both."""

    @property
    def candidate(self) -> str | None: ...
    @property
    def task(self) -> str | None: ...
    @property
    def what(self) -> str: ...


class InputFacts(Protocol):
    """A change of `core.staleness.submitted`."""

    @property
    def what(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def gone(self) -> bool: ...


class StaleFacts(CauseFacts, Protocol):
    @property
    def before(self) -> Any: ...
    @property
    def now(self) -> Any: ...


class UnknownFacts(CauseFacts, Protocol):
    @property
    def why(self) -> str: ...


def stale_words(causes: Iterable[StaleFacts]) -> str:
    """`Stale, changed since it was measured: checks of judge (− price), chat template of qwen3:4b`; empty without a cause.

    What changed alike for several tasks or candidates is said once, with their names.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for one in causes:
        alike.setdefault((one.what, detail(one)), []).append(whose(one))
    said = []
    for (what, more), owners in alike.items():
        part = "answers" if what == "mixed" else PARTS_OF_A_VERDICT[what]
        said.append(f"{part} of {names(owners)}" + (f" ({more})" if more else ""))
    return printable(f"Stale, changed since it was measured: {'; '.join(said)}") if said else ""


def unknown_words(unknown: Iterable[UnknownFacts], remedy: str = "") -> str:
    """`Not known whether changed: box:qwen3:4b (its server did not answer)`; empty without one.

    `remedy` stands behind what is unknown because no server was asked: how to ask.
    """
    parts: dict[tuple[str, str], list[str]] = {}
    for one in unknown:
        parts.setdefault((whose(one), one.why), []).append(one.what)
    alike: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (owner, why), whats in parts.items():
        alike.setdefault((tuple(whats), why), []).append(owner)
    said = []
    for (whole, why), owners in alike.items():
        of_what = (
            "" if set(whole) >= set(ALL_OF_A_SERVER) else f"{listed([PARTS_OF_A_VERDICT[one] for one in whole])} of "
        )
        more = f"; {remedy}" if why == "not_asked" and remedy else ""
        said.append(f"{of_what}{names(owners)} ({UNKNOWN_WHY[why]}{more})")
    return printable(f"Not known whether changed: {'; '.join(said)}") if said else ""


def detail(cause: StaleFacts) -> str:
    """How a part changed, as far as that is short: `0.12.6 → 0.13.0`, `temperature 0.2 → 0.5`, `+ verdict, ~ table`, `gone`."""
    before, now = cause.before, cause.now
    if cause.what == "mixed":
        return f"of {now} models, as it changed while it was asked"
    if cause.what == "model" and now is None:
        return "no longer on its server"
    if now is None:
        return "gone"
    return printable(DETAILS.get(cause.what, nothing)(before, now))


def nothing(before: Any, now: Any) -> str:
    return ""


def plain(before: Any, now: Any) -> str:
    return f"{clip(str(before), LONGEST_VALUE)} → {clip(str(now), LONGEST_VALUE)}"


def margin(before: Any, now: Any) -> str:
    return f"{score_figure(before)} → {score_figure(now)}"


def numbers(before: Any, now: Any) -> str:
    """Of golden inputs: how many there were and are; with as many, their texts or expectations have changed."""
    return f"{before} → {now}" if before != now else ""


def examples(before: Any, now: Any) -> str:
    return "all of them gone" if not now else f"{before - now} of {before} gone"


def fields(before: Any, now: Any) -> str:
    """Which values of a mapping differ, with their values where these are short."""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return ""
    said = []
    for key in sorted({*before, *now}):
        was, present = before.get(key), now.get(key)
        if was == present:
            continue
        pair = [str(value) for value in (was, present)]
        short = (
            all(isinstance(value, str | int | float | None) for value in (was, present)) and max(map(len, pair)) <= 12
        )
        said.append(f"{key} {pair[0]} → {pair[1]}" if short else str(key))
    return few(said)


def checks(before: Any, now: Any) -> str:
    """Which checks were added (+), removed (−) or changed (~)."""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return ""
    was, present = named_checks(before), named_checks(now)
    said = [f"+ {key[1]}" for key in present if key not in was]
    said += [f"− {key[1]}" for key in was if key not in present]
    said += [f"~ {key[1]}" for key in present if key in was and present[key] != was[key]]
    return few(said)


def named_checks(document: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """The checks by part and id, told apart as `core.checks.check_ids` does."""
    found: dict[tuple[str, str], Any] = {}
    taken: set[str] = set()
    for part in ("format", "content"):
        for one in document.get(part) or []:
            name = str(one.get("id") or one.get("check"))
            numbered = (f"{name}-{number}" for number in count(2))
            name = name if name not in taken else next(other for other in numbered if other not in taken)
            taken.add(name)
            found[part, name] = one
    return found


DETAILS: Mapping[str, Callable[[Any, Any], str]] = {
    "checks": checks,
    "margin": margin,
    "golden": numbers,
    "examples": examples,
    "thinking": plain,
    "sampling": fields,
    "parameters": fields,
    "version": plain,
    "model": plain,
    "api": plain,
    "server": plain,
}


INPUTS: Mapping[str, str] = {
    "task": "task {}",
    "golden": "golden inputs of {}",
    "recipe": "recipe {}",
    "data": "training data {}",
}
"""What a job was told, by the codes of `core.staleness.submitted`."""


def changed_input_words(changes: Iterable[InputFacts]) -> str:
    """`task judge (system, sampling), recipe demo (epochs)`; empty without any."""
    said = []
    for one in changes:
        keys = f" ({few(list(one.keys))})" if one.keys else ""
        said.append(printable(f"{INPUTS[one.what].format(one.name)}{' (gone)' if one.gone else keys}"))
    return ", ".join(said)


def whose(cause: CauseFacts) -> str:
    return " at ".join(name for name in (cause.candidate, cause.task) if name)


def names(owners: list[str]) -> str:
    """The first few names, and how many more there are."""
    rest = len(owners) - MOST_NAMES
    return listed(owners) if rest < 2 else f"{', '.join(owners[:MOST_NAMES])} and {rest} more"


def few(said: list[str]) -> str:
    rest = len(said) - MOST_NAMES
    return ", ".join(said) if rest < 1 else f"{', '.join(said[:MOST_NAMES])} and {rest} more"
