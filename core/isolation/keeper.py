"""The keeper: the parent of the workers. It starts them, watches them, kills them, and does none of their work.

A request on its socket names the worker (`WorkerSpec`), the piece of work and the seconds it may take. The answer is
`{"result": …, "output": …}`, or `{"killed": WHY, "value": …, "output": …}` where WHY is one of

    time      computing took longer than the seconds, or waiting longer than WAITING_FACTOR times as long
    signal    a signal ended it: `value` is its number
    exit      it ended by itself before it said anything: `value` is its exit code
    output    it wrote more than MOST_OUTPUT_BYTES
    protocol  something else than an answer stood on its socket
    processes it started more than MOST_PREPARING processes while it was prepared
    prepare   it could not be prepared within the time (`value` is then the code above), or ended meanwhile

or `{"failed": WORDS}` where the keeper itself could not start a worker. Standard library only: it is small and starts at once.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.isolation.frames import BadFrameError, Incoming, encoded
from core.isolation.limits import adopt_orphans
from core.isolation.worker import WorkerSpec, run_worker

WAITING_FACTOR, WAITING_SECONDS = 3.0, 1.0
"""A piece of work may wait longer than it may compute: on a busy machine it gets a part of a core."""
PREPARING_SECONDS = 40.0
MOST_OUTPUT_BYTES = 1_000_000
KEPT_OUTPUT_BYTES = 2_000
MOST_WORKERS = 4
MOST_PREPARING, LOOK_MILLISECONDS = 20, 100.0


class GoneError(Exception):
    """The program that asked is no more."""


@dataclass
class Worker:
    pid: int
    link: socket.socket
    output: int
    incoming: Incoming = field(default_factory=Incoming)
    said: bytearray = field(default_factory=bytearray)
    said_bytes: int = 0

    def close(self) -> None:
        self.link.close()
        os.close(self.output)


@dataclass(frozen=True)
class Killed(Exception):  # noqa: N818  (an outcome, no error of the program)
    why: str
    value: int | str = 0


class Keeper:
    def __init__(self, program: socket.socket) -> None:
        self.program = program
        self.workers: OrderedDict[bytes, Worker] = OrderedDict()

    def serve(self) -> None:
        """Answer until the program is gone."""
        incoming = Incoming()
        try:
            while True:
                request = incoming.next()
                if request is None:
                    piece = self.program.recv(65536)
                    if not piece:
                        return
                    incoming.add(piece)
                    continue
                self.program.sendall(encoded(self.answer(request)))
        except (GoneError, OSError, BadFrameError):
            return
        finally:
            for key in list(self.workers):
                self.kill(key)
            kill_orphans()

    def answer(self, request: Any) -> dict[str, Any]:
        spec, seconds = WorkerSpec(**request["worker"]), float(request["seconds"])
        key = encoded(request["worker"])
        output = b""
        try:
            self.forget_if_gone(key)
            worker = self.workers.get(key) or self.start(key, spec)
            self.workers.move_to_end(key)
            worker.said.clear()
            worker.said_bytes = 0
            try:
                found = self.exchange(worker, encoded({"work": request["work"], "seconds": seconds}), spec, seconds)
            finally:
                output = bytes(worker.said)
        except Killed as killed:
            self.kill(key)
            return {"killed": killed.why, "value": killed.value, "output": _text(output)}
        except (ImportError, OSError) as error:
            self.kill(key)
            return {"failed": f"{type(error).__name__}: {error}"}
        kill_orphans({worker.pid for worker in self.workers.values()})
        return {"result": found, "output": _text(output)}

    def start(self, key: bytes, spec: WorkerSpec) -> Worker:
        while len(self.workers) >= MOST_WORKERS:
            self.kill(next(iter(self.workers)))
        importlib.import_module(spec.module)  # once, for all workers of its kind
        ours, theirs = socket.socketpair()
        reads, writes = os.pipe()
        keeper = os.getpid()
        pid = os.fork()
        if pid == 0:
            run_worker(spec, keeper, theirs, writes)
        theirs.close()
        os.close(writes)
        os.set_blocking(reads, False)
        ours.setblocking(False)
        worker = self.workers[key] = Worker(pid, ours, reads)
        try:
            first = self.receive(worker, b"", PREPARING_SECONDS, preparing=True)
        except Killed as killed:
            raise Killed("prepare", killed.why if killed.why != "exit" else killed.value) from None
        if first != {"ready": True}:
            raise Killed("prepare", "protocol")
        for stray in set(session_of(pid)) - {pid}:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(stray, signal.SIGKILL)
        return worker

    def exchange(self, worker: Worker, request: bytes, spec: WorkerSpec, seconds: float) -> Any:
        """What a worker answers to a piece of work. Raises Killed."""
        until = seconds * WAITING_FACTOR + WAITING_SECONDS
        found = self.receive(worker, request, until)
        if not spec.fork:
            return found
        # The child has answered, or it has ended: its parent says how, in both cases.
        ended = found if isinstance(found, dict) and set(found) == {"ended"} else self.receive(worker, b"", until)
        if not isinstance(ended, dict) or set(ended) != {"ended"}:
            raise Killed("protocol")
        if ended is not found:
            return found
        raise self.how(int(ended["ended"]))

    def receive(self, worker: Worker, outgoing: bytes, seconds: float, *, preparing: bool = False) -> Any:
        """Send what is to be sent and wait for a document; what is printed meanwhile is kept. Raises Killed and GoneError.

        While it is `preparing` a worker may start processes, as some libraries do when they are imported, but no crowd of them.
        """
        deadline = time.monotonic() + seconds
        left = memoryview(outgoing)
        while True:
            try:
                document = worker.incoming.next()
            except BadFrameError:
                raise Killed("protocol") from None
            if document is not None:
                self.drain(worker)
                return document
            poll = select.poll()
            poll.register(worker.link, select.POLLIN | (select.POLLOUT if left else 0))
            poll.register(worker.output, select.POLLIN)
            poll.register(self.program, select.POLLRDHUP)
            longest = max(0.0, deadline - time.monotonic()) * 1000 + 1
            for descriptor, _ in poll.poll(min(longest, LOOK_MILLISECONDS) if preparing else longest):
                if descriptor == self.program.fileno():
                    raise GoneError
                if descriptor == worker.output:
                    self.drain(worker)
            left = self.move(worker, left)
            if preparing and len(session_of(worker.pid)) > MOST_PREPARING:
                raise Killed("processes")
            if time.monotonic() >= deadline:
                raise Killed("time")

    def move(self, worker: Worker, left: memoryview) -> memoryview:
        """Send and read as much as goes without waiting; what is left to send. Raises Killed where the worker is gone."""
        try:
            with suppress(BlockingIOError):
                left = left[worker.link.send(left) :] if left else left
            with suppress(BlockingIOError):
                piece = worker.link.recv(65536)
                if not piece:
                    raise self.ended(worker)
                worker.incoming.add(piece)
        except OSError:
            raise self.ended(worker) from None
        return left

    def drain(self, worker: Worker) -> None:
        """Take what was printed, of which a part is kept. Raises Killed for too much."""
        with suppress(BlockingIOError):
            while piece := os.read(worker.output, 65536):
                worker.said_bytes += len(piece)
                worker.said += piece[: max(0, KEPT_OUTPUT_BYTES - len(worker.said))]
                if worker.said_bytes > MOST_OUTPUT_BYTES:
                    raise Killed("output")

    def ended(self, worker: Worker) -> Killed:
        """How a worker ended that has closed its socket; one that lives on without is no use any more."""
        self.drain(worker)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.pid = 0
                return self.how(status)
            time.sleep(0.005)
        return Killed("protocol")

    def how(self, status: int) -> Killed:
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return Killed("exit", code)
        if -code in (signal.SIGPROF, signal.SIGXCPU):
            return Killed("time")
        return Killed("signal", -code)

    def forget_if_gone(self, key: bytes) -> None:
        """A worker that ended while nobody asked it anything (the machine's memory ran out, say) has failed at no work."""
        worker = self.workers.get(key)
        if worker is not None and os.waitpid(worker.pid, os.WNOHANG) != (0, 0):
            worker.pid = 0
            self.kill(key)

    def kill(self, key: bytes) -> None:
        """End a worker and all that it has started."""
        worker = self.workers.pop(key, None)
        if worker is None:
            return
        if worker.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)  # it may have left its group
            with suppress(ChildProcessError):
                os.waitpid(worker.pid, 0)
        worker.close()
        kill_orphans({one.pid for one in self.workers.values()})


def kill_orphans(but: set[int] | None = None) -> None:
    """Kill the children of this process but for some, and theirs, which become children of this process by that."""
    for _ in range(1000):
        strays = [pid for pid in _children() if pid not in (but or set())]
        if not strays:
            return
        for pid in strays:
            with suppress(ProcessLookupError, PermissionError):
                if os.getpgid(pid) != os.getpgrp():
                    os.killpg(os.getpgid(pid), signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)
        for pid in strays:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def session_of(leader: int) -> list[int]:
    """The processes of a worker's session, itself among them."""
    return [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _stat(entry, 3) == leader
    ]


def _children() -> list[int]:
    own = os.getpid()
    try:
        return [int(word) for word in Path(f"/proc/{own}/task/{own}/children").read_text().split()]
    except OSError:
        return [
            int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _stat(entry, 1) == own
        ]


def _stat(entry: Path, place: int) -> int | None:
    """A number of a process by its place behind the name (proc_pid_stat(5)): its parent 1, its session 3."""
    try:
        return int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[place])
    except (OSError, ValueError, IndexError):
        return None


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def main(descriptor: int) -> None:
    """Be the keeper of the program at the other end of a socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    program = socket.socket(fileno=descriptor)
    Keeper(program).serve()
