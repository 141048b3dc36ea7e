"""Which of the processes on a GPU are jobs of this home."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from core.gpu.reading import ProcessReading
from core.gpu.sources.kernel_file import read_text
from core.process.stat import parse_stat

# A job's process may start others (a data loader, a server), hardly ever in more steps than this.
_GENERATIONS = 8


def mark_ours(processes: Iterable[ProcessReading], runs: Path, procfs: Path) -> tuple[ProcessReading, ...]:
    """The processes, `ours` set on those that run a job of a run directory in `runs`, or descend from one that does."""
    known: dict[int, bool] = {}
    return tuple(replace(process, ours=_is_ours(process.pid, runs, procfs, known)) for process in processes)


def _is_ours(pid: int, runs: Path, procfs: Path, known: dict[int, bool]) -> bool:
    line: list[int] = []
    answer = False
    current: int | None = pid
    while current is not None and current > 1 and len(line) <= _GENERATIONS:
        if current in known:
            answer = known[current]
            break
        line.append(current)
        if _runs_job(procfs / str(current), runs):
            answer = True
            break
        current = _parent(procfs / str(current))
    known.update(dict.fromkeys(line, answer))
    return answer


def _runs_job(folder: Path, runs: Path) -> bool:
    """Whether the command is `PYTHON … -m jobs RUN_DIR`."""
    words = (read_text(folder / "cmdline") or "").split("\0")
    for index in range(len(words) - 2):
        if words[index : index + 2] == ["-m", "jobs"]:
            return Path(words[index + 2]).parent == runs
    return False


def _parent(folder: Path) -> int | None:
    found = parse_stat(read_text(folder / "stat") or "")
    return None if found is None else found.parent
