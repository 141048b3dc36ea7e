"""What a pull is told: the base model to fetch."""

from __future__ import annotations

from typing import Literal

from core.config.model import ModelEntry
from core.home import Home
from core.jobfile.spec import Columns, Spec

HOST_BYTES = 100_000_000


class PullSpec(Spec):
    """Fetch a base model, so that it is on the disk."""

    kind: Literal["pull"] = "pull"
    model: ModelEntry

    @property
    def title(self) -> str:
        return f"pull {self.model.name}"

    @property
    def columns(self) -> Columns:
        return Columns(model=self.model.name, source=where_from(self.model))

    @property
    def packages(self) -> tuple[str, ...]:
        """None: a wheel is fetched with the standard library, and the hub's client says itself that it is missing."""
        return ()

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        return HOST_BYTES


def where_from(model: ModelEntry) -> str | None:
    """`hub:OWNER/NAME` or `wheel:PACKAGE==VERSION/MEMBER`, several wheels with `+` between them; None for a path, which nothing
    has to be fetched for."""
    if model.hub is not None:
        return f"hub:{model.hub}"
    if model.wheel is not None:
        wheels = "+".join(f"{piece.package}=={piece.version}" for piece in model.wheel.pieces)
        return f"wheel:{wheels}/{model.wheel.member}"
    return None
