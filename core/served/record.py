"""What a served model is: `served.json` in its folder, written whole before its llama-server starts for the first time.

Standard library and light rooms only, for the shim's sake. Paths below the home are stored by their place in it
(`core.own_paths`), so that a home can be moved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from core.errors import BakehouseError, InputError, NotFoundError
from core.failures import in_a_line, refusal_of
from core.files import write_json
from core.home import Home
from core.own_paths import located, stored

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""As for tasks and models: a folder, a unit of systemd and a word on a command line bear the name as it is."""
LONGEST_NAME = 100
HOST = "127.0.0.1"


@dataclass(frozen=True)
class ServedModelRecord:
    """A served model as it was deployed.

    `file` is the GGUF file and `weights` its digest, `sha256:…`; `model` is the base model by name, `job_id` the job that
    deployed it. `command` starts its llama-server, always on `port` of loopback; `environment` is what its process gets beside
    that of the user, and `unset` what it does not get. `context_length` in tokens is that of each of `slots` answers at a time.
    `on_gpu`: its layers go to the GPU. `at_boot`: systemd starts it with the machine. `version` is llama-server's, `template`
    the SHA-256 of the chat template in the file. `created_at` in Unix seconds.
    """

    name: str
    file: Path
    weights: str
    task: str
    model: str
    job_id: int
    command: tuple[str, ...]
    port: int
    context_length: int
    slots: int = 1
    on_gpu: bool = False
    at_boot: bool = False
    version: str | None = None
    template: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    created_at: float = 0.0

    @property
    def url(self) -> str:
        """Where clients ask it: its API as OpenAI's."""
        return f"http://{HOST}:{self.port}/v1"


@dataclass(frozen=True)
class UnreadableRecord:
    """A folder of a served model whose record tells nothing; `error` says why, in a line."""

    name: str
    error: str


def require_name(name: str) -> str:
    """A name under which a model can serve. Raises `InputError`."""
    if len(name) > LONGEST_NAME or not NAME_PATTERN.fullmatch(name):
        raise InputError(
            f"`{name[:LONGEST_NAME]}` cannot be the name of a served model",
            code="bad_name",
            key="name",
            remedy="use letters, digits, dots, dashes and underscores, a letter or digit first, "
            f"{LONGEST_NAME} signs at most",
        )
    return name


def write_record(home: Home, record: ServedModelRecord) -> None:
    """Durable and whole when this returns; its folder is made. Raises OSError."""
    folder = home.served_dir(record.name)
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(folder.record, to_json(home, record))


def to_json(home: Home, record: ServedModelRecord) -> dict[str, Any]:
    """The document of `served.json`. `url` is for people and scripts that read the file: it follows from `port`."""
    document = {one.name: getattr(record, one.name) for one in fields(record)}
    return {
        "schema": 1,
        **document,
        "url": record.url,
        "file": stored(home, record.file),
        "command": [stored(home, word) for word in record.command],
        "environment": dict(record.environment),
        "unset": list(record.unset),
    }


def read_record(home: Home, name: str) -> ServedModelRecord:
    """The record of a served model. Raises `InputError` for a name that is none, `NotFoundError` where there is no such
    served model, `BakehouseError` where its record cannot be read."""
    folder = home.served_dir(require_name(name))
    try:
        return of_document(home, name, json.loads(folder.record.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"no served model is called {name}",
            code="no_served_model",
            key=name,
            remedy="`bakehouse served list` shows what there is",
        ) from None
    except OSError as error:
        raise refusal_of(error, folder.record) from error
    except (ValueError, RecursionError) as error:
        raise BakehouseError(
            f"this is no record of a served model: {error}",
            code="bad_served_model",
            file=folder.record,
            remedy=f"deploy the model again under this name, or `bakehouse served remove {name}`",
        ) from error


def read_records(home: Home) -> tuple[list[ServedModelRecord], list[UnreadableRecord]]:
    """All served models of a home by name, and apart from them those whose record cannot be read."""
    try:
        names = sorted(entry.name for entry in home.served.iterdir() if is_served_folder(entry))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        return [], [UnreadableRecord(home.served.name, in_a_line(error))]
    found: list[ServedModelRecord] = []
    unreadable: list[UnreadableRecord] = []
    for name in names:
        try:
            found.append(read_record(home, name))
        except NotFoundError:
            continue  # removed meanwhile, or not deployed yet
        except BakehouseError as error:
            unreadable.append(UnreadableRecord(name, str(error)))
    return found, unreadable


def is_served_folder(entry: Path) -> bool:
    """Whether it is the folder of a served model, by its name. What people put beside them is left alone."""
    return len(entry.name) <= LONGEST_NAME and NAME_PATTERN.fullmatch(entry.name) is not None and entry.is_dir()


def of_document(home: Home, name: str, document: Any) -> ServedModelRecord:
    """The record that a document of `served.json` is. Raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    found: dict[str, Any] = {}
    for one in fields(ServedModelRecord):
        if one.name in document:
            found[one.name] = _checked(one.name, document[one.name])
        elif one.name in REQUIRED:
            raise ValueError(f"`{one.name}` is missing")
    if found["name"] != name:
        raise ValueError(f"it is named {found['name']!r}")
    record = ServedModelRecord(**found)
    if not record.command or not 0 < record.port < 2**16:
        raise ValueError("`command` or `port` cannot be right")
    return replace(
        record,
        file=Path(located(home, str(record.file))),
        command=tuple(located(home, word) for word in record.command),
    )


REQUIRED = ("name", "file", "weights", "task", "model", "job_id", "command", "port", "context_length")
_TEXT = ("name", "file", "weights", "task", "model")
_COUNT = ("job_id", "port", "context_length", "slots")
_FLAG = ("on_gpu", "at_boot")
_MAYBE_TEXT = ("version", "template")
_WORDS = ("command", "unset")


def _checked(key: str, value: Any) -> Any:
    """A value of the document as the record holds it. Raises ValueError."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if key in _TEXT and isinstance(value, str):
        return Path(value) if key == "file" else value
    if key in _COUNT and whole and value > 0:
        return value
    if key in _FLAG and isinstance(value, bool):
        return value
    if key in _MAYBE_TEXT and (value is None or isinstance(value, str)):
        return value
    if key in _WORDS and isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    if key == "environment" and isinstance(value, dict) and all(isinstance(word, str) for word in value.values()):
        return value
    if key == "created_at" and (whole or isinstance(value, float)):
        return float(value)
    raise ValueError(f"`{key}` is {str(value)[:80]!r}")
