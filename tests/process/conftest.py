from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.queueing import Queue


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.setenv("BAKEHOUSE_STOP_GRACE_SECONDS", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = Queue.create(tmp_path)
    yield made
    made.close()
