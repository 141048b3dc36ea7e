"""The jobs `convert` and `quantize` with llama.cpp's real tools, on a model with random weights; what a stop leaves behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from core.config.model import ModelEntry
from core.data.training_marks import has_training_marks
from core.files import read_json, sha256_file, sha256_tree, write_json
from core.home import Home, RunDir
from core.jobfile.convert import ConvertSpec, GgufFormat
from core.jobfile.quantize import Quantization, QuantizeSpec
from core.models.gguf import check_servable
from core.models.llama_cpp import LlamaCpp
from core.own_paths import read_result
from core.shipping.families import CONVERSATIONS
from core.shipping.gguf_template import template_of
from jobs.context import STOPPED_EXIT_CODE
from jobs.gguf import the_file_in
from tests.support.llama_cpp import convertible_model, llama_cpp
from tests.support.modelfile_reader import read_modelfile
from tests.support.ollama_render import render
from tests.support.tiny_model import tiny_model
from tests.support.workshop import Process, Workshop, events, wait_until

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def tools() -> LlamaCpp:
    return llama_cpp()


@pytest.fixture(scope="module")
def model(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    return convertible_model(model_cache, tmp_path_factory.mktemp("convertible"))


@pytest.fixture(scope="module")
def shop(model: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(Home(tmp_path_factory.mktemp("home")).create(), model, forked=True)
    yield made
    made.close()


class Makers:
    """Submits one job after the other, each with an id of its own."""

    def __init__(self, shop: Workshop, tools: LlamaCpp) -> None:
        self.shop, self.tools = shop, tools
        self.count = 0

    def convert(self, model: ModelEntry | None = None, format: GgufFormat = "f32", **more: Any) -> RunDir:
        converter = str(self.tools.require("converter"))
        return self._submit(ConvertSpec(model=model or self.shop.model, format=format, converter=converter, **more))

    def quantize(self, source: str, quantization: Quantization = "Q8_0") -> RunDir:
        program = str(self.tools.require("llama-quantize"))
        return self._submit(QuantizeSpec(source=source, quantization=quantization, program=program))

    def _submit(self, spec: Any) -> RunDir:
        self.count += 1
        return self.shop.submit(self.count, spec)


@pytest.fixture(scope="module")
def make(shop: Workshop, tools: LlamaCpp) -> Makers:
    return Makers(shop, tools)


def done(shop: Workshop, run: RunDir) -> dict[str, Any]:
    assert shop.finish(run) == 0, run.attempt(1).log.read_text()
    return read_result(run) or {}


@pytest.fixture(scope="module")
def converted(shop: Workshop, make: Makers) -> tuple[RunDir, dict[str, Any]]:
    """The model as a GGUF file in full precision: its job and what that came to."""
    run = make.convert()
    return run, done(shop, run)


@pytest.fixture(scope="module")
def quantised(shop: Workshop, make: Makers, converted: tuple[RunDir, dict[str, Any]]) -> tuple[RunDir, dict[str, Any]]:
    """That file in Q8_0."""
    run = make.quantize(reference(converted[0]))
    return run, done(shop, run)


def tensors(file: Path) -> dict[str, tuple[int, tuple[int, ...], bytes]]:
    """Type, shape and content of each tensor, read by another library."""
    from gguf import GGUFReader

    return {
        tensor.name: (int(tensor.tensor_type), tuple(map(int, tensor.shape)), np.asarray(tensor.data).tobytes())
        for tensor in GGUFReader(file).tensors
    }


def reference(run: RunDir) -> str:
    return f"job:{run.path.name}/gguf"


def test_a_model_becomes_a_gguf_file_with_its_lineage(
    converted: tuple[RunDir, dict[str, Any]], model: ModelEntry, tools: LlamaCpp
) -> None:
    run, result = converted
    (artefact,) = result["artefacts"]
    file = Path(result["summary"]["path"])
    header = check_servable(file, "the converted one")
    assert (artefact["kind"], Path(artefact["path"])) == ("gguf", file.parent)
    assert header.architecture == "llama" and header.keys["llama.block_count"] == 2
    assert header.chat_template is not None and "<|im_start|>" in header.chat_template
    lineage = read_json(Path(artefact["path"]).parent / "lineage.json")
    assert lineage["file_sha256"] == sha256_file(file) == result["summary"]["file_sha256"]
    assert lineage["source"] == model.name and lineage["format"] == "f32"
    assert lineage["tool"]["name"] == "convert_hf_to_gguf.py" and lineage["tool"]["version"].startswith("sha256:")
    progress = events(run, 1, "progress")
    assert progress and progress[-1]["done"] == progress[-1]["total"] > 0 and progress[-1]["unit"] == "bytes"
    assert not events(run, 1, "warning")


def test_a_modelfile_stands_beside_each_file_and_names_the_template_that_it_was_trained_with(
    shop: Workshop, converted: tuple[RunDir, dict[str, Any]], quantised: tuple[RunDir, dict[str, Any]]
) -> None:
    """SmolLM2's own template is ChatML with a system message of its own: what is written renders the same."""
    for _, result in (converted, quantised):
        artefact, file = result["artefacts"][0], Path(result["summary"]["path"])
        assert artefact["lineage"]["template"] == {"family": "chatml"}
        assert the_file_in(file.parent) == file and sha256_tree(file.parent) == artefact["sha256"]
        read = read_modelfile((file.parent / "Modelfile").read_text(encoding="utf-8"))
        assert read[0] == ("from", f"./{file.name}") and [name for name, _ in read[1:]] == ["template", "stop", "stop"]
        own = template_of(file, check_servable(file, file.name))
        assert own is not None
        for name, messages in CONVERSATIONS.items():
            asked = [message.to_json() for message in messages]
            assert render(read[1][1], asked, None) == own.prompt(messages, None), name


def test_marks_of_training_do_not_reach_the_file(
    shop: Workshop, make: Makers, model_cache: Path, tmp_path: Path
) -> None:
    marked = convertible_model(model_cache, tmp_path / "marked")
    assert marked.path is not None
    written = Path(marked.path) / "chat_template.jinja"
    source = written.read_text(encoding="utf-8")
    written.write_text("{% generation %}" + source + "{% endgeneration %}", encoding="utf-8")
    result = done(shop, make.convert(marked))
    file = Path(result["summary"]["path"])
    template = check_servable(file, file.name).chat_template
    assert template is not None and not has_training_marks(template) and "<|im_start|>" in template
    assert result["artefacts"][0]["lineage"]["training_marks"] == "removed"
    assert result["summary"]["file_sha256"] == sha256_file(file)
    assert tensors(file) and leftovers(shop) == []


def test_quantising_gives_the_tensors_that_the_converter_writes_directly(
    shop: Workshop,
    make: Makers,
    converted: tuple[RunDir, dict[str, Any]],
    quantised: tuple[RunDir, dict[str, Any]],
) -> None:
    run, result = quantised
    direct = done(shop, make.convert(format="q8_0"))
    ours, theirs = Path(result["summary"]["path"]), Path(direct["summary"]["path"])
    assert tensors(ours) == tensors(theirs)
    assert ours.stat().st_size < Path(converted[1]["summary"]["path"]).stat().st_size
    lineage = result["artefacts"][0]["lineage"]
    assert (lineage["source"], lineage["quantization"]) == (reference(converted[0]), "Q8_0")
    assert lineage["source_sha256"] == converted[1]["summary"]["file_sha256"]
    assert lineage["tool"]["name"] == "llama-quantize" and "build" in lineage["tool"]["version"]
    made_of = {
        "kind": "gguf",
        "sha256": converted[1]["artefacts"][0]["sha256"],
        **converted[1]["artefacts"][0]["lineage"],
    }
    assert lineage["made_of"] == made_of and made_of["tool"]["name"] == "convert_hf_to_gguf.py"
    told = [(event["label"].partition(",")[0], event["done"]) for event in events(run, 1, "progress")]
    assert told == [(step, done) for step in ("quantising", "proving") for done in range(1, len(tensors(ours)) + 1)]


def test_what_does_not_divide_into_blocks_is_told(
    shop: Workshop, make: Makers, converted: tuple[RunDir, dict[str, Any]]
) -> None:
    run = make.quantize(reference(converted[0]), "Q4_K_M")
    done(shop, run)
    assert [event["code"] for event in events(run, 1, "warning")] == ["fallback_types"]


def test_what_is_quantised_is_not_quantised_again(
    shop: Workshop, make: Makers, quantised: tuple[RunDir, dict[str, Any]]
) -> None:
    run = make.quantize(reference(quantised[0]), "Q4_K_M")
    assert shop.finish(run) == 2
    assert read_json(run.attempt(1).error_json)["code"] == "already_quantised"
    assert leftovers(shop) == []


def test_a_tokenizer_that_llama_cpp_does_not_know_is_told_in_one_line(
    shop: Workshop, make: Makers, tmp_path: Path
) -> None:
    run = make.convert(tiny_model(tmp_path / "own"))
    assert shop.finish(run) == 1
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "tool_failed" and "tokenizer" in error["message"] and "\n" not in error["message"]
    assert leftovers(shop) == []


def test_a_missing_tool_names_the_three_ways(shop: Workshop, make: Makers, tmp_path: Path) -> None:
    spec = ConvertSpec(model=shop.model, converter=str(tmp_path / "gone.py"))
    run = make._submit(spec)
    assert shop.finish(run) == 2
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "no_llama_cpp"
    assert all(way in error["remedy"] for way in ("llama_cpp:", "LLAMA_CPP_DIR", "PATH"))


# --- stops: nothing half done is ever in the store


def leftovers(shop: Workshop) -> list[str]:
    """What is in the store beside whole artefacts."""
    return [place.name for place in shop.home.artefacts.iterdir() if not (place / "lineage.json").is_file()]


def tool_of(process: Process) -> psutil.Process:
    """The converter of a job that runs, once it has begun."""
    found: list[psutil.Process] = []

    def begun() -> bool:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if any(word.endswith("convert_hf_to_gguf.py") for word in child.cmdline()[:2]):
                    found.append(child)
            except psutil.Error:
                continue
        return bool(found)

    wait_until(begun, process)
    return found[0]


@pytest.mark.parametrize("how", ["request", "signal"])
def test_a_stop_is_heeded_while_the_tool_works(shop: Workshop, make: Makers, how: str) -> None:
    run = make.convert(format="bf16")
    process = shop.start(run)
    tool = tool_of(process)
    if how == "request":
        write_json(run.attempt(1).stop_request, {"why": "cancel", "reason": {}, "asked_at": 0})
    else:
        process.send_signal(signal.SIGTERM)
    assert shop.ended(process) == STOPPED_EXIT_CODE
    assert not tool.is_running()
    assert leftovers(shop) == [] and not run.result.exists() and not run.attempt(1).error_json.exists()
