"""The machine under examination: where its files lie, its GPU, its settings, and tools that are asked with a limit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from core.config.settings import Settings
from core.gpu.devices import Gpu, GpuChoice, choose_gpu
from core.gpu.reading import Sample
from core.gpu.source import procfs_root, sysfs_root
from core.home import Home
from core.text import log_line, printable

TOOL_SECONDS = 5.0
OUTPUT_BYTES = 65_536
SAID_CHARACTERS = 400


@dataclass(frozen=True)
class ToolResult:
    """What a tool printed and how it ended: `code` None when it could not be run or did not end, with the `problem`."""

    stdout: str
    stderr: str
    code: int | None
    problem: str = ""


@dataclass(frozen=True)
class Machine:
    """One machine. `dev` and `rocm` move where device files and ROCm are looked for; `settings_problem` is that of the file."""

    home: Home
    environ: Mapping[str, str]
    settings: Settings = field(default_factory=Settings)
    settings_problem: str = ""
    dev: Path = Path("/dev")
    opt: Path = Path("/opt")

    @property
    def sysfs(self) -> Path:
        return sysfs_root(self.environ)

    @property
    def procfs(self) -> Path:
        return procfs_root(self.environ)

    @cached_property
    def choice(self) -> GpuChoice:
        return choose_gpu(self.environ)

    @property
    def gpu(self) -> Gpu | None:
        """The GPU that jobs run on."""
        return self.choice.gpu

    @cached_property
    def sample(self) -> Sample:
        """One reading of the GPU and the host."""
        from core.telemetry.sampler import Sampler

        sampler = Sampler(self.home, environ=self.environ)
        try:
            return sampler.read()
        finally:
            sampler.close()

    def which(self, tool: str) -> str | None:
        return shutil.which(tool, path=self.environ.get("PATH", os.defpath))

    def ask(
        self, program: str, *arguments: str, limit_seconds: float = TOOL_SECONDS, most_bytes: int = OUTPUT_BYTES
    ) -> ToolResult:
        """What a program answers, the last `most_bytes` of it. Its words are another's: they are made printable."""
        try:
            done = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit_seconds,
                env={**self.environ, "LC_ALL": "C", "NO_COLOR": "1"},
                check=False,
            )
        except subprocess.TimeoutExpired:
            return ToolResult("", "", None, f"does not answer within {limit_seconds:.0f} s")
        except OSError as error:
            return ToolResult("", "", None, f"cannot be started: {error.strerror}")
        return ToolResult(text_of(done.stdout, most_bytes), text_of(done.stderr), done.returncode)


def text_of(output: bytes, most_bytes: int = OUTPUT_BYTES) -> str:
    """The end of a tool's output as lines that can be shown."""
    return "\n".join(
        log_line(line, tab=None) for line in output[-most_bytes:].decode("utf-8", errors="replace").splitlines()
    )


def one_line(text: str) -> str:
    """The first line that says something, not longer than can be read."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return printable(line, limit=SAID_CHARACTERS)


def version_numbers(text: str) -> tuple[int, ...]:
    """`7.2.1-43` as (7, 2, 1); empty when it does not begin with a number."""
    numbers: list[int] = []
    for part in text.strip().removeprefix("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits or len(digits) > 9:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
