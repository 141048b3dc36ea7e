"""What stands between an adapter and the file that serves: merged folders and GGUF files of full precision, gigabytes each.

Such an artefact is an intermediate once something was made of it that is there. It can be removed where it can be made again;
never while a queued job needs it, a process has it open, a model serves from it or a service is to start with it, a version of
an alias is it, or `models.yaml` names it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import BakehouseError
from core.files import read_json
from core.home import Home, expanded
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.models.fingerprints import KnownFingerprints, path_fingerprint
from core.own_paths import read_result
from core.process.leftovers import leftovers, temporary_name
from core.reasons import Reason
from core.store.jobs import ACTIVE, QUEUED

KINDS = {"merge": "merged", "convert": "gguf", "quantize": "gguf"}
"""The jobs of the way, and what each makes."""
UNIT_FOLDER = "systemd/user"
PROC = Path("/proc")


@dataclass(frozen=True)
class Intermediate:
    """An artefact of a job that others were made of (`made`: their jobs). `keep` is why it must stay; None where it may go.

    `path` is its folder in the store of artefacts, which holds its lineage too. Reasons: `needed` (`job`), `open` (`process`,
    `pid`), `served` (`name`), `version` (`alias`, `number`), `service` (`unit`), `named` (`model`), `not_again` (`source`: what
    it was made of is gone), `base_changed` (`source`: where other weights lie now).
    """

    job_id: int
    kind: str
    path: Path
    bytes: int
    made: tuple[int, ...]
    keep: Reason | None = None


@dataclass(frozen=True)
class _DoneJob:
    """A job of the way that is done, with the folder of its artefact in the store; `source` is what it took."""

    job_id: int
    kind: str
    source: str | None
    folder: Path

    @property
    def there(self) -> bool:
        return (self.folder / KINDS[self.kind]).is_dir()


def list_intermediates(
    home: Home, connection: sqlite3.Connection, models: Mapping[str, str] | None = None
) -> list[Intermediate]:
    """All there are, the largest first. `models`: the paths that models.yaml names, by the model's name."""
    made = _made(home, connection)
    opened = dict(_open_files(home.artefacts))
    units = dict(_units(home.artefacts))
    found: dict[Path, Intermediate] = {}
    for one in made.values():
        later = tuple(other.job_id for other in made.values() if other.there and _takes(other) == one.job_id)
        if not one.there or not later:
            continue
        keep = (
            _needed(home, connection, {one.job_id}, one.folder)
            or _served(home, one.folder)
            or _version(connection, one.folder)
            or opened.get(one.folder)
            or units.get(one.folder)
            or _named(one.folder, models or {})
            or _not_again(home, one, made)
        )
        before = found.get(one.folder)  # the same content, made twice
        if before is not None:
            keep, later = before.keep or keep, (*before.made, *later)
        kind = KINDS[one.kind]
        found[one.folder] = Intermediate(one.job_id, kind, one.folder, folder_bytes(one.folder), later, keep)
    return sorted(found.values(), key=lambda one: (-one.bytes, one.job_id))


def remove_intermediate(home: Home, connection: sqlite3.Connection, one: Intermediate) -> bool:
    """Remove one that may go; False where a job that needs it was queued meanwhile, or it has come to serve. OSError."""
    aside = one.path.with_name(temporary_name(f"{one.kind}-removed"))
    shutil.rmtree(aside, ignore_errors=True)
    one.path.rename(aside)
    jobs = {number for number, other in _made(home, connection).items() if other.folder == one.path}
    now = (
        _needed(home, connection, jobs | {one.job_id}, one.path)
        or _served(home, one.path)
        or _version(connection, one.path)
    )
    if now is not None:
        aside.rename(one.path)
        return False
    shutil.rmtree(aside)
    return True


def half_written(home: Home) -> list[Path]:
    """What jobs that were killed have left half written: the next job that writes there removes it, or a person does."""
    places = (home.artefacts, home.cache / "dequantised", home.cache / "tokenizers")
    return [leftover for place in places for leftover in leftovers(place)]


def folder_bytes(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _made(home: Home, connection: sqlite3.Connection) -> dict[int, _DoneJob]:
    rows = connection.execute(
        f"SELECT id, kind, source FROM jobs WHERE state = 'done' AND kind IN ({', '.join('?' * len(KINDS))})",
        list(KINDS),
    ).fetchall()
    found = {}
    for row in rows:
        with contextlib.suppress(
            ValueError, OSError, KeyError, TypeError
        ):  # a result that cannot be read shows nothing
            for item in (read_result(home.run_dir(row["id"])) or {}).get("artefacts", []):
                folder = Path(item["path"]).parent
                if item["kind"] == KINDS[row["kind"]] and folder.parent == home.artefacts:
                    found[row["id"]] = _DoneJob(row["id"], row["kind"], row["source"], folder)
    return found


def _takes(one: _DoneJob) -> int | None:
    """The job whose artefact it was made of."""
    reference = parse_reference(one.source)
    return None if reference is None else reference.job_id


def _needed(home: Home, connection: sqlite3.Connection, jobs: Iterable[int], folder: Path) -> Reason | None:
    """The first job of the queue that needs what one of `jobs` has made, or names the folder by its path."""
    states = [*QUEUED, *ACTIVE]
    marks = ", ".join("?" * len(states))
    rows = connection.execute(f"SELECT id FROM jobs WHERE state IN ({marks}) ORDER BY id", states).fetchall()
    wanted = set(jobs)
    for row in rows:
        needs = connection.execute("SELECT needs_id FROM dependencies WHERE job_id = ?", [row["id"]]).fetchall()
        text = ""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = home.run_dir(row["id"]).job_file.read_text()
        if wanted & {need["needs_id"] for need in needs} or folder.name in text:
            return Reason("needed", {"job": row["id"]})
    return None


def _not_again(home: Home, one: _DoneJob, made: Mapping[int, _DoneJob]) -> Reason | None:
    """What it was made of and is gone or has become another; None where a retry of its job can make the same again."""
    reference = parse_reference(one.source)
    if (one.source is None or one.kind == "merge") and (lost := _base_lost(home, one)) is not None:
        return lost
    if one.source is None:
        return None
    if reference is None:
        return None if Path(one.source).exists() else Reason("not_again", {"source": one.source})
    before = made.get(reference.job_id)
    if before is not None:
        return None if before.there else _not_again(home, before, made)
    with contextlib.suppress(ValueError, OSError, KeyError, TypeError):
        result = read_result(home.run_dir(reference.job_id)) or {}
        if any(Path(item["path"]).is_dir() for item in result.get("artefacts", [])):
            return None
    return Reason("not_again", {"source": one.source})


def _base_lost(home: Home, one: _DoneJob) -> Reason | None:
    """That the base model of a folder of one's own is not there any more, or holds other weights than it took; one of a hub
    can be pulled."""
    lineage: object = None
    with contextlib.suppress(ValueError, OSError):
        lineage = read_json(one.folder / "lineage.json")
    taken = lineage.get("base_fingerprint") if isinstance(lineage, dict) else None
    with contextlib.suppress(BakehouseError, OSError):
        for model in JobFile.load(home.run_dir(one.job_id)).spec.models:
            if model.path is None:
                continue
            known = KnownFingerprints(home)
            found = path_fingerprint(expanded(model.path), known)
            known.keep()
            if found is None or (taken is not None and found != taken):
                return Reason("not_again" if found is None else "base_changed", {"source": model.path})
    return None


def _named(folder: Path, models: Mapping[str, str]) -> Reason | None:
    for name, path in models.items():
        place = expanded(path)
        if place == folder or folder in place.parents:
            return Reason("named", {"model": name})
    return None


def _open_files(store: Path, procfs: Path = PROC) -> Iterator[tuple[Path, Reason]]:
    """Folders of the store of which a process has a file open or mapped, as a server has its model's."""
    real = store.resolve()
    for process in procfs.glob("[0-9]*"):
        found: set[str] = set()
        with contextlib.suppress(OSError):
            for link in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    found.add(str(link.readlink()))
        with contextlib.suppress(OSError):
            lines = (process / "maps").read_bytes().decode("utf-8", "surrogateescape").splitlines()
            found |= {line[line.index("/") :] for line in lines if "/" in line}
        for file in found:
            if real in (place := Path(file)).parents:
                folder = store / place.relative_to(real).parts[0]
                yield folder, Reason("open", {"process": _name(process), "pid": int(process.name)})


def _units(store: Path) -> Iterator[tuple[Path, Reason]]:
    """Folders of the store that a service of the person is to start with, whether it runs now or not."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for unit in sorted((config / UNIT_FOLDER).glob("*.service")):
        text = ""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = unit.read_text()
        for folder in store.glob("[0-9a-f]*"):
            if folder.name in text:
                yield folder, Reason("service", {"unit": unit.name})


def _served(home: Home, folder: Path) -> Reason | None:
    """Which served model has its file in a folder of the store, running or stopped, or goes back to it when a deployment fails.
    A record that cannot be read may name one all the same."""
    for record in sorted(home.served.glob("*/served*.json")):
        with contextlib.suppress(OSError):
            if folder.name.encode() in record.read_bytes():
                return Reason("served", {"name": record.parent.name})
    return None


def _version(connection: sqlite3.Connection, folder: Path) -> Reason | None:
    """The newest version of an alias that is served from a folder of the store: a rollback to it needs no rebuild."""
    row = connection.execute(
        """
        SELECT name, number FROM alias_versions JOIN aliases ON aliases.id = alias_id
        WHERE instr(record, ?) ORDER BY alias_versions.id DESC LIMIT 1
        """,
        [folder.name],
    ).fetchone()
    return None if row is None else Reason("version", {"alias": row["name"], "number": row["number"]})


def _name(process: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (process / "comm").read_text().strip()
    return ""
