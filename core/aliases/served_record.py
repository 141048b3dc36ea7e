"""What a served model of this home is as an alias: the record that stands, and a candidate's record under the alias' name."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.aliases.digests import is_same
from core.errors import BakehouseError, InputError, NotFoundError
from core.home import Home
from core.models.fingerprints import content_sha256
from core.served.former import noted_former
from core.served.record import ServedModelRecord, of_document, read_record
from core.served.state import read_state
from core.store.fleet_changes import ChangeState, get_change, open_change_of


def standing_record(home: Home, name: str) -> ServedModelRecord | None:
    """What has been proved under a name, None where there is none: while something new is on its way, what that takes the place
    of. Raises `BakehouseError` where the record can't be read."""
    noted = noted_former(home, home.served_dir(name))
    # What a killed deployment put in place stays where it serves (`core.served.revival`).
    if noted is not None and (noted.owner.kind == "change" or read_state(home, name).phase != "serving"):
        return noted.record
    with contextlib.suppress(NotFoundError):
        return read_record(home, name)
    return None


def state_of_change(connection: sqlite3.Connection, change_id: int) -> ChangeState | None:
    """For whoever finds a note that a change has left (`core.served.revival`); None where no such change is stored.

    `open` as well where the same alias is in a later change: that goes on from the note.
    """
    try:
        change = get_change(connection, change_id)
    except NotFoundError:
        return None
    return change.state if open_change_of(connection, change.alias_id) is None else "open"


def stored_record(home: Home, document: Mapping[str, Any]) -> ServedModelRecord:
    """The record that a version of an alias was stored with. Raises `BakehouseError` where it can't be read."""
    try:
        return of_document(home, str(document.get("name")), dict(document))
    except ValueError as error:
        raise BakehouseError(
            f"the stored record of this version is none of a served model: {error}", code="bad_served_model"
        ) from error


def under_name(record: ServedModelRecord, name: str, port: int, *, at_boot: bool) -> ServedModelRecord:
    """The same model served under another name and port. InputError where its command tells no port."""
    command = _with(record.command, "--port", str(port))
    if command is None:
        raise InputError(
            "its command names no port, so that it can serve at none but its own",
            code="bad_served_model",
            key=record.name,
            remedy="deploy it again",
        )
    command = _with(command, "--alias", name) or command
    return replace(record, name=name, port=port, at_boot=at_boot, command=command)


def require_what_it_needs(home: Home, record: ServedModelRecord) -> None:
    """That it can be started: its file is there and what it was, and so is its program. InputError."""
    if not record.file.is_file():
        raise InputError(
            f"its GGUF file is gone: {record.file}",
            code="file_gone",
            key=record.name,
            remedy="put the file back, or deploy and promote another one",
        )
    if not is_same(content_sha256(record.file, home), record.weights):
        raise InputError(
            f"its GGUF file is no longer what was deployed: {record.file}",
            code="file_changed",
            key=record.name,
            remedy="put the former file back, or deploy this one and have it measured",
        )
    if not Path(record.command[0]).is_file():
        raise InputError(
            f"its llama-server is gone: {record.command[0]}",
            code="program_gone",
            key=record.name,
            remedy="put llama.cpp back there, or deploy the model again",
        )


def _with(command: tuple[str, ...], option: str, value: str) -> tuple[str, ...] | None:
    """The command with another value of an option, as `ServerCommand.words` writes it; None where it has no such option."""
    if option not in command[:-1]:
        return None
    at = command.index(option) + 1
    return (*command[:at], value, *command[at + 1 :])
