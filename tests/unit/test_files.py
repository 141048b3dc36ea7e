"""Files are whole or absent, whatever cuts their writing off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.files import (
    AppendedLines,
    append_line,
    last_lines,
    read_json,
    read_lines,
    sha256_json,
    sha256_tree,
    tail,
    tail_offset,
    write_atomic,
    write_json,
)

WRITE_FOR_EVER = """
import sys
from pathlib import Path
from core.files import write_atomic
path, count = Path(sys.argv[1]), 0
while True:
    count += 1
    write_atomic(path, f"{count}\\n" * 200_000)
    print(count, flush=True)
"""
APPEND_FOR_EVER = """
import sys
from pathlib import Path
from core.files import append_line
count = 0
while True:
    count += 1
    append_line(Path(sys.argv[1]), {"count": count, "text": "x" * 500}, durable=count % 50 == 0)
    if count == 20:
        print("here", flush=True)
"""


def kill_while_it_writes(script: str, path: Path, lines: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    time.sleep(0.004)  # somewhere in the middle of the next one
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.process
def test_a_writer_that_is_killed_leaves_the_former_file_or_the_new_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for _ in range(4):
        kill_while_it_writes(WRITE_FOR_EVER, path, 2)
        lines = path.read_text().splitlines()
        assert len(lines) == 200_000
        assert len(set(lines)) == 1


def test_a_write_that_fails_leaves_the_former_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "exit.json"
    write_json(path, {"exit_code": 0})

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"exit_code": 1})
    assert read_json(path) == {"exit_code": 0}
    assert [file.name for file in tmp_path.iterdir()] == ["exit.json"]


def test_a_written_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_atomic(tmp_path / "job.yaml", "key: value\n")
    assert (tmp_path / "job.yaml").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_there_is_none_and_one_that_is_no_json_an_error(tmp_path: Path) -> None:
    assert read_json(tmp_path / "absent.json") is None
    (tmp_path / "torn.json").write_text('{"exit_')
    with pytest.raises(ValueError, match="Unterminated"):
        read_json(tmp_path / "torn.json")


@pytest.mark.process
def test_lines_appended_by_a_killed_writer_are_whole_but_for_the_last(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for run in range(3):
        before = len(list(read_lines(path)))
        kill_while_it_writes(APPEND_FOR_EVER, path, 1)
        counts = [document["count"] for document, _ in read_lines(path)][before:]
        assert counts == list(range(1, len(counts) + 1)), f"run {run}: none is missing between the first and the last"
        assert len(counts) >= 20


def test_a_torn_last_line_is_dropped_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    append_line(path, {"key": "a"})
    with path.open("ab") as file:
        file.write(b'{"key": "b", "te')
    assert [document["key"] for document, _ in read_lines(path)] == ["a"]
    append_line(path, {"key": "c"})
    assert [document["key"] for document, _ in read_lines(path)] == ["a", "c"]


def test_a_line_that_is_still_being_written_is_read_by_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"seq": 1}\n{"seq"')
    ((first, offset),) = read_lines(path)
    assert first == {"seq": 1}
    with path.open("ab") as file:
        file.write(b": 2}\n")
    assert list(read_lines(path, offset)) == [({"seq": 2}, path.stat().st_size)]


def test_lines_that_are_no_objects_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_bytes(b'3\n[1]\nnull\n\n\xff\xfe\n{"ok": true}\n')
    assert [document for document, _ in read_lines(path)] == [{"ok": True}]
    assert list(read_lines(tmp_path / "absent.jsonl")) == []


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=6), st.integers(0, 400))
def test_a_file_cut_anywhere_gives_the_lines_before_the_cut(documents: list[dict[str, object]], cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.jsonl"
        ends = []
        for document in documents:
            append_line(path, document, durable=False)
            ends.append(path.stat().st_size)
        if documents:
            os.truncate(path, min(cut, ends[-1]))
        whole = [document for document, end in zip(documents, ends, strict=True) if end <= cut]
        assert [document for document, _ in read_lines(path)] == whole


def test_the_hash_of_a_folder_knows_names_and_contents_but_no_times(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep/weights").write_bytes(b"123")
        (folder / "config.json").write_text("{}")
    os.utime(other / "config.json", (1, 1))
    assert sha256_tree(one) == sha256_tree(other)
    (other / "config.json").rename(other / "settings.json")
    assert sha256_tree(one) != sha256_tree(other)
    (other / "settings.json").rename(other / "config.json")
    (other / "deep/weights").write_bytes(b"124")
    assert sha256_tree(one) != sha256_tree(other)


def test_the_hash_of_a_document_does_not_know_the_order_of_its_keys() -> None:
    document = {"b": [1, 2], "a": {"d": "ü", "c": None}}
    turned = json.loads(json.dumps({"a": {"c": None, "d": "ü"}, "b": [1, 2]}))
    assert sha256_json(document) == sha256_json(turned)
    assert sha256_json(document) != sha256_json({"b": [2, 1], "a": {"d": "ü", "c": None}})


def test_the_tail_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert (tail(path, 4), last_lines(path, 4), tail_offset(path, 4)) == (b"", ([], 0), 0)
    path.write_bytes(b"0123456789")
    assert (tail(path, 4), tail(path, 100), tail_offset(path, 4), tail_offset(path, 100)) == (
        b"6789",
        b"0123456789",
        6,
        0,
    )
    with path.open("rb") as file:
        file.seek(3)
        assert (tail(file.fileno(), 2), file.tell()) == (b"89", 3), "a descriptor is left where it stands"


@given(
    st.lists(st.binary(max_size=6).filter(lambda line: b"\n" not in line), max_size=30),
    st.booleans(),
    st.integers(0, 35),
)
def test_the_last_lines_are_those_of_the_whole_file(lines: list[bytes], ended: bool, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(b"\n".join(lines) + (b"\n" if ended and lines else b""))
        whole = path.read_bytes()
        expected = whole.removesuffix(b"\n").split(b"\n") if whole else []
        with mock.patch("core.files._TAIL_STEP_BYTES", 7):
            assert last_lines(path, count) == (expected[-count:] if count else [], len(whole))


@given(st.lists(st.binary(max_size=9), max_size=12), st.integers(1, 20))
def test_appended_lines_come_once_and_whole(writes: list[bytes], most_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        log, found = AppendedLines(path), []
        assert log.read() == ([], False)
        with path.open("ab", buffering=0) as file:
            for data in writes:
                file.write(data)
                found += log.read(20)[0]
        while log.offset < log.size:
            found += log.read(20)[0]
        whole = b"".join(writes)
        if max(map(len, whole.split(b"\n"))) <= 20:
            assert b"\n".join([*found, log.rest]) == whole
        newest, gap = AppendedLines(path).read(most_bytes, newest=True)
        assert gap == (len(whole) > most_bytes)
        assert newest == (whole.split(b"\n")[:-1] if not gap else whole[-most_bytes:].split(b"\n")[1:-1])


def test_a_file_that_became_shorter_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nhal")
    log = AppendedLines(path)
    assert (log.read(), log.rest) == (([b"one", b"two"], False), b"hal")
    path.write_bytes(b"new\n")
    assert (log.read(), log.rest, log.size) == (([b"new"], True), b"", 4)
