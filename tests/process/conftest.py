from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.queueing import Queue

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("process")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a GPU and without logind, with short graces and a folder of its own for the locks of GPUs."""
    settings = tmp_path / "config/bakehouse/settings.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("queue: {stop_grace_seconds: 1}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.delenv("BAKEHOUSE_BOOT_ID", raising=False)
    return tmp_path


@pytest.fixture
def queue(machine: Path) -> Iterator[Queue]:
    made = Queue.create(machine)
    yield made
    made.close()
