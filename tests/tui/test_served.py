"""What serves, in the fleet and on a screen of its own: its state with the reason, and the keys for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.gpu_lease.state import LeaseState, ResidentModel
from core.home import Home
from core.process.identity import current_boot_id
from core.reasons import Reason
from core.served.record import ServedModelRecord, write_record
from core.served.state import Phase, ServedState, write_state
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import NOW, job, scene
from tui import actions
from tui.app import ConsoleApp
from tui.model.served_files import ServedFiles, ServedNow
from tui.model.snapshot import Snapshot
from tui.screens.confirm import Confirm
from tui.screens.new_bakeoff import NewBakeoff
from tui.screens.results import Results
from tui.screens.served import ServedScreen
from tui.screens.start_parity import AskParity
from tui.theme import DARK

Compare = Callable[..., bool]
SIZES = [(120, 40), (80, 24)]


def record(name: str, port: int = 18080, **changes: object) -> ServedModelRecord:
    made = ServedModelRecord(
        name, Path("/m/judge.gguf"), "ab" * 32, "judge", "SmolLM2-135M", 12, ("llama-server",), port, 2048
    )
    return replace(made, created_at=NOW - 90_000, **changes)


def served(
    name: str, phase: Phase, reason: Reason | None = None, *, port: int = 18080, size: int | None = None
) -> ServedNow:
    return ServedNow(name, record(name, port), ServedState(phase, NOW - 4000, reason=reason), size)


FLEET = (
    served("judge-smollm2-135m-12", "serving", size=240_000_000),
    served("planner-qwen3-4b-31", "failed", Reason("port_taken", {"port": 18081, "retry_seconds": 8.0}), port=18081),
    served("quizzer-qwen3-4b-7", "away", Reason("away", {"jobs": [42]}), port=18082),
    served("spacer-qwen3-1.7b-9", "stopped", Reason("by_person"), port=18083),
)
LEASE = LeaseState(
    NOW,
    phase="held",
    job_id=42,
    server="Ollama 0.24.0",
    residents=(ResidentModel("vault-judge:v1", 4_300_000_000, 4096, NOW + 240),),
    evicted=("vault-planner:v1",),
)


def moment(*found: ServedNow, **changes: object) -> Snapshot:
    return scene(served=found or FLEET, lease_state=LEASE, **changes)


async def test_the_fleet_says_what_serves_and_of_the_rest_why_not(console: Opened) -> None:
    async with console(moment()) as pilot:
        shown = text_of(pilot, "#fleet")
        assert "1 Fleet" in shown and "2 serving, 2 away, 1 failed, 1 stopped" in shown
        assert "▶ judge-smollm2-135m-12" in shown and ":18080" in shown and "240 MB" in shown
        assert "failed: port 18081" in shown and "away for job 42" in shown
        assert "▶ vault-judge:v1" in shown and "4.3 GB" in shown and "◷ vault-planner:v1" in shown
        assert "task       best, of 5" in shown, "the tasks keep their rows"
        pilot.app.show(moment(runner_alive=False))  # type: ignore[attr-defined]
        assert "vault-judge" not in text_of(pilot, "#fleet"), "nobody knows what the model server holds now"
        pilot.app.show(moment())  # type: ignore[attr-defined]
        assert any("planner-qwen3-4b-31 does not serve" in one for one in pilot.app.screen.snapshot.warnings)  # type: ignore[attr-defined]


async def test_keys_act_on_the_model_that_is_selected(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    for name in ("start_served", "stop_served", "remove_served"):
        monkeypatch.setattr(actions, name, lambda context, model, name=name: asked.append((name, model)))
    monkeypatch.setattr(actions, "ask", lambda *arguments: pytest.fail("a job was meant"))
    async with console(moment()) as pilot:
        await pilot.press("1")
        assert "stop" in keys_of(pilot) and "start" not in keys_of(pilot)
        await pilot.press("x")
        assert isinstance(pilot.app.screen, Confirm) and "judge-smollm2-135m-12" in pilot.app.screen.question
        await pilot.press("escape")
        assert not asked, "the safe answer does nothing"
        await pilot.press("j", "j", "j")
        assert "start" in keys_of(pilot) and "x stop" not in keys_of(pilot)
        await pilot.press("a", "X", "y")
        assert asked == [("start_served", "spacer-qwen3-1.7b-9"), ("remove_served", "spacer-qwen3-1.7b-9")]
        await pilot.press("j")
        assert "remove" not in keys_of(pilot), "Bakehouse does not run what the server holds"


async def test_a_check_and_a_bake_off_begin_with_the_model(console: Opened) -> None:
    async with console(moment()) as pilot:
        await pilot.press("1", "y")
        screen = pilot.app.screen
        assert isinstance(screen, AskParity)
        assert screen.values == {"of": "served:judge-smollm2-135m-12", "task": "judge", "model": "SmolLM2-135M"}
        await pilot.press("escape", "b")
        form = pilot.app.screen
        assert isinstance(form, NewBakeoff)
        assert form.begun.candidates == ["SmolLM2-135M", "served:judge-smollm2-135m-12"] and form.begun.tasks == [
            "judge"
        ]
        await pilot.press("escape", *["j"] * 4, "y")
        assert isinstance(pilot.app.screen, AskParity) and pilot.app.screen.values["of"] == "ollama:vault-judge:v1"


async def test_enter_opens_what_it_is_and_what_its_server_prints(console: Opened) -> None:
    async with console(moment()) as pilot:
        home: Home = pilot.app.context.home  # type: ignore[attr-defined]
        folder = home.served_dir("judge-smollm2-135m-12")
        folder.path.mkdir(parents=True)
        folder.log.write_text("main: server is listening\n")
        await pilot.press("1", "enter")
        screen = pilot.app.screen
        assert isinstance(screen, ServedScreen)
        shown = text_of(pilot, "#facts")
        assert "serving since" in shown and "http://127.0.0.1:18080/v1" in shown and "by job 12" in shown
        assert "server is listening" in text_of(pilot, "#file")
        pilot.app.show(moment(served("judge-smollm2-135m-12", "failed", Reason("died", {"said": "out of memory"}))))  # type: ignore[attr-defined]
        assert "failed: " in text_of(pilot, "#facts") and "out of memory" in text_of(pilot, "#facts")
        pilot.app.show(scene())  # type: ignore[attr-defined]
        assert "no more" in text_of(pilot, "#facts")


async def test_the_selection_stays_with_a_model_and_a_task_opens_its_leaderboard(console: Opened) -> None:
    async with console(moment()) as pilot:
        await pilot.press("1", "j", "j")
        pilot.app.show(moment(served("a-new-one", "loading"), *FLEET))  # type: ignore[attr-defined]
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, ServedScreen) and pilot.app.screen.name_of == "quizzer-qwen3-4b-7"
        await pilot.press("escape", "G", "k", "enter")
        assert isinstance(pilot.app.screen, Results) and pilot.app.screen.job_id == 41
        await pilot.press("escape")
        pilot.app.show(moment())  # type: ignore[attr-defined]
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, Results) and pilot.app.screen.job_id == 41, "one model fewer stands above"


async def test_a_model_whose_record_is_broken_is_shown_with_its_fault(console: Opened) -> None:
    broken = ServedNow("judge-9", error="this is no record of a served model: `port` is missing")
    async with console(moment(broken)) as pilot:
        assert "▲ judge-9" in text_of(pilot, "#fleet") and "no record" in text_of(pilot, "#fleet")
        await pilot.press("1")
        assert "remove" in keys_of(pilot) and "start" not in keys_of(pilot)


def test_the_feed_reads_records_and_states_as_they_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").create()
    assert ServedFiles(home).read() == ()
    write_record(home, record("judge-12"))
    write_state(home.served_dir("judge-12"), ServedState("serving", NOW, boot_id=current_boot_id()))
    (broken,) = [home.served_dir("tidy-3")]
    broken.path.mkdir()
    broken.record.write_text("{}")
    found = ServedFiles(home).read()
    assert [one.name for one in found] == ["judge-12", "tidy-3"]
    state = found[0].state
    assert state is not None and state.phase == "stopped", "its shim does not live, whatever the file says"
    assert found[1].record is None and "missing" in found[1].error


def pictured(tmp_path: Path) -> ConsoleApp:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = moment(jobs=(job(42, "running", "train judge · Qwen3-4B"),))
    return app


@pytest.mark.parametrize("size", SIZES, ids=["120x40", "80x24"])
def test_the_look_of_the_fleet(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    assert snap_compare(pictured(tmp_path), press=["1", "j"], terminal_size=size)


@pytest.mark.parametrize("size", SIZES, ids=["120x40", "80x24"])
def test_the_look_of_a_served_model(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    async def shown(pilot: Pilot[None]) -> None:
        folder = pilot.app.context.home.served_dir("planner-qwen3-4b-31")  # type: ignore[attr-defined]
        folder.path.mkdir(parents=True)
        folder.log.write_text("main: couldn't bind HTTP server socket\n" * 3)
        await pilot.press("1", "j", "enter")

    assert snap_compare(pictured(tmp_path), run_before=shown, terminal_size=size)
