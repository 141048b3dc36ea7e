"""What an end means, for every end there can be; and that the queue's acts, in any order, keep its books straight."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from core.attempt.launcher import Observation, launcher
from core.attempt.observe import signal_name
from core.attempt.stopping import ask_to_stop
from core.files import write_json
from core.home import Home
from core.progress import Progress
from core.reasons import Reason
from core.runner.commands import RefusedError, carry_out
from core.runner.reconcile import Resolution, Watch, resolve_outcome
from core.runner.schedule import Resources, find_blocker, needed_jobs
from core.store.attempts import list_attempts, living_attempts
from core.store.commands import get_command, insert_command, open_commands
from core.store.database import transaction
from core.store.job_reasons import JobReasonCode, job_reason
from core.store.jobs import (
    ACTIVE,
    ENDED,
    QUEUED,
    RETRYABLE,
    JobRow,
    change_state,
    claim_next,
    get_job,
    history,
    list_jobs,
)
from core.store.stop_reasons import StopRule, stop_rules
from tests.support.depth import example_count
from tests.support.stored import add_job, allowed, fresh

CODES = frozenset(get_args(JobReasonCode))
FREE = Resources(paused=None, gpu_holder=None, memory_available_bytes=10**12, disk_free_bytes=10**12)

ENDINGS = st.one_of(
    st.builds(Observation, st.just("ended"), exit_code=st.sampled_from([0, 1, 2, 3, 75, 127, 130, 143])),
    st.builds(
        Observation,
        st.just("ended"),
        signal=st.sampled_from(
            [int(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV)]
        ),
    ),
    st.builds(Observation, st.sampled_from(["gone", "never_started", "restarted"])),
    st.builds(Observation, st.just("restarted"), exit_code=st.just(75)),
)
ACTIVE_STATES = st.sampled_from(
    [
        ("starting", None),
        ("running", None),
        *(("stopping", why) for why in ("cancel", "hold", "disk", "watchdog", "preempted")),
    ],
)


@dataclass(frozen=True)
class Books:
    """A home with one job that has a folder for its first attempt, and what the schema says."""

    home: Home
    ways: set[tuple[Any, Any]]
    job: JobRow
    rules: dict[str, StopRule]

    def resolve(self, seen: Observation, **changes: Any) -> Resolution:
        run = self.home.run_dir(self.job.id)
        return resolve_outcome(replace(self.job, **changes), run, run.attempt(1), seen, self.rules)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Books:
    home, connection = fresh(tmp_path_factory.mktemp("judging"))
    job = get_job(connection, add_job(connection))
    (home.run_dir(job.id).attempt(1).path).mkdir(parents=True)
    return Books(home, allowed(connection) | {(state, state) for state in ACTIVE}, job, stop_rules(connection))


@given(ACTIVE_STATES, ENDINGS, st.booleans(), st.sampled_from(["requeue", "hold"]), st.sampled_from([None, 20]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_end_leads_where_the_schema_allows_and_means_what_the_design_says(
    books: Books,
    active: tuple[Any, Any],
    seen: Observation,
    has_result: bool,
    on_restart: Any,
    checkpoint: int | None,
) -> None:
    state, stop_reason = active
    run = books.home.run_dir(books.job.id)
    run.result.unlink(missing_ok=True)
    if has_result:
        write_json(run.result, {"message": "trained"})

    ending = books.resolve(
        seen,
        state=state,
        stop_reason=stop_reason,
        on_restart=on_restart,
        progress=Progress(checkpoint_step=checkpoint),
    )

    assert (state, ending.state) in books.ways
    if ending.requeue is not None:
        assert (ending.state, "waiting") in books.ways
    assert (ending.state == "done") == has_result, "the result is the proof, and the only one"
    if has_result:
        return
    assert ending.reason.code in CODES
    if ending.state == "failed":
        assert seen.condition == "ended", "an end that nobody saw is never called a failure"
        assert stop_reason != "cancel"
    if ending.state == "lost":
        assert seen.condition in {"gone", "never_started"}
    if seen.condition == "restarted" and stop_reason is None:
        assert (ending.state, ending.requeue is not None) == ("interrupted", on_restart == "requeue")
    if stop_reason == "cancel" and seen.condition in {"ended", "restarted"}:
        assert (ending.state, ending.requeue) == ("cancelled", None)
    assert ending.held == (ending.state == "waiting" and stop_reason == "hold"), "only a hold holds"
    if ending.state not in {"failed", "done"} and seen.condition != "never_started" and checkpoint:
        assert ending.reason.values["step"] == 20
        assert ending.requeue is None or ending.requeue.values["step"] == 20


@pytest.mark.parametrize("seen", [Observation("ended", exit_code=75), Observation("ended", signal=signal.SIGTERM)])
def test_a_run_that_the_watchdog_ended_failed_for_what_it_found_and_one_that_made_room_waits_for_it(
    books: Books, seen: Observation
) -> None:
    run = books.home.run_dir(books.job.id)
    attempt = run.attempt(1)
    run.result.unlink(missing_ok=True)
    at_40 = Progress(checkpoint_step=40)
    found_what = {"finding": "hang", "message": "no step for 90 s"}
    ask_to_stop(attempt, "watchdog", Reason("stopping_for_watchdog", found_what))

    found = books.resolve(seen, state="stopping", stop_reason="watchdog", progress=at_40)
    assert (found.state, found.outcome, found.held) == ("failed", "failed", False)
    assert found.reason == Reason("watchdog", {**found_what, "step": 40})

    loaded = {"message": "judge:v1 was loaded by a client"}
    ask_to_stop(attempt, "preempted", Reason("stopping_for_client", loaded))
    found = books.resolve(seen, state="stopping", stop_reason="preempted", progress=at_40)
    assert (found.state, found.outcome, found.held) == ("waiting", "stopped", False)
    assert found.reason == Reason("preempted", {**loaded, "step": 40})

    found = books.resolve(seen, state="stopping", stop_reason="disk", progress=at_40)
    assert found.reason == Reason("disk_was_low", {"step": 40}), "the request on the disk is for another stop"


@pytest.mark.parametrize(
    ("seen", "left", "reason"),
    [
        (Observation("ended", signal=9), None, job_reason("killed", signal="SIGKILL")),
        (Observation("ended", exit_code=1), None, job_reason("exit_code", exit_code=1, last_line="ValueError: no")),
        (
            Observation("ended", exit_code=3),
            {"code": "leak", "message": "2 golden inputs", "file": "a.jsonl", "line": 7, "exit_code": 3},
            job_reason("job_error", error="leak", message="2 golden inputs", file="a.jsonl", line=7, gate=True),
        ),
    ],
)
def test_a_failure_is_told_by_its_signal_its_own_error_or_its_exit_code(
    books: Books, seen: Observation, left: dict[str, Any] | None, reason: Reason
) -> None:
    run = books.home.run_dir(books.job.id)
    run.result.unlink(missing_ok=True)
    attempt = run.attempt(1)
    attempt.log.write_text("step 3\nValueError: no\n")
    attempt.error_json.unlink(missing_ok=True)
    if left is not None:
        write_json(attempt.error_json, left)
    assert books.resolve(seen, state="running") == Resolution("failed", "failed", reason)
    attempt.error_json.unlink(missing_ok=True)


def test_only_a_job_that_was_asked_to_stop_is_killed(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    job = add_job(connection)
    number = insert_command(connection, "kill", job, {}, "tester")
    with contextlib.closing(connection), pytest.raises(RefusedError) as refused:
        carry_out(home, connection, get_command(connection, number))
    assert (refused.value.reason.code, refused.value.reason.values["states"]) == ("wrong_state", ["stopping"])


def test_a_signal_without_a_name_is_still_told() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(250) == "signal 250"


# Acts in any order.


class Queue(RuleBasedStateMachine):
    """Submits, asks, starts and ends jobs in any order, with the runner's own functions and without processes."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bakehouse-tests-"))
        self.home, self.connection = fresh(self.folder)
        self.ways = allowed(self.connection)
        self.watch = Watch(self.home, self.connection, launcher(self.home))
        self.ended: dict[int, int] = {}

    def teardown(self) -> None:
        self.connection.close()
        shutil.rmtree(self.folder)

    @rule(
        target=jobs,
        needs=st.lists(jobs, max_size=2),
        needs_ended=st.lists(jobs, max_size=3),
        lane=st.sampled_from(["gpu", "cpu"]),
        on_restart=st.sampled_from(["requeue", "hold"]),
    )
    def submit(self, needs: list[int], needs_ended: list[int], lane: Any, on_restart: str) -> int:
        return add_job(self.connection, lane=lane, needs=needs, needs_ended=needs_ended, on_restart=on_restart)

    @rule(target=jobs, count=st.integers(2, 4))
    def submit_some(self, count: int) -> Any:
        return multiple(*(add_job(self.connection) for _ in range(count)))

    @rule(
        job=jobs,
        kind=st.sampled_from(["cancel", "retry", "hold", "release", "move"]),
        to=st.sampled_from(["first", "last", "up", "down", "sideways"]),
    )
    def ask(self, job: int, kind: Any, to: str) -> None:
        before = get_job(self.connection, job)
        number = insert_command(self.connection, kind, job, {"to": to}, "tester")
        try:
            carry_out(self.home, self.connection, get_command(self.connection, number))
        except RefusedError:
            assert get_job(self.connection, job) == before
            assert get_command(self.connection, number).done_at is None
            self.connection.execute("DELETE FROM commands WHERE id = ?", [number])
        else:
            assert get_command(self.connection, number).done_at is not None, "both or neither"

    @rule()
    def start_what_may(self) -> None:
        queued = [job for job in list_jobs(self.connection) if job.state in QUEUED]
        needed = needed_jobs(self.connection, queued)
        for job in queued:
            if find_blocker(job, needed, FREE, 0) is not None:
                continue
            with transaction(self.connection):
                change_state(self.connection, job.id, "ready", job_reason("ready"), "runner")
            claimed = claim_next(self.connection, job.lane, "boot", "runner")
            assert claimed is not None
            assert claimed.id == job.id, "the first of the queue"
            assert all(needed[need].state == "done" for need in claimed.needs)
            for need in claimed.needs_ended:
                assert needed[need].state in ENDED or self.waits_behind_a_broken_one(need)
            assert not claimed.held
            self.home.run_dir(job.id).attempt(claimed.attempt).path.mkdir(parents=True)

    def waits_behind_a_broken_one(self, job: int) -> bool:
        """Told from the rows alone, one job after the other."""
        row = get_job(self.connection, job)
        needs = [get_job(self.connection, need) for need in row.needs]
        return row.state in QUEUED and any(
            need.state in RETRYABLE or self.waits_behind_a_broken_one(need.id) for need in needs
        )

    @invariant()
    def nothing_waits_for_an_end_that_cannot_come(self) -> None:
        """What waits for ends alone always has one ahead that something can still come of."""
        queued = [job for job in list_jobs(self.connection) if job.state in QUEUED]
        needed = needed_jobs(self.connection, queued)
        for job in queued:
            blocker = find_blocker(job, needed, FREE, 0)
            if blocker is not None and blocker.reason.code == "after_end":
                named = blocker.reason.values["jobs"]
                assert isinstance(named, list) and named
                for number in map(int, named):
                    ahead = get_job(self.connection, number)
                    assert ahead.state in QUEUED | ACTIVE and not self.waits_behind_a_broken_one(number)

    @rule(job=jobs)
    def gives_a_sign_of_life(self, job: int) -> None:
        if get_job(self.connection, job).state == "starting":
            with transaction(self.connection):
                change_state(self.connection, job, "running", job_reason("running"), "runner")

    @rule(job=jobs, seen=ENDINGS, has_result=st.booleans())
    def ends(self, job: int, seen: Observation, has_result: bool) -> None:
        living = {row.job_id: row for row in living_attempts(self.connection)}
        if job not in living:
            return
        run = self.home.run_dir(job)
        if has_result:
            write_json(run.result, {"message": "trained", "artefacts": []})
            self.ended[job] = living[job].number
        self.watch.finish(living[job], run, run.attempt(living[job].number), seen)
        assert (get_job(self.connection, job).state == "done") == has_result

    @invariant()
    def the_books_are_straight(self) -> None:
        living = [row.job_id for row in living_attempts(self.connection)]
        assert len(living) == len(set(living))
        for job in list_jobs(self.connection):
            past = history(self.connection, job.id)
            assert past[0].from_state is None
            assert past[-1].to_state == job.state
            for one, other in pairwise(past):
                assert other.from_state == one.to_state, "no change is missing from the history"
                assert (other.from_state, other.to_state) in self.ways or other.from_state == other.to_state
            attempts = list_attempts(self.connection, job.id)
            assert [attempt.number for attempt in attempts] == list(range(1, job.attempt + 1))
            assert (job.id in living) == (job.state in ACTIVE)
            assert [attempt.number for attempt in attempts if attempt.outcome == "done"] == (
                [self.ended[job.id]] if job.state == "done" else []
            )
            assert (job.ended_at is not None) == (job.state in ENDED)
            assert (job.stop_reason is not None) == (job.state == "stopping")
            assert not job.held or job.state == "waiting"
        assert not open_commands(self.connection)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=example_count(40), stateful_step_count=30)


def test_an_unknown_command_of_another_version_is_refused_not_repeated_for_ever(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    job = add_job(connection)
    for kind, job_id in (("promote", job), ("cancel", None)):
        number = insert_command(connection, kind, job_id, {}, "tester")
        with pytest.raises(RefusedError) as refused:
            carry_out(home, connection, get_command(connection, number))
        assert refused.value.reason == Reason("unknown_command", {"command": kind})
    number = insert_command(connection, "fleet-adopt", None, {"server": "ollama"}, "tester")
    with pytest.raises(RefusedError) as refused:
        carry_out(home, connection, get_command(connection, number))
    assert refused.value.reason == Reason("command_failed", {"message": "KeyError('target')"})
    assert get_job(connection, job).state == "waiting"
    with contextlib.closing(connection):
        assert len(open_commands(connection)) == 3, "the runner notes the refusal"
