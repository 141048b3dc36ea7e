"""What finished runs on a device say of the estimate: a factor, how far it may be off, and how far it was off last."""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.config.recipe import Recipe
from core.errors import InputError
from core.format import share
from core.home import Home
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.models.shapes import with_shape
from core.vram.budget import Budget
from core.vram.estimate import Device, Step, estimate
from core.vram.layers import NotPredicted, require_shape, total_parameters

# What is allowed for without measurements: the formula was within 1 % of five published runs and of twelve traces of the real
# step, but neither sees the workspaces of a GPU's libraries; on a CPU the C library and the kernel have their say.
SPREAD = 0.05
SPREAD_ON_CPU = 0.25
# Fewer runs say nothing of how far they lie apart.
RUNS_FOR_A_SPREAD = 4
# What the formula leaves out is partly of a fixed size (a library's workspace, buffers of its own): tens of megabytes are a
# tenth of a small run and nothing to a large one. So a forecast is corrected by runs of up to this many times its size.
COMPARABLE = 2.5
LEAST_SPREAD = 0.01
NEWEST = 20


@dataclass(frozen=True)
class Run:
    """A finished training. `predicted_bytes` is today's estimate of it, at the length of its longest example.

    `tokens_per_second` is the speed of its last attempt, `parameters` the model's, where they are known.
    """

    job_id: int
    model: str
    method: str
    device_name: str
    predicted_bytes: int
    peak_bytes: int
    ended_at: float
    tokens_per_second: float | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Calibration:
    """Measured over estimated: `factor` is the median, `spread` the relative half-width that nearly all runs lie in.

    `last_error` is how far the newest run's peak was from what the others had let expect, relative; None without others.
    The figures are of the runs counted: all of a device, or those `at` one size, where `others` counts the rest. `measured`
    are the runs that `at` chooses among; without them the figures hold at any size.
    """

    runs: int
    factor: float
    spread: float
    last_error: float | None
    others: int | None = None
    measured: tuple[Run, ...] = ()
    kind: Device = "gpu"

    def at(self, predicted_bytes: int) -> Calibration:
        """The calibration of an estimate of this size: by the runs whose own estimate is comparable."""
        if not self.measured:
            return self
        near = [
            run
            for run in self.measured
            if predicted_bytes <= COMPARABLE * run.predicted_bytes
            and run.predicted_bytes <= COMPARABLE * predicted_bytes
        ]
        return replace(calibrate(near, self.kind), others=len(self.measured) - len(near), measured=())

    @property
    def words(self) -> str:
        """`calibrated by 9 runs on this device, last error 2 %`, or `… by 9 runs of comparable size …`."""
        if not self.runs:
            if not self.others:
                return "not calibrated: no run has finished on this device"
            none = "the one run" if self.others == 1 else f"none of {self.others} runs"
            return f"not calibrated: {none} on this device {'is not' if self.others == 1 else 'is'} of comparable size"
        size = "" if self.others is None else " of comparable size"
        last = "" if self.last_error is None else f", last error {share(abs(self.last_error))}"
        return f"calibrated by {'1 run' if self.runs == 1 else f'{self.runs} runs'}{size} on this device{last}"


def uncalibrated(kind: Device = "gpu") -> Calibration:
    """No run was measured: the estimate as it is."""
    return Calibration(0, 1.0, SPREAD if kind == "gpu" else SPREAD_ON_CPU, None, kind=kind)


def calibrate(runs: Sequence[Run], kind: Device = "gpu") -> Calibration:
    """The calibration by finished runs, newest first.

    The factor is a median and the spread twice the scaled median deviation (about 95 % of normal errors), so that one
    strange run moves neither. Fewer than four runs cannot tell which of them is strange: the spread then reaches from the
    corrected figure to that of each run, and to the estimate itself.
    """
    if not runs:
        return uncalibrated(kind)
    ratios = [run.peak_bytes / run.predicted_bytes for run in runs]
    factor = statistics.median(ratios)
    spread = uncalibrated(kind).spread
    if len(ratios) >= RUNS_FOR_A_SPREAD:
        deviation = statistics.median(abs(ratio / factor - 1) for ratio in ratios)
        spread = max(LEAST_SPREAD, 2 * 1.4826 * deviation)
    else:
        spread = max(spread, *(abs(ratio / factor - 1) for ratio in (1.0, *ratios)))
    last_error = ratios[0] / statistics.median(ratios[1:]) - 1 if len(ratios) > 1 else None
    return Calibration(len(ratios), factor, spread, last_error, measured=tuple(runs), kind=kind)


def calibration_of(connection: sqlite3.Connection, home: Home, budget: Budget) -> Calibration:
    """The calibration for a budget: by the runs on its device; for a GPU that is only named, by all on any GPU."""
    return calibrate(measured(connection, home, budget.device, budget.kind), budget.kind)


def measured(connection: sqlite3.Connection, home: Home, device_name: str | None, kind: Device = "gpu") -> list[Run]:
    """The finished trainings on a device (None: on any of its kind), newest first.

    Runs that do not say how long their longest example was are left out: nothing tells what should have been predicted.
    """
    rows = connection.execute(
        """
        SELECT id, result, ended_at FROM jobs
        WHERE kind = 'train' AND state = 'done' AND json_extract(result, '$.summary.peak_memory_bytes') IS NOT NULL
              AND json_extract(result, '$.summary.longest_tokens') IS NOT NULL
        ORDER BY ended_at DESC LIMIT ?
        """,
        [5 * NEWEST],
    )
    found: list[Run] = []
    for row in rows:
        run = _run(home, row["id"], json.loads(row["result"])["summary"], row["ended_at"], device_name, kind)
        if run is not None:
            found.append(run)
        if len(found) == NEWEST:
            break
    return found


def _run(
    home: Home, job_id: int, summary: dict[str, Any], ended_at: float, device_name: str | None, kind: Device
) -> Run | None:
    """A run with what the formula of today says of it; None when it was on another device or cannot be estimated."""
    device = summary.get("device") or {}
    if (device.get("type") == "cuda") != (kind == "gpu"):
        return None
    name = str(device.get("name") or "")
    if device_name is not None and kind == "gpu" and not same_gpu(name, device_name):
        return None
    try:
        spec = JobFile.load(home.run_dir(job_id)).spec
        if not isinstance(spec, TrainSpec):
            return None
        recipe = used_recipe(spec.recipe, summary)
        model = with_shape(home, spec.model)
        predicted = estimate(model, Step.of(recipe, kind)).allocated_bytes
        count = total_parameters(model, require_shape(model))
    except (InputError, NotPredicted):
        # Its folder was cleaned away, it is of another version, or its layers are not modelled.
        return None
    speed, peak = summary.get("tokens_per_second"), int(summary["peak_memory_bytes"])
    measured_speed = float(speed) if isinstance(speed, int | float) and speed > 0 else None
    return Run(job_id, spec.model.name, recipe.method, name, predicted, peak, ended_at, measured_speed, count)


def used_recipe(recipe: Recipe, summary: dict[str, Any]) -> Recipe:
    """The recipe that a run ended with, its length that of the longest example."""
    used = recipe.model_dump() | {
        key: value for key, value in (summary.get("recipe_used") or {}).items() if key in Recipe.model_fields
    }
    longest = min(int(summary["longest_tokens"]), used["max_length"])
    return Recipe.model_validate({**used, "max_length": max(16, longest)})


def same_gpu(torch_name: str, driver_name: str) -> bool:
    """Whether two names mean one model of GPU: torch and the driver say it differently (`RX 9070 XT`, `0x7550`).

    The words that hold a digit decide; a name without any, or of nothing but the PCI identity, is taken for the same.
    """
    one, other = (set(re.findall(r"\b(?!0x)(?=\w*\d)\w+", name.lower())) for name in (torch_name, driver_name))
    return not one or not other or bool(one & other)
