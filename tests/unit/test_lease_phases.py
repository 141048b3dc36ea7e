"""The phases of the lease: the ways between them are data, and no other way is taken."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from core.gpu_lease.phases import WAYS, Cause, LeasePhase, Phase, PhaseError
from tests.support.clock import FakeClock

PHASES: tuple[Phase, ...] = get_args(Phase)
CAUSES: tuple[Cause, ...] = get_args(Cause)


def at(phase: Phase) -> LeasePhase:
    made = LeasePhase(FakeClock())
    made.phase = phase
    return made


@pytest.mark.parametrize(("start", "end", "cause"), itertools.product(PHASES, PHASES, CAUSES))
def test_a_way_that_the_table_lacks_is_refused_and_changes_nothing(start: Phase, end: Phase, cause: Cause) -> None:
    machine = at(start)
    if cause in WAYS.get((start, end), ()):
        machine.enter(end, 7, cause)
        assert (machine.phase, machine.job_id, machine.cause) == (end, 7, cause) and machine.since is not None
        return
    with pytest.raises(PhaseError, match=f"{start} to {end} because of {cause}"):
        machine.enter(end, 7, cause)
    assert (machine.phase, machine.job_id, machine.since) == (start, None, None)


def test_a_job_that_had_the_gpu_is_always_looked_after() -> None:
    assert {end for start, end in WAYS if start == "held"} == {"held", "verifying"}
    assert {start for start, end in WAYS if end == "verifying"} == {"held"}


def test_only_a_gpu_that_is_free_is_handed_over() -> None:
    assert [way for way, causes in WAYS.items() if "job_started" in causes] == [("free", "held")]


def test_every_phase_is_left_for_a_job_that_runs_and_every_cause_leads_somewhere() -> None:
    assert all("job_found" in WAYS[start, "held"] for start in PHASES)
    assert set(CAUSES) == {cause for causes in WAYS.values() for cause in causes}


def test_how_long_it_has_been_so_is_not_told_by_the_time_of_day() -> None:
    clock = FakeClock()
    machine = LeasePhase(clock)
    machine.enter("blocked", 1, "job_hindered")
    clock.set_time_of_day(clock.time() - 5000)
    clock.pass_time(7)
    assert machine.seconds == 7.0
