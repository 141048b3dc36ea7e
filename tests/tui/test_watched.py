"""What the runner notices about a run and writes of the GPU, on the job's screen; and the end by force."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.files import append_line, write_json
from core.gpu_lease.state import LeaseState, write_lease_state
from core.home import Home
from core.store.job_reasons import job_reason
from core.telemetry.run_record import Summary, TelemetryRecord, stored_summary
from tests.tui import gpus
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import NOW, detail, job, jobs, scene
from tui.model.gpu_files import GpuFiles
from tui.model.snapshot import RunFinding, Snapshot
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.job import JobScreen

SPILL = RunFinding(NOW - 42, "spill", "GTT grew by 2.6 GB since the run began")
HANG = RunFinding(NOW - 2, "hang", "no step for 4 min, usually one in 7 s; the GPU is 100 % busy", stop=True)
MEASURED = Summary(12_600_000_000, 11_400_000_000, 2_800_000_000, 486_000.0, 94.0, 84.0, 2090.0)


async def test_what_the_runner_noticed_stands_above_the_events(console: Opened) -> None:
    async with console(scene(detail=replace(detail(), findings=(SPILL, HANG)))) as pilot:
        await pilot.press("enter", "tab", "tab", "tab")
        said = text_of(pilot, "#file")
        assert "noticed by the runner  2 warnings" in said
        assert "14:36:30 ▲ GTT grew by 2.6 GB since the run began" in said
        assert "14:37:10 ✗ no step for 4 min" in said and "the run was stopped for it" in said
        assert "nothing written yet" in said
        await pilot.press("shift+tab", "shift+tab", "shift+tab")
        assert "noticed by the runner" not in text_of(pilot, "#file")


async def test_events_scroll_below_what_was_noticed(console: Opened, tmp_path: Path) -> None:
    attempt = Home(tmp_path / "home").run_dir(42).attempt(1)
    attempt.path.mkdir(parents=True)
    for number in range(1, 101):
        append_line(
            attempt.events, {"seq": number, "time": NOW, "kind": "phase", "name": f"phase {number}"}, durable=False
        )
    async with console(scene(detail=replace(detail(), findings=(SPILL,)))) as pilot:
        await pilot.press("enter", "tab", "tab", "tab")
        said = text_of(pilot, "#file")
        assert "▲ GTT grew" in said and "phase 100" in said and "following" in said
        await pilot.press("g")
        said = text_of(pilot, "#file")
        assert "▲ GTT grew" in said and "phase 1\n" in said.replace(" ", " ").replace("│", "").replace("  ", "") + "\n"
        for _ in range(8):
            await pilot.press("space")
        assert "phase 100" in text_of(pilot, "#file") and "following" in text_of(pilot, "#file")


async def test_a_run_s_telemetry_is_told_where_its_facts_are(console: Opened) -> None:
    async with console(scene(detail=replace(detail(), gpu=MEASURED))) as pilot:
        await pilot.press("enter")
        said = text_of(pilot, "#facts")
        assert "GPU: peak 12.6 GB, 11.4 GB of it this run's · 135 Wh · 94 % busy · hotspot at most 84 °C" in said
        assert "GTT at most 2.8 GB" in said


async def test_each_measured_attempt_has_its_row(console: Opened) -> None:
    async with console(scene(jobs=(job(42, "done", "train judge · m", attempt=2, ended_at=NOW), *jobs()[1:]))) as pilot:
        await pilot.press("enter", "m")
        screen = pilot.app.screen
        assert isinstance(screen, JobScreen)
        screen.post_message(screen.HistoryRead((), ((1, Summary(9_000_000_000, seconds=30.0)), (2, MEASURED))))
        await pilot.pause()
        rows = text_of(pilot, "#rows")
        assert "attempt 1 peak 9.0 GB · over 30 s" in rows
        assert "attempt 2 peak 12.6 GB, 11.4 GB of it this run's · 135 Wh" in rows
        assert "GPU: peak 12.6 GB" in text_of(pilot, "#facts")


@pytest.mark.parametrize("text", [None, "", "[]", "no json", "12"])
def test_a_summary_that_cannot_be_read_is_none(text: str | None) -> None:
    assert stored_summary(text) is None


def test_a_stored_summary_is_read_as_it_was_written() -> None:
    assert stored_summary(json.dumps(MEASURED.to_json())) == MEASURED


def test_the_feed_follows_what_the_runner_writes(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    files = GpuFiles(home)
    running = job(42, "running", "train judge · m")
    attempt = home.run_dir(42).attempt(1)
    attempt.path.mkdir(parents=True)
    assert files.state() is None and files.findings([running]) == {} and files.summary(running) is None

    write_lease_state(home, gpus.state("held", job_id=42, since=NOW, evicted=gpus.EVICTED))
    state = files.state()
    assert isinstance(state, LeaseState) and state.evicted == gpus.EVICTED
    assert files.state() is state, "what did not change is not read again"
    write_json(home.lease_state, {"phase": "held", "residents": "none"})
    assert files.state() is None, "a file of another version is passed over"

    event = {"seq": 1, "time": NOW, "kind": "warning", "code": "spill", "message": "GTT grew", "stop": False}
    append_line(attempt.watch, event)
    append_line(attempt.watch, {"seq": 2, "kind": "warning", "message": "without a time"})
    assert files.findings([running]) == {42: (RunFinding(NOW, "spill", "GTT grew"),)}
    append_line(attempt.watch, {**event, "seq": 3, "code": "hang", "message": "no step", "stop": True})
    assert [one.stop for one in files.findings([running])[42]] == [False, True]
    assert files.findings([replace(running, state="done")]) == {}

    record = TelemetryRecord(attempt)
    for sample in gpus.training().samples[-5:]:
        record.add(sample)
    summary = files.summary(running)
    assert summary is not None and summary.peak_vram_bytes == 12_310_000_000 and (summary.energy_joules or 0) > 1000
    assert files.summary(replace(running, attempt=2)) is None


def deaf() -> Snapshot:
    """A job on an AMD GPU that was asked to stop and has not."""
    reason = job_reason("signal_sent", signal="SIGTERM", after_seconds=120)
    stopping = job(
        42, "stopping", "train judge · Qwen3-4B", reason=reason, stop_reason="cancel", stop_asked_at=NOW - 190
    )
    return gpus.training(jobs=(stopping, *jobs()[1:]))


async def test_an_end_by_force_is_offered_for_a_job_that_does_not_obey_and_for_no_other(console: Opened) -> None:
    async with console(deaf()) as pilot:
        assert "X kill" in keys_of(pilot)
        assert "Did not stop within 120 s; SIGTERM sent" in text_of(pilot, "#detail")
        assert "▲ job 42: Did not stop within 120 s" in text_of(pilot, "#gpu")
        await pilot.press("j")
        assert "X kill" not in keys_of(pilot)
        await pilot.press("k", "2")
        assert "X kill" not in keys_of(pilot), "what the key would act on must be seen"
    async with console() as pilot:
        assert "X kill" not in keys_of(pilot)
        await pilot.press("X")
        assert isinstance(pilot.app.screen, Dashboard)


async def test_before_the_end_by_force_stands_what_it_can_do(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr("tui.actions.ask", lambda app, kind, job, said, arguments: asked.append((kind, job.id)))
    async with console(deaf()) as pilot:
        await pilot.press("X")
        question = pilot.app.screen
        assert isinstance(question, Confirm)
        assert "Force-kill job 42, train judge · Qwen3-4B with SIGKILL?" in question.question
        assert "3 min ago" in question.explanation and "no process owns" in question.explanation
        assert "the machine itself can hang" in question.explanation
        await pilot.press("enter")
        assert asked == [], "the safe answer has the focus"
        await pilot.press("X", "y")
        assert asked == [("kill", 42)]
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, JobScreen) and "X kill" in keys_of(pilot)
        await pilot.press("X", "tab", "enter")
        assert asked == [("kill", 42)] * 2


async def test_on_another_gpu_the_question_threatens_with_nothing_that_cannot_happen(console: Opened) -> None:
    other = tuple(
        replace(one, devices=(replace(one.devices[0], vendor="nvidia", name="H100"),)) for one in deaf().samples
    )
    async with console(replace(deaf(), samples=other)) as pilot:
        await pilot.press("X")
        assert isinstance(pilot.app.screen, Confirm)
        assert "hang" not in pilot.app.screen.explanation and "cannot clean up" in pilot.app.screen.explanation
