"""One job in full: its files are read in place, followed, scrolled, and shown as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.reasons import Reason
from core.store.jobs import Transition
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import NOW, job, scene
from tui.screens.job import JobScreen


def write_log(tmp_path: Path, rows: int) -> Path:
    attempt = tmp_path / "home/runs/42/attempt-1"
    attempt.mkdir(parents=True)
    log = attempt / "log.txt"
    log.write_text("".join(f"row {number}\n" for number in range(1, rows + 1)))
    (attempt / "events.jsonl").write_text('{"seq":1,"time":5.0,"kind":"phase","name":"loading"}\n')
    (tmp_path / "home/runs/42/job.yaml").write_text("id: 42\ntitle: train judge\n")
    return log


async def test_the_log_is_followed_and_scrolled(console: Opened, tmp_path: Path) -> None:
    log = write_log(tmp_path, 500)
    async with console() as pilot:
        await pilot.press("enter")
        await pilot.pause()
        assert "row 500" in text_of(pilot, "#file") and "following" in text_of(pilot, "#file")
        with log.open("a") as file:
            file.write("\x1b[31mrow 501 [bold]as text[/]\x1b[0m\n")
        pilot.app.show(scene(time=NOW + 1))  # type: ignore[attr-defined]
        await pilot.pause()
        assert "row 501 [bold]as text[/]" in text_of(pilot, "#file")
        await pilot.press("k")
        assert "row 501" not in text_of(pilot, "#file") and "following" not in text_of(pilot, "#file")
        with log.open("a") as file:
            file.write("row 502\n")
        pilot.app.show(scene(time=NOW + 2))  # type: ignore[attr-defined]
        await pilot.pause()
        assert "row 502" not in text_of(pilot, "#file"), "a reader is not dragged to the end"
        await pilot.press("g")
        assert "row 1 " in text_of(pilot, "#file") and " top ─" in text_of(pilot, "#file")
        await pilot.press("space")
        assert "row 1 " not in text_of(pilot, "#file") and "row 28 " in text_of(pilot, "#file")
        await pilot.press("G")
        assert "row 502" in text_of(pilot, "#file") and "following" in text_of(pilot, "#file")


async def test_the_other_files_are_a_tab_away(console: Opened, tmp_path: Path) -> None:
    write_log(tmp_path, 3)
    async with console() as pilot:
        await pilot.press("enter", "tab", "tab", "tab")
        assert "00:00:05 phase      loading" in text_of(pilot, "#file")
        await pilot.press("tab")
        assert "title: train judge" in text_of(pilot, "#file")
        await pilot.press("tab")
        assert "nothing written yet" in text_of(pilot, "#file")


async def test_how_a_job_came_there_is_told(console: Opened, tmp_path: Path) -> None:
    write_log(tmp_path, 3)
    async with console() as pilot:
        await pilot.press("enter")
        screen = pilot.app.screen
        assert isinstance(screen, JobScreen)
        screen.post_message(
            screen.HistoryRead(
                (
                    Transition(42, 0, None, "waiting", Reason("submitted"), "anna@gpubox, command", NOW - 9000),
                    Transition(42, 1, "running", "stopping", Reason("stopping_to_cancel"), "ben", NOW - 2100),
                )
            )
        )
        await pilot.pause()
        facts = text_of(pilot, "#facts")
        assert "▶ running" in facts and "58 % 26 min" in facts and "lora-bf16, rank 32" in facts
        assert "waiting" in facts and "anna@gpubox, command" in facts
        assert "14:02  stopping    attempt 1  Stopping at the next step  ben" in facts


@pytest.mark.parametrize(
    ("kind", "tabs"),
    [
        ("train", ("Log", "Loss", "Memory", "Events", "Config", "Manifest")),
        ("deploy", ("Parity", "Log", "Memory", "Events", "Config", "Manifest")),
        ("quantize", ("Log", "Events", "Config", "Manifest")),
    ],
)
async def test_a_job_has_the_tabs_that_its_kind_has_something_for(
    console: Opened, kind: str, tabs: tuple[str, ...]
) -> None:
    made = job(9, "done", "the job", kind=kind, task="judge", ended_at=NOW)
    async with console(scene(jobs=(made,), detail=None)) as pilot:
        await pilot.press("3", "enter")
        screen = pilot.app.screen
        assert isinstance(screen, JobScreen) and screen.tabs == tabs
        for name in tabs:
            assert screen.tab == name
            await pilot.press("tab")
        assert ("memory" in keys_of(pilot)) == ("Memory" in tabs)
