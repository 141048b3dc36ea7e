"""`--wait`: it follows a job and all it waits for, leaves with an exit code a script can trust, and never waits for ever."""

from __future__ import annotations

import json

import click
import pytest

from core.cli.follow import exit_code, follow_to_the_end, with_needs
from core.cli.submitted import submitted
from tests.support.queueing import Queue


def test_a_job_is_followed_with_all_that_it_waits_for(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    first = queue.submit("steps=3")
    second = queue.submit("steps=2", needs=(first,))
    third = queue.submit("steps=2", needs=(second,))
    with queue.database() as connection:
        jobs = follow_to_the_end(queue.home, connection, [third])
        assert jobs is not None and [job.id for job in jobs] == [first, second, third]
        assert exit_code(connection, jobs) == 0
        assert with_needs(connection, [third]) == [third]  # what is done is not waited for again
    said = capsys.readouterr().err
    assert f"{first:>4} │ step 3/3" in said and f"{third:>4} │ step 2/2" in said


@pytest.mark.parametrize(("how", "code"), [("steps=3 fail=1", 1), ("input", 2), ("gate", 3)])
def test_a_need_that_fails_ends_the_waiting_with_its_exit_code(queue: Queue, how: str, code: int) -> None:
    first = queue.submit(how)
    follower = queue.submit("steps=2", needs=(first,))
    with queue.database() as connection:
        jobs = follow_to_the_end(queue.home, connection, [follower])
        assert jobs is not None
        assert exit_code(connection, jobs) == code
    assert queue.job(follower).state == "waiting"


def test_with_json_there_is_one_document_of_the_job_as_it_ended(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    job = queue.submit("steps=2")
    with pytest.raises(SystemExit) as leave:
        submitted(queue.home, queue.job(job), wait=True, as_json=True, show=lambda connection, row: {"came_to": row.id})
    assert leave.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["job"]["state"] == "done" and document["came_to"] == job


def test_what_a_job_prints_never_speaks_to_the_terminal(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    from core.cli.common import job_line

    job = queue.submit("steps=1 hostile")
    assert queue.wait_for(job).state == "failed"
    with queue.database() as connection:
        follow_to_the_end(queue.home, connection, [job])
    click.echo(job_line(queue.job(job)))
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\x07" not in out + err
    assert "the end" in out
