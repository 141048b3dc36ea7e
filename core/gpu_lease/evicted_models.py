"""`evicted_models.json`: the served models that were unloaded for a job, written before the first of them goes.

Whichever runner lives when the GPU is free again loads them; the file is gone once all are back. A file that cannot be read
does not count as empty, for then the models would never come back: it is moved aside, and told until somebody removes it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from core.files import fsync_directory, write_atomic
from core.serving.replies import Resident

UNREADABLE = "unreadable"
MOST_SALVAGED = 100
_LARGEST = 2**53  # what every reader of JSON takes as a number


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


@dataclass(frozen=True)
class Contents:
    """What the file holds. `whole` is False where some of it could not be read; `models` are those that could."""

    models: tuple[EvictedModel, ...] = ()
    service_stopped: bool = False
    whole: bool = True


class EvictedModels:
    """The models that are to come back, kept in a file. `stopped`: the service itself was ended by the person's command."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.models: tuple[EvictedModel, ...] = ()
        self.stopped = False
        self._loaded = False
        with contextlib.suppress(OSError):
            self.load()

    def load(self) -> None:
        """Take over what the file holds, once. Raises OSError where one that cannot be read cannot be moved aside either."""
        if self._loaded:
            return
        found = read_evicted_models(self.file)
        if not found.whole:
            move_aside(self.file)
            self._keep(found.models, found.service_stopped)
        self.models, self.stopped, self._loaded = found.models, found.service_stopped, True

    def __bool__(self) -> bool:
        return bool(self.models) or self.stopped

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models)

    def add(self, model: EvictedModel) -> None:
        """Note one that is about to go, unless it is noted, by its name or another tag. Durable when this returns.

        Raises OSError on a full disk.
        """
        self.load()
        if not any(model.name == known.name or model.blob == known.blob is not None for known in self.models):
            self._keep((*self.models, model), self.stopped)

    def rename(self, name: str, tag: str) -> None:
        """It goes, and comes back, under another tag of its weights."""
        self.load()
        self._keep(tuple(replace(one, name=tag) if one.name == name else one for one in self.models), self.stopped)

    def drop(self, name: str) -> None:
        """It is back, or will not come back."""
        self.load()
        self._keep(tuple(one for one in self.models if one.name != name), self.stopped)

    def note_service(self, stopped: bool) -> None:
        self.load()
        self._keep(self.models, stopped)

    def _keep(self, models: tuple[EvictedModel, ...], stopped: bool) -> None:
        if models or stopped:
            document = {"schema": 1, "service_stopped": stopped, "models": [asdict(model) for model in models]}
            # In ASCII: a name with a lone surrogate, as a model server can send one, is no UTF-8.
            write_atomic(self.file, json.dumps(document, indent=1) + "\n")
        else:
            self.file.unlink(missing_ok=True)
        self.models, self.stopped = models, stopped


def read_evicted_models(file: Path) -> Contents:
    """What the file says, nothing where there is none. Never raises: what cannot be read is not `whole`."""
    try:
        content = _content(file)
    except FileNotFoundError:
        return Contents(whole=not file.is_symlink())  # a link into a disk that is not mounted
    except OSError:
        return Contents(whole=False)
    try:
        document = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return _salvaged(content)
    items = document.get("models") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(items, list):
        return Contents(whole=False)
    models = [_model(item) for item in items]
    stopped, schema = document.get("service_stopped", False), document.get("schema", 1)
    whole = None not in models and isinstance(stopped, bool) and schema == 1
    return Contents(tuple(model for model in models if model is not None), stopped is True, whole)


def _content(file: Path) -> bytes:
    """Raises OSError, also for what is no file: opening a FIFO would wait for somebody who writes into it."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return opened.read()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand once: of two lists of models the last would win, and the others stay away."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _salvaged(content: bytes) -> Contents:
    """The models that stand whole in a torn file, each as it was written, and whether the service was stopped."""
    text = content.decode("utf-8", "replace")
    decoder, models, behind = json.JSONDecoder(object_pairs_hook=_once), [], 0
    for brace in list(re.finditer(r'\{\s*"name"', text))[:MOST_SALVAGED]:
        if brace.start() < behind:
            continue
        try:
            item, behind = decoder.raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            continue
        if (model := _model(item)) is not None and "\ufffd" not in model.name and model not in models:
            models.append(model)
    return Contents(tuple(models), re.search(r'"service_stopped":\s*true', text) is not None, whole=False)


def _model(item: Any) -> EvictedModel | None:
    """None of what is no model."""
    if not isinstance(item, dict):
        return None
    values = {field.name: item[field.name] for field in fields(EvictedModel) if field.name in item}
    model = EvictedModel(**values) if "name" in values else None
    return model if model is not None and _plausible(model) else None


def _plausible(model: EvictedModel) -> bool:
    context, keep, blob = model.context_length, model.keep_alive_seconds, model.blob
    return (
        isinstance(model.name, str)
        and bool(model.name)
        and (context is None or (type(context) is int and 0 < context < _LARGEST))
        and (keep is None or (type(keep) in (int, float) and abs(keep) < _LARGEST))
        and (blob is None or isinstance(blob, str))
    )


def move_aside(file: Path) -> Path:
    """Keep a file that cannot be read under another name, beside those kept before; the new path. Raises OSError."""
    taken = set(unreadable_files(file))
    names = (f"{file.stem}.{UNREADABLE}{f'-{number}' if number > 1 else ''}{file.suffix}" for number in range(1, 1000))
    aside = next(path for name in names if (path := file.with_name(name)) not in taken)
    file.rename(aside)
    fsync_directory(file.parent)
    return aside


def unreadable_files(file: Path) -> tuple[Path, ...]:
    """What was moved aside and nobody has removed since: the models that it names are still away."""
    return tuple(sorted(file.parent.glob(f"{file.stem}.{UNREADABLE}*{file.suffix}")))
