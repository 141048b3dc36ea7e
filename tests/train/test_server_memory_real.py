"""What is predicted of a llama-server's memory, held to the resident size of real ones and to what they log themselves.

`pytest -s` prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.models.gguf import check_servable
from core.models.gguf_memory import BATCH, PROGRAM_BYTES, ServerMemory, server_memory, shape_of_file
from core.models.llama_cpp import gpu_devices
from core.serving.answering import Question
from jobs.llama_server import LlamaServer
from tests.support.llama_cpp import llama_cpp, small_q8_0

pytestmark = pytest.mark.train

OFF = 0.08
"""How far the resident size may be from the prediction."""
LOGGED_OFF = 2**20
"""Buffers are logged to a hundredth of a MiB each."""


@pytest.fixture(scope="module")
def program() -> Path:
    found = llama_cpp().require("llama-server")
    if gpu_devices(found):
        pytest.skip("this llama-server computes on a GPU")
    return found


@pytest.fixture(scope="module")
def files(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The real small model in two types: one that is mapped as it is, one that a processor lays out anew."""
    q8_0 = small_q8_0(model_cache)
    q4_0 = tmp_path_factory.mktemp("gguf") / "small-Q4_0.gguf"
    quantize = llama_cpp().require("llama-quantize")
    subprocess.run([quantize, "--allow-requantize", q8_0, q4_0, "Q4_0"], check=True, capture_output=True)
    return {"Q8_0": q8_0, "Q4_0": q4_0}


class Measured:
    """A server that has worked on a whole batch: its resident bytes, and the buffers that it logged."""

    def __init__(self, server: LlamaServer, context_length: int) -> None:
        self.loaded = server.load(context_length)
        server.ask(long_question(context_length))
        assert server.process is not None
        self.resident_bytes = psutil.Process(server.process.pid).memory_info().rss
        self.buffers = server.log_of_start.buffers()
        server.close()

    def logged(self, purpose: str) -> int:
        return sum(size for place, what, size in self.buffers if what == purpose and place != "CPU_REPACK")

    def repacked(self) -> int:
        return sum(size for place, what, size in self.buffers if place == "CPU_REPACK")


def long_question(context_length: int) -> Question:
    """A prompt of more than a batch of tokens, as far as the window has room for it."""
    words = min(BATCH, context_length // 2) * 3 // 4
    return Question(
        messages=(("user", " ".join(f"{number}" for number in range(words))),),
        seed=1,
        temperature=0.0,
        top_p=None,
        top_k=None,
        repeat_penalty=1.0,
        max_new_tokens=2,
        context_length=context_length,
        think=False,
    )


CASES = [("Q8_0", 2048, 1), ("Q8_0", 8192, 1), ("Q8_0", 2048, 4), ("Q4_0", 2048, 1)]
Results = dict[tuple[str, int, int], tuple[ServerMemory, Measured]]


@pytest.fixture(scope="module")
def results(program: Path, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    found: Results = {}
    for kind, context_length, slots in CASES:
        log = tmp_path_factory.mktemp("log") / "llama-server.log"
        server = LlamaServer("small", files[kind], program, log, weights="sha256:0", slots=slots)
        shape = shape_of_file(check_servable(files[kind], kind))
        memory = server_memory(shape, context_length, slots, on_gpu=False)
        found[kind, context_length, slots] = memory, Measured(server, context_length)
    yield found
    for (kind, context_length, slots), (memory, measured) in found.items():
        predicted, resident = memory.resident_bytes / 1e6, measured.resident_bytes / 1e6
        ratio = f"{resident:.0f} MB resident, {predicted:.0f} predicted: {resident / predicted:.3f}"
        print(f"\n{kind}, {context_length} tokens × {slots}: {ratio}", end="")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_resident_size_is_what_was_predicted(results: Results, case: tuple[str, int, int]) -> None:
    memory, measured = results[case]
    assert measured.resident_bytes == pytest.approx(memory.resident_bytes, rel=OFF)
    assert measured.loaded.host_bytes is not None
    assert measured.loaded.host_bytes <= measured.resident_bytes


def test_a_longer_window_costs_what_its_cache_is_counted_with(results: Results) -> None:
    """The difference of two servers knows nothing of what both have alike."""
    (short, at_short), (long, at_long) = results["Q8_0", 2048, 1], results["Q8_0", 8192, 1]
    grew = long.resident_bytes - short.resident_bytes
    assert grew > long.components["cache"] - short.components["cache"] > 10 * PROGRAM_BYTES // 3
    assert at_long.resident_bytes - at_short.resident_bytes == pytest.approx(grew, rel=OFF)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_buffers_that_it_logs_are_those_that_were_counted(results: Results, case: tuple[str, int, int]) -> None:
    memory, measured = results[case]
    if not measured.buffers:
        pytest.skip("this version logs no sizes")
    assert measured.logged("KV") == pytest.approx(memory.components["cache"], abs=LOGGED_OFF)
    assert measured.logged("model") == pytest.approx(memory.components["weights"], abs=LOGGED_OFF)
    assert measured.repacked() == pytest.approx(memory.spare_bytes, abs=LOGGED_OFF)
    computed = measured.logged("compute") + measured.logged("output")
    assert computed == pytest.approx(memory.components["compute"], rel=0.2)
