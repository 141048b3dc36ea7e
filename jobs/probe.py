"""What torch can do here: `PYTHON -P -m jobs.probe` prints one JSON document.

Each probe runs in a process of its own with a limit, so that one that crashes, faults in the driver or hangs is a finding and
the others go on. This process imports no torch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from typing import IO, Any, NoReturn

from core.files import tail

PROBES = {
    "device": "jobs.probes.device:examine",
    "bf16": "jobs.probes.layers:bf16",
    "attention": "jobs.probes.attention:examine",
    "lora": "jobs.probes.lora:examine",
    "hqq": "jobs.probes.layers:hqq",
    "bitsandbytes": "jobs.probes.layers:bitsandbytes",
}
PACKAGES = ("torch", "transformers", "trl", "peft", "hqq", "accelerate", "bitsandbytes")
LIMIT_SECONDS = 120.0  # the first kernels on a GPU are compiled or searched for
GRACE_SECONDS = 10.0
OUTPUT_BYTES = 65_536
SAID_CHARACTERS = 400


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m jobs.probe")
    parser.add_argument("--only", action="append", choices=[*PROBES], help="this probe; may be repeated")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds for each probe")
    parser.add_argument("--no-kill", action="store_true", help="leave a hanging probe alone after SIGTERM (AMD GPUs)")
    parser.add_argument("--lease", type=int, help="an open lock that lasts as long as any probe does")
    parser.add_argument("--child", choices=[*PROBES], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return child(options.child)
    # A parent that is told to end takes its child along, by the same ladder.
    signal.signal(signal.SIGTERM, leave)
    names = options.only or [*PROBES]
    made = document(names, options.limit, may_kill=not options.no_kill, lease=options.lease)
    print(json.dumps(made), flush=True)
    return 0


def leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def document(names: list[str], limit_seconds: float, *, may_kill: bool, lease: int | None = None) -> dict[str, Any]:
    """The versions and what each probe found. Behind a device that does not answer nothing more is tried."""
    results: list[dict[str, Any]] = []
    stuck = ""
    for name in names:
        if stuck:
            results.append({"name": name, "status": "skipped", "seconds": 0.0, "problem": stuck})
            continue
        results.append(run(command(name), name, limit_seconds, may_kill=may_kill, lease=lease))
        if results[-1].get("left_pid"):
            stuck = f"the probe {name} (process {results[-1]['left_pid']}) still hangs"
        elif name == "device" and results[-1]["status"] != "ok":
            stuck = "torch does not come up"
    return {
        "schema": 1,
        "python": sys.executable,
        "versions": {name: version(name) for name in PACKAGES},
        "probes": results,
    }


def command(name: str) -> list[str]:
    return [sys.executable, "-P", "-m", "jobs.probe", "--child", name]


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def run(
    words: list[str], name: str, limit_seconds: float, *, may_kill: bool, lease: int | None = None
) -> dict[str, Any]:
    """Run one probe to its end or its limit. Never raises for what happens in it.

    One that hangs and may not be killed keeps the lease, so that no job starts beside it.
    """
    began = time.monotonic()
    descriptors = () if lease is None else (lease,)
    # Files, not pipes: what was written is there whatever becomes of the process.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process: subprocess.Popen[bytes] | None = None
        hung, ended = False, True
        try:
            with told_to_end_later():
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    pass_fds=descriptors,
                    preexec_fn=listen,
                )
            process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            if process is not None:
                ended = end(process, may_kill=may_kill)
        assert process is not None
        found = {"name": name, "seconds": round(time.monotonic() - began, 3), **told(out)}
        if hung:
            found |= {"status": "hung", "problem": f"did not end within {limit_seconds:.0f} s"}
            if not ended:
                found["left_pid"] = process.pid
        elif process.returncode < 0:
            by = signal.Signals(process.returncode * -1).name
            found |= {
                "status": "crashed",
                "problem": f"ended by {by}{': ' if (words_of := said(err)) else ''}{words_of}",
            }
        elif "status" not in found:
            found |= {"status": "failed", "problem": said(err) or f"ended with {process.returncode} and said nothing"}
    return found


@contextlib.contextmanager
def told_to_end_later() -> Iterator[None]:
    """SIGTERM waits until this is over: in the middle of starting a child it would leave one behind that nobody knows."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        listen()


def listen() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def end(process: subprocess.Popen[bytes], *, may_kill: bool) -> bool:
    """See the process out: SIGINT, SIGTERM, a grace each, and SIGKILL only where that loses no memory of a GPU."""
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGKILL] if may_kill else [])):
        if process.poll() is not None:
            return True
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    return process.poll() is not None


def told(out: IO[bytes]) -> dict[str, Any]:
    """What the child reported: where it is, and at last its result."""
    found: dict[str, Any] = {}
    out.seek(0)
    for line in out.read(OUTPUT_BYTES).splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(report := json.loads(line), dict):
                found |= report
    return found


def said(err: IO[bytes]) -> str:
    """The line of stderr that tells most: the last that speaks of a fault or an error, else the last."""
    text = tail(err.fileno(), OUTPUT_BYTES).decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "fault" in line.lower() or "error" in line.lower()]
    return (telling or lines or [""])[-1][:SAID_CHARACTERS]


def child(name: str) -> int:
    """One probe. Reports are JSON lines on the real stdout; what libraries print goes to stderr."""
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def report(**what: Any) -> None:
        print(json.dumps(what), file=stdout, flush=True)

    report(at="importing torch")
    module, _, function = PROBES[name].partition(":")
    from jobs.probes.common import AbsentError

    try:
        figures = getattr(importlib.import_module(module), function)(lambda at: report(at=at))
    except AbsentError as absent:
        report(status="absent", problem=str(absent))
        return 0
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        report(status="failed", problem=f"{type(error).__name__}: {first}"[:SAID_CHARACTERS])
        raise
    report(status="ok", figures=dict(finite(figures)))
    return 0


def finite(figures: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """JSON knows no infinity: such a figure becomes a word."""
    for key, value in figures.items():
        if isinstance(value, dict):
            value = dict(finite(value))
        elif isinstance(value, float) and not math.isfinite(value):
            value = "infinite"
        yield key, value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
