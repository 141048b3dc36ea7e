"""The stress test of the GPU, on a CPU: real trainings, layout after layout, and a result that claims what it knows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from core.config.project import shipped
from core.errors import BakehouseError
from core.files import read_json, write_json
from core.home import Home
from core.jobfile.stress import StressSpec
from core.store.database import open_database
from core.store.jobs import JobRow, list_jobs
from jobs.context import JobContext
from jobs.stress import told
from jobs.stress_layouts import LAYOUTS, LENGTHS, RANKS, SHAPES, Layout, StressRun, layouts
from tests.support.job_files import job_file
from tests.support.queueing import Queue
from tests.support.waiting import PATIENCE_SECONDS
from tests.support.waiting import wait_until as wait
from tests.support.workshop import Workshop, events, wait_until

pytestmark = pytest.mark.train


@pytest.fixture
def shop(tmp_path: Path, tinyshop: Workshop) -> Workshop:
    """The jobs have no model of the home: the test makes its own."""
    return Workshop(Home(tmp_path / "home").create(), tinyshop.model, forked=True, threads=1)


def test_it_trains_in_several_layouts_and_says_what_that_is_worth(shop: Workshop) -> None:
    run = shop.submit(1, StressSpec(minutes=0.05))
    assert shop.finish(run) == 0
    result: dict[str, Any] = read_json(run.result)
    summary = result["summary"]
    steps = events(run, 1, "step")
    named = [event["detail"] for event in events(run, 1, "phase") if event["name"].startswith("layout ")]
    assert summary["steps"] == len(steps) == steps[-1]["step"] >= 1
    assert 1 <= summary["layouts"] <= len(named) and len(set(named)) == len(named)
    assert "this does not prove that there is none" in result["message"] and "on the CPU" in result["message"]
    assert all(0 < event["loss"] < 20 for event in steps)
    assert all(event["total"] >= event["step"] and event["eta_seconds"] >= 0 for event in steps)
    assert not run.checkpoints.exists() and result["artefacts"] == []


def test_it_ends_where_it_is_asked_to_and_proves_nothing_then(shop: Workshop) -> None:
    run = shop.submit(1, StressSpec(minutes=600))
    process = shop.start(run)
    wait_until(lambda: bool(events(run, 1, "step")), process)
    write_json(run.attempt(1).stop_request, {"why": "cancel", "reason": {}, "asked_at": 0.0})
    assert shop.ended(process) == 75
    assert not run.result.exists()


def test_the_layouts_have_every_rank_and_odd_lengths_and_never_the_same_order_again() -> None:
    some = list(islice(layouts(), 4 * LAYOUTS))
    assert len(set(some)) == len(some)
    assert {one.rank for one in some[:LAYOUTS]} == set(RANKS) == {8, 16, 32}
    assert {(one.rank, one.shortest, one.longest) for one in some[:LAYOUTS]} == {
        (rank, *lengths) for rank in RANKS for lengths in LENGTHS
    }
    assert min(one.shortest for one in some) == 243 and max(one.longest for one in some) == 343
    assert all(one.shortest % 2 == one.longest % 2 == 1 for one in some)


def context(folder: Path) -> JobContext:
    home = Home(folder / "home").create()
    run = home.run_dir(1)
    run.path.mkdir(parents=True)
    job_file(home, StressSpec(), 1).save(run)
    attempt = run.attempt(1)
    attempt.path.mkdir()
    return JobContext.open(run, attempt)


def test_every_product_of_a_step_has_an_odd_number_of_tokens_and_the_rank_of_its_layout(tmp_path: Path) -> None:
    """What the trainer really computes with: the shapes of the inputs and gradients of each LoRA layer."""
    import torch

    from jobs.stress_training import make_trainer

    test = StressRun(context(tmp_path), seconds=600.0)
    layout = Layout(16, 243, 291, 5)
    test.begin(layout)
    trainer = make_trainer(test, layout, SHAPES["cpu"], torch.device("cpu"))
    batches = [batch["input_ids"].shape for batch in islice(trainer.get_train_dataloader(), 12)]
    assert all(rows == 1 and tokens % 2 == 1 and 243 <= tokens <= 291 for rows, tokens in batches)
    assert len({tokens for _, tokens in batches}) > 6, "in an order of its own"
    ranks = {parameter.shape[0] for name, parameter in trainer.model.named_parameters() if "lora_A" in name}
    assert ranks == {16}


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_a_failure_and_no_pass(tmp_path: Path, loss: float) -> None:
    test = StressRun(context(tmp_path), seconds=60.0)
    test.step(6.2, 0.1)
    with pytest.raises(BakehouseError, match="at step 2: this device computes wrongly"):
        test.step(loss, 0.1)


def test_the_words_of_a_pass() -> None:
    assert told(344, 9, 5.02, "cuda") == (
        "no fault in 344 steps over 9 layouts in 5.0 min; this does not prove that there is none"
    )
    assert told(1, 1, 0.1, "cpu").endswith(
        "on the CPU; this does not prove that there is none, and says nothing about a GPU"
    )


# The command.


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home of the command's own, in which nothing runs any more when a test has ended in whatever way."""
    home = Home(tmp_path / "home").create()
    for name, value in {
        "BAKEHOUSE_HOME": str(home.root),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "BAKEHOUSE_LEASE_DIR": str(tmp_path),
        "BAKEHOUSE_GPU_SOURCE": "none",
        "BAKEHOUSE_RUNNER_IDLE_SECONDS": "1",
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    yield home
    Queue(home, sys.executable, shipped()).close()


def command(*words: str) -> subprocess.Popen[str]:
    code = "import sys; from core.cli.main import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, "doctor", "--stress", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def only_job(home: Home) -> JobRow | None:
    if not home.database.exists():
        return None
    connection = open_database(home)
    try:
        return next(iter(list_jobs(connection)), None)
    finally:
        connection.close()


def test_the_command_shows_how_it_goes_and_leaves_one_document(machine: Home) -> None:
    process = command("--minutes", "0.05", "--json")
    out, err = process.communicate(timeout=10 * PATIENCE_SECONDS)
    assert process.returncode == 0, err
    document = json.loads(out)["stress"]
    assert document["state"] == "done" and document["kind"] == "stress"
    assert document["result"]["summary"]["device"]["type"] == "cpu"
    assert document["layout"].startswith("rank ")
    assert "layout 1: rank 8, 243 to 291 tokens, order 1" in err and "Ctrl+C cancels the test." in err


def test_ctrl_c_cancels_it(machine: Home) -> None:
    process = command("--minutes", "600")

    def stepping() -> bool:
        job = only_job(machine)
        return job is not None and job.progress is not None and (job.progress.step or 0) > 0

    wait(stepping, 10 * PATIENCE_SECONDS, "a step")
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    job = only_job(machine)
    assert job is not None and job.state == "cancelled"
    assert "Cancelled" in out
