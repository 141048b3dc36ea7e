"""The rest of the machine: settings, disk, memory, and whether jobs live on after a logout."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from core.attempt.logout_protection import choose_protection
from core.config.settings import settings_file
from core.doctor.machine import Machine, one_line
from core.doctor.results import Diagnostic
from core.failures import refusal_of, write_refused
from core.format import data_size, gb
from core.home import Home
from core.process.user import user_name

SECTION = "machine"
# A 4B model in bf16, its adapter's checkpoints, the merged model and its GGUF.
ROOM_BYTES = 40_000_000_000
# The weights of a 4B model pass through the host's memory shard by shard, beside Python and torch.
MEMORY_BYTES = 8_000_000_000


def line(subject: str, state: str, message: str, remedy: str = "") -> Diagnostic:
    return Diagnostic(subject, state, message, remedy, SECTION)  # type: ignore[arg-type]


def examine(machine: Machine) -> list[Diagnostic]:
    return [settings(machine), *home_rights(machine.home), *disks(machine), memory(machine), logout()]


def settings(machine: Machine) -> Diagnostic:
    if machine.settings_problem:
        message = f"not read, so the defaults are used: {one_line(machine.settings_problem)}"
        return line("settings", "fault", message, "mend the line that is named")
    file = settings_file()
    return line("settings", "ok", f"{file}" if file.is_file() else f"the defaults: there is no {file}")


def home_rights(home: Home) -> list[Diagnostic]:
    """A line for a home that takes no file, or into which others may write: what lies in it is run.

    Its rights are its owner's business, so none are changed.
    """
    try:
        found = home.root.stat()
    except OSError:
        return []
    if (refused := write_refused(home.root)) is not None:
        why = refusal_of(refused, home.root, of_home=True)
        return [line("home", "fault", f"{home.root} takes no file: {why.message}", why.remedy or "")]
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (os.geteuid(), 0):
        whose = f"{home.root} belongs to user {found.st_uid}, who can change what your jobs run"
        return [line("home's rights", "warning", whose, "set BAKEHOUSE_HOME to a folder of your own")]
    if not mode & (stat.S_IWGRP | stat.S_IWOTH):
        return []
    who = "every user" if mode & stat.S_IWOTH else f"group {found.st_gid}"
    said = f"{who} may write into {home.root} (mode {mode:o}), and so change what your jobs run"
    return [line("home's rights", "warning", said, f"chmod go-w {home.root}, if nobody else needs it")]


def disks(machine: Machine) -> list[Diagnostic]:
    """One line for each file system that Bakehouse writes to."""
    places = {"home": machine.home.root}
    if machine.settings.artefacts:
        places["artefacts"] = Path(machine.settings.artefacts)
    lines, seen = [], set()
    for name, folder in places.items():
        there = next((path for path in (folder, *folder.parents) if path.exists()), None)
        if there is None or (device := there.stat().st_dev) in seen:
            continue
        seen.add(device)
        lines.append(disk(name, folder, shutil.disk_usage(there).free, machine.settings.queue.min_free_disk_bytes))
    return lines


def disk(name: str, folder: Path, free_bytes: int, least_bytes: int) -> Diagnostic:
    said = f"{data_size(free_bytes)} free in {folder}"
    if free_bytes < least_bytes:
        why = f"{said}: below {data_size(least_bytes)} no job starts (queue.min_free_disk_bytes)"
        return line(name, "fault", why, "bakehouse runs clean frees old runs")
    if free_bytes < ROOM_BYTES:
        why = f"{said}: a 4B model with its merged copy and GGUF takes about {ROOM_BYTES / 1e9:.0f} GB"
        return line(name, "warning", why, "bakehouse runs clean, or `artefacts:` in settings.yaml on a larger disk")
    return line(name, "ok", said)


def memory(machine: Machine) -> Diagnostic:
    host = machine.sample.host
    if host.memory_total_bytes is None or host.memory_available_bytes is None:
        return line("memory", "warning", "the kernel does not say how much there is")
    said = f"{gb(host.memory_available_bytes)} of {gb(host.memory_total_bytes)} GB available"
    if host.memory_available_bytes < MEMORY_BYTES:
        return line(
            "memory",
            "warning",
            f"{said}: a job waits until what it needs is there; a 4B model wants about {MEMORY_BYTES / 1e9:.0f} GB",
            "end what holds memory, or load smaller models",
        )
    return line("memory", "ok", said)


def logout() -> Diagnostic:
    """Whether a job lives on when its owner logs out."""
    protection = choose_protection()
    if protection.kind == "scope":
        return line("logout", "ok", "linger is on: jobs live on in a scope of their own")
    if protection.kind == "session":
        return line("logout", "ok", "logind ends no jobs at a logout here (none answers, or KillUserProcesses=no)")
    return line("logout", "warning", protection.warning or "", f"loginctl enable-linger {user_name()}")
