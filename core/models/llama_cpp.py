"""llama.cpp's tools on this machine: the server, the quantiser and the converters, and where each was found.

They are looked for in three places, the first that has a tool gives it: the setting `llama_cpp.folder`, `LLAMA_CPP_DIR`, PATH.
A folder may be a source tree with its build, a build tree, a release as it was unpacked, or the folder of the programs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from core.errors import InputError
from core.home import expanded
from core.text import one_line

Tool = Literal["llama-server", "llama-quantize", "converter", "lora-converter"]

VARIABLE = "LLAMA_CPP_DIR"
SETTING = "llama_cpp.folder"
THREE_WAYS = f"write `llama_cpp: {{folder: …}}` into settings.yaml, set {VARIABLE}, or put the tool on PATH"
VERSION_SECONDS = 20.0
SCRIPTS: tuple[Tool, ...] = ("converter", "lora-converter")
# Under which names each is installed; the converters are scripts of the source tree, or commands of a Python package.
NAMES: Mapping[Tool, tuple[str, ...]] = {
    "llama-server": ("llama-server",),
    "llama-quantize": ("llama-quantize",),
    "converter": ("convert_hf_to_gguf.py", "llama-convert-hf-to-gguf", "convert-hf-to-gguf.py"),
    "lora-converter": ("convert_lora_to_gguf.py", "llama-convert-lora-to-gguf", "convert-lora-to-gguf.py"),
}
SHOWN: Mapping[Tool, str] = {
    "llama-server": "llama-server",
    "llama-quantize": "llama-quantize",
    "converter": "convert_hf_to_gguf.py",
    "lora-converter": "convert_lora_to_gguf.py",
}
# Below a folder that somebody names: where a release, a build tree and a source tree have their programs.
BELOW = ("", "bin", "build/bin", "build", "build/bin/Release")


@dataclass(frozen=True)
class FoundTool:
    """A tool, and by which of the three ways it was found: the name of the setting, of the variable, or `PATH`."""

    path: Path
    way: str


@dataclass(frozen=True)
class LlamaCpp:
    """What is there of llama.cpp; None for a tool that none of the three places has."""

    server: FoundTool | None
    quantize: FoundTool | None
    converter: FoundTool | None
    lora_converter: FoundTool | None = None

    @classmethod
    def find(cls, folder: str | None = None, environ: Mapping[str, str] | None = None) -> LlamaCpp:
        """Look for the tools; `folder` is that of the setting. InputError where a place that is named is no folder."""
        environ = os.environ if environ is None else environ
        given = ((folder, SETTING), (environ.get(VARIABLE), VARIABLE))
        named = [(expanded(place, key=way), way) for place, way in given if place]
        for place, way in named:
            if not place.is_dir():
                raise InputError(
                    "no such folder", code="no_llama_cpp", file=place, key=way, remedy=f"name llama.cpp's own in {way}"
                )
        path = environ.get("PATH", os.defpath)
        return cls(*(_find(tool, named, path) for tool in NAMES))

    def require(self, tool: Tool) -> Path:
        """The path of a tool. InputError that names the three ways in which it can be given."""
        found = {
            "llama-server": self.server,
            "llama-quantize": self.quantize,
            "converter": self.converter,
            "lora-converter": self.lora_converter,
        }[tool]
        if found is None:
            raise missing(tool)
        return found.path


def missing(tool: Tool) -> InputError:
    """That a tool of llama.cpp is nowhere, and the three ways to say where."""
    needs = "its source tree has the script" if tool in SCRIPTS else "a release or a build of it has the program"
    return InputError(
        f"{SHOWN[tool]} of llama.cpp was not found: {needs}",
        code="no_llama_cpp",
        remedy=THREE_WAYS,
    )


def _find(tool: Tool, named: list[tuple[Path, str]], path: str) -> FoundTool | None:
    for folder, way in named:
        for place in _places(folder, tool):
            if _usable(place, tool):
                return FoundTool(place.absolute(), way)
    for place in _on_path(tool, path):
        return FoundTool(place, "PATH")
    return None


def _places(folder: Path, tool: Tool) -> Iterator[Path]:
    """Where a tool may be, seen from a folder of llama.cpp; the script lies above the programs of a build."""
    roots = [folder / below for below in BELOW]
    if tool in SCRIPTS:
        resolved = folder.resolve()
        roots += [resolved, *resolved.parents[:3]]
    for root in roots:
        for name in NAMES[tool]:
            yield root / name


def _on_path(tool: Tool, path: str) -> Iterator[Path]:
    """On PATH; the script of a source tree whose programs are on PATH, too."""
    for name in NAMES[tool]:
        if (found := shutil.which(name, path=path)) is not None:
            yield Path(found).absolute()
    if tool in SCRIPTS:
        for program in ("llama-quantize", "llama-server"):
            if (found := shutil.which(program, path=path)) is not None:
                above = Path(found).resolve().parents[1:4]
                yield from (script for one in above if _is_script(script := one / NAMES[tool][0]))


def _usable(place: Path, tool: Tool) -> bool:
    if tool in SCRIPTS and place.suffix == ".py":
        return _is_script(place)
    return place.is_file() and os.access(place, os.X_OK)


def _is_script(place: Path) -> bool:
    return place.is_file() and os.access(place, os.R_OK)


def converter_command(converter: Path, python: str) -> list[str]:
    """How the converter is called: a script of the source tree by `python`, which has torch; a command as it is."""
    return [python, str(converter)] if converter.suffix == ".py" else [str(converter)]


def converter_version(converter: Path) -> str:
    """What tells two converters apart, which have no number: a hash over the script, and the code of models and of the file
    format that it has beside it."""
    digest = hashlib.sha256(converter.read_bytes())
    folder = converter.resolve().parent
    for file in sorted([*folder.glob("conversion/*.py"), *folder.glob("gguf-py/gguf/*.py")]):
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def server_version(server: Path) -> str:
    """What `llama-server --version` tells. InputError where the program does not start."""
    try:
        done = subprocess.run(
            [str(server), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = error.strerror if isinstance(error, OSError) else f"no answer within {VERSION_SECONDS:.0f} s"
        raise _broken(server, str(why)) from error
    said = (done.stderr + b"\n" + done.stdout).decode("utf-8", errors="replace")
    version = version_in(said)
    if done.returncode != 0 or version is None:
        raise _broken(server, one_line(said) or f"ended with {done.returncode}")
    return version


def gpu_devices(server: Path) -> tuple[str, ...] | None:
    """The devices beside the CPU that a llama-server was built for and finds (`CUDA0: …`); None where it does not tell.

    It is asked once in this process for a program as it lies there.
    """
    try:
        status = server.stat()
    except OSError:
        return None
    return _devices(str(server), status.st_mtime_ns, status.st_size)


@cache
def _devices(server: str, mtime_ns: int, size: int) -> tuple[str, ...] | None:
    """By path, time of change and size of the program."""
    try:
        done = subprocess.run(
            [server, "--list-devices"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.decode("utf-8", errors="replace").splitlines()
    at = next((number for number, line in enumerate(lines) if line.startswith("Available devices")), None)
    if done.returncode != 0 or at is None:
        return None
    return tuple(one_line(line) for line in lines[at + 1 :] if ": " in line)


def version_in(text: str) -> str | None:
    """The version in what a tool printed: `version: 0.6.0 (build 0, commit …)`, or `build = 5000 (…)` of older ones."""
    match = re.search(r"^(?:version:|\w+: build =)\s*(.+)$", text, re.MULTILINE)
    return None if match is None else one_line(match[1])


def _broken(program: Path, why: str) -> InputError:
    return InputError(
        f"the program does not start: {why}",
        code="broken_llama_cpp",
        file=program,
        remedy="build or unpack llama.cpp again: a library of it may be missing",
    )
