"""`bakehouse results`: from stored answers to what a person reads; and the words for how jobs ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.cli.common import ending_in_words
from core.errors import InputError
from core.reasons import Reason
from core.store.job_reasons import job_reason
from core.store.jobs import State, get_job
from tests.support.commands import called
from tests.support.stored import add_job, fresh
from tests.support.stored_bakeoff import home_with_bakeoffs

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands on a home with two bake-offs of `judge`: job 1 is done, job 2 has no answers yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home, _ = home_with_bakeoffs(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))

    def command(*words: str) -> tuple[int, str, str]:
        return called(capsys, ["results", *words])

    return command


def test_an_answer_is_shown_with_what_was_asked_expected_and_missed(run: Run) -> None:
    code, out, _ = run("1", "--answers", "--candidate", "tuned")
    assert code == 0
    assert out == (
        "── tuned · sofa · repeat 1\n"
        "   asked    A grey sofa, 110  (and 1 more line)\n"
        "   expected price: 110\n"
        "   checks   1 of 2 passed\n"
        "   ✗        price equals expect (content): 11 where 110 is expected\n"
        "   │ PRICE: 11\n"
        "\n"
        "── tuned · tent · repeat 1\n"
        "   asked    A tent for 65\n"
        "   expected price: 65\n"
        "   checks   all 2 passed\n"
        "   │ PRICE: 65\n"
        "\n"
    )


def test_an_answer_that_failed_for_one_reason_says_it_once(run: Run) -> None:
    _, out, _ = run("1", "--answers", "--candidate", "base", "--input", "tent")
    assert "── base · tent · repeat 1, empty\n" in out
    assert "   checks   all 2 failed: empty answer\n" in out


def test_the_answers_as_json_have_their_scores(run: Run) -> None:
    _, out, _ = run("1", "--answers", "--json")
    answers = json.loads(out)["answers"]
    (sofa,) = [one for one in answers if (one["candidate"], one["input_id"]) == ("tuned", "sofa")]
    assert [(one["check_id"], one["value"]) for one in sofa["scores"]] == [("line", 1), ("price equals expect", 0)]


def test_a_tasks_name_shows_its_newest_bake_off_with_answers(run: Run) -> None:
    assert run("judge") == run("1")
    code, _, err = run("judges")
    assert code == 4
    assert "there are bake-offs of: judge" in err


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("done", job_reason("done", message="loss 2 → 1"), "loss 2 → 1"),
        ("cancelled", job_reason("cancelled_before_start"), "Cancelled before it started"),
        ("failed", job_reason("exit_code", exit_code=1), "failed: Exit code 1"),
        ("lost", job_reason("end_unseen", step=40), "Lost: exit status unknown; retry resumes from step 40"),
    ],
)
def test_how_a_job_ended_is_said_once(tmp_path: Path, state: State, reason: Reason, words: str) -> None:
    _, connection = fresh(tmp_path)
    job = replace(get_job(connection, add_job(connection)), state=state, reason=reason)
    connection.close()
    assert ending_in_words(job) == words


def test_a_path_is_not_said_again_by_its_last_part() -> None:
    assert str(InputError("no such model folder", file="/nope", key="nope")) == "/nope: no such model folder"
    assert str(InputError("is wrong", file="/a.yaml", line=3, key="a")) == "/a.yaml:3: a: is wrong"
