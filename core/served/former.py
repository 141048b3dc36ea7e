"""What a served model takes the place of: `served.before.json`, from before anything is touched until the new one has answered.

Who finds one knows that a replacement was broken off, and whose that was.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

from core.files import read_json, write_json
from core.home import Home, ServedDir
from core.served.record import ServedModelRecord, of_document, to_json

OwnerKind = Literal["job", "change"]


@dataclass(frozen=True)
class Owner:
    """Who has one served model take the place of another, and so carries on what was broken off: a job (a deployment), or a
    change of an alias, which the runner carries out."""

    kind: OwnerKind
    id: int


@dataclass(frozen=True)
class Former:
    """What was before: the record, None where there was none, and whether it ran.

    `aside` is another served model that was stopped to make room, and runs again where what was before comes back. `failed`:
    what was to take its place has failed, and this is on its way back.
    """

    record: ServedModelRecord | None
    ran: bool
    owner: Owner
    aside: str | None = None
    failed: bool = False


def note_former(home: Home, folder: ServedDir, former: Former) -> None:
    """Durable and whole when this returns; the folder is made. Raises OSError."""
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "record": None if former.record is None else to_json(home, former.record),
        "ran": former.ran,
        former.owner.kind: former.owner.id,
        "aside": former.aside,
        "failed": former.failed,
    }
    write_json(folder.record_before, document)


def noted_former(home: Home, folder: ServedDir) -> Former | None:
    """What was noted in the folder of a served model; None where nothing is, or nothing can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        document: Any = read_json(folder.record_before)
        if document is not None:
            kind: OwnerKind = "change" if "change" in document else "job"
            found, aside = document["record"], document.get("aside")
            return Former(
                None if found is None else of_document(home, folder.path.name, found),
                bool(document["ran"]),
                Owner(kind, int(document[kind])),
                aside if isinstance(aside, str) else None,
                document.get("failed") is True,
            )
    return None
