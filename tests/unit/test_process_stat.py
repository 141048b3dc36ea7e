"""`/proc/PID/stat`: the one reader of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.process.stat import ProcessStat, parse_stat, read_stat

LINE = "4123 ({}) S 17 4100 4100 0 -1 4194560 1 2 3 4 50 6 700 8 20 0 1 0 987654 10 20 " + "0 " * 28


@pytest.mark.parametrize("name", ["python3", "", "a b", ") R 1 2 (", "((", "日本\ufffd", "x) S 1"])
def test_a_name_can_hold_anything(name: str) -> None:
    assert parse_stat(LINE.format(name)) == ProcessStat(name, "S", 17, 4100, 764, 987654)


def test_this_process_is_as_psutil_sees_it() -> None:
    found, seen = read_stat(os.getpid()), psutil.Process()
    assert found is not None and not found.ended
    assert (found.name, found.parent, found.group) == (seen.name(), os.getppid(), os.getpgrp())
    since = psutil.boot_time() + found.start_ticks / os.sysconf("SC_CLK_TCK")
    assert since == pytest.approx(seen.create_time(), abs=2)


@pytest.mark.process
def test_a_zombie_has_ended_and_one_that_was_waited_for_is_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    found = read_stat(child.pid)
    assert found is not None and found.ended and found.parent == os.getpid()
    child.wait()
    assert read_stat(child.pid) is None


def test_what_cannot_be_looked_at_is_no_proof_of_an_end(tmp_path: Path) -> None:
    assert read_stat(1, tmp_path) is None
    (tmp_path / "1/stat").mkdir(parents=True)
    with pytest.raises(OSError):
        read_stat(1, tmp_path)


@given(st.text(max_size=200))
def test_no_content_raises(text: str) -> None:
    parse_stat(text)
    parse_stat(f"1 (x) {text}")
    parse_stat(LINE.format("x").replace("987654", text))
