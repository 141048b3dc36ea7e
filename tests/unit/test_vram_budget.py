"""How much memory there is: as a person names it, and as the machine says."""

from __future__ import annotations

import psutil
import pytest

from core.errors import InputError
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.vram.budget import Budget, budget_for, budget_of, parse_vram
from core.vram.layers import NotPredicted


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("16", 17_179_869_184),
        ("16GB", 16_000_000_000),
        ("16gb", 16_000_000_000),
        ("16 GiB", 17_179_869_184),
        ("16G", 17_179_869_184),
        ("7.5", 8_053_063_680),
        (" 24 ", 25_769_803_776),
    ],
)
def test_a_bare_number_is_a_gpu_as_it_is_sold_and_units_are_taken_literally(text: str, count: int) -> None:
    assert parse_vram(text) == count


@pytest.mark.parametrize("text", ["", "GB", "0", "-4", "16TB", "sixteen", "1e3", "16 GB VRAM", "999999", "nan"])
def test_what_is_no_amount_of_memory_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match="is no amount of memory") as refused:
        parse_vram(text)
    assert (refused.value.exit_code, refused.value.key) == (2, "vram")
    assert "16GB" in str(refused.value)


def test_a_job_may_have_97_percent_less_what_is_in_use() -> None:
    assert budget_for("16").limit_bytes == 16_664_473_108
    assert Budget(10**9, 3 * 10**8, "a GPU", "gpu").limit_bytes == 670_000_000
    assert Budget(10**9, 2 * 10**9, "a full GPU", "gpu").limit_bytes == 0


def sample(*processes: ProcessReading, **gpu: object) -> Sample:
    values = {"vram_total_bytes": 17_179_869_184, "vram_used_bytes": 9_000_000_000, "pci": "0000:03:00.0", **gpu}
    device = DeviceReading(0, "RX 9070 XT", "amd", **values)  # type: ignore[arg-type]
    return Sample(1.0, "sysfs", HostReading(), (device,), processes)


def process(name: str, vram: int | None, *, ours: bool = False, pci: str | None = "0000:03:00.0") -> ProcessReading:
    return ProcessReading(1, name, vram, ours, pci)


IDLE = 600_000_000


def test_only_what_stays_while_a_job_runs_is_taken_off_and_the_rest_is_named() -> None:
    found = sample(
        process("Xorg", 200_000_000),
        process("ollama", 5_000_000_000),
        process("blender", 2_000_000_000),
        process("python", 1_000_000_000, ours=True),
        process("llama-server", 7_000_000_000, pci="0000:99:00.0"),
    )
    budget = budget_of(found, idle_bytes=IDLE)
    assert (budget.name, budget.kind, budget.total_bytes) == ("RX 9070 XT", "gpu", 17_179_869_184)
    assert budget.baseline_bytes == IDLE + 200_000_000, "the lease has ollama's models unloaded, and waits for blender"
    assert budget.limit_bytes == int(0.97 * 17_179_869_184) - 800_000_000
    assert budget.in_use == (
        "9.0 GB in use: 5.0 GB of served models are unloaded for a job, a job waits for 2.2 GB held by blender"
    )
    staying = budget_of(found, idle_bytes=IDLE, models_stay=True)
    assert staying.baseline_bytes == 5_800_000_000
    assert staying.in_use == "9.0 GB in use: the models of ollama stay loaded, a job waits for 2.2 GB held by blender"


@pytest.mark.parametrize(
    ("processes", "gpu", "served", "used"),
    [
        ([process("python", None, ours=True), process("Xorg", None)], {}, 0, 9_000_000_000),
        ([process("python", 2_000_000_000, ours=True), process("ollama", None)], {}, 0, 7_000_000_000),
        ([process("ollama", None)], {}, 8_000_000_000, 1_000_000_000),
        ([process("ollama", 5_000_000_000)], {"vram_used_bytes": None}, 0, 0),
        ([process("python", 9_000_000_000, ours=True)], {}, 0, 0),
    ],
)
def test_where_the_idle_use_is_not_learnt_all_that_no_process_owns_stays(
    processes: list[ProcessReading], gpu: dict[str, object], served: int, used: int
) -> None:
    """Better to plan for too little than for memory that is not there. What the server says it holds is told apart."""
    budget = budget_of(sample(*processes, **gpu), served_bytes=served)
    assert budget.baseline_bytes == used
    assert (budget.emptied.limit_bytes, budget.emptied.in_use) == (int(0.97 * 17_179_869_184), "")


def test_a_gpu_that_hides_its_memory_is_no_reason_to_plan_for_the_host_s() -> None:
    with pytest.raises(NotPredicted, match=r"RX 9070 XT does not say.*--vram 16"):
        budget_of(sample(vram_total_bytes=None))


@pytest.mark.parametrize("taken", [None, sample(integrated=True)])
def test_without_a_gpu_of_its_own_the_machine_s_memory_counts(taken: Sample | None) -> None:
    budget = budget_of(taken)
    assert (budget.name, budget.kind, budget.device) == ("host memory", "cpu", None)
    assert budget.total_bytes == psutil.virtual_memory().total
    assert 0 <= budget.baseline_bytes < budget.total_bytes
