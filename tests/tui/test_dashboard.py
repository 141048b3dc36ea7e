"""What the dashboard shows of a moment, and what its keys do to what is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.command import CommandList
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Button, Input

from core.gpu.reading import HostReading, Sample
from core.store.job_reasons import job_reason
from core.store.jobs import QueueState
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, detail, job, jobs, scene
from tui.model.snapshot import Slot, Snapshot
from tui.panes.bakeoff import BakeoffPane
from tui.panes.queue import QueuePane
from tui.queries.bakeoff_plan import BakeoffPlan
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.help import DialogText
from tui.screens.job import JobScreen
from tui.screens.results import Results
from tui.screens.start_bakeoff import AskBakeoff


async def test_each_pane_answers_its_question(console: Opened) -> None:
    async with console() as pilot:
        assert "judge      Qwen3-4B tuned, q8_0     4.9/5     0.91 14:01" in text_of(pilot, "#fleet")
        assert "nothing is served by Bakehouse yet" in text_of(pilot, "#fleet")
        gpu = text_of(pilot, "#gpu")
        assert (
            "12.3/17.1 GB" in gpu and "lease exclusive, job 42, since 14:02" in gpu and "▲ hotspot above 85 °C" in gpu
        )
        queue = text_of(pilot, "#queue")
        assert "▶  42 train judge · Qwen3-4B" in queue and "58 % 26 min" in queue
        assert "◷  45 train spacer · Qwen3-1.7B   GPU in use by job 42" in queue
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


async def test_only_keys_that_work_now_are_offered(console: Opened) -> None:
    async with console() as pilot:
        assert "x cancel" in keys_of(pilot) and "h hold" in keys_of(pilot) and "r retry" not in keys_of(pilot)
        await pilot.press("G")
        assert "r retry" in keys_of(pilot) and "x cancel" not in keys_of(pilot)
        pilot.app.screen.query_one(QueuePane).select(46)
        await pilot.press("tab", "shift+tab")
        assert "l release" in keys_of(pilot) and "h hold" not in keys_of(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, Dashboard)
        assert screen.check_action("ask_queue", ("release", 0)) and not screen.check_action("ask_queue", ("hold", 0))


async def test_help_has_a_row_for_each_command_that_can_be_done(console: Opened) -> None:
    async with console(size=(120, 50)) as pilot:
        possible = pilot.app.screen.possible()  # type: ignore[attr-defined]
        await pilot.press("question_mark")
        shown = pilot.app.screen.query_one(DialogText).text
        assert all(item.help in shown for item in possible if item.shown)
        assert "Retry" not in shown
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Dashboard)


async def test_the_warnings_can_be_read_in_full(console: Opened) -> None:
    long = "configs/tasks/judge.yaml:7: sytem: unknown key; did you mean `system`? " * 3
    async with console(scene(problems=(long,))) as pilot:
        assert "▲ 2 warnings w" in text_of(pilot, "#header")
        await pilot.press("w")
        shown = " ".join(pilot.app.screen.query_one(DialogText).text.replace("│", " ").split())
        assert "did you mean `system`?" in shown and "42 gave 1 warning, see its log" in shown
        await pilot.press("w")
        assert isinstance(pilot.app.screen, Dashboard)


async def run_from_palette(pilot: Pilot[None], words: str) -> None:
    """Type words that only one command has, and take it."""
    await pilot.press("colon")
    await seen(pilot, lambda: pilot.app.screen.query("CommandInput"), "the palette")
    pilot.app.screen.query_one("CommandInput", Input).value = words
    await seen(pilot, lambda: pilot.app.screen.query_one(CommandList).option_count == 1, "the one command that fits")
    await pilot.press("enter")


async def test_the_palette_runs_what_it_finds(console: Opened) -> None:
    async with console() as pilot:
        dashboard = pilot.app.screen
        assert isinstance(dashboard, Dashboard)
        await run_from_palette(pilot, "this pane alone")
        await seen(pilot, lambda: dashboard.zoomed, "one pane alone")


async def test_zoom_shows_one_pane_alone(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("4", "z")
        assert [pane.id for pane in pilot.app.screen.query("#board Canvas") if pane.display] == ["bakeoff"]
        assert not pilot.app.screen.query_one("#detail").display
        await pilot.press("z")
        assert all(pane.display for pane in pilot.app.screen.query("#board Canvas"))


async def test_the_filter_keeps_what_fits_and_escape_ends_it(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("slash", *"spacer", "enter")
        queue = text_of(pilot, "#queue")
        assert "45 train spacer" in queue and "42 train" not in queue and "/spacer" in queue
        assert not pilot.app.screen.query_one("#filter", Input).display
        await pilot.press("escape")
        assert "42 train" in text_of(pilot, "#queue")


async def test_the_selection_stays_on_its_job_while_the_queue_moves(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("j", "j")
        pane = pilot.app.screen.query_one(QueuePane)
        assert pane.selected_id == 44
        first, *rest = jobs()
        moved = (*rest, replace(first, state="done", ended_at=NOW))
        pilot.app.show(scene(jobs=moved))  # type: ignore[attr-defined]
        await pilot.pause()
        assert pane.selected_id == 44


async def test_untouched_the_selection_stays_with_what_runs(console: Opened) -> None:
    waiting = job(50, "waiting", "train judge · Qwen3-4B")
    async with console(scene(jobs=(waiting,))) as pilot:
        pane = pilot.app.screen.query_one(QueuePane)
        assert pane.selected_id == 50
        pilot.app.show(scene(jobs=(job(51, "running", "train seeder · Qwen3-4B"), waiting)))  # type: ignore[attr-defined]
        await pilot.pause()
        assert pane.selected_id == 51


async def test_a_long_queue_scrolls_and_asks_for_more(console: Opened) -> None:
    many = tuple(job(number, "waiting", f"train judge · model {number}") for number in range(1, 201))
    async with console(scene(jobs=many)) as pilot:
        app = pilot.app
        app.feed.snapshot = replace(app.feed.snapshot, jobs=many)  # type: ignore[attr-defined]
        assert "model 150" not in text_of(pilot, "#queue")
        await pilot.press("G")
        await pilot.pause()
        assert "model 200" in text_of(pilot, "#queue")
        assert app.feed.limit == 400  # type: ignore[attr-defined]
        await pilot.press("g")
        assert "model 1 " in text_of(pilot, "#queue")


async def test_cancelling_names_the_job_and_focuses_the_safe_answer(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("x")
        screen = pilot.app.screen
        assert isinstance(screen, Confirm)
        assert screen.question == "Cancel job 42, train judge · Qwen3-4B?"
        assert screen.focused is not None and screen.focused.id == "leave"
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, Dashboard)


async def test_the_dialog_says_which_key_does_what(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("x")
        labels = [str(button.label) for button in pilot.app.screen.query(Button)]
        assert labels == ["▸ Keep it", "  Cancel job 42"]
        assert "y cancel job 42" in str(pilot.app.screen.query_one("#hint").render())
        await pilot.press("tab")
        await pilot.pause()
        assert [str(button.label)[0] for button in pilot.app.screen.query(Button)] == [" ", "▸"]


async def test_job_keys_act_only_where_the_job_is_seen(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("4", "x")
        assert isinstance(pilot.app.screen, Dashboard) and "x cancel" not in keys_of(pilot)
        await pilot.press("3", "x")
        assert isinstance(pilot.app.screen, Confirm)


async def test_a_bake_off_is_asked_for_first(console: Opened) -> None:
    trained = tuple(job(number, "done", f"train judge · model-{number}", ended_at=NOW) for number in (7, 8, 9))
    async with console(scene(jobs=(*trained, job(5, "done", "train spacer · other")))) as pilot:
        await pilot.press("b")
        screen = pilot.app.screen
        assert isinstance(screen, AskBakeoff)
        assert "reading the task" in text_of(pilot, "#plan")
        screen.post_message(AskBakeoff.PlanRead(BakeoffPlan("judge", "small", 13, 3)))
        await pilot.pause()
        shown = text_of(pilot, "#plan")
        assert "small base" in shown and "model-7 tuned, job 7" in shown and "13 inputs × 3 repeats × 2" in shown
        assert "bakehouse bakeoff judge small job:7 " in shown and "other" not in shown
        await pilot.press("j", "space")
        assert "bakehouse bakeoff judge small job:7 job:9" in text_of(pilot, "#plan")
        assert "× 3 candidates = 117" in text_of(pilot, "#plan")
        agreed = screen.chosen
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Dashboard)
        assert agreed is not None and agreed.candidates == ("small", "job:7", "job:9")


async def test_the_palette_has_what_one_looks_for(console: Opened) -> None:
    async with console(scene(jobs=(job(7, "done", "train judge · m", ended_at=NOW),))) as pilot:
        helps = " ".join(item.help for item in pilot.app.screen.possible() if item.palette)  # type: ignore[attr-defined]
        for wanted in ("Open results", "Export", "Bake-off of", "Pause the queue", "Go to pane GPU"):
            assert wanted in helps


@pytest.mark.parametrize("words, opens", [("merge the", Confirm), ("open results", Results)])
async def test_a_command_without_a_key_is_run_by_the_palette(
    console: Opened, words: str, opens: type[Screen[Any]]
) -> None:
    async with console(scene(jobs=(job(7, "done", "train judge · m", ended_at=NOW),))) as pilot:
        await run_from_palette(pilot, words)
        await seen(pilot, lambda: isinstance(pilot.app.screen, opens), "what the command opens")
        if isinstance(pilot.app.screen, Confirm):
            assert "bakehouse export 7" in pilot.app.screen.explanation


async def test_a_command_without_a_key_stands_in_no_help_and_no_last_line(console: Opened) -> None:
    async with console(scene(jobs=(job(7, "done", "train judge · m", ended_at=NOW),))) as pilot:
        assert "merge" not in keys_of(pilot)
        assert all(not key.startswith("f1") for key in pilot.app.screen.active_bindings)
        await pilot.press("question_mark")
        await pilot.pause()
        assert "Export" not in pilot.app.screen.query_one(DialogText).text


@pytest.mark.parametrize("width", range(60, 141, 4))
async def test_the_key_line_is_never_cut(console: Opened, width: int) -> None:
    async with console(size=(width, 40)) as pilot:
        keys = keys_of(pilot)
        assert "…" not in keys and keys.rstrip().endswith("q leave")
        assert "x cancel" in keys


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
        assert "memory " in gpu and "7.2/16.8 GB" in gpu and "free for jobs 9.6 GB" in gpu
        assert "slot  held, job 42, since 14:02" in gpu
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
        assert "held by a job of another home" in text_of(pilot, "#gpu")
        assert "P resume" in keys_of(pilot)


async def test_enter_opens_the_job_or_the_leaderboard(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, JobScreen)
        await pilot.press("escape", "4", "enter")
        assert isinstance(pilot.app.screen, Results)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Dashboard)


async def test_the_bakeoff_pane_turns_through_its_tasks(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("4", "j")
        assert pilot.app.screen.query_one(BakeoffPane).text.splitlines()[1].startswith("│ spacer")


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
