"""A served model in place of another: what does not come to serve, or is not what it should be, leaves what was before."""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cli.main import exit_code
from core.errors import BakehouseError, GateError, InputError
from core.home import Home
from core.process.ports import free_port
from core.served.control import start, stop
from core.served.former import Owner
from core.served.install import choose_port, install
from core.served.record import read_record, to_json
from core.served.revival import revive, take_back
from core.served.state import is_running, read_state
from core.store.fleet_changes import ChangeState
from tests.support.served_models import kill, reached
from tests.support.served_oven import NAME, Oven, oven
from tests.support.waiting import wait_until

__all__ = ["oven"]


def no_change(number: int) -> ChangeState:
    raise AssertionError(f"nobody noted a change {number}")


def nothing(*told: object) -> None:
    pass


def other_model(oven: Oven, *words: str) -> Path:
    model = oven.model.with_name("other.gguf")
    model.write_text("\n".join(words))
    return model


def doubts() -> None:
    raise GateError("its answer is not that of training", code="prompt_count")


@pytest.mark.parametrize(("word", "prove"), [("refuse", nothing), ("", doubts)], ids=["no start", "no proof"])
def test_what_served_before_serves_again_where_the_new_one_is_not_to(
    oven: Oven, word: str, prove: Callable[[], None]
) -> None:
    start(oven.home, NAME)
    oven.serving()
    new, logs = oven.record(other_model(oven, word), job_id=2), []
    with pytest.raises(BakehouseError) as refused:
        install(oven.home, new, Owner("job", 2), prove, nothing, lambda: logs.append(oven.folder.log.exists()))
    assert refused.value.code == ("prompt_count" if prove is doubts else "not_serving")
    assert logs == [True]
    assert read_record(oven.home, NAME) == oven.record()
    oven.serving()
    assert not oven.folder.record_before.exists()


def test_one_that_was_stopped_stays_so_and_of_none_before_nothing_is_left(oven: Oven) -> None:
    start(oven.home, NAME)
    oven.serving()
    stop(oven.home, NAME)
    new = oven.record(other_model(oven, "memory"), job_id=2)
    with pytest.raises(BakehouseError, match="out of memory"):
        install(oven.home, new, Owner("job", 2), nothing, nothing, nothing)
    assert read_record(oven.home, NAME) == oven.record() and not is_running(oven.folder)

    oven.folder.record.unlink()
    with pytest.raises(BakehouseError):
        install(oven.home, new, Owner("job", 2), nothing, nothing, nothing)
    assert not oven.folder.path.exists()


def test_a_port_that_somebody_else_has_got_meanwhile_is_told_apart(oven: Oven) -> None:
    oven.folder.record.unlink()
    with socket.socket() as other:
        other.bind(("127.0.0.1", oven.port))
        other.listen()
        assert choose_port(oven.home, NAME) != oven.port
        with pytest.raises(BakehouseError) as refused:
            install(oven.home, oven.record(job_id=2), Owner("job", 2), nothing, nothing, nothing)
    assert refused.value.code == "port_taken"
    assert not oven.folder.path.exists()


def test_a_stop_of_the_job_while_it_loads_takes_it_back(oven: Oven) -> None:
    start(oven.home, NAME)
    oven.serving()

    def stopped(phase: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(oven.home, oven.record(other_model(oven, "hold"), job_id=2), Owner("job", 2), nothing, stopped, nothing)
    assert read_record(oven.home, NAME) == oven.record()
    oven.serving()


INSTALL = """
import sys
from pathlib import Path
from core.home import Home
from core.served.former import Owner
from core.served.install import install
from core.served.record import of_document, read_record
import json
home = Home(Path(sys.argv[1]))
record = of_document(home, "t-m-1", json.loads(sys.argv[2]))
print("begun", flush=True)
install(home, record, Owner("job", record.job_id), lambda: None, lambda phase: None, lambda: None)
"""


def killed_while_it_loads(oven: Oven, model: Path, job_id: int) -> None:
    """An installation by a process that is killed before its llama-server has loaded."""
    document = json.dumps(to_json(oven.home, oven.record(model, job_id=job_id)))
    job = subprocess.Popen([sys.executable, "-P", "-c", INSTALL, str(oven.home.root), document])
    wait_until(
        lambda: (state := read_state(oven.home, NAME)).phase == "loading" and state.pid is not None, what="it loads"
    )
    assert oven.folder.record_before.exists()
    kill(job.pid)
    job.wait()


def test_a_deployment_that_was_killed_is_finished_by_its_retry_or_taken_back_by_a_later_one(oven: Oven) -> None:
    start(oven.home, NAME)
    oven.serving()
    held = other_model(oven, "hold")
    killed_while_it_loads(oven, held, 2)
    assert read_record(oven.home, NAME).job_id == 2

    # Another job's, which fails: what served last is there again, not what never did.
    refused = oven.model.with_name("third.gguf")
    refused.write_text("refuse")
    with pytest.raises(BakehouseError):
        install(oven.home, oven.record(refused, job_id=3), Owner("job", 3), nothing, nothing, nothing)
    assert read_record(oven.home, NAME) == oven.record()
    oven.serving()

    killed_while_it_loads(oven, held, 4)
    held.write_text("")
    install(oven.home, oven.record(held, job_id=4), Owner("job", 4), nothing, nothing, nothing)
    assert reached(oven.home, NAME, "serving").pid
    assert read_record(oven.home, NAME).job_id == 4 and not oven.folder.record_before.exists()


@pytest.mark.parametrize("dies_before", ["write_record", "start"])
def test_what_a_killed_deployment_has_stopped_serves_again_without_its_retry(oven: Oven, dies_before: str) -> None:
    start(oven.home, NAME)
    oven.serving()
    dies = f"import os, core.served.install as one; one.{dies_before} = lambda *words: os._exit(9)"
    document = json.dumps(to_json(oven.home, oven.record(other_model(oven), job_id=2)))
    words = [sys.executable, "-P", "-c", dies + INSTALL, str(oven.home.root), document]
    assert subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode == 9
    assert not is_running(oven.folder) and revive(oven.home) == []

    attempt = oven.home.run_dir(2).attempt(1)
    attempt.path.mkdir(parents=True)
    with attempt.shim_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert take_back(oven.home, no_change) == [], "its job lives"
    assert take_back(oven.home, no_change) == [NAME]
    oven.serving()
    assert read_record(oven.home, NAME) == oven.record() and take_back(oven.home, no_change) == []


def test_what_a_killed_deployment_has_left_serving_stays_over_a_restart_and_over_a_retry_that_fails(oven: Oven) -> None:
    start(oven.home, NAME)
    oven.serving()
    held = other_model(oven, "hold")
    killed_while_it_loads(oven, held, 2)
    assert take_back(oven.home, no_change) == [] and oven.folder.record_before.exists(), "it may come yet"
    held.write_text("")
    oven.serving()
    assert take_back(oven.home, no_change) == [] and not oven.folder.record_before.exists()
    stop(oven.home, NAME)
    assert take_back(oven.home, no_change) == [] and read_record(oven.home, NAME).job_id == 2

    start(oven.home, NAME)
    oven.serving()
    left = read_record(oven.home, NAME)
    refused = oven.model.with_name("third.gguf")
    refused.write_text("refuse")
    with pytest.raises(BakehouseError):
        install(oven.home, oven.record(refused, job_id=2), Owner("job", 2), nothing, nothing, nothing)
    assert read_record(oven.home, NAME) == left
    oven.serving()


def test_what_could_not_be_taken_back_is_tried_again(oven: Oven, monkeypatch: pytest.MonkeyPatch) -> None:
    start(oven.home, NAME)
    oven.serving()
    killed_while_it_loads(oven, other_model(oven, "hold"), 2)

    def fails(*words: object) -> None:
        raise BakehouseError("systemd does not answer", code="launch_failed")

    with monkeypatch.context() as patched:
        patched.setattr("core.served.install.start", fails)
        stop(oven.home, NAME)
        assert take_back(oven.home, no_change) == []
    assert take_back(oven.home, no_change) == [NAME]
    oven.serving()
    assert read_record(oven.home, NAME) == oven.record()


def test_what_a_person_stops_is_not_taken_back(
    oven: Oven, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(oven.home, NAME)
    oven.serving()
    killed_while_it_loads(oven, other_model(oven, "hold"), 2)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(oven.home.root))
    assert exit_code(["served", "stop", NAME]) == 0
    assert take_back(oven.home, no_change) == [] and not is_running(oven.folder)


def test_a_name_keeps_its_port_and_none_is_given_twice(oven: Oven) -> None:
    assert choose_port(oven.home, NAME) == oven.port
    assert choose_port(oven.home, NAME, oven.port) == oven.port
    start(oven.home, NAME)
    oven.serving()
    assert choose_port(oven.home, NAME, oven.port) == oven.port, "it listens there itself"
    new = free_port()
    assert choose_port(oven.home, NAME, new) == new
    assert choose_port(oven.home, "another") != oven.port
    with pytest.raises(InputError, match="that of the served model t-m-1"):
        choose_port(oven.home, "another", oven.port)
    stop(oven.home, NAME)
    with pytest.raises(InputError):
        choose_port(oven.home, "another", oven.port)
    assert choose_port(oven.home, NAME) == oven.port


def test_homes_of_one_machine_begin_at_different_ports(tmp_path: Path) -> None:
    homes = [Home(tmp_path / f"home-{number}").create() for number in range(20)]
    assert len({choose_port(home, NAME) for home in homes}) > 10, "so that one that starts again finds its port free"
