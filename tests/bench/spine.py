"""What a person waits for: a command, the first paint of the console, a submission, the start of a job.

All in one run and interleaved, beside what Python and Textual take by themselves on the same machine at the same time.
"""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.command_line import parser
from tests.support.queueing import Queue

ROUNDS = 9
BAKEHOUSE = str(Path(sys.executable).with_name("bakehouse"))
# The command's own work: what it does behind the imports that every command has.
SUBMISSION = """
import sys, time
import core.cli.train, core.submission.submit
from core.config.project import Project
from core.home import Home
from core.submission import enqueue
enqueue.ensure_runner = lambda home: None
def submit():
    began = time.perf_counter()
    core.submission.submit.submit_train(Home.find(), Project.find(), "judge", "SmolLM2-135M", "demo", author="bench")
    return time.perf_counter() - began
submit()  # makes the database, which happens once in a home's life
print(submit())
"""


def timed(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def first_paint(environment: dict[str, str]) -> float:
    """Seconds from the start of the process to the first frame with the console's header on it, in a pty."""
    began = time.perf_counter()
    with console(environment) as descriptor:
        seen = b""
        while b"Bakehouse" not in seen:
            seen += read(descriptor, 10.0)
        return time.perf_counter() - began


def idle_output(environment: dict[str, str], seconds: float = 10.0) -> float:
    """Bytes a second that an idle console sends, once it has settled."""
    with console(environment) as descriptor:
        settle = time.perf_counter() + 4.0
        while (left := settle - time.perf_counter()) > 0:
            read(descriptor, left)
        sent, end = 0, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            sent += len(read(descriptor, left))
        return sent / seconds


def read(descriptor: int, seconds: float) -> bytes:
    readable, _, _ = select.select([descriptor], [], [], seconds)
    return os.read(descriptor, 65536) if readable else b""


@contextlib.contextmanager
def console(environment: dict[str, str]):  # type: ignore[no-untyped-def]
    pid, descriptor = os.forkpty()
    if pid == 0:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.execve(BAKEHOUSE, [BAKEHOUSE], environment)
    try:
        yield descriptor
    finally:
        os.write(descriptor, b"q")
        deadline = time.monotonic() + 5
        while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                read(descriptor, 0.05)
        os.close(descriptor)


def start_latency(queue: Queue) -> float:
    """Seconds from the call that submits to the state `starting`, no runner living at first."""
    began = time.perf_counter()
    job = queue.submit("steps=1 pause=0")
    while queue.job(job).attempt == 0:
        time.sleep(0.005)
    took = time.perf_counter() - began
    queue.wait_for(job, "done")
    return took


def main(arguments: Sequence[str] = ()) -> None:
    parser("spine", __doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "BAKEHOUSE_HOME": str(folder / "bench"), "TERM": "xterm-256color"}
        environment |= {"XDG_CONFIG_HOME": str(folder / "config"), "BAKEHOUSE_GPU_SOURCE": "none"}
        os.environ |= {"XDG_CONFIG_HOME": str(folder / "config"), "BAKEHOUSE_GPU_SOURCE": "none"}
        queue = Queue.create(folder)
        probes: dict[str, Callable[[], float]] = {
            "python -c pass": lambda: timed([sys.executable, "-c", "pass"], environment),
            "bakehouse --help": lambda: timed([BAKEHOUSE, "--help"], environment),
            "import textual.app": lambda: timed([sys.executable, "-c", "import textual.app"], environment),
            "console, first paint": lambda: first_paint(environment),
            "submission, its own work": lambda: float(
                subprocess.run(
                    [sys.executable, "-c", SUBMISSION], env=environment, check=True, capture_output=True, text=True
                ).stdout
            ),
            "submitted → starting": lambda: start_latency(queue),
        }
        took: dict[str, list[float]] = {name: [] for name in probes}
        try:
            for _ in range(ROUNDS):
                for label, probe in probes.items():
                    took[label].append(probe())
            idle = idle_output(environment)
        finally:
            queue.close()
            subprocess.run([BAKEHOUSE, "runner", "stop"], env=environment, check=False, capture_output=True)
        print(f"{'median of ' + str(ROUNDS):<28} {'ms':>7} {'least':>7} {'most':>7}")
        for label, values in took.items():
            low, middle, high = min(values), statistics.median(values), max(values)
            print(f"{label:<28} {middle * 1e3:>7.0f} {low * 1e3:>7.0f} {high * 1e3:>7.0f}")
        print(f"{'console, idle output':<28} {idle:>7.0f} bytes/s")


if __name__ == "__main__":
    main(sys.argv[1:])
