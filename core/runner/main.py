"""Being the home's runner: its lock, its signals, its life."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from typing import TYPE_CHECKING

from core import __version__
from core.errors import BakehouseError
from core.home import Home
from core.process.identity import ProcessIdentity
from core.runner.log import RunnerLog, begin, logger
from core.runner.loop import Runner, consoles_open
from core.store.database import SCHEMA_VERSION, open_database

if TYPE_CHECKING:
    from core.config.settings import Settings

LOCK_TRIES = 5
LOCK_PAUSE_SECONDS = 0.05


def machine_settings() -> Settings:
    """The settings of this person on this machine; a broken settings file is told in the log, not a reason to die."""
    from core.config.settings import Settings, load_settings

    try:
        return load_settings()
    except BakehouseError as error:
        logger.warning("The settings are not read, so the defaults are used: %s", error)
        return Settings()


def take_lock(lock: int) -> bool:
    """Take `runner.lock`; False when another runner has it.

    Whoever looks whether a runner lives takes the lock for a moment, so one refusal proves nothing.
    """
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return True
    return False


def sign(lock: int) -> None:
    """Write into the lock file who holds it."""
    identity = ProcessIdentity.of(os.getpid())
    written = {"version": __version__, "schema": SCHEMA_VERSION, "since": time.time()}
    if identity is not None:
        written |= identity.to_json()
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(written).encode(), 0)


def hold_log(log: RunnerLog | None, holds_lock: bool) -> None:
    """Whether this process may rename the log: only while it has the lock."""
    if log is not None:
        log.holds_lock = holds_lock


def main(home: Home) -> int:
    """Be the home's runner, or leave at once when there is one, or when a person stopped it."""
    home.create()
    if home.runner_stopped.exists():
        return 0
    lock = os.open(home.runner_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not take_lock(lock):
        return 0
    sign(lock)
    log = begin(home)
    logger.info("Started: version %s, pid %d.", __version__, os.getpid())
    # A plain list: the lock inside an Event may be held by the very code that a signal interrupts.
    told_to_leave: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told_to_leave.append(number))
    signal.signal(signal.SIGINT, lambda number, frame: told_to_leave.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        connection = open_database(home, as_runner=True)
    except BakehouseError as error:
        logger.error("Ended: %s", error)
        return error.exit_code

    from core.gpu.devices import find_gpu
    from core.runner.settings import fill_settings
    from core.telemetry.background import BackgroundSampler

    fill_settings(home, connection)
    sampling = BackgroundSampler(home)
    runner = Runner(
        home,
        connection,
        gpu=find_gpu(),
        settings=machine_settings(),
        told_to_leave=told_to_leave,
        sampling=sampling,
    )
    while True:
        runner.run()
        hold_log(log, False)
        fcntl.flock(lock, fcntl.LOCK_UN)
        if told_to_leave or home.runner_stopped.exists() or runner.moved():
            break
        # Whoever asked for something while the lock was still held saw a living runner and started none.
        if not (runner.news() or consoles_open(home)) or not take_lock(lock):
            break
        hold_log(log, True)
    told = told_to_leave or home.runner_stopped.exists()
    logger.info("Ended: %s.", "told to" if told else "the home was moved" if runner.moved() else "nothing to do")
    sampling.close()
    runner.close()
    connection.close()
    return 0
