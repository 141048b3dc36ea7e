"""Who the processes on a card are is read from their files once, and never from those of another with the same pid."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gpu.processes import booted, describe
from core.gpu.reading import ProcessReading
from core.home import Home
from core.telemetry.sampler import Sampler
from tests.support.depth import example_count
from tests.support.machines import FakeMachine, write
from tests.support.waiting import wait_until

BOOTED = 1_700_000_000
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    made = FakeMachine(tmp_path)
    # The counters before the line that is wanted are longer than a page on large machines.
    write(made.procfs, {"stat": f"cpu 1 2 3\nintr {'7 ' * 40_000}\nctxt 9\nbtime {BOOTED}\nprocesses 4"})
    return made


def described(machine: FakeMachine, pid: int = 310, **fields: str) -> ProcessReading:
    (process,) = describe([ProcessReading(pid, **fields)], machine.procfs)  # type: ignore[arg-type]
    return process


def test_a_process_is_told_by_user_command_and_beginning(machine: FakeMachine) -> None:
    machine.process(310, "python3", command=("python3", "-m", "http.server"), uid=0, start_ticks=25 * TICKS)
    assert described(machine) == ProcessReading(
        310, "python3", user=pwd.getpwuid(0).pw_name, command="python3 -m http.server", since=BOOTED + 25
    )


def test_a_user_without_a_name_is_a_number(machine: FakeMachine) -> None:
    machine.process(310, "python3", uid=3_999_999)
    assert described(machine).user == "3999999"


def test_a_long_and_hostile_command_is_cut_and_cannot_speak_to_the_terminal(machine: FakeMachine) -> None:
    machine.process(310, "x) S 1 (y", command=("\x1b[2J\x07evil\nname", "a" * 500), start_ticks=TICKS)
    found = described(machine)
    assert found.command is not None
    assert found.command.isprintable()
    assert len(found.command) == 80
    assert found.since == BOOTED + 1, "brackets in the name do not move the fields behind it"


def test_what_the_source_said_stays_of_a_process_that_cannot_be_looked_at(machine: FakeMachine) -> None:
    assert described(machine, 999, name="ollama", user="svc") == ProcessReading(999, "ollama", user="svc")
    machine.process(310, "python3")
    assert described(machine, name="trainer").name == "trainer"


def test_the_files_of_a_process_are_read_once(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.process(310, "python3")
    first = described(machine)
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **more: (opened.append(str(path)), real(path, *rest, **more))[1]
    )
    assert described(machine) == first
    assert [path.rpartition("/")[2] for path in opened] == ["stat"]


def test_a_pid_that_was_given_out_again_is_another_process(machine: FakeMachine) -> None:
    machine.process(310, "python3", command=("python3", "old.py"), start_ticks=TICKS)
    assert described(machine).command == "python3 old.py"
    machine.process(310, "python3", command=("python3", "new.py"), start_ticks=9 * TICKS)
    assert (described(machine).command, described(machine).since) == ("python3 new.py", BOOTED + 9)


def test_an_exec_changes_the_command(machine: FakeMachine) -> None:
    machine.process(310, "sh", command=("sh", "-c", "serve"))
    described(machine)
    machine.process(310, "serve", command=("serve",))
    assert described(machine).command == "serve"


def test_without_a_boot_time_the_beginning_is_unknown(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path).process(310, "python3")
    assert (described(machine).since, described(machine).command) == (None, "python3")


@pytest.mark.process
def test_a_real_process_is_described_as_it_is() -> None:
    before = time.time()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def described_with_its_words() -> ProcessReading | None:
        (found,) = describe([ProcessReading(child.pid)], Path("/proc"))
        return found if " -c " in (found.command or "") else None

    try:
        found = wait_until(described_with_its_words, what="its own words in the place of ours")
        assert found is not None
        assert found.command == f"{sys.executable} -c import time; time.sleep(600)"[:80]
        assert found.user == pwd.getpwuid(os.getuid()).pw_name
        assert found.since is not None
        assert before - 2 <= found.since <= time.time() + 1
    finally:
        child.kill()
        child.wait()
    assert describe([ProcessReading(child.pid)], Path("/proc")) == (ProcessReading(child.pid),)


def test_the_sampler_describes_what_its_source_lists(machine: FakeMachine, tmp_path: Path) -> None:
    machine.amd("0000:2b:00.0").process(310, "python3", command=("python3", "train.py"))
    write(machine.sysfs / "class/kfd/kfd/proc/310", {"vram_40001": "1000"})
    (process,) = Sampler(Home(tmp_path / "home").create(), environ=machine.environ).read().processes
    assert (process.pid, process.vram_bytes, process.command) == (310, 1000, "python3 train.py")


@settings(max_examples=example_count(150))
@given(
    st.dictionaries(
        st.sampled_from(["310/stat", "310/status", "310/cmdline", "310/comm", "stat"]),
        st.one_of(
            st.binary(max_size=200), st.sampled_from([b"310 (x) " + b"9" * 300, b"Uid:\t99999999999\n", b"btime 0\n"])
        ),
    )
)
def test_no_content_of_the_files_makes_describing_raise(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = FakeMachine(Path(folder)).process(310, "python3")
        write(machine.procfs, {"stat": f"btime {BOOTED}"})
        for name, content in files.items():
            (machine.procfs / name).write_bytes(content)
        booted.cache_clear()
        found = described(machine)
        assert found.command is None or found.command.isprintable()
        assert found.name is None or found.name.isprintable()
