"""What holds for every test: how deep property tests go, that the fast lane starts no process, and what a lane has to read."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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

# No check for drift starts by itself in the middle of a test, unless that is what the test is about.
os.environ.setdefault("BAKEHOUSE_DRIFT_SETTLE_SECONDS", "inf")

HERE = Path(__file__).parent
MARKERS = ("process", "train", "soak", "timed", "hypothesis")
LONGEST_ID = 80
MAY_START_PROCESSES = ("process", "train")
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
_started: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in _STARTS:
        _started.append(f"{event}: {str(arguments[0])[:200] if arguments else ''}")


def pytest_configure() -> None:
    sys.addaudithook(_note)
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            # As a shell starts what goes on in the background, and nohup anything: what a test starts would inherit it, and be
            # deaf to its Ctrl+C, or to the end of its terminal.
            signal.signal(number, handler)


@cache
def _text(file: Path) -> str:
    return file.read_text()


def may_have(file: Path, marker: str) -> bool:
    """Whether a test of the file can have the marker: its text names one, or its folder, whose conftest sets it."""
    word = marker if marker == "hypothesis" else f"mark.{marker}"  # that one is of a plugin
    return word in _text(file) or marker in file.relative_to(HERE).parts


def wanted_markers(expression: str) -> list[str]:
    """The markers that every test has which a marker expression of the form `a and b and not c` chooses."""
    return [word for word in expression.split(" and ") if word in MARKERS]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """No worker reads a file that has no test of its lane: to read them all takes several seconds of each worker."""
    if not collection_path.name.startswith("test_") or collection_path.suffix != ".py":
        return None
    wanted = wanted_markers(config.option.markexpr)
    return None if all(may_have(collection_path, marker) for marker in wanted) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test can be found by the markers that it has."""
    for item in items:
        for marker in MARKERS:
            if item.get_closest_marker(marker) is not None and not may_have(item.path, marker):
                raise pytest.UsageError(f"{item.nodeid} has the mark `{marker}`, which its file must name")


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
