"""The kernel's messages of a GPU in trouble: hung queues, resets, page faults, lost memory; one parser for each form.

The patterns are those of amdgpu and DRM, and NVIDIA's Xid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from core.text import printable

TEXT_CHARACTERS = 300
_PATTERNS = tuple(
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        # Up to Linux 6.7: "failed to response msg=".
        ("mes_no_answer", r"\bMES(\(\d+\))? failed to respon(d to|se) msg="),
        # "The cp …" is said of GPUs whose queues have no MES.
        ("mes_unrecoverable", r"\b(MES(\(\d+\))?|cp) might be in (an )?unrecoverable state"),
        # "GPU fault detected" is said of GPUs before Vega.
        # NVIDIA's Xid 31 is a fault of its MMU.
        (
            "page_fault",
            r"\[(gfx|mm)hub[0-9_.]*\].{0,24}page fault|\bGPU fault detected\b|\bNVRM: Xid \([^()]{0,40}\): 31\b",
        ),
        ("ring_timeout", r"\bring \S{1,40} timeout\b"),
        ("vram_lost", r"\bVRAM is lost\b"),
        ("gpu_reset", r"\bGPU reset begin\b"),
        ("command_memory", r"\bNot enough memory for command submission\b"),
        ("device_wedged", r"\bdevice wedged\b"),
        ("xid", r"\bNVRM: Xid\b"),
    )
)
_PCI = re.compile(r"\b([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})(?:\.([0-7]))?(?![0-9a-f])", re.IGNORECASE)
# `[  950.818166] …`, `[Mon Feb 16 …] …` and more forms of dmesg; `6,1234,950818166,-;…` of /dev/kmsg;
# `1700000000.123456 host kernel: …` and `Feb 16 18:39:07 host kernel: …` of the journal.
_DMESG = re.compile(
    r"^(?:<\d{1,3}>|[a-z0-9]{1,8}\s*:[a-z]{1,8}\s*: )?"
    # With what it was later than the last (`-d`), and the thread that wrote it, where the kernel says that.
    r"\[\s*(\d{1,10}\.\d{1,9})(?:\s<\s*\d{1,10}\.\d{1,9}>)?\](?:\s?\[\s*[TC]\d{1,10}\])?\s?"
)
_KMSG = re.compile(r"^\d{1,6},\d{1,20},(\d{1,20}),[^;]{0,64};")
_UNIX = re.compile(r"^(\d{9,11}\.\d{1,6}) \S+ kernel:\s?")
# `-T`, `-e` (a date, then the seconds since the line before) and `--time-format=iso`.
_DATED = re.compile(
    r"^(?:\[[A-Z][a-z]{2} [^\[\]]{10,40}\]|\[[A-Z][a-z]{2}\s{0,2}\d{1,2} \d\d:\d\d\]|\[\s*\+\d{1,6}\.\d{1,9}\]"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[,.]\d{1,9}[-+]\d\d:?\d\d)\s{0,2}"
)
_SYSLOG = re.compile(r"^[^\[\]]{0,64}? kernel:\s?(?:\[\s*\d{1,10}\.\d{1,9}\]\s?)?")
# `for process python pid 17 thread …` in the line of a page fault, or in the next: `for process`, `Process`, `in process`. A
# driver that does not know the process says pid 0. `pid=17, name=python` of an Xid; `pid='<unknown>'`.
_PROCESS = re.compile(r"\bprocess\s+(?!information)(.{0,64}?)\s*\bpid (\d{1,10})\b", re.IGNORECASE)
_XID_PROCESS = re.compile(r"\bpid='?(\d{1,10})'?(?:, name=([^,]{0,64}))?")
_LINES_OF_A_FAULT = 3
"""How far behind a page fault the line stands that names its process."""
# What `/dev/kmsg` writes behind a record: ` SUBSYSTEM=pci`, ` DEVICE=+pci:…`.
_DICTIONARY = re.compile(r"^ [A-Z_]{1,20}=")
_LINES_OF_A_RECORD = 3


@dataclass(frozen=True)
class KernelMessage:
    """One message: `mes_no_answer`, `mes_unrecoverable`, `page_fault`, `ring_timeout`, `gpu_reset`, `vram_lost`,
    `command_memory`, `device_wedged` or `xid`. `pci` names the GPU where the line does; `time`: Unix seconds, if known.

    `pid` and `process` are those whose access faulted, where the kernel knows them: a pid of the first PID namespace.
    """

    code: str
    text: str
    pci: str | None = None
    time: float | None = None
    pid: int | None = None
    process: str = ""


def parse_kernel_lines(text: str, booted: float | None = None) -> list[KernelMessage]:
    """The messages of a GPU in trouble among lines as dmesg, the journal, syslog or `/dev/kmsg` write them.

    A stamp in seconds since boot becomes a time when `booted` (Unix seconds) is given. A line counts once, for the first
    pattern that it matches. The process of a page fault can stand in a line behind it. Never raises.
    """
    found: list[KernelMessage] = []
    # By GPU: the page fault that has no process yet, as its place in `found`, and the number of its line.
    unnamed: dict[str | None, tuple[int, int]] = {}
    # Not splitlines: a stray separator inside of a message must not make a line of what follows it.
    for number, line in enumerate(line for line in text.split("\n") if not _DICTIONARY.match(line)):
        line = line.strip().removeprefix("> ")
        since_boot: float | None = None
        moment: float | None = None
        if match := _DMESG.match(line):
            since_boot = float(match[1])
        elif match := _KMSG.match(line):
            since_boot = int(match[1]) / 1e6
        elif match := _UNIX.match(line):
            moment = float(match[1])
        else:
            match = _SYSLOG.match(line) or _DATED.match(line)
        if match:
            line = line[match.end() :]
        code = next((code for code, pattern in _PATTERNS if pattern.search(line)), None)
        pid, process = _process(line)
        if code is None:
            place, at = unnamed.get(_gpu(line), (0, number - _LINES_OF_A_FAULT - 1))
            if pid is not None and number - at <= _LINES_OF_A_FAULT and "information" not in line:
                found[place] = replace(found[place], pid=pid, process=process)
                del unnamed[_gpu(line)]
            continue
        if since_boot is not None and booted is not None:
            moment = round(booted + since_boot, 6)
        said = printable(line, limit=TEXT_CHARACTERS, instead="?")
        found.append(KernelMessage(code, said, _gpu(line), moment, pid, process))
        if code == "page_fault":
            unnamed.pop(_gpu(line), None)
            if pid is None:
                unnamed[_gpu(line)] = (len(found) - 1, number)
    return found


def _process(line: str) -> tuple[int | None, str]:
    """The process that a line names, by its pid in the kernel's own numbers; None where it names none."""
    if match := _PROCESS.search(line):
        name, pid = match[1], int(match[2])
    elif match := _XID_PROCESS.search(line):
        name, pid = match[2] or "", int(match[1])
    else:
        return None, ""
    return (pid, printable(name, limit=64, instead="?")) if pid else (None, "")


def boot_seconds(line: str) -> float | None:
    """When dmesg says that a line was written, in seconds since boot; None where it does not."""
    match = _DMESG.match(line)
    return None if match is None else float(match[1])


def _gpu(line: str) -> str | None:
    """`amdgpu 0000:03:00.0: …` or `Xid (PCI:0000:3b:00): …`, as the kernel writes addresses elsewhere."""
    match = _PCI.search(line)
    if match is None:
        return None
    return f"{int(match[1], 16):04x}:{match[2]}:{match[3]}.{match[4] or 0}".lower()


def unnamed_fault(text: str) -> int | None:
    """Where a page fault at the end of the log begins whose process may be named by a line that is not written yet."""
    begin = len(text.rstrip("\n"))
    for _ in range(_LINES_OF_A_FAULT * _LINES_OF_A_RECORD):
        if begin < 0:
            return None
        begin = text.rfind("\n", 0, begin)
        messages = parse_kernel_lines(text[begin + 1 :])
        if messages and messages[-1].code == "page_fault":
            return begin + 1 if messages[-1].pid is None else None
    return None
