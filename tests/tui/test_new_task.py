"""The form of a new task: from a file as people have it to a task that can be trained, with keys only."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from core.config.project import Project
from core.home import Home
from tests.tui.conftest import seen, text_of
from tests.tui.scene import scene
from tui.app import ConsoleApp
from tui.queries.data_file import completed_path, held_out_problem, proposed_name
from tui.queries.project import project_finder
from tui.screens.help import TextDialog
from tui.screens.new_run import NewRun
from tui.screens.new_task import NewTask


def sharegpt(number: int) -> dict[str, object]:
    return {
        "conversations": [
            {"from": "system", "value": "You name the capital."},
            {"from": "human", "value": f"Country {number}?"},
            {"from": "gpt", "value": f"Capital: City {number}"},
        ],
        "id": number,
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of somebody who has a data file and no project yet."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "capitals.json").write_text(json.dumps([sharegpt(number) for number in range(40)]))
    return work


@contextlib.asynccontextmanager
async def form(tmp_path: Path, size: tuple[int, int] = (120, 40)) -> AsyncIterator[tuple[Pilot[None], NewTask]]:
    home = Home(tmp_path / "home").create()
    app = ConsoleApp(home, project_finder(home, None), live=False)
    async with app.run_test(size=size) as pilot:
        app.show(scene())
        await pilot.press("t")
        screen = pilot.app.screen
        assert isinstance(screen, NewTask)
        await seen(pilot, lambda: screen.place is not None, "the project")
        yield pilot, screen


async def typed(pilot: Pilot[None], screen: NewTask, key: str, text: str) -> None:
    field = screen.query_one(f"#{key}", Input)
    field.focus()
    field.value = ""
    await pilot.press(*text)


async def test_from_a_sharegpt_file_to_a_task_in_a_new_project(tmp_path: Path, folder: Path) -> None:
    async with form(tmp_path) as (pilot, screen):
        await pilot.press(*"capi")
        assert screen.query_one("#path", Input).has_focus
        await seen(pilot, lambda: screen.query_one("#path", Input)._suggestion == "capitals.json", "a completed path")
        await pilot.press("right")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        shown = text_of(pilot, "#found")
        assert "ShareGPT" in shown and "40 entries" in shown and "id (40)" in shown
        assert "Capital: City 0" in text_of(pilot, "#sample")
        assert screen.query_one("#name", Input).value == "capitals"
        assert screen.query_one("#held", Input).value == "8"
        task = f"bakehouse new task capitals --examples capitals.json --hold-out 8 --project {folder}"
        assert screen.command_line == f"bakehouse new project {folder} && {task}"
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, TextDialog), "what was written")
        await pilot.press("escape")
        run = pilot.app.screen
        assert isinstance(run, NewRun)
        await seen(pilot, lambda: run.form.task == "capitals", "the form of its first run")
    project = Project.find(explicit=folder)
    assert project.root == folder
    assert len(project.golden(project.task("capitals")).inputs) == 8
    assert len((folder / "configs/data/capitals.train.jsonl").read_text().splitlines()) == 32


async def test_columns_that_nobody_can_guess_are_named(tmp_path: Path, folder: Path) -> None:
    with (folder / "faq.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([("Frage", "Antwort"), *((f"Wie {number}?", f"So {number}.") for number in range(20))])
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "faq.csv")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        assert not screen.valid
        assert "cannot be used" in text_of(pilot, "#note-path")
        await typed(pilot, screen, "prompt", "Frage")
        await typed(pilot, screen, "answer", "Antwort")
        await seen(pilot, lambda: screen.valid, "a file that can be used")
        assert "--prompt-column Frage --completion-column Antwort" in screen.command_line


@pytest.mark.parametrize("size", [(60, 18), (120, 40)])
async def test_what_a_remedy_asks_for_has_a_field(tmp_path: Path, folder: Path, size: tuple[int, int]) -> None:
    lines = [
        {
            "messages": [{"role": "user", "content": f"Zürich {number}?"}, {"role": "assistant", "content": "ja"}],
            "tools": [{"name": "look"}],
        }
        for number in range(20)
    ]
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    (folder / "tools.jsonl").write_text(text, encoding="cp1252")
    async with form(tmp_path, size) as (pilot, screen):
        assert screen.query_one("#row-encoding").display is (size[1] > 18)
        await typed(pilot, screen, "path", "tools.jsonl")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        assert screen.query_one("#row-encoding").display and not screen.valid
        await typed(pilot, screen, "encoding", "cp1252")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        assert not screen.valid and "ignore keys" in text_of(pilot, "#found")
        await typed(pilot, screen, "ignored", "tools, nothing")
        await seen(pilot, lambda: screen.valid, "a file that can be used")
        assert "--ignore tools --ignore nothing --encoding cp1252" in screen.command_line
        assert "Zürich" in str(screen.current and screen.current.found and screen.current.found.samples)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nothing.jsonl", "no such file"),
        (".", "not a file"),
        ("/dev/zero", "not a file"),
        ("~nobody-of-that-name/x", ""),
        ("bad.jsonl", "cannot be used"),
        ("empty.csv", ""),
    ],
)
async def test_what_cannot_be_read_is_said_and_makes_nothing(
    tmp_path: Path, folder: Path, path: str, words: str
) -> None:
    (folder / "bad.jsonl").write_text("{}\n" * 30)
    (folder / "empty.csv").write_text("")
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", path)
        await seen(pilot, lambda: screen.current is not None, "an answer")
        assert "✗" in text_of(pilot, "#note-path") and words in text_of(pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert screen.is_current and not screen.making
    assert sorted(entry.name for entry in folder.iterdir()) == ["bad.jsonl", "capitals.json", "empty.csv"]


async def test_a_refusal_stands_in_the_form_and_what_was_typed_stays(tmp_path: Path, folder: Path) -> None:
    (folder / "configs/tasks").mkdir(parents=True)
    (folder / "configs/tasks/capitals.yaml").write_text("mine: 1\n")
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "capitals.json")
        await seen(pilot, lambda: screen.valid, "a file that can be used")
        await pilot.press("enter")
        await seen(pilot, lambda: "✗" in text_of(pilot, "#command"), "the refusal")
        assert "the file is there already" in screen.problem
        assert screen.query_one("#path", Input).value == "capitals.json"
    assert (folder / "configs/tasks/capitals.yaml").read_text() == "mine: 1\n"


async def test_a_file_that_changed_since_it_was_shown_makes_nothing_and_is_shown_anew(
    tmp_path: Path, folder: Path
) -> None:
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "capitals.json")
        await seen(pilot, lambda: screen.valid, "a file that can be used")
        (folder / "capitals.json").write_text(json.dumps([sharegpt(number) for number in range(30)]))
        await pilot.press("enter")
        await seen(pilot, lambda: "has changed since it was shown" in screen.problem, "the refusal")
        assert not (folder / "bakehouse.yaml").exists()
        await seen(pilot, lambda: "30 entries" in text_of(pilot, "#found"), "the file as it is now")
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, TextDialog), "what was written")


async def test_a_file_that_was_mended_is_read_again_with_enter(tmp_path: Path, folder: Path) -> None:
    (folder / "bad.jsonl").write_text("{}\n")
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "bad.jsonl")
        await seen(pilot, lambda: "cannot be used" in text_of(pilot, "#note-path"), "that it is bad")
        (folder / "bad.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 2)
        await pilot.press("enter")
        await seen(pilot, lambda: screen.valid, "the mended file")


async def test_what_a_person_wrote_is_not_replaced_by_a_proposal(tmp_path: Path, folder: Path) -> None:
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "name", "mine")
        await typed(pilot, screen, "held", "3")
        await typed(pilot, screen, "path", "capitals.json")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        assert screen.query_one("#name", Input).value == "mine"
        assert screen.query_one("#held", Input).value == "3"


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (200, 60)])
async def test_it_fits_any_terminal(tmp_path: Path, folder: Path, size: tuple[int, int]) -> None:
    async with form(tmp_path, size) as (pilot, screen):
        await typed(pilot, screen, "path", "capitals.json")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        assert "make the task" in text_of(pilot, "#keys")
        assert "ShareGPT" in text_of(pilot)
        await pilot.press("f2")
        await seen(pilot, lambda: "Capital: City 0" in text_of(pilot), "the first example")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("~/Mail titles (2).csv.gz", "Mail-titles-2"),
        ("/x/größe.jsonl", "gr-e"),
        ("数.parquet", ""),
        ("", ""),
        ("a" * 100 + ".json", "a" * 64),
        ("--help", "help"),
        (".", ""),
        ("/", ""),
        ("..", ""),
        ("~nobody-of-that-name/", "nobody-of-that-name"),
        (".jsonl", ""),
    ],
)
def test_a_name_is_made_of_the_file(path: str, name: str) -> None:
    assert proposed_name(path) == name


@pytest.mark.parametrize("text", ["", "-1", "1.5", "inf", "nan", "٣", "1e3", "9" * 5000, "x"])
def test_what_is_no_number_cannot_be_held_out(text: str) -> None:
    assert held_out_problem(text, None)


def test_a_path_is_completed(folder: Path) -> None:
    (folder / "dir").mkdir()
    (folder / ".hidden").touch()
    assert completed_path("cap") == "capitals.json"
    assert completed_path("d") == "dir/"
    assert completed_path(f"{folder}/c") == f"{folder}/capitals.json"
    assert completed_path(".h") == ".hidden"
    assert [completed_path(text) for text in ("nope", "nope/x", "~nobody-of-that-name/x", "a\0b")] == [None] * 4


def messy(where: Path, entries: list[object]) -> None:
    where.write_text(json.dumps(entries))


BAD: dict[str, list[object]] = {
    "no answer": [{"conversations": [{"from": "human", "value": "Country?"}]}],
    "an empty answer": [{"conversations": [{"from": "human", "value": "C?"}, {"from": "gpt", "value": "  "}]}],
    "no conversation": [{"id": "x", "note": "stray"}, 7, None],
    "a number": [{"conversations": [{"from": "human", "value": "C?"}, {"from": "gpt", "value": 4}]}],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_bad_records_are_left_out_by_a_key_and_only_by_it(
    tmp_path: Path, folder: Path, bad: list[object]
) -> None:
    messy(folder / "messy.json", [*map(sharegpt, range(7)), *bad, *map(sharegpt, range(7, 20))])
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "messy.json")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        assert f"{len(bad)} of {20 + len(bad)} cannot be used" in text_of(pilot, "#note-path")
        assert "F3 leave out bad" in text_of(pilot, "Footer")
        await pilot.press("enter")
        assert screen.is_current and not list(folder.glob("bakehouse.yaml"))
        await pilot.press("f3")
        assert screen.valid and "--skip-bad" in screen.command_line
        assert f"▲ {len(bad)} of {20 + len(bad)} left out" in text_of(pilot, "#note-path")
        await pilot.press("f3")
        assert not screen.valid
        await pilot.press("f3", "enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, TextDialog), "what was written")
    project = Project.find(explicit=folder)
    lines = [json.loads(line) for line in project.train_file(project.task("messy")).read_text().splitlines()]
    assert len(lines) + len(project.golden(project.task("messy")).inputs) == 20
    assert all(line["messages"][-1]["content"].startswith("Capital: ") for line in lines)


async def test_another_file_is_asked_about_anew(tmp_path: Path, folder: Path) -> None:
    for name in ("one.json", "two.json"):
        messy(folder / name, [*map(sharegpt, range(20)), *BAD["no answer"]])
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "one.json")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        await pilot.press("f3")
        assert screen.valid
        await typed(pilot, screen, "path", "two.json")
        await seen(pilot, lambda: screen.current is not None, "what the other file is")
        assert not screen.valid


async def test_a_file_of_which_nothing_is_left_offers_no_key(tmp_path: Path, folder: Path) -> None:
    messy(folder / "messy.json", BAD["an empty answer"] * 3)
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "messy.json")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        await pilot.press("f3", "enter")
        assert not screen.valid and "F3" not in text_of(pilot, "Footer")
    assert not list(folder.glob("bakehouse.yaml"))


async def test_every_example_can_be_seen_line_by_line(tmp_path: Path, folder: Path) -> None:
    def entry(number: int) -> object:
        answer = f"Zone: shade\n\nWater: {number}"
        return {"conversations": [{"from": "human", "value": f"Moss {number}?"}, {"from": "gpt", "value": answer}]}

    messy(folder / "moss.json", [entry(number) for number in range(15)])
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "moss.json")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        assert "Zone: shade Water" not in text_of(pilot, "#sample")
        for _ in range(11):
            await pilot.press("pagedown")
        shown = text_of(pilot, "#sample")
        assert "entry 12 of 15" in shown and "Moss 11?" in shown and "Water: 11" in shown
        await pilot.press("pageup")
        assert "entry 11 of 15" in text_of(pilot, "#sample")


async def test_columns_are_completed_and_named_as_the_form_names_them(tmp_path: Path, folder: Path) -> None:
    with (folder / "faq.csv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerows([("Gardener Note", "Entry (final)", "Who")])
        rows.writerows([(f"Note {number}", f"Zone: {number}", "Ann") for number in range(20)])
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "faq.csv")
        await seen(pilot, lambda: screen.current is not None, "what the file is")
        shown = text_of(pilot, "#found")
        assert shown.count("has no prompt") == 1 and "rows 1, 2, 3, 4, 5: " in shown and "and 15 more rows" in shown
        assert "the field `prompt column`" in shown and "--" not in shown
        assert "(read)" not in shown
        for key, begun, name in (("prompt", "gard", "Gardener Note"), ("answer", "E", "Entry (final)")):
            field = screen.query_one(f"#{key}", Input)
            await typed(pilot, screen, key, begun)
            await seen(pilot, lambda field=field, name=name: field._suggestion == name, "a completed column")
            await pilot.press("right")
            assert field.value == name
        await seen(pilot, lambda: screen.valid, "a file that can be used")


async def test_what_the_task_is_refused_for_leaves_no_project(tmp_path: Path, folder: Path) -> None:
    """Examples that repeat each other cannot be held out, which is found when the task is made."""
    messy(folder / "same.json", [sharegpt(1)] * 20)
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "same.json")
        await seen(pilot, lambda: screen.valid, "a file that can be used")
        await pilot.press("enter")
        await seen(pilot, lambda: screen.problem, "why it is refused")
        assert "held out" in screen.problem
        assert not list(folder.glob("bakehouse.yaml"))
        await typed(pilot, screen, "held", "0")
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, TextDialog), "what was written")
    assert Project.find(explicit=folder).task_names()[0] == "same"


async def test_the_file_to_look_at_is_named(tmp_path: Path, folder: Path) -> None:
    async with form(tmp_path) as (pilot, screen):
        await typed(pilot, screen, "path", "capitals.json")
        await seen(pilot, lambda: screen.valid, "a file that can be used")
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, TextDialog), "what was written")
        said = " ".join(row.plain for row in pilot.app.screen.rows)  # type: ignore[attr-defined]
    assert "Look at the checks in tasks/capitals.yaml." in said
    assert "system" not in said  # all examples have one
