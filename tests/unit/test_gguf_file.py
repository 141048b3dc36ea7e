"""What the jobs that make GGUF files decide without a tool: names, room on the disk, which file is meant."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from core.errors import BakehouseError, InputError
from core.files import write_json
from core.home import Home
from jobs.artefacts import ArtefactStore
from jobs.context import explain
from jobs.gguf import MARGIN_BYTES, file_name, noted_sha256, require_disk, require_success, the_file_in
from jobs.tools import ToolEnd


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    "model, name",
    [("SmolLM2-135M", "SmolLM2-135M-Q8_0.gguf"), ("../a b/c\n", "a-b-c-Q8_0.gguf"), ("…", "model-Q8_0.gguf")],
)
def test_a_file_is_named_by_model_and_type_whatever_the_model_is_called(model: str, name: str) -> None:
    assert file_name(model, "Q8_0") == name


def test_what_the_disk_has_no_room_for_is_refused_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtefactStore(tmp_path / "artefacts", Home(tmp_path))
    left = store.root / ".tmp-999999999-gguf"
    left.mkdir(parents=True)
    needed = 1_000_000_000 * 2 + MARGIN_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 0, needed - 1))
    with pytest.raises(BakehouseError) as caught:
        require_disk(store, 1_000_000_000, 16)
    assert caught.value.code == "disk_full"
    assert not left.exists(), "what a killed job has left makes room first"
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 0, needed))
    require_disk(store, 1_000_000_000, 16)
    with pytest.raises(BakehouseError):
        require_disk(store, 1_000_000_000, 16, twice=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 0, 2 * needed))
    require_disk(store, 1_000_000_000, 16, twice=True)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EFBIG, "file_size_limit"),
        (errno.EIO, "disk_error"),
    ],
)
def test_a_disk_that_gives_up_in_the_middle_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, number: int, code: str
) -> None:
    store = ArtefactStore(tmp_path / "artefacts", Home(tmp_path))
    refused = OSError(number, os.strerror(number))  # as a file that is open raises it

    def fill(folder: Path) -> None:
        (folder / "half").write_bytes(bytes(1000))
        raise refused

    with pytest.raises(BakehouseError) as caught:
        store.add("gguf", {}, fill)
    assert caught.value.code == code and caught.value.file == str(store.root) and list(store.root.iterdir()) == []
    # Where a job writes elsewhere, to its run directory say.
    assert explain(refused).code == code and "Errno" not in explain(refused).message


def test_a_fault_of_the_job_s_own_is_not_the_disk_s(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path / "artefacts", Home(tmp_path))

    def fill(folder: Path) -> None:
        (folder / "nowhere" / "file").write_bytes(b"")

    with pytest.raises(FileNotFoundError):
        store.add("gguf", {}, fill)
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("lines, code, said", [
    (("writing", "OSError: [Errno 28] No space left on device"), 1, "disk_full"),
    (("Writing", "OSError: [Errno 27] File too large"), 1, "file_size_limit"),
    ((), -signal.SIGXFSZ, "file_size_limit"),
    (("a", "KeyError: 'b'"), 1, "quantiser ended with 1: KeyError"),
    ((), -9, "quantiser was ended by SIGKILL"),
    ((), 3, "quantiser ended with 3 without saying why"),
])  # fmt: skip
def test_why_a_tool_failed_is_one_line(tmp_path: Path, lines: tuple[str, ...], code: int, said: str) -> None:
    end = ToolEnd(lines, code)
    with pytest.raises(BakehouseError) as caught:
        require_success(end, "quantiser", end.last(r"^(\w*Error)"), tmp_path)
    assert said in (caught.value.code, caught.value.message)


def test_text_of_a_tool_is_printable_before_it_is_an_error() -> None:
    assert ToolEnd(("error: \x1b[31mred\x07 \u202ename",), 1).last("error: (.+)$") == "red name"


def test_an_artefact_has_one_file_whose_hash_stands_beside(tmp_path: Path) -> None:
    folder = tmp_path / "gguf"
    folder.mkdir()
    with pytest.raises(InputError):
        the_file_in(folder)
    (folder / "a.gguf").touch()
    assert the_file_in(folder) == folder / "a.gguf" and noted_sha256(folder) is None
    write_json(tmp_path / "lineage.json", {"file_sha256": "ab"})
    assert noted_sha256(folder) == "ab"
    (folder / "b.gguf").touch()
    with pytest.raises(InputError):
        the_file_in(folder)
