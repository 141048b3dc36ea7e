"""The errors a person sees. Each says what is wrong, where, and what to do next; each knows its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.redaction import redact


class BakehouseError(Exception):
    """An operation failed (exit code 1).

    `code` is a stable word for scripts (`job_not_found`, `unknown_key`, …); `file`, `line` (from 1) and `key` say where, and
    `remedy` what the person can do about it.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        code: str = "failed",
        file: str | Path | None = None,
        line: int | None = None,
        key: str | None = None,
        remedy: str | None = None,
    ) -> None:
        message = redact(message)
        super().__init__(message)
        self.message = message
        self.code = code
        self.file = None if file is None else redact(str(file))
        self.line = line
        self.key = key
        self.remedy = None if remedy is None else redact(remedy)

    def __str__(self) -> str:
        """One line: `FILE:LINE: KEY: message; remedy`."""
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        # A key that is the file's own name is said already.
        key = None if self.file is not None and self.key == Path(self.file).name else self.key
        parts = [part for part in (where, key, self.message) if part]
        text = ": ".join(parts)
        # A remedy goes on in the same sentence.
        return f"{text.removesuffix('.')}; {self.remedy}" if self.remedy else text

    def to_json(self) -> dict[str, Any]:
        """The body of the error document that `--json` prints and that a job leaves as `error.json`."""
        return {
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "remedy": self.remedy,
        }


class InputError(BakehouseError):
    """Wrong usage, configuration or input file (exit code 2)."""

    exit_code = 2


class GateError(BakehouseError):
    """Refused by a gate: a leak, truncation, parity, or a GPU that is held (exit code 3)."""

    exit_code = 3


class NotFoundError(BakehouseError):
    """No such job, run or model (exit code 4)."""

    exit_code = 4


class KeyedError(ValueError):
    """Raised by a validator that knows which key is at fault and what to do about it.

    `key` is dotted (`format.0.pattern`), or the path of a key whose parts may have dots in them.
    """

    def __init__(
        self, message: str, *, key: str | tuple[str | int, ...] | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message)
        self.key = key
        self.remedy = remedy
