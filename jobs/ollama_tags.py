"""The tags of a deployment to Ollama: the one under which a model is proved, the one that serves, the one to go back to.

What serves is replaced last, by one request, and what was there is under another tag by then. A job that was killed anywhere
leaves at most a staging tag, which is known by its name; its next attempt begins again, and so finds out for itself what is
already in its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import BakehouseError
from core.files import read_json, write_json
from core.home import Home, RunDir
from core.jobfile.deploy import STAGING
from core.serving.errors import ServerError
from core.serving.ollama import Ollama
from core.serving.ollama_store import StoredModel, copy, delete, stored
from core.serving.replies import full_name, name_key

LONGEST_TAG = 80
UNLOAD_SECONDS = 60.0
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def alone(home: Home, url: str, staging: str, check_stop: Callable[[], None]) -> Iterator[None]:
    """Until nobody else deploys under this staging tag from this home; nobody does meanwhile."""
    with _lock_file(home, url, staging).open("ab") as lock:
        while not _locked(lock.fileno()):
            check_stop()
            time.sleep(_POLL_SECONDS)
        yield


def clear_stray(home: Home, ollama: Ollama, staging: str) -> list[str]:
    """Remove the staging tags that killed deployments of this home have left on a server, `staging`, which is ours now, among
    them; their names. Raises ServerError."""
    end, found = STAGING + staging.rpartition(STAGING)[2], []
    for name in [tag.name for tag in ollama.tags() if tag.name.endswith(end)]:
        if name_key(name) == name_key(staging):
            clear(ollama, name)
            found.append(name)
            continue
        with _lock_file(home, ollama.url, name).open("ab") as lock:
            if _locked(lock.fileno()):
                clear(ollama, name)
                found.append(name)
    return found


def clear(ollama: Ollama, name: str) -> None:
    """Have a tag gone, and what runs under its name, if there is either. Raises ServerError."""
    deadline = time.monotonic() + UNLOAD_SECONDS
    # By its name and not by its weights: those may be what serves.
    while any(name_key(one.name) == name_key(name) for one in ollama.ps()) and time.monotonic() < deadline:
        try:
            ollama.unload(name)
        except ServerError as error:
            if error.status == 404:  # its tag was deleted while it runs: no request reaches it
                break
            raise
        time.sleep(_POLL_SECONDS)
    try:
        delete(ollama, name)
    except ServerError as error:
        if error.status != 404:
            raise


def put_in_place(
    ollama: Ollama, run: RunDir, staged: StoredModel, name: str, job_id: int
) -> tuple[StoredModel, str | None]:
    """Have `name` be the model `staged`, as the server has it afterwards, and the tag under which it keeps what was there.

    Where the server did something else, what was there is put back, and nothing is kept. Raises ServerError, BakehouseError
    (`not_deployed`).
    """
    former = stored(ollama, name)
    rollback = _kept(ollama, run, staged, former, name, job_id)
    try:
        placed = copy(ollama, staged.name, name)
    except ServerError as error:
        found = _after_failure(ollama, name, former, staged, error)
        if found is None:
            _forget(ollama, rollback)
            raise
        placed = found
    if not _same(placed, staged):
        if rollback is not None:
            copy(ollama, rollback, name)
            _forget(ollama, rollback)
        elif former is None:
            delete(ollama, name)
        raise _not_deployed(f"`{name}` did not become what was proved, and is what it was before")
    return placed, rollback


def _kept(
    ollama: Ollama, run: RunDir, staged: StoredModel, former: StoredModel | None, name: str, job_id: int
) -> str | None:
    """The tag that keeps what is under `name` now; None where nothing is, or the very model that is to come.

    It is noted before it is made: an attempt that finds its own work under the name keeps nothing under that tag.
    """
    noted = read_json(run.deployment)
    noted = noted if isinstance(noted, dict) else {}
    if former is None:
        return None
    note = {"schema": 1, "name": name, "staged": staged.digest}
    if former.digest is not None and former.digest in (staged.digest, noted.get("staged")):
        found = noted.get("rollback")
        write_json(run.deployment, {**note, "former": noted.get("former"), "rollback": found})
        return found if isinstance(found, str) else None
    tag = _free_tag(ollama, former, name, job_id)
    write_json(run.deployment, {**note, "former": former.digest, "rollback": tag})
    kept = stored(ollama, tag) or copy(ollama, name, tag)
    if not _same(kept, former):
        _forget(ollama, tag)
        raise _not_deployed(f"`{name}` was replaced by somebody else while it was to be kept as `{tag}`")
    return tag


def _free_tag(ollama: Ollama, former: StoredModel, name: str, job_id: int) -> str:
    """`judge:v1-before-12`; another one where that is taken by another model."""
    model, _, tag = full_name(name).rpartition(":")
    for number in itertools.count(1):
        behind = f"-before-{job_id}" + (f"-{number}" if number > 1 else "")
        found = f"{model}:{tag[: LONGEST_TAG - len(behind)]}{behind}"
        there = stored(ollama, found)
        if there is None or _same(there, former):
            return found
    raise AssertionError("one is free")


def _after_failure(
    ollama: Ollama, name: str, former: StoredModel | None, staged: StoredModel, error: ServerError
) -> StoredModel | None:
    """What is under the name after a request that failed, and which the server may have done all the same; None where all is as
    before. Raises BakehouseError where neither is known."""
    try:
        found = stored(ollama, name)
    except ServerError:
        found = None
    else:
        if (found is None and former is None) or (found is not None and former is not None and _same(found, former)):
            return None
        if found is not None and _same(found, staged):
            return found
    raise _not_deployed(
        f"what is under `{name}` now is not known: {error.message}", remedy=f"look with `ollama show {name}`, and retry"
    ) from error


def _forget(ollama: Ollama, rollback: str | None) -> None:
    """A tag that keeps what nothing has replaced: nobody misses it."""
    if rollback is not None:
        with contextlib.suppress(ServerError):
            delete(ollama, rollback)


def _same(one: StoredModel, other: StoredModel) -> bool:
    """Whether two tags are one model: by the digest of the manifest, where the server tells it, and by what it is made of."""
    if None not in (one.digest, other.digest) and one.digest != other.digest:
        return False
    return one.info == other.info


def _not_deployed(
    message: str, *, remedy: str = "see who else makes models on this server, and retry"
) -> BakehouseError:
    return BakehouseError(message, code="not_deployed", remedy=remedy)


def _lock_file(home: Home, url: str, staging: str) -> Path:
    folder = home.cache / "deployments"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(f'{url} {name_key(staging)}'.encode()).hexdigest()[:16]}.lock"


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
