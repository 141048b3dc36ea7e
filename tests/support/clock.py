"""A clock that a test sets: time passes, and the time of day can jump without."""

from __future__ import annotations


class FakeClock:
    """`pass_time` moves both clocks; `set_time_of_day` moves only the one that people set."""

    def __init__(self, time_of_day: float = 1_700_000_000.0) -> None:
        self._time_of_day = time_of_day
        self._passed = 1000.0

    def time(self) -> float:
        return self._time_of_day

    def monotonic(self) -> float:
        return self._passed

    def pass_time(self, seconds: float) -> None:
        assert seconds >= 0
        self._passed += seconds
        self._time_of_day += seconds

    def set_time_of_day(self, time_of_day: float) -> None:
        self._time_of_day = time_of_day
