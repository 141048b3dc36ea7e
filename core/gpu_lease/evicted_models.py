"""`displaced.json`: the served models that were unloaded for a job, written before the first of them goes.

Whichever runner lives when the GPU is free again loads them; the file is gone once all are back.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from core.files import write_atomic
from core.serving.replies import Resident


@dataclass(frozen=True)
class EvictedModel:
    """A model as it was loaded. `keep_alive_seconds`: how long it stays after an answer, -1 for ever, None if not known.

    `blob` is that of its weights, by which it is known under another tag.
    """

    name: str
    context_length: int | None = None
    keep_alive_seconds: float | None = None
    blob: str | None = None

    def is_resident(self, resident: Resident, blob: str | None) -> bool:
        """Whether it is this model that is loaded, under whatever tag."""
        return self.name == resident.name or (self.blob is not None and self.blob == blob)


class EvictedModels:
    """The models that are to come back, kept in a file. `stopped`: the service itself was ended by the person's command."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.models, self.stopped = read_displaced(file)

    def __bool__(self) -> bool:
        return bool(self.models) or self.stopped

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models)

    def add(self, model: EvictedModel) -> None:
        """Note one that is about to go; durable when this returns. Raises OSError on a full disk."""
        if all(model.name != known.name for known in self.models):
            self._keep((*self.models, model), self.stopped)

    def rename(self, name: str, tag: str) -> None:
        """It goes, and comes back, under another tag of its weights."""
        self._keep(tuple(replace(one, name=tag) if one.name == name else one for one in self.models), self.stopped)

    def drop(self, name: str) -> None:
        """It is back, or will not come back."""
        self._keep(tuple(one for one in self.models if one.name != name), self.stopped)

    def note_service(self, stopped: bool) -> None:
        self._keep(self.models, stopped)

    def _keep(self, models: tuple[EvictedModel, ...], stopped: bool) -> None:
        if models or stopped:
            document = {"schema": 1, "service_stopped": stopped, "models": [asdict(model) for model in models]}
            # In ASCII: a name with a lone surrogate, as a model server can send one, is no UTF-8.
            write_atomic(self.file, json.dumps(document, indent=1) + "\n")
        else:
            self.file.unlink(missing_ok=True)
        self.models, self.stopped = models, stopped


def read_displaced(file: Path) -> tuple[tuple[EvictedModel, ...], bool]:
    """What the file says; nothing where there is none, or none that this version understands."""
    try:
        document = json.loads(file.read_bytes())
        models = tuple(_model(item) for item in document["models"])
        return models, document.get("service_stopped") is True
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (), False


def _model(item: dict[str, Any]) -> EvictedModel:
    values = {field.name: item[field.name] for field in fields(EvictedModel) if field.name in item}
    model = EvictedModel(**values)
    keep = model.keep_alive_seconds
    if not isinstance(model.name, str) or not model.name or (keep is not None and not math.isfinite(keep)):
        raise ValueError(f"no model: {item}")
    return model
