"""The examination as a whole: its report, what is stored of it, and the command."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.cli.doctor import WIDTH, shown
from core.cli.main import main
from core.doctor.examination import Examination
from core.doctor.machine import Machine, version_numbers
from core.doctor.report import examine, last_report, report_file
from core.doctor.results import SECTIONS, Diagnostic, Recommended, Report
from tests.support.doctorbench import PCI, Bench, one


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench.of_its_own(tmp_path, monkeypatch)


@pytest.mark.process
def test_a_quick_examination_of_this_machine_is_stored_and_read_back(bench: Bench) -> None:
    report = examine(bench.home, quick=True)
    assert last_report(bench.home) == report
    assert {line.section for line in report.lines} == set(SECTIONS)
    assert report.quick
    assert one(list(report.lines), "probes").state == "absent"
    assert report.seconds < 20
    assert report.recommended.why


@pytest.mark.parametrize("content", ["", "[]", '{"lines": 3}', '{"time": 1, "lines": [{}], "recommended": {}}', "\x00"])
def test_a_stored_report_that_is_none_is_passed_over(bench: Bench, content: str) -> None:
    report_file(bench.home).write_text(content)
    assert last_report(bench.home) is None


@pytest.mark.process
def test_a_section_that_fails_costs_its_own_lines_and_no_others(bench: Bench) -> None:
    def broken(box: Machine) -> list[Diagnostic]:
        raise OSError(5, "Input/output error")

    class Unlucky(Examination):
        def sections(self) -> list[Any]:
            return [("gpu", broken) if name == "gpu" else (name, section) for name, section in super().sections()]

    report = Unlucky(bench.box(), quick=True).report()
    assert one([line for line in report.lines if line.section == "gpu"], "gpu").state == "fault"
    assert {line.section for line in report.lines} == set(SECTIONS)


@pytest.mark.process
def test_the_report_brings_nothing_heavy() -> None:
    asked = "import sys, core.doctor.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "yaml", "httpx", "psutil", "sqlite_utils", "torch", "textual"} & set(loaded)


@contextlib.contextmanager
def machine_of_the_command(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    bench.machine.use(monkeypatch)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(bench.home.root))
    yield


@pytest.mark.process
def test_the_command_says_by_its_exit_code_whether_something_is_at_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with machine_of_the_command(bench, monkeypatch):
        with pytest.raises(SystemExit) as left:
            main(["doctor", "--quick"])
        assert left.value.code == 0
        assert "recommended" in capsys.readouterr().out
        bench.machine.amd(PCI, kfd=False)
        with pytest.raises(SystemExit) as left:
            main(["doctor", "--quick", "--json"])
        assert left.value.code == 1
        document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["doctor"]["worst"] == "fault"
    assert Report.from_json(document["doctor"]) == last_report(bench.home)


def test_the_table_keeps_to_its_width_whatever_is_said() -> None:
    long = "a/" * 90 + " and " + "words " * 60
    lines = (
        Diagnostic("TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL", "ok", "set to 1: " + long, section="environment"),
        Diagnostic("gpu", "fault", long, "do " + long, "gpu"),
        Diagnostic("x", "absent", "", "", "gpu"),
    )
    report = Report(time.time(), lines, Recommended("", long))
    text = list(shown(report))
    assert max(map(len, text)) <= WIDTH
    assert any("nothing yet" in row for row in text)
    assert text[-1] == "1 ok, 1 fault, 1 absent; in 0 s"
    assert replace(report, lines=lines[:1]).worst == "ok"


@pytest.mark.parametrize(
    ("said", "numbers"), [("7.2.1-43", (7, 2, 1)), ("v0.33.0-rc2", (0, 33, 0)), ("6.4", (6, 4)), ("none", ()), ("", ())]
)
def test_versions_are_compared_by_their_numbers(said: str, numbers: tuple[int, ...]) -> None:
    assert version_numbers(said) == numbers
