"""The console with other versions than those of constraints.txt, in environments of their own, without torch.

    python -m tests.compat [oldest] [newest] [-- PYTEST ARGUMENTS…]

`oldest` has the oldest version that pyproject.toml allows of each package the console needs, under the oldest Python at hand
that is allowed: old packages have no builds for new Pythons. `newest` has the newest of everything under the newest Python at
hand. In each runs the fast lane of tests/lanes.py, without the pictures, which are those of one version of Textual. Tests that
need a package of the extra `train` are left out; how many, is said at the end. The environments stay in `.venv-oldest` and
`.venv-newest` until pyproject.toml or the Python changes; `make clean` removes them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

CHECKOUT = Path(__file__).parents[1]
STAMP = ".made-of"
WITHOUT_PICTURES = "--ignore=tests/tui/test_snapshots.py"
ASK = "import sys, venv, ensurepip; print(*sys.version_info[:3])"
NOT_INSTALLED = "not installed: "
"""How the reason of a test begins that is left out for want of a package (tests/support/needs.py)."""

Version = tuple[int, ...]


@dataclass(frozen=True)
class Environment:
    """`resolution` is uv's: `lowest-direct` takes the lowest version of what is asked for by name, `highest` the newest."""

    name: str
    resolution: str

    @property
    def folder(self) -> Path:
        return CHECKOUT / f".venv-{self.name}"

    @property
    def python(self) -> str:
        return str(self.folder / "bin/python")

    def prepare(self, interpreter: str, version: Version) -> None:
        """Make it, where it is not there or is of something else."""
        made_of = hashlib.sha256(f"{version} {(CHECKOUT / 'pyproject.toml').read_text()}".encode()).hexdigest()
        stamp = self.folder / STAMP
        if stamp.is_file() and stamp.read_text() == made_of:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        check(interpreter, "-m", "venv", str(self.folder))
        check(self.python, "-m", "pip", "install", "--quiet", "uv")
        install = [self.python, "-m", "uv", "pip", "install", "--quiet", "--python", self.python]
        check(*install, "--resolution", self.resolution, "--editable", ".")
        # The tests' own tools are the newest that go with what the console has now.
        pins = self.folder / "pins.txt"
        pins.write_text("\n".join(f"{name}=={number}" for name, number in self.packages().items()) + "\n")
        check(*install, "--constraint", str(pins), "--editable", ".[test]")
        stamp.write_text(made_of)

    def packages(self) -> dict[str, str]:
        """Version by name of what is installed there."""
        listed = subprocess.run(
            [self.python, "-m", "uv", "pip", "freeze", "--exclude-editable", "--python", self.python],
            capture_output=True,
            text=True,
            check=True,
            cwd=CHECKOUT,
        ).stdout
        return {name: number for name, sign, number in (line.partition("==") for line in listed.splitlines()) if sign}

    def run(self, arguments: list[str]) -> tuple[int, int]:
        """The exit code of the fast lane, and how many tests it left out for want of a package."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        command = [self.python, "-m", "tests.lanes", "fast", "--", WITHOUT_PICTURES, f"--junitxml={report}", *arguments]
        code = subprocess.run(command, cwd=CHECKOUT).returncode
        return code, left_out(report) if report.is_file() else 0


ENVIRONMENTS = (Environment("oldest", "lowest-direct"), Environment("newest", "highest"))


def check(*command: str) -> None:
    subprocess.run(command, cwd=CHECKOUT, check=True)


def left_out(report: Path) -> int:
    """How many tests a report of pytest's has as not run because a package is not installed."""
    skipped = ElementTree.parse(report).getroot().iter("skipped")
    return sum(element.get("message", "").startswith(NOT_INSTALLED) for element in skipped)


def interpreters() -> dict[Version, str]:
    """Every Python at hand that the project allows, by its version: those on PATH, and those that pyenv keeps."""
    found: dict[Version, str] = {}
    for path in dict.fromkeys([sys.executable, *programs()]):
        done = subprocess.run([path, "-c", ASK], capture_output=True, text=True)
        if done.returncode == 0:
            found.setdefault(tuple(map(int, done.stdout.split())), path)
    return {version: found[version] for version in sorted(found) if version >= oldest_allowed()}


def programs() -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    folders = [*map(Path, os.get_exec_path()), *sorted(pyenv.glob("*/bin"))]
    for folder in folders:
        for program in sorted(folder.glob("python3.*")):
            if re.fullmatch(r"python3\.\d+", program.name) and os.access(program, os.X_OK):
                yield str(program)


def oldest_allowed() -> Version:
    """`requires-python` of pyproject.toml."""
    written: str = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["requires-python"]
    return tuple(int(part) for part in written.removeprefix(">=").split("."))


def main(words: list[str]) -> int:
    cut = words.index("--") if "--" in words else len(words)
    names, arguments = words[:cut] or [one.name for one in ENVIRONMENTS], words[cut + 1 :]
    chosen = [one for one in ENVIRONMENTS if one.name in names]
    if len(chosen) != len(names):
        print(f"environments: {', '.join(one.name for one in ENVIRONMENTS)}", file=sys.stderr)
        return 2
    pythons = interpreters()
    ended = []
    for environment in chosen:
        version = (min if environment.name == "oldest" else max)(pythons)
        environment.prepare(pythons[version], version)
        asked_for = {re.split(r"[^\w.-]", line)[0].replace("_", "-").lower() for line in dependencies()}
        held = [f"{name} {number}" for name, number in environment.packages().items() if name in asked_for]
        title = f"{environment.name}: Python {'.'.join(map(str, version))}, {', '.join(held)}"
        print(f"── {title}", flush=True)
        code, skipped = environment.run(arguments)
        ended.append((environment.name, code, skipped))
    print("── other versions")
    for name, code, skipped in ended:
        outcome = "passed" if code == 0 else f"✗ exit code {code}"
        print(f"{name:<8} {outcome}; {skipped} tests left out: they need a package of the extra `train`")
    return next((code for _, code, _ in ended if code), 0)


def dependencies() -> list[str]:
    lines: list[str] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    return lines


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        print(f"`{' '.join(error.cmd)}` has failed", file=sys.stderr)
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)
