"""What each process holds of a card, from fdinfo: each client once, and nothing beside KFD's figure of the same process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gpu.reading import ProcessReading
from core.gpu.sources.fdinfo import FULL_SCAN_SECONDS, Client, Fdinfo, FdinfoScanner, parse_fdinfo
from core.gpu.sources.sysfs import SysfsSource
from tests.support.depth import example_count
from tests.support.machines import FakeMachine, write

CARD, OTHER = "0000:2b:00.0", "0000:0a:00.0"
MIB = 2**20


def fdinfo(client: int, vram_kib: int = 0, gtt_kib: int = 0, *, pci: str = CARD, pasid: int = 0) -> str:
    return (
        f"pos:\t0\nflags:\t02100002\nmnt_id:\t31\nino:\t507\npasid:\t{pasid}\ndrm-driver:\tamdgpu\n"
        f"drm-client-id:\t{client}\ndrm-pdev:\t{pci}\ndrm-memory-vram:\t{vram_kib} KiB\ndrm-memory-gtt: \t{gtt_kib} KiB\n"
        "drm-memory-cpu: \t0 KiB\ndrm-engine-gfx:\t5012 ns"
    )


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path).amd(CARD)


def kfd(machine: FakeMachine, pid: int, used: int, pasid: int = 0) -> None:
    write(machine.sysfs / f"class/kfd/kfd/proc/{pid}", {"vram_40001": str(used), "pasid": str(pasid)})


def rows(machine: FakeMachine) -> list[tuple[int, str | None, int | None, int | None]]:
    _, processes = SysfsSource(machine.sysfs, machine.procfs).read()
    return [(row.pid, row.pci, row.vram_bytes, row.gtt_bytes) for row in processes]


# One file.


@pytest.mark.parametrize(
    ("lines", "vram", "gtt"),
    [
        ("drm-memory-vram:\t300 KiB\ndrm-memory-gtt:   20 KiB", 300 * 1024, 20 * 1024),
        ("drm-resident-vram:\t7 MiB\ndrm-resident-gtt:\t0", 7 * MIB, 0),
        # What was evicted counts in the total alone.
        ("drm-total-vram:\t9 MiB\ndrm-resident-vram:\t7 MiB\ndrm-shared-vram:\t1 MiB", 7 * MIB, None),
        ("drm-total-vram:\t9 MiB", 9 * MIB, None),
        ("drm-memory-vram: 4096", 4096, None),
        ("  drm-memory-vram:     12 KiB\r\n  drm-memory-gtt:\t3 KiB  ", 12 * 1024, 3 * 1024),
        ("drm-memory-vram:\t-5 KiB\ndrm-memory-gtt:\t12 furlongs", None, None),
        ("drm-memory-vram:\t" + "9" * 40 + " KiB", None, None),
        ("", None, None),
    ],
)
def test_the_memory_of_a_region_is_read_in_each_spelling_of_the_kernels(
    lines: str, vram: int | None, gtt: int | None
) -> None:
    info = parse_fdinfo(lines)
    assert (info.vram_bytes, info.gtt_bytes) == (vram, gtt)


def test_a_file_names_its_driver_card_and_client() -> None:
    assert parse_fdinfo(fdinfo(31, 300, 20, pasid=32801)) == Fdinfo(
        "amdgpu", CARD, 31, 300 * 1024, 20 * 1024, pasid=32801
    )


@settings(max_examples=example_count(300))
@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(fdinfo(3, 5, 7).split("\n"))).map("\n".join)))
def test_no_text_makes_the_parser_raise_or_invent(text: str) -> None:
    info = parse_fdinfo(text)
    assert info.vram_bytes is None or info.vram_bytes >= 0
    assert info.pci in (None, CARD)


# The processes of a machine.


def test_a_process_that_draws_is_listed_with_its_memory_and_one_without_a_card_is_not(machine: FakeMachine) -> None:
    opened = {0: "/dev/null", 4: "/dev/dri/renderD128"}
    machine.process(310, "mpv", opened=opened, fdinfo={4: fdinfo(8, 2048, 64)})
    machine.process(311, "bash", opened={0: "/dev/pts/0"}, fdinfo={0: "pos:\t0"})
    assert rows(machine) == [(310, CARD, 2 * MIB, 64 * 1024)]


def test_a_process_that_only_opened_the_card_is_not_listed(machine: FakeMachine) -> None:
    machine.process(310, "panel", opened={4: "/dev/dri/renderD128"}, fdinfo={4: fdinfo(8)})
    machine.process(311, "spilt", opened={4: "/dev/dri/renderD128"}, fdinfo={4: fdinfo(9, 0, 700)})
    assert rows(machine) == [(311, CARD, 0, 700 * 1024)]


def test_a_client_in_several_descriptors_and_processes_is_counted_once(machine: FakeMachine) -> None:
    links = {4: "/dev/dri/card0", 5: "/dev/dri/renderD128", 6: "/dev/dri/renderD128"}
    machine.process(310, "compositor", opened=links, fdinfo={4: fdinfo(8, 1024), 5: fdinfo(8, 1024), 6: fdinfo(9, 512)})
    machine.process(350, "child", opened={4: "/dev/dri/card0"}, fdinfo={4: fdinfo(8, 1024)})
    # It opens the card for others, and is older than all of them.
    machine.process(90, "systemd-logind", opened={9: "/dev/dri/card0"}, fdinfo={9: fdinfo(8, 1024)})
    assert rows(machine) == [(310, CARD, 1536 * 1024, 0)]


def test_the_same_number_on_another_card_is_another_client(machine: FakeMachine) -> None:
    machine.amd(OTHER, integrated=True)
    links = {4: "/dev/dri/renderD128", 5: "/dev/dri/renderD129"}
    machine.process(310, "browser", opened=links, fdinfo={4: fdinfo(8, 1024), 5: fdinfo(8, 256, pci=OTHER)})
    assert rows(machine) == [(310, CARD, 1024 * 1024, 0), (310, OTHER, 256 * 1024, 0)]


def test_another_driver_s_client_is_not_ours_to_list(machine: FakeMachine) -> None:
    foreign = fdinfo(8, 1024).replace("amdgpu", "i915")
    machine.process(310, "mpv", opened={4: "/dev/dri/renderD129"}, fdinfo={4: foreign})
    assert rows(machine) == []


# Beside KFD.


def test_a_rocm_process_has_kfd_s_figure_and_the_gtt_of_fdinfo(machine: FakeMachine) -> None:
    kfd(machine, 700, 5 * MIB)
    links = {5: "/dev/kfd", 6: "/dev/dri/renderD128"}
    machine.process(700, "python3", opened=links, fdinfo={6: fdinfo(12, 5 * 1024 + 300, 96)})
    assert rows(machine) == [(700, CARD, 5 * MIB, 96 * 1024)]


def test_what_a_process_draws_is_told_where_kfd_says_that_it_computes_with_nothing(machine: FakeMachine) -> None:
    kfd(machine, 700, 0)
    machine.process(700, "blender", opened={6: "/dev/dri/renderD128"}, fdinfo={6: fdinfo(12, 800)})
    assert rows(machine) == [(700, CARD, 800 * 1024, 0)]


def test_in_a_container_the_process_is_told_by_its_address_space_and_counted_once(machine: FakeMachine) -> None:
    kfd(machine, 91_700, 6 * MIB, pasid=32801)
    kfd(machine, 91_800, 3 * MIB, pasid=32805)
    links = {5: "/dev/kfd", 6: "/dev/dri/renderD128"}
    machine.process(17, "python3", opened=links, fdinfo={6: fdinfo(12, 6 * 1024, 8, pasid=32801)})
    assert rows(machine) == [(17, CARD, 6 * MIB, 8 * 1024), (91_800, CARD, 3 * MIB, None)]


def test_in_a_container_without_address_spaces_nothing_is_counted_twice(machine: FakeMachine) -> None:
    links = {5: "/dev/kfd", 6: "/dev/dri/renderD128"}
    kfd(machine, 91_700, 6 * MIB)
    machine.process(17, "python3", opened=links, fdinfo={6: fdinfo(12, 6 * 1024)})
    assert rows(machine) == [(17, CARD, 6 * MIB, 0)], "one of each: they are the same"
    kfd(machine, 91_800, 3 * MIB)
    machine.process(18, "python3", opened=links, fdinfo={6: fdinfo(13, 3 * 1024)})
    assert [row[2] for row in rows(machine)] == [6 * MIB, 3 * MIB]


# When it looks.


def opens_late(machine: FakeMachine, pid: int) -> None:
    machine.process(pid, "late", opened={4: "/dev/dri/renderD128"}, fdinfo={4: fdinfo(pid, 512)})


def test_a_new_process_is_found_by_the_next_full_scan_and_a_known_one_at_once(machine: FakeMachine) -> None:
    clock = Clock()
    scanner = FdinfoScanner(machine.procfs, clock)
    machine.process(310, "late", opened={0: "/dev/null"}, fdinfo={})
    assert scanner.read() == []
    opens_late(machine, 310)
    opens_late(machine, 320)
    clock.now += 1
    assert [client.pid for client in scanner.read({320})] == [320]
    clock.now += FULL_SCAN_SECONDS
    assert [client.pid for client in scanner.read()] == [310, 320]


def test_figures_follow_each_second_and_a_process_that_ended_is_gone(machine: FakeMachine) -> None:
    clock = Clock()
    scanner = FdinfoScanner(machine.procfs, clock)
    opens_late(machine, 310)
    assert scanner.read() == [Client(310, CARD, 512 * 1024, 0)]
    write(machine.procfs / "310/fdinfo", {"4": fdinfo(310, 9000)})
    clock.now += 1
    assert [client.vram_bytes for client in scanner.read()] == [9000 * 1024]
    (machine.procfs / "310/fdinfo/4").unlink()
    assert scanner.read() == []


def test_an_old_process_that_opens_the_card_at_last_is_found_within_a_minute(machine: FakeMachine) -> None:
    clock = Clock()
    scanner = FdinfoScanner(machine.procfs, clock)
    machine.process(310, "shell", opened={0: "/dev/null", 4: "/tmp/log"}, fdinfo={})
    for _ in range(60):
        scanner.read()
        clock.now += FULL_SCAN_SECONDS
    # By a descriptor that was another file before: the hardest to see.
    opens_late(machine, 310)
    begun = clock.now
    while not scanner.read():
        clock.now += 1
        assert clock.now - begun <= 60


def test_descriptors_that_are_known_are_not_looked_at_again(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    scanner = FdinfoScanner(machine.procfs, clock)
    for pid in range(300, 324):
        machine.process(pid, "daemon", opened=dict.fromkeys(range(20), "/dev/null"), fdinfo={})
    looked: list[str] = []
    real = os.readlink
    monkeypatch.setattr(os, "readlink", lambda path: (looked.append(str(path)), real(path))[1])
    counts = []
    for _ in range(40):
        looked.clear()
        scanner.read()
        counts.append(len(looked))
        clock.now += FULL_SCAN_SECONDS
    assert counts[0] == 24 * 20
    assert all(count == 2 * 20 for count in counts[-12:]), "a twelfth of the processes in each scan"


def test_the_real_proc_is_scanned_without_a_fault() -> None:
    for client in FdinfoScanner(Path("/proc")).read({os.getpid()}):
        assert client.pid > 0


hostile = st.one_of(
    st.binary(max_size=120), st.sampled_from([b"\0" * 40, b"drm-driver:\tamdgpu\n", fdinfo(1, 2, 3).encode()])
)


@settings(max_examples=example_count(100))
@given(
    files=st.dictionaries(
        st.sampled_from(["fdinfo/4", "fdinfo/5", "comm", "stat", "cmdline", "status"]), hostile, max_size=6
    ),
    pasid=hostile,
)
def test_no_content_of_a_process_s_files_makes_reading_raise(files: dict[str, bytes], pasid: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = FakeMachine(Path(folder)).amd(CARD)
        links = {4: "/dev/dri/renderD128", 5: "/dev/dri/card0", 6: "/dev/kfd"}
        machine.process(310, "odd", opened=links, fdinfo={4: fdinfo(8, 4), 5: fdinfo(9, 5)})
        kfd(machine, 310, 1000)
        kfd(machine, 911, 2000)
        (machine.sysfs / "class/kfd/kfd/proc/911/pasid").write_bytes(pasid)
        for name, content in files.items():
            (machine.procfs / "310" / name).write_bytes(content)
        _, processes = SysfsSource(machine.sysfs, machine.procfs).read()
        assert all(isinstance(row, ProcessReading) and (row.vram_bytes or 0) >= 0 for row in processes)
