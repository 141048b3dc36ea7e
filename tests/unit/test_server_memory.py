"""The memory of a bake-off's llama-servers at submission: what is told, what is refused, what the queue holds the job to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import psutil
import pytest

from core.errors import InputError
from core.jobfile import quantize
from core.jobfile.bakeoff import ASKING_BYTES
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.spec import WORKING_BYTES
from core.models.files import parameter_count
from core.reasons import Reason
from core.runner.schedule import Resources, find_blocker
from core.store.database import open_database
from core.store.jobs import JobRow
from core.submission.bakeoff import check_bakeoff
from core.submission.enqueue import store
from tests.support.gguf_bytes import KEYS, Tensor, header
from tests.support.kitchen import Kitchen, kitchen
from tests.support.machines import FakeMachine, write
from tests.unit.test_bakeoff_gguf_and_time import server_in

__all__ = ["kitchen"]
GB = 10**9
CARD = "0000:03:00.0"
WIDTH = 1024


class Memory(NamedTuple):
    total: int
    available: int


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch, kitchen: Kitchen) -> Callable[[int, int], None]:
    """Sets the memory of a machine without a GPU that has a llama-server; at first 16 GB, of which 12 can be had."""
    FakeMachine(kitchen.root.parent / "machine").use(monkeypatch)
    monkeypatch.setenv("LLAMA_CPP_DIR", str(server_in(kitchen.root.parent / "llama").parent))

    def host(total: int, available: int) -> None:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(total, available))

    # A job that really runs on this machine is none of that machine's: what it holds would count as memory to be had.
    monkeypatch.setattr("core.vram.budget._jobs_resident", lambda: 0)
    host(16 * GB, 12 * GB)
    return host


def gguf(kitchen: Kitchen, name: str, weights: int, layers: int = 4, keys: Mapping[str, Any] = KEYS) -> None:
    """A file with `weights` bytes of weights in layers that keep 2 × 1024 values of a token; nothing of it is on the disk."""
    tensors: list[Tensor] = []
    offset = 0

    def add(name: str, *shape: int) -> None:
        nonlocal offset
        tensors.append((name.encode(), shape, 1, offset))
        offset += 2 * shape[0] * shape[1]

    for number in range(layers):
        add(f"blk.{number}.attn_k.weight", WIDTH, WIDTH)
        add(f"blk.{number}.attn_v.weight", WIDTH, WIDTH)
    add("blk.0.ffn_up.weight", WIDTH, (weights - offset) // 2 // WIDTH)
    content = header(dict(keys), tuple(tensors))
    path = kitchen.root / name
    path.write_bytes(content)
    os.truncate(path, -(-len(content) // 32) * 32 + offset)


def answered(kitchen: Kitchen, *names: str, **more: object) -> tuple[JobRow, list[str]]:
    remarks: list[str] = []
    return kitchen.submit(kitchen.wanted(*names, **more), remarks), remarks


def test_the_job_is_held_to_what_its_largest_server_will_take(kitchen: Kitchen) -> None:
    gguf(kitchen, "small.gguf", GB)
    gguf(kitchen, "large.gguf", 3 * GB)
    job, remarks = answered(kitchen, "small.gguf", "large.gguf", "large.gguf@temperature=1")
    memory = kitchen.spec(job).server_memory
    assert list(memory) == ["small", "large"], "one server for all ways in which a model is asked"
    assert memory["large"].components["weights"] == pytest.approx(3 * GB, rel=1e-3)
    assert memory["large"].components["cache"] == memory["large"].window * 4 * 2 * WIDTH * 2
    assert job.host_memory_bytes == ASKING_BYTES + memory["large"].host_bytes
    assert job.device_memory_bytes is None
    assert "and takes at most 3.1 GB of host memory" in remarks[0] and len(remarks) == 1


def test_more_slots_and_the_longest_window_that_is_asked_for_are_counted(kitchen: Kitchen) -> None:
    gguf(kitchen, "small.gguf", GB)
    plain, _ = answered(kitchen, "small.gguf")
    one = kitchen.spec(plain).server_memory["small"]
    job, _ = answered(kitchen, "small.gguf", "small.gguf@context_length=8192", concurrency=4)
    several = kitchen.spec(job).server_memory["small"]
    assert (several.window, several.slots) == (8192, 4)
    assert several.components["cache"] == one.components["cache"] * 4 * 8192 // one.window


def test_beside_models_that_the_job_loads_itself_its_own_working_set_stays(kitchen: Kitchen) -> None:
    gguf(kitchen, "large.gguf", 5 * GB)
    job, _ = answered(kitchen, "large.gguf", "plain")
    assert job.host_memory_bytes == WORKING_BYTES + kitchen.spec(job).server_memory["large"].host_bytes


def test_what_this_machine_never_has_is_refused_in_one_line(kitchen: Kitchen) -> None:
    gguf(kitchen, "huge.gguf", 20 * GB)
    with pytest.raises(InputError) as caught:
        answered(kitchen, "huge.gguf")
    assert caught.value.code == "too_large" and "\n" not in caught.value.message
    assert all(word in caught.value.message for word in ("huge", "20.", "15.5 GB"))
    with contextlib.closing(open_database(kitchen.home)) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone()[0] == 0


def test_what_does_not_fit_now_is_told_and_waits(kitchen: Kitchen, host: Callable[[int, int], None]) -> None:
    gguf(kitchen, "large.gguf", 5 * GB)
    host(16 * GB, 3 * GB)
    job, remarks = answered(kitchen, "large.gguf")
    assert "large does not fit now" in remarks[1] and "waits until there is room" in remarks[1]

    def blocker(available: int) -> Reason | None:
        found = find_blocker(job, {}, Resources(None, None, available, 10**12), 0)
        return None if found is None else found.reason

    low = blocker(3 * GB)
    assert low is not None and low.code == "host_memory_low"
    assert blocker(12 * GB) is None


def test_a_cache_that_is_only_guessed_refuses_nothing(kitchen: Kitchen, host: Callable[[int, int], None]) -> None:
    """An architecture with sliding windows that is not known here: its cache is counted as the largest that it can be."""
    sliding = {**KEYS, "general.architecture": "newer", "newer.attention.sliding_window": 512}
    gguf(kitchen, "new.gguf", GB, layers=64, keys=sliding)
    host(2 * GB, 2 * GB)
    _, remarks = answered(kitchen, "new.gguf@context_length=16384")
    assert "new may not fit now: its llama-server needs at most" in remarks[1]


def test_a_file_that_a_job_will_make_is_told_by_its_model(kitchen: Kitchen) -> None:
    """Its parameters and shape are known before; of a file of somebody else's that is being quantised nothing is."""
    entry = kitchen.project.model("plain")

    def queued(model: object) -> JobRow:
        spec = QuantizeSpec(source="/a.gguf", quantization="Q4_K_M", program="/llama-quantize", model=model)
        return store(kitchen.home, kitchen.project, spec, author="tester")

    known, unknown = queued(entry), queued(None)
    remarks: list[str] = []
    spec = kitchen.spec(kitchen.submit(kitchen.wanted(f"job:{known.id}", f"job:{unknown.id}"), remarks))
    (memory,) = spec.server_memory.values()
    weights = parameter_count(kitchen.home, entry) * quantize.BITS["Q4_K_M"] / 8
    assert memory.components["weights"] == round(weights) > 0
    assert memory.components["cache"] > 0
    assert remarks[-1] == "how much memory a Q4_K_M will take is not known"


@pytest.fixture
def gpu(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the machine one with a GPU of so many GiB, and the llama-server one that was built for it or for the CPU."""

    def gpu(gibibytes: float, devices: tuple[str, ...] | None = ("ROCm0: Radeon",)) -> None:
        machine = FakeMachine(kitchen.root.parent / "with-gpu").amd(CARD, name="AMD Radeon RX 9070 XT")
        machine.use(monkeypatch)
        memory = {"mem_info_vram_total": str(int(gibibytes * 2**30)), "mem_info_vram_used": "0"}
        write(machine.sysfs / "class/drm/card0/device", memory)
        monkeypatch.setattr("core.submission.server_memory.gpu_devices", lambda server: devices)

    return gpu


def test_a_server_for_the_gpu_takes_the_gpus_memory(kitchen: Kitchen, gpu: Callable[..., None]) -> None:
    gpu(16)
    gguf(kitchen, "large.gguf", 5 * GB)
    job, remarks = answered(kitchen, "large.gguf")
    memory = kitchen.spec(job).server_memory["large"]
    assert job.device_memory_bytes == memory.device_bytes > 5 * GB
    assert job.host_memory_bytes < 3 * GB
    assert "of GPU memory" in remarks[0] and len(remarks) == 1
    gguf(kitchen, "huge.gguf", 20 * GB)
    with pytest.raises(InputError, match="AMD Radeon RX 9070 XT"):
        answered(kitchen, "huge.gguf")


def test_a_server_for_the_cpu_takes_the_hosts_whatever_gpu_there_is(kitchen: Kitchen, gpu: Callable[..., None]) -> None:
    gpu(4, devices=())
    gguf(kitchen, "large.gguf", 5 * GB)
    job, remarks = answered(kitchen, "large.gguf")
    assert job.device_memory_bytes is None and job.host_memory_bytes > 5 * GB
    assert "of host memory" in remarks[0]


def test_a_server_that_does_not_tell_its_devices_is_taken_for_one_of_the_gpu(
    kitchen: Kitchen, gpu: Callable[..., None]
) -> None:
    gpu(16, devices=None)
    gguf(kitchen, "large.gguf", 5 * GB)
    assert (answered(kitchen, "large.gguf")[0].device_memory_bytes or 0) > 5 * GB


def test_the_form_says_the_same_before_anything_is_stored(kitchen: Kitchen) -> None:
    gguf(kitchen, "large.gguf", 5 * GB)
    remarks: list[str] = []
    with contextlib.closing(open_database(kitchen.home)) as connection:
        checked = check_bakeoff(kitchen.home, connection, kitchen.project, kitchen.wanted("large.gguf"), remarks)
    _, told = answered(kitchen, "large.gguf")
    assert remarks == told and checked.servers.words.endswith("of host memory")
