"""JSONL becomes examples, or an error that names its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.golden import GoldenInput
from core.config.task import Task, TaskData
from core.data.examples import Example, Message, load_examples
from core.data.leaks import find_leaks
from core.errors import InputError
from tests.support.depth import example_count

TASK = Task(name="judge", system="You grade notes.")
EVERY_TURN = Task(name="judge", system="You grade notes.", data=TaskData(loss="every_turn"))
KEEP = Task(name="judge", system="You grade notes.", data=TaskData(system="keep"))
CHAT = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "two"},
    {"role": "assistant", "content": "2"},
]


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def refused(folder: Path, *lines: Any, task: Task = TASK) -> InputError:
    with pytest.raises(InputError) as caught:
        load_examples(write(folder, *lines), task)
    assert caught.value.file == str(folder / "data.jsonl")
    return caught.value


def test_prompt_and_completion_become_one_user_and_one_assistant_turn(tmp_path: Path) -> None:
    examples, report = load_examples(write(tmp_path, {"prompt": "note", "completion": "PASS"}), TASK)
    (example,) = examples
    assert example.messages == (Message("system", "You grade notes."), Message("user", "note"))
    assert (example.completion, example.line) == ("PASS", 1)
    assert (report.lines, report.examples, report.duplicates) == (1, 1, 0)


def test_a_task_without_a_system_message_puts_none_in_front(tmp_path: Path) -> None:
    examples, _ = load_examples(write(tmp_path, {"prompt": "note", "completion": "PASS"}), Task(name="judge"))
    assert examples[0].messages == (Message("user", "note"),)


def test_the_last_assistant_turn_is_what_is_learnt(tmp_path: Path) -> None:
    examples, _ = load_examples(write(tmp_path, {"messages": CHAT}), TASK)
    (example,) = examples
    assert [message.content for message in example.messages] == ["You grade notes.", "one", "1", "two"]
    assert example.completion == "2"


def test_every_turn_makes_an_example_of_each_assistant_turn(tmp_path: Path) -> None:
    examples, report = load_examples(write(tmp_path, {"messages": CHAT}), EVERY_TURN)
    assert [(len(example.messages), example.completion) for example in examples] == [(2, "1"), (4, "2")]
    assert (report.lines, report.examples) == (1, 2)


def test_the_same_system_message_in_a_line_stands_once(tmp_path: Path) -> None:
    line = {"messages": [{"role": "system", "content": "You grade notes.\n"}, *CHAT[:2]]}
    examples, _ = load_examples(write(tmp_path, line), TASK)
    assert [message.role for message in examples[0].messages] == ["system", "user"]


def test_another_system_message_in_a_line_is_an_error_unless_it_is_kept(tmp_path: Path) -> None:
    line = {"messages": [{"role": "system", "content": "You are rude."}, *CHAT[:2]]}
    error = refused(tmp_path, {"prompt": "a", "completion": "b"}, line)
    assert (error.line, error.code) == (2, "system_differs")
    examples, _ = load_examples(write(tmp_path, line), KEEP)
    assert examples[0].messages[0] == Message("system", "You are rude.")


def test_further_keys_and_doubled_examples_are_counted(tmp_path: Path) -> None:
    line = {"prompt": "a", "completion": "b"}
    read = {**line, "source": "s", "expect": {"verdict": "PASS"}}
    examples, report = load_examples(write(tmp_path, {**line, "id": 1}, read, {**line, "id": 2, "tag": "x"}), TASK)
    assert [(one.source, one.expect) for one in examples] == [(None, None), ("s", {"verdict": "PASS"}), (None, None)]
    assert report.further_keys == {"id": 2, "tag": 1}
    assert report.duplicate_lines == (2, 3)


def test_content_may_be_a_list_of_text_parts(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    examples, _ = load_examples(write(tmp_path, {"messages": [{"role": "user", "content": parts}, CHAT[1]]}), TASK)
    assert examples[0].last_user == "one two"


@pytest.mark.parametrize(
    ("line", "code", "key"),
    [
        ("{", "not_json", None),
        ("[]", "bad_line", None),
        ('{"prompt": "a", "prompt": "b", "completion": "c"}', "doubled_key", "prompt"),
        ('{"prompt": "a", "completion": "\\ud800"}', "bad_line", "completion"),
        ("[" * 100_000, "not_json", None),
        ({"prompt": "a"}, "bad_line", "completion"),
        ({"text": "bare text"}, "bad_line", "prompt"),
        ({"prompt": 1, "completion": "b"}, "bad_line", "prompt"),
        ({"prompt": "a", "completion": " \n"}, "empty_completion", "completion"),
        ({"messages": CHAT, "prompt": "a"}, "bad_line", None),
        ({"messages": []}, "bad_line", "messages"),
        ({"messages": CHAT[:3]}, "bad_line", "messages"),
        ({"messages": CHAT[1:]}, "bad_line", "messages"),
        ({"messages": [CHAT[0], CHAT[0], CHAT[1]]}, "bad_line", "messages"),
        ({"messages": [{"role": "system", "content": "You grade notes."}]}, "bad_line", "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "bad_line", "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "bad_line", "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "bad_line", "messages[0]"),
        ({"messages": [*CHAT[:2], {"role": "system", "content": "x"}]}, "bad_line", "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "bad_line", "messages[0].content"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: Any, code: str, key: str | None) -> None:
    error = refused(tmp_path, {"prompt": "a", "completion": "b"}, "", line)
    assert (error.line, error.code, error.key) == (3, code, key)


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"prompt": "a", "completion": "b"}\n{"prompt": "\xff"}\n')
    with pytest.raises(InputError) as caught:
        load_examples(path, TASK)
    assert (caught.value.line, caught.value.code) == (2, "not_utf8")


def test_line_separators_within_a_text_end_no_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes('\ufeff{"prompt": "a\u2028b", "completion": "c\u0085d"}\r\n'.encode())
    examples, _ = load_examples(path, TASK)
    assert (examples[0].last_user, examples[0].completion) == ("a\u2028b", "c\u0085d")


def test_an_empty_or_absent_data_set_is_an_error(tmp_path: Path) -> None:
    assert refused(tmp_path, "", " ").code == "empty_data_set"
    with pytest.raises(InputError) as caught:
        load_examples(tmp_path / "absent.jsonl", TASK)
    assert caught.value.code == "no_such_file"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
LINES = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(st.sampled_from(["prompt", "completion", "messages", "x"]), JSON_VALUES, max_size=4).map(
        lambda document: json.dumps(document).encode()
    ),
)


@settings(max_examples=example_count(150))
@given(st.lists(LINES, max_size=4), st.sampled_from([TASK, EVERY_TURN, KEEP]))
def test_whatever_a_file_holds_it_is_loaded_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], task: Task
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "data.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        examples, report = load_examples(path, task)
    except InputError as error:
        assert error.file == str(path)
        return
    assert report.examples == len(examples) > 0
    for example in examples:
        document = json.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")[example.line - 1])
        texts = [document.get("completion"), *(item["content"] for item in document.get("messages", []))]
        joined = ["".join(p["text"] for p in text) if isinstance(text, list) else text for text in texts]
        assert example.completion in joined and example.completion.strip()


def example(text: str, line: int = 1) -> Example:
    return Example((Message("user", text),), "PASS", line, "data.jsonl")


def golden(name: str, text: str) -> GoldenInput:
    return GoldenInput(id=name, input=text)


def test_leaks_are_found_though_case_and_punctuation_differ() -> None:
    long = "The cold one went into the oven at 7:30, straight from the fridge."
    inputs = [golden("short", "Ok."), golden("long", long), golden("empty", ""), golden("marks", "?!")]
    examples = [
        example("ok", 1),
        example("everything is ok", 2),
        example(f"note: x\n{long.upper()} and more", 3),
        example("at 7:30 — straight from the fridge", 4),
        example("straight from the fridge", 5),
        example("", 6),
        example("?!", 7),
    ]
    found = [(leak.line, leak.golden_id, leak.kind) for leak in find_leaks(examples, inputs)]
    assert found == [(1, "short", "equal"), (3, "long", "contains"), (7, "marks", "equal")]


def test_a_long_part_of_a_golden_input_is_a_leak() -> None:
    text = "The cold one went into the oven at 7:30, straight from the fridge. It rose well."
    (leak,) = find_leaks([example(text[:66])], [golden("g", text)])
    assert leak.kind == "contained"
