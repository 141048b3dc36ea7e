"""What holds for all that the watchdog finds: each code is a setting, and no event of another form is a fault."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core.config.settings import WatchSettings
from core.watchdog.run_watch import CODES
from tests.support.watched_run import GB, START, Run, gpu


@pytest.mark.parametrize("code", CODES)
def test_each_code_is_a_setting_and_off_tells_nothing(code: str) -> None:
    assert code in WatchSettings.model_fields
    run = Run.begin(**{code: "off"})
    everything_wrong(run)
    assert set(CODES) - {code} == set(run.codes)


def everything_wrong(run: Run) -> None:
    run.pass_time(5, device=gpu())
    run.losses([0.0] * 6 + [0.5] * 40 + [50.0] * 3 + [math.nan])
    bad = gpu(vram_used_bytes=int(15.9 * GB), gtt_used_bytes=3 * GB, throttling=("thermal",))
    run.pass_time(300, state="D", cpu=0.0, device=bad)


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "step"},
        {"kind": "step", "time": "noon", "step": 3},
        {"kind": "step", "time": START, "step": "three", "total": None, "loss": "low", "grad_norm": [1]},
        {"kind": "phase", "time": START, "name": None},
        {"kind": "eval", "time": START, "loss": True},
    ],
)
def test_an_event_of_another_form_is_no_fault(event: dict[str, Any]) -> None:
    run = Run.begin()
    run.watch.event(event)
    run.steps(3)
    assert run.found == []
