"""What a packing is told: what to pack."""

from __future__ import annotations

from typing import Literal

from core.home import Home
from core.jobfile.references import needed_jobs
from core.jobfile.spec import Columns, Spec


class PackSpec(Spec):
    """Pack what a job has made (`job:12/packed`), or a folder."""

    kind: Literal["pack"] = "pack"
    artefact: str

    @property
    def title(self) -> str:
        return f"pack {self.artefact}"

    @property
    def columns(self) -> Columns:
        return Columns(source=self.artefact)

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(self.artefact)

    @property
    def packages(self) -> tuple[str, ...]:
        return ()

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return 50_000_000
