"""`bakehouse served`."""

from __future__ import annotations

from typing import Any

import click

from core.cli.common import json_option, told_if_slow
from core.cli.logs import as_text
from core.cli.output import print_json, say
from core.files import last_lines
from core.format import data_size, moment
from core.home import Home
from core.served.record import ServedModelRecord, read_record, read_records, to_json
from core.served.state import memory_bytes, read_state
from core.served.unit import has_unit, unit_name
from core.wording.served import SIGNS, note_words, state_words


@click.group()
def served() -> None:
    """The models that a llama-server of Bakehouse's serves: each goes on without console and runner."""


@served.command("list", epilog="Example: bakehouse served list")
@json_option
def list_command(as_json: bool) -> None:
    """Which there are, where each answers, and what it does now."""
    home = Home.find()
    found, unreadable = read_records(home)
    if as_json:
        print_json(
            {
                "served": [_document(home, record) for record in found],
                "unreadable": [{"name": one.name, "error": one.error} for one in unreadable],
            }
        )
        return
    if not found and not unreadable:
        say("No served models. `bakehouse deploy JOB --to llama-server` makes one.")
    for record in found:
        say(f"{_line(home, record)}  {record.task} · {record.model}")
    for one in unreadable:
        say(f"▲ {one.name}  {one.error}")


@served.command(epilog="Example: bakehouse served show note-title-smollm2-135m-12")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """One of them: what it serves, since when, and how it is kept running."""
    home = Home.find()
    record = read_record(home, name)
    if as_json:
        print_json({"served": _document(home, record)})
        return
    folder, state = home.served_dir(name), read_state(home, name)
    unit = f"the unit {unit_name(name)}" if has_unit(folder) else "a process of its own"
    size = f", {data_size(record.file.stat().st_size)}" if record.file.is_file() else ", which is gone"
    say(_line(home, record))
    for label, text in {
        "task": record.task,
        "model": f"{record.model}, deployed by job {record.job_id}"
        + (f" {moment(record.created_at)}" if record.created_at else ""),
        "file": f"{record.file}{size}",
        "weights": record.weights,
        "address": f"{record.url}, as model {record.name}",
        "context": f"{record.context_length} tokens, {record.slots} at a time, "
        + ("on the GPU" if record.on_gpu else "on the CPU"),
        "server": record.version or "unknown",
        "kept by": unit + (", started at boot" if record.at_boot else ""),
        "pid": "none" if state.pid is None else str(state.pid),
        "log": str(folder.log),
    }.items():
        say(f"  {label:<8} {text}")


@served.command(epilog="Example: bakehouse served start note-title-smollm2-135m-12 --at-boot")
@click.argument("name")
@click.option(
    "--at-boot/--not-at-boot", default=None, help="Whether systemd starts it with the machine.  [default: as it is]"
)
@json_option
def start(name: str, at_boot: bool | None, as_json: bool) -> None:
    """Start one that was stopped; it loads then, and answers at the same address as before."""
    from core.aliases.guard import require_no_move
    from core.served.control import start

    home = Home.find()
    require_no_move(home, name)
    with told_if_slow(f"starting {name} …"):
        keeping = start(home, name, at_boot=at_boot)
    record = read_record(home, name)
    if as_json:
        notes = [note.to_json() for note in keeping.notes]
        print_json({"served": _document(home, record), "kept_by": keeping.keeper, "notes": notes})
        return
    say(_line(home, record))
    for note in keeping.notes:
        say(f"▲ {note_words(note)}")


@served.command(epilog="Example: bakehouse served stop note-title-smollm2-135m-12")
@click.argument("name")
@json_option
def stop(name: str, as_json: bool) -> None:
    """End one until `start`, also over a restart of the machine."""
    from core.aliases.guard import require_no_move
    from core.served.control import stop
    from core.served.install import confirm

    home = Home.find()
    require_no_move(home, name)
    with told_if_slow(f"waiting for {name} to end …"):
        ran = stop(home, name)
    confirm(home, name)  # a person has decided: nothing is taken back
    if as_json:
        print_json({"name": name, "ran": ran})
    else:
        say(f"■ stopped {name}" if ran else f"■ {name} did not run")


@served.command(epilog="Example: bakehouse served remove note-title-smollm2-135m-12")
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """End one and forget it, with its log and its unit of systemd. The GGUF file stays, and can be deployed again."""
    from core.aliases.guard import require_removable
    from core.errors import BakehouseError
    from core.served.control import remove

    home = Home.find()
    require_removable(home, name)
    file: str | None = None
    try:
        file = str(read_record(home, name).file)
    except BakehouseError as error:
        if error.code != "bad_served_model":
            raise
    with told_if_slow(f"waiting for {name} to end …"):
        remove(home, name)
    if as_json:
        print_json({"removed": name, "file": file})
    else:
        say(f"✓ removed {name}" + ("" if file is None else f"; its file stays: {file}"))


@served.command(epilog="Example: bakehouse served logs note-title-smollm2-135m-12 --lines 50")
@click.argument("name")
@click.option("--lines", "-n", type=int, default=200, show_default=True, help="How many lines from its end.")
@json_option
def logs(name: str, lines: int, as_json: bool) -> None:
    """What its llama-server printed, as text."""
    home = Home.find()
    read_record(home, name)
    newest, _ = last_lines(home.served_dir(name).log, lines)
    if as_json:
        print_json({"name": name, "lines": [as_text(line) for line in newest]})
        return
    if not newest:
        say(f"{name} has printed nothing yet", error=True)
    for line in newest:
        say(as_text(line), tabs=True)


def _line(home: Home, record: ServedModelRecord) -> str:
    state = read_state(home, record.name)
    return f"{SIGNS[state.phase]} {record.name}  {state_words(record, state, memory_bytes(state))}"


def _document(home: Home, record: ServedModelRecord) -> dict[str, Any]:
    state, folder = read_state(home, record.name), home.served_dir(record.name)
    return {
        **to_json(home, record),
        "file": str(record.file),
        "command": list(record.command),
        "state": {**state.to_json(), "memory_bytes": memory_bytes(state)},
        "unit": unit_name(record.name) if has_unit(folder) else None,
        "log": str(folder.log),
    }
