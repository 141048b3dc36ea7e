"""What a llama-server prints: why it ended, and how much of a GPU it took."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from core.files import private
from core.process.child import how_it_ended
from core.serving.errors import ServerError
from core.text import one_line

MOST_BYTES = 10_000_000
"""Of a log that is written for as long as a model serves."""
LOG_BYTES = 200_000
"""Of the end of its log, where the reason of a failure stands."""
NO_MEMORY = re.compile(
    r"out of (?:device )?memory|unable to allocate|failed to allocate|cannot allocate memory|allocation failed"
    r"|not enough memory|ErrorOutOf(?:Device|Host)Memory|[mM]alloc failed|failed to fit",
    re.IGNORECASE,
)
LESS_MEMORY = "take a smaller quantisation, a shorter context or a lower concurrency"
TAKEN = re.compile(r"couldn't bind|address already in use|failed to bind", re.IGNORECASE)
# The first line of these that is there says more than those below it.
WHY = (
    re.compile(r"unknown model architecture: .+"),
    re.compile(r"(?<=error loading model: ).+"),
    re.compile(r"gguf_init\w*: .+"),
    re.compile(r"(?<=error: ).+", re.IGNORECASE),
    re.compile(r"(?:failed to load model|GGML_ASSERT).*"),
)
# `load_tensors:   CPU_Mapped model buffer size =   136.40 MiB`, `sched_reserve: CUDA0 compute buffer size = 304.75 MiB`.
BUFFER = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")
GPU_BUFFER = re.compile(r"(?:CUDA|ROCm|HIP|Vulkan|SYCL|Metal|MUSA)(?!\w*_Host)\w*")
PREFIX = re.compile(r"^[\d.]+ [DIWE] +")
"""Time and level, with which newer versions begin a line."""


@dataclass
class ServerLog:
    """The log of a llama-server, which each start of it continues; `began_at` is where the last one begins."""

    path: Path
    began_at: int = 0

    def begin(self) -> None:
        """A server is started next."""
        self.began_at = self.path.stat().st_size if self.path.exists() else 0

    def lines(self) -> list[str]:
        """What the server of the last start has printed, its last part."""
        try:
            with self.path.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self.began_at, end - LOG_BYTES))
                return log.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return []

    def buffers(self) -> list[tuple[str, str, int]]:
        """Each buffer that it said it has: where (`CPU_Mapped`, `CUDA0`), what for (`model`, `KV`, `compute`, …), bytes."""
        found = [match for line in self.lines() for match in BUFFER.finditer(line)]
        return [(match[1], match[2], round(float(match[3]) * 2**20)) for match in found]

    def vram_bytes(self) -> int | None:
        """Of its buffers on GPUs; None where it names none."""
        sizes = [size for place, _, size in self.buffers() if GPU_BUFFER.fullmatch(place)]
        return sum(sizes) if sizes else None

    def port_was_taken(self) -> bool:
        return any(TAKEN.search(line) for line in self.lines())

    def why_it_died(self, name: str, file: str, code: int, *, has_loaded: bool) -> ServerError:
        """No memory and a file that can't be loaded stay so; anything else may work the next time."""
        lines = self.lines()
        ended = how_it_ended(code)
        short = next((line for line in lines if NO_MEMORY.search(line)), None)
        if short is not None:
            return ServerError(
                f"{name} {ended}, out of memory: {_shown(short)}",
                code="server_out_of_memory",
                said=_shown(short),
                remedy=LESS_MEMORY,
            )
        why = next((match[0] for pattern in WHY for line in lines if (match := pattern.search(line))), None)
        if why is not None and code >= 0 and not has_loaded and not self.port_was_taken():
            return ServerError(
                f"{name} can't load {file}: {_shown(why)}",
                code="server_refused",
                status=400,
                said=_shown(why),
                remedy="a newer llama.cpp knows more architectures; a damaged file is to be made again",
            )
        said = f": {_shown(why)}" if why is not None else ""
        return ServerError(f"{name} {ended}{said} (its log: {self.path.name})", code="server_down", said=said)


def keep_small(log: Path) -> bool:
    """Begin a log anew that has become too long: what it held is `NAME.1` then, in place of what that held. True where it was.

    Its writer goes on with the same file, which it has open for appending.
    """
    try:
        if log.stat().st_size <= MOST_BYTES:
            return False
        former = log.with_name(f"{log.name}.1")
        with log.open("rb") as source, open(former, "wb", opener=private) as copy:
            at = 0
            while sent := os.sendfile(copy.fileno(), source.fileno(), at, MOST_BYTES):
                at += sent
        os.truncate(log, 0)
    except OSError:
        return False  # a full disk, say: the next look tries again
    return True


def _shown(line: str) -> str:
    return one_line(PREFIX.sub("", line.strip()), limit=300)
