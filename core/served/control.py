"""Starting, stopping and removing a served model: by a unit of the user's systemd, or as a process of its own session.

A unit outlives a logout only with linger; a process of a session outlives it where logind leaves processes alone. Each is taken
where it is the one that survives.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import Literal

from core.errors import BakehouseError, InputError, NotFoundError
from core.home import Home, ServedDir
from core.process.logind import has_user_manager, kills_processes, lingers
from core.reasons import Reason
from core.served.record import ServedModelRecord, read_record, require_name, write_record
from core.served.shim import NOT_MINE
from core.served.state import is_running, written_state
from core.served.unit import OF_A_JOB, has_unit, install_unit, remove_unit, start_unit

Keeper = Literal["unit", "process"]
LAUNCH_SECONDS = 20.0
STOP_SECONDS = 25.0
"""llama-server has ten seconds to end in order, its shim looks twice a second."""
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Keeping:
    """What keeps a served model running: a unit of systemd, or a process of its own. `notes` are what a person should know of
    it: `no_linger` (`at_boot`), `ends_at_logout`."""

    keeper: Keeper
    notes: tuple[Reason, ...] = ()


def choose_keeper(*, at_boot: bool) -> Keeping:
    """What would keep a served model that is started now. Raises `InputError` where nothing would start it at boot."""
    manager = has_user_manager()
    if at_boot and not manager:
        raise InputError(
            "nothing would start it at boot: no systemd of this user answers (a container, another init system, or a shell "
            "without the user's bus)",
            code="no_user_manager",
            key="--at-boot",
            remedy="leave it out, and start the model with `bakehouse served start`",
        )
    linger, kills = lingers(), kills_processes()
    if manager and (at_boot or linger or kills):
        return Keeping("unit", () if linger else (Reason("no_linger", {"at_boot": at_boot}),))
    return Keeping("process", (Reason("ends_at_logout"),) if kills else ())


def start(home: Home, name: str, *, at_boot: bool | None = None) -> Keeping:
    """Have a served model run, as its record says, and return once its shim does: it loads then. One that runs is left alone.

    A former stop is lifted. `at_boot`, where given, is written into the record first; one that runs is started anew for it.
    Raises `NotFoundError`, `InputError`, `BakehouseError`, OSError.
    """
    record, folder = read_record(home, name), home.served_dir(name)
    if at_boot is not None and at_boot != record.at_boot:
        choose_keeper(at_boot=at_boot)
        record = replace(record, at_boot=at_boot)
        write_record(home, record)
        stop(home, name)
    if folder.stopped.exists() and is_running(folder):
        _wait_until_ended(folder)
    folder.stopped.unlink(missing_ok=True)
    if is_running(folder):
        return Keeping("unit" if has_unit(folder) else "process")
    keeping = choose_keeper(at_boot=record.at_boot)
    if keeping.keeper == "unit":
        try:
            install_unit(folder, record)
            start_unit(name)
            _wait_until_running(folder)
            return keeping
        except BakehouseError as error:
            if record.at_boot or isinstance(error, InputError):
                raise
            # As for jobs: what systemd refuses does not cost the service.
            keeping = Keeping("process", (Reason("ends_at_logout"),) if kills_processes() else ())
    remove_unit(folder)  # of a former start
    _start_process(folder, record)
    return keeping


def stop(home: Home, name: str) -> bool:
    """Have a served model end, until it is started again; False where it did not run. Nothing of it runs when this returns.

    Raises `InputError`, `NotFoundError`, OSError; `BakehouseError` where it can't be ended.
    """
    folder = _folder(home, name)
    ran = is_running(folder)
    folder.stopped.touch(mode=0o600)
    if ran:
        _wait_until_ended(folder)
    return ran


def remove(home: Home, name: str) -> None:
    """End a served model and forget it, with its log and its unit. The GGUF file stays. Raises as `stop`."""
    folder = _folder(home, name)
    stop(home, name)
    remove_unit(folder)
    # Under a name that is none, so that what a kill leaves of it is no served model.
    aside = folder.path.with_name(f".removed-{os.getpid()}-{name}")
    folder.path.rename(aside)
    shutil.rmtree(aside)


def _folder(home: Home, name: str) -> ServedDir:
    """Of a served model, whether its record can be read or not."""
    folder = home.served_dir(require_name(name))
    if not folder.record.exists():
        raise NotFoundError(
            f"no served model is called {name}",
            code="no_served_model",
            key=name,
            remedy="`bakehouse served list` shows what there is",
        )
    return folder


def _start_process(folder: ServedDir, record: ServedModelRecord) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in OF_A_JOB}
    environ["BAKEHOUSE_HOME"] = str(folder.home.root)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "core.served.shim", str(folder.path)],
            cwd="/",
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            timeout=LAUNCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BakehouseError(f"{record.name} could not be started: {error}", code="launch_failed") from error
    if done.returncode == NOT_MINE and is_running(folder):
        return  # somebody else has started it meanwhile
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BakehouseError(f"{record.name} could not be started: {lines[-1]}", code="launch_failed")


def _wait_until_running(folder: ServedDir) -> None:
    until = time.monotonic() + LAUNCH_SECONDS
    while not is_running(folder):
        if time.monotonic() > until:
            raise BakehouseError(
                "systemd has started the unit, and its process does not come up",
                code="launch_failed",
                key=folder.path.name,
                remedy="`journalctl --user` has what it printed",
            )
        time.sleep(LOOK_SECONDS)


def _wait_until_ended(folder: ServedDir) -> None:
    """A shim that does not obey in time is killed, and llama-server with it."""
    until = time.monotonic() + STOP_SECONDS
    killed = False
    while is_running(folder):
        if time.monotonic() > until:
            state = written_state(folder)
            shim = None if state is None else state.shim
            if killed or shim is None or not shim.alive():
                raise BakehouseError(
                    "its process does not end", code="not_stopped", key=folder.path.name, file=folder.shim_lock
                )
            with contextlib.suppress(ProcessLookupError):
                os.kill(shim.pid, signal.SIGKILL)
            killed, until = True, time.monotonic() + STOP_SECONDS
        time.sleep(LOOK_SECONDS)
