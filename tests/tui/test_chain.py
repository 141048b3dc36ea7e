"""A chain in the console: one row of the queue, its links where it is opened, asked of as a whole, and set up in a dialog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.home import Home
from core.progress import Progress
from core.store.chains import Chain, ChainLink
from core.store.job_reasons import job_reason
from core.store.jobs import JobRow
from core.submission.wanted_ship import WantedShip
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, job, scene
from tui import actions
from tui.app import ConsoleApp
from tui.model.snapshot import Snapshot
from tui.screens.chain import ChainScreen
from tui.screens.confirm import Confirm
from tui.screens.job import JobScreen
from tui.screens.start_ship import AskShip, ShipNames
from tui.theme import DARK
from tui.widgets.chain_rows import folded

Compare = Callable[..., bool]
KINDS = ("train", "merge", "convert", "quantize", "deploy", "bakeoff")
TITLE = "ship judge · Qwen3-4B · Q8_0"
NAMES = ShipNames(("judge", "planner"), ("Qwen3-4B", "SmolLM2-135M"), ("demo", "lora-bf16"))


def link(job_id: int, kind: str, state: str, *, taken: bool = False, **changes: Any) -> ChainLink:
    ended = NOW - 900 + 60 * job_id if state in {"done", "failed", "cancelled"} else None
    row = job(job_id, state, f"{kind} judge · Qwen3-4B", kind=kind, task="judge", ended_at=ended, **changes)
    running = state == "running"
    ran = 0.0 if state == "waiting" else 754.0 if kind == "train" else 41.0
    return ChainLink(row, taken, 0.0 if running else ran, NOW - ran if running else None)


def chain(*links: ChainLink, chain_id: int = 3) -> Chain:
    return Chain(chain_id, TITLE, "vault", "anna", NOW - 2000, links)


def running() -> Chain:
    progress = Progress(done=130, total=210, unit="tensors", eta_seconds=40, time=NOW)
    return chain(
        link(50, "train", "done", taken=True, result={"message": "loss 0.31"}),
        link(51, "merge", "running", progress=progress),
        *(link(52 + n, kind, "waiting", reason=job_reason("after", jobs=[51 + n])) for n, kind in enumerate(KINDS[2:])),
    )


def failed() -> Chain:
    """Its deployment was refused for other prompts, and the bake-off waits."""
    differs = job_reason(
        "job_error", error="parity", message="1 of 7 prompts differ: the file has another template", gate="parity"
    )
    done = [link(50 + n, kind, "done", result={"message": "made"}) for n, kind in enumerate(KINDS[:4])]
    waits = job_reason("need_failed", job=54, state="failed")
    return chain(*done, link(54, "deploy", "failed", reason=differs), link(55, "bakeoff", "waiting", reason=waits))


def moment(made: Chain, *others: JobRow) -> Snapshot:
    order = {"running": 0, "waiting": 1}
    jobs = sorted((*(one.job for one in made.links), *others), key=lambda one: order.get(one.state, 2))
    return scene(jobs=tuple(jobs), chains=(made,), detail=None)


def test_a_chain_stands_once_in_the_queue_in_the_place_of_the_link_that_tells_how_it_is() -> None:
    made, other = failed(), job(60, "waiting", "train planner · Qwen3-4B")
    jobs = [other, *(one.job for one in made.links)]
    assert [one.id for one in folded(jobs, [made])] == [60, 54]
    assert [one.id for one in folded(jobs, [])] == [60, 50, 51, 52, 53, 54, 55]
    assert [one.id for one in folded([one.job for one in running().links], [running()])] == [50, 51], (
        "what it took stays"
    )


async def test_the_row_says_how_far_the_chain_is_and_enter_opens_its_links(console: Opened) -> None:
    async with console(moment(running())) as pilot:
        shown = text_of(pilot, "#queue")
        assert "ship judge · Qwen3-4B" in shown and "1/6 merge" in shown and "61 %" in shown
        assert "convert judge" not in shown, "the links have no row of their own"
        await pilot.press("3", "enter")
        assert isinstance(pilot.app.screen, ChainScreen)
        shown = text_of(pilot, "#links")
        assert "1 of 6 done, merge running 61 %, 5 left" in shown
        for name in ("training", "merge", "conversion", "quantisation", "deployment", "bake-off"):
            assert name in shown
        assert "made before" in shown and "13 min" in shown and "41 s" in shown


async def test_the_selection_stays_with_the_chain_when_it_goes_on(console: Opened) -> None:
    first = job(60, "waiting", "train planner · Qwen3-4B")
    async with console(moment(running(), first)) as pilot:
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        queue = app.screen.queue  # type: ignore[attr-defined]
        await pilot.press("3", "g")
        queue.select(51)
        app.show(moment(failed(), first))
        await pilot.pause()
        assert queue.selected_id == 54 and queue.selected_chain is not None
        await pilot.press("slash")
        await pilot.press(*"merge")
        assert [one.id for one in queue.jobs] == [51], "a filter finds a link by itself"


async def test_a_link_is_retried_alone_and_the_chain_as_a_whole(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(actions, "ask", lambda context, kind, one, said, arguments: asked.append((kind, one.id)))
    monkeypatch.setattr(
        actions, "ask_of_chain", lambda context, name, chain_id: asked.append((f"{name} chain", chain_id))
    )
    async with console(moment(failed())) as pilot:
        await pilot.press("3", "enter")
        shown = text_of(pilot, "#links")
        assert "4 of 6 done, deployment failed, 2 left" in shown and "1 link waits until job 54 is retried" in shown
        assert "r retries job 54 with what it was submitted with" in shown
        assert "changed since" not in shown, "nothing is said of the project before it was looked at"
        pilot.app.screen.post_message(ChainScreen.ChangesRead("recipe demo (epochs)"))
        await pilot.pause()
        assert "a retry does not see: recipe demo (epochs). s ships again" in text_of(pilot, "#links")
        assert "retry chain" in keys_of(pilot)
        await pilot.press("r", "R")
        assert asked == [("retry", 54), ("retry chain", 3)]
        await pilot.press("C")
        assert isinstance(pilot.app.screen, Confirm)
        await pilot.press("y")
        assert asked[-1] == ("cancel chain", 3)
        await pilot.press("k", "k")
        assert "R retries job 54" in text_of(pilot, "#links"), "r would be about the selected link, which is done"
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.job_id == 52
        await pilot.press("escape", "escape")
        assert not isinstance(pilot.app.screen, ChainScreen | JobScreen)


async def test_nothing_is_offered_for_a_chain_that_is_done(console: Opened) -> None:
    done = chain(*(link(50 + n, kind, "done", result={"message": "made"}) for n, kind in enumerate(KINDS)))
    async with console(moment(done)) as pilot:
        assert "6/6 bake-off" in text_of(pilot, "#queue")
        await pilot.press("3", "enter")
        assert isinstance(pilot.app.screen, ChainScreen) and "all 6 done" in text_of(pilot, "#links")
        assert "retry chain" not in keys_of(pilot) and "cancel chain" not in keys_of(pilot)


async def test_the_dialog_ships_the_selected_training_or_a_new_one(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[WantedShip] = []
    monkeypatch.setattr(actions, "ship", lambda context, wanted: asked.append(wanted))
    trained = job(40, "done", "train judge · Qwen3-4B", ended_at=NOW, settings={"recipe": "demo"})
    async with console(scene(jobs=(trained,))) as pilot:
        await pilot.press("3", "s")
        assert isinstance(pilot.app.screen, AskShip)
        assert "bakehouse ship --from 40" in text_of(pilot, "#plan")
        await pilot.press("j", "l", "j", "j", "l", "l", "j", "l", "enter")
        assert asked == [WantedShip(training=40, quantization=asked[0].quantization, to="llama-server", bakeoff=False)]
        assert asked[0].quantization != "Q8_0"
        await pilot.press("s", "l")
        assert "reading tasks" in text_of(pilot, "#plan"), "nothing can be queued before the names are read"
        await pilot.press("enter")
        assert len(asked) == 1
        pilot.app.screen.post_message(AskShip.NamesRead(NAMES))
        await pilot.pause()
        assert "bakehouse ship judge --model Qwen3-4B --recipe demo" in text_of(pilot, "#plan")
        await pilot.press("j", "l", "j", "l", "enter")
        assert asked[1] == WantedShip("planner", "SmolLM2-135M", "demo")


async def test_a_chain_ships_again_from_its_own_training_or_from_a_new_one_like_it(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[WantedShip] = []
    monkeypatch.setattr(actions, "ship", lambda context, wanted: asked.append(wanted))
    newer = job(60, "done", "train planner · Qwen3-8B", ended_at=NOW)
    async with console(moment(failed(), newer)) as pilot:
        pilot.app.screen.queue.select(54)  # type: ignore[attr-defined]
        await pilot.press("3", "enter", "s")
        assert "bakehouse ship --from 50" in text_of(pilot, "#plan")
        await pilot.press("enter")
        assert asked == [WantedShip(training=50)]
        broken = chain(link(50, "train", "failed"), link(51, "merge", "waiting"))
        pilot.app.show(moment(broken, newer))  # type: ignore[attr-defined]
        await pilot.press("s")
        pilot.app.screen.post_message(AskShip.NamesRead(NAMES))
        await pilot.pause()
        assert "bakehouse ship judge --model Qwen3-4B --recipe demo" in text_of(pilot, "#plan"), (
            "not the newest training"
        )


async def test_the_chosen_link_stays_in_sight_on_a_low_terminal(console: Opened) -> None:
    async with console(moment(failed()), size=(80, 13)) as pilot:
        await pilot.press("3", "enter", *["k"] * 9)
        assert "training" in text_of(pilot, "#links")
        await pilot.press("G")
        shown = text_of(pilot, "#links")
        assert "bake-off" in shown and "training" not in shown


async def test_without_a_training_the_dialog_begins_with_a_new_one(console: Opened) -> None:
    async with console(scene(jobs=())) as pilot:
        await pilot.press("3", "s")
        screen = pilot.app.screen
        assert isinstance(screen, AskShip) and screen.fields[0] == "task"
        screen.post_message(AskShip.NamesRead(ShipNames((), ("m",), ("r",))))
        await pilot.pause()
        assert "this project has no task" in text_of(pilot, "#plan")
        screen.post_message(AskShip.NamesRead(NAMES))
        await pilot.pause()
        assert screen.wanted == WantedShip("judge", "Qwen3-4B", "demo")


async def test_an_adapter_of_quantised_weights_can_be_merged_into_what_it_saw(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[WantedShip] = []
    monkeypatch.setattr(actions, "ship", lambda context, wanted: asked.append(wanted))
    trained = job(40, "done", "train judge · Qwen3-4B", ended_at=NOW, settings={"recipe": "qlora", "bits": 4})
    async with console(scene(jobs=(trained,))) as pilot:
        await pilot.press("3", "s", "j", "j", "j", "l")
        screen = pilot.app.screen
        assert isinstance(screen, AskShip) and screen.fields[screen.index] == "base"
        assert "bakehouse ship --from 40 --base-weights dequantized" in text_of(pilot, "#plan")
        screen.values["from"] = "a new training"
        names = ShipNames(("judge",), ("m",), ("demo", "qlora"), quantised=frozenset({"qlora"}))
        screen.post_message(AskShip.NamesRead(names))
        await pilot.pause()
        assert "base" in screen.fields and screen.wanted.base_weights == "dequantized"
        screen.values["recipe"] = "demo"
        assert "base" not in screen.fields and screen.wanted.base_weights == "original"
        screen.values["deploy"] = "no"
        assert not screen.wanted.deploy and screen.wanted.to is None and screen.wanted.command.endswith("--no-deploy")
        screen.values["deploy"] = screen.options("deploy")[0]
        screen.values["from"] = "job 40"
        await pilot.press("enter")
        assert asked == [WantedShip(training=40, base_weights="dequantized")]


SIZES = [(120, 40), (80, 24)]


def pictured(tmp_path: Path, snapshot: Snapshot) -> ConsoleApp:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = snapshot
    return app


@pytest.mark.parametrize("size", SIZES, ids=["120x40", "80x24"])
@pytest.mark.parametrize("made", [running, failed], ids=["running", "failed"])
def test_chain(snap_compare: Compare, tmp_path: Path, made: Callable[[], Chain], size: tuple[int, int]) -> None:
    assert snap_compare(pictured(tmp_path, moment(made())), press=["3", "enter"], terminal_size=size)


@pytest.mark.parametrize("size", SIZES, ids=["120x40", "80x24"])
def test_queue_with_a_chain(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    other = job(60, "waiting", "train planner · Qwen3-4B", reason=job_reason("slot_held", slot="gpu", job=51))
    assert snap_compare(pictured(tmp_path, moment(running(), other)), terminal_size=size)


@pytest.mark.parametrize("size", SIZES, ids=["120x40", "80x24"])
def test_ship_dialog(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    async def asked(pilot: Pilot[None]) -> None:
        await pilot.press("3", "s")
        await seen(pilot, lambda: isinstance(pilot.app.screen, AskShip), "the dialog")
        pilot.app.screen.post_message(AskShip.NamesRead(NAMES))
        await pilot.pause()

    assert snap_compare(pictured(tmp_path, scene(jobs=())), run_before=asked, terminal_size=size)
