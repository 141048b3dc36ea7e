"""One small process for each served model: llama-server's parent, which starts it again when it has died.

It outlives the console, the connection and the runner, and holds `shim.lock` for life. Only the standard library and light
rooms are imported, so that it starts at once and costs little.

    python -P -m core.served.shim [--foreground] FOLDER     (reads served.json there; a unit has it in the foreground)
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from core.errors import BakehouseError
from core.files import private
from core.home import ServedDir
from core.process.child import GRACE_SECONDS, end_child, guarded
from core.process.identity import ProcessIdentity, current_boot_id
from core.process.ports import is_free
from core.process.shims import RunnerWatch, silence_standard_streams, take_lock
from core.reasons import Reason
from core.served.away import away_for, call_back, is_over, lease_is_held
from core.served.llama_server import has_loaded, server_environment
from core.served.record import ServedModelRecord, read_record
from core.served.server_log import ServerLog, keep_small
from core.served.state import BY_PERSON, Phase, ServedState, write_state, written_state

LOOK_SECONDS = 0.5
"""Between two looks at the files that tell it to go or to come."""
LOADING_SECONDS = 0.25
"""Between two looks whether llama-server has loaded."""
QUICK_SECONDS = 60.0
"""Who dies sooner after it had loaded has died quickly."""
MOST_QUICK_DEATHS = 5
"""In a row, until it counts as failed."""
LONGEST_PAUSE_SECONDS = 300.0
# What another try at once would not change. It is failed then, and tried again in case somebody sees to it.
PAUSES = {"port_taken": 5.0, "out_of_memory": 60.0, "refused": 60.0, "no_start": 60.0}
NOT_MINE = 3
"""Exit code: there is nothing to do, and will not be."""
MOVED = Reason("moved")


def main(arguments: list[str]) -> int:
    *options, place = arguments
    folder = ServedDir(Path(place))
    if not folder.record.exists():
        print(f"{folder.path}: no served model is here", file=sys.stderr)
        return NOT_MINE
    lock = take_lock(folder.shim_lock)
    if lock is None:
        print(f"{folder.path}: another shim has this served model", file=sys.stderr)
        return NOT_MINE
    # What a former shim wrote is no longer so. Its server follows it in a moment, and has the port until then.
    former = written_state(folder)
    _begin_state(folder)
    if "--foreground" not in options:
        if os.fork():
            # The parent must not run exit handlers or flush what the child owns now.
            os._exit(0)
        os.setsid()
        silence_standard_streams()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    supervisor = Supervisor(folder, lock)
    if former is not None and former.server is not None:
        supervisor.wait_for_end(former.server)
    supervisor.run()
    return 0


def _begin_state(folder: ServedDir) -> None:
    """Written before this process does anything else: killed from here on, it is known to have run (`core.served.revival`)."""
    try:
        write_state(folder, ServedState("loading", time.time(), boot_id=current_boot_id()))
    except OSError:
        folder.state.unlink(missing_ok=True)


class Supervisor:
    """Has llama-server of a served model run, unless it is stopped, away, or failing."""

    def __init__(self, folder: ServedDir, lock: int) -> None:
        self.folder = folder
        self.lock = lock
        self.runner = RunnerWatch(folder.home)
        self.log = ServerLog(folder.log)
        self.own = ProcessIdentity.of(os.getpid())
        self.boot_id = current_boot_id()
        self.deaths = 0
        """Quick ones in a row."""
        self.trouble: Reason | None = None
        """Why it does not serve, while it is tried again."""
        self._wanted: ServedState | None = None
        """What the state is to say; `_told` is what the file says."""
        self._told: ServedState | None = None
        self._signal: int | None = None
        self._woken, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGTERM, self._take_signal)

    def run(self) -> None:
        while (end := self.told_to_end()) is None:
            if self.folder.away.exists():
                self.stay_away()
            else:
                self.serve()
        if end != MOVED:
            self.tell("stopped", end)

    def wait_for_end(self, server: ProcessIdentity) -> None:
        """Until the server of a former shim is gone, or this process is to end."""
        self.tell("loading", None)
        while server.alive() and self.told_to_end() is None:
            self.wait(LOADING_SECONDS)

    def told_to_end(self) -> Reason | None:
        """Why this process is to end; None while it is not."""
        if self._signal is not None:
            return Reason("ended", {"signal": signal.Signals(self._signal).name})
        try:
            there, held = self.folder.shim_lock.stat(), os.fstat(self.lock)
        except FileNotFoundError:
            return MOVED  # removed, or moved with its home: nobody would find this process any more
        except OSError:
            return None
        if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            return MOVED
        return BY_PERSON if self.folder.stopped.exists() else None

    def stay_away(self) -> None:
        """Until it is called back. Where no runner lives, and none can be started, it comes back after the last of the jobs."""
        self.runner.forget()  # whoever has sent it away has lived a moment ago
        while self.told_to_end() is None and (jobs := away_for(self.folder)):
            self.tell("away", Reason("away", {"jobs": jobs}))
            self.wait(LOOK_SECONDS)
            self.runner.look()
            over = self.runner.is_refused and all(is_over(self.folder.home, job) for job in jobs)
            if over and not lease_is_held(self.folder):
                for job in jobs:
                    with contextlib.suppress(OSError):
                        call_back(self.folder.home, self.folder.path.name, job)

    def serve(self) -> None:
        """Have llama-server run until it dies, or is to go; after a death, pause."""
        self.tell("loading", self.trouble)
        if not self.may_serve():
            return  # looked for once more: whoever reads another phase than `loading` relies on it (`is_gone`)
        try:
            record = read_record(self.folder.home, self.folder.path.name)
        except BakehouseError as error:
            self.pause(Reason("refused", {"said": str(error)}))
            return
        if not is_free(record.port):
            self.pause(Reason("port_taken", {"port": record.port}))
            return
        process = self.start(record)
        if process is None:
            return
        self.tell("loading", self.trouble, process)
        began = self.watch(process, record)
        if process.returncode is None:
            end_child(process, GRACE_SECONDS)
            return
        if began is None or time.monotonic() - began < QUICK_SECONDS * _unit():
            self.deaths += 1
        else:
            self.deaths = 1
        self.pause(self.why_it_died(record, process.returncode, has_loaded=began is not None))

    def start(self, record: ServedModelRecord) -> subprocess.Popen[bytes] | None:
        keep_small(self.folder.log)
        self.log.begin()
        environ = server_environment(os.environ)
        for name in record.unset:
            environ.pop(name, None)
        try:
            with open(self.folder.log, "ab", opener=private) as log:
                return subprocess.Popen(
                    guarded(record.command),
                    cwd="/",
                    env={**environ, **record.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        except OSError as error:
            self.pause(Reason("no_start", {"said": error.strerror or str(error)}))
            return None

    def watch(self, process: subprocess.Popen[bytes], record: ServedModelRecord) -> float | None:
        """Look after a running server until it has died or is to go. Returns when it began to serve, None if it never did."""
        began: float | None = None
        with _descriptor(process) as died:
            while process.poll() is None and self.may_serve():
                if began is None and has_loaded(process.pid, record.port):
                    began = time.monotonic()
                    self.trouble = None
                    self.tell("serving", None, process)
                self.runner.look()
                if keep_small(self.folder.log):
                    self.log.began_at = 0
                self.wait(LOADING_SECONDS if began is None else LOOK_SECONDS, died)
        return began

    def may_serve(self) -> bool:
        return self.told_to_end() is None and not self.folder.away.exists()

    def why_it_died(self, record: ServedModelRecord, code: int, *, has_loaded: bool) -> Reason:
        if self.log.port_was_taken():
            return Reason("port_taken", {"port": record.port})
        error = self.log.why_it_died("llama-server", record.file.name, code, has_loaded=has_loaded)
        kind = {"server_out_of_memory": "out_of_memory", "server_refused": "refused"}.get(error.code, "died")
        return Reason(kind, {"said": error.message})

    def pause(self, reason: Reason) -> None:
        """Say why it does not serve, and wait before the next try."""
        seconds = seconds_before_retry(reason.code, self.deaths)
        failed = reason.code in PAUSES or self.deaths >= MOST_QUICK_DEATHS
        self.trouble = Reason(reason.code, {**reason.values, "retry_seconds": seconds})
        self.tell("failed" if failed else "loading", self.trouble)
        until = time.monotonic() + seconds * _unit()
        while self.may_serve() and (left := until - time.monotonic()) > 0:
            self.runner.look()
            self.wait(min(left, LOOK_SECONDS))

    def tell(self, phase: Phase, reason: Reason | None, process: subprocess.Popen[bytes] | None = None) -> None:
        """Write down what it does now, where that has changed. A disk that refuses is no reason not to serve."""
        server = None if process is None else ProcessIdentity.of(process.pid)
        last = self._wanted
        since = last.since if last is not None and last.phase == phase else time.time()
        self._wanted = ServedState(phase, since, server, self.own, reason, self.deaths, self.boot_id)
        self._write()

    def _write(self) -> None:
        """What a disk refuses is written later. Until then nothing says that it is away, or serves, while it no longer is."""
        if self._wanted is None or self._wanted == self._told:
            return
        try:
            write_state(self.folder, self._wanted)
            self._told = self._wanted
        except OSError:
            with contextlib.suppress(OSError):
                self.folder.state.unlink(missing_ok=True)

    def wait(self, seconds: float, died: int | None = None) -> None:
        """Until the time is over, a signal comes, or the server dies."""
        poll = select.poll()
        for descriptor in (self._woken, died):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        self._write()
        poll.poll(seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def _take_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number


def seconds_before_retry(code: str, deaths: int) -> float:
    """How long nothing is tried for a reason, after so many quick deaths in a row."""
    return PAUSES.get(code) or min(2.0 ** min(deaths - 1, 10), LONGEST_PAUSE_SECONDS)


@contextlib.contextmanager
def _descriptor(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Readable once the process has died."""
    descriptor = os.pidfd_open(process.pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _unit() -> float:
    """What pauses are multiplied by; `BAKEHOUSE_SERVED_PAUSE` shortens them in tests."""
    return float(os.environ.get("BAKEHOUSE_SERVED_PAUSE") or 1.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
