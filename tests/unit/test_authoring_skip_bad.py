"""A task from a file of which some records cannot be trained on: they are left out on demand, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.authoring.scaffold import new_project, new_project_with_task, new_task
from core.cli.main import main
from core.config.project import Project
from core.data.containers import parse_json_lines
from core.data.examples import load_examples
from core.data.inspection import inspect
from core.data.reading import open_data, read_data, without_bad
from core.data.source import DataSource
from core.errors import InputError

BAD: list[Any] = [
    {"prompt": "no answer"},
    {"prompt": "an empty one", "completion": ""},
    {"prompt": "blanks", "completion": " \n\t"},
    {"messages": [{"role": "assistant", "content": "nobody asked"}, {"role": "assistant", "content": "twice"}]},
    {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": 4}]},
    {"prompt": "q", "completion": "a", "tools": [{"name": "call"}]},
    "a text",
    17,
]


def good(number: int) -> dict[str, Any]:
    return {"prompt": f"Question {number}?", "completion": f"Answer {number}."}


def lines(records: list[Any]) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


@given(st.lists(st.one_of(st.integers(0, 999).map(good), st.sampled_from(BAD)), min_size=1, max_size=30))
def test_what_is_left_is_what_was_good(records: list[Any]) -> None:
    wanted = [record for record in records if record not in BAD]
    data = read_data(DataSource(Path("x.jsonl"), lines(records)))
    found = inspect(data)
    assert (found.trainable, found.untrainable) == (len(wanted), len(records) - len(wanted))
    if not wanted:
        with pytest.raises(InputError):
            without_bad(data)
        return
    kept = without_bad(data)
    assert [(talk.turns[0].content, talk.turns[1].content) for talk in kept.conversations] == [
        (record["prompt"], record["completion"]) for record in wanted
    ]
    assert (kept.bad, kept.records, kept.left_out) == (0, len(wanted), len(records) - len(wanted))
    assert len(parse_json_lines(data.source).records) == len(records)  # the file itself stays what it was


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    new_project(tmp_path)
    return Project.find(explicit=tmp_path)


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as leave:
        main(["new", "task", *map(str, words)])
    out, err = capsys.readouterr()
    return int(leave.value.code or 0), out + err


def test_the_command_leaves_them_out_and_counts_them(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines are in the project's own form, and all the same the bad ones are not copied with the others."""
    source = tmp_path / "mine.jsonl"
    source.write_bytes(lines([*map(good, range(10)), *BAD, *map(good, range(10, 20))]))
    code, said = command(capsys, "mine", "--examples", source, "--hold-out", 6)
    assert code == 2 and not (tmp_path / "configs/tasks/mine.yaml").exists()
    code, said = command(capsys, "mine", "--examples", source, "--hold-out", 6, "--skip-bad")
    assert code == 0 and f"{len(BAD)} lines that cannot be trained on are left out" in said
    task = project.task("mine")
    examples, report = load_examples(project.train_file(task), task)
    asked = {item.input for item in project.golden(task).inputs}
    assert len(examples) == report.lines == 14 and len(asked) == 6
    assert asked | {example.last_user for example in examples} == {good(number)["prompt"] for number in range(20)}


def test_as_json_it_is_a_figure(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "mine.jsonl"
    source.write_bytes(lines([*map(good, range(10)), BAD[1]]))
    code, said = command(capsys, "mine", "--examples", source, "--skip-bad", "--json")
    assert (code, json.loads(said)["left_out"], json.loads(said)["data"]["records"]) == (0, 1, 10)


def test_data_that_lies_in_its_place_is_not_rewritten(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "configs/data/mine.train.jsonl"
    place.write_bytes(lines([good(1), BAD[0], good(2)]))
    with pytest.raises(InputError, match="left out of a copy"):
        new_task(project, "mine", examples=without_bad(open_data(place)))
    assert place.read_bytes() == lines([good(1), BAD[0], good(2)])


@pytest.mark.parametrize(
    ("name", "hold_out"), [("bad name", 0), ("mine", 21), ("mine", 20)], ids=["name", "too many", "nothing left"]
)
def test_a_task_that_is_refused_leaves_no_project(tmp_path: Path, name: str, hold_out: int) -> None:
    source = tmp_path / "mine.jsonl"
    source.write_bytes(lines([good(number) for number in range(20)]))
    folder = tmp_path / "new"
    with pytest.raises(InputError):
        new_project_with_task(folder, name, examples=open_data(source), hold_out=hold_out)
    assert not folder.exists()
    new_project_with_task(folder, "mine", examples=open_data(source), hold_out=6)
    assert Project.find(explicit=folder).task("mine").name == "mine"
