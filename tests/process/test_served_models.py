"""A served model as processes: what ends it, what does not, and how it comes back. A small program stands for llama-server."""

from __future__ import annotations

import os
import pty
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import BakehouseError
from core.process.locks import held
from core.reasons import Reason
from core.served.away import away_for, call_back, is_gone, send_away
from core.served.control import remove, start, stop
from core.served.llama_server import is_healthy
from core.served.revival import revive
from core.served.state import is_running, read_state, written_state
from tests.support.runners import runners_of
from tests.support.served_models import kill, reached
from tests.support.served_oven import NAME, Oven, misses_a_runner, oven
from tests.support.waiting import wait_until

__all__ = ["misses_a_runner", "oven"]


def test_it_loads_and_serves_beyond_the_terminal_it_was_started_from(oven: Oven) -> None:
    oven.tell("hold")
    begin = (
        "import sys, time; from pathlib import Path; from core.home import Home; from core.served.control import start"
    )
    words = ["-c", f"{begin}; start(Home(Path(sys.argv[1])), sys.argv[2]); time.sleep(600)", str(oven.home.root), NAME]
    shell, terminal = pty.fork()
    if shell == 0:
        os.execv(sys.executable, [sys.executable, "-P", *words])
    wait_until(lambda: read_state(oven.home, NAME).pid, what="llama-server has begun")
    state = read_state(oven.home, NAME)
    assert state.phase == "loading" and state.shim is not None and os.getsid(state.shim.pid) != shell
    os.close(terminal)  # the kernel sends SIGHUP to the session, as at a logout
    os.waitpid(shell, 0)
    os.kill(state.shim.pid, signal.SIGHUP)
    os.kill(state.shim.pid, signal.SIGINT)
    assert read_state(oven.home, NAME).phase == "loading"
    oven.tell()
    assert oven.serving().shim == state.shim
    assert oven.starts == 1
    for stream in ("0", "1", "2"):
        assert Path(f"/proc/{state.shim.pid}/fd/{stream}").readlink() == Path(os.devnull)


def test_one_that_dies_is_started_again_and_one_that_goes_on_dying_has_failed_until_it_no_more_does(oven: Oven) -> None:
    start(oven.home, NAME)
    first = oven.serving()
    assert first.pid is not None
    kill(first.pid)
    wait_until(lambda: oven.starts == 2, what="the second start")
    second = oven.serving()
    assert second.shim == first.shim and second.pid != first.pid

    oven.tell("die")
    kill(second.pid or 0)
    failed = reached(oven.home, NAME, "failed")
    assert failed.reason is not None and failed.deaths == 5
    assert "was ended by SIGKILL: GGML_ASSERT(oven != cold)" in str(failed.reason.values["said"])
    assert failed.reason.values["retry_seconds"] == 16.0 and failed.server is None
    oven.tell()
    assert oven.serving().reason is None


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [("refuse", "refused", "unknown model architecture: 'bread'"), ("memory", "out_of_memory", "out of memory")],
)
def test_what_another_try_would_not_change_has_failed_at_once_with_its_reason(
    oven: Oven, word: str, code: str, said: str
) -> None:
    oven.tell(word)
    start(oven.home, NAME)
    reason = reached(oven.home, NAME, "failed").reason
    assert reason is not None and (reason.code, oven.starts) == (code, 1)
    assert said in str(reason.values["said"])
    oven.tell()
    oven.serving()


def test_a_port_that_another_program_has_is_told_and_taken_once_it_is_free(oven: Oven) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", oven.port))
        other.listen()
        start(oven.home, NAME)
        reason = Reason("port_taken", {"port": oven.port, "retry_seconds": 5.0})
        assert reached(oven.home, NAME, "failed").reason == reason
        assert oven.starts == 0
    oven.serving()


def test_a_shim_that_is_killed_takes_its_server_along_and_is_revived_unless_it_was_stopped(oven: Oven) -> None:
    start(oven.home, NAME)
    state = oven.serving()
    assert state.shim is not None and state.server is not None
    kill(state.shim.pid)
    server = state.server
    wait_until(lambda: not server.alive(), what="the server's end")
    assert read_state(oven.home, NAME).reason == Reason("shim_gone") and is_gone(oven.home, NAME)
    assert revive(oven.home) == [NAME]
    oven.serving()
    assert revive(oven.home) == []
    assert stop(oven.home, NAME) and not stop(oven.home, NAME)
    assert read_state(oven.home, NAME).reason == Reason("by_person")
    assert revive(oven.home) == [] and not is_healthy(oven.port)
    start(oven.home, NAME)
    oven.serving()


def test_a_shim_that_is_killed_before_it_has_done_anything_is_revived(oven: Oven) -> None:
    """Its lock and its state come first: a folder without a state is that of a served model which nobody has started."""
    assert revive(oven.home) == []
    dies = "import os, sys; from core.served import shim; shim.Supervisor = lambda *words: os._exit(9); shim.main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-P", "-c", dies, "--foreground", str(oven.folder.path)], check=False)
    assert done.returncode == 9 and read_state(oven.home, NAME).reason == Reason("shim_gone")
    assert revive(oven.home) == [NAME]
    oven.serving()


def test_a_signal_to_end_ends_both_in_order(oven: Oven) -> None:
    """As systemd and a shutdown send it."""
    start(oven.home, NAME)
    state = oven.serving()
    assert state.shim is not None
    os.kill(state.shim.pid, signal.SIGTERM)
    wait_until(lambda: not is_running(oven.folder), what="the shim's end")
    ended = read_state(oven.home, NAME)
    assert (ended.phase, ended.reason, ended.server) == ("stopped", Reason("ended", {"signal": "SIGTERM"}), None)
    assert not is_healthy(oven.port)


def test_it_is_away_for_a_job_and_comes_back_when_it_is_called(oven: Oven) -> None:
    start(oven.home, NAME)
    state = oven.serving()
    send_away(oven.home, NAME, 7)
    wait_until(lambda: is_gone(oven.home, NAME), what="it is gone")
    assert not is_healthy(oven.port)
    away = read_state(oven.home, NAME)
    assert (away.phase, away.reason) == ("away", Reason("away", {"jobs": [7]}))
    kill(away.shim.pid if away.shim else 0)  # and stays away with another shim
    wait_until(lambda: not is_running(oven.folder), what="the shim's end")
    start(oven.home, NAME)
    assert reached(oven.home, NAME, "away").shim != state.shim
    assert is_gone(oven.home, NAME) and oven.starts == 1
    call_back(oven.home, NAME, 7)
    oven.serving()


def test_a_disk_that_refuses_its_state_has_nobody_believe_a_former_one(oven: Oven) -> None:
    start(oven.home, NAME)
    state = oven.serving()
    assert state.shim is not None and state.server is not None
    shim, server = state.shim, state.server
    _, most = resource.prlimit(shim.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(shim.pid, resource.RLIMIT_FSIZE, (0, most))
    send_away(oven.home, NAME, 7)
    wait_until(lambda: not server.alive() and not oven.folder.state.exists(), what="it makes way")
    assert not is_gone(oven.home, NAME), "nobody has said that none will start"
    resource.prlimit(shim.pid, resource.RLIMIT_FSIZE, (most, most))
    wait_until(lambda: is_gone(oven.home, NAME), what="its state is written")
    call_back(oven.home, NAME, 7)
    oven.serving()


@pytest.mark.usefixtures("misses_a_runner")
def test_without_a_runner_it_comes_back_once_the_last_process_of_the_job_has_ended(oven: Oven) -> None:
    attempt = oven.home.run_dir(7).attempt(1)
    attempt.path.mkdir(parents=True)
    hold = (
        "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, fcntl.LOCK_EX); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(attempt.shim_lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as job:
        assert job.stdout is not None and job.stdout.readline()
        start(oven.home, NAME)
        oven.serving()
        send_away(oven.home, NAME, 7)
        reached(oven.home, NAME, "away")
        send_away(oven.home, NAME, 9)  # of which there is nothing
        wait_until(
            lambda: read_state(oven.home, NAME).reason == Reason("away", {"jobs": [7, 9]}), what="both jobs are told"
        )
        assert away_for(oven.folder) == [7, 9]
        job.communicate(b"\n")
    oven.serving()
    assert not oven.folder.away.exists() and not held(oven.home.runner_lock)


@pytest.mark.usefixtures("misses_a_runner")
def test_it_keeps_a_runner_alive_but_for_one_that_a_person_stopped(oven: Oven) -> None:
    start(oven.home, NAME)
    oven.serving()
    assert not held(oven.home.runner_lock)
    oven.home.runner_stopped.unlink()
    wait_until(lambda: held(oven.home.runner_lock), what="a runner")
    (runner,) = runners_of(oven.home)
    kill(runner)
    wait_until(lambda: held(oven.home.runner_lock) and not Path(f"/proc/{runner}").exists(), what="another runner")
    oven.serving()


def test_the_folder_that_is_removed_or_moved_takes_its_processes_along(oven: Oven) -> None:
    start(oven.home, NAME)
    state = oven.serving()
    assert state.shim is not None and state.server is not None
    moved = oven.folder.path.rename(oven.folder.path.with_name("elsewhere"))
    shim, server = state.shim, state.server
    wait_until(lambda: not shim.alive() and not server.alive(), what="both have ended")
    assert not oven.folder.path.exists() and not list(moved.glob(".*.tmp"))


def test_one_that_does_not_obey_is_removed_all_the_same(oven: Oven, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim that stands still: it is killed, and its server with it."""
    monkeypatch.setattr("core.served.control.STOP_SECONDS", 1.0)
    oven.tell("deaf")
    start(oven.home, NAME)
    state = oven.serving()
    assert state.shim is not None and state.server is not None
    os.kill(state.shim.pid, signal.SIGSTOP)
    remove(oven.home, NAME)
    server = state.server
    wait_until(lambda: not server.alive(), what="the server's end")
    assert list(oven.home.served.iterdir()) == [] and oven.model.exists()


def test_two_shims_never_share_a_served_model_and_none_runs_without_a_record(oven: Oven) -> None:
    start(oven.home, NAME)
    oven.serving()
    before = written_state(oven.folder)
    for folder, said in ((oven.folder.path, "another shim"), (oven.home.root, "no served model")):
        command = [sys.executable, "-P", "-m", "core.served.shim", "--foreground", str(folder)]
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 3 and said in second.stderr
    assert written_state(oven.folder) == before
    with pytest.raises(BakehouseError):
        start(oven.home, "another")
