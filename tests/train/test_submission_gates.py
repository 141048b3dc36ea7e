"""The length gate asked at submission, with the small model's own tokenizer."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from core.config.project import shipped
from core.errors import GateError
from core.home import Home
from core.store.database import open_database
from core.store.jobs import list_jobs
from core.submission import gates
from core.submission.submit import submit_train

pytestmark = pytest.mark.train


@pytest.mark.parametrize("length", [20, 128, 300])
def test_a_length_that_too_few_examples_fit_into_is_refused_before_anything_is_queued(
    tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/cache").symlink_to(model_cache)
    home = Home(tmp_path / "home").create()
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.setattr(gates, "ASK_SECONDS", 1200.0)
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)

    def submit(max_length: int, later: list[str]) -> None:
        overrides = {"max_length": max_length}
        submit_train(home, shipped(), "judge", "SmolLM2-135M", "demo", overrides, author="tester", later=later)

    with pytest.raises(GateError, match=rf"examples do not fit into {length} tokens") as refused:
        submit(length, [])
    assert (refused.value.code, refused.value.key) == ("too_many_skipped", "max_length")
    with contextlib.closing(open_database(home)) as connection:
        assert list_jobs(connection) == []
    later: list[str] = []
    submit(448, later)
    with contextlib.closing(open_database(home)) as connection:
        assert [job.kind for job in list_jobs(connection)] == ["train"]
    assert later == []
