"""What the files of a model lack, or have too much, against the model that its configuration describes.

Submission fills one in from headers, a job from what really was loaded; one function refuses for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import InputError
from core.format import plural
from core.models.headers import Shape

SHOWN_NAMES = 3
# Tensors that belong to one quantised weight, in the words of GPTQ, AWQ, bitsandbytes, FP8, compressed-tensors and MLX.
QUANTISED = re.compile(
    r".*(\.|_)(qweight|qzeros|g_idx|scales|absmax|quant_map|quant_state\..*|weight_scale(_inv|_2)?|weight_packed"
    r"|weight_zero_point|input_scale|SCB|blocks)"
)
# Part of a decoder's blocks: what stands there and has no place in the model would have been computed with.
IN_A_BLOCK = re.compile(r"(.*\.)?layers\.\d+\..*")
# Blocks of towers beside the text model and of heads for several tokens at once; buffers that are computed anyway.
NOT_OF_THE_TEXT = re.compile(
    r".*(vision_tower|vision_model|visual|multi_modal_projector|audio_tower|\bmtp\b|rotary_emb\.inv_freq).*"
)


@dataclass(frozen=True)
class LoadReport:
    """Names of tensors by what is wrong with them; `mismatched` has (name, shape in the file, shape in the model).

    `constant` are matrices all of whose values are equal, such as the zeros of a hole in a file.
    """

    missing: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, Shape, Shape], ...] = ()
    unexpected: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()
    expected: int | None = field(default=None, compare=False)
    """How many tensors the model has, where that is known."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Unexpected tensors of the text model's own blocks: without them it computes something else."""
        return tuple(name for name in self.unexpected if IN_A_BLOCK.fullmatch(name) and not _beside(name))

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Unexpected tensors that the text model does not miss: other towers, heads of another purpose."""
        return tuple(name for name in self.unexpected if name not in set(self.left_out))

    def with_values_of(self, other: LoadReport) -> LoadReport:
        """This report and what another one says of values."""
        not_finite, constant = (*self.not_finite, *other.not_finite), (*self.constant, *other.constant)
        return replace(self, not_finite=not_finite, constant=constant)


def _beside(name: str) -> bool:
    return NOT_OF_THE_TEXT.fullmatch(name) is not None


def refuse_unless_whole(report: LoadReport, name: str, file: Path | None, remedy: str | None = None) -> None:
    """Raise `InputError` (`incomplete_model`) in one line for a model whose files do not hold just its tensors.

    Nothing is ever filled in for what is missing: that would be random numbers.
    """
    again = remedy or "download the model again, whole"
    quantised = [item for item in report.unexpected if QUANTISED.fullmatch(item)]
    if quantised:
        raise InputError(
            f"the weights of {name} are quantised: {named(quantised)}",
            code="quantised_model",
            file=file,
            remedy="take the original in 16 bits; `method: qlora-hqq` quantises while it loads",
        )
    if report.missing:
        of = f" of {report.expected:,}" if report.expected else ""
        raise InputError(
            f"{name} is not whole: {len(report.missing):,}{of} tensors are missing, {named(report.missing)}",
            code="incomplete_model",
            file=file,
            remedy=again,
        )
    if report.mismatched:
        first, found, wanted = report.mismatched[0]
        count = plural(len(report.mismatched), "tensor")
        raise InputError(
            f"{name} does not fit its config.json: {count} of another shape, {first} is {shape_words(found)} and should be "
            f"{shape_words(wanted)}",
            code="mismatched_model",
            file=file,
            remedy="config.json and weights are of different models: download both again",
        )
    if report.left_out:
        count = plural(len(report.left_out), "tensor")
        raise InputError(
            f"{name} does not fit its config.json: {count} that the model has no place for, {named(report.left_out)}",
            code="mismatched_model",
            file=file,
            remedy="config.json and weights are of different models: download both again",
        )
    for names, what in ((report.not_finite, "NaN or infinite values"), (report.constant, "one value throughout")):
        if names:
            raise InputError(
                f"the weights of {name} are damaged: {plural(len(names), 'tensor')} with {what}, {named(names)}",
                code="damaged_model",
                file=file,
                remedy=again,
            )


def named(names: Iterable[str]) -> str:
    """The first few names, in order."""
    ordered = sorted(names, key=natural)
    shown = ", ".join(ordered[:SHOWN_NAMES])
    return f"{shown}, …" if len(ordered) > SHOWN_NAMES else shown


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts layers.2 before layers.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def shape_words(shape: Shape) -> str:
    return " × ".join(str(number) for number in shape) or "one number"
