"""The models that were unloaded for a job, in the file that outlives the runner."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.gpu_lease.evicted_models import EvictedModel, EvictedModels
from core.serving.replies import Resident

JUDGE = EvictedModel("judge:v1", 8192, 240.5, "sha256:aa")
PLANNER = EvictedModel("planner:v1", 4096, -1.0, None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "displaced.json"


def test_what_went_is_known_to_the_next_runner_until_it_is_back(file: Path) -> None:
    models = EvictedModels(file)
    assert not models and not file.exists()
    models.add(JUDGE)
    models.add(PLANNER)
    models.add(EvictedModel("judge:v1", 2048, 1.0))
    assert EvictedModels(file).models == (JUDGE, PLANNER), "as it was first, not as it was seen again"
    models.rename("judge:v1", "judge:latest")
    models.drop("planner:v1")
    assert EvictedModels(file).names == ("judge:latest",)
    assert EvictedModels(file).models[0].context_length == 8192
    models.drop("judge:latest")
    assert not models and not file.exists()


def test_a_service_that_was_ended_is_not_forgotten_though_it_held_no_model(file: Path) -> None:
    EvictedModels(file).note_service(True)
    later = EvictedModels(file)
    assert later and later.stopped and later.models == ()
    later.note_service(False)
    assert not file.exists()


def test_a_name_that_is_no_utf_8_comes_back_as_it_was(file: Path) -> None:
    EvictedModels(file).add(EvictedModel("judge\udcff:v1"))
    assert EvictedModels(file).names == ("judge\udcff:v1",)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"models": 3}', '{"models": [3]}', '{"models": [{"name": 3}]}', '{"models": [{"blob": "x"}]}'],
)
def test_a_file_that_is_none_of_this_version_holds_nothing(file: Path, text: str) -> None:
    file.write_text(text)
    assert not EvictedModels(file)


def test_a_model_is_known_by_its_weights_under_another_tag() -> None:
    other = Resident("judge-2:latest", "d", 1, 1, 8192, None)
    assert JUDGE.is_resident(other, "sha256:aa") and not JUDGE.is_resident(other, "sha256:bb")
    assert not PLANNER.is_resident(other, None), "two that are not known are not the same"
    assert PLANNER.is_resident(Resident("planner:v1", None, 1, 1, None, None), None)
