from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.queueing import Queue


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = tmp_path / "config/bakehouse/settings.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("queue: {stop_grace_seconds: 1}\n")
    made = Queue.create(tmp_path)
    yield made
    made.close()
