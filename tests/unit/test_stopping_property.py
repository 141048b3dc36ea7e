"""Clocks jump, machines sleep, runners come and go: a job gets its signals in order, each after a watched grace."""

from __future__ import annotations

import itertools
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from core.attempt.stopping import ESCALATION, MOST_BETWEEN_LOOKS_SECONDS, StopEscalation
from core.files import append_line
from core.home import AttemptDir, Home
from tests.support.clock import FakeClock

GRACE_SECONDS = 10.0
LADDER = [*ESCALATION, signal.SIGKILL]


@dataclass
class Signalled:
    """A launcher whose job obeys nothing; the signals that were sent, with the time that has passed when they were."""

    clock: FakeClock
    sent: list[tuple[float, signal.Signals]] = field(default_factory=list)

    def signal(self, attempt: AttemptDir, number: signal.Signals, by: str) -> bool:
        self.sent.append((self.clock.monotonic(), number))
        append_line(attempt.signals, {"time": self.clock.time(), "signal": number.name, "by": by}, durable=False)
        return True


looks = st.floats(0.05, 3.0)
"""A runner that lives looks several times a second; a laden machine may make seconds of that."""
absences = st.floats(MOST_BETWEEN_LOOKS_SECONDS, 1e7)
events = st.one_of(
    st.tuples(st.just("look"), looks),
    st.tuples(st.just("many looks"), st.integers(1, 30)),
    st.tuples(st.just("stands still"), absences),
    st.tuples(st.just("another runner"), st.floats(0.0, 1e7)),
    st.tuples(st.just("clock"), st.floats(-1e9, 1e9)),
    st.tuples(st.just("a person"), st.sampled_from(["SIGINT", "SIGTERM", "SIGKILL"])),
)


@given(st.lists(events, max_size=40), st.booleans())
def test_signals_come_in_order_and_each_after_a_grace_that_a_runner_has_watched(
    story: list[tuple[str, float | str]], may_kill: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        attempt = Home(Path(folder)).run_dir(1).attempt(1)
        attempt.path.mkdir(parents=True)
        clock = FakeClock()
        launcher = Signalled(clock)
        runner = StopEscalation(launcher, GRACE_SECONDS, clock)  # type: ignore[arg-type]
        watched = 0.0
        """What this runner has seen pass since it first looked, or since the last signal."""
        seen = False

        def look(after: float) -> None:
            nonlocal watched, seen
            clock.pass_time(after)
            before = len(launcher.sent)
            watched += min(after, MOST_BETWEEN_LOOKS_SECONDS) if seen else 0.0
            seen = True
            runner.escalate(attempt, may_kill=may_kill)
            if len(launcher.sent) > before:
                assert len(launcher.sent) == before + 1, "one signal a look"
                assert watched >= GRACE_SECONDS - 1e-6
                watched = 0.0

        for what, value in story:
            if what == "look" or what == "stands still":
                look(float(value))
            elif what == "many looks":
                for _ in range(int(value)):
                    look(1.0)
            elif what == "another runner":
                clock.pass_time(float(value))
                runner, watched, seen = StopEscalation(launcher, GRACE_SECONDS, clock), 0.0, False  # type: ignore[arg-type]
            elif what == "clock":
                clock.set_time_of_day(clock.time() + float(value))
            else:
                append_line(attempt.signals, {"time": 1.0, "signal": value, "by": "anna"}, durable=False)
        numbers = [number for _, number in launcher.sent]
        assert numbers == LADDER[: len(numbers)], "none is left out, none comes twice"
        assert may_kill or signal.SIGKILL not in numbers
        times = [at for at, _ in launcher.sent]
        assert all(later - earlier >= GRACE_SECONDS - 1e-6 for earlier, later in itertools.pairwise(times))
