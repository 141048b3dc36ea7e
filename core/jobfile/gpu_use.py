"""What a job does with the GPU. Submission tells it from the job's spec, the job file keeps it, the runner reads it there.

Plain values, so that the runner needs none of the classes of what a person wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from core.errors import InputError
from core.home import Home, RunDir
from core.jobfile.raw import read_document

GpuMode = Literal["exclusive", "serving", "none"]
MOST_KEPT = 100


@dataclass(frozen=True)
class GpuUse:
    """`exclusive`: the job has the GPU to itself, served models are unloaded for it. `serving`: the job asks a model server of
    this machine (and may load models itself, having made room): the server's models stay. `none`: the job leaves the GPU alone
    and runs beside others.

    `asked` are the models that the job asks of each Ollama, by its address: what the job leaves behind there is known by that.
    `beside_programs`: a server of this machine that is no Ollama is asked, so a program that holds memory of the GPU may be
    that server. `loads_models`: processes of the job may use the GPU themselves; else it only asks.
    """

    mode: GpuMode = "exclusive"
    asked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    beside_programs: bool = False
    loads_models: bool = True


EXCLUSIVE = GpuUse()


class GpuUses:
    """What the jobs of a home do with the GPU, each read once: no job file changes."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._read: dict[int, GpuUse] = {}

    def of(self, job_id: int) -> GpuUse:
        if job_id not in self._read:
            if len(self._read) >= MOST_KEPT:
                self._read.clear()
            self._read[job_id] = read_gpu_use(self.home.run_dir(job_id))
        return self._read[job_id]


def read_gpu_use(run: RunDir) -> GpuUse:
    """As the job file of a run directory has it; `exclusive`, which no other job disturbs, where the file does not say."""
    try:
        document = read_document(run)
    except InputError:
        return EXCLUSIVE
    found = document.get("gpu_use") if isinstance(document, dict) else None
    return _use(found) if isinstance(found, dict) else EXCLUSIVE


def _use(document: dict[str, Any]) -> GpuUse:
    mode, asked = document.get("mode"), document.get("asked")
    known: Mapping[str, GpuMode] = {one: one for one in get_args(GpuMode)}
    if not isinstance(mode, str) or mode not in known:
        return EXCLUSIVE
    models = {
        str(url): tuple(str(name) for name in names)
        for url, names in (asked.items() if isinstance(asked, dict) else ())
        if isinstance(names, list)
    }
    beside, loads = document.get("beside_programs") is True, document.get("loads_models") is not False
    return GpuUse(known[mode], models, beside, loads)
