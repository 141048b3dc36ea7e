"""A served model whose program is a stand-in, which does what its model's file says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.home import Home, ServedDir
from core.process.ports import free_port, listens
from core.served.llama_server import is_healthy
from core.served.record import ServedModelRecord, write_record
from core.served.state import ServedState
from tests.support.served_home import served_home
from tests.support.served_models import reached
from tests.support.standin_llama_server import command_of

NAME = "t-m-1"


@dataclass
class Oven:
    """A home with a served model, whose program is the stand-in; what its model's file says is what that does."""

    home: Home
    model: Path
    port: int

    @property
    def folder(self) -> ServedDir:
        return self.home.served_dir(NAME)

    def record(self, model: Path | None = None, *, job_id: int = 1) -> ServedModelRecord:
        """A record for the stand-in with this model's file."""
        model = model or self.model
        command = command_of(model, self.port)
        return ServedModelRecord(NAME, model, "sha256:ab", "t", "m", job_id, command, self.port, 512)

    def tell(self, *words: str) -> None:
        whole = self.model.with_suffix(".new")
        whole.write_text("\n".join(words))
        whole.rename(self.model)

    @property
    def starts(self) -> int:
        file = self.model.with_suffix(".starts")
        return len(file.read_text().split()) if file.exists() else 0

    def serving(self) -> ServedState:
        state = reached(self.home, NAME, "serving")
        assert state.pid is not None and listens(state.pid, self.port) and is_healthy(self.port)
        return state


@pytest.fixture
def oven(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Oven]:
    with served_home(machine, monkeypatch) as home:
        made = Oven(home, machine / "m.gguf", free_port())
        made.tell()
        write_record(home, made.record())
        yield made


@pytest.fixture
def misses_a_runner(oven: Oven, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim that finds no runner does soon what it does about that."""
    monkeypatch.setenv("BAKEHOUSE_RUNNER_MISSING_SECONDS", "0.3")
