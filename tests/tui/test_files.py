"""Following a job's files: what is read, from where, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from core.events import EventWriter
from core.files import append_line
from core.home import Home
from tests.support.depth import example_count
from tests.tui.scene import job
from tui.model.job_files import KEPT_LINES, JobFiles, LogLines, thin
from tui.widgets.file_view import FileRows


def test_a_log_is_followed_with_its_unfinished_line(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    tail = LogLines(path)
    assert not tail.read()
    path.write_text("one\ntwo")
    assert tail.read() and tail.shown == ("one", "two")
    assert not tail.read()
    with path.open("a") as file:
        file.write(" and a half\nthree\n")
    assert tail.read() and tail.shown == ("one", "two and a half", "three")


def test_of_a_large_log_only_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 50_000_000 + b"\n" + b"".join(b"line %d\n" % number for number in range(1000)))
    tail = LogLines(path)
    assert tail.read()
    assert tail.shown[-1] == "line 999" and len(tail.shown) == KEPT_LINES
    assert tail.file.offset == path.stat().st_size


def test_a_character_that_was_cut_in_two_is_whole_later(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    tail = LogLines(path)
    first, second = "größe\n".encode()[:4], "größe\n".encode()[4:]
    path.write_bytes(first)
    tail.read()
    with path.open("ab") as file:
        file.write(second)
    tail.read()
    assert tail.shown == ("größe",)


@settings(max_examples=example_count(60))
@given(
    lines=st.lists(st.text(alphabet="ab é", max_size=30), max_size=60),
    ended=st.booleans(),
    rows=st.integers(1, 12),
    up=st.integers(0, 20),
)
def test_scrolling_a_file_shows_its_rows_in_order(
    tmp_path_factory: object, lines: list[str], ended: bool, rows: int, up: int
) -> None:
    path = Path(tmp_path_factory.mktemp("rows")) / "file"  # type: ignore[attr-defined]
    lines = [*lines, "the last"]
    path.write_text("\n".join(lines) + ("\n" if ended else ""))
    file = FileRows(path)
    top = file.last(rows)
    assert [text for _, text in file.forward(top, rows)] == lines[-rows:]
    top = file.back(top, up) if up else top
    start = max(0, max(0, len(lines) - rows) - up)
    assert [text for _, text in file.forward(top, rows)] == lines[start : start + rows]


def test_long_series_are_thinned_but_keep_their_ends() -> None:
    points = [(step, float(step)) for step in range(1, 10_001)]
    thinned = thin(points, 100)
    assert len(thinned) <= 101 and thinned[0] == points[0] and thinned[-1] == points[-1]
    assert [step for step, _ in thinned] == sorted(step for step, _ in thinned)


def test_the_steps_of_attempts_are_joined_and_the_later_wins(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    run = home.run_dir(7)
    for number, steps in ((1, range(1, 8)), (2, range(6, 10))):
        run.attempt(number).path.mkdir(parents=True)
        events = EventWriter(run.attempt(number).events)
        for step in steps:
            events.write("step", step=step, total=9, loss=step + number / 10, tokens_per_second=100.0 * number)
    files = JobFiles(home, 7)
    detail = files.read(job(7, "running", "train judge · small", attempt=2))
    assert [step for step, _ in detail.losses] == list(range(1, 10))
    assert dict(detail.losses)[5] == 5.1 and dict(detail.losses)[6] == 6.2
    assert detail.progress.step == 9 and detail.progress.total_steps == 9 and detail.resumed_from == 5
    assert detail.progress.tokens_per_second == 200.0
    assert files.read(job(7, "running", "train judge · small", attempt=2)) is detail


def test_a_bakeoff_counts_the_answers_of_each_candidate(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    run = home.run_dir(8)
    run.path.mkdir(parents=True)
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps([{"id": str(number)} for number in range(13)]))
    spec = {
        "kind": "bakeoff",
        "golden": {"path": str(golden)},
        "repeats": 3,
        "candidates": [{"name": "base"}, {"name": "tuned"}],
    }
    run.job_file.write_text(json.dumps({"spec": spec}))
    files = JobFiles(home, 8)
    bakeoff = job(8, "running", "bake-off judge, 2 models")
    assert [(share.done, share.total) for share in files.read(bakeoff).shares] == [(0, 39), (0, 39)]
    for repeat in range(3):
        append_line(run.answers, {"candidate": "base", "seconds": 2.0, "finish": "stop" if repeat else "length"})
    with run.answers.open("a") as file:
        file.write('{"candidate": "ba')
    detail = files.read(bakeoff)
    assert detail.headline == "13 inputs × 3"
    assert (detail.shares[0].done, detail.shares[0].seconds_per_answer, detail.shares[0].at_limit) == (3, 2.0, 1)
    assert detail.shares[1].done == 0


def test_an_answer_that_is_asked_for_again_is_one_answer(tmp_path: Path) -> None:
    """One that the server had not given, one of a model that was replaced, and one that was withdrawn and is still missing."""
    home = Home(tmp_path).create()
    run = home.run_dir(8)
    run.path.mkdir(parents=True)
    golden = tmp_path / "golden.json"
    golden.write_text("[]")
    spec = {"kind": "bakeoff", "golden": {"path": str(golden)}, "repeats": 1, "candidates": [{"name": "base"}]}
    run.job_file.write_text(json.dumps({"spec": spec}))
    files, bakeoff = JobFiles(home, 8), job(8, "running", "bake-off judge")

    def line(name: str, **more: object) -> None:
        values = {"candidate": "base", "task": "judge", "input_id": name, "repeat": 1, "seconds": 2.0, "finish": "stop"}
        append_line(run.answers, {**values, **more})

    line("a", seconds=0.0, fault="server")
    line("b")
    line("c", finish="length")
    share = files.read(bakeoff).shares[0]
    assert (share.done, share.server_faults, share.at_limit) == (3, 1, 1)
    line("a")
    line("b", seconds=4.0, key="another model's")
    line("c", fault="server", withdrawn=True)
    share = files.read(bakeoff).shares[0]
    assert (share.done, share.server_faults, share.at_limit, share.seconds_per_answer) == (2, 0, 0, 3.0)


def test_files_that_are_not_as_expected_are_passed_over(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    run = home.run_dir(9)
    run.attempt(1).path.mkdir(parents=True)
    run.job_file.write_text("spec: [not, a, mapping]")
    run.attempt(1).events.write_text('{"kind": "step"}\n[]\nnonsense\n{"kind": "step", "step": 1, "loss": "high"}\n')
    detail = JobFiles(home, 9).read(job(9, "running", "train judge · small"))
    assert detail.losses == () and detail.headline == ""
