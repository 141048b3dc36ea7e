"""A fleet, invented: as the store would tell it, at the moment of `tests.tui.scene`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.aliases.observing import Observed
from core.fleet.challengers import Challenger
from core.fleet.lineage import VersionLineage
from core.fleet.rows import Before, DriftState, FleetRow
from core.fleet.verdicts import Measurement
from core.reasons import Reason
from core.store.fleet import LLAMA_SERVER, Alias, AliasVersion, Target
from core.store.fleet_changes import FleetChange
from tests.tui.scene import NOW
from tui.model.fleet_reader import FleetNow

DAY = 86_400.0
URL = "http://127.0.0.1:11434"


def version(number: int, alias_id: int = 1, **told: Any) -> AliasVersion:
    known: dict[str, Any] = {
        "id": 10 * alias_id + number,
        "alias_id": alias_id,
        "number": number,
        "digest": f"{number:x}{alias_id:x}" * 32,
        "weights": f"sha256:{'c' * 63}{number}",
        "template": "7e" * 32,
        "server_version": "0.24.0",
        "size_bytes": 4_300_000_000,
        "model": "Qwen3-4B",
        "source": "judge:qwen3-4b-61",
        "deploy_job_id": 61,
        "kept_as": f"vault-judge:bakehouse-{number}",
        "record": None,
        "origin": "promoted",
        "created_at": NOW - 22 * DAY,
        "bakeoff_job_id": 41,
    }
    return AliasVersion(**{**known, **told})


def alias(alias_id: int, name: str, current: AliasVersion | None, server: str = "ollama") -> Alias:
    key = name if server == LLAMA_SERVER else f"{name}:latest"
    return Alias(
        alias_id,
        server,
        "" if server == LLAMA_SERVER else URL,
        name,
        key,
        None if current is None else current.id,
        None if current is None else NOW - 22 * DAY,
        NOW - 12,
        None if current is None else current.digest,
        "0.24.0",
        None,
    )


def change(change_id: int, alias_id: int, **told: Any) -> FleetChange:
    """A promotion that is under way."""
    known: dict[str, Any] = {
        "id": change_id,
        "alias_id": alias_id,
        "project_id": "vault",
        "project_root": "/vault",
        "task": "judge",
        "kind": "promote",
        "state": "open",
        "phase": "verifying",
        "from_version": 10 * alias_id + 1,
        "to_version": None,
        "target": Target("judge:new", "ef" * 32),
        "kept": None,
        "gate": None,
        "override_reason": None,
        "author": "anna@gpubox, console",
        "asked_at": NOW - 3,
        "ended_at": None,
        "reason": None,
    }
    return FleetChange(**{**known, **told})


def measured(scores: Mapping[str, float]) -> Measurement:
    return Measurement(
        41, "ollama:vault-judge", "judge", None, scores, 36, 2.1, 88.0, 4_300_000_000, "0.24.0", None, None
    )


def row(
    alias_id: int,
    task: str | None,
    name: str,
    scores: Mapping[str, float] | None = None,
    *,
    size: int | None = 4_300_000_000,
    former: AliasVersion | None = None,
    former_scores: Mapping[str, float] | None = None,
    model: str | None = "Qwen3-4B",
    server: str = "ollama",
    **told: Any,
) -> FleetRow:
    current = version(
        3 if former else 1, alias_id, size_bytes=size, model=model, origin="promoted" if former else "adopted"
    )
    known: dict[str, Any] = {
        "scores": scores or {},
        "n_inputs": 36 if scores else None,
        "measured": measured(scores) if scores else None,
        "before": None if former is None else Before(former, former_scores or {}, model=former.model),
        "back": None if former is None else Before(former, model=former.model),
        "lineage": VersionLineage("Qwen3-4B", "lora-bf16", "judge.jsonl", "ab" * 32, 42, 61),
        "observed": Observed(NOW - 12, current.digest, "0.24.0"),
    }
    return FleetRow(
        "vault" if task else None, task, alias(alias_id, name, current, server), current, **{**known, **told}
    )


def fleet(*extra: FleetRow) -> FleetNow:
    """Eight tasks: one rose, one fell and is stale, one drifts, one was changed by somebody, one is being promoted, one has a
    challenger, one was never measured; and an alias that no task has."""
    old = version(2, 1, size_bytes=8_500_000_000, model="Qwen2.5-7B")
    moving = change(7, 5, task="spacer", target=Target("spacer:qwen3-1.7b-63", "ef" * 32), gate={"outcome": "pass"})
    stale = (Reason("server_version_differs", {"before": "0.24.0", "now": "0.25.1"}),)
    return FleetNow(
        (
            row(
                1,
                "judge",
                "vault-judge",
                {"format": 0.984, "content": 0.91},
                former=old,
                former_scores={"format": 0.42},
            ),
            row(
                2,
                "planner",
                "vault-planner",
                {"format": 0.862, "content": 0.84},
                former=version(2, 2),
                former_scores={"format": 0.92},
                stale=stale,
                observed=Observed(NOW - 12, "ab" * 32, "0.25.1"),
            ),
            row(
                3,
                "quizzer",
                "vault-quizzer",
                {"format": 0.96, "content": 0.88},
                size=1_800_000_000,
                drift=DriftState("loss", NOW - 4000, 71),
            ),
            row(4, "reflector", "vault-reflector", {"format": 0.94, "content": 0.86}, foreign=True),
            row(5, "spacer", "vault-spacer", {"format": 0.82, "content": 0.7}, size=1_800_000_000, change=moving),
            row(
                6,
                "summarizer",
                "vault-summarizer",
                {"format": 0.97, "content": 0.9},
                size=1_800_000_000,
                challenger=Challenger("Qwen3-4B", "train", 0.4, "running", 42, 3),
            ),
            row(7, "seeder", "qwen3:8b", model=None, size=8_500_000_000, lineage=VersionLineage()),
            row(
                8,
                "analyst",
                "analyst-smollm2-135m-9",
                {"format": 0.64, "content": 0.81},
                size=145_000_000,
                model="SmolLM2-135M",
                server=LLAMA_SERVER,
            ),
            *extra,
            row(9, None, "vault-embed", model=None, lineage=VersionLineage()),
        )
    )
