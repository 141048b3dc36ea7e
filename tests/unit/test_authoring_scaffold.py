"""A newcomer gets files that work, made from his own lines, and one clear message for each thing he must fill in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.authoring.lint import check_project
from core.authoring.scaffold import new_project, new_task
from core.checks import build
from core.config.project import Project, shipped
from core.data.examples import load_examples
from core.data.reading import open_data
from core.data.turns import ReadOptions
from core.errors import InputError

KINDS = ("billing", "shipping", "returns")


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    new_project(tmp_path / "desk")
    return Project.find(tmp_path / "desk")


def mails(tmp_path: Path, completion, *, system=lambda number: None, count: int = 30) -> Path:
    """JSONL of a mail desk; `completion` and `system` are made from the number of the line."""
    lines = []
    for number in range(count):
        prompt = f"Mail {number}: my order {number * 37} of last week is a case of {KINDS[number % 3]}, what now?"
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion(number)}]
        if system(number) is not None:
            turns.insert(0, {"role": "system", "content": system(number)})
        lines.append(json.dumps({"messages": turns}))
    file = tmp_path / "mails.jsonl"
    file.write_text("\n".join(lines))
    return file


def labelled(number: int) -> str:
    urgent = "yes" if number % 4 else "no"
    return f"Kind: {KINDS[number % 3]}\nUrgent: {urgent}\nReply: Dear customer {number}, it's on its way."


def complaints(project: Project) -> list[str]:
    return [problem.code for problem in check_project(project)]


def test_a_new_project_has_an_id_of_its_own_and_nothing_wrong(project: Project, tmp_path: Path) -> None:
    new_project(tmp_path / "another")
    assert check_project(project) == []
    assert project.name == "desk"
    assert project.id.startswith("desk-")
    assert project.id != Project.find(tmp_path / "another").id


@pytest.mark.parametrize("folder", ["My Notes: 2026!", "заметки", "5e-5", "- x"])
def test_a_project_may_lie_in_a_folder_of_any_name(tmp_path: Path, folder: str) -> None:
    new_project(tmp_path / folder)
    assert Project.find(tmp_path / folder).name == folder


def test_a_project_is_not_made_twice(project: Project) -> None:
    before = (project.root / "bakehouse.yaml").read_text()
    with pytest.raises(InputError, match="a project already"):
        new_project(project.root)
    assert (project.root / "bakehouse.yaml").read_text() == before


def test_a_task_without_data_asks_for_data_a_check_and_golden_inputs_and_nothing_else(project: Project) -> None:
    written = new_task(project, "notes")
    assert sorted(path.relative_to(project.root).as_posix() for path in written) == [
        "configs/data/notes.train.jsonl",
        "configs/tasks/notes.yaml",
        "golden/notes.yaml",
    ]
    assert sorted(complaints(project)) == ["empty_data_set", "empty_golden", "no_checks"]


def test_every_example_in_the_comments_works_once_it_is_uncommented(project: Project) -> None:
    new_task(project, "notes")
    file = project.root / "configs/tasks/notes.yaml"
    file.write_text(file.read_text().replace("  # - {", "  - {").replace("  # loss: every_turn", "  loss: every_turn"))
    task = project.task("notes")
    kinds = {definition.check for definition in (*task.format, *task.content)}
    assert kinds == {
        *("heading", "section_order", "table", "regex", "each_item", "words", "number_range"),
        *("captured_equals", "contains_any", "contains_all", "not_contains"),
    }
    golden = project.root / "golden/notes.yaml"
    lines = golden.read_text().splitlines()
    start = lines.index("#") + 1
    shown = [line.removeprefix("#") for line in lines[start:] if line.startswith("#")]
    golden.write_text("inputs:\n" + "\n".join(line.removeprefix(" ") for line in shown))
    (project.root / "golden/notes").mkdir()
    (project.root / "golden/notes/long.txt").write_text("long")
    assert [item.id for item in project.golden(task).inputs] == ["short-complaint", "third-question", "from-a-file"]


def test_thirty_lines_become_a_task_that_can_be_trained_and_baked_off_at_once(project: Project, tmp_path: Path) -> None:
    source = mails(tmp_path, labelled)
    new_task(project, "desk", examples=source, hold_out=6)
    assert check_project(project) == []
    task = project.task("desk")
    golden = project.golden(task).inputs
    examples, _ = load_examples(project.train_file(task), task)
    assert (len(golden), len(examples)) == (6, 24)
    assert [check.check for check in task.content] == ["captured_equals"] * 3
    for item in golden:
        number = int(item.id.removeprefix("line-")) - 1
        assert item.expect == {
            "kind": KINDS[number % 3],
            "urgent": "yes" if number % 4 else "no",
            "reply": f"Dear customer {number}, it's on its way.",
        }
        assert item.text().startswith(f"Mail {number}:")
    said = (project.root / "golden/desk.yaml").read_text()
    assert "lines 3, 8, 13, 18, 23, 28." in said
    assert (
        f"  # Kind: {KINDS[2]}\n  # Urgent: yes\n  # Reply: Dear customer 2, it's on its way.\n  - id: line-3\n" in said
    )


def test_what_was_held_out_scores_full_marks_on_its_own_content_checks(project: Project, tmp_path: Path) -> None:
    new_task(project, "desk", examples=mails(tmp_path, labelled), hold_out=6)
    task = project.task("desk")
    for item in project.golden(task).inputs:
        captures: dict[str, list[str]] = {}
        for definition in task.format:
            captures |= build(definition).score(labelled(int(item.id[5:]) - 1), {}).captures
        assert all(build(check).score("", item.expect, captures).value == 1 for check in task.content)
        assert not any(build(check).score("", item.expect, {}).value for check in task.content)


def test_long_free_text_is_expected_but_not_compared_unasked(project: Project, tmp_path: Path) -> None:
    def completion(number: int) -> str:
        return f"Kind: {KINDS[number % 3]}\nReply: Dear customer {number}, {'it is on its way, ' * 5}bye."

    new_task(project, "desk", examples=mails(tmp_path, completion), hold_out=6)
    assert check_project(project) == []
    task = project.task("desk")
    assert [check.name for check in task.content] == ["kind"]
    assert set(project.golden(task).inputs[0].expect) == {"kind", "reply"}
    assert "# - {check: captured_equals, name: reply, case_sensitive: false}" in task.file.read_text()


def test_any_completion_fits_into_a_comment(project: Project, tmp_path: Path) -> None:
    odd = "a\x1b[2J\x85b\u2028- id: c\n\n# d: 'e\ttab \ufeff\x00"
    new_task(project, "odd", examples=mails(tmp_path, lambda number: f"{odd} {number}"), hold_out=6)
    assert len(project.golden(project.task("odd")).inputs) == 6


def test_every_example_passes_the_checks_that_were_made_from_it_and_another_answer_does_not(project, tmp_path) -> None:
    new_task(project, "desk", examples=mails(tmp_path, labelled))
    for definition in project.task("desk").format:
        check = build(definition)
        assert all(check.score(labelled(number), {}).value == 1 for number in range(30))
        assert check.score("I would say that this is about billing.", {}).value == 0


def test_one_word_of_a_few_is_recognised_as_the_answer(project: Project, tmp_path: Path) -> None:
    new_task(project, "sort", examples=mails(tmp_path, lambda number: KINDS[number % 3]), hold_out=3)
    assert check_project(project) == []
    (only,) = project.task("sort").format
    assert build(only).score("billing", {}).captures == {"answer": ["billing"]}
    assert build(only).score("billing, I think", {}).value == 0


def test_the_keys_of_json_answers_are_recognised(project: Project, tmp_path: Path) -> None:
    def completion(number: int) -> str:
        return json.dumps({"kind": KINDS[number % 3], "why it's so": f'said "{number}" \\ é', "number": number})

    new_task(project, "json", examples=mails(tmp_path, completion), hold_out=3)
    assert check_project(project) == []
    task = project.task("json")
    (schema,) = map(build, task.format)
    kind, why = KINDS[5 % 3], 'said "5" \\ é'
    assert schema.score(completion(5), {}).captures == {"kind": [kind], "why_it_s_so": [why]}
    assert all(schema.score(completion(number), {}).value == 1 for number in range(30))
    for wrong in (
        "{}",
        completion(5)[:-1],
        completion(5).replace(kind, "other"),
        completion(5).replace(": 5", ': "5"'),
    ):
        assert schema.score(wrong, {}).value == 0
    for item in project.golden(task).inputs:
        number = int(item.id.removeprefix("line-")) - 1
        assert item.expect == {"kind": KINDS[number % 3], "why_it_s_so": f'said "{number}" \\ é'}


def test_free_text_gets_no_made_up_check(project: Project, tmp_path: Path) -> None:
    new_task(project, "prose", examples=mails(tmp_path, lambda number: f"A reply of its own kind, number {number}."))
    assert sorted(complaints(project)) == ["empty_golden", "no_checks"]


def test_lines_are_copied_byte_for_byte_and_none_is_held_out_unasked(project: Project, tmp_path: Path) -> None:
    source = mails(tmp_path, labelled)
    new_task(project, "desk", examples=source)
    assert project.train_file(project.task("desk")).read_bytes() == source.read_bytes() + b"\n"
    assert complaints(project) == ["empty_golden"]


def test_the_longest_completion_decides_how_long_an_answer_may_be(project: Project, tmp_path: Path) -> None:
    new_task(project, "long", examples=mails(tmp_path, lambda number: "x" * 3000 if number == 4 else "short"))
    sampling = project.task("long").sampling
    assert sampling.max_new_tokens == 2048  # 2 × 3000 / 3, in steps of 64
    assert sampling.context_length >= sampling.max_new_tokens + 100
    assert "line 5: 3,000 characters" in (project.root / "configs/tasks/long.yaml").read_text()


def test_a_system_message_that_all_lines_share_becomes_the_tasks(project: Project, tmp_path: Path) -> None:
    words = "You sort mail.\n  - one word: no more\n"
    new_task(project, "sort", examples=mails(tmp_path, labelled, system=lambda number: words), hold_out=3)
    assert check_project(project) == []
    assert project.task("sort").system == words


def test_different_system_messages_are_kept_where_they_are(project: Project, tmp_path: Path) -> None:
    source = mails(tmp_path, labelled, system=lambda number: f"Desk {number}." if number % 2 else None)
    new_task(project, "sort", examples=source, hold_out=3)
    assert check_project(project) == []
    task = project.task("sort")
    assert task.data.system == "keep"
    for item in project.golden(task).inputs:
        number = int(item.id.removeprefix("line-")) - 1
        system = [("system", f"Desk {number}.")] if number % 2 else []
        assert item.conversation("")[:-1] == system


def chats(folder: Path, count: int = 12) -> Path:
    """Conversations of two questions each; of every third line the first answer is not to be learnt."""
    lines = []
    for number in range(count):
        first = {"role": "assistant", "content": f"answer {number}"}
        turns = [
            {"role": "user", "content": f"the first question of conversation {number}"},
            first | ({"weight": 0} if number % 3 == 0 else {}),
            {"role": "user", "content": "and?"},
            {"role": "assistant", "content": f"more of {number}"},
        ]
        lines.append(json.dumps({"messages": turns}))
    file = folder / "chats.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_conversations_can_be_held_out_whole(project: Project, tmp_path: Path) -> None:
    new_task(project, "chat", examples=chats(tmp_path), hold_out=4)
    task = project.task("chat")
    golden = project.golden(task).inputs
    assert [item.id for item in golden] == ["line-2", "line-5", "line-8", "line-11"]
    assert golden[0].conversation("Be brief.") == [
        ("system", "Be brief."),
        ("user", "the first question of conversation 1"),
        ("assistant", "answer 1"),
        ("user", "and?"),
    ]
    lines = project.train_file(task).read_text().splitlines()
    assert len(lines) == 8 and not any(f'conversation {number}"' in line for line in lines for number in (1, 4, 7, 10))
    assert [problem.code for problem in check_project(project)] == ["no_checks"]


def test_a_conversation_that_comes_back_in_the_data_is_a_leak(project: Project, tmp_path: Path) -> None:
    source = chats(tmp_path)
    new_task(project, "chat", examples=source, hold_out=4)
    task = project.task("chat")
    data = project.train_file(task)
    data.write_text(data.read_text() + source.read_text().splitlines()[1] + "\n")
    (leak,) = [problem for problem in check_project(project) if problem.code == "leak"]
    assert leak.line == 9 and "line-2" in leak.message


OTHER_FILES = {
    "faq.csv": "Frage,Answer\n" + "".join(f'"why {n}, then?",because {n}\n' for n in range(8)),
    "alpaca.json": json.dumps([{"instruction": f"why {n}, then?", "output": f"because {n}"} for n in range(8)]),
    "share.jsonl": "\n".join(
        json.dumps(
            {"conversations": [{"from": "human", "value": f"why {n}, then?"}, {"from": "gpt", "value": f"because {n}"}]}
        )
        for n in range(8)
    ),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_forms_are_converted_and_held_out_by_their_number(project: Project, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(OTHER_FILES[name])
    options = ReadOptions(prompt_column="Frage", completion_column="Answer") if name == "faq.csv" else None
    new_task(project, "why", examples=open_data(file, options), hold_out=2)
    task = project.task("why")
    unit = {"faq.csv": "row", "alpaca.json": "entry", "share.jsonl": "line"}[name]
    assert [item.id for item in project.golden(task).inputs] == [f"{unit}-3", f"{unit}-7"]
    examples, _ = load_examples(project.train_file(task), task)
    assert [(example.last_user, example.completion) for example in examples] == [
        (f"why {n}, then?", f"because {n}") for n in (0, 1, 3, 4, 5, 7)
    ]


def test_a_pipe_is_read_once_for_all_that_is_made_of_it(project: Project, tmp_path: Path) -> None:
    content = mails(tmp_path, labelled).read_bytes()
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:  # less than a pipe holds: the writer need not wait for a reader
        file.write(content)
    try:
        new_task(project, "piped", examples=Path(f"/dev/fd/{reading}"), hold_out=6)
    finally:
        os.close(reading)
    task = project.task("piped")
    examples, _ = load_examples(project.train_file(task), task)
    assert (len(examples), len(project.golden(task).inputs)) == (24, 6)


def test_data_that_lies_in_its_place_already_is_used_where_it_is(project: Project, tmp_path: Path) -> None:
    place = project.root / "configs/data/desk.train.jsonl"
    place.write_bytes(mails(tmp_path, labelled).read_bytes())
    before = place.read_bytes()
    assert place not in new_task(project, "desk")
    assert place.read_bytes() == before
    assert len(project.task("desk").format) == 3


def test_an_input_that_other_lines_repeat_is_never_held_out(project: Project, tmp_path: Path) -> None:
    line = json.dumps({"prompt": "the very same question of every single line here", "completion": "yes"})
    own = [json.dumps({"prompt": f"question number {number} of all", "completion": "no"}) for number in range(3)]
    source = tmp_path / "lines.jsonl"
    source.write_text("\n".join([line] * 9 + own))
    new_task(project, "some", examples=source, hold_out=3)
    assert [item.id for item in project.golden(project.task("some")).inputs] == ["line-10", "line-11", "line-12"]
    source.write_text("\n".join(own))
    with pytest.raises(InputError, match="no line would be left"):
        new_task(project, "more", examples=source, hold_out=3)
    source.write_text("\n".join([line] * 9 + own))
    with pytest.raises(InputError, match="4 lines were to be held out, 3 have"):
        new_task(project, "more", examples=source, hold_out=4)


@pytest.mark.parametrize("name", ["a/b", "..", "", " x", "a.b", "é", "-x", "x" * 65])
def test_a_name_that_is_no_plain_word_is_refused(project: Project, name: str) -> None:
    with pytest.raises(InputError) as caught:
        new_task(project, name)
    assert caught.value.code == "bad_name"


def test_nothing_is_overwritten_and_nothing_half_written(project: Project, tmp_path: Path) -> None:
    kept = project.root / "golden/desk.yaml"
    kept.write_text("mine\n")
    with pytest.raises(InputError, match="there already"):
        new_task(project, "desk", examples=mails(tmp_path, labelled))
    assert [path.name for path in project.root.rglob("desk*") if path.is_file()] == ["desk.yaml"]
    assert kept.read_text() == "mine\n"


def test_files_that_are_in_the_way_are_all_named_with_how_to_begin_anew(project: Project, tmp_path: Path) -> None:
    written = new_task(project, "desk", examples=mails(tmp_path, labelled))
    with pytest.raises(InputError) as caught:
        new_task(project, "desk", examples=tmp_path / "mails.jsonl", hold_out=6)
    assert all(str(file) in str(caught.value) for file in written)
    assert caught.value.remedy is not None and caught.value.remedy.endswith(f"rm {' '.join(map(str, written))}")


def test_a_bad_line_of_the_examples_is_named_and_nothing_is_written(project: Project, tmp_path: Path) -> None:
    source = tmp_path / "bad.jsonl"
    source.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    with pytest.raises(InputError) as caught:
        new_task(project, "bad", examples=source)
    assert (caught.value.file, caught.value.line) == (str(source), 2)
    assert not list(project.root.rglob("bad*"))


def test_the_shipped_project_is_no_place_for_a_task() -> None:
    with pytest.raises(InputError, match="no project here"):
        new_task(shipped(), "mine")


def test_what_was_written_is_taken_back_where_a_later_folder_cannot_be_made(project: Project) -> None:
    (project.root / "golden").rmdir()
    (project.root / "golden").write_text("a file in its place")
    with pytest.raises(InputError) as refused:
        new_task(project, "mail")
    assert refused.value.code == "not_writable"
    assert not list((project.root / "configs/tasks").iterdir())
