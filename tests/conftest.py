"""What holds for every test: how deep property tests go, and that the fast lane starts no process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.depth import example_count

# How long an example takes is the machine's business.
settings.register_profile(
    "bakehouse", max_examples=example_count(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("bakehouse")

# A worker of xdist has them; they would count for more than the size of a terminal that a test opens.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

LONGEST_ID = 80
MAY_START_PROCESSES = ("process", "train")
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
_started: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in _STARTS:
        _started.append(f"{event}: {str(arguments[0])[:200] if arguments else ''}")


def pytest_configure() -> None:
    sys.addaudithook(_note)


def pytest_make_parametrize_id(val: object) -> str | None:
    """A long text does not become a part of a test's name: that goes to every worker and into each child's environment."""
    if not isinstance(val, str | bytes) or len(val) <= LONGEST_ID:
        return None
    return f"{val[:LONGEST_ID]!r}…{len(val)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    _started.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    result = yield
    if _started and not any(item.get_closest_marker(name) for name in MAY_START_PROCESSES):
        pytest.fail(f"it starts a process ({_started[0]}): mark it with `process`", pytrace=False)
    return result
