"""The kinds of the stand-in jobs, registered as any other kind of job is: one for each lane."""

from __future__ import annotations

from typing import Literal

from core.home import Home
from core.jobfile.gpu_use import EXCLUSIVE, GpuUse
from core.jobfile.kinds import KINDS, JobKind
from core.jobfile.spec import Spec
from core.store.jobs import Lane


class StandinSpec(Spec):
    """`words` say what `standin_job` does; `device_bytes` is what its forecast of the GPU's memory would say. It waits for the
    end of the jobs `behind`."""

    kind: Literal["standin", "light-standin"]
    words: str
    device_bytes: int | None = None
    behind: tuple[int, ...] = ()

    @classmethod
    def in_lane(
        cls, lane: Lane, words: str, device_bytes: int | None = None, behind: tuple[int, ...] = ()
    ) -> StandinSpec:
        kind: Literal["standin", "light-standin"] = "standin" if lane == "gpu" else "light-standin"
        return cls(kind=kind, words=words, device_bytes=device_bytes, behind=behind)

    @property
    def needs_ended(self) -> tuple[int, ...]:
        return self.behind

    @property
    def title(self) -> str:
        return self.words

    @property
    def gpu_use(self) -> GpuUse:
        """`asks=MODEL,MODEL of=URL`: a bake-off on models of that server; `elsewhere`: the server is another machine's."""
        told = dict(word.partition("=")[::2] for word in self.words.split())
        if "elsewhere" in told:
            return GpuUse("none")
        return GpuUse("serving", {told["of"]: tuple(told["asks"].split(","))}) if "asks" in told else EXCLUSIVE

    @property
    def packages(self) -> tuple[str, ...]:
        return ()

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return 100_000_000

    def device_memory(self, on_gpu: bool) -> int | None:
        return self.device_bytes


def standin(name: str, lane: Lane) -> JobKind:
    spec = f"{__name__}:{StandinSpec.__name__}"
    return JobKind(name, noun="a stand-in", spec=spec, module="tests.support.standin_job", lane=lane, resumes=True)


KINDS.update({kind.name: kind for kind in (standin("standin", "gpu"), standin("light-standin", "cpu"))})
