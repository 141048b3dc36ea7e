"""The doctor's screen: the last report at once, a new one on demand, each finding with its sign and its remedy."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.config.project import shipped
from core.doctor import report as doctor
from core.doctor.report import store_report
from core.doctor.results import Diagnostic, Recommended, Report
from core.home import Home
from core.progress import Progress
from core.reasons import Reason
from core.store.job_reasons import job_reason
from core.store.jobs import JobRow
from tests.support.waiting import PATIENCE_SECONDS
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, job, scene
from tui import actions
from tui.app import ConsoleApp
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.doctor import DoctorScreen

LONG = "the build carries gfx1100 and gfx1101 and none that runs on gfx1201, so the first kernel ends with an error"
FOUND = Report(
    NOW - 300,
    (
        Diagnostic("driver", "ok", "amdgpu of Linux 6.14", section="gpu"),
        Diagnostic("torch build", "fault", LONG, "pip install torch --index-url https://example.org/rocm7.1", "torch"),
        Diagnostic(
            "attention", "warning", "SDPA takes the math path: 6.9 times the memory", "set the variable", "torch"
        ),
        Diagnostic("bitsandbytes", "absent", "not installed; nothing here needs it", section="probes"),
    ),
    Recommended("lora-bf16", "bf16 was as exact as expected"),
    seconds=41.0,
)


async def test_the_key_of_the_doctor_is_shown_beside_the_gpu_and_in_the_help(console: Opened) -> None:
    async with console() as pilot:
        assert "D doctor" not in keys_of(pilot)
        await pilot.press("2")
        assert "D doctor" in keys_of(pilot)
        await pilot.press("question_mark")
        assert "The doctor: what is installed" in text_of(pilot, "#help")
        await pilot.press("escape", "D")
        assert isinstance(pilot.app.screen, DoctorScreen)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Dashboard)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_each_finding_has_its_sign_and_its_remedy(console: Opened, size: tuple[int, int]) -> None:
    async with console(size=size) as pilot:
        await pilot.press("D")
        assert "not examined yet: r examines the box" in text_of(pilot, "#rows")
        pilot.app.screen.post_message(DoctorScreen.Examined(FOUND, stored=True))
        await pilot.pause()
        said = text_of(pilot, "#rows")
        assert "1 fault · 1 warning · 1 ok · 5 min ago" in said
        assert "✓ driver" in said and "✗ torch build" in said and "▲ attention" in said and "· bitsandbytes" in said
        assert "→ pip install torch" in said and "→ set the variable" in said
        words = " ".join(said.replace("│", " ").split())
        assert LONG in words
        assert re.search(r"recommended +lora-bf16", said) and "bf16 was as exact as expected" in said
        assert {len(row) for row in said.splitlines()} == {size[0]}


async def test_what_tools_say_in_a_report_is_text(console: Opened) -> None:
    nasty = "\x1b[2J\x1b]0;x\x07[bold]mine"
    hostile = replace(
        FOUND, lines=(Diagnostic(nasty, "fault", nasty, nasty, nasty),), recommended=Recommended(nasty, nasty)
    )
    async with console() as pilot:
        await pilot.press("D")
        pilot.app.screen.post_message(DoctorScreen.Examined(hostile, nasty))
        await pilot.pause()
        said = text_of(pilot, "#rows")
        assert not set(said) & set("\x1b\x07") and "[bold]mine" in said


@pytest.fixture
def slow_examination(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The examination of a box takes until the event is set, then finds `FOUND` as of now and stores it."""
    done = threading.Event()

    def examine(home: Home, *, quick: bool = False) -> Report:
        assert done.wait(PATIENCE_SECONDS)
        store_report(home, FOUND)
        return FOUND

    monkeypatch.setattr(doctor, "examine", examine)
    return done


async def test_the_last_report_stands_while_a_new_one_is_made(
    tmp_path: Path, slow_examination: threading.Event
) -> None:
    home = Home(tmp_path / "home").create()
    store_report(home, replace(FOUND, lines=FOUND.lines[:1], time=NOW - 7200))
    app = ConsoleApp(home, shipped)
    app.reader.start = lambda: None  # type: ignore[method-assign]
    async with app.run_test(size=(120, 40)) as pilot:
        app.show(scene())
        await pilot.press("D")
        await seen(pilot, lambda: "✓ driver" in text_of(pilot, "#rows"), "what was found")
        assert "1 ok · 2 h 00 ago" in text_of(pilot, "#rows") and "r examine again" in keys_of(pilot)
        await pilot.press("r")
        await pilot.pause()
        said = text_of(pilot, "#rows")
        assert "examining" in said and "✓ driver" in said and "r examine again" not in keys_of(pilot)
        slow_examination.set()
        await seen(pilot, lambda: "✗ torch build" in text_of(pilot, "#rows"), "what was found")
        assert "examining" not in text_of(pilot, "#rows")
    assert json.loads((home.cache / "doctor.json").read_text())["worst"] == "fault"


async def test_leaving_the_screen_while_it_examines_breaks_nothing(
    tmp_path: Path, slow_examination: threading.Event
) -> None:
    home = Home(tmp_path / "home").create()
    app = ConsoleApp(home, shipped)
    app.reader.start = lambda: None  # type: ignore[method-assign]
    async with app.run_test(size=(120, 40)) as pilot:
        app.show(scene())
        await pilot.press("D")
        # With no report to show, the box is examined at once.
        await seen(pilot, lambda: "examining" in text_of(pilot, "#rows"), "the examination")
        await pilot.press("escape")
        slow_examination.set()
        await asyncio.sleep(0.3)
        await pilot.press("D")
        await seen(pilot, lambda: "✗ torch build" in text_of(pilot, "#rows"), "what was found")


def stress_job(state: str, **changes: Any) -> JobRow:
    return replace(job(60, state, "stress test, 5 min"), **changes)


async def test_a_stress_test_is_started_after_a_question_and_cancelled_from_here(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[float] = []
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(actions, "start_stress", lambda context, minutes: started.append(minutes))
    monkeypatch.setattr(actions, "ask", lambda context, name, job, said: asked.append((name, job.id)))
    async with console() as pilot:
        await pilot.press("D")
        assert "s stress test" in keys_of(pilot) and "x cancel test" not in keys_of(pilot)
        await pilot.press("s")
        screen = pilot.app.screen
        assert isinstance(screen, Confirm) and screen.focused is not None and screen.focused.id == "leave"
        assert "bakehouse doctor --stress --minutes 5" in screen.explanation and "proves nothing" in screen.explanation
        await pilot.press("enter")
        assert started == []
        await pilot.press("s", "y")
        await pilot.pause()
        assert started == [5.0]

        progress = Progress(done=120, total=400, unit="steps", eta_seconds=210.0)
        pilot.app.show(scene(jobs=(stress_job("running", progress=progress),)))  # type: ignore[attr-defined]
        await pilot.pause()
        said = text_of(pilot, "#rows")
        assert "stress test, job 60: running, 30 %" in said and "step 120" in said
        assert "x cancel test" in keys_of(pilot) and "s stress test" not in keys_of(pilot)
        await pilot.press("x")
        assert asked == [("cancel", 60)]


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        (
            "done",
            job_reason("done", message="no fault in 344 steps over 9 layouts in 5.0 min"),
            "no fault in 344 steps",
        ),
        ("failed", job_reason("gpu_fault", message="[gfxhub] page fault", at_step=61), "GPU page fault after step 61"),
    ],
)
async def test_what_came_of_the_newest_one_stands_above_the_report(
    console: Opened, state: str, reason: Reason, said: str
) -> None:
    ended = stress_job(state, reason=reason, ended_at=NOW - 60)
    older = replace(stress_job("done"), id=12, ended_at=NOW - 900)
    async with console(scene(jobs=(ended, older))) as pilot:
        await pilot.press("D")
        shown = text_of(pilot, "#rows")
        assert said in shown and "job 12" not in shown and "s stress test" in keys_of(pilot)
