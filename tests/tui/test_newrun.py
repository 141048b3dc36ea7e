"""The form of a new run: what it will need, what fits instead, and that an older answer never stands for a newer one."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from core.config.project import shipped
from core.home import Home
from core.store.jobs import JobRow
from core.vram.budget import Budget, budget_for
from core.vram.calibration import SPREAD_ON_CPU, Calibration, uncalibrated
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, job, scene
from tui.queries.catalogue import Catalogue, read_catalogue
from tui.queries.latest_only import LatestOnly
from tui.queries.run_forecast import Experience, MemoryOutlook, RunQuery, look, outlook
from tui.screens.new_run import NewRun
from tui.screens.new_run.memory import calibrated, memory_rows
from tui.widgets.choice import ChoiceField


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return read_catalogue(Home(tmp_path_factory.mktemp("home")).create(), shipped())


def looked(catalogue: Catalogue, model: str, recipe: str, budget: Budget, **changed: object) -> MemoryOutlook:
    wanted = catalogue.recipe_objects[recipe].model_copy(update=changed)
    known = Experience(uncalibrated(budget.kind))
    return outlook(catalogue, catalogue.model_objects[model], wanted, budget, known)


def rows_of(found: MemoryOutlook, width: int = 116, height: int = 12) -> str:
    rows = memory_rows(found, width, height, "F3")
    assert all(row.width <= width for row in rows)
    return "\n".join(row.plain for row in rows)


async def form(pilot: Pilot[None]) -> NewRun:
    """Open the form and wait for what it reads."""
    await pilot.press("n")
    screen = pilot.app.screen
    assert isinstance(screen, NewRun)
    await seen(pilot, lambda: screen.outlook is not None and "examples" in text_of(pilot, "#note-task"), "the form")
    return screen


def choose(screen: NewRun, key: str, name: str) -> None:
    field = screen.query_one(f"#{key}", ChoiceField)
    field.choose(field.names.index(name))


def test_this_run_stands_with_its_parts_beside_what_fits_instead(catalogue: Catalogue) -> None:
    found = looked(catalogue, "Qwen3-8B", "lora-bf16", budget_for("16"))
    said = rows_of(found)
    assert found.forecast is not None and not found.forecast.fits
    assert f"{found.forecast.device_bytes / 1e9:.1f} ± " in said and "does not fit" in said
    assert "weights 1" in said and "LoRA, optimizer" in said
    assert "in HQQ 4-bit" in said and "┊" in said
    assert found.preferred is not None and found.preferred.model == "Qwen3-4B"
    assert "Qwen3-4B bf16" in said and "F3 changes to it" in said
    assert found.problem and "✗" in said, "not even the ladder's last rung holds 8B in bf16 on 16 GB"


def test_what_is_not_predicted_says_why(catalogue: Catalogue) -> None:
    found = looked(catalogue, "Qwen3.5-9B", "lora-bf16", budget_for("24"))
    said = rows_of(found)
    assert "not predicted: measure first" in said and "linear attention" in said
    assert found.rank_limit is None and found.length_limit is None


def test_a_bar_that_is_too_long_ends_in_red_and_one_that_fits_shows_the_limit(catalogue: Catalogue) -> None:
    budget = budget_for("16")
    large = memory_rows(looked(catalogue, "Qwen3-8B", "lora-bf16", budget), 116, 12, "F3")[1]
    assert any(role == "bad" and "█" in text for text, role in large.pieces)
    small = memory_rows(looked(catalogue, "Qwen3-4B", "lora-bf16", budget), 116, 12, "F3")[1]
    assert "┊" in small.plain and not any(role == "bad" for _, role in small.pieces)


@pytest.mark.parametrize("width", [40, 60, 76, 116, 200])
def test_the_frame_fits_its_width(catalogue: Catalogue, width: int) -> None:
    for model in ("Qwen3-8B", "SmolLM2-135M", "Gemma3-12B"):
        rows_of(looked(catalogue, model, "qlora-hqq4", budget_for("12")), width)


def test_fit_auto_says_what_it_changes(catalogue: Catalogue) -> None:
    as_written = looked(catalogue, "SmolLM2-135M", "demo", Budget(2_600_000_000, 0, "host memory", "cpu"), fit=None)
    assert as_written.forecast is not None and not as_written.forecast.fits and as_written.ladder
    auto = looked(catalogue, "SmolLM2-135M", "demo", Budget(2_600_000_000, 0, "host memory", "cpu"), fit="auto")
    assert auto.forecast is not None and auto.forecast.fits
    assert {change.key for change in auto.changes} & {"batch_size", "activation_checkpointing"}


def test_how_sure_the_figures_are_stands_in_the_title(catalogue: Catalogue) -> None:
    found = looked(catalogue, "Qwen3-4B", "lora-bf16", budget_for("16"))
    assert calibrated(found) == "at 2,048 tokens (max_length); no run of this GPU yet: ± 5 %"
    known = replace(found, calibration=Calibration(9, 1.0, 0.03, -0.018))
    assert calibrated(known) == "at 2,048 tokens (max_length); calibrated by 9 runs on this GPU, last error 2 %"
    host = looked(catalogue, "SmolLM2-135M", "demo", Budget(16 * 10**9, 0, "host memory", "cpu"))
    assert calibrated(host) == f"at 768 tokens (max_length); no run of this machine yet: ± {SPREAD_ON_CPU * 100:.0f} %"
    assert "GB of the host" in rows_of(host)


def test_the_limits_hold_what_they_promise(catalogue: Catalogue) -> None:
    budget = budget_for("16")
    found = looked(catalogue, "Qwen3-4B", "lora-bf16", budget)
    assert found.rank_limit is not None and found.length_limit is not None
    at_rank = looked(catalogue, "Qwen3-4B", "lora-bf16", budget, rank=found.rank_limit)
    above = looked(catalogue, "Qwen3-4B", "lora-bf16", budget, rank=found.rank_limit + 1)
    assert at_rank.forecast is not None and above.forecast is not None
    assert at_rank.forecast.fits and not above.forecast.fits


def test_what_goes_wrong_is_told_in_the_frame(tmp_path: Path, catalogue: Catalogue) -> None:
    home = Home(tmp_path / "home").create()
    home.database.write_bytes(b"no database")
    found = look(home, catalogue, RunQuery("Qwen3-4B", "lora-bf16", {}, scene().sample))
    assert found.forecast is None and "not known" in rows_of(found)


async def test_the_form_says_what_fits_on_the_gpu(console: Opened) -> None:
    async with console() as pilot:
        screen = await form(pilot)
        found = screen.outlook
        assert found is not None and found.budget is not None and found.budget.name == "RX 9070 XT"
        assert f"on this GPU up to {found.rank_limit:,}" in text_of(pilot, "#note-rank")
        assert f"on this GPU up to {found.length_limit:,}" in text_of(pilot, "#note-max_length")
        assert "off" in text_of(pilot, "#thinking") and "the task says so" in text_of(pilot, "#note-thinking")
        memory = text_of(pilot, "#memory")
        assert "this run" in memory and "no run of this GPU yet: ± 5 %" in memory
        before = memory
        screen.query_one("#rank", Input).value = "128"
        await seen(pilot, lambda: text_of(pilot, "#memory") != before, "the memory of rank 128")
        assert screen.outlook is not None and screen.outlook.forecast is not None


async def test_a_key_changes_to_what_the_plan_prefers(console: Opened) -> None:
    async with console() as pilot:
        screen = await form(pilot)
        choose(screen, "model", "Qwen3-8B")
        await seen(pilot, lambda: screen.preferred is not None, "that there is something better")
        assert "F3" in keys_of(pilot) and "does not fit" in text_of(pilot, "#memory")
        screen.query_one("#max_length", Input).value = "1024"
        await pilot.pause()
        await pilot.press("f3")
        await seen(pilot, lambda: screen.preferred is None, "that nothing is better")
        assert "--model Qwen3-4B" in text_of(pilot, "#command") and "--max-length 1024" in text_of(pilot, "#command")
        assert "F3" not in keys_of(pilot)


async def test_how_long_it_takes_is_told_by_runs_like_it(console: Opened) -> None:
    def done(number: int, model: str, seconds: float) -> JobRow:
        used = {"batch_size": 1, "accumulation": 8}
        summary = {"task": "judge", "model": model, "recipe": "lora-bf16", "seconds": seconds, "steps": 40}
        summary |= {"recipe_used": used}
        result = {"message": "loss", "summary": summary}
        return job(number, "done", f"train judge · {model}", result=result, ended_at=NOW)

    resumed = replace(done(4, "Qwen3-4B", 5.0), attempt=2)
    runs = (done(1, "Qwen3-4B", 1600.0), done(2, "Qwen3-4B", 1760.0), done(3, "Qwen3-8B", 9.0), resumed)
    async with console(scene(jobs=runs)) as pilot:
        screen = await form(pilot)
        assert "about 45 steps, 31 min ± 89 s from 2 runs here" in text_of(pilot, "#note-epochs")
        choose(screen, "recipe", "qlora-hqq4")
        await pilot.pause()
        assert "runs here" not in text_of(pilot, "#note-epochs")


async def test_fit_is_a_part_of_the_command(console: Opened) -> None:
    async with console() as pilot:
        screen = await form(pilot)
        choose(screen, "fit", "auto")
        await pilot.pause()
        assert "--set fit=auto" in text_of(pilot, "#command")


async def test_on_a_small_terminal_each_frame_is_a_key_away(console: Opened) -> None:
    async with console(size=(80, 24)) as pilot:
        await form(pilot)
        seen = []
        for _ in range(3):
            seen.append(
                next(name for name in ("memory", "lesson", "around") if pilot.app.screen.query_one(f"#{name}").display)
            )
            assert "F2" in keys_of(pilot) and "esc" in keys_of(pilot)
            await pilot.press("f2")
            await pilot.pause()
        assert sorted(seen) == ["around", "lesson", "memory"]


async def test_without_a_gpu_the_memory_is_the_hosts(console: Opened) -> None:
    async with console(scene(with_gpu=False)) as pilot:
        screen = await form(pilot)
        assert screen.outlook is not None and screen.outlook.budget is not None
        assert screen.outlook.budget.kind == "cpu"
        assert "of the host" in text_of(pilot, "#memory") and "on this machine up to" in text_of(pilot, "#note-rank")


def test_only_the_newest_question_is_answered() -> None:
    gate, told = threading.Event(), []
    asked: list[int] = []

    def find(question: int) -> int:
        asked.append(question)
        if question == 1:
            assert gate.wait(PATIENCE_SECONDS)
        return question * 10

    latest: LatestOnly[int, int] = LatestOnly(
        "test", find, lambda question, answer: told.append((question, answer)), lambda question, line: -1
    )
    latest.ask(1)
    wait_until(lambda: asked, what="the first question")
    latest.ask(2)
    latest.ask(3)
    gate.set()
    wait_until(lambda: told, what="an answer")
    assert told == [(3, 30)] and asked == [1, 3], "1 came too late, 2 was never worked on"
