"""A bake-off in full: real answers, really scored, out of a real home."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.config.project import shipped
from core.files import append_line
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.reasons import Reason
from core.scoring.answers import Answer, answer_key, append_answer, read_answers, repeat_numbers
from core.scoring.scorer import score_answers
from core.store.database import open_database, transaction
from core.store.jobs import change_state
from core.store.results import import_answers
from core.store.scores import import_scores
from core.submission.input_store import keep_document
from tests.support.invented_answers import answer as invented_answer
from tests.support.job_files import job_file
from tests.support.stored import add_job
from tests.tui.conftest import seen, text_of
from tests.tui.scene import scene
from tui.app import ConsoleApp
from tui.screens.result_rows import check_rows
from tui.screens.results import Results

RIGHT = """### {note} — {verdict} (4.0/5)
| Criterion | Score | Reason |
|---|---|---|
| Clarity | 4 | Plain |
| Order | 4 | In turn |
| Detail | 4 | Times |
| Evidence | 4 | AuditAnswer |
| Use | 4 | Again |

SUMMARY: 1 note, 1 pass, 0 fail"""
NASTY = "Sure! \x1b[2J[bold]Here[/] is my verdict\x07"


INPUTS = len(shipped().golden(shipped().task("judge")).inputs)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A finished bake-off of the shipped judge task: one candidate keeps the form, one greets and rambles."""
    home = Home(tmp_path / "home").create()
    project = shipped()
    task, model = project.task("judge"), project.model("SmolLM2-135M")
    inputs = list(project.golden(task).inputs)
    golden = keep_document(home, [item.model_dump(mode="json") for item in inputs], "judge.golden.json", "test")
    candidates = [
        CandidateSpec(name="small base", form="base", model=model),
        CandidateSpec(name="small tuned", form="adapter", model=model, path=str(tmp_path)),
    ]
    with contextlib.closing(open_database(home)) as connection:
        title = "bake-off judge, 2 models"
        job_id = add_job(connection, kind="bakeoff", title=title, project_id=project.id, on_restart="hold")
        run = home.run_dir(job_id)
        run.path.mkdir(parents=True)
        spec = BakeoffSpec(task=task, golden=golden, candidates=candidates, incumbent="small base", repeats=2)
        job_file(
            home, spec, job_id, project_id=project.id, project_root=str(project.root), submitted_at=time.time()
        ).save(run)
        for candidate in ("small base", "small tuned"):
            for item in inputs:
                for repeat in repeat_numbers(2):
                    expected = json.loads(json.dumps(item.expect))
                    note = (expected.get("note") or ["untitled"])[0] if isinstance(expected.get("note"), list) else "x"
                    slips = item is inputs[0] and repeat == 2
                    tuned = candidate == "small tuned" and not slips
                    text = RIGHT.format(note=note, verdict="PASS") if tuned else NASTY
                    append_answer(run.answers, answer(candidate, item.id, repeat, text))
        for score in score_answers(task, inputs, read_answers(run.answers), 1.0):
            append_line(run.scores, score.to_json(), durable=False)
        with transaction(connection):
            import_answers(connection, job_id, run)
            import_scores(connection, job_id, run)
        for state in ("ready", "starting", "running", "done"):
            with transaction(connection):
                attempt = {"attempt": 1} if state == "starting" else {}
                change_state(connection, job_id, state, Reason("a_test"), "tester", **attempt)  # type: ignore[arg-type]
    return home


def answer(candidate: str, input_id: str, repeat: int, text: str) -> Answer:
    key = answer_key(
        task="judge", weights=candidate, prompt_sha256="0", sampling={}, seed=0, repeat=repeat, input_id=input_id
    )
    usual = {"seed": 0, "fault": None, "prompt_tokens": 10, "completion_tokens": 20, "seconds": 1.5}
    rest = {"tokens_per_second": 13.3, "prompt_sha256": "0", "time": time.time()}
    return invented_answer(candidate, "judge", input_id, repeat, text, key=key, **usual, **rest)


def score_count(home: Home) -> int:
    """How many scores are stored."""
    with contextlib.closing(open_database(home)) as connection:
        return int(connection.execute("SELECT count(*) FROM scores").fetchone()[0])


async def test_the_leaderboard_the_checks_and_the_answers(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # The runner is not what this is about.
    monkeypatch.setattr("tui.model.background_reader.BackgroundReader._start_runner", lambda self: None)
    app = ConsoleApp(home, shipped)
    app.feed.start()
    try:
        async with app.run_test(size=(140, 44)) as pilot:
            await seen(pilot, lambda: "◆ small tuned" in text_of(pilot, "#bakeoff"), "the leaderboard")
            pane = text_of(pilot, "#bakeoff")
            assert f"judge  {INPUTS} inputs × 2" in pane and "small tuned" in pane and " over small base" in pane
            assert "small tuned" in text_of(pilot, "#fleet")
            await pilot.press("enter")
            assert isinstance(pilot.app.screen, Results)
            await seen(pilot, lambda: "my verdict" in text_of(pilot, "#answers"), "the answers")
            table = text_of(pilot, "#table").splitlines()
            assert "to small base" in table[1]
            assert "◆ small tuned" in table[2] and "small base" in table[3]
            checks = text_of(pilot, "#checks")
            assert "heading" in checks and "▪▪" in checks and "content" in checks
            await pilot.press("j")
            assert "×" * INPUTS in text_of(pilot, "#checks")
            assert "text before the heading" in text_of(pilot, "#checks")
            answers = text_of(pilot, "#answers")
            assert "Sure! [bold]Here[/] is my verdict" in answers and "\x1b" not in answers
            assert f"‹ 1 of {INPUTS} ›" in answers and "repeat 1 of 2 · 1/" in answers, "it adds nothing, at least"
            await pilot.press("k")
            answers = text_of(pilot, "#answers")
            # The worst repeat leads, with its own text and its own figures; the other one is a key away.
            assert "repeat 2 of 2, worst · 1/" in answers and "× no-preamble: " in answers
            assert "Criterion" not in answers
            await pilot.press("r")
            answers = text_of(pilot, "#answers")
            assert "repeat 1 of 2 · " in answers and "Criterion" in answers and "worst" not in answers
            await pilot.press("r")
            assert "repeat 2 of 2, worst" in text_of(pilot, "#answers")
            await pilot.press("n")
            assert f"‹ 2 of {INPUTS} ›" in text_of(pilot, "#answers")
            with contextlib.closing(open_database(home)) as connection:
                connection.execute("DELETE FROM scores")
            await pilot.press("R")
            await seen(pilot, lambda: score_count(home) > 0, "the scores")
            assert "is my verdict" in text_of(pilot, "#answers")
            await pilot.press("p", "p")
            assert f"‹ {INPUTS} of {INPUTS} ›" in text_of(pilot, "#answers")
    finally:
        app.feed.stop()
        app.reader.stop()


async def test_a_bakeoff_whose_inputs_are_gone_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.model.background_reader.BackgroundReader._start_runner", lambda self: None)
    for copy in home.inputs.glob("*/*"):
        copy.unlink()
    app = ConsoleApp(home, shipped)
    app.feed.start()
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await seen(pilot, lambda: app.context.snapshot.boards, "the boards")
            await seen(pilot, lambda: "judge  bake-off 1" in text_of(pilot, "#bakeoff"), "which")
            assert "golden inputs" in " ".join(text_of(pilot, "#bakeoff").replace("│", " ").split())
    finally:
        app.feed.stop()
        app.reader.stop()


def test_a_narrow_frame_says_whole_what_its_marks_are() -> None:
    ranked = next(one for board in scene().boards or () for one in board.candidates if one.checks)
    whole = f"worst repeat of each of {len(ranked.checks[0].worst)} inputs"
    for name, width, said in (
        ("base", 44, whole),
        ("SmolLM2-135M tuned", 44, "worst repeats"),
        ("SmolLM2-135M tuned", 90, whole),
        ("Qwen3-4B tuned, q8", 36, "worst repeats"),
    ):
        head = check_rows(replace(ranked, name=name), width, 20)[0].plain
        assert head == f"{name}   {said}"
