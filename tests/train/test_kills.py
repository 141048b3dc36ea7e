"""SIGKILL in every stage between an adapter and what serves: nothing half-made counts, and a retry makes the same.

Real jobs on a model with random weights, each killed at one point after the other, attempt by attempt: while the tool has half
a file written, before the artefact is renamed to its place, after that and before the result, before the result counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.errors import NotFoundError
from core.files import read_json, sha256_file, sha256_tree
from core.home import Home, RunDir
from core.jobfile.convert import ConvertSpec
from core.jobfile.convert_lora import ConvertLoraSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.parity import ParitySpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.spec import Spec
from core.models.gguf import whole_header
from jobs.artefacts import ArtefactStore
from tests.support.halting_tool import HALF, HaltingTool
from tests.support.held_job import Hold
from tests.support.llama_cpp import convertible_model, llama_cpp
from tests.support.parity_checks import HELLO
from tests.support.standstill import BEFORE_RESULT, BEFORE_RESULT_COUNTS, Standstill, kill_group, start_until
from tests.support.workshop import Workshop
from tests.train.test_gguf_proof import random_adapter

pytestmark = pytest.mark.train

NUMBERS = {"merge": 1, "convert": 2, "quantize": 3, "convert_lora": 4, "parity": 5}
MAKES = {"merge": "merged", "convert": "gguf", "quantize": "gguf", "convert_lora": "lora"}
TAKES = {"merge": (), "convert": ("merge",), "quantize": ("merge", "convert"), "convert_lora": (), "parity": ()}
AT_RESULT = (BEFORE_RESULT, BEFORE_RESULT_COUNTS)
AS_ARTEFACT: tuple[Standstill | Hold | str, ...] = (Standstill("os.rename", "*/.tmp-*"), *AT_RESULT)
POINTS: Mapping[str, tuple[Standstill | Hold | str, ...]] = {
    "merge": (Hold("progress", "done", 1), *AS_ARTEFACT),
    "convert": (HALF, Hold("phase", "name", "proving"), Hold("phase", "name", "measuring"), *AS_ARTEFACT),
    "quantize": (HALF, Hold("progress", "label", "proving"), *AS_ARTEFACT),
    "convert_lora": (HALF, *AS_ARTEFACT),
}


@dataclass
class KillBench:
    """The stages in one home, each as the job of its number; a stage that is asked for has the stages before it made."""

    shop: Workshop
    adapter: Path
    tools: Mapping[str, HaltingTool]
    runs: dict[str, RunDir] = field(default_factory=dict)

    def spec(self, stage: str) -> Spec:
        model = self.shop.model
        if stage == "merge":
            return MergeSpec(adapter=str(self.adapter), model=model, dtype="bf16")
        if stage == "convert":
            return ConvertSpec(
                model=model, source="job:1/merged", format="f16", converter=str(self.tools["converter"].script)
            )
        if stage == "quantize":
            program = str(self.tools["llama-quantize"].script)
            return QuantizeSpec(source="job:2/gguf", program=program, model=model, tuned=True)
        if stage == "convert_lora":
            base = self.adapter / "adapter_model.safetensors"  # is only named
            converter = str(self.tools["lora-converter"].script)
            return ConvertLoraSpec(
                adapter=str(self.adapter), model=model, base_gguf=str(base), converter=converter, task="greet"
            )
        golden = self.shop.golden("Say hello.")
        program = str(llama_cpp().require("llama-server"))
        return ParitySpec(source="job:3/gguf", model=model, task=HELLO, golden=golden, program=program)

    def run(self, stage: str) -> RunDir:
        """The job of a stage, submitted and not begun."""
        if stage not in self.runs:
            self.runs[stage] = self.shop.submit(NUMBERS[stage], self.spec(stage))
        return self.runs[stage]

    def made(self, stage: str) -> dict[str, Any]:
        """The artefact of a stage."""
        run = self.run(stage)
        if not run.result.exists():
            for before in TAKES[stage]:
                self.made(before)
            attempt = len(list(run.attempts())) + 1
            assert self.shop.finish(run, attempt) == 0, run.attempt(attempt).log.read_text()
        artefacts = read_json(run.result)["artefacts"]
        return artefacts[0] if artefacts else {}

    def digest_after_kills(self, stage: str, whole: Path) -> str:
        """Kill the stage at one point after the other, then let it run to its end."""
        for before in TAKES[stage]:
            self.made(before)
        tool = self.tool_of(stage)
        run = self.run(stage)
        for number, point in enumerate(POINTS[stage], start=1):
            if tool is not None:
                tool.does(HALF if point == HALF else "whole", whole)
            process = start_until(self.shop, run, number, Standstill() if isinstance(point, str) else point)
            # Of a job whose tool works the job alone is killed: its tool goes with it.
            kill_group(self.shop, process, process.pid if point == HALF else None)
            self.nothing_counts(stage)
        if tool is not None:
            tool.does("real", whole)
        return str(self.made(stage)["sha256"])

    def nothing_counts(self, stage: str) -> None:
        """There is no result, so that nobody finds an artefact, and whatever lies under its final name is whole."""
        home = self.shop.home
        assert not self.run(stage).result.exists()
        with pytest.raises(NotFoundError, match="has no result"):
            ArtefactStore(home.artefacts, home).resolve(f"job:{NUMBERS[stage]}/{MAKES[stage]}", MAKES[stage])
        for place in home.artefacts.iterdir():
            if not place.name.startswith("."):
                (content,) = (folder for folder in place.iterdir() if folder.is_dir())
                assert sha256_tree(content) == place.name == read_json(place / "lineage.json")["sha256"]
        for file in home.root.rglob("*.gguf"):
            if not file.relative_to(home.artefacts).parts[0].startswith("."):
                whole_header(file, file.name)
                assert sha256_file(file) == read_json(file.parent.parent / "lineage.json")["file_sha256"]

    def tool_of(self, stage: str) -> HaltingTool | None:
        which = {"convert": "converter", "quantize": "llama-quantize", "convert_lora": "lora-converter"}.get(stage)
        return None if which is None else self.tools[which]


@pytest.fixture(scope="module")
def bench(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], KillBench]]:
    """Makes benches that share a base and an adapter on it."""
    root = tmp_path_factory.mktemp("bench")
    model = convertible_model(model_cache, root / "base")
    random_adapter(model, root / "adapter", 0.01)
    made: list[KillBench] = []

    def one() -> KillBench:
        place = root / f"tools-{len(made)}"
        place.mkdir()
        tools = {which: HaltingTool.of(place, which) for which in ("converter", "lora-converter", "llama-quantize")}
        for tool in tools.values():
            tool.does("real", Path())
        shop = Workshop(Home(root / f"home-{len(made)}").create(), model, forked=True, threads=1)
        made.append(KillBench(shop, root / "adapter", tools))
        return made[-1]

    yield one
    for each in made:
        each.shop.close()


@pytest.fixture(scope="module")
def undisturbed(bench: Callable[[], KillBench]) -> KillBench:
    return bench()


@pytest.fixture(scope="module")
def disturbed(bench: Callable[[], KillBench]) -> KillBench:
    return bench()


@pytest.mark.parametrize("stage", POINTS)
def test_a_stage_that_is_killed_wherever_leaves_nothing_half_made_and_its_retry_makes_the_same(
    undisturbed: KillBench, disturbed: KillBench, stage: str
) -> None:
    whole = undisturbed.made(stage)
    file = next(undisturbed.shop.home.artefacts.joinpath(whole["sha256"], MAKES[stage]).glob("*.gguf"), Path())
    assert disturbed.digest_after_kills(stage, file) == whole["sha256"]
    assert disturbed.run(stage).attempts()[-1].number == len(POINTS[stage]) + 1
    assert not list(disturbed.shop.home.artefacts.glob(".*")), "what the kills left is gone"


PARITY_POINTS = (Hold("progress", "done", 1), Hold("phase", "name", "asking for one answer"), *AT_RESULT)


def test_a_parity_check_that_is_killed_says_nothing_and_takes_its_server_with_it(undisturbed: KillBench) -> None:
    """The job alone is killed: its server goes with it. What it had found, and was not its result, is found again."""
    undisturbed.made("quantize")
    run = undisturbed.run("parity")
    for number, point in enumerate(PARITY_POINTS, start=1):
        process = start_until(undisturbed.shop, run, number, point)
        servers = [one for one in psutil.Process(process.pid).children() if one.name() == "llama-server"]
        assert bool(servers) is isinstance(point, Hold)
        kill_group(undisturbed.shop, process, process.pid)
        assert not run.result.exists()
    before = read_json(run.parity)
    undisturbed.made("parity")
    found = read_json(run.parity)
    assert found["passed"] and found["cases"] == before["cases"] and len(found["cases"]) > 4
