"""Which weights a model's files hold, told without loading them: the hash that keys what was made from them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.config.model import ModelEntry
from core.files import read_json, sha256_file, sha256_json, sha256_tree, tail, write_atomic, write_json
from core.home import Home, expanded
from core.models.files import hub_copy

# Above this size a file is known by its size, its first and its last MiB: hashing 16 GB would take a minute a job.
HASH_WHOLE_BELOW_BYTES = 2_000_000_000
MIB = 1 << 20
MOST_KNOWN = 2000
"""Files whose hash is kept; the oldest are forgotten first."""


def fingerprint_file(path: Path) -> str:
    """Hex SHA-256 of a file; of its size, first and last MiB when it is large."""
    size = path.stat().st_size
    if size < HASH_WHOLE_BELOW_BYTES:
        return sha256_file(path)
    with path.open("rb") as file:
        head = file.read(MIB)
    return hashlib.sha256(f"{size}\0".encode() + head + tail(path, MIB)).hexdigest()


class KnownFingerprints:
    """Fingerprints of files that were hashed before, kept in the home: gigabytes are read once.

    A file is known by its inode, size and both its times, so that one that was written, replaced or moved here is hashed again.
    """

    def __init__(self, home: Home) -> None:
        self.path = home.cache / "fingerprints.json"
        known = None
        with contextlib.suppress(OSError, ValueError):
            known = read_json(self.path)
        self.known: dict[str, str] = known if isinstance(known, dict) else {}
        self.changed = False

    def of(self, path: Path) -> str:
        """`fingerprint_file`, of a file that has not changed while it was read. Raises OSError."""
        while True:
            before = _state(path)
            if before in self.known:
                return self.known[before]
            found = fingerprint_file(path)
            if _state(path) == before:
                self.known[before] = found
                self.changed = True
                return found

    def of_tree(self, folder: Path) -> str:
        """`sha256_tree` of a folder, read again once a file of it has changed, came or went. Raises OSError."""
        while True:
            before = _tree_state(folder)
            if before in self.known:
                return self.known[before]
            found = sha256_tree(folder)
            if _tree_state(folder) == before:
                self.known[before] = found
                self.changed = True
                return found

    def keep(self) -> None:
        """Write down what was hashed; where that is refused, the files are hashed again another time."""
        if self.changed:
            kept = dict(list(self.known.items())[-MOST_KNOWN:])
            with contextlib.suppress(OSError):
                write_atomic(self.path, json.dumps(kept), durable=False)
            self.changed = False


def _state(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _tree_state(folder: Path) -> str:
    files = sorted(item for item in folder.rglob("*") if item.is_file())
    return "tree:" + sha256_json([[item.relative_to(folder).as_posix(), _state(item)] for item in files])


def folder_fingerprint(folder: Path, known: KnownFingerprints | None = None) -> str:
    """That of a folder of safetensors: of its config.json and its weights. Raises OSError."""
    digest = hashlib.sha256()
    for item in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
        found = fingerprint_file(item) if known is None else known.of(item)
        digest.update(f"{item.name}\0{found}\n".encode())
    return digest.hexdigest()


def hub_fingerprint(hub: str, commit: str) -> str:
    """That of a model of the hub: its commit names its weights."""
    return sha256_json([hub, commit])


def adapter_fingerprint(base: str, adapter_sha256: str) -> str:
    """That of an adapter on its base."""
    return hashlib.sha256(f"{base}+{adapter_sha256}".encode()).hexdigest()


def path_fingerprint(path: Path, known: KnownFingerprints) -> str | None:
    """That of a model folder or GGUF file; None where nothing is there. Raises OSError."""
    if path.is_file():
        return known.of(path)
    return folder_fingerprint(path, known) if (path / "config.json").is_file() else None


def entry_fingerprint(home: Home, entry: ModelEntry, known: KnownFingerprints) -> str | None:
    """That of a model entry as its files are now; None where they are not here. Raises OSError, `InputError`."""
    if entry.hub is not None:
        copy = hub_copy(home, entry)
        return None if copy is None else hub_fingerprint(copy.hub, copy.commit)
    if entry.wheel is not None:
        path = home.models / entry.name / entry.wheel.file_name
        return entry.wheel.sha256 if path.is_file() and path.stat().st_size == entry.wheel.size_bytes else None
    return path_fingerprint(expanded(entry.path or ""), known)


def content_sha256(file: Path, home: Home, check_stop: Callable[[], None] = lambda: None) -> str:
    """Hex SHA-256 of all of a file, computed once for this path, size and time of change. `check_stop` may raise. OSError."""
    status = file.stat()
    key = sha256_json([str(file.resolve()), status.st_size, status.st_mtime_ns, status.st_ino])
    remembered = home.cache / "hashes" / f"{key}.json"
    known = None
    with contextlib.suppress(ValueError):
        known = read_json(remembered)
    if isinstance(known, dict) and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(1 << 22):
            check_stop()
            digest.update(chunk)
    remembered.parent.mkdir(parents=True, exist_ok=True)
    write_json(remembered, {"sha256": digest.hexdigest(), "path": str(file)})
    return digest.hexdigest()


def template_sha256(folder: Path) -> str | None:
    """Hex SHA-256 of the chat template of a model folder; None where no single one is told. Raises OSError, ValueError."""
    template = chat_template(folder)
    return None if template is None else hashlib.sha256(template.encode()).hexdigest()


def chat_template(folder: Path) -> str | None:
    """The chat template of a model folder; None where no single one is told. Raises OSError, ValueError."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    config = read_json(folder / "tokenizer_config.json")
    template: Any = config.get("chat_template") if isinstance(config, dict) else None
    return template if isinstance(template, str) else None
