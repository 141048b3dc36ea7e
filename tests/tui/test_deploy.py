"""A deployment and a parity check of a server's model in the console: asked for in a dialog, read where the job is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.home import Home
from core.progress import Progress
from core.store.jobs import JobRow
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, job, scene
from tui import actions
from tui.app import ConsoleApp
from tui.queries.deploy_outlook import DeployOutlook, WantedDeploy
from tui.queries.served_names import ServedNames
from tui.screens.start_deploy import AskDeploy
from tui.screens.start_parity import AskParity
from tui.theme import DARK

Compare = Callable[..., bool]
FILE = job(9, "done", "GGUF Q8_0 · judge · SmolLM2-135M", kind="quantize", task="judge", ended_at=NOW)
OUTLOOK = DeployOutlook(
    best="ollama",
    usual={"ollama": "judge:smollm2-135m-9", "llama-server": "judge-smollm2-135m-9"},
    taken={"ollama": ("judge:latest",), "llama-server": ("judge-prod",)},
    place={"ollama": "http://127.0.0.1:11434", "llama-server": "127.0.0.1"},
    served={"judge-prod": (3, True)},
)
NAMES = ServedNames(
    references=("served:judge-smollm2-135m-9", "served:qwen3:8b", "box:gemma"),
    deployed={"served:judge-smollm2-135m-9": ("judge", "SmolLM2-135M")},
    tasks=("planner", "judge"),
    models=("Qwen3-4B", "SmolLM2-135M"),
    silent=("far: no answer",),
)


def asked_of(monkeypatch: pytest.MonkeyPatch) -> list[WantedDeploy]:
    asked: list[WantedDeploy] = []
    monkeypatch.setattr(actions, "deploy", lambda context, wanted: asked.append(wanted))
    return asked


async def opened(pilot: Pilot[None], outlook: DeployOutlook = OUTLOOK) -> AskDeploy:
    await pilot.press("3", "d")
    screen = pilot.app.screen
    assert isinstance(screen, AskDeploy)
    assert "asking Ollama" in text_of(pilot, "#plan"), "nothing is known yet, and nothing can be queued"
    screen.post_message(AskDeploy.OutlookRead(outlook))
    await pilot.pause()
    return screen


async def test_a_file_is_deployed_to_what_answers_under_the_name_of_its_job(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of(monkeypatch)
    async with console(scene(jobs=(FILE,))) as pilot:
        await opened(pilot)
        shown = text_of(pilot, "#plan")
        assert "bakehouse deploy 9 --to ollama" in shown and "--name" not in shown
        assert "sent to the Ollama at http://127.0.0.1:11434" in " ".join(shown.split()) and "at boot" not in shown
        await pilot.press("j", "l")
        shown = " ".join(text_of(pilot, "#plan").replace("│", " ").split())
        assert "serves now" in shown and "kept under a tag to go back to" in shown, "what would be replaced is said"
        assert "--name judge:latest" in shown
        await pilot.press("k", "l", "j", "j", "j", "l")
        shown = text_of(pilot, "#plan")
        assert "bakehouse deploy 9 --to llama-server --at-boot" in shown and "judge-smollm2-135m-9" in shown
        await pilot.press("enter")
        assert asked == [WantedDeploy(9, "llama-server", None, True)]


async def test_what_replaces_a_served_model_keeps_its_slots_and_its_start_at_boot(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of(monkeypatch)
    async with console(scene(jobs=(FILE,))) as pilot:
        await opened(pilot)
        await pilot.press("l", "j", "e", *"judge-prod", "enter")
        shown = " ".join(text_of(pilot, "#plan").replace("│", " ").split())
        assert "in place of what serves so now" in shown and "--slots 3 --at-boot" in shown
        await pilot.press("j", "l", "enter")
        assert asked == [WantedDeploy(9, "llama-server", "judge-prod", True, 1)]
        assert asked[0].command == "bakehouse deploy 9 --to llama-server --name judge-prod --at-boot"


async def test_a_tag_without_its_end_is_the_one_that_ollama_has(console: Opened) -> None:
    async with console(scene(jobs=(FILE,))) as pilot:
        await opened(pilot)
        await pilot.press("j", "e", *"judge", "enter")
        assert "serves now" in text_of(pilot, "#plan")


async def test_a_name_can_be_written_and_leaving_the_field_keeps_the_dialog(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of(monkeypatch)
    async with console(scene(jobs=(FILE,))) as pilot:
        await opened(pilot)
        await pilot.press("j", "e", *"jelly:v2", "escape")
        assert isinstance(pilot.app.screen, AskDeploy) and "--name" not in text_of(pilot, "#plan")
        await pilot.press("e", *"jelly:v2", "enter")
        assert "--name jelly:v2" in text_of(pilot, "#plan") and not asked
        await pilot.press("enter")
        assert asked == [WantedDeploy(9, "ollama", "jelly:v2")]


async def test_a_target_that_cannot_be_says_why_and_the_other_can(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of(monkeypatch)
    away = DeployOutlook(
        "llama-server", OUTLOOK.usual, {}, OUTLOOK.place, {"ollama": "no server answers at port 11434"}
    )
    async with console(scene(jobs=(FILE,))) as pilot:
        await opened(pilot, away)
        assert "--to llama-server" in text_of(pilot, "#plan"), "who answers is taken first"
        await pilot.press("l")
        assert "no server answers" in text_of(pilot, "#plan")
        await pilot.press("enter")
        assert not asked and isinstance(pilot.app.screen, AskDeploy)


async def test_what_a_start_at_boot_needs_is_said_before_it_is_asked_for(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_of(monkeypatch)
    kept = {False: ("logind ends it when you log out",)}
    without = replace(OUTLOOK, best="llama-server", boot_problem="no systemd of this user answers", kept=kept)
    async with console(scene(jobs=(FILE,))) as pilot:
        await opened(pilot, without)
        assert "▲ logind ends it when you log out" in text_of(pilot, "#plan")
        await pilot.press("j", "j", "j", "l")
        assert "no systemd of this user answers" in text_of(pilot, "#plan")
        await pilot.press("enter")
        assert not asked
        await pilot.press("l", "enter")
        assert asked == [WantedDeploy(9, "llama-server")]


SUMMARY = {
    "to": "ollama",
    "name": "judge:smollm2-135m-9",
    "url": "http://127.0.0.1:11434",
    "digest": "sha256:0123456789abcdef",
    "rollback": "judge:before-9",
    "server": "0.24.0",
    "answer": "### note\nPASS",
}


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_deployment_that_is_done_says_where_it_answers_and_what_it_can_go_back_to(
    console: Opened, size: tuple[int, int]
) -> None:
    result = {"message": "judge:smollm2-135m-9 serves in Ollama 0.24.0; " + "and more " * 20, "summary": SUMMARY}
    made = job(12, "done", "deploy judge · SmolLM2-135M", kind="deploy", task="judge", ended_at=NOW, result=result)
    async with console(scene(jobs=(made,)), size=size) as pilot:
        await pilot.press("3", "enter")
        shown = text_of(pilot, "#facts")
        assert "→ http://127.0.0.1:11434, as judge:smollm2-135m-9" in shown
        assert "digest 0123456789ab · to go back to: judge:before-9" in shown
        if size[1] == 40:
            assert "answered ### note PASS" in shown


async def test_an_upload_shows_how_far_it_is(console: Opened) -> None:
    sending = Progress(phase="sending", done=60_000_000, total=145_000_000, unit="bytes", eta_seconds=9, time=NOW)
    running = job(12, "running", "deploy judge · SmolLM2-135M", kind="deploy", task="judge", progress=sending)
    async with console(scene(jobs=(running,), detail=None)) as pilot:
        assert "60 MB of 145 MB" in text_of(pilot, "#detail") and "41 %" in text_of(pilot, "#queue")
        await pilot.press("3", "enter")
        assert "41 %" in text_of(pilot, "#facts") and "sending" in text_of(pilot, "#facts")


async def test_d_is_the_demo_where_no_file_is_selected(console: Opened) -> None:
    training = job(4, "done", "train planner · Qwen3-4B", ended_at=NOW)
    async with console(scene(jobs=(FILE, training))) as pilot:
        pilot.app.screen.queue.select(4)  # type: ignore[attr-defined]
        await pilot.press("3", "d")
        assert not isinstance(pilot.app.screen, AskDeploy) and "demo" in str(pilot.app.screen.question)  # type: ignore[attr-defined]


async def test_a_model_of_a_server_is_checked_for_what_it_was_deployed_for(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str | None, ...]] = []
    monkeypatch.setattr(actions, "check_parity", lambda context, *what: asked.append(what))
    jobs: tuple[JobRow, ...] = ()
    async with console(scene(jobs=jobs)) as pilot:
        await pilot.press("y")
        screen = pilot.app.screen
        assert isinstance(screen, AskParity)
        await pilot.press("enter")
        assert not asked and isinstance(pilot.app.screen, AskParity), "the servers were not asked yet"
        screen.post_message(AskParity.NamesRead(NAMES))
        await pilot.pause()
        shown = text_of(pilot, "#plan")
        assert "bakehouse parity served:judge-smollm2-135m-9 --task judge --model SmolLM2-135M" in shown
        assert "far: no answer" in shown, "a server that is away hides nothing"
        await pilot.press("l", "l", "j", "h", "enter")
        assert asked == [("box:gemma", "planner", "SmolLM2-135M")]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_the_look_of_a_deployment(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = scene(jobs=(FILE,))

    async def asked(pilot: Pilot[None]) -> None:
        await pilot.press("3", "d")
        await seen(pilot, lambda: isinstance(pilot.app.screen, AskDeploy), "the dialog")
        pilot.app.screen.post_message(AskDeploy.OutlookRead(OUTLOOK))
        await pilot.press("j", "l")

    assert snap_compare(app, run_before=asked, terminal_size=size)


async def test_the_key_of_a_deployment_stands_in_the_last_line_of_a_file(console: Opened) -> None:
    async with console(scene(jobs=(FILE,))) as pilot:
        await pilot.press("3")
        assert "deploy" in keys_of(pilot)
