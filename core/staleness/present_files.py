"""What the files of a candidate hold now: its weights and its template, told without loading them."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import BakehouseError
from core.files import read_json, sha256_json
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.references import parse_reference
from core.models.files import model_folder
from core.models.fingerprints import (
    HASH_WHOLE_BELOW_BYTES,
    KnownFingerprints,
    adapter_fingerprint,
    entry_fingerprint,
    path_fingerprint,
    template_sha256,
)
from core.store.results import list_artefacts


class ThingGone(Exception):  # noqa: N818  (a finding, caught where it is looked for: no error of the program)
    """The files of a candidate are not there any more."""


class NotHashed(Exception):  # noqa: N818  (as above)
    """A file is too large to be hashed at each look, and nobody has noted its hash."""


class PresentFiles:
    """The files of candidates as they are now. `project` names models as it does today; what it does not name is looked for
    where it was.

    A file that was hashed before is not read again while it is the same.
    """

    def __init__(self, home: Home, connection: sqlite3.Connection, project: Project | None) -> None:
        self.home, self.connection, self.project = home, connection, project
        self.known = KnownFingerprints(home)

    def keep(self) -> None:
        self.known.keep()

    def entry(self, candidate: CandidateSpec) -> ModelEntry:
        """The model that the name of a candidate's base stands for now."""
        assert candidate.model is not None  # what the job loads itself has an entry
        # What a path named has no name in the project, whatever else is called so there.
        is_path = candidate.form == "base" and candidate.name.partition("@")[0] == candidate.model.name
        if self.project is None or is_path:
            return candidate.model
        try:
            return self.project.model(candidate.model.name)
        except BakehouseError:
            return candidate.model

    def weights(self, candidate: CandidateSpec) -> str:
        """The fingerprint of a candidate's weights, as a bake-off notes them.

        Raises `ThingGone`, `NotHashed`, OSError, `BakehouseError`.
        """
        if candidate.form == "gguf":
            file = self._of_gguf(self.made(candidate)[0])
            if candidate.lora is None:
                return file
            lora = candidate.model_copy(update={"ref": candidate.lora, "path": None})
            return adapter_fingerprint(file, self._of_gguf(self.made(lora)[0]))
        if candidate.form == "merged":
            return _there(path_fingerprint(self.made(candidate)[0], self.known))
        base = _there(entry_fingerprint(self.home, self.entry(candidate), self.known))
        if candidate.form == "base":
            return base
        adapter, stored = self.made(candidate)
        return adapter_fingerprint(base, self.known.of_tree(adapter) if stored is None else stored)

    def _of_gguf(self, made: Path) -> str:
        """SHA-256 of a GGUF file: as the job that made it noted it, or as a bake-off did for the file that is still this one.

        Raises `ThingGone`, `NotHashed`.
        """
        lineage = read_json(made.parent / "lineage.json") if made.is_dir() else None
        if isinstance(lineage, dict) and isinstance(lineage.get("file_sha256"), str):
            return str(lineage["file_sha256"])
        file = _gguf_file(made)
        status = file.stat()
        key = sha256_json([str(file.resolve()), status.st_size, status.st_mtime_ns, status.st_ino])
        remembered = read_json(self.home.cache / "hashes" / f"{key}.json")
        if isinstance(remembered, dict) and isinstance(remembered.get("sha256"), str):
            return str(remembered["sha256"])
        if status.st_size >= HASH_WHOLE_BELOW_BYTES:
            raise NotHashed
        return self.known.of(file)

    def has_template_in_weights(self, candidate: CandidateSpec) -> bool:
        """Whether the template stands in the file whose weights are compared: a GGUF file has both."""
        if candidate.form == "merged":
            return False
        entry = self.entry(candidate)
        given = candidate.model is not None and candidate.model.template_text is not None
        if given or entry.template_text is not None:
            return False
        return entry.wheel is not None or (entry.path or "").endswith(".gguf")

    def template(self, candidate: CandidateSpec) -> str | None:
        """SHA-256 of the chat template of a candidate; None where its files do not tell. Raises OSError, ValueError."""
        if candidate.form == "merged":
            return template_sha256(self.made(candidate)[0])
        # An adapter is asked with the template that it was trained with, whatever its base's entry says by now.
        trained = candidate.model if candidate.form == "adapter" else None
        entry = self.entry(candidate) if trained is None else trained
        if entry.template_text is not None:
            return hashlib.sha256(entry.template_text.encode()).hexdigest()
        folder = model_folder(self.home, entry)
        return None if folder is None else template_sha256(folder)

    def made(self, candidate: CandidateSpec) -> tuple[Path, str | None]:
        """The files that a candidate names; of a job's artefact its hash, too, as it was stored. Raises `ThingGone`."""
        reference = parse_reference(candidate.ref)
        if candidate.path is not None or reference is None:
            path = Path(candidate.path or candidate.ref or "")
            if not path.exists():
                raise ThingGone
            return path, None
        wanted = reference.makes or candidate.form
        # The newest comes first: a job that was run again replaced what it had made.
        for row in list_artefacts(self.connection, self.home, reference.job_id):
            if row.kind == wanted and row.path.exists():
                return row.path, row.sha256
        raise ThingGone


def _there(found: str | None) -> str:
    if found is None:
        raise ThingGone
    return found


def _gguf_file(path: Path) -> Path:
    """The GGUF file of an artefact, which is a folder, or the file itself. Raises `ThingGone`."""
    if path.is_file():
        return path
    files = sorted(path.glob("*.gguf"))
    if not files:
        raise ThingGone
    return files[0]
