"""Files that a person is given to begin with: all of them or none, and never over a file that is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.errors import InputError


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, as far as they are not there. InputError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"cannot be made: {problem.strerror}", code="not_writable", file=folder) from problem


def write_new_files(files: Mapping[Path, str | bytes]) -> list[Path]:
    """Write files that must not be there yet; when one cannot be written, those written before are taken back."""
    written: list[Path] = []
    try:
        for file, content in files.items():
            make_folder(file.parent)
            try:
                with file.open("xb") as target:
                    written.append(file)
                    target.write(content.encode() if isinstance(content, str) else content)
            except OSError as problem:
                raise InputError(f"cannot be written: {problem.strerror}", code="not_writable", file=file) from problem
    except InputError:
        for done in written:
            done.unlink(missing_ok=True)
        raise
    return written
