"""Whether a training fits is one answer: `bakehouse plan`, the form, `fit: auto`, the GPU pane and the runner say the same.

A played GPU of 16 GiB with 300 MB of idle use serves 7.5 GB of models, which make way for a job unless `ollama.managed` is
false. A program of somebody else is waited for, and is no reason to plan for less.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.cli.main import main
from core.config.project import shipped
from core.errors import InputError
from core.gpu.room import Fit
from core.gpu_lease.state import read_lease_state
from core.store.jobs import list_jobs
from core.submission.memory_check import plan_training
from core.telemetry.ring import TelemetryRing
from core.wording.memory import fit_words
from tests.support.leasebench import LeaseBench, lease_bench
from tests.support.waiting import wait_until
from tui.model.snapshot import Snapshot
from tui.panes.gpu.memory import next_part
from tui.queries.catalogue import read_catalogue
from tui.queries.run_forecast import RunQuery, look

RECIPE, LENGTH = "lora-bf16", 2048
SMALL, MIDDLE, LARGE = "SmolLM2-135M", "Qwen3-4B", "Qwen3-14B"
"""Some 1 GB, which fits beside the served models; some 10 GB, which fits once they are gone; more than the GPU has."""


@pytest.fixture
def bench(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseBench]:
    with lease_bench(machine, monkeypatch) as made:
        monkeypatch.setenv("BAKEHOUSE_HOME", str(made.queue.home.root))
        made.add_models(judge=4_600_000_000, planner=2_900_000_000)
        yield made


def planned(model: str, capsys: pytest.CaptureFixture[str]) -> tuple[Fit, int]:
    """What `bakehouse plan` says, and how many bytes of the device it expects."""
    capsys.readouterr()
    words = ["plan", "--recipe", RECIPE, "--max-length", str(LENGTH), "--model", model, "--json"]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    return row["forecast"]["fit"], row["forecast"]["device_bytes"]


def in_the_form(bench: LeaseBench, model: str) -> Fit:
    catalogue = read_catalogue(bench.queue.home, shipped())
    sample = TelemetryRing(bench.queue.home.telemetry).latest()
    outlook = look(bench.queue.home, catalogue, RunQuery(model, RECIPE, {"max_length": LENGTH}, sample))
    assert outlook.forecast is not None, outlook
    return outlook.forecast.fit


def by_fit_auto(bench: LeaseBench, model: str) -> Fit:
    recipe = shipped().recipe(RECIPE).model_copy(update={"max_length": LENGTH, "fit": "auto"})
    try:
        note = plan_training(bench.queue.home, shipped().model(model), recipe).forecast
    except InputError as refused:
        assert refused.code == "too_large"
        return "too_large"
    assert note is not None
    return "fits" if note.fits else "too_large"


def in_the_pane(bench: LeaseBench, job: int) -> str:
    """The word behind the next job's figure."""
    home = bench.queue.home
    sample = TelemetryRing(home.telemetry).latest()
    assert sample is not None
    with bench.queue.database() as connection:
        jobs = tuple(list_jobs(connection))
    snapshot = Snapshot(time=time.time(), jobs=jobs, samples=(sample,), lease_state=read_lease_state(home))
    line = next_part(snapshot)
    assert line is not None and line.plain.startswith(f"next {job}: ")
    return line.plain.partition(", ")[2]


def by_the_runner(bench: LeaseBench, job: int) -> Fit:
    """What becomes of a job: it runs, or it waits for the GPU for one of these reasons."""
    waits: dict[str, Fit] = {"job_too_large": "too_large", "held_by_program": "waits"}

    def seen() -> Fit | None:
        row = bench.queue.job(job)
        if row.state in ("running", "done"):
            return "fits"
        return waits.get(str(row.reason.values.get("why"))) if row.reason.code == "gpu_lease" else None

    found = wait_until(seen, what=lambda: f"an answer: {bench.queue.job(job)}")
    assert found is not None
    return found


@pytest.mark.parametrize("managed", [True, False], ids=["managed", "unmanaged"])
@pytest.mark.parametrize(
    ("model", "when_managed", "when_not"),
    [(SMALL, "fits", "fits"), (MIDDLE, "fits", "too_large"), (LARGE, "too_large", "too_large")],
)
def test_with_models_resident_every_part_gives_the_same_answer(
    bench: LeaseBench,
    model: str,
    when_managed: Fit,
    when_not: Fit,
    managed: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = when_managed if managed else when_not
    bench.settle(ollama={"managed": managed})
    bench.queue.start_runner()
    bench.wait_learnt()
    bench.queue.ask("pause")
    bench.load("judge")
    bench.load("planner")
    wait_until(lambda: len(bench.gpu.residents) == 2, what="the runner's look at the models")
    bench.wait_seen()

    by_plan, needed_bytes = planned(model, capsys)
    job = bench.queue.submit(f"steps=1 vram={min(needed_bytes, 5e9)}", device_bytes=needed_bytes)
    answers = {
        "plan": by_plan,
        "form": in_the_form(bench, model),
        "fit: auto": by_fit_auto(bench, model),
        "pane": in_the_pane(bench, job),
    }
    assert answers == {
        "plan": expected,
        "form": expected,
        "fit: auto": expected,
        "pane": fit_words(expected),
    }
    bench.queue.ask("resume")
    assert by_the_runner(bench, job) == expected
    assert (set(bench.loaded()) == set()) is (managed and expected == "fits"), "models make way for what fits alone"


def test_a_program_of_somebody_else_is_waited_for_wherever_one_looks(
    bench: LeaseBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.queue.start_runner()
    bench.wait_learnt()
    bench.queue.ask("pause")
    bench.program(9_100_000_000)
    bench.wait_seen()

    by_plan, needed_bytes = planned(MIDDLE, capsys)
    job = bench.queue.submit("steps=1", device_bytes=needed_bytes)
    assert (by_plan, in_the_form(bench, MIDDLE), by_fit_auto(bench, MIDDLE)) == ("waits", "waits", "fits")
    assert in_the_pane(bench, job) == "waits for blender"
    bench.queue.ask("resume")
    assert by_the_runner(bench, job) == "waits"


def test_without_a_runner_served_models_are_still_known_for_what_they_are(
    bench: LeaseBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.load("judge")
    bench.load("planner")
    wait_until(lambda: len(bench.loaded()) == 2, what="both models")
    assert planned(MIDDLE, capsys)[0] == "fits"
