"""What the kernel says of a card in trouble is recognised in every form of its log, once, and as text that can be shown."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gpu.sources.tool import Tool
from core.watchdog.kernel_log import MOST_MESSAGES, KernelLog
from core.watchdog.kernel_messages import KernelMessage, parse_kernel_lines
from tests.support.depth import example_count
from tests.support.waiting import wait_until

HUNG = "amdgpu 0000:2b:00.0: amdgpu: MES failed to respond to msg=ADD_QUEUE"
LINES = {
    HUNG: "mes_no_answer",
    "amdgpu 0000:2b:00.0: MES(1) failed to respond to msg=SUSPEND": "mes_no_answer",
    "[drm:mes_v11_0_submit_pkt [amdgpu]] *ERROR* MES failed to response msg=14": "mes_no_answer",
    "amdgpu: The cp might be in an unrecoverable state due to an unsuccessful queues preemption": "mes_unrecoverable",
    "amdgpu 0000:2b:00.0: amdgpu: MES might be in unrecoverable state, issue a GPU reset": "mes_unrecoverable",
    "amdgpu 0000:2b:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32801)": "page_fault",
    "amdgpu 0000:2b:00.0: amdgpu: [gfxhub0] no-retry page fault (src_id:0 ring:158 vmid:8)": "page_fault",
    "amdgpu 0000:2b:00.0: amdgpu: [mmhub] page fault (src_id:0 ring:40 vmid:1)": "page_fault",
    "amdgpu 0000:2b:00.0: GPU fault detected: 146 0x0a80480c": "page_fault",
    "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring comp_1.1.0 timeout, signaled seq=81": "ring_timeout",
    "amdgpu 0000:2b:00.0: amdgpu: GPU reset begin!. Source:  1": "gpu_reset",
    "[drm] VRAM is lost due to GPU reset!": "vram_lost",
    "[drm:amdgpu_cs_ioctl [amdgpu]] *ERROR* Not enough memory for command submission!": "command_memory",
    "amdgpu 0000:2b:00.0: [drm] device wedged, needs recovery": "device_wedged",
    "NVRM: Xid (PCI:0000:5e:00): 79, pid=4711, name=python, GPU has fallen off the bus.": "xid",
}
HARMLESS = [
    "amdgpu 0000:2b:00.0: amdgpu: GPU reset(3) succeeded!",
    "amdgpu 0000:2b:00.0: amdgpu: SMU is initialized successfully!",
    "usb 3-2: reset high-speed USB device number 4 using xhci_hcd",
    "python3[812]: segfault at 0 ip 00007f",
    "r8169 0000:04:00.0 enp4s0: Link is Up",
    "nvidia 0000:5e:00.0: Refused to change power state",
]


@pytest.mark.parametrize(("line", "code"), LINES.items())
def test_each_kind_of_trouble_has_its_code(line: str, code: str) -> None:
    assert [message.code for message in parse_kernel_lines(line)] == [code]


@pytest.mark.parametrize("line", HARMLESS)
def test_other_messages_of_the_kernel_are_none_of_ours(line: str) -> None:
    assert parse_kernel_lines(line) == []


@pytest.mark.parametrize(
    ("form", "moment"),
    [
        ("{}", None),
        ("[  812.250000] {}", 1_000_812.25),
        ("<3>[  812.250000] {}", 1_000_812.25),
        ("[  812.250000 <    0.000031>] {}", 1_000_812.25),
        ("[  812.250000] [   T4211] {}", 1_000_812.25),
        ("[  812.250000][    C3] {}", 1_000_812.25),
        ("kern  :err   : [  812.250000] {}", 1_000_812.25),
        ("[Tue Mar  3 18:09:44 2026] {}", None),
        ("[Mar 3 18:09] {}", None),
        ("[  +0.000031] {}", None),
        ("2026-03-03T18:09:44,031000+01:00 {}", None),
        ("3,2204,812250000,-;{}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:2b:00.0", 1_000_812.25),
        ("3,2204,812250000,-,caller=T71;{}", 1_000_812.25),
        ("1700000812.250000 box kernel: {}", 1_700_000_812.25),
        ("Mar 03 18:09:44 box kernel: {}", None),
        ("2026-03-03T18:09:44.031+0100 box kernel: [  812.250000] {}", None),
    ],
)
def test_a_message_is_the_same_in_every_form_of_the_log(form: str, moment: float | None) -> None:
    text = "\n".join([HARMLESS[0], form.format(HUNG), HARMLESS[1]])
    assert parse_kernel_lines(text, booted=1_000_000.0) == [
        KernelMessage("mes_no_answer", HUNG, "0000:2b:00.0", moment)
    ]


def test_the_card_is_named_as_elsewhere_and_not_guessed() -> None:
    cards = [message.pci for line in LINES for message in parse_kernel_lines(line.replace("00.0", "00.1"))]
    assert set(cards) == {"0000:2b:00.1", "0000:5e:00.0", None}


def test_a_hostile_process_name_in_a_message_cannot_speak_to_the_terminal() -> None:
    (message,) = parse_kernel_lines(f"{HUNG} by \x1b]0;owned\x07 {'x' * 5000}")
    assert message.text.isprintable()
    assert len(message.text) <= 300


@settings(max_examples=example_count(300))
@given(
    st.lists(
        st.one_of(st.text(max_size=80), st.sampled_from([*LINES, "[", "[1.", "1,2,3,-;", "<9>[9.9]", "> ", "\0"])),
        max_size=8,
    ),
    st.sampled_from(["\n", "", "\r\n", ": "]),
)
def test_no_text_makes_the_parser_raise(parts: list[str], between: str) -> None:
    for message in parse_kernel_lines(between.join(parts), booted=5.0):
        assert message.text.isprintable()


# Following a log.


def codes(log: KernelLog) -> list[str]:
    return [message.code for message in log.new()]


def test_of_a_file_only_what_is_written_after_it_was_opened_is_new_and_each_message_once(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.write_text(f"{HUNG}\n")
    log = KernelLog(str(path))
    assert codes(log) == []
    with path.open("a") as file:
        file.write("[  812.25] amdgpu 0000:2b:00.0: GPU reset begin!\n[  812.31] VRAM is lost due to GPU re")
        file.flush()
        asked = time.time()
        (message,) = log.new()
        assert (message.code, message.pci) == ("gpu_reset", "0000:2b:00.0")
        assert message.time is not None
        assert asked - 5 <= message.time <= time.time(), "a stamp of another clock does not date it"
        file.write("set!\n")
        file.flush()
        assert codes(log) == ["vram_lost"], "a line that was half written is read when it is whole"
    assert (codes(log), log.problem) == ([], None)
    log.close()


def test_a_file_that_comes_later_is_read_from_its_beginning_and_one_that_is_cut_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kmsg"
    monkeypatch.setenv("BAKEHOUSE_KMSG", str(path))
    log = KernelLog()
    assert codes(log) == []
    assert log.problem is not None
    assert "No such file" in log.problem
    path.write_text(f"{HUNG}\n{HUNG}\n")
    assert (codes(log), log.problem) == (["mes_no_answer"] * 2, None)
    path.write_text(f"{HUNG}\n")
    assert codes(log) == ["mes_no_answer"]
    log.close()


def test_a_fifo_is_followed_without_waiting_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    log = KernelLog(str(path))
    assert codes(log) == []
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, b"3,77,812250000,-;" + HUNG.encode() + b"\n")
    assert codes(log) == ["mes_no_answer"]
    assert codes(log) == []
    os.close(writer)
    log.close()


def test_a_flood_is_cut_and_the_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.touch()
    log = KernelLog(str(path))
    fault = next(line for line, code in LINES.items() if code == "page_fault")
    with path.open("a") as file:
        file.write(f"{fault}\n" * 5000)
    assert len(log.new()) == MOST_MESSAGES
    with path.open("a") as file:
        file.write(f"{HUNG}\n")
    assert codes(log) == ["page_fault", "mes_no_answer"], "the last fault waited for the line that names its process"
    log.close()


@pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK), reason="this machine does not let us read /dev/kmsg")
def test_the_real_log_is_followed_from_now_on() -> None:
    log = KernelLog("/dev/kmsg")
    assert log.new() == []
    log.close()


# Tools, where the file cannot be read.


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str, str], Tool]:
    """A program of that name on PATH: a real process that prints what its script says."""

    def make(name: str, script: str) -> Tool:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return Tool(name, {"PATH": f"{path.parent}:{os.environ['PATH']}"})

    return make


def eventually(log: KernelLog, enough: Callable[[], bool]) -> list[KernelMessage]:
    found: list[KernelMessage] = []

    def looked() -> bool:
        found.extend(log.new())
        return enough()

    wait_until(looked, what="what the tools say")
    return found + log.new()


def first_of(log: KernelLog) -> list[KernelMessage]:
    """The first news."""
    return list(wait_until(log.new, what="news"))


@pytest.mark.process
def test_dmesg_tells_what_came_since_and_is_asked_without_waiting(
    tmp_path: Path, tool: Callable[[str, str], Tool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.watchdog.kernel_log.TOOL_EVERY_SECONDS", 0.05)
    said = tmp_path / "said"
    said.write_text(f"[  800.000001] {HUNG}\n[  801.500000] {HARMLESS[0]}\n")
    asked = tmp_path / "asked"
    go = tmp_path / "go"
    dmesg = tool("dmesg", f"while ! [ -e {go} ]; do sleep 0.02; done; cat {said}; echo x >> {asked}")
    log = KernelLog(str(tmp_path / "absent"), tools=(dmesg,))
    assert log.new() == []
    assert not asked.exists(), "the tool still runs"
    go.touch()
    assert eventually(log, asked.exists) == [], "what was there before is not new"
    with said.open("a") as file:
        file.write(f"[  802.000000] {HUNG}\n")
    assert [message.code for message in first_of(log)] == ["mes_no_answer"]
    times = len(asked.read_text())
    assert eventually(log, lambda: len(asked.read_text()) > times + 8) == [], "it is told once"
    assert log.problem is None


@pytest.mark.process
def test_where_dmesg_is_refused_the_journal_is_asked(tmp_path: Path, tool: Callable[[str, str], Tool]) -> None:
    refused = tool("dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1")
    journal = tool("journalctl", f'echo "$(($(date +%s) + 1)).900000 box kernel: {HUNG}"; sleep 0.05')
    log = KernelLog(str(tmp_path / "absent"), tools=(refused, journal))
    assert [(message.code, message.pci) for message in first_of(log)] == [("mes_no_answer", "0000:2b:00.0")]
    assert log.problem is None


@pytest.mark.process
def test_the_journal_is_asked_for_the_second_that_is_under_way(
    tmp_path: Path, tool: Callable[[str, str], Tool]
) -> None:
    stamps = "\n".join(f"{stamp} box kernel: {HUNG}" for stamp in (1700000000.5, 1700000000.875))
    journal = tool("journalctl", f"[ \"$6\" = @1700000000 ] || exit 0\ncat << 'END'\n{stamps}\nEND\nsleep 0.05")
    log = KernelLog(str(tmp_path / "absent"), tools=(journal,), clock=lambda: 1700000000.75)
    assert [message.code for message in first_of(log)] == ["mes_no_answer"], "not that of before it began"


@pytest.mark.process
def test_where_nothing_may_be_read_the_reasons_are_told(tmp_path: Path, tool: Callable[[str, str], Tool]) -> None:
    refused = tool("dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1")
    journal = tool(
        "journalctl", "echo 'Hint: You are currently not seeing messages from other users and the system.' >&2"
    )
    log = KernelLog(str(tmp_path / "absent"), tools=(refused, journal))
    assert eventually(log, lambda: "not seeing messages" in (log.problem or "")) == []
    assert log.problem is not None
    assert "absent cannot be read" in log.problem
    assert "Operation not permitted" in log.problem
