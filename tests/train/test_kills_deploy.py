"""SIGKILL in every stage of a deployment to a real llama-server: what serves is whole, and a retry finishes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from core.config.model import ModelEntry
from core.files import read_json
from core.home import Home, RunDir
from core.jobfile.deploy import DeploySpec
from core.jobfile.served_as import ServedAs
from core.served.record import read_record, read_records
from core.served.state import NOT_STARTED, read_state
from tests.support.held_job import Hold
from tests.support.llama_cpp import convertible_model, gguf_of, llama_cpp
from tests.support.parity_checks import HELLO
from tests.support.served_models import all_ended, models_at, reached
from tests.support.standstill import BEFORE_RESULT, BEFORE_RESULT_COUNTS, Standstill, kill_group, start_until
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train

OTHER = "another file.gguf"
PROVED = Hold("phase", "name", "starting to serve")
INSTALLED = Standstill("os.remove", "*/served/*/stopped")
"""The record is in its place, and nothing was started."""
STARTED = Standstill("open", "*/served/*/state.json")


@dataclass
class Deployments:
    """Deployments of a model with random weights, each a job of one home. `broken`: while it exists, llama-server fails to
    serve the file `OTHER` for production, and works for the proof."""

    shop: Workshop
    file: Path
    program: Path
    broken: Path

    def submit(self, number: int, name: str, file: Path) -> RunDir:
        spec = DeploySpec(
            source=str(file),
            to="llama-server",
            name=name,
            model=self.shop.model,
            served=ServedAs(task=HELLO),
            golden=self.shop.golden("Say hello."),
            program=str(self.program),
        )
        return self.shop.submit(number, spec)

    def kill(self, run: RunDir, attempt: int, point: Standstill | Hold) -> None:
        """Kill an attempt at a point, with all that is of the job."""
        kill_group(self.shop, start_until(self.shop, run, attempt, point))
        assert not run.result.exists()


@pytest.fixture(scope="module")
def deployments(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    root = tmp_path_factory.mktemp("deployments")
    entry: ModelEntry = convertible_model(model_cache, root / "model")
    home = Home(root / "home").create()
    home.runner_stopped.touch()  # a shim that finds no runner starts none
    program, broken = root / "llama-server", root / "broken"
    fails = f"case \"$*\" in *'{OTHER}'*'--alias hello-'*) echo 'error: no such device'; exit 1;; esac"
    real = llama_cpp().require("llama-server")
    program.write_text(f"#!/bin/sh\nif [ -e '{broken}' ]; then {fails}; fi\nexec '{real}' \"$@\"\n")
    program.chmod(0o755)
    shop = Workshop(home, entry, forked=True, threads=1)
    with all_ended(home):
        yield Deployments(shop, gguf_of(entry, root / "tiny-Q8_0.gguf"), program, broken)
    shop.close()


def test_a_first_deployment_that_is_killed_wherever_is_finished_by_its_retry(deployments: Deployments) -> None:
    home, name = deployments.shop.home, "hello-first"
    run = deployments.submit(1, name, deployments.file)

    deployments.kill(run, 1, PROVED)
    assert read_records(home) == ([], []) and read_json(run.parity)["passed"]

    deployments.kill(run, 2, INSTALLED)
    assert read_record(home, name).job_id == 1 and read_state(home, name).reason == NOT_STARTED

    # Its process is none of the job's: it comes to serve without it.
    deployments.kill(run, 3, STARTED)
    reached(home, name, "serving")
    url = read_record(home, name).url
    assert models_at(url) == [name]

    for attempt, point in ((4, BEFORE_RESULT), (5, BEFORE_RESULT_COUNTS)):
        deployments.kill(run, attempt, point)
        assert read_state(home, name).phase == "serving" and models_at(url) == [name]

    assert deployments.shop.finish(run, 6) == 0, run.attempt(6).log.read_text()
    assert (read_json(run.result)["summary"]["url"], models_at(url)) == (url, [name])
    assert [one.name for one in read_records(home)[0]] == [name]
    assert servers_of(home, name) == 1


def test_what_served_before_a_deployment_that_is_killed_comes_back_if_the_retry_fails(
    deployments: Deployments, tmp_path: Path
) -> None:
    home, name, shop = deployments.shop.home, "hello-second", deployments.shop
    first = deployments.submit(11, name, deployments.file)
    assert shop.finish(first) == 0, first.attempt(1).log.read_text()
    former, state = read_record(home, name), read_state(home, name)
    other = tmp_path / OTHER
    other.write_bytes(deployments.file.read_bytes())
    run = deployments.submit(12, name, other)

    deployments.kill(run, 1, PROVED)
    assert (read_record(home, name), read_state(home, name)) == (former, state), "not even restarted"

    deployments.kill(run, 2, INSTALLED)
    assert read_record(home, name).file == other

    deployments.broken.touch()
    assert shop.finish(run, 3) == 1
    assert read_json(run.attempt(3).error_json)["code"] == "not_serving"
    assert read_record(home, name) == former
    reached(home, name, "serving")
    deployments.broken.unlink()

    deployments.kill(run, 4, BEFORE_RESULT)
    assert shop.finish(run, 5) == 0, run.attempt(5).log.read_text()
    record = read_record(home, name)
    assert (record.file, record.url, models_at(record.url)) == (other, former.url, [name])
    assert not home.served_dir(name).record_before.exists() and servers_of(home, name) == 1


def servers_of(home: Home, name: str) -> int:
    """How many llama-servers run at the port of a served model."""
    port = str(read_record(home, name).port)
    found = 0
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        found += (
            process.info["name"] == "llama-server" and "--port" in words and words[words.index("--port") + 1] == port
        )
    return found
