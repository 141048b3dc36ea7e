"""The lanes of the tests, one after the other; within a lane tests run side by side as far as its kind allows.

    python -m tests.lanes LANE… [-- PYTEST ARGUMENTS…]

Which lane a test is in says what it does, by its markers: `process` starts real processes and mostly waits for them, `train`
runs real models, `soak` takes long. A lane in which none of the chosen tests lies counts as passed. At the end stand pytest's
own summaries of all lanes with the files that took longest, and below them what failed in any: whoever has no more than the end
of a log knows that. The exit code is that of the first lane that failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil

CORES = len(os.sched_getaffinity(0))
BRIEFLY_WAITING = CORES + (CORES + 1) // 2
"""Workers for tests that mostly compute; those of the console wait for the screen nearly half of their time."""
WAITING = max(4, 3 * CORES)
"""Workers for tests that wait most of the time."""
COMPUTING = min(4, CORES)
"""Workers for tests that run models: each holds torch, and a few gigabytes while a model trains."""
NOTHING_CHOSEN = 5
"""pytest's exit code where no test was collected."""
LONGEST_FAULT = 300
LONGEST_FILES = 4
MOST_SAID = 1400
"""Characters of all that failed: with the lanes' summaries they fit into the last 2000 of a log."""


@dataclass(frozen=True)
class Lane:
    """`chosen` is a marker expression; `workers` 0 runs one test after the other, in pytest's own process.

    `folders` are those in which such tests lie: each worker reads them all, and tests/train alone brings torch. `grouped`: the
    tests of a group run on one worker, where they share what takes long to make, in the order of their collection.
    """

    name: str
    chosen: str
    workers: int
    folders: tuple[str, ...] = ("tests",)
    depth: str | None = None
    grouped: bool = False

    def command(self, arguments: list[str]) -> list[str]:
        how = ["loadgroup", "--no-loadscope-reorder"] if self.grouped else ["worksteal"]
        beside = ["-n", str(self.workers), "--dist", *how] if self.workers else []
        named = any(Path(argument.partition("::")[0]).exists() for argument in arguments)
        where = () if named else self.folders
        return [sys.executable, "-m", "pytest", "-m", self.chosen, *beside, *where, *arguments]


LANES = (
    Lane("fast", "not process and not train and not soak", BRIEFLY_WAITING, ("tests/unit", "tests/tui")),
    Lane("process", "process and not train and not soak", WAITING, ("tests/process", "tests/unit", "tests/tui")),
    Lane("train", "train and not soak", COMPUTING, ("tests/train", "tests/tui"), grouped=True),
    # The property tests of the lanes above once more, with many more examples; `hypothesis` is the mark of its own plugin.
    Lane("soak-properties", "hypothesis and not soak", CORES, depth="soak"),
    Lane("soak-long", "soak and not timed and not train", WAITING, depth="soak"),
    Lane("soak-train", "soak and not timed and train", 0, depth="soak"),
    # Bounds on time are held to what they say by nobody who has to share the machine.
    Lane("soak-timed", "timed", 0, depth="soak"),
)
NAMED = {lane.name: lane for lane in LANES}


@dataclass(frozen=True)
class Ended:
    """How a lane ended: pytest's exit code, the last line that it printed, and a line for each test that did not pass.

    `busy` is the share of the machine's cores that worked meanwhile, `seconds` what the tests of each file took together.
    """

    code: int
    said: str
    faults: tuple[str, ...] = ()
    busy: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def longest(self) -> str:
        """The files whose tests took longest, in words."""
        files = sorted(self.seconds, key=lambda file: -self.seconds[file])[:LONGEST_FILES]
        named = [f"{Path(file).stem} {self.seconds[file]:.0f} s" for file in files]
        return ", ".join([*([] if self.busy is None else [f"cores {self.busy:.0%} busy"]), *named])


def run(lane: Lane, arguments: list[str]) -> Ended:
    with tempfile.TemporaryDirectory(prefix="bakehouse-lane-") as folder:
        results = Path(folder) / "results.xml"
        # That family of the format alone names the file of a test.
        before = psutil.cpu_times()
        code, said = _run(lane, [*arguments, f"--junitxml={results}", "-o", "junit_family=xunit1"])
        cases = cases_of(results)
        return Ended(code, said, faults_of(cases), _busy(before), seconds_of(cases))


def cases_of(results: Path) -> list[ElementTree.Element]:
    """The tests of a run as its results name them; none where it was ended before it could write them."""
    try:
        return list(ElementTree.parse(results).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return []


def faults_of(cases: Iterable[ElementTree.Element]) -> tuple[str, ...]:
    """The tests that failed, or had an error before or after they ran, each with the first line of what was wrong."""
    return tuple(_fault(case, found) for case in cases for found in case if found.tag in ("failure", "error"))


def seconds_of(cases: Iterable[ElementTree.Element]) -> Mapping[str, float]:
    """What the tests of each file took together, with what was made for them."""
    spent: dict[str, float] = defaultdict(float)
    for case in cases:
        spent[case.get("file") or ""] += float(case.get("time") or 0.0)
    return spent


def _busy(before: Any) -> float | None:
    now = psutil.cpu_times()
    passed, idle = sum(now) - sum(before), now.idle - before.idle
    return None if passed <= 0 else 1 - idle / passed


def _fault(case: ElementTree.Element, found: ElementTree.Element) -> str:
    lines = (found.get("message") or found.text or "").strip().splitlines() or ["nothing is said of it"]
    name = "::".join(filter(None, (case.get("file") or case.get("classname"), case.get("name"))))
    line = f"{found.tag.upper()} {name}: {lines[0].strip()}"
    return line if len(line) <= LONGEST_FAULT else line[: LONGEST_FAULT - 1] + "…"


def fitting(lines: list[str]) -> list[str]:
    """As many of the lines as there is room for, and how many more there are."""
    shown: list[str] = []
    for line in lines:
        if sum(map(len, shown)) + len(line) > MOST_SAID:
            return [*shown, f"… and {len(lines) - len(shown)} more"]
        shown.append(line)
    return shown


def _run(lane: Lane, arguments: list[str]) -> tuple[int, str]:
    """The exit code of a lane, and the last line that it printed."""
    command = lane.command(arguments)
    if sys.stdout.isatty():
        command.append("--color=yes")
    environ = {**os.environ, **({"BAKEHOUSE_TEST_DEPTH": lane.depth} if lane.depth else {})}
    if environ.pop("PYTHONDONTWRITEBYTECODE", None):
        # Hundreds of processes run this code: it is compiled once, though not into the checkout.
        environ["PYTHONPYCACHEPREFIX"] = str(Path(sys.prefix) / "pycache")
    print(f"── {lane.name}: {' '.join(command[3:])}", flush=True)
    last = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        while piece := os.read(process.stdout.fileno(), 65536):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            last = (last + piece)[-4096:]
    lines = last.decode(errors="replace").strip().splitlines()
    return process.returncode, lines[-1] if lines else ""


def main(words: list[str]) -> int:
    cut = words.index("--") if "--" in words else len(words)
    names, arguments = words[:cut], words[cut + 1 :]
    if not names or any(name not in NAMED for name in names):
        print(f"lanes: {', '.join(NAMED)}", file=sys.stderr)
        return 2
    lanes = [(name, run(NAMED[name], arguments)) for name in names]
    print("── what took longest")
    for name, ended in lanes:
        print(f"{name:<16} {ended.longest}")
    print("── all lanes")
    for name, ended in lanes:
        failed = ended.code not in (0, NOTHING_CHOSEN)
        print(f"{name:<16} {ended.said}{f'  ✗ exit code {ended.code}' if failed else ''}")
    if faults := [f"{name}: {fault}" for name, ended in lanes for fault in ended.faults]:
        print("── what failed", *fitting(faults), sep="\n")
    codes = [ended.code for _, ended in lanes if ended.code != NOTHING_CHOSEN]
    return next((code for code in codes if code), 0) if codes else NOTHING_CHOSEN


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
