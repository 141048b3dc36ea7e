"""When clearing the GPU is tried again after it came to nothing."""

from __future__ import annotations

import pytest

from core.gpu_lease.backoff import CALM_SECONDS, LONGEST_SECONDS, Backoff
from core.reasons import Reason
from tests.support.clock import FakeClock

GB = 1_000_000_000
LOADED = Reason("models_still_loaded", {"models": ["judge:v1"], "seconds": 120.0})
OTHERS = Reason("held_by_other_server", {"name": "llama-server"})


def code(reason: Reason | None) -> str | None:
    return None if reason is None else reason.code


def test_each_try_is_put_off_for_twice_as_long_up_to_half_an_hour() -> None:
    clock = FakeClock()
    backoff, pauses = Backoff(clock, 30.0, 0), []
    for _ in range(1100):
        backoff.give_up(LOADED, None)
        waits = backoff.waits(0)
        assert waits is not None and waits.code == LOADED.code
        began, retry_at = clock.monotonic(), waits.values["retry_at"]
        assert isinstance(retry_at, float)
        clock.pass_time(retry_at - clock.time() - 1.0)
        assert backoff.waits(0) is not None
        clock.pass_time(2.0)
        assert backoff.waits(0) is None
        pauses.append(round(clock.monotonic() - began - 1.0))
    assert pauses[:4] == [30, 60, 120, 240] and set(pauses[8:]) == {LONGEST_SECONDS}
    backoff.succeeded()
    backoff.give_up(LOADED, None)
    clock.pass_time(29)
    assert backoff.waits(0)
    clock.pass_time(1)
    assert backoff.waits(0) is None


def test_what_was_left_over_is_waited_for_however_long_it_stays() -> None:
    clock = FakeClock()
    backoff = Backoff(clock, 30.0, GB // 2)
    backoff.give_up(OTHERS, 6 * GB)
    for _ in range(100):
        clock.pass_time(3600)
        assert backoff.waits(11 * GB) == OTHERS, "with our own models back"
        assert backoff.waits(6 * GB - GB // 2) == OTHERS
    assert backoff.waits(2 * GB) == OTHERS
    clock.pass_time(CALM_SECONDS)
    assert backoff.waits(2 * GB) is None
    assert backoff.waits(9 * GB) is None, "that is another matter"


def test_what_is_gone_for_an_instant_is_still_there() -> None:
    """The server lists a model that the GPU's sample does not show yet: for a moment less seems to be left over."""
    clock = FakeClock()
    backoff = Backoff(clock, 30.0, GB // 2)
    backoff.give_up(OTHERS, 6 * GB)
    clock.pass_time(60)
    for _ in range(100):
        assert backoff.waits(GB) == OTHERS
        clock.pass_time(CALM_SECONDS - 1)
        assert backoff.waits(6 * GB) == OTHERS


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_a_clock_that_is_set_changes_the_hour_that_is_shown_and_nothing_else(jump: float) -> None:
    clock = FakeClock()
    backoff = Backoff(clock, 30.0, 0)
    backoff.give_up(LOADED, None)
    before = backoff.waits(0)
    assert before == backoff.waits(0), "the same at each look"
    clock.pass_time(10)
    assert backoff.waits(0) == before
    clock.set_time_of_day(clock.time() + jump)
    after = backoff.waits(0)
    assert before is not None and after is not None
    assert abs(after.values["retry_at"] - before.values["retry_at"] - jump) < 2  # type: ignore[operator]
    clock.pass_time(20)
    assert backoff.waits(0) is None
