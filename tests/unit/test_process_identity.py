"""A process is told from every other by the boot, its pid and when it began: with real processes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from core.process.identity import ProcessIdentity, current_boot_id, start_ticks
from tests.support.running import SLEEP, identity, running
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process


def test_a_process_is_itself_until_it_ends() -> None:
    with running(SLEEP) as process:
        known = identity(process)
        assert known.alive()
        assert ProcessIdentity.from_json(known.to_json()) == known
        process.kill()
        wait_until(lambda: not known.alive(), what="its end, although nobody has reaped it yet")
        assert process.returncode is None
        assert ProcessIdentity.of(process.pid) is None
    assert not known.alive()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"start_ticks": 5}, id="the pid was given out again"),
        pytest.param({"boot_id": "former boot"}, id="the machine restarted"),
    ],
)
def test_the_same_pid_can_be_another_process_and_is_not_signalled(other: dict[str, object]) -> None:
    with running(SLEEP) as process:
        known = ProcessIdentity.from_json({**identity(process).to_json(), **other})
        assert known is not None
        assert not known.alive()
        assert not known.signal_group(signal.SIGKILL)
        assert process.poll() is None


def test_a_name_with_parentheses_and_spaces_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a ) R 1 (b"
    program.symlink_to("/bin/sleep")
    with running([str(program), "600"]) as process:
        wait_until(lambda: ") R 1 (" in Path(f"/proc/{process.pid}/stat").read_text(), what="its name")
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        assert start_ticks(process.pid) == int(fields[19])


def test_a_signal_reaches_the_whole_group() -> None:
    family = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    with running([sys.executable, "-c", family]) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert identity(process).signal_group(signal.SIGTERM)
        wait_until(lambda: start_ticks(child) is None, what="the child's end")


def test_a_boot_is_told_by_the_kernel_or_for_tests_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAKEHOUSE_BOOT_ID", raising=False)
    assert current_boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "another")
    assert current_boot_id() == "another"
