"""The project's own exchanges with a server of Ollama's API, and the models of the server that they are made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.ollama_standin import OllamaStandin
from tests.support.samples import SAMPLES

THINKS = "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}{{ end }}"
JSON, LINES = "application/json; charset=utf-8", "application/x-ndjson"


def own_exchanges(*, newer: bool) -> list[dict[str, Any]]:
    """Each with `name`, `request` and the `response` of the version, in order."""
    found = yaml.safe_load((SAMPLES / "ollama/exchanges.yaml").read_text(encoding="utf-8"))
    return [
        {
            "name": one["name"],
            "request": one["request"],
            "response": _whole(one["newer" if newer and "newer" in one else "response"]),
        }
        for one in found
    ]


def own_code() -> dict[str, Any]:
    """What Ollama's own code said of texts of the project: `detected`, `renders`, `modelfiles`."""
    found: dict[str, Any] = yaml.safe_load((SAMPLES / "ollama/own_code.yaml").read_text(encoding="utf-8"))
    return found


def _whole(response: dict[str, Any]) -> dict[str, Any]:
    return {"status": 200, "content_type": LINES if "lines" in response else JSON} | response


def write_exchanges(folder: Path, *, newer: bool) -> Path:
    """One numbered file each in `folder`, as `ollama_replay.Replay` takes them."""
    for number, exchange in enumerate(own_exchanges(newer=newer), 1):
        (folder / f"{number:03}_{exchange['name']}.json").write_text(json.dumps(exchange))
    return folder


def add_models(standin: OllamaStandin) -> None:
    """The store that the exchanges find."""
    standin.add_model(
        "rye:1",
        size_bytes=3_000_000_000,
        kv_bytes_per_token=10_000,
        trained_context=4096,
        template="{{ .Prompt }}",
        system="You bake.",
        license="CC0",
        parameters={"stop": ["<end>", "<turn>"], "num_ctx": 2048},
    )
    standin.add_model("wheat", size_bytes=1_000_000_000)
    standin.add_model("spelt", size_bytes=500_000_000, template=THINKS)
