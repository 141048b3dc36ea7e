"""Jobs followed with `--wait`: no line of a log is lost or joined to another attempt's, and nobody waits for ever."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from core.cli.follow import LogTail, follow, stuck
from core.home import Home
from core.progress import Progress
from core.store.attempts import note_progress
from core.store.jobs import get_job, list_jobs
from tests.support.stored import add_job, fresh, job_in, path_to, step


def test_the_end_of_one_attempt_is_not_joined_to_the_beginning_of_the_next(tmp_path: Path) -> None:
    home = Home(tmp_path)
    tail = LogTail(home, 1)
    first, second = (home.run_dir(1).attempt(number) for number in (1, 2))
    first.path.mkdir(parents=True)
    first.log.write_bytes(b"step 1\nstep 2, and kill")
    assert tail.lines() == ["step 1"], "a line that may go on is waited for"
    with first.log.open("ab") as log:
        log.write(b"ed\nstep")
    assert tail.lines() == ["step 2, and killed"]
    second.path.mkdir()
    second.log.write_bytes(b"step 3\nthe end")
    assert tail.lines() == ["step", "── attempt 2", "step 3"]
    assert tail.lines() == []
    assert tail.lines(ended=True) == ["the end"]
    assert tail.lines(ended=True) == []


def test_one_attempt_alone_has_no_heading_and_many_have_each_their_own(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for number in (1, 2, 10):
        attempt = home.run_dir(1).attempt(number)
        attempt.path.mkdir(parents=True)
        attempt.log.write_bytes(f"of {number}".encode())
    assert LogTail(home, 1).lines(ended=True) == [
        *("── attempt 1", "of 1", "── attempt 2", "of 2", "── attempt 10", "of 10")
    ]
    only = home.run_dir(2).attempt(1)
    only.path.mkdir(parents=True)
    only.log.write_bytes(b"a\r\nb\n\xff")
    assert LogTail(home, 2).lines(ended=True)[:2] == ["a", "b"]


def test_a_secret_in_a_log_is_not_shown(tmp_path: Path) -> None:
    home = Home(tmp_path)
    attempt = home.run_dir(1).attempt(1)
    attempt.path.mkdir(parents=True)
    attempt.log.write_text("proxy http://me:secret@proxy:1 refused\n")
    assert LogTail(home, 1).lines() == ["proxy http://***@proxy:1 refused"]


def test_a_line_is_printed_again_only_once_it_tells_something_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, connection = fresh(tmp_path)
    job = job_in(connection, "running").id
    looks: list[None] = []

    def looked(home: Home) -> None:
        """In the place of a runner: nothing happens for three looks, then a step, then the end."""
        looks.append(None)
        if len(looks) == 3:
            note_progress(connection, job, 1, Progress(done=1, total=2, unit="steps"), 0)
        if len(looks) == 6:
            step(connection, job, "done")

    monkeypatch.setattr("core.cli.follow.ensure_runner", looked)
    monkeypatch.setattr("core.cli.follow.QUIET_SECONDS", -1.0)
    monkeypatch.setattr("core.cli.follow.POLL_SECONDS", 0.0)
    printed = io.StringIO()
    assert [one.state for one in follow(home, connection, [job], printed)] == ["done"]
    lines = printed.getvalue().splitlines()
    assert len(looks) == 6 and len(lines) == 3, lines
    assert "50" in lines[1]
    connection.close()


def test_a_job_waits_for_ever_also_by_way_of_others(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    first = add_job(connection)
    second = add_job(connection, needs=(first,))
    third = add_job(connection, needs=(second,))
    jobs = list_jobs(connection)
    assert not any(stuck(job, jobs) for job in jobs)
    for state in path_to(connection, "failed"):
        step(connection, first, state)
    jobs = list_jobs(connection)
    assert [stuck(get_job(connection, job), jobs) for job in (first, second, third)] == [False, True, True]
