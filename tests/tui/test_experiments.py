"""The screens of experiments: all of a project, what one would queue, and one with its arms, differences and answer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import Project
from core.experiments.shown import ShownExperiment, shown_experiment
from core.home import Home
from core.store.database import open_database, transaction
from tests.support.stored_experiment import LARGE, NAME, SMALL, home_with_experiment
from tests.support.unstarted import start_nothing
from tests.tui.conftest import keys_of, seen, text_of
from tui.app import ConsoleApp
from tui.screens.confirm import Confirm
from tui.screens.experiment import ExperimentScreen
from tui.screens.experiments import ExperimentsScreen
from tui.screens.job import JobScreen
from tui.screens.results import Results
from tui.screens.write_report import AskReport
from tui.widgets.experiment_rows import experiment_list_rows, experiment_rows


@contextlib.asynccontextmanager
async def live(
    home: Home, project: Project, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[Pilot[None]]:
    """A console that reads this home; no runner is started for it."""
    monkeypatch.setattr("tui.model.background_reader.BackgroundReader._start_runner", lambda self: None)
    app = ConsoleApp(home, lambda: project)
    app.feed.start()
    try:
        async with app.run_test(size=size) as pilot:
            yield pilot
    finally:
        app.feed.stop()
        app.reader.stop()


def stored(folder: Path, blocks: int = 3) -> tuple[Home, Project, ShownExperiment]:
    home, project = home_with_experiment(folder, blocks=blocks)
    with contextlib.closing(open_database(home)) as connection:
        return home, project, shown_experiment(home, connection, project, NAME)


async def test_from_the_list_to_the_answer_and_on_to_what_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project, _ = stored(tmp_path)
    async with live(home, project, monkeypatch) as pilot:
        await pilot.press("E")
        assert isinstance(pilot.app.screen, ExperimentsScreen)
        await seen(pilot, lambda: "precision-rank" in text_of(pilot, "#rows"), "the experiments")
        assert NAME in text_of(pilot, "#rows") and "12 of 12 jobs done" in text_of(pilot, "#rows")
        await pilot.press("enter")
        screen = pilot.app.screen
        assert isinstance(screen, ExperimentScreen)
        await seen(pilot, lambda: f"{SMALL} bf16 wins" in text_of(pilot, "#rows"), "the answer")
        assert "◆" in text_of(pilot, "#rows") and "├" in text_of(pilot, "#rows")
        assert "⏎ open" not in keys_of(pilot), "no arm is selected"
        await pilot.press("right_square_bracket")
        await pilot.press("right_square_bracket")
        assert screen.found is not None and screen.found.names[screen.selected or ""] == f"{LARGE} 4-bit"
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, JobScreen)
        await pilot.press("escape")
        await pilot.press("b")
        assert isinstance(pilot.app.screen, Results) and pilot.app.screen.job_id == screen.counting
        while isinstance(pilot.app.screen, Results):
            await pilot.press("escape")
        assert pilot.app.screen is screen
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, ExperimentsScreen)


async def test_the_end_of_the_answer_is_reached_though_an_arm_is_selected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project, _ = stored(tmp_path)
    async with live(home, project, monkeypatch, size=(80, 24)) as pilot:
        await pilot.press("E")
        await seen(pilot, lambda: NAME in text_of(pilot, "#rows"), "the experiments")
        await pilot.press("enter")
        screen = pilot.app.screen
        assert isinstance(screen, ExperimentScreen)
        await seen(pilot, lambda: "wins" in text_of(pilot, "#rows"), "the answer")
        last = f"→ Ship {SMALL} bf16."
        for far in (("G",), ("space",) * 4, ("j",) * 60):
            await pilot.press("g", "right_square_bracket")
            assert screen.selected is not None and last not in text_of(pilot, "#rows")
            await pilot.press(*far)
            assert last in text_of(pilot, "#rows"), far


async def test_the_report_is_written_by_a_key_and_over_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, project, _ = stored(tmp_path)
    monkeypatch.chdir(tmp_path)
    async with live(home, project, monkeypatch) as pilot:
        await pilot.press("E")
        await seen(pilot, lambda: NAME in text_of(pilot, "#rows"), "the experiments")
        await pilot.press("enter")
        screen = pilot.app.screen
        assert isinstance(screen, ExperimentScreen)
        await seen(pilot, lambda: screen.found, "the answer")
        await pilot.pause()
        assert "w report" in keys_of(pilot)
        for form, ending, head in (("HTML", "html", "<!doctype html>"), ("Markdown", "md", "# ")):
            await pilot.press("w")
            dialog = pilot.app.screen
            assert isinstance(dialog, AskReport)
            if form == "Markdown":
                await pilot.press("l")
            file = tmp_path / f"{NAME}.{ending}"
            assert dialog.chosen().file == file and f"report {NAME} --{form.lower()} {file}" in dialog.command
            await pilot.press("enter")
            await seen(pilot, file.exists, f"the report as {form}")
            assert file.read_text().lower().startswith(head) and f"{SMALL} bf16" in file.read_text()
        told: list[str] = []
        monkeypatch.setattr(screen.context, "post", lambda message: told.append(message.text))
        before = file.read_bytes()
        await pilot.press("w", "l", "enter")
        await seen(pilot, lambda: told, "what came of it")
        assert "the file is there already" in told[0] and file.read_bytes() == before


async def test_a_file_that_was_not_run_shows_what_it_would_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project, _ = stored(tmp_path, blocks=0)
    async with live(home, project, monkeypatch) as pilot:
        await pilot.press("E")
        screen = pilot.app.screen
        assert isinstance(screen, ExperimentsScreen)
        await seen(pilot, lambda: screen.experiments is not None, "the experiments")
        while screen.selected != "precision-rank":
            await pilot.press("j")
        assert "⏎ what it takes" in keys_of(pilot)
        await pilot.press("enter")
        await seen(pilot, lambda: screen.outlook is not None or bool(screen.problem), "the plan")
        if screen.outlook is not None:  # where the packages of a training are installed
            assert "held equal" in text_of(pilot, "#rows") and "⏎ queue it" in keys_of(pilot)
            assert "not known is how long a training takes" in text_of(pilot, "#rows"), "what it takes is said before"
            await pilot.press("escape")
            assert screen.outlook is None and pilot.app.screen is screen


async def test_hours_of_trainings_are_queued_when_somebody_has_seen_what_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_nothing(tmp_path, monkeypatch)
    monkeypatch.setattr("core.experiment_submission.retry.request", lambda *told, **named: None)
    home, project, _ = stored(tmp_path)
    with contextlib.closing(open_database(home)) as connection, transaction(connection):
        connection.execute("DELETE FROM experiment_runs WHERE seed = 2")

    def trainings() -> int:
        with contextlib.closing(open_database(home)) as connection:
            return int(connection.execute("SELECT count(*) FROM jobs WHERE kind = 'train'").fetchone()[0])

    before = trainings()
    async with live(home, project, monkeypatch) as pilot:
        await pilot.press("E")
        await seen(pilot, lambda: NAME in text_of(pilot, "#rows"), "the experiments")
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, ExperimentScreen), "the experiment")
        for answer, queued in (("escape", 0), ("y", 3)):
            await pilot.press("R")
            await seen(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
            dialog = pilot.app.screen
            assert isinstance(dialog, Confirm) and "3 trainings" in dialog.explanation
            assert "takes about" in dialog.explanation and trainings() == before
            await pilot.press(answer)
            await seen(pilot, lambda queued=queued: trainings() == before + queued, "what was agreed to")  # type: ignore[misc]


@pytest.mark.parametrize("width", [30, 50, 76, 116, 160])
@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_no_row_is_wider_than_its_room(tmp_path: Path, width: int, blocks: int) -> None:
    *_, found = stored(tmp_path, blocks)
    rows = experiment_rows(found, found.tasks[0], found.tasks[0].evidence.arms[0].key, width)
    listed = [
        {"name": name, "jobs": jobs, "problem": problem, "tasks": ["judge"], "question": "Which?", "arms": ["a", "b"]}
        for name, jobs, problem in (
            ("a" * 60, {"done": 3, "failed": 1}, None),
            ("b", None, None),
            ("c", None, "configs/experiments/c.yaml:3: unknown key `sed`"),
        )
    ]
    rows += experiment_list_rows(listed, "c", width)
    assert all(line.width <= width for line in rows)
    assert sum(line.mark == "chosen" for line in rows) == 2


def test_the_columns_of_the_list_stand_in_line() -> None:
    listed = [
        {"name": name, "jobs": jobs, "problem": None, "tasks": ["judge"], "question": None, "arms": []}
        for name, jobs in (("one", {"done": 3, "failed": 1}), ("another-of-them", None), ("c", {"done": 3}))
    ]
    head, *rows = [line.plain for line in experiment_list_rows(listed, None, 76)]
    assert {row.index("judge") for row in rows} == {head.index("tasks")}
    assert {len(row[: head.index("jobs")].rstrip()) < head.index("jobs") for row in rows} == {True}


def test_before_anything_is_measured_no_answer_is_to_be_believed(tmp_path: Path) -> None:
    for blocks, title in ((0, "what is missing"), (1, "before you believe it")):
        *_, found = stored(tmp_path / f"{blocks}", blocks)
        shown = [line.plain for line in experiment_rows(found, found.tasks[0], None, 76)]
        assert (title in shown) and ("before you believe it" in shown) == bool(blocks)
