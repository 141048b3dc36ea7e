"""Asking the keeper, from any thread: it is started at the first request, and anew when it is gone."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.isolation.frames import BadFrameError, Incoming, encoded
from core.isolation.keeper import PREPARING_SECONDS, WAITING_FACTOR, WAITING_SECONDS
from core.isolation.worker import WorkerSpec

PATIENCE_SECONDS = 30.0
"""So much later than a worker's time the keeper answers at the latest, or something is wrong with it."""
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from core.isolation.keeper import main
main(int(sys.argv[2]))
"""
# Of the program's environment a worker sees no more: no key of a server, nothing that changes how it computes.
_PASSED = ("PATH", "HOME", "LD_LIBRARY_PATH")
_SET = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
}


@dataclass(frozen=True)
class Outcome:
    """`result` is what the worker said. `killed` tells why there is none (`core.isolation.keeper`), `value` more of that,
    `failed` that no worker could be started; `output` is the beginning of what was printed."""

    result: Any = None
    killed: str | None = None
    value: int | str = 0
    failed: str | None = None
    output: str = ""


class _Connection:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parent.parent.parent)
        paths = [root, *(path for path in sys.path if path and Path(path).is_absolute() and path != root)]
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ} | _SET
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-P", "-c", _START, json.dumps(paths), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.owner = os.getpid()
        self.link = ours
        self.incoming = Incoming()

    def ask(self, request: bytes, seconds: float) -> Any:
        """Raises OSError, TimeoutError among them, and BadFrameError when the keeper is gone or not itself."""
        self.link.settimeout(seconds)
        self.link.sendall(request)
        while (document := self.incoming.next()) is None:
            piece = self.link.recv(65536)
            if not piece:
                raise ConnectionResetError("the keeper is gone")
            self.incoming.add(piece)
        return document

    def close(self) -> None:
        """The keeper ends with this; it has no more than its workers to kill."""
        self.link.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_lock = threading.Lock()
_connection: _Connection | None = None


def ask(worker: WorkerSpec, work: Any, seconds: float) -> Outcome:
    """Have a piece of work done by a worker within so many seconds of computing, or be told why it was killed.

    `work` and what comes back is JSON; ValueError or TypeError where it is none.
    """
    global _connection
    request = encoded({"worker": asdict(worker), "work": work, "seconds": seconds})
    longest = PREPARING_SECONDS + 2 * (seconds * WAITING_FACTOR + WAITING_SECONDS) + PATIENCE_SECONDS
    with _lock:
        for attempt in (1, 2):
            try:
                if _connection is None:
                    _connection = _Connection()
                return Outcome(**_connection.ask(request, longest))
            except (OSError, BadFrameError, TypeError) as error:
                # Whoever killed the keeper between two requests has not harmed this one: it is made once more.
                _drop()
                if attempt == 2 or isinstance(error, TimeoutError):
                    return Outcome(failed=f"{type(error).__name__}: {error}")
            except BaseException:
                # Interrupted while it waited: the answer would come to whoever asks next.
                _drop()
                raise
    raise AssertionError("unreachable")


def stop() -> None:
    """End the keeper and its workers, if there are any; the next request starts one anew."""
    with _lock:
        _drop()


def keeper_pid() -> int | None:
    """The process of the keeper; None while there is none."""
    return None if _connection is None else _connection.process.pid


def _drop() -> None:
    global _connection
    connection, _connection = _connection, None
    if connection is not None and connection.owner == os.getpid():
        with suppress(OSError):
            connection.close()


def _forget() -> None:
    """In a forked child: the keeper is the parent's."""
    global _connection, _lock
    _lock = threading.Lock()
    if _connection is not None:
        _connection.link.close()
        _connection = None


atexit.register(stop)
os.register_at_fork(after_in_child=_forget)
