"""Kills in any order: whatever dies, every job can be brought to its end, and no step is missing or counted twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest

from core.attempt.observe import job_process
from core.runner.status import runner_status
from core.store.jobs import RETRYABLE
from tests.support.queueing import Queue
from tests.support.waiting import wait_until

ROUNDS = int(os.environ.get("BAKEHOUSE_TEST_CHAOS_ROUNDS", "12"))
SEED = int(os.environ.get("BAKEHOUSE_TEST_SEED", "1"))
STEPS = 25
LONG = [pytest.param(SEED + more, 5 * ROUNDS, marks=pytest.mark.soak) for more in range(1, 13)]


@pytest.mark.parametrize(("seed", "rounds"), [(SEED, ROUNDS), *LONG])
def test_random_kills_lose_nothing_and_count_nothing_twice(queue: Queue, seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    title = f"steps={STEPS} pause=0.03 save=4"
    jobs = [queue.submit(title, lane) for lane in ("gpu", "cpu", "cpu", "gpu")]

    def pids_of(job: int) -> list[int]:
        attempt = queue.attempt(job)
        process = job_process(attempt) if attempt.path.exists() else None
        found = [process.pid] if process is not None and process.alive() else []
        if attempt.run_json.exists() and not attempt.exit_json.exists():
            found.append(queue.shim_pid(job))
        return found

    for _ in range(rounds):
        time.sleep(chance.uniform(0, 0.2))  # the next kill comes at any moment
        victims = [pid for job in jobs for pid in pids_of(job)]
        runner = runner_status(queue.home).pid
        victims += [runner] * 2 if runner else []
        for victim in chance.sample(victims, k=min(len(victims), chance.choice([1, 1, 2, 3]))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        chance.choice([queue.start_runner, lambda: None])()
        for job in jobs:
            if queue.job(job).state in RETRYABLE:
                queue.ask("retry", job)

    def all_done() -> bool:
        queue.start_runner()
        states = {job: queue.job(job).state for job in jobs}
        for job, state in states.items():
            if state in RETRYABLE:
                queue.ask("retry", job)
        return set(states.values()) == {"done"}

    wait_until(all_done, what=lambda: str([queue.job(job) for job in jobs]))
    for job in jobs:
        assert queue.seen(job) == list(range(1, STEPS + 1))
        past = queue.history(job)
        assert [one.to_state for one in past][:-1] == [other.from_state for other in past[1:]]
        assert [attempt.outcome for attempt in queue.attempts(job)].count("done") == 1
