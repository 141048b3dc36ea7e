"""A program that a job starts: it goes with the job however that ends, by SIGKILL too (`core.process.child`)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import IO, Any

from core.process.child import guarded


def start_child(
    command: Sequence[str], *, stdout: int | IO[Any], stderr: int | IO[Any], environ: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program, given by its absolute path, in the job's process group. Whoever calls ends it with `end_child`.

    What the kernel looks at is the thread that started a process, not the whole of it: all children are started by one thread
    that lives as long as the job does.
    """

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            guarded(command),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=None if environ is None else dict(environ),
        )

    return _starter().submit(start).result()


@cache
def _starter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="children")
