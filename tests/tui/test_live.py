"""The console on a real home, with a real runner and jobs that run: what is asked for happens, and is shown."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from pathlib import Path

import pytest

from core.config.project import shipped
from tests.support.queueing import Queue
from tests.support.stored import add_job
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tests.tui.conftest import keys_of, seen, text_of
from tests.tui.live import opened, queue
from tui.app import ConsoleApp
from tui.model.background_reader import BackgroundReader
from tui.model.feed import Feed
from tui.model.snapshot import Snapshot
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.new_run import NewRun
from tui.widgets.choice import ChoiceField

__all__ = ["queue"]

pytestmark = pytest.mark.process


async def test_a_running_job_is_followed_and_cancelled_with_confirmation(queue: Queue) -> None:
    job_id = await asyncio.to_thread(queue.submit, "steps=3000 pause=0.05 waits=6")
    async with opened(queue.home) as pilot:
        await seen(pilot, lambda: re.search(r"step \d+/3000", text_of(pilot, "#detail")), "the log")
        await seen(pilot, lambda: "of 3,000" in text_of(pilot, "#detail"), "the loss chart")
        await seen(pilot, lambda: "free " in text_of(pilot, "#gpu"), "a reading of the machine")
        await seen(pilot, lambda: f"in use by job {job_id}" in text_of(pilot, "#gpu"), "who holds the slot")
        await pilot.press("x")
        assert isinstance(pilot.app.screen, Confirm)
        await pilot.press("tab", "enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Dashboard), "the dashboard")
        await seen(pilot, lambda: "Cancelled" in text_of(pilot, "#queue"), "the cancelled job")
        assert "r retry" in keys_of(pilot)
        await pilot.press("r")
        await seen(pilot, lambda: "attempt 2" in text_of(pilot, "#detail"), "the second attempt")


async def test_a_job_is_paused_and_released_on_its_own_screen_and_goes_on_where_it_was(queue: Queue) -> None:
    await asyncio.to_thread(queue.submit, "steps=4000 pause=0.05 save=5 waits=8")
    async with opened(queue.home) as pilot:
        await seen(pilot, lambda: "step 7/4000" in text_of(pilot, "#detail"), "the log")
        await pilot.press("enter", "h")
        await seen(pilot, lambda: "‖" in text_of(pilot, "#facts"), "that it is held")
        await seen(pilot, lambda: "resumes from step" in text_of(pilot, "#facts"), "where it goes on")
        assert "l release" in keys_of(pilot) and "Held at step" in text_of(pilot, "#facts")
        await pilot.press("escape")
        await seen(pilot, lambda: "l releases it" in text_of(pilot, "#detail"), "the way on")
        await pilot.press("enter", "l")
        await seen(pilot, lambda: "resumed from step" in text_of(pilot, "#facts"), "that it goes on")
        assert "attempt 2" in text_of(pilot, "#facts")


async def test_hold_release_move_pause_and_resume(queue: Queue) -> None:
    queue.ask("pause")
    first, second = queue.submit("first steps=2"), queue.submit("second steps=2")
    async with opened(queue.home) as pilot:
        await seen(pilot, lambda: "‖ paused" in text_of(pilot, "#queue"), "that the queue is paused")
        await pilot.press("j", "K")
        await seen(
            pilot, lambda: [job.id for job in pilot.app.context.snapshot.jobs] == [second, first], "the new order"
        )  # type: ignore[attr-defined]
        await pilot.press("h")
        await seen(pilot, lambda: "Held" in text_of(pilot, "#queue"), "that it is held")
        await pilot.press("l")
        await seen(pilot, lambda: "Held" not in text_of(pilot, "#queue"), "that it is released")
        await pilot.press("P")
        await seen(
            pilot, lambda: "✓" in text_of(pilot, "#queue") and "0 waiting" in text_of(pilot, "#queue"), "both done"
        )
    done = [await asyncio.to_thread(queue.wait_for, job, "done") for job in (second, first)]
    started = [job.started_at or 0.0 for job in done]
    assert 0 < started[0] < started[1], "they ran in the order they were moved into"


async def test_a_refused_request_is_one_clear_line(queue: Queue) -> None:
    job_id = queue.submit("steps=1")
    queue.wait_for(job_id)
    async with opened(queue.home) as pilot:
        await seen(pilot, lambda: "✓" in text_of(pilot, "#queue"), "the job")
        from tui import actions

        actions.ask(pilot.app.context, "retry", pilot.app.screen.job, "no")  # type: ignore[arg-type, attr-defined]
        await seen(pilot, lambda: pilot.app._notifications, "a message")
        (message,) = list(pilot.app._notifications)
        assert (
            message.severity == "error" and "Only a job that ended without a result can be retried" in message.message
        )
        assert "\n" not in message.message


async def test_a_new_run_is_checked_as_one_types_and_queued(queue: Queue) -> None:
    queue.ask("pause", reason="a test")
    async with opened(queue.home) as pilot:
        await pilot.press("n")
        screen = pilot.app.screen
        assert isinstance(screen, NewRun)
        await seen(pilot, lambda: "no leak" in text_of(pilot, "#note-task"), "the catalogue")
        assert "examples" in text_of(pilot, "#note-task") and "steps" in text_of(pilot, "#note-epochs")
        assert "green carries loss" in text_of(pilot, "#lesson")
        assert "--model SmolLM2-135M --recipe demo" in text_of(pilot, "#command")  # what a machine without a GPU can do
        await pilot.press("tab", *"sm", "tab", *"d", "tab")
        await pilot.pause()
        assert "--model SmolLM2-135M --recipe demo" in text_of(pilot, "#command")
        await pilot.press("backspace", "backspace", *"0")
        await pilot.pause()
        assert "✗" in text_of(pilot, "#note-rank") and "⏎" not in keys_of(pilot)
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, NewRun) and not screen.queueing
        await pilot.pause()
        assert any("not queued: rank" in notice.message for notice in pilot.app._notifications)
        assert pilot.app.screen.focused is screen.query_one("#rank")
        await pilot.press("f1")
        assert "Put the run into the queue" in text_of(pilot, "#help")
        await pilot.press("escape", "end")
        await pilot.press("backspace", *"8")
        await pilot.pause()
        assert text_of(pilot, "#command").strip().endswith("--recipe demo --rank 8")
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Dashboard), "the dashboard")
        await seen(pilot, lambda: "train judge · SmolLM2-135M" in text_of(pilot, "#queue"), "the queued run")
        job = pilot.app.screen.job  # type: ignore[attr-defined]
        assert job is not None and job.kind == "train"
    import yaml

    written = yaml.safe_load(queue.home.run_dir(job.id).job_file.read_bytes())
    assert written["spec"]["recipe"]["rank"] == 8


async def test_a_broken_task_spoils_itself_only(queue: Queue, tmp_path: Path) -> None:
    from core.authoring.scaffold import new_project
    from core.config.project import Project

    folder = tmp_path / "mine"
    new_project(folder)
    broken = folder / "configs/tasks/broken.yaml"
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_text("name: broken\nsytem: hello\n")
    app = ConsoleApp(queue.home, lambda: Project.find(explicit=folder))
    app.feed.start()
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await seen(pilot, lambda: "▲" in text_of(pilot, "#header"), "a warning")
            assert any("sytem" in warning for warning in app.context.snapshot.warnings)
            assert "judge" in text_of(pilot, "#fleet")
            await pilot.press("n")
            task = pilot.app.screen.query_one("#task", ChoiceField)
            await seen(pilot, lambda: "broken" in task.names, "the tasks")
            assert task.value != "broken", "it begins with one that can be trained"
            task.choose(task.names.index("broken"))
            await seen(pilot, lambda: "✗" in text_of(pilot, ".note"), "the problem beside the field")
    finally:
        app.feed.stop()
        app.reader.stop()


def test_the_feed_reads_the_jobs_again_only_when_somebody_wrote(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    import tui.model.feed

    reads: list[int] = []
    real = tui.model.feed.list_jobs
    monkeypatch.setattr(
        tui.model.feed, "list_jobs", lambda connection, limit: reads.append(limit) or real(connection, limit)
    )
    posted: list[Snapshot] = []
    feed = Feed(queue.home, "box", posted.append, BackgroundReader(queue.home, shipped, lambda: None), 0.02)
    feed.start()
    try:
        wait_until(lambda: posted and posted[-1].ready, what="the first look")
        time.sleep(0.5)
        before = len(reads)
        assert before <= 2
        with queue.database() as connection:
            add_job(connection, kind="pull", title="written by another", task=None, lane="cpu", on_restart="hold")
        wait_until(lambda: posted[-1].jobs, what="the job")
        assert posted[-1].jobs[0].title == "written by another"
        assert len(reads) == before + 1
    finally:
        feed.stop()
        feed.join(PATIENCE_SECONDS)
    assert not feed.is_alive()
    assert threading.current_thread() is threading.main_thread()
