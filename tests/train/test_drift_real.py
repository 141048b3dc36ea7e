"""A check for drift against a real llama-server: the same file answers the same, and a smaller one under its name does not."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config.task import Sampling, Task
from core.drift.loss import scores_by_input
from core.drift.smoke import smoke_file
from core.files import read_json
from core.home import RunDir
from core.jobfile.bakeoff import CandidateSpec, ServerUnderTest, TaskUnderTest
from core.jobfile.drift import CheckedVersion, DriftSpec, StoredVerdict
from core.jobfile.spec import InputFile
from core.scoring.answers import read_answers
from jobs.inputs import read_golden
from tests.support.llama_cpp import llama_cpp, small_q8_0, started
from tests.support.small_model import home_with, small_model
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train

TEXTS = ("Say hello.", "Name a flour.", "What is bread made of?", "Where does the sun set?", "Count to three.")
TASK = Task.model_validate(
    {
        "name": "hello",
        "system": "Answer in one short sentence.",
        "sampling": Sampling(context_length=1024, max_new_tokens=16).model_dump(),
        "repeats": 1,
        "margin": 0.5,
        "format": [{"check": "regex", "pattern": "."}],
    }
)


@pytest.fixture(scope="module")
def shop(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(home_with(model_cache, tmp_path_factory.mktemp("home")), small_model(), forked=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def smaller(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gguf") / "small-Q2_K.gguf"
    quantize = llama_cpp().require("llama-quantize")
    command = [quantize, "--allow-requantize", small_q8_0(model_cache), file, "Q2_K"]
    subprocess.run(command, check=True, capture_output=True)
    return file


def test_the_same_file_is_no_drift_and_a_smaller_one_under_its_name_has_all_inputs_asked(
    shop: Workshop, model_cache: Path, smaller: Path, tmp_path: Path
) -> None:
    under_test = TaskUnderTest(task=TASK, golden=shop.golden(*TEXTS), repeats=1)
    inputs = read_golden(under_test.golden)

    def check(number: int, file: Path, baseline: RunDir | None = None, **more: Any) -> dict[str, Any]:
        url, process = started(file, tmp_path / f"{number}.log", "-c", "1024", "-np", "1", "--jinja", "-a", "small")
        try:
            server = ServerUnderTest(name="box", api="openai", url=url)
            stored = None
            if baseline is not None:
                stored = InputFile(path=str(smoke_file(baseline)), sha256="0" * 64, source="smoke.json")
            spec = DriftSpec(
                version=CheckedVersion(alias_id=1, version_id=1, number=1),
                asked=CandidateSpec(name="small", form="served", server=server, served_model="small"),
                under_test=under_test,
                model=shop.model,
                baseline=stored,
                **more,
            )
            run = shop.submit(number, spec)
            assert shop.finish(run) == 0, run.attempt(1).log.read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
        summary: dict[str, Any] = read_json(run.result)["summary"]
        return summary

    first = shop.home.run_dir(1)
    nothing = StoredVerdict(bakeoff=1, candidate="small", scores={})
    found = check(1, small_q8_0(model_cache), full=True, verdict=nothing)
    assert found["outcome"] == "baseline_taken" and found["prompts"]["checked"] and not found["prompts"]["differ"]
    answers = [one for one in read_answers(first.path / "drift-answers.jsonl") if one.candidate == "golden set"]
    scores = {str(part): means for part, means in scores_by_input(TASK, inputs, answers, 1.0).items()}
    verdict = StoredVerdict(bakeoff=1, candidate="small", scores=scores)

    found = check(2, small_q8_0(model_cache), first, verdict=verdict)
    assert (found["outcome"], len(found["smoke"]["same"]), found["asked_all"]) == ("same", len(TEXTS), False)

    found = check(3, smaller, first, verdict=verdict)
    assert found["smoke"]["differing"] and found["asked_all"] and found["prompts"]["checked"]
    assert found["first"]["parts"]["format"]["inputs"] == len(TEXTS)
    assert found["outcome"] == "differs_no_loss" and not found["prompts"]["differ"]
