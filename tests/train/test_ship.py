"""`ship --from` a real training, by a real runner and llama.cpp's tools: what serves at the end answers as was learnt.

The conversion is killed with half its file written, and retried: the links behind it wait, and then the chain goes on.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.config.project import Project
from core.files import read_lines
from core.jobfile.spec import JobFile
from core.own_paths import read_result
from core.results.load import load_bakeoff
from core.served.record import read_record
from core.served.state import read_state
from core.store.chains import Chain, get_chain
from core.store.results import list_artefacts
from core.submission.ship import submit_ship
from core.submission.wanted_ship import WantedShip
from tests.support.halting_tool import HALF, HaltingTool
from tests.support.llama_cpp import llama_cpp, small_q8_0
from tests.support.projects import one_task_project
from tests.support.queueing import AUTHOR, Queue
from tests.support.served_models import all_ended
from tests.support.small_model import home_with, small_model
from tests.support.stored import path_to, step
from tests.support.stored_tasks import stored
from tests.support.waiting import wait_until
from tests.train.conftest import Taught

pytestmark = pytest.mark.train

NAMES = ("Ines", "Jonas", "Klara", "Luis", "Mara", "Nils", "Olga", "Paul")
"""None of them was learnt from; eight can show a difference."""
KINDS = ["train", "merge", "convert", "quantize", "deploy", "bakeoff"]
TASK = """\
system: Greet the customer.
repeats: 1
golden: golden/greet.yaml
sampling: {temperature: 0, max_new_tokens: 24, context_length: 256}
format:
- {check: regex, pattern: '\\AGood morning, \\w+\\.'}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    small = small_model()
    models = {small.name: small.model_dump(mode="json", exclude={"name"}, exclude_none=True)}
    return one_task_project(tmp_path / "project", "greet", TASK, {name: name for name in NAMES}, models)


@pytest.fixture
def converter(tmp_path: Path, model_cache: Path) -> HaltingTool:
    """In a folder with the other tools; it stands still with half a file written."""
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    for other in ("llama-quantize", "llama-server"):
        (folder / other).symlink_to(llama_cpp().require(other))
    tool = HaltingTool.of(folder, "converter")
    tool.does(HALF, small_q8_0(model_cache))
    return tool


@pytest.fixture
def queue(
    taught: Taught,
    model_cache: Path,
    project: Project,
    converter: HaltingTool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Queue]:
    """A home in which job 1 is the training of `taught`, done."""
    (tmp_path / "config/bakehouse").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "600")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(converter.script.parent))
    home = home_with(model_cache, tmp_path / "home")
    made = Queue(home, sys.executable, project)
    with made.database() as connection:
        spec = JobFile.load(taught.train).spec
        assert stored(home, connection, project.root, spec) == 1
        for state in path_to(connection, "done"):
            step(connection, 1, state)
    for name in ("result.json", "attempt-1"):
        place = taught.train.path / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, home.run_dir(1).path / name)
    (adapter,) = (read_result(taught.train) or {})["artefacts"]
    shutil.copytree(taught.workshop.home.artefacts / adapter["sha256"], home.artefacts / adapter["sha256"])
    with all_ended(home):
        yield made
    made.close()


def chain_now(queue: Queue, number: int) -> Chain:
    with queue.database() as connection:
        return get_chain(connection, number)


def test_what_was_learnt_is_served_by_a_chain_whose_conversion_was_killed(
    queue: Queue, project: Project, converter: HaltingTool
) -> None:
    home = queue.home
    shipped = submit_ship(home, project, WantedShip(training=1, to="llama-server"), author=AUTHOR)
    ids = {link.job.kind: link.job.id for link in shipped.chain.links}
    assert list(ids) == KINDS
    convert = ids["convert"]

    kill_when_half_is_written(queue, convert)
    queue.wait_for(convert, "failed")
    chain = chain_now(queue, shipped.chain.id)
    assert (chain.state, chain.current.job.id, chain.done) == ("failed", convert, 2)
    assert all(queue.states(ids[kind]) == ["waiting"] for kind in ("quantize", "deploy", "bakeoff"))
    with queue.database() as connection:
        assert (
            list_artefacts(connection, home, convert) == [] and len(list_artefacts(connection, home, ids["merge"])) == 1
        )

    converter.does("real", Path())
    queue.ask("retry", convert)
    ended = [queue.wait_for(ids[kind]).state for kind in KINDS[2:]]  # one patience each
    logs = "\n".join(
        attempt.log.read_text()[-3000:] for job in ids.values() for attempt in home.run_dir(job).attempts()
    )
    assert set(ended) == {"done"}, logs
    chain = chain_now(queue, shipped.chain.id)
    assert chain.done == len(KINDS) and all(link.seconds > 0 for link in chain.links[1:])
    assert not list(home.artefacts.glob(".*")), "what the kill left is gone"

    # The update is in the file, and what was learnt is answered: by the adapter, and by what serves.
    quantised = (read_result(home.run_dir(ids["quantize"])) or {})["summary"]
    assert quantised["survival"]["share"] > 0.9 and quantised["survival"]["cosine"] > 0.5
    with queue.database() as connection:
        (board,) = load_bakeoff(home, connection, ids["bakeoff"]).leaderboards().values()
    scores = {row.name: row.format_score for row in board.rows}
    name = f"greet-smollm2-135m-{ids['quantize']}"
    assert scores == {f"{small_model().name} base": 0.0, f"{small_model().name} tuned": 1.0, name: 1.0}
    better = {one.candidate: one.verdict for one in board.comparisons}
    assert better[name] == better[f"{small_model().name} tuned"] == "better"

    # It serves beyond the chain, under the address that the deployment told.
    record = read_record(home, name)
    assert read_state(home, name).phase == "serving" and record.weights == f"sha256:{quantised['file_sha256']}"
    said = httpx.post(
        f"{record.url}/chat/completions",
        json={
            "model": name,
            "messages": [{"role": "system", "content": "Greet the customer."}, {"role": "user", "content": "Tilda"}],
        },
        timeout=120,
        trust_env=False,
    ).json()["choices"][0]["message"]["content"]
    assert said.startswith("Good morning, "), said


def kill_when_half_is_written(queue: Queue, job_id: int) -> None:
    """SIGKILL to the job's process group while its tool stands still with half a file in a temporary folder."""
    attempt = queue.home.run_dir(job_id).attempt(1)

    def halted() -> bool:
        halves = list(queue.home.artefacts.glob(".tmp-*/gguf/*.gguf"))
        events = [event for event, _ in read_lines(attempt.events)] if attempt.events.exists() else []
        return bool(halves) and any(event.get("name") == "converting" for event in events)

    wait_until(halted, what="half a file")
    os.killpg(queue.process(job_id), signal.SIGKILL)
