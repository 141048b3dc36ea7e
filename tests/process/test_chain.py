"""A chain of real jobs: a link that fails stops its chain alone, mended and retried the rest follows; kills lose nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from core.errors import InputError
from core.store.chains import Chain, get_chain, list_chains
from core.store.jobs import Lane, list_jobs
from core.submission.enqueue import ChainWriter, store_chain
from tests.support.commands import called
from tests.support.queueing import AUTHOR, Queue
from tests.support.standin_kind import StandinSpec

LANES: tuple[Lane, ...] = ("gpu", "cpu", "gpu", "cpu")


def chain_of(queue: Queue, *titles: str) -> Chain:
    """A chain of stand-ins, in the lanes of a training, a conversion and so on."""
    settings = queue.project.settings
    jobs = settings.jobs.model_copy(update={"python": queue.python})
    project = replace(queue.project, settings=settings.model_copy(update={"jobs": jobs}))

    def write(chain: ChainWriter) -> None:
        for title, lane in zip(titles, LANES, strict=False):
            chain.add(StandinSpec.in_lane(lane, title))

    stored = store_chain(queue.home, project, write, title="ship", author=AUTHOR)
    assert stored.chain is not None
    with queue.database() as connection:
        return get_chain(connection, stored.chain)


def ids(chain: Chain) -> list[int]:
    return [link.job.id for link in chain.links]


def now(queue: Queue, chain: Chain) -> Chain:
    with queue.database() as connection:
        return get_chain(connection, chain.id)


def mend(queue: Queue, job_id: int) -> None:
    (queue.home.run_dir(job_id).path / "mended").touch()


def test_a_failed_link_stops_its_chain_alone_and_mended_and_retried_the_rest_follows(queue: Queue) -> None:
    first, failing, third, last = ids(chain := chain_of(queue, "steps=2", "steps=4 fail=2", "steps=2", "steps=2"))
    other = chain_of(queue, "steps=2", "steps=2")
    queue.wait_for(failing, "failed")
    for job in ids(other):
        queue.wait_for(job, "done")
    stopped = now(queue, chain)
    assert stopped.current.job.id == failing and stopped.state == "failed" and stopped.done == 1
    assert queue.wait_for_reason(
        third, "after_failed" if queue.job(third).reason.code == "after_failed" else queue.job(third).reason.code
    )
    assert queue.states(third) == queue.states(last) == ["waiting"], "nothing behind it has begun"
    mend(queue, failing)
    queue.ask("retry", failing)
    queue.wait_for(last, "done")
    assert now(queue, chain).done == 4
    assert [len(queue.attempts(job)) for job in (first, failing, third, last)] == [1, 2, 1, 1]
    assert all(link.seconds > 0 for link in now(queue, chain).links)


@pytest.mark.parametrize("killed", range(3))
def test_a_kill_of_runner_and_job_in_any_link_loses_no_link_and_runs_none_twice(queue: Queue, killed: int) -> None:
    titles = ["steps=3"] * 3
    titles[killed] = "steps=6 save=1 waits=4"
    chain = chain_of(queue, *titles)
    victim = ids(chain)[killed]
    queue.wait_for_step(victim, 3)
    queue.kill_runner()
    os.kill(queue.process(victim), signal.SIGKILL)
    queue.start_runner()
    queue.wait_for(victim, "failed", "lost")
    assert now(queue, chain).current.job.id == victim
    queue.go_on(victim)
    queue.ask("retry", victim)
    for job in ids(chain):
        queue.wait_for(job, "done")
    assert [len(queue.attempts(job)) for job in ids(chain)] == [1 + (job == victim) for job in ids(chain)]
    assert queue.seen(victim) == list(range(1, 7)), "the retry went on from the checkpoint"


def test_a_chain_is_cancelled_and_retried_as_a_whole(
    queue: Queue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    done, running, waiting = ids(chain := chain_of(queue, "steps=2", "steps=5 save=1 waits=3", "steps=2"))
    queue.wait_for_step(running, 2)
    code, _, err = called(capsys, ["queue", "cancel", f"chain:{chain.id}"])
    assert code == 0, err
    queue.wait_for(running, "cancelled")
    assert [queue.job(job).state for job in (done, waiting)] == ["done", "cancelled"]
    assert "starting" not in queue.states(waiting), "the link behind did not begin meanwhile"
    queue.go_on(running)
    code, _, err = called(capsys, ["queue", "retry", f"chain:{chain.id}"])
    assert code == 0, err
    for job in (running, waiting):
        queue.wait_for(job, "done")
    code, _, err = called(capsys, ["queue", "retry", f"chain:{chain.id}"])
    assert code != 0 and f"No job of chain {chain.id} can be retried now." in err
    code, _, err = called(capsys, ["queue", "retry", "chain:99"])
    assert code == 4 and "no chain 99" in err


def test_nothing_of_a_chain_is_queued_where_a_link_is_refused(queue: Queue) -> None:
    def write(chain: ChainWriter) -> None:
        chain.add(StandinSpec.in_lane("gpu", "steps=1"))
        raise InputError("the second link is refused", code="refused")

    with pytest.raises(InputError):
        store_chain(queue.home, queue.project, write, title="ship", author=AUTHOR)
    with queue.database() as connection:
        assert list_jobs(connection) == [] and list_chains(connection) == []
