"""The store of an Ollama: the files that are sent to it, and the models that it makes of them, copies and deletes.

What its versions do with these requests (observed with 0.24.0 and 0.33.0-rc2): of an upload that broke off nothing is kept, so
it begins again. `create` answers 200 and puts an error into the stream of its statuses. The blob of the model can be another
than the file's: 0.33 has its llama-quantize copy each file, and what another program wrote comes out in other bytes (the file
that was sent stays beside it, until a start of the server an hour later). Creating under a name that is there deletes at once
the parts of the former model that no other tag uses: `copy` it first. `copy` replaces silently, and `delete` ends no runner. A
malformed GGUF file takes 0.24 down: whoever sends one looks at it before (`core.models.gguf.check_servable`).
"""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from core.errors import InputError
from core.serving import replies
from core.serving.errors import ServerCode, ServerError, one_line
from core.serving.ollama import Ollama
from core.serving.ollama_runners import tag_of
from core.serving.refusals import classified, no_such_model
from core.serving.replies import ModelInfo
from core.serving.retry import RetryPolicy, pause_before_retry

PIECE_BYTES = 2**20
UPLOAD_SECONDS = 6 * 3600.0
CREATE_SECONDS = 3600.0
SILENCE_SECONDS = 600.0
"""How long nothing may be taken or said: a server hashes or writes a whole file in between."""
UPLOADS = RetryPolicy(attempts=5, first_seconds=2.0)
SUCCESS = "success"

Stopped = Callable[[], bool]


@dataclass(frozen=True)
class CreateStatus:
    """One line of what the server tells while it makes a model; the bytes where it counts them."""

    text: str
    done_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True)
class StoredModel:
    """A model as the server has it. `digest` is its manifest's, another as soon as any part of the model is; `info.blob` is
    that of its weights."""

    name: str
    digest: str | None
    size_bytes: int | None
    info: ModelInfo


def has_blob(server: Ollama, digest: str) -> bool:
    """Whether the server holds a file with this digest (`sha256:…`). Raises ServerError."""
    try:
        server.http.reply("HEAD", f"/api/blobs/{digest}", None, server.timeout_seconds)
    except ServerError as error:
        if error.status == 404:
            return False
        raise
    return True


def send_blob(
    server: Ollama,
    file: Path,
    digest: str,
    *,
    sent: Callable[[int, int], None] = lambda done, total: None,
    stopped: Stopped = lambda: False,
    policy: RetryPolicy = UPLOADS,
) -> bool:
    """Have the server hold `file`, whose digest is `digest` (`sha256:…`); whether it had to be sent.

    The file is read as it is sent. An upload that breaks off begins again, as `policy` has it; `sent` is told the bytes that
    are on their way and those of the file, from 0 in each try. Raises ServerError, and InputError where the file
    cannot be read or is not what it was when this began.
    """
    size, source = _size_of(file), random.Random()
    for tried in itertools.count(1):
        try:
            if has_blob(server, digest):
                sent(size, size)
                return tried > 1
            _send_once(server, file, size, digest, sent, stopped)
        except ServerError as error:
            if not error.is_transient:
                raise _not_taken(file, error) from error
            pause = pause_before_retry(error, tried, source, policy)
            if pause is None:
                raise _interrupted(file, tried, error) from error
            _pause(server, pause, stopped)
        else:
            return True
    raise AssertionError("a try returns or raises at last")


def create(
    server: Ollama,
    name: str,
    *,
    files: Mapping[str, str] | None = None,
    base: str | None = None,
    template: str | None = None,
    system: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    license: str | None = None,
    on_status: Callable[[CreateStatus], None] = lambda status: None,
    stopped: Stopped | None = None,
) -> StoredModel:
    """Have a model made: of `files` (names and digests of blobs that the server holds) or of the model `base`. It is returned
    as the server has it afterwards.

    ServerError: `create_refused` where the server says why it makes none, `model_not_found` for a base that it does not have,
    which it would else fetch from a registry. What was there under the name stays where this fails, as far as the server's
    versions are known.
    """
    if base is not None and stored(server, base) is None:
        raise no_such_model(base, server.url, [tag.name for tag in server.tags()])
    given = {"from": base, "template": template, "system": system, "license": license}
    request: dict[str, Any] = {"model": name, **{key: value for key, value in given.items() if value is not None}}
    if files:
        request["files"] = dict(files)
    if parameters:
        request["parameters"] = dict(parameters)
    succeeded = False
    try:
        lines = server.http.lines(
            "/api/create", request, CREATE_SECONDS, silence_seconds=SILENCE_SECONDS, stopped=stopped
        )
        with contextlib.closing(lines):
            for raw in lines:
                status = _status(server.http.parsed(raw, "/api/create"))
                if status is not None:
                    succeeded |= status.text == SUCCESS
                    on_status(status)
    except ServerError as error:
        raise _not_made(name, error) from error
    if not succeeded:
        message = f"the creation of `{one_line(name)}` broke off without an end"
        raise ServerError(message, code="server_garbled", status=200)
    return _there(server, name)


def copy(server: Ollama, source: str, destination: str) -> StoredModel:
    """Another tag of the model `source`, whose parts stay for as long as one tag uses them; `destination` is replaced where it
    is there. Raises ServerError (`model_not_found`)."""
    _do(server, "POST", "/api/copy", {"source": source, "destination": destination})
    return _there(server, destination)


def delete(server: Ollama, name: str) -> None:
    """Deletes a tag, and the parts that no other uses; what runs goes on. Raises ServerError (`model_not_found`)."""
    _do(server, "DELETE", "/api/delete", {"model": name})


def stored(server: Ollama, name: str) -> StoredModel | None:
    """The model `name` as the server has it, None where it has none. Raises ServerError."""
    try:
        info = server.show(name)
    except ServerError as error:
        if error.status == 404:
            return None
        raise
    tag = tag_of(server, name)
    return StoredModel(name, tag.digest if tag else None, tag.size_bytes if tag else None, info)


def _there(server: Ollama, name: str) -> StoredModel:
    found = stored(server, name)
    if found is None:
        message = f"the server said that it has `{one_line(name)}`, and does not have it"
        raise ServerError(message, code="server_garbled", status=200)
    return found


def _do(server: Ollama, method: str, path: str, request: Mapping[str, str]) -> None:
    """A request that is answered with nothing."""
    try:
        raw = server.http.reply(method, path, request, server.timeout_seconds)
        if raw.strip():  # an error in it is raised, whatever else a later version may say is not looked at
            server.http.parsed(raw, path)
    except ServerError as error:
        raise classified(error) from error


def _send_once(
    server: Ollama, file: Path, size: int, digest: str, sent: Callable[[int, int], None], stopped: Stopped
) -> None:
    with contextlib.closing(_pieces(file, size, sent)) as pieces:
        server.http.send(
            f"/api/blobs/{digest}", pieces, size, UPLOAD_SECONDS, silence_seconds=SILENCE_SECONDS, stopped=stopped
        )


def _pieces(file: Path, size: int, sent: Callable[[int, int], None]) -> Generator[bytes]:
    """The first `size` bytes of the file."""
    try:
        with file.open("rb") as opened:
            done = 0
            sent(0, size)
            while done < size:
                piece = opened.read(min(PIECE_BYTES, size - done))
                if not piece:
                    raise InputError("it became shorter while it was sent", code="file_changed", file=file)
                yield piece
                done += len(piece)
                sent(done, size)
    except OSError as error:
        raise _unreadable(file, error) from error


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> InputError:
    return InputError(f"it cannot be read: {error.strerror or error}", code="unreadable_file", file=file)


def _pause(server: Ollama, seconds: float, stopped: Stopped) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stopped():
            raise ServerError(f"the upload to {server.url} was given up", code="request_stopped")
        time.sleep(min(left, 0.1))


def _not_taken(file: Path, error: ServerError) -> ServerError:
    """What keeps a file from being stored, and would do so again."""
    if error.said.startswith("digest mismatch"):
        return _told(
            f"the server got other bytes of `{one_line(file.name)}` than its digest says, and stored none of them",
            error,
            remedy="let the file be hashed again: it changed, or what stands before the server changed it",
        )
    return error


def _interrupted(file: Path, tried: int, error: ServerError) -> ServerError:
    times = "once" if tried == 1 else f"{tried} times"
    message = f"the upload of `{one_line(file.name)}` failed {times}, and nothing of it is stored: {error.message}"
    return _told(message, error, remedy=error.remedy)


def _not_made(name: str, error: ServerError) -> ServerError:
    wanted = one_line(name)
    if error.code == "server_refused" and error.said and not 401 <= (error.status or 0) <= 403:
        return ServerError(
            f"the server does not create `{wanted}`: {error.said}",
            code="create_refused",
            status=error.status,
            said=error.said,
            remedy=error.remedy,
            reason=error.reason,
        )
    if error.reason.code == "server_cut_off":
        remedy = "see whether the server still runs: a malformed GGUF file ends one before 0.30"
        return _told(f"the creation of `{wanted}` broke off: {error.message}", error, remedy=remedy)
    return error


def _told(message: str, error: ServerError, *, remedy: str | None) -> ServerError:
    code = cast("ServerCode", error.code)
    return ServerError(message, code=code, status=error.status, said=error.said, remedy=remedy, reason=error.reason)


def _status(line: Mapping[str, Any]) -> CreateStatus | None:
    """A line of the stream; None for one that a later version may send beside its statuses."""
    text = line.get("status")
    if not isinstance(text, str):
        return None
    return CreateStatus(one_line(text), replies.count(line, "completed"), replies.count(line, "total"))
