"""Fixtures that several files of unit tests share: the lease on a made-up GPU, and a client of each Ollama there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.serving.ollama import Ollama
from tests.support.leasesim import LeaseSim
from tests.support.ollama_served import served
from tests.support.ollama_standin import VERSIONS, OllamaStandin


@pytest.fixture
def own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own for the locks of GPUs, and no model server of the machine's."""
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)


@pytest.fixture
def sim(own_leases: None, tmp_path: Path) -> LeaseSim:
    return LeaseSim(tmp_path)


@pytest.fixture(params=VERSIONS)
def standin(request: pytest.FixtureRequest) -> Iterator[OllamaStandin]:
    with served(request.param) as server:
        yield server


@pytest.fixture
def ollama(standin: OllamaStandin) -> Iterator[Ollama]:
    with Ollama(standin.url) as client:
        yield client
