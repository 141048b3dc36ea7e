"""Who serves models on this machine: Ollama and llama.cpp, their versions, and settings that cost a training its memory."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.doctor.machine import Machine, one_line, version_numbers
from core.doctor.results import Diagnostic
from core.errors import InputError
from core.format import data_size
from core.gpu.sources.kernel_file import names, read_text
from core.gpu_lease.server_activity import holds_gpu
from core.models.llama_cpp import THREE_WAYS, FoundTool, LlamaCpp
from core.serving.address import is_here

if TYPE_CHECKING:
    from core.serving.replies import Resident

SECTION = "serving"
ASK_SECONDS = 3.0

# What each release brought that Bakehouse relies on, oldest first (read in Ollama's source and on running servers).
NEEDED = (
    ((0, 6, 4), "uses RX 9060 and 9070 GPUs"),
    ((0, 9, 0), "can be told not to think"),
    ((0, 10, 0), "tells the context of a loaded model"),
    ((0, 12, 6), "refuses a prompt that is too long instead of cutting it"),
)
PARALLEL = "OLLAMA_NUM_PARALLEL"


def line(subject: str, state: str, message: str, remedy: str = "") -> Diagnostic:
    return Diagnostic(subject, state, message, remedy, SECTION)  # type: ignore[arg-type]


def examine(machine: Machine) -> list[Diagnostic]:
    return [*ollama(machine), *llama_cpp(machine)]


def ollama(machine: Machine) -> list[Diagnostic]:
    from core.serving.ollama import Ollama, ServerError

    try:
        server = Ollama(machine.settings.ollama.url, timeout_seconds=ASK_SECONDS)
    except InputError as wrong:
        return [line("Ollama", "fault", wrong.message, wrong.remedy or "")]
    with contextlib.closing(server):
        try:
            version = one_line(server.version())
        except ServerError as error:
            return [unreachable(machine, server.url, error)]
        lines = [version_line(version, server.url)]
        try:
            residents = server.ps()
        except ServerError as error:
            return [*lines, line("loaded", "warning", f"Ollama does not say what is loaded: {error.message}")]
    if residents:
        lines += loaded(machine, residents, server.url)
    return [*lines, *parallel(machine, version_numbers(version))]


def loaded(machine: Machine, residents: Sequence[Resident], url: str) -> list[Diagnostic]:
    """What the server holds, and what becomes of it before a job. The runner moves only what takes memory of its own GPU."""
    on_gpu = [one for one in residents if holds_gpu(one)]
    beside = [one for one in residents if not holds_gpu(one)]
    managed = machine.settings.ollama.managed and machine.gpu is not None
    if managed and machine.settings.ollama.url is None and not is_here(url):
        return [line("loaded", "ok", f"{names_of(residents)}: on another machine, left loaded")]
    after = "unloaded before a training and loaded again afterwards" if managed else "left loaded"
    lines = []
    if on_gpu:
        sizes = [one.size_vram_bytes for one in on_gpu]
        known = sum(size for size in sizes if size is not None)
        held = "an unknown size" if None in sizes else data_size(known)
        lines.append(line("loaded", "ok", f"{names_of(on_gpu)}: {held} on the GPU, {after}"))
    if beside:
        lines.append(line("loaded", "ok", f"{names_of(beside)}: not on the GPU, left loaded"))
    return lines


def names_of(residents: Sequence[Resident]) -> str:
    return ", ".join(one_line(one.name) for one in residents)


def unreachable(machine: Machine, url: str, error: Exception) -> Diagnostic:
    code = getattr(error, "code", "")
    message = getattr(error, "message", str(error))
    if code == "server_down" and machine.which("ollama") is None:
        return line("Ollama", "absent", f"nobody answers at {url}, and no `ollama` is on PATH")
    remedy = {
        "server_down": "systemctl start ollama, or `ollama serve`; another address goes into ollama.url of settings.yaml",
        "server_slow": "a server that hangs keeps its memory: look at `systemctl status ollama`",
    }.get(
        code,
        getattr(error, "remedy", None)
        or "is it Ollama that listens there? ollama.url of settings.yaml names another address",
    )
    return line("Ollama", "warning", f"{url}: {message}", remedy)


def version_line(version: str, url: str) -> Diagnostic:
    numbers = version_numbers(version)
    if not numbers or numbers == (0, 0, 0):  # a build from source calls itself 0.0.0
        return line("Ollama", "ok", f"version {version} at {url}")
    lacks = [what for since, what in NEEDED if numbers < since]
    if lacks:
        older = f"version {version} at {url} is too old: a later one {', '.join(lacks)}"
        return line(
            "Ollama", "warning", older, "curl -fsSL https://ollama.com/install.sh | sh installs the present one"
        )
    return line("Ollama", "ok", f"version {version} at {url}")


def parallel(machine: Machine, version: tuple[int, ...]) -> list[Diagnostic]:
    """Each parallel answer of a model costs a whole context of memory."""
    said = server_variable(machine, PARALLEL)
    if said is None:
        # Up to 0.9 the server chose 4 where there was room.
        return [] if version >= (0, 10) else [hint("chosen by the server (up to 4)")]
    return [] if said.strip() in ("", "1") else [hint(one_line(said))]


def hint(count: str) -> Diagnostic:
    message = f"{PARALLEL} is {count}: every model takes that many contexts of memory"
    return line("parallel", "warning", message, f"{PARALLEL}=1 in the server's environment, unless many ask at once")


def server_variable(machine: Machine, name: str) -> str | None:
    """A variable of the server's process, as far as this user may read it; else of its systemd unit."""
    proc = Path("/proc")
    for pid in names(proc):
        if pid.isdigit() and read_text(proc / pid / "comm") == "ollama" and serves(proc / pid):
            with contextlib.suppress(OSError):
                pairs = (proc / pid / "environ").read_bytes().decode(errors="replace").split("\0")
                return next((value for key, _, value in (pair.partition("=") for pair in pairs) if key == name), None)
    systemctl = machine.which("systemctl")
    if systemctl is None:
        return None
    said = machine.ask(systemctl, "show", "ollama", "--property=Environment", "--value", limit_seconds=ASK_SECONDS)
    words = said.stdout.split() if said.code == 0 else []
    return next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), None)


def serves(process: Path) -> bool:
    """`ollama serve`, not somebody's `ollama run`."""
    return "serve" in (read_text(process / "cmdline") or "").split("\0")


def llama_cpp(machine: Machine) -> list[Diagnostic]:
    """Needed for GGUF files and for serving without Ollama."""
    try:
        found = LlamaCpp.find(machine.settings.llama_cpp.folder, machine.environ)
    except InputError as wrong:
        return [line("llama.cpp", "fault", str(wrong))]
    lines = []
    for tool, at, use in (
        ("llama-server", found.server, "serves a GGUF file"),
        ("llama-quantize", found.quantize, "makes smaller GGUF files"),
        ("convert_hf_to_gguf.py", found.converter, "makes GGUF files"),
    ):
        if at is None:
            lines.append(line(tool, "absent", f"not found; it {use}", THREE_WAYS))
        elif at is found.converter:
            lines.append(line(tool, "ok", f"{at.path} ({at.way})"))
        else:
            lines.append(program(machine, tool, at))
    return lines


def program(machine: Machine, tool: str, at: FoundTool) -> Diagnostic:
    """Whether a program starts, and its version."""
    # llama-quantize has no --version: that it starts is all it tells.
    said = machine.ask(str(at.path), "--version" if tool == "llama-server" else "--help")
    version = next((row for row in (said.stderr + "\n" + said.stdout).splitlines() if row.startswith("version:")), "")
    if said.code is None or said.code < 0 or (tool == "llama-server" and said.code != 0):
        why = said.problem or one_line(said.stderr) or f"ended with {said.code}"
        return line(tool, "fault", f"{at.path}: {why}", "build llama.cpp anew: a library of it may be missing")
    return line(tool, "ok", f"{one_line(version) or 'starts'} ({at.path}, {at.way})")
