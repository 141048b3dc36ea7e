"""Which of the processes on a GPU are jobs of this home, and which are its served models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from core.gpu.reading import ProcessReading
from core.gpu.sources.kernel_file import read_text
from core.process.stat import parse_stat

# A job's process may start others (a data loader, a server), hardly ever in more steps than this.
_GENERATIONS = 8

Of = Callable[[Path], str | None]
"""What a process is by its folder in procfs; None of one that is not of that kind."""


def mark_ours(
    processes: Iterable[ProcessReading], runs: Path, procfs: Path, served: Path | None = None
) -> tuple[ProcessReading, ...]:
    """The processes: `ours` set on those that run a job of a run directory in `runs`, or descend from one that does, and
    `served` on those that the shim of a served model in the folder `served` has started.
    """
    jobs: dict[int, str | None] = {}
    models: dict[int, str | None] = {}
    return tuple(
        replace(
            process,
            ours=_of_line(process.pid, lambda folder: _named_behind(folder, "jobs", runs), procfs, jobs) is not None,
            served=None
            if served is None
            else _of_line(
                process.pid, lambda folder: _named_behind(folder, "core.served.shim", served), procfs, models
            ),
        )
        for process in processes
    )


def _of_line(pid: int, of: Of, procfs: Path, known: dict[int, str | None]) -> str | None:
    """What a process is, or the nearest of those that it descends from."""
    line: list[int] = []
    answer: str | None = None
    current: int | None = pid
    while current is not None and current > 1 and len(line) <= _GENERATIONS:
        if current in known:
            answer = known[current]
            break
        line.append(current)
        if (answer := of(procfs / str(current))) is not None:
            break
        current = _parent(procfs / str(current))
    known.update(dict.fromkeys(line, answer))
    return answer


def _named_behind(folder: Path, module: str, parent: Path) -> str | None:
    """The name of the folder in `parent` that the command is about: `PYTHON … -m MODULE [OPTIONS] FOLDER`."""
    words = (read_text(folder / "cmdline") or "").split("\0")
    for index in range(len(words) - 2):
        if words[index : index + 2] == ["-m", module]:
            about = next((Path(word) for word in words[index + 2 :] if not word.startswith("--")), None)
            return about.name if about is not None and about.parent == parent else None
    return None


def _parent(folder: Path) -> int | None:
    found = parse_stat(read_text(folder / "stat") or "")
    return None if found is None else found.parent
