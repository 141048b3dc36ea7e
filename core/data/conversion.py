"""A data file in the project's own form: JSON lines, in which what may not be learnt is marked.

text, left_out = converted(data)     # the lines, and how many records were left out as unusable
write_new(path, text)                # whole or not at all, and never over a file that is there
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.data.line_forms import Conversation
from core.data.reading import DataFile
from core.errors import InputError
from core.files import fsync_directory

ENDINGS = (".gz", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet")


def converted(data: DataFile, *, skip_bad: bool = False, without: Iterable[int] = ()) -> tuple[str, int]:
    """The records as JSON lines that read to the same examples, and how many were left out because they cannot be used.

    `without` leaves out records by their number. InputError (`BadRecordsError`) for records that cannot be used, unless
    `skip_bad`; and when no record is left.
    """
    if not skip_bad:
        data.refuse_bad()
    absent = set(without)
    kept = [talk for talk in data.conversations if talk.number not in absent]
    if not kept:
        if data.bad:
            data.refuse_bad()
        raise InputError("the data set is empty", code="empty_data_set", file=data.path)
    return "".join(f"{line_of(talk)}\n" for talk in kept), data.bad


def line_of(talk: Conversation) -> str:
    """One conversation as a line of the project's form."""
    turns = talk.turns
    document: dict[str, Any]
    if [turn.role for turn in turns] == ["user", "assistant"] and turns[1].learn:
        document = {"prompt": turns[0].content, "completion": turns[1].content}
    else:
        document = {
            "messages": [
                {"role": turn.role, "content": turn.content, **({} if turn.learn else {"weight": 0})} for turn in turns
            ]
        }
    if talk.source is not None:
        document["source"] = talk.source
    if talk.expect is not None:
        document["expect"] = talk.expect
    return json.dumps(document, ensure_ascii=False)


def beside(path: Path) -> Path:
    """Where a converted file goes unless told otherwise: `notes.csv.gz` to `notes.converted.jsonl`, in the same folder."""
    name = path.name
    while (suffix := Path(name).suffix.lower()) in ENDINGS:
        name = name[: -len(suffix)]
    return path.with_name(f"{name}.converted.jsonl")


def write_new(path: Path, text: str) -> None:
    """Write a file that must not be there yet: whole, or not at all. InputError otherwise."""
    folder = path.parent
    temporary = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=folder)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        try:
            os.link(temporary, path)  # unlike a rename it never replaces a file
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            _write_in_place(path, text.encode())
        fsync_directory(folder)
    except FileExistsError:
        raise InputError(
            "the file is there already", code="exists", file=path, remedy="name another with `-o FILE`"
        ) from None
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", code="not_writable", file=path) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _write_in_place(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _umask() -> int:
    """The umask of this process, read without changing it for other threads."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o077
