"""A page fault of the GPU, and the GPU that is blocked after one: `gpu_fault.json`, until a person releases it or a restart.

A GPU that has faulted can take the machine down when the next training starts on it, unless the machine was restarted before
(ROCm issue 6600). So no job gets it, whoever's the next one is, before a person has been told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from core.files import write_atomic
from core.gpu_lease.notes import Notes
from core.home import Home
from core.process.identity import current_boot_id
from core.reasons import Reason, Value


@dataclass(frozen=True)
class GpuFault:
    """One fault. `text` is the kernel's line, or the job's own; `time` in Unix seconds, `boot_id` that of the boot it was in.

    `job_id` is the job whose process faulted, None of a process that is no job's (`elsewhere`) or that nobody names. Of that
    one it is known which job had the GPU then, `job_on_gpu`.
    """

    text: str
    time: float
    boot_id: str
    job_id: int | None = None
    pid: int | None = None
    process: str = ""
    elsewhere: bool = False
    job_on_gpu: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> GpuFault:
        """Raises ValueError when the document is no fault."""
        kinds: dict[str, type | tuple[type, ...]] = {
            "text": str, "time": (int, float), "boot_id": str, "job_id": (int, type(None)), "pid": (int, type(None)),
            "process": str, "elsewhere": bool, "job_on_gpu": (int, type(None)),
        }  # fmt: skip
        if not isinstance(document, dict):
            raise ValueError("no fault of a GPU")
        values = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        wrong = [name for name, value in values.items() if not isinstance(value, kinds[name])]
        if wrong or not {"text", "time", "boot_id"} <= set(values):
            raise ValueError(f"no fault of a GPU: {wrong}")
        return cls(**values)


def read_fault(home: Home) -> GpuFault | None:
    """The fault that the GPU is blocked for; None where it is not. A file that cannot be read does not count as none."""
    try:
        return GpuFault.from_json(json.loads(home.gpu_fault.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return GpuFault("", 0.0, current_boot_id())


def write_fault(home: Home, fault: GpuFault) -> None:
    """Durable when this returns: the machine may go down next. Raises OSError."""
    write_atomic(home.gpu_fault, json.dumps(fault.to_json(), indent=1) + "\n")


def release_gpu(home: Home) -> bool:
    """A person lets jobs have the GPU again; False when it was not blocked. Raises OSError."""
    try:
        home.gpu_fault.unlink()
    except FileNotFoundError:
        return False
    return True


class FaultBlock:
    """Whether the GPU is blocked after a fault. For the runner's thread; `complain` is told of a disk that takes nothing."""

    def __init__(self, home: Home, notes: Notes, complain: Callable[[str, OSError], None]) -> None:
        self.home = home
        self.notes = notes
        self.complain = complain
        self.boot_id = current_boot_id()
        self.fault: GpuFault | None = None
        self._unwritten = False

    def refresh(self) -> None:
        """Look whether it was released, or whether the machine has restarted since the fault."""
        if self._unwritten and self.fault is not None:
            self._write(self.fault)
            return
        former, self.fault = self.fault, read_fault(self.home)
        if self.fault is not None and self.fault.boot_id != self.boot_id:
            release_gpu(self.home)
            self.notes.add(Reason("gpu_fault_over", _values(self.fault)))
            self.fault = None
        elif former is not None and self.fault is None:
            self.notes.add(Reason("gpu_released", _values(former)))

    def note(self, fault: GpuFault, *, job_on_gpu: int | None, asking: int | None = None) -> None:
        """Take in a fault. The GPU is blocked for one of a job, and for one that nobody is named for while a job has the GPU.

        One of another program harms no job and blocks nothing: desktops and games fault now and then. It is told. So is one
        that nobody is named for while the job with the GPU, `asking`, only asks a model server: no process of a job uses the
        GPU then, so it is the server's, or another program's.
        """
        if fault.boot_id != self.boot_id:
            return
        if fault.elsewhere or (fault.job_id is None and job_on_gpu is None):
            only_asks: dict[str, Value] = {"asking_job_id": asking} if asking is not None and fault.pid is None else {}
            self.notes.add(Reason("gpu_fault_elsewhere", {**_whose(fault), **only_asks}), "warn")
        elif self.fault is None or (self.fault.job_id is None and fault.job_id is not None):
            fault = replace(fault, job_on_gpu=job_on_gpu if fault.job_id is None else None)
            self.notes.add(Reason("gpu_page_fault", _whose(fault)), "bad")
            self.fault = fault
            self._write(fault)

    @property
    def reason(self) -> Reason | None:
        """What every job waits for while the GPU is blocked; None while it is not."""
        return None if self.fault is None else Reason("gpu_faulted", _values(self.fault))

    def _write(self, fault: GpuFault) -> None:
        try:
            write_fault(self.home, fault)
            self._unwritten = False
        except OSError as error:
            # It is blocked all the same, as long as this runner lives.
            self._unwritten = True
            self.complain("The fault of the GPU was not written", error)


def _whose(fault: GpuFault) -> dict[str, Value]:
    known: dict[str, Value] = {
        "job_id": fault.job_id,
        "pid": fault.pid,
        "name": fault.process or None,
        "job_on_gpu": fault.job_on_gpu,
    }
    return {key: value for key, value in known.items() if value is not None}


def _values(fault: GpuFault) -> dict[str, Value]:
    return {**_whose(fault), "time": fault.time, "text": fault.text}
