"""The models that real Ollama servers were recorded with: their TEMPLATE, their GGUF's jinja, and every render of theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2].parent / "shared" / "ollama" / "recorded"
BARE = "{{ .Prompt }}"


@dataclass(frozen=True)
class RecordedRender:
    """One answered request for a render. `template` is the TEMPLATE that the model was created with, or that `show` says was
    found for its file; `jinja` that of its file, None where that is not known or there is none. `rendered` None: refused."""

    exchange: str
    model: str
    template: str | None
    jinja: str | None
    system: str
    messages: tuple[dict[str, str], ...]
    think: bool | None
    rendered: str | None
    error: str


def exchanges(version: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted((RECORDED / version).glob("*.json")):
        yield file.stem, json.loads(file.read_text(encoding="utf-8"))


def jinja_of_blobs() -> dict[str, str]:
    """The jinja of the files that have one of their own making, by their digest: 0.33 shows it."""
    shown = {
        name.partition("_show_")[2]: told["response"]["json"]
        for name, told in exchanges("0.33.0-rc2")
        if "_show_" in name
    }
    found = {}
    for name, told in exchanges("0.33.0-rc2"):
        body = told.get("request", {}).get("body") or {}
        template = shown.get(body.get("model"), {}).get("template", "")
        if "_create_" in name and "{%" in template and "template" not in body:
            found[body["files"]["model.gguf"]] = template
    return found


def recorded_renders(version: str) -> list[RecordedRender]:
    """Every request for a render, in the order in which they were made."""
    jinja, shown, models = jinja_of_blobs(), _shown(version), {}
    found = []
    for name, told in exchanges(version):
        body = told.get("request", {}).get("body") or {}
        if "_create" in name and isinstance(body, dict) and "files" in body:
            models[body["model"]] = body
        if not isinstance(body, dict) or not body.get("_debug_render_only"):
            continue
        created = models[body["model"]]
        messages = body.get("messages") or [
            {"role": "system", "content": body["system"]},
            {"role": "user", "content": body["prompt"]},
        ]
        reply = told["response"]["json"]
        found.append(
            RecordedRender(
                exchange=f"{version}/{name}",
                model=body["model"],
                template=created.get("template") or shown.get(body["model"]),
                jinja=jinja.get(created["files"]["model.gguf"]),
                system=created.get("system", ""),
                messages=tuple(messages),
                think=body.get("think"),
                rendered=reply.get("_debug_info", {}).get("rendered_template"),
                error=reply.get("error", ""),
            )
        )
    return found


def _shown(version: str) -> dict[str, str]:
    """The Go template that was found for a file that came without one, by the model's name."""
    templates = {
        (told["request"]["body"] or {}).get("model"): (told["response"].get("json") or {}).get("template", "")
        for name, told in exchanges(version)
        if "_show" in name and told.get("request", {}).get("body")
    }
    return {name: text for name, text in templates.items() if name and text and text != BARE and "{%" not in text}
