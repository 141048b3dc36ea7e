"""What an import brings along, looked at in a fresh interpreter: torch only in jobs, Textual only in the console."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import core

pytestmark = pytest.mark.process

HEAVY = {
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "textual",
    "rich",
    "plotext",
    "textual_plotext",
}
THE_CONSOLE = {"core.cli.console"}
ALL = sorted(module.name for module in pkgutil.walk_packages(core.__path__, "core."))

IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
loaded = list(sys.modules)
import json
print(json.dumps(loaded))
"""


def imported_by(*names: str) -> set[str]:
    """The modules that are loaded after importing these, in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", IMPORT, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def tops(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_the_library_brings_nothing_heavy() -> None:
    assert not tops(imported_by("core")) & HEAVY


def test_no_module_of_the_library_brings_torch_or_textual() -> None:
    """All but the command that opens the console, together in one interpreter."""
    assert len(ALL) > 60
    loaded = imported_by(*(name for name in ALL if name not in THE_CONSOLE))
    assert not tops(loaded) & HEAVY
    assert not tops(loaded) & {"jobs", "tui"}


def test_even_the_command_that_opens_the_console_brings_textual_only_when_it_does() -> None:
    assert not tops(imported_by("core.cli.main", *THE_CONSOLE)) & (HEAVY | {"tui"})


def test_modules_that_are_slow_to_load_are_loaded_where_they_are_used() -> None:
    assert not tops(imported_by(*(name for name in ALL if name != "core.store.migrations"))) & {
        "httpx",
        "scipy",
        "sqlite_utils",
        "numpy",
    }


def test_the_first_command_in_a_home_brings_no_pandas() -> None:
    """A training's libraries have it installed; what takes the schema's steps would load it."""
    assert not tops(imported_by("core.store.migrations")) & {"pandas", "pyarrow"}


@pytest.mark.parametrize("name", ["core.attempt.shim", "core.runner.daemon"])
def test_a_shim_needs_only_the_standard_library_and_the_library(name: str) -> None:
    """It lives as long as its job, once for each job, and must start at once."""
    bare = imported_by("sys")
    loaded = tops(imported_by(name) - bare)
    assert loaded - set(sys.stdlib_module_names) <= {"core"} | tops(bare)


def test_a_runner_that_finds_another_one_has_loaded_little_before_it_leaves() -> None:
    """Every job's end and every command may start one; what is slow to load is loaded by the one that stays."""
    loaded = tops(imported_by("core.runner.loop"))
    assert not loaded & (HEAVY | {"pydantic", "yaml", "click", "psutil", "sqlite_utils"})


@pytest.mark.parametrize("name", ["core.jobfile.kinds", "core.jobfile.raw", "core.jobfile.references"])
def test_what_is_known_by_a_job_s_kind_costs_little(name: str) -> None:
    """The help of the commands, the runner and the console ask for it."""
    assert not tops(imported_by(name)) & (HEAVY | {"pydantic", "yaml", "click", "psutil", "sqlite3", "jobs"})


def test_the_console_brings_no_torch_and_no_job() -> None:
    assert not tops(imported_by("tui.app")) & {"torch", "transformers", "trl", "peft", "jobs"}


def test_a_shim_brings_the_standard_library_alone() -> None:
    """One lives beside each job and each served model, for months."""
    beside = tops(imported_by("core.served.shim", "core.attempt.shim")) - set(sys.stdlib_module_names)
    assert {name for name in beside if not name.startswith(("_", "sitecustomize"))} == {"core"}
