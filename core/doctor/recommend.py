"""The method to train with on this box: what the plan prefers among what works here."""

from __future__ import annotations

from collections.abc import Sequence

from core.config.project import SHIPPED, Project
from core.config.shipped import DEMO_RECIPE, PLAIN_RECIPE, QUANTISED_RECIPE, shipped_root
from core.doctor.lora_faults import SUBJECT as LORA_FAULTS
from core.doctor.machine import Machine
from core.doctor.results import Diagnostic, Recommended

# Without these no training starts, whatever fits.
NEEDED = ("driver", "KFD", "render", "CUDA", "python", "training", "torch", "device")


def recommend(machine: Machine, lines: Sequence[Diagnostic]) -> Recommended:
    """The largest model in bf16 against the largest on quantised weights, on the GPU with nothing else on it."""
    wrong = [line.subject for line in lines if line.state == "fault" and line.subject in NEEDED]
    first = f". First mend: {', '.join(dict.fromkeys(wrong))}" if wrong else ""
    if machine.gpu is None:
        return on_the_cpu(machine, first)
    from core.models.shapes import with_shape
    from core.results.evidence import verdicts
    from core.store.database import open_database
    from core.vram.budget import budget_of
    from core.vram.calibration import calibration_of
    from core.vram.layers import NotPredicted
    from core.vram.plan import plan

    broken = {line.subject for line in lines if line.state in ("fault", "absent")}
    usable = [
        name
        for name, needs in ((PLAIN_RECIPE, {"bf16"}), (QUANTISED_RECIPE, {"bf16", "hqq", "HQQ"}))
        if not needs & broken
    ]
    if not usable:
        return Recommended("", f"bf16 does not work on this GPU, and both methods compute in it{first}")
    try:
        budget = budget_of(machine.sample).emptied
    except NotPredicted as unknown:
        return Recommended("", f"{unknown.why}; {unknown.remedy}{first}")
    project = Project(shipped_root(), SHIPPED, "Bakehouse", machine.settings)
    connection = open_database(machine.home)
    try:
        made = plan(
            [with_shape(machine.home, entry) for entry in project.models()],
            [project.recipe(name) for name in usable],
            budget,
            calibration_of(connection, machine.home, budget),
            verdicts=verdicts(connection, machine.home),
        )
    finally:
        connection.close()
    if made.preferred is None:
        return Recommended("", f"{made.reasons}{first}")
    without = "" if QUANTISED_RECIPE in usable else "; HQQ is not usable here, so 4-bit weights were left out"
    doubt = f"; LoRA can fault here, see {LORA_FAULTS}" if any(one.subject == LORA_FAULTS for one in lines) else ""
    method = f"{made.preferred.recipe.name}: {made.preferred.words}"
    return Recommended(method, f"with the GPU to itself, {made.reasons}{without}{doubt}{first}")


def on_the_cpu(machine: Machine, first: str) -> Recommended:
    """What is worth training without a GPU: what the plan prefers by measured times, else LoRA on a model of minutes."""
    project = Project(shipped_root(), SHIPPED, "Bakehouse", machine.settings)
    if (measured := by_measured_times(machine, project)) is not None:
        return Recommended(measured.method, measured.why + first)
    small = min((model for model in project.models() if model.parameters), key=lambda model: model.parameters or 0)
    recipe = project.recipe(DEMO_RECIPE)
    cores = machine.sample.host.cpu_count
    on = f"{cores} cores" if cores else "the CPU"
    why = (
        f"no GPU, so LoRA on {on}: {small.name} ({(small.parameters or 0) / 1e6:.0f} M parameters) trains "
        "in minutes (`bakehouse demo`), a 4B model would take days"
    )
    return Recommended(f"{recipe.name}: {small.name}, rank {recipe.rank}", why + first)


def by_measured_times(machine: Machine, project: Project) -> Recommended | None:
    """What the plan says on this CPU; None before a training has run on it."""
    from core.models.shapes import with_shape
    from core.results.evidence import verdicts
    from core.store.database import open_database
    from core.vram.budget import budget_of
    from core.vram.calibration import calibration_of
    from core.vram.plan import plan

    connection = open_database(machine.home)
    try:
        budget = budget_of(machine.sample)
        calibration = calibration_of(connection, machine.home, budget)
        if not any(run.tokens_per_second for run in calibration.measured):
            return None
        models = [with_shape(machine.home, entry) for entry in project.models()]
        recipes = [project.recipe(PLAIN_RECIPE)]
        made = plan(models, recipes, budget, calibration, verdicts=verdicts(connection, machine.home))
    finally:
        connection.close()
    preferred = made.preferred
    return Recommended("" if preferred is None else f"{preferred.recipe.name}: {preferred.words}", made.reasons)
