"""Jobs as real processes: on a tiny model with random weights where any would do, on the real small one for whole paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.home import Home
from tests.support.greetings import greeting_recipe, greeting_task
from tests.support.small_model import filled_cache, home_with, small_model
from tests.support.tiny_model import tiny_model
from tests.support.workshop import Workshop

# As jobs do, and before any test imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


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
