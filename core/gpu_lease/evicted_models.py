"""`evicted_models.json`: how the model server was before a job, written before the first model goes or the job begins.

That are the models that were loaded, and which models a job asks of the server: of these, one that was not loaded before is
unloaded afterwards. Whichever runner lives when the GPU is free again sees to both; the file is gone once that is done. A file
that cannot be read does not count as empty, for then the models would never come back: it is moved aside, and told until
somebody removes it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from core.files import fsync_directory, write_atomic
from core.serving.replies import Resident, full_name

UNREADABLE = "unreadable"
MOST_SALVAGED = 100
_LARGEST = 2**53  # what every reader of JSON takes as a number


@dataclass(frozen=True)
class EvictedModel:
    """A model as it was loaded. `keep_alive_seconds`: how long it stays after an answer, -1 for ever, None if not known.

    `blob` is that of its weights, by which it is known under another tag. `asked`: a job asks for it, with a context length and
    a keep-alive of its own, so it is loaded again even where it is still there.
    """

    name: str
    context_length: int | None = None
    keep_alive_seconds: float | None = None
    blob: str | None = None
    asked: bool = False

    def is_resident(self, resident: Resident, blob: str | None) -> bool:
        """Whether it is this model that is loaded, under whatever tag."""
        return self.name == resident.name or (self.blob is not None and self.blob == blob)


@dataclass(frozen=True)
class Contents:
    """What the file holds. `whole` is False where some of it could not be read; `models` are those that could."""

    models: tuple[EvictedModel, ...] = ()
    service_stopped: bool = False
    whole: bool = True
    asked: tuple[str, ...] = ()


class EvictedModels:
    """The models that are to come back, kept in a file. `stopped`: the service itself was ended by the person's command.

    `asked` are the models that a job asks of the server, by their full names: what is left of them and is none of `models` is
    to go.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.models: tuple[EvictedModel, ...] = ()
        self.asked: tuple[str, ...] = ()
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
            self._keep(found.models, found.service_stopped, found.asked)
        self.models, self.stopped, self.asked = found.models, found.service_stopped, found.asked
        self._loaded = True

    def __bool__(self) -> bool:
        return bool(self.models) or self.stopped or bool(self.asked)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models)

    def add(self, model: EvictedModel) -> None:
        """Note one that is about to go, unless it is noted, by its name or another tag. Durable when this returns.

        Raises OSError on a full disk, like all that follow.
        """
        self.load()
        if not any(_same(model, known) for known in self.models):
            self._keep((*self.models, model), self.stopped, self.asked)

    def note_server(
        self,
        there: Iterable[EvictedModel],
        asked: Collection[str],
        before: Contents,
        blobs: Collection[str | None] = frozenset(),
    ) -> None:
        """Note how the server is before a job that asks it for the models `asked`, with the weights `blobs`. `before`: what
        was noted before that job.

        What an earlier job has left there is none of what comes back, and what it has asked for is as it was before that job.
        """
        names = dict.fromkeys(full_name(name) for name in asked)

        def is_asked(one: EvictedModel) -> bool:
            return full_name(one.name) in names or (one.blob is not None and one.blob in blobs)

        present = [one for one in there if full_name(one.name) not in before.asked]
        models: list[EvictedModel] = []
        for known in before.models:
            # Loaded again by a client, it is as that client wants it.
            if known.asked or not any(_same(known, one) for one in present):
                models.append(known if known.asked else replace(known, asked=is_asked(known)))
        for one in present:
            if not any(_same(one, known) for known in models):
                models.append(replace(one, asked=is_asked(one)))
        self._keep(tuple(models), self.stopped, tuple(dict.fromkeys((*before.asked, *names))))

    @property
    def contents(self) -> Contents:
        return Contents(self.models, self.stopped, asked=self.asked)

    def settle(self, name: str, *, asked: bool = False) -> None:
        """It is loaded as it was, and is back once it is listed; `asked`: it has to be loaded again for that."""
        self.load()
        models = tuple(replace(one, asked=asked) if one.name == name else one for one in self.models)
        self._keep(models, self.stopped, self.asked)

    def forget_asked(self, name: str) -> None:
        """Nothing is left of what a job asked for under this name."""
        self.load()
        self._keep(self.models, self.stopped, tuple(one for one in self.asked if one != name))

    def rename(self, name: str, tag: str) -> None:
        """It goes, and comes back, under another tag of its weights."""
        self.load()
        models = tuple(replace(one, name=tag) if one.name == name else one for one in self.models)
        self._keep(models, self.stopped, self.asked)

    def drop(self, name: str) -> None:
        """It is back, or will not come back."""
        self.load()
        self._keep(tuple(one for one in self.models if one.name != name), self.stopped, self.asked)

    def note_service(self, stopped: bool) -> None:
        self.load()
        self._keep(self.models, stopped, self.asked)

    def _keep(self, models: tuple[EvictedModel, ...], stopped: bool, asked: tuple[str, ...]) -> None:
        if (models, stopped, asked) == (self.models, self.stopped, self.asked) and self.file.exists():
            return
        if models or stopped or asked:
            document = {
                "schema": 1,
                "service_stopped": stopped,
                "asked": asked,
                "models": [asdict(model) for model in models],
            }
            # In ASCII: a name with a lone surrogate, as a model server can send one, is no UTF-8.
            write_atomic(self.file, json.dumps(document, indent=1) + "\n")
        else:
            self.file.unlink(missing_ok=True)
        self.models, self.stopped, self.asked = models, stopped, asked


def _same(one: EvictedModel, other: EvictedModel) -> bool:
    return one.name == other.name or one.blob == other.blob is not None


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
    stopped, schema, names = (
        document.get("service_stopped", False),
        document.get("schema", 1),
        document.get("asked", []),
    )
    asked = tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else None
    whole = None not in models and isinstance(stopped, bool) and schema == 1 and asked is not None
    return Contents(tuple(model for model in models if model is not None), stopped is True, whole, asked or ())


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
        and isinstance(model.asked, bool)
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
