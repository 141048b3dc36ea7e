"""The task `judge` with sixty inputs, for tests of the gate: as many can tell a loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.promotable import Promotable, promotable

N = 60
ALL, HALF = [5] * N, [2, 3] * (N // 2)
"""Scores of two models: all of it right, and half of it."""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Promotable]:
    found = promotable(tmp_path, monkeypatch, N)
    yield found
    found.connection.close()
