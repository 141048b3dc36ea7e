"""What serves now, a row a model: the home's served models, those that the model server holds, those away for a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from core.format import data_size, when
from core.served.state import Phase
from core.store.jobs import JobRow
from core.text import printable
from core.wording.served import SIGNS, served_words
from tui.lines import Line
from tui.model.served_files import ServedNow
from tui.model.snapshot import Snapshot

ROLES: Mapping[Phase, str] = {
    "serving": "good",
    "loading": "busy",
    "away": "text",
    "failed": "bad",
    "stopped": "dim",
}


@dataclass(frozen=True)
class ServingRow:
    """A model that serves, or would. `served` is set for one of the home; `reference` is how a candidate names it."""

    name: str
    reference: str
    sign: str
    role: str
    told: str
    size: int | None = None
    served: ServedNow | None = None


def serving_rows(snapshot: Snapshot) -> list[ServingRow]:
    """The home's served models, then what the model server holds, then what comes back to it after a job."""
    state = snapshot.lease_state
    on_gpu = {one.name: one.size_vram_bytes for one in state.served} if state is not None else {}
    rows = [of_home(one, snapshot.time, on_gpu.get(one.name)) for one in snapshot.served]
    if state is None or snapshot.runner_alive is False:
        return rows  # nobody looks at the model server: what it holds now is not known
    server = printable((state.server or "a server").partition(" ")[0])
    for model in state.residents:
        until = f"until {when(model.expires_at, snapshot.time)}" if model.expires_at else "loaded"
        told = f"{server} {until}"
        rows.append(
            ServingRow(model.name, f"ollama:{model.name}", SIGNS["serving"], "good", told, model.size_vram_bytes)
        )
    loaded = {model.name for model in state.residents}
    for name in state.evicted:
        if name not in loaded:
            told = f"away for job {state.job_id}" if state.job_id is not None else "away, to be loaded again"
            rows.append(ServingRow(name, f"ollama:{name}", SIGNS["away"], "text", told))
    return rows


def of_home(one: ServedNow, now: float, vram_bytes: int | None = None) -> ServingRow:
    if one.record is None or one.state is None:
        return ServingRow(one.name, f"served:{one.name}", "▲", "warn", printable(one.error), served=one)
    phase, why = one.state.phase, served_words(one.state.reason)
    if phase == "serving":
        told = f"since {when(one.state.since, now)}"
    elif phase == "away":
        told = why or "away"
    else:
        told = f"{phase}: {why}" if why else phase
    size = vram_bytes or one.host_bytes
    return ServingRow(one.name, f"served:{one.name}", SIGNS[phase], ROLES[phase], told, size, one)


def serving_line(row: ServingRow, width: int, mark: str = "") -> Line:
    """In one row: what it is called, what it does, its port, what it holds."""
    name = min(42, max(12, width * 45 // 100))
    line = Line(f"{row.sign} ", row.role, mark).add(short_name(printable(row.name), name - 3)).to(name)
    record = row.served.record if row.served is not None else None
    right = Line()
    if record is not None and row.role in ("good", "busy"):
        right.add(f" :{record.port}", "dim")
    if row.size:
        right.add(f"{data_size(row.size):>8}", "dim")
    told = Line(row.told, "dim" if row.role == "good" else row.role)
    return line.extend(told).right(right, width) if right.pieces else line.extend(told).cut(width)


def short_name(name: str, room: int) -> str:
    """A name in so many cells: its end stays, which says by which job it was made."""
    if cell_len(name) <= room:
        return name
    tail = min(len(name), room // 3)
    return f"{set_cell_size(name, max(1, room - tail - 1)).rstrip()}…{name[len(name) - tail :]}"


def deployed_rows(job: JobRow, width: int) -> list[Line]:
    """What a deployment came to: where the model answers, by what it is known, what is there to go back to, what it said."""
    summary = (job.result or {}).get("summary")
    if job.state != "done" or not isinstance(summary, dict) or not {"to", "name", "url"} <= set(summary):
        return []
    where = Line("→ ", "dim").add(f"{summary['url']}, as {summary['name']}")
    parts = [f"digest {str(summary['digest']).removeprefix('sha256:')[:12]}"] if summary.get("digest") else []
    if "rollback" in summary:
        back = summary["rollback"]
        parts.append(f"to go back to: {back}" if back else "nothing was there before")
    if "at_boot" in summary:
        parts.append("starts with the machine" if summary["at_boot"] else "does not start with the machine")
    by = "Ollama" if summary["to"] == "ollama" else str(summary["to"])
    parts.append(f"{by} {summary.get('server') or ''}".rstrip())
    rows = [where.cut(width), Line("  ").add(" · ".join(parts), "dim").cut(width)]
    if answer := printable(str(summary.get("answer") or "")):
        rows.append(Line("  answered ", "dim").add(" ".join(answer.split())).cut(width))
    return rows


def serving_words(rows: list[ServingRow]) -> str:
    """`2 serving, 1 away, 1 failed`; empty where there is none."""
    if not rows:
        return ""
    counts = {
        "serving": sum(row.role in ("good", "busy") for row in rows),
        "away": sum(row.sign == SIGNS["away"] for row in rows),
        "failed": sum(row.role in ("bad", "warn") for row in rows),
        "stopped": sum(row.role == "dim" for row in rows),
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
