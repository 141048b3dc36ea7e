"""A data file is read once: files, pipes, FIFOs with and without a writer, and what is no file at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data import source as module
from core.data.source import DataSource, read_source, unpacked
from core.errors import InputError

BIG = b"0123456789" * 50_000  # more than a pipe holds


def writing(path: Path, write: Callable[[int], None]) -> threading.Thread:
    """A thread that opens a FIFO for writing and does this with it."""

    def act() -> None:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            write(descriptor)
        finally:
            os.close(descriptor)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def write_all(descriptor: int) -> None:
    rest = memoryview(BIG)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def test_a_fifo_gives_all_that_its_writer_writes(fifo: Path) -> None:
    thread = writing(fifo, write_all)
    assert read_source(fifo) == DataSource(fifo, BIG, regular=False)
    thread.join()


def test_a_silent_writer_is_waited_for_and_told_once(fifo: Path) -> None:
    told = threading.Event()
    calls: list[Path] = []

    def waiting(path: Path) -> None:
        calls.append(path)
        told.set()

    def late(descriptor: int) -> None:
        assert told.wait(120)
        os.write(descriptor, b"late")

    keep = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # so that the writer has opened the pipe before it is read
    opened = threading.Event()
    thread = writing(fifo, lambda descriptor: (opened.set(), late(descriptor))[1])
    assert opened.wait(120)
    # No patience for a pipe without a writer: one that has it open is waited for however long it is silent.
    assert read_source(fifo, waiting, silent=0.01, writer=0).content == b"late"
    thread.join()
    os.close(keep)
    assert calls == [fifo]


def test_a_fifo_without_a_writer_is_refused_by_name(fifo: Path) -> None:
    with pytest.raises(InputError, match="nothing has written into this pipe") as caught:
        read_source(fifo, silent=0.01, writer=0.02)
    assert (caught.value.code, caught.value.file) == ("no_writer", str(fifo))


def test_a_writer_that_says_nothing_gives_an_empty_file() -> None:
    reading, written = os.pipe()
    os.close(written)
    try:
        assert read_source(Path(f"/dev/fd/{reading}"), silent=0.01).content == b""
    finally:
        os.close(reading)


def test_a_pipe_of_the_shell_is_read_to_its_end() -> None:
    reading, written = os.pipe()
    thread = threading.Thread(target=lambda: (write_all(written), os.close(written)))
    thread.start()
    try:
        found = read_source(Path(f"/dev/fd/{reading}"))
    finally:
        thread.join()
        os.close(reading)
    assert (found.content, found.regular, found.name) == (BIG, False, "stdin")


def test_the_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reading, written = os.pipe()
    os.write(written, b"piped")
    os.close(written)
    duplicate = os.dup
    monkeypatch.setattr(module.os, "dup", lambda descriptor: duplicate(reading if descriptor == 0 else descriptor))
    assert read_source(Path("-")).content == b"piped"
    os.close(reading)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing.jsonl"
    path.write_bytes(b"one\n")
    fdopen = os.fdopen

    def grows(descriptor: int, mode: str) -> object:
        with path.open("ab") as file:
            file.write(b"two\n")
        return fdopen(descriptor, mode)

    monkeypatch.setattr(module.os, "fdopen", grows)
    with pytest.raises(InputError) as caught:
        read_source(path)
    assert caught.value.code == "changing"


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    codes = {"/dev/zero": "not_a_file", str(tmp_path): "not_a_file", str(tmp_path / "absent"): "no_such_file"}
    for path, code in codes.items():
        with pytest.raises(InputError) as caught:
            read_source(Path(path))
        assert (caught.value.code, caught.value.file) == (code, path)
    leader, follower = os.openpty()
    with pytest.raises(InputError, match="is the terminal"):
        read_source(Path(os.ttyname(follower)))
    os.close(leader)
    os.close(follower)
    assert read_source(Path(os.devnull)).content == b""


def test_what_is_too_large_is_refused_before_it_fills_the_memory(fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    path = fifo.with_name("large")
    path.write_bytes(BIG)
    with pytest.raises(InputError) as caught:
        read_source(path)
    assert caught.value.code == "too_large"
    with pytest.raises(InputError) as caught:
        unpacked(DataSource(path, gzip.compress(BIG)))
    assert caught.value.code == "too_large"
