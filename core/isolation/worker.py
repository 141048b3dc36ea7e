"""A worker: forked from the keeper, it prepares itself once and then does one piece of work after the other.

With `fork`, each piece is done by a child of its own, so that none sees what another left behind: a changed builtin, a
thread, a full memory. What is printed goes to the keeper by a pipe; documents go over a socket that neither stdin nor stdout
is.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from core.isolation.frames import Incoming, encoded
from core.isolation.limits import (
    be_killed_first,
    die_with_parent,
    limit_cpu,
    limit_files,
    limit_memory,
    start_nothing,
)

Handler = Callable[[Any], Any]

MOST_OPEN = 4096
"""The keeper has fewer files open than that."""
PREPARING_CPU_SECONDS = 10
PREPARING_BYTES = 2_000_000_000
"""Address space for what is imported: libraries reserve far more than they use."""


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is: `prepare` names a function of ours (`module:function`) that is given `argument` once and returns the
    function that is given each piece of work. `memory` is in bytes, beyond what the prepared worker has."""

    prepare: str
    argument: Any
    fork: bool
    memory: int

    @property
    def module(self) -> str:
        return self.prepare.partition(":")[0]

    def handler(self) -> Handler:
        """Prepare; whatever that raises comes out."""
        module, _, name = self.prepare.partition(":")
        made: Handler = getattr(importlib.import_module(module), name)(self.argument)
        return made


def run_worker(spec: WorkerSpec, keeper: int, link: socket.socket, output: int) -> NoReturn:
    """Be a worker until the keeper is gone. It never returns into what it was forked from."""
    leave = os._exit
    try:
        os.setsid()
        die_with_parent(keeper)
        _alone_with(link, output)
        be_killed_first()
        limit_files()
        _serve(spec, link)
    except BaseException:  # noqa: BLE001  (nothing of the keeper may run on in here)
        leave(70)
    leave(0)


def _alone_with(link: socket.socket, output: int) -> None:
    """Close whatever else is open, with nothing to read and the pipe to write to; in a folder where nobody can write a file."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, link.fileno())
    os.closerange(link.fileno() + 1, MOST_OPEN)
    os.chdir("/proc")


def _serve(spec: WorkerSpec, link: socket.socket) -> None:
    limit_memory(PREPARING_BYTES, for_good=False)
    limit_cpu(PREPARING_CPU_SECONDS)
    own = os.getpid()
    handle = spec.handler()
    if os.getpid() != own:
        os._exit(0)  # what was loaded has forked, and this is the other one
    limit_cpu(0)
    if not spec.fork:
        start_nothing()
        limit_memory(spec.memory)
    link.sendall(encoded({"ready": True}))
    # What is there stays: a child that collects garbage would copy all of it.
    gc.collect()
    gc.freeze()
    incoming = Incoming()
    while (piece := _next(link, incoming)) is not None:
        if spec.fork:
            link.sendall(encoded({"ended": _in_child(spec, handle, piece, link)}))
        else:
            limit_cpu(piece["seconds"])
            answer = encoded(handle(piece["work"]))
            limit_cpu(0)
            link.sendall(answer)


def _next(link: socket.socket, incoming: Incoming) -> Any:
    while (document := incoming.next()) is None:
        piece = link.recv(65536)
        if not piece:
            return None
        incoming.add(piece)
    return document


def _in_child(spec: WorkerSpec, handle: Handler, piece: Any, link: socket.socket) -> int:
    """Do a piece of work in a child; how it ended, as `os.waitpid` says it. What it answers, it sends itself."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        leave, flush = os._exit, (sys.stdout.flush, sys.stderr.flush)
        try:
            die_with_parent(parent)
            random.seed(0)
            limit_memory(spec.memory)
            start_nothing()
            limit_cpu(piece["seconds"])
            link.sendall(encoded(handle(piece["work"])))
            for write in flush:
                write()
        except BaseException:  # noqa: BLE001  (nothing of the parent may run on in here)
            leave(70)
        leave(0)
    _, status = os.waitpid(child, 0)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # what was started while it was prepared, and is gone
            pass
    return status
