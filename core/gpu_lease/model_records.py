"""What is known of each model of the server, by the name under which it is listed."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass

from core.clock import NEVER
from core.gpu_lease.evicted_models import EvictedModel
from core.gpu_lease.state import Intruder


@dataclass
class ModelRecord:
    """What is known of one model. Moments are monotonic seconds."""

    unloading: Future[str] | None = None
    """The request to unload it that is on its way."""
    unloaded_at: float = NEVER
    """When the last request to unload it was done. NEVER again once it has been loaded here."""
    alive_at: float = NEVER
    """When it was last listed with time left to stay."""
    tries: int = 0
    """How often it was tried to load it again."""
    not_before: float = NEVER
    """When the next try is due."""
    back: EvictedModel | None = None
    """As what it came back since the last job."""
    present: bool = False
    """Whether it was listed at the last look while a job has the GPU."""
    counted_at: float = NEVER
    """The `unloaded_at` after which a client's loading it was last counted."""
    intruder: Intruder | None = None
    """How often clients have had it loaded while this job has the GPU."""


class ModelRecords:
    """A record for every name that is asked for."""

    def __init__(self) -> None:
        self._records: dict[str, ModelRecord] = {}

    def of(self, name: str) -> ModelRecord:
        return self._records.setdefault(name, ModelRecord())

    def items(self) -> list[tuple[str, ModelRecord]]:
        return list(self._records.items())

    def keep(self, names: Collection[str]) -> None:
        """Forget all others, except those that are just being unloaded."""
        self._records = {
            name: record for name, record in self._records.items() if name in names or record.unloading is not None
        }
