"""A served model in place of the one that has its name: the former comes back where the new one does not come to serve.

`served.before.json` is the former record, with the job that replaces it, from before anything is touched until the new one is
confirmed. Who finds one knows that a deployment was broken off.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from core.errors import BakehouseError, InputError
from core.files import read_json, write_json
from core.home import Home, ServedDir
from core.process.ports import is_free
from core.served.control import Keeping, remove, start, stop
from core.served.record import ServedModelRecord, of_document, read_record, read_records, to_json, write_record
from core.served.state import ServedState, is_running, read_state

FIRST_PORT = 18080
PORTS = 1000
LOOK_SECONDS = 0.1


def choose_port(home: Home, name: str, asked: int | None = None) -> int:
    """The port of a served model of this name: the one that is `asked` for, else the one that the name has, else one that
    nobody listens at and no other served model has. Raises `InputError` where it is another's."""
    records = read_records(home)[0]
    others = {one.port: one.name for one in records if one.name != name}
    own = next((one.port for one in records if one.name == name), None)
    if asked is None and own is not None:
        return own
    if asked is None:
        for port in range(FIRST_PORT, FIRST_PORT + PORTS):
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


def install(
    home: Home,
    record: ServedModelRecord,
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
    folder = home.served_dir(record.name)
    before = _former(home, record)
    if before is None:
        folder.record_before.unlink(missing_ok=True)
    try:
        if folder.record.exists():
            stop(home, record.name)
        write_record(home, record)
        keeping = start(home, record.name)
        _wait_until_serving(home, record, tell)
        prove()
    except BaseException:
        failed()
        with contextlib.suppress(BakehouseError, OSError):  # the first failure is the one to tell
            go_back(home, record.name, before)
        raise
    folder.record_before.unlink(missing_ok=True)
    return keeping


def go_back(home: Home, name: str, before: tuple[ServedModelRecord, bool] | None) -> None:
    """Have what was before a deployment: the former record, serving if it ran, or no served model of that name.

    The note of it goes last: what fails on the way is tried again (`core.served.revival`).
    """
    folder = home.served_dir(name)
    if before is None:
        if folder.record.exists():
            remove(home, name)
        return
    stop(home, name)
    record, ran = before
    write_record(home, record)
    if ran:
        start(home, name)
    folder.record_before.unlink(missing_ok=True)


def forget_former(home: Home, name: str) -> None:
    """A person has decided about what has the name now: for a killed deployment nothing is taken back. Raises OSError."""
    home.served_dir(name).record_before.unlink(missing_ok=True)


def _former(home: Home, record: ServedModelRecord) -> tuple[ServedModelRecord, bool] | None:
    """The record that is replaced and whether it ran, noted in the folder; None where there is none that can be read.

    One that was noted by a deployment that was broken off counts, unless what that put in its place has come to serve.
    """
    folder = home.served_dir(record.name)
    former = noted(home, folder)
    if former is not None and (former[2] == record.job_id or read_state(home, record.name).phase != "serving"):
        return former[0], former[1]  # of a former try of this job, or of one that came to nothing
    try:
        found = read_record(home, record.name)
    except BakehouseError:
        return None
    if found.job_id == record.job_id:
        return None  # this job's own, of a try that was broken off before there was any
    ran = is_running(folder)
    write_json(folder.record_before, {"record": to_json(home, found), "ran": ran, "job": record.job_id})
    return found, ran


def noted(home: Home, folder: ServedDir) -> tuple[ServedModelRecord, bool, int] | None:
    """What `served.before.json` tells: the record, whether it ran, and for which job it was replaced."""
    with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        document: Any = read_json(folder.record_before)
        if document is not None:
            record = of_document(home, folder.path.name, document["record"])
            return record, bool(document["ran"]), int(document["job"])
    return None


def _wait_until_serving(home: Home, record: ServedModelRecord, tell: Callable[[str], None]) -> None:
    while True:
        state = read_state(home, record.name)
        tell(state.phase)
        if state.phase == "serving":
            return
        if state.phase in ("failed", "stopped"):
            raise _did_not_come(record, state)
        time.sleep(LOOK_SECONDS)


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
