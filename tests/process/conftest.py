from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.queueing import Queue

HERE = Path(__file__).parent
GRACE_SECONDS = 3
"""Short, and not so short that a runner on a laden machine comes only when the next signal is due as well."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("process")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a GPU and without logind, with a folder of its own for the locks of GPUs.

    Its graces are those that are shipped: what obeys is never hurried. Where a job does not, see `short_grace`.
    """
    (tmp_path / "config/bakehouse").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    # A runner leaves when it has had nothing to do for a while; tests of that set their own.
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "600")
    monkeypatch.delenv("BAKEHOUSE_BOOT_ID", raising=False)
    return tmp_path


@pytest.fixture
def queue(machine: Path) -> Iterator[Queue]:
    made = Queue.create(machine)
    yield made
    made.close()


@pytest.fixture
def short_grace(machine: Path) -> float:
    """The seconds that a job has after each request and signal before the next one."""
    (machine / "config/bakehouse/settings.yaml").write_text(f"queue: {{stop_grace_seconds: {GRACE_SECONDS}}}\n")
    return GRACE_SECONDS
