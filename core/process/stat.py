"""`/proc/PID/stat` of a process. psutil gives no start in clock ticks, by which a process is known, and has one root for all
readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_LIMIT_BYTES = 4096


@dataclass(frozen=True)
class ProcessStat:
    """`state` is the kernel's letter; `cpu_ticks` that of the process and of its children that it has waited for."""

    name: str
    state: str
    parent: int
    group: int
    cpu_ticks: int
    start_ticks: int
    """Clock ticks since boot."""

    @property
    def ended(self) -> bool:
        """Only its entry is left: a zombie that nobody has waited for."""
        return self.state in "ZX"


def read_stat(pid: int, procfs: Path = PROC) -> ProcessStat | None:
    """The process as the kernel sees it now; None when there is none, or when what stands there is no such file.

    Raises `OSError` when it can't be looked at: that says nothing about whether the process lives.
    """
    try:
        with (procfs / str(pid) / "stat").open("rb", buffering=0) as file:
            return parse_stat(file.read(_LIMIT_BYTES).decode(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def parse_stat(text: str) -> ProcessStat | None:
    """One line of proc(5); None when it is none. The name stands in brackets and may itself hold spaces and brackets."""
    head, closed, rest = text.rpartition(")")
    fields = rest.split()
    if not closed or len(fields) < 20:
        return None
    numbers = [fields[index] for index in (1, 2, 11, 12, 13, 14, 19)]
    if not all(_is_number(word) for word in numbers):
        return None
    parent, group, *cpu, start = (int(word) for word in numbers)
    return ProcessStat(head.partition("(")[2], fields[0], parent, group, sum(cpu), start)


def _is_number(word: str) -> bool:
    digits = word.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= 20
