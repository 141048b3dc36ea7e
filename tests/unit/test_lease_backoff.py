"""When clearing the GPU is tried again after it came to nothing."""

from __future__ import annotations

from core.gpu_lease.backoff import LONGEST_SECONDS, Backoff

GB = 1_000_000_000


def test_each_try_is_put_off_for_twice_as_long_up_to_half_an_hour() -> None:
    patience, now, pauses = Backoff(30.0, 0), 1000.0, []
    for _ in range(1100):
        patience.give_up(now, "judge:v1 of Ollama still loaded after 120 s", None)
        pause = next(seconds for seconds in range(5000) if patience.waits(now + seconds, 0) is None)
        pauses.append(pause)
        now += pause
    assert pauses[:4] == [30, 60, 120, 240] and set(pauses[8:]) == {LONGEST_SECONDS}
    assert patience.reason.startswith("judge:v1 of Ollama still loaded after 120 s: tried again at ")
    patience.succeeded()
    patience.give_up(now, "again", None)
    assert patience.waits(now + 29, 0) and patience.waits(now + 30, 0) is None


def test_what_was_left_over_is_waited_for_however_long_it_stays() -> None:
    patience = Backoff(30.0, GB // 2)
    patience.give_up(0.0, "llama-server holds 6.0 GB", 6 * GB)
    assert patience.waits(1e6, 11 * GB) == "llama-server holds 6.0 GB", "with our own models back"
    assert patience.waits(1e6, 6 * GB - GB // 2) is not None
    assert patience.waits(1e6, 2 * GB) is None
    assert patience.waits(1e6, 9 * GB) is None, "that is another matter"


def test_a_clock_set_back_does_not_prolong_it() -> None:
    patience = Backoff(30.0, 0)
    patience.give_up(1e6, "why", None)
    patience.clock_was_set_back(1000.0)
    assert patience.waits(1000.0, 0) is None
