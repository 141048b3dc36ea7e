"""What the dashboard shows of a moment, at any size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.gpu.reading import HostReading, Sample
from core.reasons import Reason
from core.store.job_reasons import about_the_gpu, job_reason
from core.store.jobs import QueueState
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import NOW, detail, job, jobs, scene
from tui.app import ConsoleApp
from tui.model.snapshot import Slot, Snapshot
from tui.screens.plan import PlanScreen


async def test_each_pane_answers_its_question(console: Opened) -> None:
    async with console() as pilot:
        assert "judge      Qwen3-4B tuned, q8_0     4.92     4.55 14:01" in text_of(pilot, "#fleet")
        assert "nothing serves yet: s ships" in text_of(pilot, "#fleet")
        gpu = text_of(pilot, "#gpu")
        assert (
            "12.3/17.1 GB" in gpu and "lease exclusive, job 42, since 14:02" in gpu and "▲ hotspot above 85 °C" in gpu
        )
        queue = text_of(pilot, "#queue")
        assert "▶  42 train judge · Qwen3-4B" in queue and "58 % 26 min" in queue
        assert "◷  45 train spacer · Qwen3-1.7B   Waiting for the GPU" in queue
        assert "‖  46 train analyst" in queue
        assert "✗  39 train judge · Qwen3-8B" in queue and "… at length 1536" in queue
        board = text_of(pilot, "#bakeoff")
        assert "= Qwen3-4B tuned, f16     4.90" in board and "+2.82 [2.54, 3.10]" in board


async def test_the_header_says_what_runs_and_what_is_wrong(console: Opened) -> None:
    async with console() as pilot:
        header = text_of(pilot, "#header")
        assert header.startswith(
            " Bakehouse  gpubox · RX 9070 XT   ▶ 42 train judge 58 %, 26 min   3 waiting   1 held   ▲ 1 warning"
        )
        assert text_of(pilot, "#clock").strip() == "Tue 14:37:12"


async def test_the_strip_follows_the_selected_job(console: Opened) -> None:
    async with console() as pilot:
        strip = text_of(pilot, "#detail")
        assert "42  train judge · Qwen3-4B · lora-bf16, rank 32" in strip
        assert "2,310 tok/s · peak 11.4 GB · 26 min left" in strip
        assert "14:37:12 step 552/945 loss 0.4189" in strip
        assert "step 552 of 945" in strip and "eval 0.4371 at 550, the best so far" in strip
        await pilot.press("G")
        assert "failed: out of memory at length 1536" in text_of(pilot, "#detail")


async def test_a_small_terminal_gets_a_row_a_pane_and_one_in_full(console: Opened) -> None:
    async with console(size=(80, 24)) as pilot:
        rows = text_of(pilot, "#summary").splitlines()
        assert [row[:12].strip() for row in rows] == ["1 Fleet", "2 GPU", "3 Queue", "4 Bake-off"]
        assert "12.3/17.1 GB" in rows[1] and "58 %, 26 min left · 4 waiting" in rows[2]
        assert not pilot.app.screen.query_one("#fleet").display
        await pilot.press("4")
        assert pilot.app.screen.query_one("#bakeoff").display
        assert not pilot.app.screen.query_one("#queue").display
        assert "step 552 of 945" in text_of(pilot, "#detail")


async def test_the_layout_follows_the_size(console: Opened) -> None:
    async with console(size=(80, 24)) as pilot:
        await pilot.resize_terminal(140, 45)
        await pilot.pause()
        assert all(pane.display for pane in pilot.app.screen.query("#board Canvas"))
        assert not pilot.app.screen.query_one("#summary").display
        assert all(len(row) <= 140 for row in text_of(pilot).splitlines())


@pytest.mark.parametrize("size", [(40, 10), (20, 5), (200, 60), (100, 34), (99, 33)])
async def test_any_size_is_survived(console: Opened, size: tuple[int, int]) -> None:
    async with console(size=size) as pilot:
        await pilot.press("1", "2", "4", "z", "3")
        assert "Queue" in text_of(pilot, "#queue")


async def test_a_running_bake_off_leaves_the_finished_one_in_its_row(console: Opened) -> None:
    progress = replace(jobs()[0].progress, done=30, total=100)  # type: ignore[type-var]
    running = job(47, "running", "bake-off judge, 2 models", progress=progress)
    async with console(scene(jobs=(running, *jobs())), size=(80, 24)) as pilot:
        row = text_of(pilot, "#summary").splitlines()[3]
        assert "judge: Qwen3-4B tuned, q8_0 4.92/5 · ▶ 47 30 %" in row
        await pilot.press("4")
        pane = text_of(pilot, "#bakeoff")
        assert "4.92" in pane and "▶ 47 bake-off judge, 2 models  30 % answered" in pane


async def test_a_state_is_not_said_twice(console: Opened) -> None:
    rows = (
        job(1, "failed", "train judge · a", reason=job_reason("exit_code", exit_code=1), ended_at=NOW),
        job(2, "cancelled", "train judge · b", reason=job_reason("cancelled_before_start"), ended_at=NOW),
    )
    async with console(scene(jobs=rows, detail=None)) as pilot:
        for press in ("g", "G"):
            await pilot.press(press)
            told = text_of(pilot, "#detail") + text_of(pilot, "#queue")
            assert "failed: failed" not in told and "cancelled: cancelled" not in told and "failed failed" not in told
            await pilot.press("enter")
            await pilot.pause()
            facts = text_of(pilot, "#facts")
            assert facts.lower().count("cancelled ") <= 1 and facts.count("failed") <= 1
            await pilot.press("escape")


async def test_what_logs_and_models_print_is_text(console: Opened) -> None:
    nasty = "\x1b]0;owned\x07\x1b[2J[bold red]not markup[/]"
    hostile = replace(
        jobs()[0], title=f"train {nasty}", progress=None, reason=job_reason("exit_code", exit_code=1, last_line=nasty)
    )
    failed = job(60, "failed", nasty, reason=job_reason("exit_code", exit_code=1, last_line=nasty), ended_at=NOW)
    snapshot = scene(jobs=(hostile, failed), host=nasty, detail=replace(detail(), lines=(), headline=nasty))
    async with console(snapshot) as pilot:
        for strip in (strip for widget in pilot.app.screen.query("Canvas") for strip in widget.strips):  # type: ignore[attr-defined]
            assert "\x1b" not in strip.text and "\x07" not in strip.text
        assert "[bold red]not markup[/]" in text_of(pilot, "#queue")
        await pilot.press("x")
        await pilot.pause()
        assert "[bold red]not markup[/]" in str(pilot.app.screen.query_one("#question").render())


async def test_without_a_gpu_the_machine_is_shown(console: Opened) -> None:
    async with console(scene(with_gpu=False)) as pilot:
        gpu = text_of(pilot, "#gpu")
        assert "memory " in gpu and "7.2/16.8 GB" in gpu and "free 9.6 GB" in gpu
        assert "slot  in use by job 42, since 14:02" in gpu
        assert "no GPU found: the CPU is the one slot" in gpu
        assert "no GPU" in text_of(pilot, "#header")


async def test_old_readings_say_their_age(console: Opened) -> None:
    sample = Sample(NOW - 90, "none", HostReading(16_000_000_000, 8_000_000_000, 0.5, 10.0, 4))
    async with console(scene(samples=(sample,))) as pilot:
        assert "▲ 90 s old" in text_of(pilot, "#gpu")
        assert "▲ newest reading at 14:35:42" in text_of(pilot, "#gpu")


async def test_an_empty_home_says_what_one_can_do(console: Opened) -> None:
    empty = Snapshot(time=NOW, host="box", ready=True, tasks=(), boards=(), runner_alive=True)
    async with console(empty) as pilot:
        assert "nothing queued yet" in text_of(pilot, "#queue") and "d the demo" in text_of(pilot, "#queue")
        assert "no task yet" in text_of(pilot, "#fleet")
        assert "no bake-off yet" in text_of(pilot, "#bakeoff")
        assert "no reading yet" in text_of(pilot, "#gpu") and "slot  free" in text_of(pilot, "#gpu")
        assert "x cancel" not in keys_of(pilot) and "⏎" not in keys_of(pilot)


async def test_a_home_that_cannot_be_read_says_why(console: Opened) -> None:
    broken = Snapshot(time=NOW, host="box", problem="schema 9 was written by a newer Bakehouse; this one knows 1")
    async with console(broken) as pilot:
        assert "newer Bakehouse" in text_of(pilot, "#queue")


async def test_a_paused_queue_and_a_missing_runner_are_seen(console: Opened) -> None:
    snapshot = scene(queue=QueueState(True, "lunch", "anna"), runner_alive=False, slot=Slot(True, elsewhere=True))
    async with console(snapshot) as pilot:
        assert "‖ paused: lunch" in text_of(pilot, "#queue")
        assert "‖ paused" in text_of(pilot, "#header") and "▲ 2 w" in text_of(pilot, "#header")
        assert "in use by a job of another home" in text_of(pilot, "#gpu")
        assert "P resume" in keys_of(pilot)


async def test_a_running_bakeoff_shows_how_far_each_candidate_is(console: Opened) -> None:
    from tui.model.snapshot import Detail, Share

    running = job(44, "running", "bake-off judge, 2 models")
    shares = (Share("base", 39, 39, 2.11), Share("tuned", 12, 39, 1.4, at_limit=2))
    told = Detail(44, "13 inputs × 3", shares=shares)
    async with console(scene(jobs=(running,), detail=told)) as pilot:
        strip = text_of(pilot, "#detail")
        assert "51 of 78 answers" in strip
        assert "✓ base" in strip and "100 %  2.1 s/answer" in strip
        assert "▶ tuned" in strip and "30 %  1.4 s/answer" in strip
        assert "2 reached the token limit" in strip


async def test_a_job_behind_a_page_fault_says_what_releases_it_and_one_that_retries_with_what(console: Opened) -> None:
    variable = "PYTORCH_NO_HIP_MEMORY_CACHING"
    faulted = Reason("gpu_faulted", {"job_id": 42, "time": NOW - 1500.0, "text": "[gfxhub] page fault"})
    blocked = about_the_gpu("gpu_lease", faulted, variable=variable)
    waiting = job(45, "waiting", "train spacer · Qwen3-1.7B", reason=blocked)
    async with console(scene(jobs=(waiting,), detail=None), size=(200, 60)) as pilot:
        said = text_of(pilot, "#detail")
        assert "restart the machine, or `bakehouse queue release-gpu`" in said and "with the memory cache off" in said
    again = replace(waiting, state="running", attempt=2, reason=job_reason("running", variable=variable))
    async with console(scene(jobs=(again,), detail=None)) as pilot:
        assert "Runs with the memory cache off after a GPU page fault" in text_of(pilot, "#detail")


async def test_a_snapshot_while_a_screen_is_put_up_or_taken_away_harms_nothing(console: Opened) -> None:
    async with console(scene()) as pilot:
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        for _ in range(3):
            app.push_screen(PlanScreen(app.context))
            app.show(scene())
            await pilot.pause()
            assert "Plan" in text_of(pilot)
            app.pop_screen()
            app.show(scene())
        app.exit()
        app.show(scene())
    assert app.fault is None
