"""Data files as tools and people leave them: read where what is meant is certain, refused in words where it is not."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from core.config.task import Task
from core.data.examples import load_examples
from core.data.learning import speaks_of_learning
from core.data.reading import DataFile, read_data, read_training
from core.data.source import DataSource
from core.data.turns import ReadOptions
from core.errors import InputError

PAIRS = [{"prompt": f"q{number}", "completion": f"a{number}"} for number in range(3)]
LINES = [json.dumps(pair) for pair in PAIRS]
ASKED = [("q0", "a0"), ("q1", "a1"), ("q2", "a2")]
TALK = [{"role": "user", "content": "q0"}, {"role": "assistant", "content": "it's a0"}]
MARK = "\ufeff"


def source(content: str | bytes) -> DataSource:
    return DataSource(Path("some"), content.encode() if isinstance(content, str) else content)


def read(content: str | bytes, **options: Any) -> DataFile:
    return read_data(source(content), ReadOptions(**options))


def pairs(data: DataFile) -> list[tuple[str, str]]:
    data.refuse_bad()
    return [(talk.turns[0].content, talk.turns[-1].content) for talk in data.conversations]


def refused(content: str | bytes, **options: Any) -> InputError:
    """Why the one record that cannot be used is not."""
    data = read(content, **options)
    assert data.bad == 1
    return data.problems[0].error


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("".join(f"{MARK}{line}\n" for line in LINES), "jsonl"),  # several files, one behind another
        (",\n".join(LINES) + "\n", "json_objects"),  # the inside of an array
        ("".join(f"{line},\n" for line in LINES), "json_objects"),
        (f"[{','.join(LINES)},]", "json_array"),
        ("[\n" + ",\n".join(LINES) + ",\n]\n", "json_array"),
        (
            json.dumps({"features": [], "rows": [{"row_idx": n, "row": pair} for n, pair in enumerate(PAIRS)]}),
            "json_array",
        ),
        (json.dumps({key: [pair[key] for pair in PAIRS] for key in PAIRS[0]}), "json_table"),
        (json.dumps({key: {str(n): pair[key] for n, pair in enumerate(PAIRS)} for key in PAIRS[0]}), "json_table"),
        (
            json.dumps({"columns": [*PAIRS[0]], "index": [0, 1, 2], "data": [[*pair.values()] for pair in PAIRS]}),
            "json_table",
        ),
        (json.dumps({f"id-{n}": pair for n, pair in enumerate(PAIRS)}, indent=1), "json_table"),
        (json.dumps({str(n): pair for n, pair in enumerate(PAIRS)}), "json_table"),
        ("prompt, completion\n" + "".join(f'"q{n}", "a{n}"\n' for n in range(3)), "csv"),
    ],
    ids=range(12),
)
def test_files_of_other_tools_give_their_records(content: str, kind: str) -> None:
    data = read(content)
    assert (data.format, pairs(data)) == (kind, ASKED)


@pytest.mark.parametrize(
    "record",
    [
        {"messages": TALK},
        {"prompt": TALK[:1], "completion": TALK[1:]},
        {"prompt": TALK[0], "completion": TALK[1]},
        {"instruction": "q0", "output": ["it's a0"]},
        {"system": "", "question": "q0", "chosen": "it's a0", "rejected": "no"},
        {"Prompt": "", "prompt": "q0", "completion": "it's a0"},
        {"prompt": "q0", "completion": "it's a0", "system": float("nan"), "input": float("nan")},
    ],
    ids=range(7),
)
def test_one_object_that_is_a_record_stays_one(record: dict[str, Any]) -> None:
    assert pairs(read(json.dumps(record))) == [("q0", "it's a0")]


def test_a_cell_may_hold_messages_as_python_writes_them() -> None:
    cell = str(TALK).replace('"', '""')
    assert pairs(read_data(source(f'id,messages\n1,"{cell}"\n'))) == [("q0", "it's a0")]
    assert refused("id,messages\n1,\"[__import__('os').getcwd()]\"\n").key == "messages"


def test_training_data_is_no_table_of_one_line() -> None:
    with pytest.raises(InputError) as caught:
        read_training(source(json.dumps({"prompt": ["q0", "q1"], "completion": ["a0", "a1"]})))
    assert caught.value.code == "other_format" and "bakehouse data convert" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ('[\n// the first\n{"prompt": "q", "completion": "a"}]', "not_json", "a comment"),
        ("{'prompt': 'q', 'completion': 'a'}", "not_json", "json.dumps"),
        ('{"prompt": "q", "completion": None}', "not_json", "Python's notation"),
        ('{"prompt": "q", "compl', "not_json", "cut off"),
        ('{"prompt": "a\tb", "completion": "c"}', "not_json", "\\t"),
        ("```json\n", "not_json", "fence"),
        ('{"prompt": "q", "completion": NaN}', "bad_line", "NaN"),
        ('{"prompt": "q", "completion": null}', "bad_line", "null"),
        ('{"prompt": "q", "completion": ["a", "b"]}', "bad_line", "2 texts"),
        (
            '{"prompt": "q", "messages": [{"role": "user", "content": [{"type": "image"}]}], "x": 1}',
            "bad_line",
            "'image'",
        ),
        ("Prompt,prompt,completion\nx,y,z\n", "ambiguous", "differ"),
        ("prompt,completion\nprompt,completion\n", "head_again", "put together"),
        (f"prompt,completion\n{MARK}prompt,completion\n", "head_again", "put together"),
        (b'{"prompt": "caf\xe9", "completion": "a"}', "not_utf8", "--encoding cp1252"),
    ],
    ids=range(14),
)
def test_what_cannot_be_read_is_said_in_words(content: str | bytes, code: str, words: str) -> None:
    error = refused(content, ignore=frozenset({"prompt"}) if b"image" in source(content).content else frozenset())
    assert error.code == code
    assert words in f"{error.message} {error.remedy}"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_named(codec: str) -> None:
    content = "prompt,completion\nq0,a0\n".encode(codec)
    with pytest.raises(InputError) as caught:
        read(content)
    assert caught.value.code == "not_utf8" and f"--encoding {codec}" in str(caught.value.remedy)
    assert pairs(read(content, encoding=codec)) == [("q0", "a0")]


def test_a_tar_archive_is_no_list_of_lines() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("data.jsonl")
        member.size = len(text := "\n".join(LINES).encode())
        archive.addfile(member, io.BytesIO(text))
    with pytest.raises(InputError, match="tar archive"):
        read(packed.getvalue())


@pytest.mark.parametrize(
    "key", ["no_loss", "doNotTrain", "learn", "compute_loss", "train_on_inputs", "is_masked", "LossWeight"]
)
def test_a_key_that_speaks_of_learning_is_not_passed_over(key: str) -> None:
    assert speaks_of_learning(key)
    line = json.dumps({"messages": [TALK[0], {**TALK[1], key: False}]})
    assert refused(line).code == "bad_weight"
    with pytest.raises(InputError):
        load_examples(source(line), Task(name="t"))


@pytest.mark.parametrize(
    "key", ["training_id", "lossless", "weight_kg", "train_station", "learning_goal", "prompt", "answer", "no"]
)
def test_a_key_with_other_words_is_counted(key: str) -> None:
    assert not speaks_of_learning(key)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"train": False}, "bad_weight"),  # axolotl's, of a part of an answer
        ({"loss_mask": 0}, "bad_weight"),
        ({"weight": 0.5}, "bad_weight"),
        ({"thought": True}, "not_learnable"),  # Gemini's
        ({"tool_calls": [{"id": "1"}]}, "not_learnable"),
    ],
)
def test_what_a_part_of_an_answer_says_of_learning_is_not_passed_over(part: dict[str, Any], code: str) -> None:
    line = json.dumps({"messages": [TALK[0], {"role": "assistant", "content": [{"text": "a", **part}, {"text": "b"}]}]})
    assert refused(line).code == code
    with pytest.raises(InputError):
        load_examples(source(line), Task(name="t"))


def test_what_else_a_part_says_is_counted() -> None:
    line = json.dumps(
        {"messages": [TALK[0], {"role": "assistant", "content": [{"text": "a", "train": True, "id": 1}]}]}
    )
    assert read(line).ignored == {"messages[].content[].id": 1, "messages[].content[].train": 1}


def test_arrays_one_behind_another_are_named() -> None:
    error = read(f"[{LINES[0]}]\n[{LINES[1]}]\n").problems[0].error
    assert "found a list" in error.message and "jq -c" in str(error.remedy)
