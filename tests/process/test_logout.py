"""Which protection from a logout a job gets, asked of stand-ins for loginctl and systemd-run: no real logout is tried."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.attempt.logout_protection import choose_protection
from tests.support.queueing import Queue
from tests.support.waiting import wait_until

Logind = Callable[..., None]


@pytest.fixture
def logind(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Logind:
    """Put a loginctl with these answers, and a systemd-run, in front of the PATH."""

    def install(*, linger: str, kills: str, systemd_run: str = 'exec "$@"') -> None:
        folder = machine / "bin"
        folder.mkdir()
        scripts = {
            "loginctl": f'case "$*" in *Linger*) echo {linger};; *KillUserProcesses*) echo {kills};; *) exit 1;; esac',
            "systemd-run": f'echo "$@" >> "{machine}/systemd-run.log"\n'
            f'while [ "$1" != -- ]; do shift; done; shift\n{systemd_run}',
        }
        for name, text in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return install


def scopes(machine: Path) -> list[str]:
    log = machine / "systemd-run.log"
    return log.read_text().splitlines() if log.exists() else []


def test_with_linger_the_shim_is_started_in_a_scope_of_its_own(queue: Queue, machine: Path, logind: Logind) -> None:
    logind(linger="yes", kills="yes")
    job = queue.submit("steps=3")
    queue.wait_for(job, "done")

    assert queue.attempts(job)[0].protection == "scope"
    (call,) = scopes(machine)
    assert call.startswith("--user --scope --quiet --collect -- ")
    assert call.endswith(f"-m core.attempt.shim {queue.attempt(job).path}")


def test_the_gpu_s_lock_reaches_the_job_through_the_scope(queue: Queue, logind: Logind) -> None:
    from core.gpu_lease.lock import acquire, lease_path

    logind(linger="yes", kills="no")
    job = queue.submit("steps=2 waits=2")
    queue.wait_for_step(job, 1)
    queue.kill_runner()

    assert acquire(lease_path(queue.home, None)) is None


def test_without_linger_a_session_that_logind_leaves_alone_protects(
    queue: Queue, machine: Path, logind: Logind
) -> None:
    logind(linger="no", kills="no")
    job = queue.submit("steps=3")
    queue.wait_for(job, "done")

    assert queue.attempts(job)[0].protection == "session"
    assert scopes(machine) == []


def test_where_neither_protects_the_job_runs_and_the_person_is_told_the_remedy(
    queue: Queue, machine: Path, logind: Logind
) -> None:
    logind(linger="no", kills="yes")
    job = queue.submit("steps=3")
    queue.wait_for(job, "done")

    assert queue.attempts(job)[0].protection == "none"
    assert scopes(machine) == []
    warning = choose_protection().warning
    assert warning is not None
    assert "KillUserProcesses=yes" in warning
    assert "loginctl enable-linger" in warning


def test_a_scope_that_systemd_refuses_does_not_cost_the_job(queue: Queue, machine: Path, logind: Logind) -> None:
    logind(linger="yes", kills="no", systemd_run="echo 'Failed to connect to bus: No medium found' >&2; exit 1")
    job = queue.submit("steps=3")

    assert queue.wait_for(job).state == "done"
    assert len(scopes(machine)) == 1
    assert queue.attempts(job)[0].protection == "session"


def test_a_shim_that_comes_after_its_attempt_was_given_up_does_nothing(
    queue: Queue, machine: Path, logind: Logind
) -> None:
    """systemd is slow, and the runner is killed meanwhile: the next one queues the job again, and it must run once."""
    gate = machine / "slow-once"
    logind(
        linger="yes",
        kills="no",
        systemd_run=f'if mkdir "{gate}" 2>/dev/null; then while ! [ -e "{gate}/open" ]; do sleep 0.05; done; '
        f'"$@"; echo $? > "{gate}/exit.new"; mv "{gate}/exit.new" "{gate}/exit"; else exec "$@"; fi',
    )
    job = queue.submit("steps=4 waits=3", "cpu")
    wait_until(gate.exists, what="the slow scope")
    queue.kill_runner()
    queue.start_runner()
    queue.wait_for_step(job, 2)

    (gate / "open").touch()
    wait_until((gate / "exit").exists, what="the late shim")
    assert (gate / "exit").read_text() == "1\n", "it left at once"
    queue.go_on(job)
    queue.wait_for(job, "done")

    assert queue.seen(job) == list(range(1, 5))
    first, second = queue.attempts(job)
    assert (first.outcome, second.outcome) == ("lost", "done")
    run = queue.home.run_dir(job)
    assert not run.attempt(1).log.exists(), "the late shim started nothing"
    assert run.attempt(2).log.exists()
