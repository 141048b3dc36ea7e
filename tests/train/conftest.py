"""Jobs as real processes: on a tiny model with random weights where any would do, on the real small one for whole paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json
from core.home import Home, RunDir
from core.jobfile.merge import MergeSpec
from core.jobfile.train import TrainSpec
from tests.support.greetings import greeting_recipe, greeting_task
from tests.support.small_model import filled_cache, home_with, small_model
from tests.support.tiny_model import tiny_model
from tests.support.workshop import Workshop

# As jobs do, and before any test imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

HERE = Path(__file__).parent
TAUGHT = ("test_served_bakeoff", "test_whole_paths", "test_stage_matrix", "test_ship")
"""The files whose tests share what `taught` makes."""
SLOWEST = (
    *TAUGHT,
    "test_challenge",
    "test_ladder",
    "test_probe",
    "test_llama_server",
    "test_gguf_jobs",
    "test_kills",
    "test_kills_deploy",
    "test_train",
    "test_stress",
)
"""These begin first, so that none of them is what all others wait for at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file share its fixtures, so they run on one worker; so do those of files that share what takes minutes."""
    own = [item for item in items if HERE in item.path.parents]
    for item in own:
        item.add_marker(pytest.mark.xdist_group("taught" if item.path.stem in TAUGHT else item.path.stem))
    begin = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: begin.get(item.path.stem, len(begin)) if HERE in item.path.parents else len(begin))


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the real small model."""
    return filled_cache(tmp_path_factory.mktemp("pull"))


@pytest.fixture(scope="module")
def workshop(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Jobs on the real small model, each in an interpreter of its own."""
    made = Workshop(home_with(model_cache, tmp_path_factory.mktemp("home")), small_model())
    yield made
    made.close()


@dataclass(frozen=True)
class Taught:
    """The real small model after it has learnt the greeting: job 1 of a workshop trained it, job 2 merged it into a folder."""

    workshop: Workshop
    train: RunDir
    merged: Path


@pytest.fixture(scope="session")
def lessons(recipe: Recipe) -> Recipe:
    """Enough for the small model to learn the greeting; nothing random, so that curves compare."""
    changes = {"epochs": 4.0, "batch_size": 2, "accumulation": 1, "lr": 3e-3, "schedule": "constant"}
    return recipe.model_copy(update={**changes, "dropout": 0.0, "neftune": None, "save_steps": None})


@pytest.fixture(scope="session")
def taught(
    model_cache: Path, task: Task, lessons: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Taught]:
    shop = Workshop(home_with(model_cache, tmp_path_factory.mktemp("taught")), small_model())
    train = shop.submit(1, TrainSpec(task=task, model=shop.model, recipe=lessons, train=shop.greetings()))
    assert shop.finish(train) == 0, train.attempt(1).log.read_text()
    merge = shop.submit(2, MergeSpec(adapter="job:1", model=shop.model, dtype="fp32"))
    assert shop.finish(merge) == 0, merge.attempt(1).log.read_text()
    (artefact,) = read_json(merge.result)["artefacts"]
    yield Taught(shop, train, shop.home.artefacts / artefact["sha256"] / "merged")
    shop.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tinyshop(tiny: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Jobs on the tiny model, each in a process that is forked. More than one thread would only wait for one another."""
    made = Workshop(Home(tmp_path_factory.mktemp("home")).create(), tiny, forked=True, threads=1)
    yield made
    made.close()


@pytest.fixture(scope="session")
def task() -> Task:
    return greeting_task()


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return greeting_recipe()
