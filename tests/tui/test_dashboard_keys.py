"""What the dashboard's keys do to what is shown: select, filter, open, ask, and the palette and help beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.command import CommandList
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Button, Input

from core.submission.wanted_export import WantedGguf, WantedMerge
from tests.tui import gpus
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, job, jobs, scene
from tui import actions
from tui.panes.bakeoff import BakeoffPane
from tui.panes.queue import QueuePane
from tui.queries.bakeoff_plan import BakeoffPlan
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.help import DialogText
from tui.screens.job import JobScreen
from tui.screens.results import Results
from tui.screens.start_bakeoff import AskBakeoff
from tui.screens.start_export import AskExport


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


async def test_a_gpu_that_has_faulted_is_released_after_a_question_that_says_what_can_happen(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object]] = []
    monkeypatch.setattr(actions, "ask", lambda context, name, job, said, arguments=None: asked.append((name, job)))
    async with console(gpus.faulted()) as pilot:
        assert "U release GPU" in keys_of(pilot)
        await pilot.press("U")
        screen = pilot.app.screen
        assert isinstance(screen, Confirm) and screen.question == "Release the GPU?"
        assert "can take the machine down" in screen.explanation
        assert screen.focused is not None and screen.focused.id == "leave"
        await pilot.press("escape")
        assert asked == []
        await run_from_palette(pilot, "release the gpu")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
        await pilot.press("y")
        await seen(pilot, lambda: asked == [("release-gpu", None)], "the request")
    async with console(gpus.idle()) as pilot:
        await pilot.press("U")
        assert isinstance(pilot.app.screen, Dashboard) and "release GPU" not in keys_of(pilot)


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


@pytest.mark.parametrize("words, opens", [("merge the", AskExport), ("open results", Results)])
async def test_a_command_with_or_without_a_key_is_run_by_the_palette(
    console: Opened, words: str, opens: type[Screen[Any]]
) -> None:
    async with console(scene(jobs=(job(7, "done", "train judge · m", ended_at=NOW),))) as pilot:
        await run_from_palette(pilot, words)
        await seen(pilot, lambda: isinstance(pilot.app.screen, opens), "what the command opens")
        if isinstance(pilot.app.screen, AskExport):
            assert "bakehouse export 7 --dtype bf16" in text_of(pilot)


async def test_an_export_asks_for_the_format_and_tells_what_was_merged_already(console: Opened) -> None:
    async with console(scene(jobs=(job(7, "done", "train judge · m", ended_at=NOW),))) as pilot:
        await pilot.press("e")
        ask = pilot.app.screen
        assert isinstance(ask, AskExport)
        chosen: list[object] = []
        ask.dismiss = chosen.append  # type: ignore[assignment, method-assign]
        await pilot.press("j", "j")
        assert "bakehouse export 7 --dtype fp32" in text_of(pilot)
        ask.post_message(AskExport.EarlierRead({"fp32": "already merged as job 9: /home/artefacts/0/merged"}))
        await pilot.pause()
        assert "already merged as job 9: /home/artefacts/0/merged" in text_of(pilot)
        await pilot.press("enter")
        assert chosen == []
        await pilot.press("k", "enter")
        assert chosen == [WantedMerge("job:7", "fp16")]


async def test_an_export_offers_gguf_files_with_the_command_that_makes_them(console: Opened) -> None:
    runs = (
        job(7, "done", "train judge · m", ended_at=NOW),
        job(8, "done", "merge judge · m", kind="merge", ended_at=NOW),
        job(9, "done", "GGUF bf16 · judge · m", kind="convert", ended_at=NOW),
        job(6, "done", "train judge · m", settings={"bits": 4}, ended_at=NOW),
    )
    for run, down, command, wanted in (
        (runs[0], 4, "bakehouse export 7 --to gguf --quantize Q8_0", WantedGguf("job:7", quantization="Q8_0")),
        (
            runs[3],
            6,
            "bakehouse export 6 --dtype bf16 --base-weights",
            WantedMerge("job:6", base_weights="dequantized"),
        ),
        (runs[1], 0, "bakehouse export 8 --to gguf", WantedGguf("job:8")),
        (runs[2], 1, "bakehouse export 9 --to gguf --quantize Q4_K_M", WantedGguf("job:9", quantization="Q4_K_M")),
    ):
        async with console(scene(jobs=(run,)), size=(80, 24)) as pilot:
            await pilot.press("e")
            ask = pilot.app.screen
            assert isinstance(ask, AskExport)
            chosen: list[object] = []
            ask.dismiss = chosen.append  # type: ignore[assignment, method-assign]
            await pilot.press(*"j" * down)
            assert command in text_of(pilot)
            ask.post_message(AskExport.EarlierRead({ask.choice.label: "llama-quantize of llama.cpp was not found"}))
            await pilot.pause()
            assert "was not found" in text_of(pilot)
            await pilot.press("enter")
            ask.post_message(AskExport.EarlierRead({}))
            await pilot.pause()
            await pilot.press("enter")
            assert chosen == [wanted]


async def test_a_finished_export_shows_what_survived_and_where_it_lies(console: Opened) -> None:
    said = "8.0 GB, merged from job:7; 98 % of the update survives in bf16 (least: 91 % in model.layers.1.mlp.x)"
    made = [{"kind": "merged", "path": "home:artefacts/0f/merged", "sha256": "0f", "bytes": 8}]
    merged = job(8, "done", "merge judge · m", ended_at=NOW, result={"message": said, "artefacts": made})
    async with console(scene(jobs=(merged,)), size=(140, 40)) as pilot:
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, JobScreen)
        shown = text_of(pilot, "#facts")
        assert "98 % of the update survives in bf16" in shown and "least: 91 %" in shown
        assert f"{pilot.app.context.home.root}/artefacts/0f/merged" in shown.replace("\n", "")  # type: ignore[attr-defined]


async def test_a_command_without_a_key_stands_in_no_help_and_no_last_line(console: Opened) -> None:
    async with console(scene(jobs=(job(7, "done", "train judge · m", ended_at=NOW),))) as pilot:
        assert "results" not in keys_of(pilot)
        assert all(not key.startswith("f1") for key in pilot.app.screen.active_bindings)
        await pilot.press("question_mark")
        await pilot.pause()
        assert "Open results" not in pilot.app.screen.query_one(DialogText).text


@pytest.mark.parametrize("width", range(60, 141, 4))
async def test_the_key_line_is_never_cut(console: Opened, width: int) -> None:
    async with console(size=(width, 40)) as pilot:
        keys = keys_of(pilot)
        assert "…" not in keys and keys.rstrip().endswith("q leave")
        assert "x cancel" in keys


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
