"""A plan without a GPU tells times where the CPU's speed was measured, and never prefers what takes days."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cli.main import main
from core.cli.plan import lines
from core.config.project import shipped
from core.vram.budget import Budget
from core.vram.calibration import Calibration, Run, calibrate, uncalibrated
from core.vram.cpu_time import A_NIGHT_SECONDS, TOKENS, seconds_on_cpu, time_words
from core.vram.plan import Plan, Verdict, plan, size
from tests.support.machines import FakeMachine

HOST = Budget(256 * 10**9, 0, "host memory", "cpu")
SMALL, LARGE = "SmolLM2-135M", "Qwen3-14B"


def ran(speed: float, parameters: int = 135_000_000, method: str = "lora") -> Run:
    return Run(1, "any", method, "CPU", 2_000_000_000, 2_000_000_000, 0.0, speed, parameters)


def planned(*runs: Run, verdicts: tuple[Verdict, ...] = (), budget: Budget = HOST) -> Plan:
    project = shipped()
    known: Calibration = calibrate(runs, "cpu") if runs else uncalibrated("cpu")
    recipes = [project.recipe(name) for name in ("lora-bf16", "qlora-hqq4")]
    return plan(project.models(), recipes, budget, known, 1024, verdicts)


def test_where_no_training_has_run_the_smallest_is_the_one_to_begin_with_and_no_time_is_told() -> None:
    made = planned()
    assert made.preferred is not None and made.preferred.model.name == SMALL
    assert {row.seconds for row in made.rows} == {None}
    assert "nothing is known" in made.why and "days" in made.also
    table = "\n".join(lines(made, on_cpu=True))
    assert "on the GPU" not in table and "not known" in table


@pytest.mark.parametrize(("speed", "model"), [(20.0, SMALL), (150.0, "Qwen3-4B"), (1200.0, LARGE)])
def test_with_a_measured_speed_it_is_the_largest_that_a_night_is_enough_for(speed: float, model: str) -> None:
    made = planned(ran(speed))
    assert made.preferred is not None
    assert made.preferred.seconds is not None and made.preferred.seconds <= A_NIGHT_SECONDS
    assert made.preferred.model.name == model
    for row in made.rows:
        if row.fits and row.recipe.method == "lora" and size(row) > size(made.preferred):
            assert row.seconds is not None and row.seconds > A_NIGHT_SECONDS
    assert "on this CPU" in made.why


def test_where_even_the_smallest_takes_more_than_a_night_none_is_preferred_and_the_time_is_told() -> None:
    made = planned(ran(1.0))
    assert made.preferred is None
    assert "no model here is trained in a night" in made.why and " per 100,000 tokens" in made.why


def test_a_method_that_was_not_measured_is_not_preferred_for_its_size() -> None:
    made = planned(ran(150.0))
    assert made.preferred is not None and made.preferred.recipe.method == "lora"
    assert {row.seconds for row in made.rows if row.recipe.method == "qlora-hqq"} == {None}


def test_a_bake_off_s_winner_counts_among_what_a_night_is_enough_for() -> None:
    runs = (ran(1200.0), ran(1200.0, method="qlora-hqq"))
    first = planned(*runs).preferred
    assert first is not None
    won = Verdict(7, "judge", (SMALL, "lora"), first.key)
    better = planned(*runs, verdicts=(won,))
    assert better.preferred is not None and better.preferred.key == (SMALL, "lora")
    lost = Verdict(8, "judge", (LARGE, "lora"), first.key)
    still = planned(*runs, verdicts=(lost,)).preferred
    assert still is not None and still.key == first.key, "the winner takes days here"


@given(speed=st.floats(0.1, 1e6), parameters=st.integers(10**6, 10**12))
def test_time_grows_with_the_size_and_what_ran_is_told_as_it_ran(speed: float, parameters: int) -> None:
    run = ran(speed, parameters)
    assert seconds_on_cpu(parameters, "lora", [run]) == pytest.approx(TOKENS / speed)
    assert seconds_on_cpu(2 * parameters, "lora", [run]) == pytest.approx(2 * TOKENS / speed)
    assert seconds_on_cpu(parameters, "qlora-hqq", [run]) is None


@pytest.mark.parametrize("run", [ran(0.0), Run(1, "m", "lora", "CPU", 1, 1, 0.0), ran(5.0, 0)])
def test_a_run_that_does_not_tell_its_speed_is_no_measurement(run: Run) -> None:
    assert seconds_on_cpu(10**9, "lora", [run]) is None
    assert "not known" in time_words(None)


@pytest.mark.parametrize("hidden", [{"HIP_VISIBLE_DEVICES": ""}, {"ROCR_VISIBLE_DEVICES": ""}])
def test_the_command_says_which_gpu_it_does_not_count_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hidden: dict[str, str]
) -> None:
    machine = FakeMachine(tmp_path / "machine").amd("0000:2b:00.0", name="Radeon Stand-in")
    machine.use(monkeypatch)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    for name, value in hidden.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["plan", "--model", SMALL])
    said = capsys.readouterr().out
    assert said.startswith("host memory: ")
    assert f"▲ Radeon Stand-in is not used: {next(iter(hidden))} hides it" in said
    with pytest.raises(SystemExit):
        main(["plan", "--model", SMALL, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["budget"]["kind"] == "cpu"
    assert document["budget"]["used_bytes"] > 0
