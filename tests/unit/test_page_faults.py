"""A page fault in the kernel's log is laid at the right door: a job's, another program's, or nobody's who is named."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.attempt.launcher import Observation
from core.attempt.local import LocalLauncher
from core.config.settings import WatchSettings
from core.files import read_lines, write_json
from core.gpu.devices import Gpu
from core.gpu.sources.tool import Tool
from core.gpu_lease.gpu_fault import GpuFault
from core.home import AttemptDir, Home
from core.process.identity import ProcessIdentity, current_boot_id
from core.watchdog.kernel_log import KernelLog
from core.watchdog.kernel_messages import KernelMessage, parse_kernel_lines
from core.watchdog.page_faults import may_be_a_fault, said_by_job
from core.watchdog.run_monitor import RunMonitor
from tests.support.attempts import begin_attempt, home_with_kernel_log, row
from tests.support.waiting import wait_until

PCI, OTHER = "0000:2b:00.0", "0000:2f:00.0"
GPU = Gpu(PCI, "amd", "Stand-in", False, 0)
IN_A_LINE = (
    "{at}amdgpu {pci}: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32770, "
    "for process {name} pid {pid} thread {name} pid {pid})\n"
)
BEHIND = (
    "{at}amdgpu {pci}: amdgpu: [gfxhub] page fault (src_id:0 ring:173 vmid:8 pasid:32791)\n"
    "{at}amdgpu {pci}: amdgpu:  Process {name} pid {pid} thread {name} pid {pid}\n"
    "{at}amdgpu {pci}: amdgpu:   in page starting at address 0x00007f5ad1400000 from client 10\n"
)
NO_RETRY = (
    "{at}amdgpu {pci}: amdgpu: [gfxhub0] no-retry page fault (src_id:0 ring:24 vmid:3 pasid:32769)\n"
    "{at}amdgpu {pci}: amdgpu:  for process {name} pid {pid} thread {name} pid {pid})\n"
)
IN_PROCESS = (
    "{at}amdgpu {pci}: [gfxhub] page fault (src_id:0 ring:24 vmid:3 pasid:32770)\n"
    "{at}amdgpu {pci}:   in page starting at address 0x00008001089f0000 from client 10\n"
    "{at}amdgpu {pci}:  in process {name} pid {pid} thread {name}:cs0 pid {pid})\n"
)
MEMORY_HUB = (
    "{at}amdgpu {pci}: amdgpu: [mmhub0] no-retry page fault (src_id:0 ring:24 vmid:8 pasid:32768, "
    "for process {name} pid {pid} thread {name} pid {pid})\n"
)
XID = (
    "{at}NVRM: Xid (PCI:{bus}): 31, pid={pid}, name={name}, Ch 00000010, intr 00000000. MMU Fault: ENGINE CE2 HUBCLIENT_CE0 "
    "faulted @ 0x7f29_5b8c9000. Fault is of type FAULT_PRIV_VIOLATION ACCESS_TYPE_VIRT_READ\n"
)
XID_CHANNEL = (
    "{at}NVRM: Xid (PCI:{bus}): 31, pid={pid}, name={name}, channel 0x0000000c, intr 00000000. MMU Fault: ENGINE GRAPHICS "
    "GPC2 GPCCLIENT_PROP_0 faulted @ 0x0_00000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ\n"
)
XID_NAMELESS = (
    "{at}NVRM: Xid (PCI:{bus}): 31, pid={pid}, Ch 0000003d, intr 10000000. MMU Fault: ENGINE NVDEC HUBCLIENT_NVDEV "
    "faulted @ 0x0_00000000\n"
)
NAMED = (IN_A_LINE, BEHIND, NO_RETRY, IN_PROCESS, MEMORY_HUB, XID, XID_CHANNEL)
UNNAMED = (
    "{at}amdgpu {pci}: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32801)\n",
    "{at}amdgpu {pci}: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32770, for process  pid 0 thread  pid 0)\n",
    "{at}NVRM: Xid (PCI:{bus}): 31, Ch 0000003a, intr 10000000. MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_3 faulted @ 0x17_005\n",
    "{at}NVRM: Xid (PCI:{bus}): 31, pid='<unknown>', name=<unknown>, Ch 00000008\n",
)


def written(form: str, pid: int = 4711, name: str = "python3", *, pci: str = PCI, at: str = "") -> str:
    return form.format(pid=pid, name=name, pci=pci, bus=pci.partition(".")[0], at=at)


def stamp() -> str:
    return f"[{time.clock_gettime(time.CLOCK_MONOTONIC):13.6f}] "


# The kernel's words.


@pytest.mark.parametrize("form", [*NAMED, XID_NAMELESS])
@pytest.mark.parametrize("name", ["python3", "pt_main_thread", "my job", "rocm-bandwidth-"])
def test_the_process_of_a_fault_is_read_in_every_form(form: str, name: str) -> None:
    (found,) = parse_kernel_lines(written(form, 846049, name))
    assert (found.code, found.pid, found.pci) == ("page_fault", 846049, PCI)
    assert found.process == ("" if form == XID_NAMELESS else name)


@pytest.mark.parametrize("form", UNNAMED)
def test_a_fault_whose_process_the_kernel_does_not_know_has_none(form: str) -> None:
    (found,) = parse_kernel_lines(written(form))
    assert (found.code, found.pid, found.process) == ("page_fault", None, "")


def test_the_faults_of_two_gpus_whose_lines_are_mixed_each_have_their_own_process() -> None:
    first, second = written(BEHIND, 4277).splitlines(), written(BEHIND, 4278, pci=OTHER).splitlines()
    mixed = "\n".join(line for pair in zip(first, second, strict=True) for line in pair)
    assert {(one.pci, one.pid) for one in parse_kernel_lines(mixed)} == {(PCI, 4277), (OTHER, 4278)}


def test_the_records_of_kmsg_have_lines_of_their_own_between_them() -> None:
    records = "".join(
        f"3,{2204 + number},812250000,-;{line}\n SUBSYSTEM=pci\n DEVICE=+pci:{PCI}\n"
        for number, line in enumerate(written(IN_PROCESS).splitlines())
    )
    (found,) = parse_kernel_lines(records, booted=0.0)
    assert (found.pid, found.time) == (4711, 812.25)


def test_what_another_message_says_of_a_process_is_no_fault_of_that() -> None:
    hung = f"amdgpu {PCI}: [drm] *ERROR* Process information: process cs2 pid 20579 thread cs2 pid 20606\n"
    (found,) = parse_kernel_lines(written(UNNAMED[0]) + hung)
    assert found.pid is None
    assert parse_kernel_lines(hung) == []
    assert [one.code for one in parse_kernel_lines(written(XID).replace(": 31,", ": 310,"))] == ["xid"]


def test_a_fault_waits_for_the_line_that_names_its_process_and_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.touch()
    log = KernelLog(str(path))
    first, *others = written(NO_RETRY).splitlines(keepends=True)

    def say(text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    say(first)
    began = time.monotonic()
    assert log.new() == [] and not log.told_after(began)
    say("".join(others))
    assert [one.pid for one in log.new()] == [4711] and log.told_after(began)
    say(first)
    assert log.new() == []
    assert [one.pid for one in log.new()] == [None] and log.told_after(began)
    log.close()


def test_a_log_that_is_opened_late_tells_what_was_said_since(tmp_path: Path) -> None:
    path, now = tmp_path / "kmsg", time.clock_gettime(time.CLOCK_MONOTONIC)
    old, new = f"[{now - 500:.6f}] ", f"[{now - 5:.6f}] "
    path.write_text(written(IN_A_LINE, 1, at=old) + written(IN_A_LINE, 2, at=new) + written(IN_A_LINE, 3))
    log = KernelLog(str(path), since=time.time() - 60)
    assert [one.pid for one in log.new()] == [2], "one without a time may be any age"
    log.close()


@pytest.mark.process
def test_a_tool_is_asked_at_once_by_whoever_has_to_know(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_text("[    1.000000] booted\n")
    dmesg = tmp_path / "dmesg"
    dmesg.write_text(f"#!/bin/sh\ncat {said}\n")
    dmesg.chmod(0o755)
    log = KernelLog(str(tmp_path / "none"), tools=(Tool("dmesg", {"PATH": f"{tmp_path}:{os.defpath}"}),))
    found: list[KernelMessage] = []

    def told(after: float) -> bool:
        log.ask_soon()
        found.extend(log.new())
        return log.told_after(after)

    wait_until(lambda: told(0.0), what="the first look, by which what is old is known")
    said.write_text("[    1.000000] booted\n" + written(BEHIND, at="[    2.500000] "))
    after = time.monotonic()
    wait_until(lambda: told(after), what="a look that began after that")
    assert log._reader is not None and log._reader._thread is not None
    log._reader._thread.join()  # so that no process starts in the next test
    assert [(one.code, one.pid) for one in found] == [("page_fault", 4711)]


# Whose it is.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return home_with_kernel_log(tmp_path, monkeypatch)


@pytest.fixture
def attempt(home: Home) -> AttemptDir:
    """One whose job is this process."""
    made = begin_attempt(home)
    mine = ProcessIdentity.of(os.getpid())
    assert mine is not None
    write_json(made.run_json, {"job": mine.to_json()})
    return made


def watching(home: Home, attempt: AttemptDir, **changes: Any) -> RunMonitor:
    monitor = RunMonitor(home, WatchSettings(), GPU, LocalLauncher(home, GPU))
    monitor.follow(row(**{"boot_id": current_boot_id(), **changes}), attempt)
    return monitor


def findings(attempt: AttemptDir) -> list[tuple[str, bool]]:
    return [(line["code"], line["stop"]) for line, _ in read_lines(attempt.watch)]


def say(home: Home, text: str) -> None:
    with (home.root.parent / "kmsg").open("a") as file:
        file.write(text)


CRASHED = Observation("ended", signal=6)


@pytest.mark.parametrize("form", NAMED)
def test_a_fault_of_the_job_s_process_ends_the_run_and_is_handed_on(home: Home, attempt: AttemptDir, form: str) -> None:
    monitor = watching(home, attempt)
    say(home, written(form, os.getpid(), at=stamp()) * 50)
    stops = [(job, finding.code, finding.stop) for job, finding in monitor.tick()]
    assert stops == [(7, "gpu_fault", True)], "fifty messages of one process are one fault"
    assert findings(attempt) == [("gpu_fault", True)]
    (fault,) = monitor.take_faults()
    assert (fault.job_id, fault.pid, fault.elsewhere) == (7, os.getpid(), False)
    assert monitor.take_faults() == [] == monitor.tick()
    assert "fault" in str(monitor.fault_of(attempt, CRASHED, "b")).lower()


@pytest.mark.parametrize("form", NAMED)
def test_a_fault_of_another_program_is_none_of_the_job_s(home: Home, attempt: AttemptDir, form: str) -> None:
    monitor = watching(home, attempt)
    say(home, written(form, os.getppid(), "kwin_wayland", at=stamp()))
    assert monitor.tick() == [] and findings(attempt) == []
    (fault,) = monitor.take_faults()
    assert (fault.job_id, fault.elsewhere, fault.process) == (None, True, "kwin_wayland")
    assert monitor.fault_of(attempt, CRASHED, "b") is None


@pytest.mark.parametrize("form", UNNAMED)
def test_a_fault_that_nobody_is_named_for_is_laid_at_no_door(home: Home, attempt: AttemptDir, form: str) -> None:
    monitor = watching(home, attempt)
    say(home, written(form, at=stamp()))
    for _ in range(2):  # the line that names the process could have been on its way
        monitor.kernel_asked = float("-inf")
        assert monitor.tick() == [] and findings(attempt) == []
    (fault,) = monitor.take_faults()
    assert (fault.job_id, fault.elsewhere) == (None, False)
    assert monitor.fault_of(attempt, CRASHED, "b") is None


def test_in_a_container_with_pids_of_its_own_no_pid_of_the_kernel_is_believed(
    home: Home, attempt: AttemptDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = watching(home, attempt)
    monitor.tick()
    assert monitor.kernel is not None
    monkeypatch.setattr(monitor.kernel, "names_our_pids", False)
    monitor.kernel_asked = float("-inf")
    say(home, written(IN_A_LINE, os.getpid(), at=stamp()))
    assert monitor.tick() == []
    assert [(fault.job_id, fault.elsewhere) for fault in monitor.take_faults()] == [(None, False)]


def test_a_fault_on_another_gpu_is_not_looked_at(home: Home, attempt: AttemptDir) -> None:
    monitor = watching(home, attempt)
    say(home, written(IN_A_LINE, os.getpid(), pci=OTHER, at=stamp()))
    assert (monitor.tick(), monitor.take_faults()) == ([], [])


def test_the_next_runner_tells_it_again_to_whoever_has_to_act_and_not_after_a_restart(
    home: Home, attempt: AttemptDir
) -> None:
    say(home, written(IN_A_LINE, os.getpid(), at=stamp()))
    watching(home, attempt, created_at=time.time() - 60).tick()
    second = watching(home, attempt)
    assert [finding.code for _, finding in second.tick()] == ["gpu_fault"], "nobody may have asked for the stop yet"
    assert [fault.boot_id for fault in second.take_faults()] == [current_boot_id()]
    assert findings(attempt) == [("gpu_fault", True)]
    (fault,) = watching(home, attempt, boot_id="former-boot").take_faults()
    assert fault.boot_id == "former-boot", "the lease knows by that that the machine has restarted"


def test_a_fault_from_before_a_runner_took_over_is_found(home: Home, attempt: AttemptDir) -> None:
    say(home, written(BEHIND, os.getpid(), at=stamp()))
    monitor = watching(home, attempt, created_at=time.time() - 60)
    assert monitor.knows_the_end(attempt, CRASHED)
    assert [fault.job_id for fault in monitor.take_faults()] == [7]
    assert monitor.fault_of(attempt, CRASHED, "b")


ROCR = (
    "Memory access fault by GPU node-1 (Agent handle: 0x55f0c1) on address 0x7f66384. "
    "Reason: Page not present or supervisor privilege."
)


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (f"step 7/40\n{ROCR}\nAborted (core dumped)\n", True),
        ("Memory access fault by GPU node-2 on address (nil). Reason: Unknown.\n", True),
        ("torch.AcceleratorError: HIP error: an illegal memory access was encountered\nSearch for it\n", True),
        ("RuntimeError: HIP error: illegal address\n", True),
        ("the example says: Memory access fault by GPU node-1\n", False),
        ("torch.AcceleratorError: HIP error: out of memory\n", False),
        ("HW Exception by GPU node-1 reason :GPU Hang\n", False),
        ("", False),
    ],
)
def test_a_job_s_own_last_words_tell_it_where_the_kernel_s_log_is_closed(
    home: Home, attempt: AttemptDir, log: str, found: bool
) -> None:
    attempt.log.write_text(log)
    monitor = watching(home, attempt)
    assert (monitor.fault_of(attempt, CRASHED, "b") is not None) == found
    assert [(fault.job_id, fault.boot_id) for fault in monitor.take_faults()] == ([(7, "b")] if found else [])
    assert monitor.fault_of(attempt, Observation("ended", exit_code=0), "b") is None or found
    assert findings(attempt) == ([("gpu_fault", True)] if found else [])


def test_words_of_an_attempt_that_ended_well_are_no_fault(home: Home, attempt: AttemptDir) -> None:
    attempt.log.write_text(f"{ROCR}\n")
    assert said_by_job(attempt)
    for seen in (Observation("ended", exit_code=0), Observation("ended", exit_code=75), Observation("ended", signal=2)):
        assert not may_be_a_fault(seen)
        assert watching(home, attempt).fault_of(attempt, seen, "b") is None


LINES = st.lists(
    st.tuples(
        st.sampled_from([*NAMED, *UNNAMED, XID_NAMELESS]), st.integers(1, 4_000_000), st.sampled_from([PCI, OTHER])
    ),
    max_size=8,
)


@given(LINES, st.permutations(range(3)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_kernel_says_of_others_the_job_is_never_held_for_it(
    tmp_path_factory: pytest.TempPathFactory, lines: Iterable[tuple[str, int, str]], order: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        home = home_with_kernel_log(tmp_path_factory.mktemp("faults"), patch)
        attempt = begin_attempt(home)
        mine = ProcessIdentity.of(os.getpid())
        assert mine is not None
        write_json(attempt.run_json, {"job": mine.to_json()})
        monitor = watching(home, attempt)
        others = [one for one in lines if one[1] not in (os.getpid(), os.getpgid(0)) and not _in_our_group(one[1])]
        for number in order:
            say(home, "".join(written(form, pid, pci=pci, at=stamp()) for form, pid, pci in others[number::3]))
            monitor.kernel_asked = float("-inf")
            assert monitor.tick() == []
        monitor.kernel_asked = float("-inf")
        assert monitor.tick() == [] and findings(attempt) == []
        assert all(fault.job_id is None for fault in monitor.take_faults())


def _in_our_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpid()
    except ProcessLookupError:
        return False


def test_a_file_of_a_fault_is_read_as_it_was_written() -> None:
    fault = GpuFault("[gfxhub] page fault", 12.5, "boot", 7, 4711, "python3")
    assert GpuFault.from_json(fault.to_json()) == fault
    for broken in ([], {}, {"text": 1, "time": 2, "boot_id": "b"}, {**fault.to_json(), "job_id": "7"}):
        with pytest.raises(ValueError):
            GpuFault.from_json(broken)
