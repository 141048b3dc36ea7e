"""What a data file is, told by its content; and its records with their numbers and lines."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from core.data.reading import DataFile, read_data, read_training
from core.data.source import DataSource
from core.data.turns import ReadOptions
from core.errors import InputError

PAIRS = [{"prompt": f"q{number}", "completion": f"a{number}"} for number in range(3)]
LINES = "\n".join(map(json.dumps, PAIRS))
TABLE = "Question;Answer;Tag\r\n" + "".join(f'"q{n}";a{n};x\r\n' for n in range(3))


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


def read(content: bytes | str, name: str = "some", **options: Any) -> DataFile:
    data = content.encode() if isinstance(content, str) else content
    return read_data(DataSource(Path(name), data), ReadOptions(**options))


def pairs(data: DataFile) -> list[tuple[str, str]]:
    data.refuse_bad()
    return [(talk.turns[0].content, talk.turns[-1].content) for talk in data.conversations]


ASKED = [("q0", "a0"), ("q1", "a1"), ("q2", "a2")]
CHATS = [
    {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]} for n in range(3)
]
# A list of messages in a cell, as JSON whose quotation marks are doubled.
QUOTED = "id,messages\n" + "".join(
    '{},"{}"\n'.format(n, json.dumps(chat["messages"]).replace('"', '""')) for n, chat in enumerate(CHATS)
)


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (LINES, "x.json", "jsonl"),
        (json.dumps(PAIRS), "x.jsonl", "json_array"),
        (json.dumps(PAIRS, indent=2), "x", "json_array"),
        ("\n".join(json.dumps(pair, indent=1) for pair in PAIRS), "x.jsonl", "json_objects"),
        (json.dumps({"rows": PAIRS, "features": []}), "x", "json_array"),
        (json.dumps([chat["messages"] for chat in CHATS]), "x", "json_array"),
        ("\n".join(json.dumps(chat["messages"]) for chat in CHATS), "x", "jsonl"),
        (TABLE, "x", "csv"),
        ("sep=;\r\n" + TABLE, "x.csv", "csv"),
        (TABLE.replace(";", ","), "x.txt", "csv"),
        (TABLE.replace(";", "|"), "x.csv", "csv"),
        (TABLE.replace(";", "\t"), "x", "tsv"),
        ("Question;Answer;a, b, c, d\n" + "".join(f"q{n};a{n};x\n" for n in range(3)), "x.csv", "csv"),
        (TABLE.replace("\r\n", "\r"), "mac.csv", "csv"),
        (parquet(PAIRS), "x", "parquet"),
        (parquet(CHATS), "x", "parquet"),
        (QUOTED, "x.csv", "csv"),
    ],
    ids=range(17),
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_the_content_says_what_a_file_is(content: Any, name: str, kind: str, packed: bool) -> None:
    raw = content.encode() if isinstance(content, str) else content
    data = read(gzip.compress(raw, mtime=0) if packed else raw, name)
    assert (data.format, data.compression) == (kind, "gzip" if packed else None)
    assert pairs(data) == ASKED


@pytest.mark.parametrize(
    ("codec", "option", "said"),
    [
        ("utf-8-sig", None, "UTF-8"),
        ("utf-16", None, "UTF-16"),
        ("utf-32", None, "UTF-32"),
        ("cp1252", "cp1252", "cp1252"),
    ],
)
def test_a_text_is_read_in_its_encoding(codec: str, option: str | None, said: str) -> None:
    data = read(
        "frage;antwort\ncafé;naïve\n".encode(codec), encoding=option, prompt_column="frage", completion_column="antwort"
    )
    assert (data.encoding, pairs(data)) == (said, [("café", "naïve")])


def test_several_gzip_streams_are_one_file() -> None:
    assert (
        pairs(read(gzip.compress(LINES[:30].encode(), mtime=0) + gzip.compress(LINES[30:].encode(), mtime=0))) == ASKED
    )


@pytest.mark.parametrize(
    ("content", "code", "line", "word"),
    [
        (gzip.compress(LINES.encode(), mtime=0)[:-6], "bad_gzip", None, "cut off"),
        (gzip.compress(LINES.encode(), mtime=0) + b"more", "bad_gzip", None, "follows"),
        (b"PK\x03\x04rest", "other_format", 1, "Excel"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "other_format", 1, "git lfs pull"),
        (b"\x28\xb5\x2f\xfd....", "other_format", 1, "zstd -d"),
        (b"PAR1....PAR1", "bad_parquet", None, "Parquet"),
        ("prompt,answer\nq,caf\xe9\n".encode("latin-1"), "not_utf8", 2, "--encoding"),
        (b'[{"prompt": "a"},\n{"prompt": "\xff"}]', "not_utf8", 2, "byte 13"),
        ('prompt,answer\nq,"a\nb\n', "bad_table", 3, "CSV"),
        ("prompt,answer,answer\nq,a,b\n", "doubled_key", 1, "two columns"),
    ],
    ids=range(10),
)
def test_what_cannot_be_read_as_a_whole_is_refused(content: Any, code: str, line: int | None, word: str) -> None:
    with pytest.raises(InputError) as caught:
        read(content)
    assert (caught.value.code, caught.value.line, caught.value.file) == (code, line, "some")
    assert word in str(caught.value)


def test_records_are_named_by_their_number_and_the_line_they_begin_on() -> None:
    table = 'question,answer\n"two\nlines",a\nq,a,more\n"x\n\ny",\n'
    data = read(table)
    assert [(problem.number, problem.error.line) for problem in data.problems] == [(2, 4)]
    array = read('[\n{"prompt": "a", "completion": "b"},\n\n{"prompt": "a"},\n{"prompt": "b", "prompt": "c"}, {]')
    assert [(problem.number, problem.error.line, problem.error.code) for problem in array.problems] == [
        (2, 4, "bad_line"),
        (3, 5, "doubled_key"),
        (4, 5, "not_json"),
    ]
    assert array.problems[0].error.message.startswith("entry 2: ")
    assert (array.records, len(array.conversations)) == (4, 1)


@pytest.mark.parametrize("end", ["", "]]", "] x", ",", '{"prompt": "x"}'])
def test_an_array_that_does_not_end_well_says_where(end: str) -> None:
    data = read(json.dumps(PAIRS)[:-1] + end)
    assert len(data.conversations) == 3 and data.bad == 1
    assert (data.problems[0].number, data.problems[0].error.code) == (4, "not_json")


def test_of_many_bad_lines_a_few_are_named_with_the_count() -> None:
    lines = ['{"prompt": "a"}'] * 3 + ["{"] + ['{"prompt": "a"}'] * 16 + [LINES]
    data = read("\n".join(lines), "x.jsonl")
    with pytest.raises(InputError) as caught:
        data.refuse_bad()
    assert (caught.value.line, caught.value.key) == (1, "completion")
    said = str(caught.value)
    assert "and 19 more lines cannot be used: 2, 3, 4 (is not JSON" in said and len(said) < 500


def test_a_cell_may_be_long_and_a_row_blank() -> None:
    data = read(f'question,answer\n"{"x" * 300_000}",a\n,\n\n')
    assert (len(data.conversations), data.blank) == (1, 2)


def test_parquet_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="pip install pyarrow") as caught:
        read(b"PAR1....PAR1")
    assert caught.value.code == "missing_package"


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(PAIRS),
        TABLE,
        parquet(PAIRS),
        gzip.compress(LINES.encode(), mtime=0),
        '{"question": "q", "answer": "a"}',
        json.dumps(PAIRS[0], indent=1),
    ],
    ids=["array", "csv", "parquet", "gzip", "question", "pretty"],
)
def test_training_names_the_command_that_converts(content: Any) -> None:
    raw = content.encode() if isinstance(content, str) else content
    with pytest.raises(InputError, match="bakehouse data convert 'my data'") as caught:
        data = read_training(DataSource(Path("my data"), raw))
        data.refuse_bad()
    assert caught.value.code in ("other_form", "other_format")
