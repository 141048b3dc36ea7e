"""`bakehouse results` of a bake-off over several tasks: matrix, boards, inputs, answers compared, conditions for scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.cli.results_answers import chosen_repeat
from core.scoring.answers import repeat_numbers
from core.serving.answering import ServedIdentity
from core.serving.errors import ServerError
from tests.support.commands import called
from tests.support.scripted_model import ScriptedModel
from tests.support.stored_tasks import BASE, INPUTS, OLD, OTHER, REPEATS, SERVED, TASKS, TUNED, answer, home_with_tasks
from tui.model.answers import CheckSaid, answer_read, worst

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        made, job_id = home_with_tasks(folder)
    return made.root, job_id


@pytest.fixture
def run(home: tuple[Path, int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home[0].parent / "config"))
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home[0]))
    monkeypatch.setenv("COLUMNS", "100")

    def command(*words: str) -> tuple[int, str, str]:
        return called(capsys, ["results", *words])

    return command


def row_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if name in line)


def test_several_tasks_show_their_matrix_and_one_task_its_board(run: Run) -> None:
    code, out, _ = run("3")
    assert code == 0
    head = next(line for line in out.splitlines() if line.startswith("candidate"))
    assert [word for word in head.split() if word in TASKS] == list(TASKS)
    best_at_planner = next(line for line in out.splitlines() if line.startswith(SERVED))
    assert best_at_planner.count("◆") == 2 and best_at_planner.count("↑") == 3
    assert "◆?↑" in best_at_planner  # an answer is missing at tidy
    assert f"{SERVED}: wins judge, planner and tidy" in out and f"{TUNED}: wins judge; loses planner" in out
    assert "1 of 36 answers missing at tidy" in out
    tuned = next(line for line in out.splitlines() if line.startswith(TUNED) and line.endswith("loses"))
    assert "judge  planner" in tuned  # what tuning for the one cost at the other
    assert "against SmolLM2 base" in out and "verdict" not in out
    board = run("3", "--task", "tidy")[1]
    assert board.startswith("Bake-off tidy") and "verdict" in board
    every = run("3", "--all")[1]
    assert every.startswith(out.split("\n\n")[0]) and all(f"Bake-off {task}: 12 inputs" in every for task in TASKS)


def test_a_tasks_name_finds_the_bake_off_over_several(run: Run) -> None:
    assert run("planner") == run("3", "--task", "planner")
    code, _, err = run("3", "--task", "judges")
    assert code == 4 and "judge, planner, tidy" in err


def test_speed_has_its_own_columns_and_a_mark_where_others_used_the_server(run: Run) -> None:
    out = run("3", "--task", "tidy")[1]
    lines = out.splitlines()
    at = next(index for index, line in enumerate(lines) if "s/answer" in line)
    served = next(line for line in lines[at:] if SERVED in line)
    assert "3.00~" in served and "0.40~" in served and " 6.5 " in served and " 5.9 " in served
    assert "~" not in row_of("\n".join(lines[at:]), BASE)
    judge = run("3", "--task", "judge")[1]
    assert "~" not in judge


def test_the_empty_input_is_what_the_old_model_fails(run: Run) -> None:
    code, out, _ = run("3", "--inputs", "--task", "planner", "--input", "empty")
    assert code == 0
    rows = [line for line in out.splitlines() if line.startswith("empty ")]
    assert "".join(rows).count("0.00 e") == 1
    whole = run("3", "--inputs", "--task", "planner")[1]
    assert [line.split()[0] for line in whole.splitlines() if line.startswith(("empty ", "note"))][
        : len(INPUTS)
    ] == list(INPUTS)
    worst = run("3", "--inputs", "--task", "planner", "--input", "note-1", "--worst")[1]
    assert worst != run("3", "--inputs", "--task", "planner", "--input", "note-1")[1]
    assert "content" in run("3", "--inputs", "--task", "planner", "--part", "content")[1]


def test_two_answers_are_compared_and_only_what_differs_is_marked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("3", "--diff", OLD, SERVED, "--input", "note-2", "--task", "planner")
    wide = run(*words)[1]
    assert "│" in wide and "⟦" in wide and "\x1b" not in wide
    monkeypatch.setenv("COLUMNS", "60")
    narrow = run(*words)[1]
    assert max(map(len, narrow.splitlines())) <= 60
    document = json.loads(run(*words, "--json", "--repeat", "2")[1])
    assert (document["a"]["candidate"], document["b"]["candidate"]) == (OLD, SERVED)
    assert document["a"]["repeat"] == document["b"]["repeat"] == 2
    left = "".join(piece["text"] for row in document["rows"] for piece in row["left"] or ())
    assert left == "".join(document["a"]["text"].splitlines())


def test_a_repeat_is_named_by_the_number_that_the_bake_off_stored(run: Run) -> None:
    out = run("3", "--answers", "--task", "planner", "--candidate", OLD, "--input", "note-2")[1]
    assert re.findall(r"· repeat (\d+)", out) == [str(number) for number in repeat_numbers(REPEATS)]
    words = ("3", "--diff", OLD, SERVED, "--input", "note-2", "--task", "planner")
    for number in repeat_numbers(REPEATS):
        document = json.loads(run(*words, "--json", "--repeat", str(number))[1])
        assert document["a"]["repeat"] == document["b"]["repeat"] == number
        assert f"repeat {number} of {REPEATS}" in run(*words, "--repeat", str(number))[1]


def test_commands_and_console_take_the_same_repeat_for_the_worst() -> None:
    values = {
        1: (1.0, 0.0, 0.0),
        2: (0.6, 0.6, 0.0),
        3: (1.0, 1.0, 0.0),
    }  # the second passes none, the first has fewer points
    own = [answer(BASE, "judge", "note-1", repeat, "text") for repeat in values]
    scores = {(one.candidate, one.key): [{"value": value} for value in values[one.repeat]] for one in own}
    chosen = chosen_repeat(own, scores, None)
    shown = [answer_read(one, tuple(CheckSaid("c", value, "") for value in values[one.repeat])) for one in own]
    assert chosen is not None and chosen.repeat == shown[worst(shown)].repeat == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--diff", BASE, SERVED, "--input", "note-1"), 2),  # of three tasks, which?
        (("--diff", BASE, SERVED, "--task", "judge"), 2),
        (("--diff", BASE, "nobody", "--task", "judge", "--input", "note-1"), 4),
        (("--diff", BASE, SERVED, "--task", "judge", "--input", "note-1", "--repeat", "9"), 4),
        (("--inputs", "--input", "nothing"), 4),
        (("--inputs", "--answers"), 2),
        (("--no-worse-than", BASE), 2),  # which of five?
        (("--no-worse-than", "nobody", "--candidate", OLD), 4),
        (("--fail-under", "6"), 2),
    ],
)
def test_what_cannot_be_meant_is_refused(run: Run, words: tuple[str, ...], code: int) -> None:
    assert run("3", *words)[0] == code


def gates(run: Run, *words: str) -> tuple[int, list[tuple[Any, ...]]]:
    code, out, _ = run("3", *words, "--json")
    return code, [(one["task"], one["part"], one["candidate"], one["outcome"]) for one in json.loads(out)["gates"]]


def test_conditions_hold_for_each_task_and_each_part(run: Run) -> None:
    code, found = gates(run, "--fail-under", "3", "--candidate", SERVED)
    assert code == 0
    assert found == [(task, part, SERVED, "met") for task in TASKS for part in ("format", "content")]
    code, found = gates(run, "--fail-under", "4.5", "--candidate", SERVED, "--task", "judge", "--part", "format")
    assert (code, found) == (1, [("judge", "format", SERVED, "not_met")])


def test_without_a_candidate_the_best_of_each_task_is_held_to_the_score(run: Run) -> None:
    _, found = gates(run, "--fail-under", "3", "--part", "format")
    assert [(task, name) for task, _, name, _ in found] == [("judge", OTHER), ("planner", SERVED), ("tidy", SERVED)]


def test_no_worse_than_a_baseline_over_all_tasks_or_one(run: Run) -> None:
    code, found = gates(run, "--no-worse-than", BASE, "--candidate", TUNED)
    by_task = {(task, part): outcome for task, part, _, outcome in found}
    assert code == 1
    assert by_task["judge", "format"] == "met" and by_task["tidy", "format"] == "cannot_tell"
    worse = gates(run, "--no-worse-than", SERVED, "--candidate", TUNED, "--task", "planner", "--part", "format")
    assert worse == (1, [("planner", "format", TUNED, "not_met")])
    code, out, _ = run("3", "--no-worse-than", BASE, "--candidate", TUNED, "--task", "tidy", "--part", "format")
    assert code == 1 and "it needs about" in out
    assert gates(run, "--no-worse-than", BASE, "--candidate", TUNED, "--task", "judge")[0] == 0


CONFIRMING = tuple(f"note-{number}" for number in range(5, 12))


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The same home, with seven of twelve inputs kept to confirm by."""
    folder = tmp_path_factory.mktemp("apart")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        made, job_id = home_with_tasks(folder, CONFIRMING)
    return made.root, job_id


def test_a_condition_says_which_inputs_it_rests_on_and_what_it_cannot_tell(run: Run) -> None:
    out = " ".join(run("3", "--fail-under", "3", "--task", "judge")[1].split())
    assert " over 12 inputs, at least 3.00 wanted" in out
    assert "rest on all inputs" in out and "the best of 6 was chosen by the same inputs" in out
    named = " ".join(run("3", "--fail-under", "3", "--task", "judge", "--candidate", SERVED)[1].split())
    assert "the best of" not in named.partition("✓")[2] and "a candidate that was chosen by them" in named


def test_inputs_that_are_kept_to_confirm_by_are_what_conditions_rest_on_and_are_named(
    run: Run, apart: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(apart[0]))
    _, out, _ = run("3", "--fail-under", "3", "--no-worse-than", BASE, "--candidate", TUNED, "--task", "judge")
    said = " ".join(out.split())
    assert "over 7 inputs to confirm by" in said and "rest on the inputs to confirm by alone." in said
    document = json.loads(run("3", "--fail-under", "3", "--no-worse-than", BASE, "--candidate", TUNED, "--json")[1])
    assert {(one["use"], one["inputs"]) for one in document["gates"]} == {("confirm", 7)}
    assert document["leaderboards"]["judge"]["confirming"] == list(CONFIRMING)
    table = run("3", "--inputs", "--task", "judge")[1].splitlines()
    uses = {line.split()[0]: line.split()[1] for line in table if line.startswith(("empty ", "note-"))}
    assert uses == {name: "confirm" if name in CONFIRMING else "choose" for name in INPUTS}
    assert max(map(len, table)) <= 100


def test_json_has_all_of_it(run: Run) -> None:
    document = json.loads(run("3", "--json")[1])
    assert set(document["leaderboards"]) == set(TASKS)
    assert [cell["task"] for cell in document["matrix"]["cells"]][:1] == ["judge"]
    (row,) = [row for row in document["leaderboards"]["planner"]["rows"] if row["name"] == OLD]
    assert row["inputs"][0]["faults"] == {"empty": 3} and len(row["inputs"]) == len(INPUTS)
    assert document["trainings"] == {TUNED: "rank 8", OTHER: "rank 16"}
    assert [one["loaded"]["seconds"] for one in document["measured"]] == [6.5, 0.1]


def test_holes_are_named_with_what_the_server_did(run: Run) -> None:
    board = run("3", "--task", "tidy")[1]
    assert f"{SERVED} has answers missing at note-3 (1 of 3); 1 answer the server did not give" in board
    assert "has answers missing" not in run("3", "--task", "judge")[1]
    out = run("3", "--answers", "--task", "tidy", "--candidate", SERVED, "--input", "note-3")[1]
    assert "repeat 2, server: timeout" in out


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_no_line_is_wider_than_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for words in (("--all",), ("--inputs",)):
        out = run("3", *words)[1]
        assert max(map(len, out.splitlines())) <= max(int(columns), 88)  # the last line names a command


def test_servers_are_asked_where_one_says_so_and_what_they_changed_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(server: Any, model: str) -> ScriptedModel:
        if there is None:
            raise ServerError("nobody listens", code="server_down")
        return there

    monkeypatch.setattr("core.staleness.present_servers.opened", opened)
    then = next(one["identity"] for one in json.loads(run("3", "--json")[1])["measured"] if one["candidate"] == SERVED)
    there: ScriptedModel | None = ScriptedModel(who=replace(ServedIdentity(**then), version="0.40.1"))
    unasked = run("3")[1]
    assert "of the server" not in unasked and f"{SERVED} (its server was not asked; --ask-servers asks)" in unasked
    assert f"version of the server of {SERVED} (0.30.8 → 0.40.1)" in " ".join(run("3", "--ask-servers")[1].split())
    there = None
    out = run("3", "--ask-servers")[1]
    assert "of the server" not in out and "its server did not answer" in out
