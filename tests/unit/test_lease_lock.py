"""The lock of a GPU: one holder at a time, and held while a process that inherited it lives."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from core.gpu_lease.lock import acquire, holder, lease_path
from core.home import Home

pytestmark = pytest.mark.process


def test_a_lease_is_one_at_a_time_and_says_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    home = Home(tmp_path / "home")
    path = lease_path(home, "0000:2b:00.0")
    assert path == tmp_path / "bakehouse-0000:2b:00.0"
    assert holder(path) is None
    lease = acquire(path)
    assert lease is not None
    assert acquire(path) is None
    assert holder(path) == {}
    lease.note_holder(home, 12)
    said = holder(path)
    assert said is not None
    assert (said["home"], said["job"]) == (str(home.root), 12)
    lease.release()
    assert holder(path) is None


def test_the_cpu_s_lock_lies_in_the_home(tmp_path: Path) -> None:
    assert lease_path(Home(tmp_path), None) == tmp_path / "cpu.lock"


def test_other_users_of_the_machine_can_take_the_gpu_s_lock(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        lease = acquire(tmp_path / "bakehouse-card")
    finally:
        os.umask(former)
    assert lease is not None
    assert (tmp_path / "bakehouse-card").stat().st_mode & 0o777 == 0o666


def test_a_lease_lasts_as_long_as_a_process_that_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "bakehouse-card"
    lease = acquire(path)
    assert lease is not None
    heir = subprocess.Popen(["sleep", "600"], pass_fds=[lease.descriptor])
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        lease.release()
        assert acquire(path) is None
        heir.kill()
        heir.wait()
        after = acquire(path)
        assert after is not None, "a process that did not inherit it does not hold it"
        after.release()
    finally:
        for process in (heir, stranger):
            process.kill()
            process.wait()
