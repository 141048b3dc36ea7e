"""The lanes of the tests: none is left out and none is run twice."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

from tests import conftest, lanes
from tests.lanes import MOST_SAID, NAMED, NOTHING_CHOSEN, Ended, Lane

HERE = Path(__file__).parents[1]
MARKERS = conftest.MARKERS


def chosen_by(names: tuple[str, ...], markers: frozenset[str]) -> list[str]:
    return [name for name in names if Expression.compile(NAMED[name].chosen).evaluate(lambda marker: marker in markers)]


@pytest.mark.parametrize("count", range(len(MARKERS) + 1))
def test_each_test_is_in_one_lane_of_every_change_or_in_the_soak(count: int) -> None:
    for markers in map(frozenset, itertools.combinations(MARKERS, count)):
        each_change = chosen_by(("fast", "process", "train"), markers)
        assert len(each_change) == (0 if "soak" in markers else 1), markers
        if "soak" in markers:
            assert len(chosen_by(("soak-long", "soak-train", "soak-timed"), markers)) == 1, markers
        assert ("timed" in markers) == (chosen_by(("soak-timed",), markers) == ["soak-timed"])


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((0, 0, 0), 0),
        ((0, 1, 0), 1),
        ((2, 1, 0), 2),
        ((NOTHING_CHOSEN, 0, NOTHING_CHOSEN), 0),
        ((5, 5, 5), 5),
        ((5, 1, 0), 1),
    ],
)
def test_one_lane_that_fails_fails_them_all_and_each_has_its_summary_at_the_end(
    codes: tuple[int, ...], expected: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter(codes)
    asked: list[list[str]] = []

    def played(lane: Lane, arguments: list[str]) -> Ended:
        asked.append(arguments)
        return Ended(next(left), f"=== {lane.name} passed in 1 s ===")

    monkeypatch.setattr(lanes, "run", played)

    assert lanes.main(["fast", "process", "train", "--", "tests/unit", "-k", "lanes"]) == expected

    assert asked == [["tests/unit", "-k", "lanes"]] * 3
    said = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[0] for line in said] == ["fast", "process", "train"]
    assert ["exit code" in line for line in said] == [code not in (0, NOTHING_CHOSEN) for code in codes]


FAULTY = """
import os, pytest

@pytest.fixture
def made():
    yield
    raise OSError("what was made does not go away")

@pytest.fixture
def missing():
    raise LookupError("nothing is there")

def test_that_leaves_something(made): ...
def test_that_needs_something(missing): ...
@pytest.mark.parametrize("number", [3])
def test_of_a_number(number):
    assert number == 4, "it is another\\nwhich takes a second line"
def test_that_is_left_out(): pytest.skip("not here")
def test_that_holds(): ...
"""


@pytest.mark.process
def test_what_failed_stands_below_the_summaries_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "test_faulty.py"
    file.write_text(FAULTY)
    monkeypatch.setitem(NAMED, "fast", Lane("fast", "not soak", 0))
    assert lanes.main(["fast", "--", str(file), f"--rootdir={tmp_path}", "-p", "no:cacheprovider"]) == 1
    assert capsys.readouterr().out.partition("── what failed\n")[2].splitlines() == [
        "fast: ERROR test_faulty.py::test_that_leaves_something: "
        'failed on teardown with "OSError: what was made does not go away"',
        'fast: ERROR test_faulty.py::test_that_needs_something: failed on setup with "LookupError: nothing is there"',
        "fast: FAILURE test_faulty.py::test_of_a_number[3]: AssertionError: it is another",
    ]


def test_of_many_that_failed_as_many_are_named_as_the_end_of_a_log_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = tuple(f"FAILURE tests/test_{number}.py::test_it: {'a reason ' * 20}" for number in range(20))
    monkeypatch.setattr(lanes, "run", lambda lane, arguments: Ended(1, "=== 20 failed in 1 s ===", faults))
    lanes.main(["fast", "process", "train"])
    said = capsys.readouterr().out
    shown = said.partition("── what failed\n")[2].splitlines()
    assert shown[0] == f"fast: {faults[0]}" and shown[-1] == f"… and {60 - len(shown) + 1} more"
    assert MOST_SAID / 2 < len("\n".join(shown)) < MOST_SAID + 50 and len(said) < 2000


def test_a_run_that_left_no_results_has_none(tmp_path: Path) -> None:
    assert lanes.cases_of(tmp_path / "results.xml") == []
    (tmp_path / "results.xml").write_text("<testsuites><testsuite>")
    assert lanes.cases_of(tmp_path / "results.xml") == []


def test_where_the_time_went_is_told_by_file(tmp_path: Path) -> None:
    times = {"a": (1.5, 2.0), "b": (9.0,), "c": (0.2,), "d": (0.1,), "e": (0.0,)}
    cases = [
        f'<testcase file="tests/unit/test_{file}.py" name="test_it" time="{time}"/>'
        for file, all_times in times.items()
        for time in all_times
    ]
    (tmp_path / "results.xml").write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    seconds = lanes.seconds_of(lanes.cases_of(tmp_path / "results.xml"))
    assert Ended(0, "", (), 0.625, seconds).longest == "cores 62% busy, test_b 9 s, test_a 4 s, test_c 0 s, test_d 0 s"


def test_a_lane_looks_where_its_tests_lie_unless_a_place_is_named() -> None:
    fast = NAMED["fast"]
    assert fast.command(["-k", "lanes"])[-4:] == ["tests/unit", "tests/tui", "-k", "lanes"]
    assert fast.command([__file__ + "::test_x"])[-1:] == [__file__ + "::test_x"]
    assert "tests/tui" not in fast.command([__file__ + "::test_x"])


def test_tests_that_share_what_takes_long_stay_together_and_others_go_where_there_is_time() -> None:
    assert "--dist loadgroup --no-loadscope-reorder" in " ".join(NAMED["train"].command([]))
    assert "--dist worksteal" in " ".join(NAMED["fast"].command([]))
    assert "-n" not in NAMED["soak-timed"].command([])


@pytest.mark.parametrize(
    ("text", "folder", "found"),
    [
        ("@pytest.mark.process\ndef test_x(): ...", "unit", ["process"]),
        ("pytestmark = [pytest.mark.train, pytest.mark.soak]", "unit", ["train", "soak"]),
        ("from hypothesis import given", "unit", ["hypothesis"]),
        ("def test_a_process_is_trained(): ...", "unit", []),
        ("def test_x(): ...", "process", ["process"]),
    ],
)
def test_a_file_that_cannot_have_a_test_of_the_lane_is_not_read(
    text: str, folder: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "HERE", tmp_path)
    file = tmp_path / folder / "test_x.py"
    file.parent.mkdir()
    file.write_text(text)
    assert [marker for marker in MARKERS if conftest.may_have(file, marker)] == found


def test_which_markers_a_lane_wants_of_every_test() -> None:
    wanted = {lane.name: conftest.wanted_markers(lane.chosen) for lane in lanes.LANES}
    assert wanted == {
        "fast": [],
        "process": ["process"],
        "train": ["train"],
        "soak-properties": ["hypothesis"],
        "soak-long": ["soak"],
        "soak-train": ["soak", "train"],
        "soak-timed": ["timed"],
    }


def test_an_unknown_lane_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert lanes.main(["slow"]) == 2
    assert "fast, process, train" in capsys.readouterr().err


def test_a_bound_on_time_is_held_by_the_soak_too() -> None:
    """A test that names one (`at_most`) has the mark by which the soak finds it."""
    left_out = [
        f"{file.relative_to(HERE)}::{function.name}"
        for file in sorted(HERE.rglob("test_*.py"))
        if "at_most" in (text := file.read_text())
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(isinstance(node, ast.Call) and ast.unparse(node.func) == "at_most" for node in ast.walk(function))
        and not {"pytest.mark.timed", "pytest.mark.soak"} & set(map(ast.unparse, function.decorator_list))
    ]
    assert left_out == []
