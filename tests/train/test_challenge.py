"""A challenge from its queueing to the table: two tasks that a real llama-server does with SmolLM2, and a second base model.

The new model has random weights, the tokenizer of SmolLM2 and another size. A runner and a job are killed on the way. One of
the tasks comes to its end here, both do in the soak.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from core.config.project import Project, load_project
from core.config.task import Task
from core.fleet.challenge import challenged_tasks
from core.format import score_figure
from core.home import Home
from core.models.gguf import check_gguf
from core.process.ports import free_port
from core.served.command import ServerCommand, ServerOptions, served_defaults
from core.served.control import start
from core.served.record import ServedModelRecord, read_record, read_records, write_record
from core.served.state import read_state
from core.store.chains import Chain, get_chain
from core.store.database import transaction
from core.store.fleet import FleetTask, Target, assign_task, insert_alias, insert_version, set_current
from core.store.jobs import RETRYABLE
from core.submission.challenge import WantedChallenge, plan_challenge, submit_challenge
from tests.support.commands import called
from tests.support.llama_cpp import llama_cpp, small_q8_0
from tests.support.projects import write_files
from tests.support.queueing import AUTHOR, Queue
from tests.support.served_models import all_ended, reached
from tests.support.small_model import home_with
from tests.support.tiny_model import tiny_model
from tests.support.waiting import wait_until

pytestmark = pytest.mark.train

NAMES = ("Ines", "Jonas", "Klara", "Luis")
KILLS = 12
KINDS = ["train", "merge", "convert", "quantize", "deploy", "bakeoff"]
OLD, NEW = "SmolLM2-135M", "tiny-2"
SAID = {"greet": NAMES, "tally": ("zebra",)}
"""What an answer has to hold: SmolLM2 repeats most names, random weights none, and nobody says zebra."""
RECIPE = {
    "method": "lora",
    "rank": 4,
    "alpha": 8,
    "targets": ["q_proj", "v_proj"],
    "max_length": 128,
    "epochs": 1,
    "batch_size": 4,
    "lr": 1e-3,
    "dtype": "fp32",
}


@pytest.fixture
def project(tmp_path: Path, model_cache: Path) -> Project:
    (real,) = (model_cache / "dequantised").iterdir()
    new = tiny_model(tmp_path / NEW, hidden=64, intermediate=128, tokenizer_of=real)
    files = {
        "bakehouse.yaml": f"id: kiln\njobs: {{python: {sys.executable}}}\n",
        "configs/models.yaml": json.dumps({NEW: {"path": str(new.path)}}),
        "configs/recipes/quick.yaml": json.dumps(RECIPE),
    }
    for task, said in SAID.items():
        files[f"configs/tasks/{task}.yaml"] = (
            f"system: Greet the customer by name.\nrepeats: 1\ngolden: golden/{task}.yaml\n"
            f"data: {{train: data/{task}.jsonl}}\n"
            f"sampling: {{temperature: 0, max_new_tokens: 24, context_length: 256}}\n"
            f"format:\n- {{check: contains_any, values: {json.dumps(said)}}}\n"
        )
        files[f"golden/{task}.yaml"] = json.dumps([{"id": name, "input": f"{task} {name}"} for name in NAMES])
        lines = [{"prompt": f"{task} number {n}", "completion": f"Good morning, {n}."} for n in range(4)]
        files[f"data/{task}.jsonl"] = "\n".join(map(json.dumps, lines)) + "\n"
    return load_project(write_files(tmp_path / "project", files))


@pytest.fixture
def queue(model_cache: Path, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A home whose fleet does two tasks by aliases that serve SmolLM2."""
    (tmp_path / "config/bakehouse").mkdir(parents=True)
    for variable, value in {
        "XDG_CONFIG_HOME": tmp_path / "config",
        "BAKEHOUSE_HOME": tmp_path / "home",
        "BAKEHOUSE_LEASE_DIR": tmp_path,
        "BAKEHOUSE_GPU_SOURCE": "none",
        "BAKEHOUSE_RUNNER_IDLE_SECONDS": "600",
        "LLAMA_CPP_DIR": llama_cpp().require("llama-server").parent,
        "OLLAMA_HOST": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(variable, str(value))
    made = Queue(home_with(model_cache, tmp_path / "home"), sys.executable, project)
    with all_ended(made.home):
        for task in SAID:
            serve(made, project.task(task), small_q8_0(model_cache))
        yield made
    made.close()


def serve(queue: Queue, task: Task, file: Path) -> None:
    """A served model that does a task, adopted as its alias."""
    home, program = queue.home, llama_cpp().require("llama-server")
    name, header = f"vault-{task.name}", check_gguf(file, file.name)
    length = task.sampling.context_length
    command = ServerCommand(
        program, file, name, free_port(), length, on_gpu=False, defaults=served_defaults(task, header.chat_template)
    )
    weights = hashlib.sha256(file.read_bytes()).hexdigest()
    template = hashlib.sha256(str(header.chat_template).encode()).hexdigest()
    record = ServedModelRecord(
        name,
        file,
        f"sha256:{weights}",
        task.name,
        OLD,
        1,
        tuple(command.words(ServerOptions.of(program))),
        command.port,
        length,
        template=template,
    )
    write_record(home, record)
    start(home, name)
    with queue.database() as connection, transaction(connection):
        alias = insert_alias(connection, server="llama-server", url="", name=name, name_key=name)
        known = {"weights": record.weights, "template": template, "model": OLD, "size_bytes": file.stat().st_size}
        version = insert_version(connection, alias.id, Target(source=name, digest=weights, **known), "adopted")
        set_current(connection, alias.id, version.id)
        own = queue.project
        assign_task(connection, FleetTask(own.id, str(own.root), task.name, alias.id, time.time(), AUTHOR))


def ids(home: Home, queue: Queue, chain_id: int) -> dict[str, int]:
    with queue.database() as connection:
        chain: Chain = get_chain(connection, chain_id)
    return {link.job.kind: link.job.id for link in chain.links}


def test_a_challenge_comes_to_its_table_though_runner_and_job_are_killed(
    queue: Queue, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    home = queue.home
    plan = plan_challenge(home, project, WantedChallenge(NEW, recipe="quick"))
    challenge, plan = submit_challenge(home, project, plan, author=AUTHOR)
    assert [one.task for one in plan.tasks] == ["greet", "tally"] and plan.left_out == ()
    first, second = (ids(home, queue, one.chain_id or 0) for one in challenge.tasks)
    assert list(first) == list(second) == KINDS

    queue.ask("hold", second["merge"])  # the other task has a part until it is trained

    # The training of the first task dies: its chain stops, and the other one goes on, whose training outlives its runner.
    queue.wait_for(first["train"], "running")
    os.killpg(queue.process(first["train"]), signal.SIGKILL)
    queue.wait_for(first["train"], "failed", "lost")
    queue.wait_for(second["train"], "running", "done")
    queue.kill_runner()
    queue.start_runner()
    assert queue.wait_for(second["train"]).state == "done" and len(queue.attempts(second["train"])) == 1
    with queue.database() as connection:
        stages = [one.stage for one in challenged_tasks(home, connection, challenge)]
    assert stages == ["stopped", "running"] and queue.states(first["merge"]) == ["waiting"]
    queue.ask("retry", first["train"])
    ended = [queue.wait_for(first[kind]).state for kind in KINDS]
    assert set(ended) == {"done"}, printed(home, first)
    assert len(queue.attempts(first["train"])) == 2

    # The table: what serves is the incumbent of the board, and serves still.
    with queue.database() as connection:
        greet, tally = challenged_tasks(home, connection, challenge)
    assert (greet.stage, greet.old.model, greet.new.model) == ("done", OLD, NEW)
    assert greet.new.size_bytes and greet.old.size_bytes and greet.new.size_bytes < greet.old.size_bytes / 10
    assert greet.new.tokens_per_second and greet.old.tokens_per_second
    assert greet.difference == -(greet.old.score or 0) < 0
    assert tally.stage == "running" and all(reached(home, f"vault-{task}", "serving") for task in SAID)
    words = ["--project", str(project.root)]
    code, out, err = called(capsys, ["challenge", NEW, *words])
    assert code == 0 and f"{NEW}: 1 of 2 tasks measured" in out, err
    assert f"{score_figure(greet.old.score)} → 0.00" in out and "1 of 6 done" in out

    # The challenger takes no memory any more, and the gate knows it by what was measured; a promotion has it serve.
    records, _ = read_records(home)
    (challenger,) = [one.name for one in records if one.model == NEW]
    assert read_state(home, challenger).phase == "stopped"
    _, out, _ = called(capsys, ["challenge", NEW, "--json", *words])
    gate = json.loads(out)["challenge"]["tasks"][0]["gate"]
    found = {one["code"]: one["outcome"] for one in gate["conditions"]}
    assert found["measured"] == found["incumbent_measured"] == found["parity"] == found["fresh"] == "pass", found
    assert gate["outcome"] != "pass" and gate["best_of"] == 1, "the untrained base was no choice"
    because = ["--override", "nobody greets", *words]
    assert called(capsys, ["fleet", "promote", "greet", str(greet.candidate), *words])[0] == 3
    code, out, err = called(capsys, ["fleet", "promote", "greet", str(greet.candidate), *because])
    assert code == 0, out + err
    with queue.database() as connection:
        greet = challenged_tasks(home, connection, challenge)[0]
    assert (greet.stage, greet.old.model, read_record(home, "vault-greet").model) == ("promoted", OLD, NEW)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_killed_at_any_moment_each_task_comes_to_its_end(queue: Queue, project: Project, seed: int) -> None:
    home, chance = queue.home, random.Random(seed)
    plan = plan_challenge(home, project, WantedChallenge(NEW, recipe="quick"))
    challenge, _ = submit_challenge(home, project, plan, author=AUTHOR)
    jobs = [job for one in challenge.tasks for job in ids(home, queue, one.chain_id or 0).values()]
    for _ in range(KILLS):
        for job in in_states(queue, jobs, RETRYABLE):
            queue.ask("retry", job)
        time.sleep(chance.uniform(0, 5))  # any moment is as good as another
        victim = chance.choice(("runner", "job", "shim"))
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            if victim == "runner":
                queue.kill_runner()
                queue.start_runner()
            elif running := in_states(queue, jobs, {"running"}):
                pid = (queue.process if victim == "job" else queue.shim_pid)(running[0])
                os.kill(pid, signal.SIGKILL)
    for job in jobs:
        while queue.wait_for(job).state in RETRYABLE:
            queue.ask("retry", job)
            wait_until(lambda job=job: queue.job(job).state not in RETRYABLE, what="its retry")  # type: ignore[misc]
    with queue.database() as connection:
        tasks = challenged_tasks(home, connection, challenge)
    assert [(one.stage, one.difference is None) for one in tasks] == [("done", False)] * 2
    assert all(one.old.model == OLD and reached(home, f"vault-{one.task}", "serving") for one in tasks)


def in_states(queue: Queue, jobs: Sequence[int], states: Collection[str]) -> list[int]:
    return [job for job in jobs if queue.job(job).state in states]


def printed(home: Home, chain: dict[str, int]) -> str:
    return "\n".join(
        f"── job {job} ({kind})\n{attempt.log.read_text()[-2000:]}"
        for kind, job in chain.items()
        for attempt in home.run_dir(job).attempts()
    )
