"""A served model in place of the one that has its name: the former comes back where the new one does not come to serve."""

from __future__ import annotations

import contextlib
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from core.errors import BakehouseError, InputError, NotFoundError
from core.home import Home
from core.process.ports import is_free
from core.served.control import Keeping, remove, start, stop
from core.served.former import Former, Owner, note_former, noted_former
from core.served.record import ServedModelRecord, read_record, read_records, write_record
from core.served.state import Phase, ServedState, is_running, read_state

FIRST_PORT = 18080
PORTS = 1000
LOOK_SECONDS = 0.1
SERVED = ("serving", "away")
"""The phases of what has come to serve."""


def choose_port(home: Home, name: str, asked: int | None = None) -> int:
    """The port of a served model of this name: the one that is `asked` for, else the one that the name has, else one that
    nobody listens at and no other served model has. Raises `InputError` where it is another's."""
    records = read_records(home)[0]
    others = {one.port: one.name for one in records if one.name != name}
    own = next((one.port for one in records if one.name == name), None)
    if asked is None and own is not None:
        return own
    if asked is None:
        for port in _ports(home):
            if port not in others and is_free(port):
                return port
        raise InputError(
            f"none of the ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free",
            code="port_taken",
            key="--port",
            remedy="name another one",
        )
    if asked in others:
        taken = f"port {asked} is that of the served model {others[asked]}"
        raise InputError(taken, code="port_taken", key="--port", remedy="name another one")
    if asked != own and not is_free(asked):
        raise InputError(
            f"another program listens at port {asked}, or this user may not",
            code="port_taken",
            key="--port",
            remedy="name another one, or none",
        )
    return asked


def _ports(home: Home) -> Iterator[int]:
    """The ports of served models, from another one on for each home: what is free while a served model of another home starts
    again is that model's."""
    begin = zlib.crc32(bytes(home.root)) % PORTS
    return (FIRST_PORT + (begin + step) % PORTS for step in range(PORTS))


def install(
    home: Home,
    record: ServedModelRecord,
    owner: Owner,
    prove: Callable[[], None],
    tell: Callable[[str], None],
    failed: Callable[[], None],
) -> Keeping:
    """Have a served model serve in place of the one of its name, and return once `prove` has had its answer from it.

    Where it does not come up, `prove` raises, or the job is stopped (`tell` may raise), what was before is again: the former
    record, serving if it did, or nothing. `tell` is told the phase of its state, again and again while it loads. `failed` is
    called before anything is taken back.

    Raises what the two raise, and `BakehouseError` where it fails to serve.
    """
    before = note_what_is(home, record, owner)
    try:
        keeping = put_in_place(home, record, before)
        while (phase := phase_on_the_way(home, record)) != "serving":
            tell(phase)
            time.sleep(LOOK_SECONDS)
        prove()
    except BaseException:
        failed()
        with contextlib.suppress(BakehouseError, OSError):  # the first failure is the one to tell
            go_back(home, record.name, before)
        raise
    confirm(home, record.name)
    return keeping


def note_what_is(home: Home, record: ServedModelRecord, owner: Owner, aside: str | None = None) -> Former | None:
    """What `record` takes the place of, noted in its folder before anything is touched; None where nothing has to be noted.

    What was noted by one that was broken off counts, unless that was a deployment whose model has come to serve. `aside` is
    another served model that makes room: it is stopped first, and runs again where what was before comes back. Raises OSError.
    """
    folder = home.served_dir(record.name)
    former = noted_former(home, folder)
    if former is not None and former.owner == owner:
        return former
    if former is not None and (former.owner.kind == "change" or read_state(home, record.name).phase != "serving"):
        # It came to nothing, and this one carries on.
        former = replace(former, owner=owner, aside=former.aside or aside, failed=False)
        note_former(home, folder, former)
        return former
    found: ServedModelRecord | None = None
    with contextlib.suppress(BakehouseError):
        found = read_record(home, record.name)
    serves = is_running(folder) and read_state(home, record.name).phase in SERVED
    begun = found is not None and found.job_id == owner.id and not serves
    if owner.kind == "job" and (found is None or begun):
        # There is none, or the job's own, of a try that was broken off before there was any and that has not come to serve.
        folder.record_before.unlink(missing_ok=True)
        return None
    # A change notes also that there was none: whoever carries it on has to know that it has only begun.
    former = Former(found, is_running(folder), owner, aside)
    note_former(home, folder, former)
    return former


def put_in_place(home: Home, record: ServedModelRecord, before: Former | None) -> Keeping:
    """Have a served model be what `record` says, and on its way to serve. One that is so already is not started anew."""
    if before is not None and before.aside is not None:
        with contextlib.suppress(NotFoundError):  # removed meanwhile
            stop(home, before.aside)
    if not _is_in_place(home, record):
        if home.served_dir(record.name).record.exists():
            stop(home, record.name)
        write_record(home, record)
    return start(home, record.name)


def phase_on_the_way(home: Home, record: ServedModelRecord) -> Phase:
    """`serving`, or how far it is on its way there. Raises `BakehouseError` where it does not come."""
    state = read_state(home, record.name)
    if state.phase in ("failed", "stopped"):
        raise _did_not_come(record, state)
    return state.phase


def confirm(home: Home, name: str) -> None:
    """What is in place now stays. Raises OSError."""
    home.served_dir(name).record_before.unlink(missing_ok=True)


def go_back(home: Home, name: str, before: Former | None) -> None:
    """Have what was before: the former record, serving if it ran, or no served model of that name.

    The note of it goes last: what fails on the way is tried again (`core.served.revival`).
    """
    if before is not None and before.record is not None:
        stop(home, name)
        if not _is_in_place(home, before.record):  # a full disk may have kept it there
            write_record(home, before.record)
        if before.ran:
            start(home, name)
    _start_aside(home, before)
    if before is None or before.record is None:
        _leave_none(home, name)
    confirm(home, name)


def _is_in_place(home: Home, record: ServedModelRecord) -> bool:
    with contextlib.suppress(BakehouseError):
        return read_record(home, record.name) == record
    return False


def _start_aside(home: Home, before: Former | None) -> None:
    if before is not None and before.aside is not None:
        with contextlib.suppress(BakehouseError, OSError):  # its state says that it does not run
            start(home, before.aside)


def _leave_none(home: Home, name: str) -> None:
    folder = home.served_dir(name)
    if folder.record.exists():
        remove(home, name)
    elif folder.record_before.exists():  # begun, and nothing more
        shutil.rmtree(folder.path, ignore_errors=True)


def _did_not_come(record: ServedModelRecord, state: ServedState) -> BakehouseError:
    """`port_taken`, or `not_serving` for any other reason."""
    values = {} if state.reason is None else dict(state.reason.values)
    code = "failed" if state.reason is None else state.reason.code
    taken = code == "port_taken"
    said = f"port {record.port} is taken by another program" if taken else values.get("said") or code.replace("_", " ")
    return BakehouseError(
        f"{record.name} does not come to serve: {said}",
        code="port_taken" if taken else "not_serving",
        key=record.name,
        remedy="end that program, or deploy with another --port"
        if taken
        else "what served under the name before is there again; the log has what llama-server printed",
    )
