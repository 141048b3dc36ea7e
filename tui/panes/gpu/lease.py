"""Who holds the GPU, what is done to make it free or to give it back, and what is wrong with it."""

from __future__ import annotations

from core.format import clock, data_size, duration, gb, plural
from core.gpu_lease.state import LeaseState
from core.text import printable
from core.wording.gpu import FAULTED, gpu_words
from core.wording.jobs import reason_words
from core.wording.obstacles import gpus_not_used
from tui.lines import Line, wrapped
from tui.model.gpu_facts import HOT_C, gpu, server_name, shares
from tui.model.snapshot import Snapshot, newest_of_each

LABEL = 6
NOTES_SECONDS = 600
PHASES = {
    "free": ("free", "good"),
    "clearing": ("clearing", "busy"),
    "held": ("exclusive", "busy"),
    "verifying": ("verifying", "busy"),
    "restoring": ("restoring", "busy"),
    "blocked": ("blocked", "warn"),
}


def lease_rows(snapshot: Snapshot, with_gpu: bool, width: int) -> list[Line]:
    """Who holds the GPU, or the CPU where there is none; below it what goes on, in its own words."""
    state = snapshot.lease_state
    if not with_gpu or state is None:
        return slot_rows(snapshot, with_gpu, width)
    word, role = (FAULTED, "bad") if state.faulted else PHASES.get(state.phase, (printable(state.phase), "text"))
    if state.serves and state.phase == "held":
        word = "shared"
    line = Line("lease ").add(word, role)
    if state.job_id is not None:
        preposition = {"held": ",", "verifying": " after", "restoring": " after"}.get(state.phase, " for")
        line.add(f"{preposition} job {state.job_id}")
    if state.phase == "free" and snapshot.waiting > snapshot.held and not snapshot.queue.paused:
        line.add(", the next job takes the GPU", "dim")
    elif state.since is not None and state.phase != "free":
        line.add(f", since {clock(state.since)}")
    return [line.cut(width), *_below(snapshot, state, width)]


def _below(snapshot: Snapshot, state: LeaseState, width: int) -> list[Line]:
    server = server_name(snapshot)
    said: list[tuple[str, str]] = []
    back = "when no job waits" if snapshot.waiting else "at its end"
    if state.status is not None and state.phase != "free" and not _remarked(state):
        said.append((gpu_words(state.status, snapshot.time), "text" if state.phase == "blocked" else "dim"))
    if state.serves and state.phase == "held":
        asks = f"Job {state.job_id} asks {server}, whose models stay"
        said.append((f"{asks}. Loaded at its end: {_before(state)}", "dim"))
    elif state.evicted and state.phase in ("held", "verifying"):
        what = "loaded before" if state.serves else "unloaded"
        said.append((f"{plural(len(state.evicted), 'model')} of {server} {what}, restored {back}", "dim"))
    elif state.evicted and state.phase == "free":
        # Something went wrong when they should have come back: `notes` tell what.
        said.append((f"{plural(len(state.evicted), 'model')} of {server} still to be restored", "warn"))
    if state.residents and state.phase in ("free", "blocked") and not said:
        held = sum(model.size_vram_bytes for model in state.residents)
        names = ", ".join(printable(model.name) for model in state.residents)
        said.append((f"{server} holds {plural(len(state.residents), 'model')}, {data_size(held)}: {names}", "dim"))
    if state.served_away and state.phase in ("held", "verifying"):
        names = ", ".join(printable(name) for name in state.served_away)
        said.append((f"{names} away, started again {back}", "dim"))
    elif state.served and state.phase in ("free", "held", "blocked"):
        held = sum(model.size_vram_bytes for model in state.served)
        names = ", ".join(printable(model.name) for model in state.served)
        said.append((f"llama-server serves {names}, {data_size(held)}", "dim"))
    rows = []
    for text, role in said:
        rows += [Line(" " * LABEL).add(row, role) for row in list(wrapped(text, width - LABEL))[:2]]
    return rows


def _before(state: LeaseState) -> str:
    """What the server held before a job that asks it, and holds after it."""
    return ", ".join(printable(name) for name in state.evicted) or "what clients ask for"


def _remarked(state: LeaseState) -> bool:
    """The remark about memory that no process owns says the same, and more."""
    return bool(state.unowned_bytes) and state.status is not None and state.status.code == "memory_unowned"


def slot_rows(snapshot: Snapshot, with_gpu: bool, width: int) -> list[Line]:
    """The same by what the jobs say: where there is no GPU, or the runner has told nothing of it yet."""
    slot = snapshot.slot
    label = "lease " if with_gpu else "slot  "
    name = "the GPU" if with_gpu else "the CPU"
    below = Line()
    if not slot.held:
        line = Line(label).add("free", "good").add(f", the next job takes {name}" if snapshot.waiting else "", "dim")
    elif slot.elsewhere:
        line = Line(label).add("in use", "warn").add(" by a job of another home", "text")
    else:
        job = snapshot.job(slot.job_id)
        line = Line(label).add("exclusive" if with_gpu else "in use", "busy")
        line.add(f", job {slot.job_id}" if with_gpu else f" by job {slot.job_id}")
        line.add(f", since {clock(slot.since)}" if slot.since else "")
        if job:
            below = Line(" " * LABEL).add(printable(job.title), "dim")
    if not with_gpu:
        below = Line(" " * LABEL).add("no GPU found: the CPU is the one slot", "dim")
    return [line.cut(width), *([below.cut(width)] if below.pieces else [])]


Remark = tuple[str, str, str]
"""(what is wrong, what can be done about it, role)"""


def remarks(snapshot: Snapshot) -> list[Remark]:
    """What is wrong with the GPU or with what is known of it, the gravest first."""
    sample, state = snapshot.sample, snapshot.lease_state
    found: list[Remark] = []
    if sample is None:
        return found
    if (age := snapshot.stale_seconds) is not None:
        found.append((f"newest reading at {clock(sample.time, seconds=True)}, {duration(age)} ago", "", "warn"))
    if sample.problem:
        found.append((printable(sample.problem), "", "warn"))
    found += [(said, "", "warn") for said in gpus_not_used(sample)]
    if state is not None and snapshot.runner_alive is False and state.phase != "free":
        found.append((f"no runner: state of the GPU as of {clock(state.time)}", "", "warn"))
    if state is not None:
        found += _of_memory(snapshot, state)
    found += _of_run(snapshot)
    found += _of_gpu(snapshot)
    if state is not None:
        found += _of_server(snapshot, state)
        found += _of_notes(snapshot, state)
    return found


def _of_notes(snapshot: Snapshot, state: LeaseState) -> list[Remark]:
    """What went wrong a while ago, since the GPU is as it is now; older things stand among what happened."""
    told = {intruder.name for intruder in state.intruders}
    # A time that has not come yet was written before the clock was set back: it says nothing about now.
    since = state.since if state.since is not None and state.since <= snapshot.time + 1.0 else 0.0
    earliest = max(snapshot.time - NOTES_SECONDS, since - 1.0)
    recent = [note for note in state.notes if note.level != "ok" and earliest <= note.time <= snapshot.time + 1.0]
    return [
        (f"{clock(note.time)} {gpu_words(note.reason, snapshot.time)}", "", "bad" if note.level == "bad" else "warn")
        for note in reversed(recent)
        if not (note.reason.code == "model_loaded_by_client" and note.reason.values.get("model") in told)
    ]


def _of_memory(snapshot: Snapshot, state: LeaseState) -> list[Remark]:
    """Memory that no process owns, and programs of others."""
    found: list[Remark] = []
    if state.unowned_bytes:
        since = f" since {clock(state.unowned_since)}" if state.unowned_since else ""
        said = f"stale: {data_size(state.unowned_bytes)} belong to no process{since}"
        found.append((said, gpu_words(state.remedy), "bad"))
    known = shares(snapshot)
    holder = state.status if state.status is not None and state.status.code == "held_by_program" else None
    for other in known.others if known is not None else ():
        if state.phase == "blocked" and holder is not None and holder.values.get("pid") == other.pid:
            continue  # the status names it
        owner = ", ".join(part for part in (f"pid {other.pid}", printable(other.user or "")) if part)
        since = f", since {clock(other.since)}" if other.since else ""
        found.append((f"{printable(other.name)} ({owner}) holds {data_size(other.vram_bytes)}{since}", "", "warn"))
    return found


def _of_server(snapshot: Snapshot, state: LeaseState) -> list[Remark]:
    """What clients had loaded while a job held the GPU, and a server that does not answer."""
    found: list[Remark] = []
    resident = {model.name: model.size_vram_bytes for model in state.residents}
    for intruder in state.intruders:
        now = f"it holds {data_size(resident[intruder.name])}" if intruder.name in resident else "unloaded again"
        found.append((f"{printable(intruder.name)} loaded by a client {intruder.times}×, {now}", "", "warn"))
    if state.server_fault:
        found.append((f"{server_name(snapshot)}: {gpu_words(state.server_fault)}", "", "warn"))
    return found


def _of_run(snapshot: Snapshot) -> list[Remark]:
    """What the runner noticed about the job on the GPU, the newest of each kind."""
    job = snapshot.job(snapshot.slot.job_id)
    newest = newest_of_each(snapshot.findings.get(snapshot.slot.job_id or 0, ()))
    found: list[Remark] = []
    if job is not None and job.reason.code in ("signal_sent", "still_running"):
        found.append((f"job {job.id}: {printable(reason_words(job.reason))}", "", "warn"))
    return found + [
        (f"{clock(item.time)} {printable(item.message)}", "", "bad" if item.stop else "warn") for item in newest
    ]


def _of_gpu(snapshot: Snapshot) -> list[Remark]:
    device = gpu(snapshot.sample)
    if device is None or snapshot.stale_seconds is not None:
        return []
    found: list[Remark] = []
    throttled = f"throttling: {printable(', '.join(device.slowed_by))}" if device.slowed_by else ""
    told = {finding.code for finding in snapshot.findings.get(snapshot.slot.job_id or 0, ())}
    if device.temperature_hotspot_c is not None and device.temperature_hotspot_c > HOT_C:
        known = ", not throttling" if device.slowed_by == () else ""
        said = f"hotspot above {HOT_C:.0f} °C{known}"
        found.append((f"{said}, {throttled}" if throttled else said, "", "warn"))
    elif throttled and "throttling" not in told:
        found.append((throttled, "", "warn"))
    return found


def remark_rows(found: list[Remark], width: int) -> list[Line]:
    """One row a remark, as far as it fits; its advice below it."""
    rows = []
    for said, advice, role in found:
        said_rows = list(wrapped(f"▲ {said}", width))
        rows += [Line(row if index == 0 else f"  {row}", role).cut(width) for index, row in enumerate(said_rows)]
        rows += [Line("  ").add(row, "dim") for row in wrapped(advice, width - 2)] if advice else []
    return rows


def status_parts(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The lease and what is wrong in a few words, for a row a pane."""
    state = snapshot.lease_state
    parts: list[tuple[str, str]] = []
    if state is not None and state.phase not in ("free", "held"):
        parts.append((FAULTED, "bad") if state.faulted else PHASES.get(state.phase, (printable(state.phase), "text")))
    known = shares(snapshot)
    if state is not None and state.unowned_bytes:
        parts.append((f"▲ {data_size(state.unowned_bytes)} stale", "bad"))
    elif known is not None and known.others:
        parts.append((f"▲ {printable(known.others[0].name)} {gb(known.others[0].vram_bytes)}", "warn"))
    elif state is not None and state.intruders:
        parts.append((f"▲ {printable(state.intruders[-1].name)} loaded", "warn"))
    elif snapshot.findings.get(snapshot.slot.job_id or 0):
        newest = newest_of_each(snapshot.findings[snapshot.slot.job_id or 0])[0]
        parts.append((f"▲ {printable(newest.code)}", "bad" if newest.stop else "warn"))
    device = gpu(snapshot.sample)
    if device is not None and device.slowed_by:
        parts.append(("▲ throttling", "warn"))
    return parts
