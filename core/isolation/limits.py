"""What a worker may use, and how the kernel is told: Linux alone, standard library only."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_FILTER_MODE = 2
# Calls that make a process or a thread, by machine: its mark in a filter, then clone, fork, vfork, clone3 as far as it has
# them.
_FORKS = {"x86_64": (0xC000003E, (56, 57, 58, 435)), "aarch64": (0xC00000B7, (220, 435))}
# Instructions of the kernel's filters (linux/bpf_common.h) and what a filter can say (linux/seccomp.h).
_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE_AGAIN = 0x7FFF0000, 0x00050000 | 11
_X32 = 0x40000000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends; end at once where it has ended already."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Be the parent of whatever a worker leaves behind, so that it can be found and killed."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def be_killed_first() -> None:
    """Where the machine's memory runs out, this process goes before any other."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def limit_files() -> None:
    """No core dump, nothing written into a file, few files open."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, most), min(64, most)))


def limit_memory(more_bytes: int, *, for_good: bool = True) -> None:
    """Allow so much address space beyond what the process has now, libraries and all."""
    wanted = _address_space() + more_bytes
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft if for_good else hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def limit_cpu(seconds: float) -> None:
    """End by SIGPROF after so much computing from now on. Who ignores that is killed a second later. 0: no limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted = int(used.ru_utime + used.ru_stime + seconds) + 2 if seconds else resource.RLIM_INFINITY
    fits = hard == resource.RLIM_INFINITY or 0 <= wanted <= hard
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if fits else hard, hard))


def start_nothing() -> None:
    """No process and no thread from now on: such a call fails as where there are too many already.

    The kernel's limit is one of the whole user, and none for root, so that a filter of calls says it where there is one.
    """
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    known = _FORKS.get(platform.machine())
    if known is None:
        return
    machine, calls = known
    length = 4 + len(calls) + 2
    allow, refuse = length - 2, length - 1

    def jump(code: int, value: int, at: int, yes: int | None, no: int | None) -> bytes:
        skip = [0 if target is None else target - at - 1 for target in (yes, no)]
        return struct.pack("HBBI", code, skip[0], skip[1], value)

    program = [
        struct.pack("HBBI", _LOAD, 0, 0, 4),
        jump(_JUMP_EQUAL, machine, 1, None, allow),
        struct.pack("HBBI", _LOAD, 0, 0, 0),
        jump(_JUMP_ABOVE, _X32, 3, refuse, None),
        *(jump(_JUMP_EQUAL, call, 4 + place, refuse, None) for place, call in enumerate(calls)),
    ]
    program += [struct.pack("HBBI", _RETURN, 0, 0, _ALLOW), struct.pack("HBBI", _RETURN, 0, 0, _REFUSE_AGAIN)]
    instructions = ctypes.create_string_buffer(b"".join(program))
    filtered = _Program(len(program), ctypes.cast(instructions, ctypes.c_void_p))
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        _LIBC.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(filtered), 0, 0)
