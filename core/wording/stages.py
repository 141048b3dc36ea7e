"""The words for the stages between an adapter and what serves, and for what is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.bakeoff.figures import bounds, p_value, signed
from core.format import of_five
from core.statistics.no_worse import agreeing_inputs

if TYPE_CHECKING:
    from core.bakeoff.stages import StageStep, StageTable
    from core.jobfile.bakeoff import Stage

KINDS: Mapping[str, str] = {"base": "base", "adapter": "adapter", "merged": "merged", "gguf": "GGUF", "lora": "LoRA"}
OUTCOMES: Mapping[str, str] = {
    "gain": "gain shown",
    "no_loss": "no loss",
    "same_answers": "same answers",
    "loss": "loss shown",
    "cannot_tell": "cannot tell",
}


def stage_words(stage: Stage) -> str:
    """`adapter`, `GGUF Q8_0`, `LoRA on Q8_0`."""
    kind = KINDS[stage.kind]
    if stage.format is None:
        return kind
    return f"{kind} on {stage.format}" if stage.kind == "lora" else f"{kind} {stage.format}"


def difference_words(step: StageStep) -> str:
    """`−0.20 [−0.41, 0.01]`; without an interval where none can be told, a dash where nothing is compared."""
    one = step.comparison
    if one is None:
        return "—"
    return signed(one.difference) + (f" {bounds(one.interval)}" if one.interval.estimable else "")


def step_words(table: StageTable, step: StageStep) -> str:
    """One step in full: what it is of, the difference, and what may be said of it."""
    before, stage = (stage_words(table.row(name).stage) for name in (step.before, step.stage))
    of_part = f" in {step.part}" if len(table.parts) > 1 else ""
    one = step.comparison
    if one is None:
        return f"{before} → {stage}{of_part}: not compared, no input has an answer of both"
    said = {
        "gain": "gain shown",
        "loss": "loss shown",
        "no_loss": f"no loss beyond the margin of {of_five(table.margin)}",
        "same_answers": "nothing lost, the answers are the same word for word",
        "cannot_tell": "cannot tell",
    }[step.outcome]
    if step.same_everywhere:
        difference = f"the same score on each of {one.inputs} inputs"
    else:
        corrected = f" ({one.correction} over all steps)" if one.correction else ""
        difference = f"{difference_words(step)}, p {p_value(one.p_adjusted)}{corrected}"
    missing = f"; {one.missing_inputs} inputs not answered by both" if one.missing_inputs else ""
    return f"{before} → {stage}{of_part}: {said}. {difference}{missing}"


def headline_words(table: StageTable) -> str:
    """Where quality was lost, in one sentence or two: over the steps behind the training."""
    steps = table.after_training
    if not steps:
        return "Only the training is compared: no step behind it is there."
    lost = [one for one in steps if one.outcome == "loss"]
    if lost:
        return f"Loss shown: {'; '.join(_short(table, one) for one in lost)}."
    unsure = [one for one in steps if one.outcome == "cannot_tell"]
    margin = of_five(table.margin)
    if all(one.outcome == "same_answers" for one in steps):
        return "Nothing is lost behind the training: every stage gives the same answers, word for word."
    if not unsure:
        return f"No step loses more than the margin of {margin}."
    where = ", ".join(dict.fromkeys(_between(table, one) for one in unsure))
    rest = "" if len(unsure) == len(steps) else f" The other steps lose no more than the margin of {margin}."
    why = "more inputs would tell"
    if all(one.same_everywhere for one in unsure):
        why = "every input has the same score, and so few prove no more"
        if (enough := agreeing_inputs(table.margin)) is not None:
            why += f"; {enough} that agree would"
    return f"No loss is shown. The inputs cannot rule one out at {where}: {why}.{rest}"


def _short(table: StageTable, step: StageStep) -> str:
    of_part = f" in {step.part}" if len(table.parts) > 1 else ""
    return f"{_between(table, step)}{of_part}: {difference_words(step)}"


def _between(table: StageTable, step: StageStep) -> str:
    return " → ".join(stage_words(table.row(name).stage) for name in (step.before, step.stage))


def legend_words(table: StageTable) -> str:
    """How to read the table."""
    corrected = any(one.comparison is not None and one.comparison.correction for one in table.steps)
    adjusted = ", adjusted for all steps" + (" and parts" if len(table.parts) > 1 else "") + " by max-T"
    return (
        "step: the difference to the stage before, paired over the inputs, with its 95 % interval; a LoRA against the "
        f"merged file of its base's format. p: sign-flip permutation test{adjusted if corrected else ''}. no loss: a loss of "
        f"the margin ({of_five(table.margin)}) or more is ruled out. same answers: word for word."
    )
