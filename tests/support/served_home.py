"""A home whose served models are processes of the stand-in of llama-server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.home import Home
from core.runner.client import stop_runner
from tests.support.forked import CHECKOUT
from tests.support.served_models import all_ended
from tests.support.systemd_standin import install


@contextlib.contextmanager
def served_home(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home without a runner, on a machine whose systemd has no bus; what serves there, and its runner, end with the block."""
    monkeypatch.setenv("BAKEHOUSE_SERVED_PAUSE", "0.01")
    # That no runner lives concerns a shim in tests of that alone.
    monkeypatch.setenv("BAKEHOUSE_RUNNER_MISSING_SECONDS", "3600")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    install(machine / "systemd", CHECKOUT, linger="no", kills="no").has_no_bus()
    monkeypatch.setenv("PATH", f"{machine / 'systemd' / 'bin'}:{os.environ['PATH']}")
    home = Home(machine / "home").create()
    home.runner_stopped.touch()  # until a test is about a runner
    with all_ended(home):
        yield home
    stop_runner(home)
