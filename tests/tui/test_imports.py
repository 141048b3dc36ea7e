"""What the first paint must not wait for."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

HEAVY = ("pydantic", "scipy", "numpy", "plotext", "sqlite_utils", "torch", "transformers", "markdown_it", "httpx")


def test_the_console_begins_without_the_heavy_modules() -> None:
    code = f"import sys, tui.app, tui.screens.dashboard; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
