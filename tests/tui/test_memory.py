"""The memory of a job: forecast against measured peak, the steps of its ladder, and where it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from core.config.project import shipped
from core.events import EventWriter
from core.home import Home
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from core.progress import Progress
from core.store.job_reasons import job_reason
from core.submission.memory_check import plan_training
from tests.support.job_files import job_file
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import NOW, detail, forecast, job, jobs, rungs, scene
from tui.event_text import event_row
from tui.model.forecasts import Forecasts
from tui.model.job_files import JobFiles
from tui.model.snapshot import Slot
from tui.widgets.memory_view import memory_rows

OUT = "CUDA out of memory. Tried to allocate 1.16 GiB"


def submitted(home: Home, job_id: int) -> TrainSpec:
    """A job file with the forecast that a submission makes."""
    project = shipped()
    planned = plan_training(home, project.model("SmolLM2-135M"), project.recipe("demo"))
    empty = home.root / "data.jsonl"
    empty.touch()
    spec = TrainSpec(
        task=project.task("judge"),
        model=project.model("SmolLM2-135M"),
        recipe=planned.recipe,
        train=InputFile(path=str(empty), sha256="0" * 64, source=str(empty)),
        forecast=planned.forecast,
        fitted=planned.fitted,
    )
    run = home.run_dir(job_id)
    run.path.mkdir(parents=True)
    job_file(home, spec, job_id, title="train judge · SmolLM2-135M", submitted_at=NOW).save(run)
    return spec


def write(home: Home, job_id: int, attempt: int, events: list[tuple[str, dict[str, Any]]]) -> None:
    folder = home.run_dir(job_id).attempt(attempt)
    folder.path.mkdir(parents=True, exist_ok=True)
    writer = EventWriter(folder.events)
    for kind, fields in events:
        writer.write(kind, **fields)  # type: ignore[arg-type]


def steps(first: int, last: int, peak: int) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("step", {"step": number, "total": 20, "loss": 3.0 / number, "peak_memory_bytes": peak})
        for number in range(first, last + 1)
    ]


def ladder(rung: int, changes: dict[str, Any], from_step: int | None) -> tuple[str, dict[str, Any]]:
    return "ladder", {"rung": rung, "changes": changes, "reason": OUT, "from_step": from_step}


def test_the_ladder_is_read_from_the_events(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    submitted(home, 7)
    events = [
        *steps(1, 6, 5 * 10**9),
        ("checkpoint", {"step": 4}),
        ladder(1, {"batch_size": [2, 1], "accumulation": [1, 2]}, 4),
        *steps(5, 8, 3 * 10**9),
        ("eval", {"step": 8, "loss": 0.5, "best": True}),
    ]
    write(home, 7, 1, events)
    found = JobFiles(home, 7).read(job(7, "running", "train judge · SmolLM2-135M"))
    assert [(rung.rung, rung.from_step, rung.changes[0]) for rung in found.ladder] == [(1, 4, ("batch_size", 2, 1))]
    assert found.resumed_from == 4 and found.progress.checkpoint_step == 4
    assert [step for step, _ in found.losses] == list(range(1, 9)), "steps that were trained again stand once"
    assert found.progress.peak_memory_bytes == 3 * 10**9, "what the recipe before took is no peak of this one"
    assert found.forecast is not None and found.forecast.known and found.forecast.budget


def test_a_run_that_begins_anew_is_not_called_resumed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    submitted(home, 7)
    write(home, 7, 1, [*steps(1, 2, 5 * 10**9), ladder(1, {"batch_size": [2, 1]}, None), *steps(1, 3, 3 * 10**9)])
    found = JobFiles(home, 7).read(job(7, "running", "train judge · SmolLM2-135M"))
    assert found.resumed_from is None and [step for step, _ in found.losses] == [1, 2, 3]


def test_the_forecast_of_a_submission_is_compared_with_the_peak(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    spec = submitted(home, 7)
    assert spec.forecast is not None
    peak = round(spec.forecast.allocated_bytes * 0.9)
    write(home, 7, 1, steps(1, 3, peak))
    training = job(7, "running", "train judge · SmolLM2-135M")
    rows = "\n".join(row.plain for row in memory_rows(training, JobFiles(home, 7).read(training), 116))
    assert f"{spec.forecast.allocated_bytes / 1e9:.1f} ± " in rows and f"{peak / 1e9:.1f} peak, 10 % below it" in rows
    assert "weights 0.5" in rows and "no fallback used so far" in rows
    assert (spec.recipe.dtype, spec.forecast.dtype) == ("auto", "fp32") and "forecast for fp32; in bf16" in rows


def test_job_files_of_another_version_say_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    forecasts, training = Forecasts(home), job(7, "running", "train judge · SmolLM2-135M")
    assert forecasts.of(training) is None
    submitted(home, 7)
    found = forecasts.of(training)
    assert found is not None and found.known, "a file that was not there yet is read later"
    path = home.run_dir(8)
    path.path.mkdir()
    path.job_file.write_text("spec: {kind: train, forecast: {other: 1}}\n")
    assert forecasts.of(job(8, "running", "train judge · SmolLM2-135M")) is None


async def test_a_tab_of_the_job_has_the_memory_and_the_ladder(console: Opened) -> None:
    snapshot = scene(detail=replace(detail(), ladder=rungs()), ladders={42: 2, 39: 3})
    async with console(snapshot) as pilot:
        await pilot.press("enter", "m")
        await pilot.pause()
        rows = text_of(pilot, "#rows")
        assert "11.7 ± 0.2" in rows and "11.4 peak, after the ladder" in rows
        assert "2 steps down for want of memory" in rows
        assert "batch_size 2 → 1, accumulation 4 → 8   began anew" in rows
        assert "activation_checkpointing off → on   went on from step 10" in rows and OUT in rows
        assert "after 2 steps of the ladder" in text_of(pilot, "#facts")
        await pilot.press("tab")
        assert " Events " in text_of(pilot, "#file")
        await pilot.press("shift+tab", "shift+tab")
        await pilot.pause()
        assert "eval 0.4371 at 550" in text_of(pilot, "#rows"), "the loss over the whole screen"


async def test_the_strip_turns_to_the_memory_and_back(console: Opened) -> None:
    async with console() as pilot:
        assert "v memory" in keys_of(pilot)
        await pilot.press("v")
        assert "11.4 peak, 3 % below it" in text_of(pilot, "#detail")
        await pilot.press("v")
        assert "step 552/945" in text_of(pilot, "#detail")


async def test_the_gpu_pane_compares_while_it_runs(console: Opened) -> None:
    waiting = replace(forecast(), device_bytes=8_900_000_000)
    slot = Slot(True, 42, NOW - 2100, forecast=forecast(), next_forecast=waiting)
    async with console(scene(slot=slot), size=(150, 40)) as pilot:
        said = text_of(pilot, "#gpu")
        assert "forecast for this run 11.7 ± 0.2, measured peak so far 11.4" in said
        await pilot.press("2", "z")
        await pilot.pause()
        assert "measured peak so far 11.4 · next 43: 8.9, fits" in text_of(pilot, "#gpu")
        pilot.app.show(scene(slot=slot, ladders={42: 1}))  # type: ignore[attr-defined]
        await pilot.pause()
        assert "forecast 11.7 ± 0.2, before 1 step of the ladder" in text_of(pilot, "#gpu")
    async with console(scene(with_gpu=False)) as pilot:
        assert "measured peak so far 11.4" in text_of(pilot, "#gpu")


async def test_what_went_down_the_ladder_says_so_below_its_row(console: Opened) -> None:
    async with console(scene(ladders={39: 3, 40: 1}), size=(120, 50)) as pilot:
        rows = text_of(pilot, "#queue").splitlines()
        trained = next(index for index, row in enumerate(rows) if "40 train quizzer" in row)
        assert "after 1 step of the ladder" in rows[trained + 1]
        assert any("at length 1536, after 3 steps of the ladder" in row for row in rows)


async def test_a_paused_job_says_where_it_goes_on_and_how(console: Opened) -> None:
    reason = job_reason("held", step=30)
    held = job(42, "waiting", "train judge · Qwen3-4B", held=True, attempt=1, reason=reason)
    known = replace(held, progress=Progress(checkpoint_step=30))
    async with console(scene(jobs=(known, *jobs()[1:]), detail=None, slot=Slot())) as pilot:
        strip = text_of(pilot, "#detail")
        assert "resumes from step 30" in strip and "l releases it" in strip
        assert "l release" in keys_of(pilot)
        await pilot.press("enter")
        assert "resumes from step 30" in text_of(pilot, "#facts") and "l release" in keys_of(pilot)


async def test_a_failed_job_says_where_a_retry_begins(console: Opened) -> None:
    failed = replace(jobs()[0], state="failed", reason=job_reason("killed", signal="SIGKILL"), ended_at=NOW)
    async with console(scene(jobs=(failed, *jobs()[1:]), slot=Slot())) as pilot:
        assert "resumes from step 550" in text_of(pilot, "#detail") and "r retry" in keys_of(pilot)
        await pilot.press("enter")
        assert "resumes from step 550" in text_of(pilot, "#facts") and "r retry" in keys_of(pilot)


def test_events_are_rows_that_a_person_reads(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    events = [
        ("phase", {"name": "loading the model", "detail": "SmolLM2-135M"}),
        *steps(1, 1, 3 * 10**9),
        ("eval", {"step": 1, "loss": 0.4371, "best": True}),
        ladder(2, {"activation_checkpointing": [False, True]}, 10),
        ("checkpoint", {"step": 10, "bytes": 132_000_000, "seconds": 0.9}),
        ("warning", {"code": "cut", "message": "2 prompts \x1b[31mcut"}),
        ("result", {"message": "loss 2.5 → 1.3"}),
    ]
    write(home, 7, 1, events)
    lines = home.run_dir(7).attempt(1).events.read_text().splitlines()
    said = [event_row(line)[0].split(maxsplit=1)[1] for line in lines]
    assert said == [
        "phase      loading the model, SmolLM2-135M",
        "step       1 of 20, loss 3.000, peak 3.0 GB",
        "eval       loss 0.4371, at step 1, the best so far",
        f"ladder     rung 2: activation_checkpointing off → on, on from step 10, {OUT}",
        "checkpoint at step 10, 132 MB, 1 s",
        "warning    2 prompts cut",
        "result     loss 2.5 → 1.3",
    ]
    assert event_row("not json") == ("not json", "text")
    assert event_row('{"kind": "step", "time": 1}')[0] == '{"kind": "step", "time": 1}'


def test_examples_that_are_shorter_than_the_forecast_explain_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    submitted(home, 7)
    write(home, 7, 1, steps(1, 3, 2 * 10**9))
    summary = {"longest_tokens": 595, "recipe_used": {"max_length": 768}, "peak_memory_bytes": 2 * 10**9}
    done = job(7, "done", "train judge · SmolLM2-135M", result={"message": "loss", "summary": summary}, ended_at=NOW)
    rows = "\n".join(row.plain for row in memory_rows(done, JobFiles(home, 7).read(done), 76))
    assert "forecast for examples of 768 tokens; the longest has 595" in rows and "no fallback used\n" in rows + "\n"
