"""What an artefact was made of, in lines: from the tool that made it last down to the base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.data.shots import shots_in
from core.wording.parity import shots_values

SHOWN_HASH = 12
"""Signs of a hash that are enough to know it again; `--json` has all of it."""


def lineage_lines(lineage: Mapping[str, Any]) -> list[str]:
    """A line for each step back, as far as it was noted. What is not known of a step is left out."""
    lines = [f"file sha256 {lineage['file_sha256']}"] if _text(lineage, "file_sha256") else []
    part: Mapping[str, Any] | None = lineage
    last = lineage
    while part is not None:
        last = part
        if said := _step(part):
            lines.append(said)
        below = part.get("made_of")
        part = below if isinstance(below, Mapping) else None
    if base := _base(last):
        lines.append(base)
    return lines


def _step(part: Mapping[str, Any]) -> str:
    if (quantization := _text(part, "quantization")) is not None:
        return f"quantised to {quantization}{_tool(part)}{_source(part, 'source')}"
    if (kind := _text(part, "format")) is not None:
        return f"converted to {kind}{_tool(part)}{_source(part, 'source')}"
    if _text(part, "adapter") is not None:
        return f"merged, written as {_text(part, 'dtype') or 'unknown'}{_source(part, 'adapter')}"
    if (task := _text(part, "task")) is not None:
        recipe = part.get("recipe")
        named = _text(recipe, "name") if isinstance(recipe, Mapping) else None
        by = f" by the recipe {named}" if named else ""
        step = f", step {part['step']}" if isinstance(part.get("step"), int) else ""
        data = _text(part, "data") or "of unknown name"
        return f"trained for {task}{by}{step}, data {data}{_hash(part, 'data_sha256')}{_shots(part)}"
    return ""


def _shots(part: Mapping[str, Any]) -> str:
    shots = shots_in(part)
    if shots is None:
        return ""
    said = shots_values(shots.count, shots.share)
    need = "requests have to send them" if shots.expected else "for training only"
    return f", up to {said['examples']} in front of {said['share']} of its prompts ({need})"


def _tool(part: Mapping[str, Any]) -> str:
    tool = part.get("tool")
    if not isinstance(tool, Mapping) or not tool.get("name"):
        return ""
    version = str(tool.get("version") or "of unknown version")
    kind, colon, digest = version.partition(":")
    shown = f"{kind} {digest[:SHOWN_HASH]}" if colon and kind == "sha256" else version
    return f" by {tool['name']} ({shown})"


def _source(part: Mapping[str, Any], key: str) -> str:
    source = _text(part, key)
    return "" if source is None else f" from {source}{_hash(part, f'{key}_sha256')}"


def _hash(part: Mapping[str, Any], key: str) -> str:
    digest = _text(part, key)
    return "" if digest is None else f" (sha256 {digest[:SHOWN_HASH]})"


def _base(part: Mapping[str, Any]) -> str:
    model = part.get("model")
    if not isinstance(model, Mapping) or (name := _text(model, "name")) is None:
        return ""
    where = next((place for key in ("hub", "path") if (place := _text(model, key)) is not None), "")
    fingerprint = _text(part, "base_fingerprint")
    return (
        f"base {name}"
        + (f", {where}" if where else "")
        + (f", weights {fingerprint[:SHOWN_HASH]}" if fingerprint else "")
    )


def _text(part: Mapping[str, Any], key: str) -> str | None:
    value = part.get(key)
    return value if isinstance(value, str) and value else None
