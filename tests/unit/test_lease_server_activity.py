"""What looks at a model server tell together: in use, leaving, empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.gpu_lease.server_activity import HANG_SECONDS, ServerActivity, on_gpu
from core.gpu_lease.state import LeaseState, ResidentModel, StateFile
from core.home import Home
from core.reasons import Reason
from core.serving.modelserver import ServerView
from core.serving.replies import Resident


def judge(expires_at: float | None, vram: int | None = 4_600_000_000, day: float = 1_700_000_000.0) -> Resident:
    return Resident("judge:v1", "digest", vram, vram, 8192, None if expires_at is None else day + expires_at)


DAY = 1_700_000_000.0
"""The time of day when the monotonic clock is at 0. Models are listed with times of day."""


def seen(*residents: Resident, at: float, day: float = DAY) -> ServerView:
    return ServerView(at, at + 0.01, residents, None, day + at)


def follow(*views: ServerView) -> ServerActivity:
    made = ServerActivity()
    for view in views:
        made.follow(view)
    return made


def silent(at: float, *, slow: bool = False) -> ServerView:
    reason = Reason("server_slow" if slow else "server_down", {"url": "http://box"})
    return ServerView(at, at + (5.0 if slow else 0.01), None, reason, DAY + at)


def test_a_model_in_use_whose_hour_has_passed_is_not_leaving_and_somebody_asks_it() -> None:
    """Answers that overlap, or one that is longer than the keep-alive: the hour stands still until the last has ended."""
    made = follow(seen(judge(105.0), at=100.0), seen(judge(105.0), at=103.0), seen(judge(105.0), at=110.0))
    assert not made.leaves(judge(105.0))
    assert (made.active_at, made.active_name) == (110.0, "judge:v1")
    assert made.keep_alive_seconds(judge(105.0)) == 5.0


def test_a_model_that_somebody_unloads_while_it_answers_is_leaving_until_it_is_asked_again() -> None:
    made = follow(seen(judge(400.0), at=100.0), seen(judge(101.5), at=102.0))
    assert made.leaves(judge(101.5))
    made.follow(seen(judge(101.5), at=104.0))
    assert made.leaves(judge(101.5)) and made.active_at == 100.0
    made.follow(seen(judge(405.0), at=105.0))
    assert not made.leaves(judge(405.0)) and made.active_at == 105.0


def test_asked_for_a_shorter_stay_it_is_no_less_in_use() -> None:
    made = follow(seen(judge(float("inf")), at=100.0), seen(judge(401.0), at=101.0))
    assert not made.leaves(judge(401.0)) and made.active_at == 101.0
    assert made.keep_alive_seconds(judge(401.0)) == 300.0


def test_how_long_it_stays_after_an_answer_is_the_longest_that_was_seen() -> None:
    made = follow(*(seen(judge(400.0), at=float(now)) for now in (100, 250, 394)))
    assert made.keep_alive_seconds(judge(400.0)) == 300.0
    assert follow(seen(judge(float("inf")), at=1.0)).keep_alive_seconds(judge(None)) == -1.0
    assert follow(seen(judge(None), at=1.0)).keep_alive_seconds(judge(None)) is None


def test_a_model_on_the_cpu_alone_is_in_nobody_s_way() -> None:
    made = follow(*(seen(judge(400.0, vram=0), at=at) for at in (100.0, 100.5, 101.0)))
    assert made.empty_for(1.0)
    assert on_gpu(seen(judge(1.0, vram=0), judge(1.0, vram=None), at=1.0)) == (judge(1.0, vram=None),)


def test_emptiness_counts_from_where_it_was_looked_at_often() -> None:
    made = follow(seen(at=100.0), seen(at=105.0))
    assert not made.empty_for(0.5), "nobody looked in between"
    made.follow(seen(at=105.6))
    assert made.empty_for(0.5)
    made.follow(seen(judge(400.0), at=106.0))
    assert not made.empty_for(0.0)


@pytest.mark.parametrize(("slow", "enough"), [(False, 2.0), (True, HANG_SECONDS)])
def test_a_server_that_is_silent_serves_nobody_after_a_while_and_one_that_is_slow_after_a_long_one(
    slow: bool, enough: float
) -> None:
    made = follow(seen(at=100.0), silent(100.5, slow=slow))
    assert not made.empty_for(2.0)
    made.follow(silent(100.5 + enough - 5.5 if slow else 102.0, slow=slow))
    assert not made.empty_for(2.0)
    made.follow(silent(100.5 + enough, slow=slow))
    assert made.empty_for(2.0)


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_makes_no_model_stay_longer_or_leave(jump: float) -> None:
    """The server goes on telling the hour that it wrote before."""
    made = follow(seen(judge(400.0), at=100.0), seen(judge(400.0), at=102.0, day=DAY + jump))
    assert made.stays_seconds(judge(400.0)) == 298.0 and not made.leaves(judge(400.0))
    assert made.active_at == 100.0, "nobody has asked it"
    made.follow(seen(judge(400.0), at=401.0, day=DAY + jump))
    assert made.stays_seconds(judge(400.0)) == 0.0


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_an_hour_first_seen_as_the_clock_was_set_tells_nothing(jump: float) -> None:
    """It may have been written before or after: the model counts as one that stays, so that it is noted before it goes."""
    made = follow(seen(judge(400.0), at=100.0), seen(judge(404.0), at=102.0, day=DAY + jump))
    assert made.stays_seconds(judge(404.0)) is None and not made.leaves(judge(404.0))
    made.follow(seen(judge(404.0), at=104.0, day=DAY + jump))
    assert made.stays_seconds(judge(404.0)) is None
    later = judge(410.0 + jump)
    made.follow(seen(later, at=110.0, day=DAY + jump))
    assert made.stays_seconds(later) == 300.0 and made.active_at == 110.0


def test_a_model_that_is_to_stay_for_ever_does_whatever_the_clock_says() -> None:
    forever = judge(1e10)
    made = follow(seen(forever, at=1.0), seen(forever, at=2.0, day=DAY + 1e6))
    assert made.stays_seconds(forever) == made.keep_alive_seconds(forever) == -1.0


def test_the_hour_at_which_a_model_would_go_is_no_news(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    file = StateFile(home)

    def state(expires_at: float, unowned: int, status: Reason | None = None) -> LeaseState:
        models = (ResidentModel("judge:v1", 5, 8192, expires_at),)
        return LeaseState(time=expires_at, residents=models, unowned_bytes=unowned, status=status)

    file.put(state(1.0, 9_000_000_000))
    written = home.lease_state.read_bytes()
    file.put(state(2.0, 9_000_100_000))
    assert home.lease_state.read_bytes() == written
    file.put(state(2.0, 9_000_100_000, Reason("listing_models")))
    assert home.lease_state.read_bytes() != written
