"""`bakehouse gpu`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from core.cli.common import json_option
from core.cli.output import json_text, print_json, say, say_block
from core.cli.readings import STALE_SECONDS, Reading, Readings
from core.errors import BakehouseError, InputError
from core.home import Home

STDOUT = "-"


@click.command(epilog="Example: bakehouse gpu --json")
@json_option
@click.option("--watch", is_flag=True, help="A JSON line a second, until ctrl+c.")
@click.option(
    "--prometheus",
    "prometheus_file",
    is_flag=False,
    flag_value=STDOUT,
    metavar="[FILE]",
    help="Prometheus' text format on stdout, or into FILE for node_exporter's textfile collector.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often with --watch.",
)
def gpu(as_json: bool, watch: bool, prometheus_file: str | None, interval: float) -> None:
    """What the GPU and the machine say now, who holds the GPU, and what the runner knows of it.

    While a runner lives, the figures are the ones it takes each second; else this command reads the GPU itself.
    """
    if as_json and prometheus_file is not None:
        raise InputError("--json and --prometheus are two forms of the same: take one", code="usage")
    if watch and prometheus_file == STDOUT:
        raise InputError(
            "--watch with --prometheus rewrites a file, and stdout is none",
            code="usage",
            remedy="name the file behind --prometheus",
        )
    readings = Readings(Home.find())
    show: Callable[[Reading], None] = json_line if watch else document if as_json else shown
    if prometheus_file is not None:
        show = exposition(prometheus_file)
    try:
        if watch:
            repeat(readings, interval, show)
        else:
            show(readings.read())
    except BrokenPipeError:
        # The reader left (`| head`), and nothing is wrong. What is still buffered must not fail again at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        readings.close()


def repeat(readings: Readings, interval: float, show: Callable[[Reading], None]) -> None:
    """Show a reading every so many seconds; what takes too long is left out, not made up for."""
    former: float | None = None
    for _ in ticks(interval):
        reading = readings.read(after=former)
        former = reading.sample.time
        show(reading)


def ticks(interval: float) -> Iterator[None]:
    due = time.monotonic()
    while True:
        yield
        now = time.monotonic()
        due = max(due + interval, now)
        time.sleep(due - now)


def shown(reading: Reading) -> None:
    from core.cli.gpu_table import table

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table(reading, width):
        say(line)


def document(reading: Reading) -> None:
    print_json(reading.to_json())


def json_line(reading: Reading) -> None:
    say_block(json_text({"schema": 1, **reading.to_json()}))


def exposition(file: str) -> Callable[[Reading], None]:
    """What writes a reading in Prometheus' format, on stdout or into a file."""
    from core.telemetry import prometheus

    if file != STDOUT and not file.endswith(".prom"):
        say(f"node_exporter reads only files that end in .prom, not {Path(file).name}", error=True)

    def show(reading: Reading) -> None:
        text = prometheus.text(
            reading.sample,
            # What a runner that is gone once said is no metric of now.
            reading.state if reading.runner_alive else None,
            reading.lease,
            stale_seconds=STALE_SECONDS,
            runner_alive=reading.runner_alive,
        )
        if file == STDOUT:
            say_block(text)
        else:
            write_textfile(Path(file), text)

    return show


def write_textfile(path: Path, text: str) -> None:
    """A file that every user can read, replaced as a whole; a collector sees the old one or the new one.

    Not synced to the disk: after a crash of the machine, the next second writes it anew. Raises `BakehouseError`.
    """
    try:
        # A name that no collector takes for a textfile, and that nobody can put a link under.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BakehouseError(
            f"cannot be written: {error.strerror}",
            code="textfile_not_written",
            file=path,
            remedy="node_exporter's folder has to be writable by you",
        ) from error
