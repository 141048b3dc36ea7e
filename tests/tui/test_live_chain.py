"""A chain and a served model in a console on a real home: failed, mended and retried by keys; started and stopped by keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from core.home import Home
from core.served.state import read_state
from core.store.chains import get_chain
from core.submission.enqueue import ChainWriter, store_chain
from tests.process.conftest import machine
from tests.support.queueing import AUTHOR, Queue
from tests.support.served_oven import NAME, Oven, oven
from tests.support.standin_kind import StandinSpec
from tests.tui.conftest import keys_of, seen, text_of
from tests.tui.live import opened, queue
from tui.screens.chain import ChainScreen
from tui.screens.confirm import Confirm
from tui.screens.job import JobScreen

__all__ = ["machine", "oven", "queue"]

pytestmark = pytest.mark.process


def failing_chain(queue: Queue) -> int:
    settings = queue.project.settings
    jobs = settings.jobs.model_copy(update={"python": queue.python})
    project = replace(queue.project, settings=settings.model_copy(update={"jobs": jobs}))

    def write(chain: ChainWriter) -> None:
        for title in ("steps=2", "steps=3 fail=2", "steps=2"):
            chain.add(StandinSpec.in_lane("cpu", title))

    chain = store_chain(queue.home, project, write, title="ship judge", author=AUTHOR).chain
    assert chain is not None
    return chain


async def test_a_chain_that_failed_is_mended_and_retried_by_its_key(queue: Queue) -> None:
    number = await asyncio.to_thread(failing_chain, queue)
    async with opened(queue.home) as pilot:
        await seen(pilot, lambda: "1/3" in text_of(pilot, "#queue") and "✗" in text_of(pilot, "#queue"), "the failure")
        await pilot.press("3", "enter")
        assert isinstance(pilot.app.screen, ChainScreen)
        shown = text_of(pilot, "#links")
        assert "1 link waits until" in shown and "retries job" in shown and "what it was submitted with" in shown
        with queue.database() as connection:
            failed = get_chain(connection, number).current.job.id
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.job_id == failed
        await pilot.press("escape")
        (queue.home.run_dir(failed).path / "mended").touch()
        assert "retry" in keys_of(pilot)
        await pilot.press("r")
        await seen(pilot, lambda: "all 3 done" in text_of(pilot, "#links"), "the rest of the chain")
        assert "retries job" not in text_of(pilot, "#links") and "retry" not in keys_of(pilot)
        assert [len(queue.attempts(failed + step)) for step in (-1, 0, 1)] == [1, 2, 1], (
            "what was done is not done again"
        )


async def test_a_served_model_is_started_stopped_and_removed_by_keys(oven: Oven) -> None:
    home: Home = oven.home
    async with opened(home) as pilot:
        await pilot.press("1")
        await seen(pilot, lambda: "not started yet" in text_of(pilot, "#fleet"), "the model")
        await pilot.press("a")
        await seen(
            pilot,
            lambda: "since" in text_of(pilot, "#fleet") and f":{oven.port}" in text_of(pilot, "#fleet"),
            "it serves",
        )
        oven.serving()
        await pilot.press("x")
        assert isinstance(pilot.app.screen, Confirm)
        await pilot.press("y")
        await seen(pilot, lambda: "stopped: on request" in text_of(pilot, "#fleet"), "it is stopped")
        assert read_state(home, NAME).pid is None
        await pilot.press("X", "y")
        await seen(pilot, lambda: NAME not in text_of(pilot, "#fleet"), "it is gone")
        assert not oven.folder.path.exists() and oven.model.exists(), "its file stays"
