"""Tests that need a package which the console does without: left out where it is not installed, and counted there."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.compat import NOT_INSTALLED


def missing(*packages: str) -> str | None:
    """The reason to leave a test out; None where all of them are there. Nothing is imported."""
    absent = [name for name in packages if find_spec(name) is None]
    return NOT_INSTALLED + ", ".join(absent) if absent else None


def need(*packages: str) -> None:
    """Leave the test that runs now out, where one of them is not installed."""
    if why := missing(*packages):
        pytest.skip(why)


def needs(*packages: str) -> pytest.MarkDecorator:
    """A mark that leaves a test, or a file's tests, out where one of them is not installed."""
    why = missing(*packages)
    return pytest.mark.skipif(why is not None, reason=why or "")
