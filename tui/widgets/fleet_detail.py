"""A row of the fleet in full, for the strip and for a task's screen: what serves, why, what did before, what it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.format import data_size, moment, of_five, plural
from core.text import printable
from core.wording.fleet import origin_words, short_digest
from tui.lines import Line, folded
from tui.widgets.fleet_rows import Remark, remarks
from tui.widgets.pane import framed
from tui.widgets.served_rows import ServingRow

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow

LABEL = 9


def title_of(row: FleetRow) -> Line:
    """`judge · vault-judge on ollama 0.24.0`."""
    line = Line(printable(row.task), "bold").add(" · ", "frame") if row.task else Line()
    seen = row.observed
    version = f" {seen.server_version}" if seen is not None and seen.server_version else ""
    return line.add(row.alias.name, "bold").add(f" on {row.alias.server}{version}", "dim")


def remark_rows(told: list[Remark], width: int) -> list[Line]:
    """Each in full, with a mark in front of those to be looked at."""
    rows = []
    for one in told:
        mark = one.short[:2] if one.urgent else "· "
        rows += folded(Line(mark, one.role).add(one.words, one.role), width)
    return rows


def fact_rows(row: FleetRow, serving: ServingRow, now: float, width: int) -> list[Line]:
    """What serves, what did before, of what it was made, a labelled row each."""
    held = f", holds {data_size(serving.size)}" if serving.size else ""
    facts = [("serves", f"{serving.sign} {serving.told}{held}", serving.role if serving.role != "good" else "text")]
    version = row.version
    if version is not None:
        since = moment(row.alias.since, now)
        size = data_size(row.size_bytes) or "size unknown"
        facts.append(
            (
                "now",
                f"version {version.number}, {origin_words(version.origin)} {since} · {row.model or 'model unknown'} · {size}",
                "text",
            )
        )
        facts.append(("scores", score_words(row), "text"))
    if row.before is not None:
        former = row.before.version
        score = " · ".join(f"{part} {of_five(value)}" for part, value in row.before.scores.items()) or "not measured"
        facts.append(
            (
                "before",
                f"version {former.number} · {row.before.model or 'model unknown'} · "
                f"{data_size(former.size_bytes) or 'size unknown'} · {score}",
                "dim",
            )
        )
    if version is not None:
        facts.append(("made of", lineage_words(row), "text"))
        facts.append(("digest", short_digest(version.digest) if version.digest else "unknown", "dim"))
    return [
        part for label, text, role in facts for part in folded(Line(f"{label:<{LABEL}}", "dim").add(text, role), width)
    ]


def score_words(row: FleetRow) -> str:
    """`format 4.92/5 · content 4.55/5 · 36 inputs, bake-off 41`, or that nobody has measured this version."""
    if not row.scores:
        return "not measured yet: b bakes it off"
    parts = [f"{part} {of_five(value)}" for part, value in row.scores.items()]
    inputs = [] if row.n_inputs is None else [plural(row.n_inputs, "input")]
    bakeoff = "" if row.measured is None else f", bake-off {row.measured.job_id}"
    return " · ".join([*parts, *inputs]) + bakeoff


def lineage_words(row: FleetRow) -> str:
    """`recipe lora-bf16 · data judge.jsonl · training 42 · deployment 61`; what is not known is said to be unknown."""
    made = row.lineage
    if made.deploy_job is None and made.train_job is None:
        return "unknown: no job of this home made it"
    parts = [
        f"recipe {made.recipe or 'unknown'}",
        f"data {made.data or 'unknown'}",
        "training unknown" if made.train_job is None else f"training {made.train_job}",
        "deployment unknown" if made.deploy_job is None else f"deployment {made.deploy_job}",
    ]
    return " · ".join(parts)


def fleet_strip(row: FleetRow, serving: ServingRow, now: float, width: int, height: int) -> list[Line]:
    """The strip below the panes: facts at the left, what to know at the right; one column where there is little room."""
    inner, room = width - 4, height - 2
    told = remarks(row, now)
    note = Line("⏎ history", "dim")
    if width < 100:
        rows = [*remark_rows([one for one in told if one.urgent], inner)[: max(1, room // 2)]]
        facts = fact_rows(row, serving, now, inner)
        rows += facts[: room - len(rows)]
        return framed(rows, width, height, title_of(row), note, "frame")
    left_width = (inner - 3) * 60 // 100
    left = fact_rows(row, serving, now, left_width)
    right = remark_rows(told, inner - 3 - left_width) or [Line("nothing to look at", "dim")]
    rows = []
    for index in range(room):
        line = left[index] if index < len(left) else Line()
        line.cut(left_width).to(left_width).add(" │ ", "frame")
        rows.append(line.extend(right[index]) if index < len(right) else line)
    return framed(rows, width, height, title_of(row), note, "frame")
