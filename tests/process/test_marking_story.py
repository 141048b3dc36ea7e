"""From production inputs to a bake-off that counts them: a real runner asks the stand-in of Ollama, a person marks by keys."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.config.project import Project, load_project
from core.store.results import bakeoff_answers, list_bakeoffs, run_scores
from tests.support.commands import called
from tests.support.drafted import GOLDEN, LETTERS, ONE, OTHER, SAID, letters_project
from tests.support.ollama_standin import OllamaStandin
from tests.support.queueing import Queue
from tests.tui.conftest import seen, text_of
from tui.app import ConsoleApp
from tui.screens.marking import MarkingScreen


def answering(said: Mapping[str, str]) -> Callable[[str, Mapping[str, Any]], str]:
    """What a model says to the letter that stands in the prompt."""

    def answer(prompt: str, options: Mapping[str, Any]) -> str:
        known = next((name for name, text in LETTERS.items() if text in prompt), None)
        return said[known] if known is not None else "VERDICT: ASKS\nDAYS: 7"

    return answer


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """A command that is done, and its document."""
    code, out, _ = called(capsys, [*words, "--json"])
    assert code == 0, out
    found: dict[str, Any] = json.loads(out)
    return found


async def mark_all(queue: Queue, project: Project, right: str) -> None:
    """Every pair by a key: the answer of `right`, whom the test knows and the screen does not name; what it does not show is
    skipped."""
    app = ConsoleApp(queue.home, lambda: project)
    app.feed.start()
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await seen(pilot, lambda: "drafts letters" in text_of(pilot), "the drafts in the queue")
            await pilot.press("3", "M")
            await seen(pilot, lambda: isinstance(app.screen, MarkingScreen), "the marking screen")
            screen = app.screen
            assert isinstance(screen, MarkingScreen)
            await seen(pilot, lambda: screen.view is not None, "the answers")
            while screen.view is not None and (offer := screen.view.offer) is not None:
                assert ONE not in text_of(pilot).replace(str(screen.told.plain), "")
                left = offer.left.candidate.endswith(right)
                shows = not screen.view.expected[0 if left else 1].missing if screen.view.expected else False
                await pilot.press(("left" if left else "right") if shows else "s")
                await seen(
                    pilot, lambda seen_before=offer: screen.view and screen.view.offer != seen_before, "the next pair"
                )
            assert "Nothing is left to mark" in text_of(pilot)
    finally:
        app.feed.stop()
        app.reader.stop()
        app.feed.join()


async def test_drafts_are_marked_by_keys_and_a_bake_off_counts_them(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = letters_project(tmp_path / "project")
    (project.root / "bakehouse.yaml").write_text(f"id: post-room\njobs: {{python: {sys.executable}}}\n")
    project = load_project(project.root)
    file = tmp_path / "letters.jsonl"
    file.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in LETTERS.items()))
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    monkeypatch.chdir(project.root)
    with OllamaStandin() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        for number, name in enumerate((ONE, OTHER), 1):
            server.add_model(
                name, blob=f"sha256:{number}" + "1" * 63, load_seconds=0.05, generates=answering(SAID[name])
            )
        names = (f"ollama:{ONE}", f"ollama:{OTHER}")
        drafted = told(capsys, "golden", "draft", "letters", "--inputs", str(file), "--candidates", *names, "--wait")
        assert (drafted["job"]["kind"], drafted["job"]["state"]) == ("drafts", "done")
        with queue.database() as connection:
            assert list_bakeoffs(connection) == [] and run_scores(connection) == {}
        await mark_all(queue, project, OTHER)
        golden = project.golden(project.task("letters")).inputs
        assert (project.root / "golden/letters.yaml").read_text().startswith(GOLDEN)
        assert sorted(one.id for one in golden[2:]) == sorted(LETTERS)
        assert {one.chosen for one in golden[2:]} == {"disagreement", "random"}
        assert all(one.use == "choose" for one in golden if one.chosen == "disagreement")
        asked = told(capsys, "bakeoff", "letters", *names, "--wait")
        job = asked["job"]["id"]
        with queue.database() as connection:
            answers = bakeoff_answers(connection, job)
            assert [one.job_id for one in list_bakeoffs(connection)] == [job]
        assert {(one["candidate"], one["input_id"]) for one in answers} == {
            (name, one.id) for name in (ONE, OTHER) for one in golden
        }
        needs = told(capsys, "golden", "needs", "letters", "--difference", "0.3")["needs"]
        # What was chosen for the disagreement is in the bake-off, and in no estimate.
        assert needs["have"] == needs["paired"] == sum(one.chosen != "disagreement" for one in golden)
        assert needs["disagreement"] == len(golden) - needs["have"]
