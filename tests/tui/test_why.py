"""`why` in the console: a key on the job, the records read beside, a screen of causes, tests and symptoms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from core.config.project import shipped
from core.diagnosis.diagnosis import Diagnosis, diagnose
from core.diagnosis.next_test import NextTest
from core.home import Home
from core.store.jobs import list_jobs
from tests.support.recorded_lineage import ADAPTER, BAD, Q8_0, Records, whole_chain
from tests.support.waiting import PATIENCE_SECONDS
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, job, scene
from tui import actions
from tui.actions import RequestDone
from tui.app import ConsoleApp
from tui.screens.dashboard import Dashboard
from tui.screens.job import JobScreen
from tui.screens.why import WhyScreen
from tui.widgets.diagnosis_rows import diagnosis_lines

ECHO = "You judge notes. " * 20


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """A lineage whose file lost its template, and writes the same over and over."""
    made = Records(tmp_path)
    training, _, _, quantized = whole_chain(made, template=None)
    made.bakeoff(
        {ADAPTER: training, Q8_0: quantized},
        quality={Q8_0: BAD},
        write=lambda name, *_: ECHO if name == Q8_0 else "",
        values={Q8_0: {"more_prompt_tokens": -9}},
    )
    return made


@pytest.fixture
def found(records: Records) -> Diagnosis:
    return diagnose(records.home, records.connection, 1)


@pytest.mark.parametrize("width", [24, 36, 76, 116, 200])
def test_no_row_is_wider_than_its_room_and_none_is_lost(found: Diagnosis, width: int) -> None:
    rows = diagnosis_lines(found, width)
    assert all(row.width <= width for row in rows)
    said = "".join("".join(row.plain.split()) for row in rows)
    assert "thefilehasnochattemplate" in said.replace("GGUF", "").casefold()
    assert "bakehouseparity4--wait" in said or not found.tests


def test_the_surest_cause_stands_first_with_its_figure_and_its_remedy(found: Diagnosis) -> None:
    shown = [row.plain for row in diagnosis_lines(found, 116)]
    assert shown[0] == "Certain: the GGUF file has no chat template." and shown[1].startswith("→ convert")
    assert any(row.startswith("✗ SmolLM2 Q8_0, bake-off 5: repetition (24 of 24)") for row in shown[2:5])
    first = shown.index("Causes")
    assert not any("likely: " in row or "possible: " in row for row in shown), (
        "nothing is guessed where a record says it"
    )
    assert shown[first + 1] == "1 certain: the GGUF file has no chat template · convert 3"
    block = "\n".join(shown[first : first + 8])
    assert "GGUF header: tokenizer.chat_template = none" in block and "→ " in block
    assert any("would explain: " in row and "repetition" in row for row in shown)
    assert shown.index("Causes") < shown.index("Symptoms") < shown.index("Scores by stage")


async def test_the_key_is_there_for_what_makes_a_model_and_leads_back(console: Opened) -> None:
    made = (job(9, "done", "train judge · m", task="judge", ended_at=NOW), job(8, "done", "pull m", ended_at=NOW - 9))
    async with console(scene(jobs=made), size=(120, 40)) as pilot:
        await pilot.press("3", "W")
        assert isinstance(pilot.app.screen, WhyScreen) and "reading the records" in text_of(pilot, "#rows")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Dashboard)
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, JobScreen)
        await pilot.press("W")
        assert isinstance(pilot.app.screen, WhyScreen)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, JobScreen)
        await pilot.press("escape", "j", "W")
        assert isinstance(pilot.app.screen, Dashboard)  # of a pull there is nothing to ask


async def test_a_diagnosis_is_shown_and_scrolled_and_a_problem_is_told(console: Opened, found: Diagnosis) -> None:
    made = (job(1, "done", "train judge · m", task="judge", ended_at=NOW),)
    async with console(scene(jobs=made), size=(80, 24)) as pilot:
        await pilot.press("3", "W")
        screen = pilot.app.screen
        assert isinstance(screen, WhyScreen)
        screen.post_message(WhyScreen.Diagnosed(found))
        await pilot.pause()
        assert "has no chat template" in text_of(pilot, "#rows") and "r read again" in keys_of(pilot)
        assert "rows below" in text_of(pilot, "#rows")
        await pilot.press("G")
        assert "Looked at" in text_of(pilot, "#rows") and "rows below" not in text_of(pilot, "#rows")
        screen.post_message(WhyScreen.Diagnosed(None, "the job file is gone"))
        await pilot.pause()
        assert "✗ the job file is gone" in text_of(pilot, "#rows")


async def test_the_records_are_read_in_a_thread_of_a_real_console(records: Records) -> None:
    jobs = tuple(list_jobs(records.connection))
    app = ConsoleApp(records.home, shipped, live=False)
    async with app.run_test(size=(120, 40)) as pilot:
        app.show(replace(scene(), jobs=jobs))
        await pilot.pause()
        screen = WhyScreen(app.screen.context, 1)  # type: ignore[attr-defined]
        app.push_screen(screen)
        await pilot.pause()
        screen.action_read()
        await seen(pilot, lambda: "has no chat template" in text_of(pilot, "#rows"), "the diagnosis")
        assert not screen.busy


async def test_the_cheapest_test_is_queued_by_a_key_after_a_yes(
    console: Opened, found: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(actions, "run_command", lambda context, words: asked.append(list(words)))
    made = (job(1, "done", "train judge · m", task="judge", ended_at=NOW),)
    async with console(scene(jobs=made)) as pilot:
        await pilot.press("3", "W")
        screen = pilot.app.screen
        assert isinstance(screen, WhyScreen)
        await pilot.press("t")
        assert pilot.app.screen is screen, "nothing was read yet"
        looked = replace(found, tests=(NextTest("lengths", "bakehouse audit judge", ()), *found.tests))
        screen.post_message(WhyScreen.Diagnosed(looked))
        await pilot.pause()
        await pilot.press("t", "y")
        assert asked == [["parity", "4"]], "an audit is read at once and is no job; nobody waits for one"
        screen.post_message(WhyScreen.Diagnosed(replace(found, tests=())))
        await pilot.pause()
        assert "test" not in keys_of(pilot)


@pytest.mark.process
def test_a_command_that_is_refused_says_why(tmp_path: Path) -> None:
    told: SimpleQueue[RequestDone] = SimpleQueue()
    context: Any = SimpleNamespace(
        home=Home(tmp_path / "home").create(),
        find_project=shipped,
        post=told.put,
        feed=SimpleNamespace(wake=lambda: None),
    )
    actions.run_command(context, ["parity", "99"])
    done = told.get(timeout=PATIENCE_SECONDS)
    assert done.failed and "no job 99" in done.text
