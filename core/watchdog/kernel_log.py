"""What the kernel says of a GPU in trouble: hung queues, resets, page faults, lost memory.

Read without root where this machine allows it: `/dev/kmsg`, else `dmesg`, else the journal. The patterns are those of
amdgpu and DRM, and NVIDIA's Xid.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Thread

from core.gpu.source import SourceError
from core.gpu.sources.tool import Tool
from core.text import printable

TOOL_EVERY_SECONDS = 10.0
TOOL_LIMIT_SECONDS = 5.0
TEXT_CHARACTERS = 300
# A page fault can be told a thousand times a second.
MOST_MESSAGES = 100
_MOST_BYTES = 2 * 2**20
_RECORD_BYTES = 8192

_PATTERNS = tuple(
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        # Up to Linux 6.7: "failed to response msg=".
        ("mes_no_answer", r"\bMES(\(\d+\))? failed to respon(d to|se) msg="),
        # "The cp …" is said of GPUs whose queues have no MES.
        ("mes_unrecoverable", r"\b(MES(\(\d+\))?|cp) might be in (an )?unrecoverable state"),
        # "GPU fault detected" is said of GPUs before Vega.
        ("page_fault", r"\[(gfx|mm)hub[0-9_]*\].{0,24}page fault|\bGPU fault detected\b"),
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
_NO_JOURNAL = ("No journal files", "not seeing messages")


@dataclass(frozen=True)
class KernelMessage:
    """One message: `mes_no_answer`, `mes_unrecoverable`, `page_fault`, `ring_timeout`, `gpu_reset`, `vram_lost`,
    `command_memory`, `device_wedged` or `xid`. `pci` names the GPU where the line does; `time`: Unix seconds, if known."""

    code: str
    text: str
    pci: str | None = None
    time: float | None = None


def parse_kernel_lines(text: str, booted: float | None = None) -> list[KernelMessage]:
    """The messages of a GPU in trouble among lines as dmesg, the journal, syslog or `/dev/kmsg` write them.

    A stamp in seconds since boot becomes a time when `booted` (Unix seconds) is given. A line counts once, for the first
    pattern that it matches. Never raises.
    """
    found = []
    # Not splitlines: a stray separator inside of a message must not make a line of what follows it.
    for line in text.split("\n"):
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
        if code is None:
            continue
        if since_boot is not None and booted is not None:
            moment = round(booted + since_boot, 6)
        found.append(KernelMessage(code, printable(line, limit=TEXT_CHARACTERS, instead="?"), _gpu(line), moment))
    return found


def _gpu(line: str) -> str | None:
    """`amdgpu 0000:03:00.0: …` or `Xid (PCI:0000:3b:00): …`, as the kernel writes addresses elsewhere."""
    match = _PCI.search(line)
    if match is None:
        return None
    return f"{int(match[1], 16):04x}:{match[2]}:{match[3]}.{match[4] or 0}".lower()


class KernelLog:
    """The kernel's messages since it was made. Not for use by several threads.

    `path` replaces `/dev/kmsg`, as `BAKEHOUSE_KMSG` does; then no tool is asked but those given. `problem` says why there are
    no messages to be had. Asking takes microseconds: tools run in a thread of their own, every ten seconds at most.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        tools: tuple[Tool, ...] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        moved = path or os.environ.get("BAKEHOUSE_KMSG")
        self.path = moved or "/dev/kmsg"
        self.problem: str | None = None
        self._clock = clock
        self._file: int | None = None
        self._rest = b""
        self._reader: _ToolReader | None = None
        self._asked = clock()
        fault = self._open(at_end=True)
        if fault is not None:
            self.problem = f"{self.path} cannot be read: {fault}"
            if tools is None and not moved:
                tools = (Tool("dmesg"), Tool("journalctl"))
            if tools:
                self._reader = _ToolReader(tools, clock(), self.problem)

    def new(self) -> list[KernelMessage]:
        """The messages since it was last asked (at first: since this object was made), at most 100 of them."""
        if self._reader is not None:
            messages, self.problem = self._reader.new(), self._reader.problem
            # A tool tells them up to ten seconds late, and by a clock that can be asked.
            self._asked = float("-inf")
        elif self._file is None and (fault := self._open(at_end=False)) is not None:
            self.problem = f"{self.path} cannot be read: {fault}"
            return []
        else:
            self.problem = None
            booted = self._clock() - time.clock_gettime(time.CLOCK_MONOTONIC)
            messages = parse_kernel_lines(self._read(), booted)
        # The kernel's stamps drift from the clock; but what is new came after it was last asked, and not in the future.
        now, asked = self._clock(), self._asked
        self._asked = now
        placed = (now if item.time is None else min(now, max(asked, item.time)) for item in messages)
        return [replace(item, time=moment) for item, moment in zip(messages, placed, strict=True)][:MOST_MESSAGES]

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, *, at_end: bool) -> str | None:
        """Why it cannot be opened, None when it is open. Afterwards reads give what is new."""
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return error.strerror or str(error)
        try:
            os.lseek(self._file, 0, os.SEEK_END if at_end else os.SEEK_SET)
        except OSError as error:
            # A FIFO has no end to go to. `/dev/kmsg` that may be opened but not read shows it at the first read.
            if error.errno != errno.ESPIPE:
                self.close()
                return error.strerror or str(error)
        return None

    def _read(self) -> str:
        """The whole lines that are new, at most 2 MiB; what is left comes at the next call."""
        assert self._file is not None
        data = [self._rest]
        size = len(self._rest)
        state = os.fstat(self._file)
        if stat.S_ISREG(state.st_mode) and state.st_size < os.lseek(self._file, 0, os.SEEK_CUR):
            # A file that was cut is read from its beginning.
            os.lseek(self._file, 0, os.SEEK_SET)
        while size < _MOST_BYTES:
            try:
                part = os.read(self._file, _RECORD_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                # EPIPE: records were overwritten before we came; the next read goes on with the oldest that is left.
                if error.errno == errno.EPIPE:
                    continue
                self.problem = f"{self.path} cannot be read: {error.strerror}"
                break
            if not part:
                break
            data.append(part)
            size += len(part)
        whole, newline, self._rest = b"".join(data).rpartition(b"\n")
        if len(self._rest) > _RECORD_BYTES:
            self._rest = b""
        return (whole + newline).decode("utf-8", errors="replace")


class _ToolReader:
    """Runs `dmesg` or `journalctl` in a thread, keeps the one that works, and hands out what is newer than the last."""

    def __init__(self, tools: tuple[Tool, ...], since: float, problem: str) -> None:
        self.problem: str | None = problem
        self._fault = problem
        self._tools = list(tools)
        # The newest message handed out, by the clock of each: dmesg counts since boot, the journal in Unix seconds.
        self._newest: dict[str, float] = {"journalctl": since}
        self._found: SimpleQueue[list[KernelMessage]] = SimpleQueue()
        self._next = 0.0
        self._thread: Thread | None = None
        self._start()

    def new(self) -> list[KernelMessage]:
        if time.monotonic() >= self._next and self._thread is not None and not self._thread.is_alive():
            self._start()
        messages: list[KernelMessage] = []
        while True:
            try:
                messages += self._found.get_nowait()
            except Empty:
                return messages

    def _start(self) -> None:
        self._next = time.monotonic() + TOOL_EVERY_SECONDS
        self._thread = Thread(target=self._ask, name="kernel-log", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        faults = []
        for tool in self._tools:
            try:
                text = self._run(tool)
            except SourceError as error:
                faults.append(str(error))
                continue
            self._tools, self.problem = [tool], None
            self._hand_out(tool.name, text)
            return
        self.problem = "; ".join([self._fault, *faults])

    def _run(self, tool: Tool) -> str:
        arguments: tuple[str, ...] = ()
        if tool.name == "journalctl":
            # The whole second, of which what was handed out is left out after.
            since = f"@{int(self._newest[tool.name])}"
            arguments = ("-k", "-o", "short-unix", "--no-pager", "--since", since)
        output = tool.run(*arguments, limit_seconds=TOOL_LIMIT_SECONDS)
        if output.returncode != 0:
            raise SourceError(f"{tool.name} does not tell: {output.said or f'exit {output.returncode}'}")
        # The journal of others is left out without a fault: only a hint says so.
        if any(hint in output.stderr for hint in _NO_JOURNAL):
            raise SourceError(f"{tool.name} does not tell: {output.said}")
        return output.stdout

    def _hand_out(self, tool: str, text: str) -> None:
        if tool == "journalctl":
            booted = 0.0
            messages = parse_kernel_lines(text)
        else:
            # The kernel's stamps drift from every clock that can be asked, so they are compared among themselves.
            booted = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
            messages = parse_kernel_lines(text, booted=0.0)
            if tool not in self._newest:
                stamps = [float(match[1]) for line in text.split("\n") if (match := _DMESG.match(line))]
                self._newest[tool] = max(stamps, default=0.0)
        newer = [message for message in messages if (message.time or 0.0) > self._newest[tool]]
        if newer:
            self._newest[tool] = max(message.time or 0.0 for message in newer)
            self._found.put([replace(message, time=booted + (message.time or 0.0)) for message in newer])
