"""The rungs of the ladder, in their order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config.recipe import Recipe
from core.vram.oom_fallbacks import next_fallback
from jobs.memory import is_out_of_memory
from jobs.oom_fallbacks import Ladder
from tests.support.waiting import PATIENCE_SECONDS


def recipe(**changes: object) -> Recipe:
    known = {"name": "r", "method": "lora", "rank": 8, "alpha": 16, "max_length": 2048, "epochs": 1, "lr": 1e-4}
    return Recipe.model_validate({**known, "batch_size": 1, **changes})


def all_rungs(first: Recipe, longest: int) -> list[dict[str, tuple[object, object]]]:
    found, current = [], first
    while (below := next_fallback(current, longest)) is not None:
        current, changes = below
        found.append(changes)
    return found


def test_the_rungs_stand_in_their_order() -> None:
    rungs = all_rungs(recipe(batch_size=6, accumulation=2), longest=2000)
    assert rungs[:4] == [
        {"batch_size": (6, 3), "accumulation": (2, 4)},
        {"batch_size": (3, 1), "accumulation": (4, 12)},
        {"activation_checkpointing": (False, True)},
        {"optimizer": ("adamw", "adamw-8bit")},
    ]
    # Three quarters of what there is to shorten, in whole multiples of 64.
    assert rungs[4] == {"max_length": (2048, 1472)}
    lengths = [after for rung in rungs[4:] for _, after in rung.values()]
    assert lengths == sorted(lengths, reverse=True) and lengths[-1] == 64


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8, 12])
def test_an_optimizer_step_stays_what_it_was(batch_size: int) -> None:
    current = recipe(batch_size=batch_size, accumulation=3)
    while (below := next_fallback(current, 512)) is not None:
        current, _ = below
        assert current.batch_size * current.accumulation == batch_size * 3
        Recipe.model_validate(current.model_dump())
    assert current.batch_size == 1


def test_checkpointing_of_some_layers_becomes_that_of_all() -> None:
    below = next_fallback(recipe(activation_checkpointing=True, every_n_layers=2), 512)
    assert below is not None and below[1] == {"every_n_layers": (2, 1)}


def test_a_ladder_is_found_again_and_belongs_to_its_inputs(tmp_path: Path) -> None:
    first = recipe(batch_size=2)
    ladder = Ladder.open(tmp_path, "these")
    rung = ladder.step_down(first, 512, reason="out of memory", from_step=None, attempt=1)
    assert rung is not None and rung.words == "batch_size 2 → 1, accumulation 1 → 2"
    again = Ladder.open(tmp_path, "these")
    assert again.rungs == ladder.rungs and again.recipe(first).accumulation == 2
    assert Ladder.open(tmp_path, "others").recipe(first) == first
    again.withdraw()
    assert Ladder.open(tmp_path, "these").rungs == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("HIP out of memory."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_is_taken_for_too_little_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


AGAIN = """
import os, signal, sys
from jobs import __main__ as job
from jobs.context import STOP_SIGNALS
from core.process.identity import ProcessIdentity
inherited = job._open_descriptors()
print(ProcessIdentity.of(os.getpid()), sorted(signal.sigpending()), flush=True)
if "again" not in os.environ:
    os.environ["again"] = "yes"
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    os.kill(os.getpid(), signal.SIGTERM)
    job._start_again(inherited)
print(sorted(job._open_descriptors()))
signal.signal(signal.SIGTERM, lambda *_: print("told to stop", flush=True))
signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
"""


@pytest.mark.process
def test_a_process_that_starts_again_keeps_its_identity_its_lease_and_its_stop(tmp_path: Path) -> None:
    lease = os.open(tmp_path / "lease", os.O_RDWR | os.O_CREAT)
    done = subprocess.run(
        [sys.executable, "-P", "-c", AGAIN],
        pass_fds=(lease,),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    first, second, descriptors, stop = done.stdout.splitlines()
    assert first.replace("[]", "[<Signals.SIGTERM: 15>]") == second
    assert descriptors == str([0, 1, 2, lease])
    assert stop == "told to stop"
