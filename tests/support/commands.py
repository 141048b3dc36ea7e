"""A command of `bakehouse` in the test's own process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core.cli.main import main


def called(capsys: pytest.CaptureFixture[str], words: Sequence[str]) -> tuple[int, str, str]:
    """What came of a command: its exit code, and what it printed to stdout and to stderr."""
    with pytest.raises(SystemExit) as leave:
        main(list(words))
    out, err = capsys.readouterr()
    return int(leave.value.code or 0), out, err
