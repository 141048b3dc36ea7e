"""`bakehouse gpu --watch` and `--prometheus`: a line for each sample, and a file that is whole at every moment."""

from __future__ import annotations

import itertools
import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.gpu.reading import HostReading, Sample
from core.telemetry.ring import TelemetryRing
from tests.support.depth import at_most
from tests.support.gpu_command import GpuCommand, living_runner
from tests.support.machines import write
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.process


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuCommand:
    return GpuCommand(tmp_path, monkeypatch)


@pytest.mark.timed
def test_watch_is_a_json_line_a_second_until_ctrl_c(box: GpuCommand) -> None:
    box.full_gpu()
    began = time.time()
    with box.watching() as process:
        assert process.stdout
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        write(box.machine.sysfs / "class/drm/card0/device", {"gpu_busy_percent": "3"})
        while [busy(line) for line in lines[-2:]] != [3, 3] and time.time() < began + PATIENCE_SECONDS:
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130 and errors.strip() == ""
    assert [busy(line) for line in lines] == [97] * (len(lines) - 2) + [3, 3]
    times = [line["sample"]["time"] for line in lines]
    assert times[-1] - began > len(times) - 1.1, times
    assert all(0 < later - former < at_most(5) for former, later in itertools.pairwise(times)), times
    assert all(json.loads(line)["schema"] == 1 for line in rest.splitlines())


def busy(line: dict[str, Any]) -> int:
    return int(line["sample"]["devices"][0]["busy_percent"])


def test_watch_ends_quietly_when_its_reader_leaves(box: GpuCommand) -> None:
    with box.watching("--interval", "0.2") as process:
        assert process.stdout and process.stderr
        assert json.loads(process.stdout.readline())["schema"] == 1
        process.stdout.close()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr.read() == ""


def test_watch_shows_each_sample_of_a_runner_once(box: GpuCommand) -> None:
    box.home.create()
    ring = TelemetryRing(box.home.telemetry)
    written = []
    with living_runner(box.home), box.watching("--interval", "0.2") as process:
        assert process.stdout
        seen = []
        for number in range(4):
            written.append(Sample(round(time.time(), 3), "none", HostReading(load_1m=float(number))))
            ring.append(written[-1])
            seen.append(json.loads(process.stdout.readline()))
            time.sleep(0.3)
    assert [line["sample"] for line in seen] == [sample.to_json() for sample in written]
    assert {line["taken_by"] for line in seen} == {"runner"}


def test_a_textfile_is_whole_at_every_moment_and_every_user_may_read_it(box: GpuCommand) -> None:
    box.full_gpu()
    folder = box.folder / "collector"
    folder.mkdir()
    file = folder / "bakehouse.prom"
    former = os.umask(0o077)
    try:
        with box.watching("--prometheus", str(file), "--interval", "0.2") as process:
            wait_until(file.exists, what="the textfile")
            inodes: set[int] = set()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(inodes) < 5 and time.monotonic() < deadline:
                page = file.read_text()
                inodes.add(file.stat().st_ino)
                families = {family.name for family in text_string_to_metric_families(page)}
                assert {"bakehouse_runner_up", "bakehouse_gpu_vram_used_bytes", "bakehouse_lease_held"} <= families
                assert stat.S_IMODE(file.stat().st_mode) == 0o644
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) == 130
            assert process.stdout and process.stdout.read() == ""
    finally:
        os.umask(former)
    assert len(inodes) > 1, "it was replaced, not written over"
    assert [path.name for path in folder.iterdir()] == ["bakehouse.prom"]


def test_a_link_in_the_textfiles_place_is_replaced_and_not_followed(box: GpuCommand) -> None:
    target = box.folder / "target"
    target.write_text("mine")
    file = box.folder / "bakehouse.prom"
    file.symlink_to(target)
    assert box.shown("--prometheus", str(file)) == ""
    assert target.read_text() == "mine" and not file.is_symlink()


def test_a_textfile_that_cannot_be_written_is_one_line_and_exit_code_1(box: GpuCommand) -> None:
    done = box.run("--prometheus", str(box.folder / "nowhere/bakehouse.prom"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and "cannot be written: No such file or directory" in done.stderr
    (box.folder / "taken.prom").mkdir()
    assert box.run("--prometheus", str(box.folder / "taken.prom")).returncode == 1
    assert not list(box.folder.glob(".taken*"))


def test_a_name_that_node_exporter_passes_over_is_told(box: GpuCommand) -> None:
    done = box.run("--prometheus", str(box.folder / "bakehouse.txt"))
    assert done.returncode == 0 and "only files that end in .prom" in done.stderr
    assert (box.folder / "bakehouse.txt").exists()
