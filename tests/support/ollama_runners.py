"""The scheduler of the Ollama stand-in: which model is in memory, for whom, and until when.

Each runner is a real child process that sleeps, so that it can be killed and its memory attributed. The rules are those of
server/sched.go as they were observed: one runner for a blob, another context makes it anew, a load is seen by nobody until it
is done, an unload waits for the answers that are being given.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.ollama_models import Model, go_time
from tests.support.ollama_requests import RefusalError, out_of_memory

Report = Callable[[list[tuple[str, int, int]]], None]


class Runner:
    """A model in memory. `refs` counts the requests it works for; `expires_at` is None until the first of them is done."""

    def __init__(self, model: Model, options: dict[str, int], parallel: int, vram: bool, program: Path) -> None:
        self.model, self.options = model, options
        self.size_bytes = model.size_at(options["num_ctx"], parallel)
        self.size_vram_bytes = self.size_bytes if vram else 0
        self.digest, self.details = model.digest, model.details  # as they were when it was loaded
        self.loading = True
        self.refs = 0
        self.session_seconds = 0.0
        self.expires_at: float | None = None
        self.slots = threading.Semaphore(parallel)
        # In its own group, so that a Ctrl-C for the tests is not one for it; it ends by itself should nobody be left to end it.
        self.process = subprocess.Popen([program, "3600"], stdin=subprocess.DEVNULL, process_group=0)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def entry(self, now: float) -> dict[str, Any]:
        """As `/api/ps` lists it."""
        until = now + self.session_seconds if self.expires_at is None else self.expires_at
        return {
            "name": self.model.name,
            "model": self.model.name,
            "size": self.size_bytes,
            "digest": self.digest,
            "details": self.details,
            "expires_at": go_time(until),
            "size_vram": self.size_vram_bytes,
            "context_length": self.options["num_ctx"],
        }


class Scheduler:
    """Its attributes are the server's settings, and may be changed while it runs."""

    def __init__(self, newer: bool) -> None:
        self.newer = newer
        self.vram = True
        self.parallel = 1
        self.max_loaded = 3
        self.max_queue = 512
        self.memory_bytes: int | None = None
        self.load_seconds = 0.1
        self.reap_seconds = 0.05
        self.keep_alive_seconds = 300.0
        self.default_context = 4096
        self.report: Report | None = None
        self._changed = threading.Condition(threading.RLock())
        self._reporting = threading.Lock()
        self._reported: list[tuple[str, int, int]] = []
        self._loaded: dict[str, Runner] = {}
        self._dying: list[tuple[float, Runner]] = []
        self._queue: list[object] = []
        self._folder = Path(tempfile.mkdtemp(prefix="ollama-standin-"))
        self._program = self._folder / ("llama-server" if newer else "ollama")
        self._program.symlink_to(shutil.which("sleep") or "/bin/sleep")
        self._over = False
        self._keeper = threading.Thread(target=self._keep, name="ollama-standin-keeper", daemon=True)
        self._keeper.start()

    def acquire(
        self, model: Model, options: dict[str, Any], keep_alive: float | None, check_client: Callable[[], None]
    ) -> Runner:
        """The model's runner, loaded when it has to be; `release` it. Refused when the queue is full or memory short."""
        wanted = self._runner_options(model, options)
        ticket = object()
        try:
            runner = self._place(model, wanted, keep_alive, ticket, check_client)
        finally:
            with self._changed:
                if ticket in self._queue:
                    self._queue.remove(ticket)
                self._changed.notify_all()
        if runner.loading:
            self._load(runner, check_client)
        return runner

    def release(self, runner: Runner) -> None:
        """A request is done with it."""
        with self._changed:
            runner.refs -= 1
            if runner.refs == 0 and self._loaded.get(runner.model.blob) is runner:
                if runner.session_seconds <= 0:
                    self._let_go(runner)
                else:
                    runner.expires_at = time.time() + runner.session_seconds
            self._changed.notify_all()

    def unload(self, model: Model) -> None:
        """What `keep_alive: 0` without a prompt does: nothing to what loads, an end to what answers once it has."""
        with self._changed:
            runner = self._loaded.get(model.blob)
            if runner is None or runner.loading:
                return
            runner.expires_at, runner.session_seconds = time.time(), 0.0
            if runner.refs == 0:
                self._let_go(runner)
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many requests wait for a model that cannot be loaded yet."""
        with self._changed:
            return len(self._queue)

    def at_work(self, name: str) -> bool:
        """Whether the runner that is listed under this name works for a request."""
        with self._changed:
            return any(one.model.name == name and one.refs > 0 for one in self._loaded.values() if not one.loading)

    def ps(self) -> list[dict[str, Any]]:
        """The runners, the one that stays longest first. Whether they live is not asked."""
        now = time.time()
        with self._changed:
            ready = [runner for runner in self._loaded.values() if not runner.loading]
            ready.sort(
                key=lambda runner: -(runner.session_seconds + now if runner.expires_at is None else runner.expires_at)
            )
            return [runner.entry(now) for runner in ready]

    def residents(self) -> list[tuple[str, int, int]]:
        """(name, VRAM in bytes, pid) of every process that lives, also of one that loads or is being ended."""
        with self._changed:
            runners = [*self._loaded.values(), *(runner for _, runner in self._dying)]
            return [(one.model.name, one.size_vram_bytes, one.process.pid) for one in runners if one.alive]

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> int:
        """Kills the runner that is listed under this name, behind the server's back; its pid."""
        with self._changed:
            runner = next(one for one in self._loaded.values() if one.model.name == name)
        runner.process.send_signal(how)
        runner.process.wait()
        self.tell()
        return runner.process.pid

    def drop_all(self) -> None:
        """The server ends: so do its runners, at once."""
        with self._changed:
            runners = [*self._loaded.values(), *(runner for _, runner in self._dying)]
            self._loaded.clear()
            self._dying.clear()
            for runner in runners:
                self._end(runner)
            self._changed.notify_all()
        self.tell()

    def close(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._keeper.join()
        self.drop_all()
        shutil.rmtree(self._folder, ignore_errors=True)

    def tell(self) -> None:
        """Reports who holds memory; one report at a time, each with what is true when it is made."""
        with self._reporting:
            held = self.residents()
            if held != self._reported:
                self._reported = held
                if self.report is not None:
                    self.report(held)

    def _runner_options(self, model: Model, options: dict[str, Any]) -> dict[str, int]:
        context = max(4, min(int(options.get("num_ctx", self.default_context)), model.trained_context))
        return {"num_ctx": context, **{key: options[key] for key in ("num_batch", "num_gpu") if key in options}}

    def _place(
        self,
        model: Model,
        wanted: dict[str, int],
        keep_alive: float | None,
        ticket: object,
        check_client: Callable[[], None],
    ) -> Runner:
        with self._changed:
            while True:
                check_client()  # who has gone waits no longer, and nothing is loaded for him
                runner = self._loaded.get(model.blob)
                if runner is not None and runner.loading:
                    self._changed.wait(0.05)
                    continue
                if runner is not None and self._serves(runner, model, wanted):
                    return self._use(runner, keep_alive)
                if ticket not in self._queue:
                    if len(self._queue) > self.max_queue:
                        raise RefusalError(503, "server busy, please try again.  maximum pending requests exceeded")
                    self._queue.append(ticket)
                if self._queue[0] is ticket and self._made_room(runner, model, wanted):
                    fresh = Runner(model, wanted, self.parallel, self.vram, self._program)
                    self._loaded[model.blob] = fresh
                    return self._use(fresh, keep_alive)
                self._changed.wait(0.05)

    def _serves(self, runner: Runner, model: Model, wanted: dict[str, int]) -> bool:
        return runner.alive and runner.model.adapter == model.adapter and runner.options == wanted

    def _use(self, runner: Runner, keep_alive: float | None) -> Runner:
        runner.refs += 1
        if keep_alive is not None or runner.loading:
            runner.session_seconds = self.keep_alive_seconds if keep_alive is None else keep_alive
        return runner

    def _made_room(self, stale: Runner | None, model: Model, wanted: dict[str, int]) -> bool:
        """Whether the model can be loaded now. What is in its way goes, once it is idle."""
        if stale is not None:
            return self._out(stale)
        if self._dying:
            return False
        needed = model.size_at(wanted["num_ctx"], self.parallel)
        held = sum(runner.size_bytes for runner in self._loaded.values())
        short = self.memory_bytes is not None and held + needed > self.memory_bytes
        if not short and len(self._loaded) < self.max_loaded:
            return True
        if not self._loaded:
            assert self.memory_bytes is not None
            cache = needed - model.size_bytes
            raise out_of_memory(self.newer, needed, cache, self.memory_bytes)
        candidates = sorted(self._loaded.values(), key=lambda one: (one.refs > 0, one.session_seconds, one.model.blob))
        return self._out(candidates[0])

    def _out(self, runner: Runner) -> bool:
        """Sends a runner away, now or when its work is done; never is there room at once."""
        if runner.refs == 0:
            self._let_go(runner)
        elif not runner.loading:
            runner.session_seconds = 0.0
        return False

    def _load(self, runner: Runner, check_client: Callable[[], None]) -> None:
        """Takes its time. A load for which nobody waits any more is given up, as is one whose process dies."""
        self.tell()
        seconds = self.load_seconds if runner.model.load_seconds is None else runner.model.load_seconds
        deadline = time.monotonic() + seconds
        loaded = False
        try:
            while runner.alive and (left := _left_of_load(runner.model, deadline)) > 0:
                check_client()
                time.sleep(min(left, 0.02))
            loaded = runner.alive
        finally:
            with self._changed:
                runner.loading = False
                if not loaded and self._loaded.get(runner.model.blob) is runner:
                    self._let_go(runner)
                self._changed.notify_all()
        if not loaded:
            word = "llama-server process has" if self.newer else "llama runner process has"
            raise RefusalError(500, f"{word} terminated: signal: killed")

    def _let_go(self, runner: Runner) -> None:
        """Off the list at once; its process, and with it the memory, follows."""
        del self._loaded[runner.model.blob]
        self._dying.append((time.monotonic(), runner))
        self._changed.notify_all()

    def _keep(self) -> None:
        """Lets go of what has expired, ends what was let go, and sees who died."""
        seen: set[int] = set()
        while True:
            with self._changed:
                if self._over:
                    return
                now = time.time()
                for runner in list(self._loaded.values()):
                    if runner.refs == 0 and runner.expires_at is not None and runner.expires_at <= now:
                        self._let_go(runner)
                due = [pair for pair in self._dying if pair[0] + self.reap_seconds <= time.monotonic()]
                for pair in due:
                    self._dying.remove(pair)
                    self._end(pair[1])
                if due:
                    self._changed.notify_all()
                living = {pid for _, _, pid in self.residents()}
            if living != seen:
                seen = living
                self.tell()
            with self._changed:
                if not self._over:
                    self._changed.wait(0.02)

    def _end(self, runner: Runner) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(runner.process.pid, signal.SIGKILL)
        runner.process.wait()


def _left_of_load(model: Model, deadline: float) -> float:
    """Seconds that a load still takes, as far as anybody knows."""
    if model.loads_until is not None:
        return 0.0 if model.loads_until.is_set() else math.inf
    return deadline - time.monotonic()
