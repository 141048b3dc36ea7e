"""What pyproject.toml says of other people's packages is what the code needs, and what development and CI run with."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
CONSOLE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {extra: [Requirement(line) for line in lines] for extra, lines in PROJECT["optional-dependencies"].items()}
ROOMS = {"core": [*CONSOLE, *EXTRAS["parquet"]], "tui": CONSOLE, "jobs": [*CONSOLE, *EXTRAS["train"], *EXTRAS["hqq"]]}
# A part of pydantic, which names the one version of it that fits.
PARTS = {"pydantic_core": "pydantic"}
# Looked for, and done without.
OPTIONAL = {"bitsandbytes"}
# Only reached with a tokenizer in hand, which the training libraries bring.
BY_JOBS_ALONE = {("core", "jinja2")}


def imported(room: str) -> set[str]:
    """The top-level modules of others that a room imports anywhere."""
    found: set[str] = set()
    for path in (CHECKOUT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - set(ROOMS) - OPTIONAL


@pytest.mark.parametrize("room", ROOMS)
def test_every_package_that_is_imported_is_asked_for(room: str) -> None:
    asked_for = {canonicalize_name(requirement.name) for requirement in ROOMS[room]}
    distributions = importlib.metadata.packages_distributions()
    missing = {
        module
        for module in imported(room)
        if (room, module) not in BY_JOBS_ALONE
        and module in distributions
        and not asked_for & {canonicalize_name(name) for name in distributions[PARTS.get(module, module)]}
    }
    assert missing == set()


@pytest.mark.parametrize("requirement", [*CONSOLE, *(one for lines in EXTRAS.values() for one in lines)], ids=str)
def test_what_is_run_with_is_what_is_asked_for(requirement: Requirement) -> None:
    pins = (Requirement(line) for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if line[:1].isalnum())
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    version = pinned.get(canonicalize_name(requirement.name))
    assert version is None or requirement.specifier.contains(Version(version))


@pytest.mark.parametrize("requirement", CONSOLE, ids=str)
def test_the_oldest_version_of_what_the_console_needs_is_named(requirement: Requirement) -> None:
    """`make test-compat` runs the console with these; a pin or an upper bound would be in the way of what else is installed."""
    assert [specifier.operator for specifier in requirement.specifier] == [">="]
