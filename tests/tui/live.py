"""A console on a real home, with a real runner beside it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.home import Home
from tests.support.queueing import Queue
from tests.support.waiting import PATIENCE_SECONDS
from tests.tui.conftest import seen
from tui.app import ConsoleApp


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "600")
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    made = Queue.create(tmp_path)
    yield made
    made.close()


@contextlib.asynccontextmanager
async def opened(home: Home) -> AsyncIterator[Pilot[None]]:
    # As `run_console` does: the runner lives while a console is open.
    lock = home.console_lock.open("a")
    fcntl.flock(lock, fcntl.LOCK_SH)
    app = ConsoleApp(home, shipped)
    app.feed.start()
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await seen(pilot, lambda: app.context.snapshot.ready, "the first look")
            yield pilot
    finally:
        app.feed.stop()
        app.reader.stop()
        app.feed.join(PATIENCE_SECONDS)
        lock.close()
