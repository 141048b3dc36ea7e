"""The words for what two versions of an alias differ in, a row for each thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core.format import data_size, moment, plural, score_figure
from core.text import clip
from core.wording.fleet import origin_words, short_digest
from core.wording.fleet_rows import silent_words

if TYPE_CHECKING:
    from core.fleet.verdicts import Measurement
    from core.fleet.version_diff import Change, VersionDiff, VersionSide

UNKNOWN = "unknown"
LONGEST_VALUE = 60


def diff_title(found: VersionDiff) -> str:
    """`vault-judge: version 2 (adopted, 3 Nov 14:02) → version 3 (promoted, 14:07)`."""
    return f"{found.alias.name}: {_version(found.before)} → {_version(found.after)}"


def _version(side: VersionSide) -> str:
    version = side.version
    return f"version {version.number} ({origin_words(version.origin)}, {moment(version.created_at)})"


def diff_rows(found: VersionDiff) -> Iterator[tuple[str, str]]:
    """(label, what is the same or differs); the difference of the chat templates itself is `found.template`."""
    before, after = found.before, found.after
    yield "model", _pair(before.model, after.model)
    yield "made by", _pair(_made(before), _made(after))
    yield "recipe", _recipe(found)
    yield "data", _data(found)
    for project, task in dict.fromkeys([*before.measured, *after.measured]):
        yield task, _scores(before.measured.get((project, task)), after.measured.get((project, task)))
    if not before.measured and not after.measured:
        yield "scores", "no bake-off has measured either of them at a task of the alias"
    yield "size", _sizes(before.version.size_bytes, after.version.size_bytes)
    yield "server", _pair(before.version.server_version, after.version.server_version)
    yield "weights", _pair(*(_digest(one.version.weights) for one in (before, after)))
    yield "parameters", _parameters(found)
    yield "template", _template(found)


def _pair(before: str | None, after: str | None) -> str:
    if before == after:
        return f"{after}, the same" if after is not None else UNKNOWN
    return f"{before or UNKNOWN} → {after or UNKNOWN}"


def _sizes(before: int | None, after: int | None) -> str:
    words = [None if size is None else data_size(size) for size in (before, after)]
    is_near = before != after and words[0] == words[1]
    return f"{words[1]}, nearly the same" if is_near else _pair(*words)


def _digest(digest: str | None) -> str | None:
    return None if digest is None else short_digest(digest)


def _made(side: VersionSide) -> str | None:
    lineage = side.lineage
    if lineage.deploy_job is None:
        return None
    training = "" if lineage.train_job is None else f" of training {lineage.train_job}"
    kind = "" if lineage.quantization is None else f", {lineage.quantization}"
    return f"deployment {lineage.deploy_job}{training}{kind}"


def _recipe(found: VersionDiff) -> str:
    said = _pair(found.before.lineage.recipe, found.after.lineage.recipe)
    if found.before.recipe is None or found.after.recipe is None or not found.recipe:
        return said
    # A recipe of the same name can have been changed in between.
    return f"{said.removesuffix(', the same')}: {_listed(found.recipe)}"


def _data(found: VersionDiff) -> str:
    before, after = found.before.lineage, found.after.lineage
    if before.data is None and after.data is None:
        return UNKNOWN
    if after.data_sha256 is not None and before.data_sha256 == after.data_sha256:
        return f"{after.data}, the same"
    said = f"{before.data or UNKNOWN} → {after.data or UNKNOWN}" if before.data != after.data else str(after.data)
    if found.data is None:
        return f"{said}, with other examples" if before.data and after.data else said
    told = found.data
    return f"{said}: {told.before} → {told.after} examples, {told.added} new, {told.removed} gone"


def _scores(before: Measurement | None, after: Measurement | None) -> str:
    parts = [part for part in ("format", "content") if any(one and part in one.scores for one in (before, after))]
    told = [f"{part} {_arrow(*(_score(one, part) for one in (before, after)))}" for part in parts]
    seconds = [
        None if one is None or one.seconds_per_answer is None else one.seconds_per_answer for one in (before, after)
    ]
    if None not in seconds:
        told.append(f"{_arrow(*(f'{one:.2g}' for one in seconds))} s an answer")
    jobs = dict.fromkeys(one.job_id for one in (before, after) if one is not None)
    asked = next(one.n_inputs for one in (after, before) if one is not None)
    inputs = "" if asked is None else f", {plural(asked, 'input')}"
    same = f"bake-off {next(iter(jobs))}{inputs}" if len(jobs) == 1 else f"bake-offs {', '.join(map(str, jobs))}"
    return f"{', '.join(told)} ({same})"


def _score(one: Measurement | None, part: str) -> str:
    return UNKNOWN if one is None or part not in one.scores else score_figure(one.scores[part])


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _parameters(found: VersionDiff) -> str:
    if not found.has_both_texts:
        return _not_known(found)
    return _listed(found.parameters) if found.parameters else "the same"


def _template(found: VersionDiff) -> str:
    versions = found.before.version, found.after.version
    hashes = [one.template for one in versions]
    if not found.has_both_texts:
        known = "" if None in hashes else "the same; " if hashes[0] == hashes[1] else "differs; "
        return f"{known}{_not_known(found)}"
    return "differs:" if found.template else "the same"


def _not_known(found: VersionDiff) -> str:
    said = []
    for side in (found.before, found.after):
        if side.texts.fault is not None:
            said.append(f"version {side.version.number} cannot be read: {silent_words(side.texts.fault)}")
    return "; ".join(said)


def _listed(changes: list[Change]) -> str:
    return ", ".join(_one(*change) for change in changes)


def _one(name: str, before: Any, after: Any) -> str:
    shown = [clip(str(value), LONGEST_VALUE) for value in (before, after)]
    if before is None:
        return f"+ {name} {shown[1]}"
    if after is None:
        return f"− {name} {shown[0]}"
    return f"{name} {shown[0]} → {shown[1]}"
