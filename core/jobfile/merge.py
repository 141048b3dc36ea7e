"""What a merge is told: an adapter and the base model that it belongs to."""

from __future__ import annotations

from typing import Any, Literal

from core.config.base import OwnPath
from core.config.model import BaseWeights, ModelEntry, WeightFormat
from core.errors import InputError
from core.format import share
from core.home import Home
from core.jobfile.references import needed_jobs
from core.jobfile.spec import GENERATING, WORKING_BYTES, Columns, Spec
from core.models.files import shard_bytes

# Below this share the words about a merge name the formats that keep more.
MUCH_IS_LOST = 0.9
MUCH_IS_ROUNDING = 0.5
"""Of the cosine of what was written to the update: below it more than half of the written change is none of the update's."""
KEEPS_MORE = {
    "bf16": "`export --dtype fp16` or `fp32`",
    "fp16": "`export --dtype fp32`",
    "f16": "`export --dtype fp32`",
}


class MergeSpec(Spec):
    """Merge an adapter (`job:12`, or the path of an adapter folder) into its base model.

    `task` is the name of the one that the adapter was trained for, where that is known. The merge is in fp32; `dtype` is the
    format that is written. An adapter that was trained on quantised weights has made up for their error, too: `base_weights`
    says whether it is merged into the weights it has seen (`dequantized`) or into the original ones.
    """

    kind: Literal["merge"] = "merge"
    adapter: OwnPath
    model: ModelEntry
    dtype: WeightFormat = "bf16"
    base_weights: BaseWeights = "original"
    task: str | None = None

    @property
    def title(self) -> str:
        seen = " · dequantized base" if self.base_weights == "dequantized" else ""
        return f"merge {self.task or self.adapter} · {self.model.name}{seen}"

    @property
    def candidate_name(self) -> str:
        """What the merged model is called in a comparison."""
        into = " into the dequantized base" if self.base_weights == "dequantized" else ""
        return f"{self.model.name} tuned, merged{into}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task, model=self.model.name, source=self.adapter)

    @property
    def settings(self) -> dict[str, Any]:
        seen = {} if self.base_weights == "original" else {"base_weights": self.base_weights}
        return {"base": self.model.name, "adapter": self.adapter, "dtype": self.dtype, **seen}

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return (self.model,)

    @property
    def needs(self) -> tuple[int, ...]:
        return needed_jobs(self.adapter)

    @property
    def packages(self) -> tuple[str, ...]:
        return GENERATING if self.base_weights == "original" else (*GENERATING, "hqq")

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """The weights pass through tensor by tensor: the largest file of them stands for what is held at once."""
        return shard_bytes(home, self.model) + WORKING_BYTES


def not_quantized(adapter: str) -> InputError:
    """That an adapter has seen no other weights than its base's own."""
    return InputError(
        "the adapter was trained on its base's own weights, not on quantised ones",
        code="not_quantized",
        key=adapter,
        remedy="leave out `--base-weights dequantized`",
    )


def survival_words(survival: dict[str, Any]) -> str:
    """`98 % of the update survives in bf16 (least: 91 % in model.layers.3.mlp.down_proj.weight)`.

    Of a GGUF file `merged` is the format of the merge that it was made of, and `unknown` how many tensors are left out.
    """
    worst = survival["worst"]
    least = f"least: {survived(worst['share'])} in {worst['tensor']}"
    through = [survival.get("merged", survival["dtype"]), survival["dtype"]]
    better = next((found for name, found in KEEPS_MORE.items() if name in map(str.lower, through)), None)
    lost = f"; {better} keeps more" if better and survival["share"] < MUCH_IS_LOST else ""
    unchanged = survival["unchanged"]
    same = f"; {unchanged} of its tensors did not change" if unchanged else ""
    cosine = survival.get("cosine", 1.0)
    buried = f"; most of what moved is rounding (cosine {cosine:.2f})" if cosine < MUCH_IS_ROUNDING else ""
    left = f"; of {survival['unknown']} tensors it is unknown" if survival.get("unknown") else ""
    return f"{survived(survival['share'])} of the update survives in {survival['dtype']} ({least}){same}{left}{buried}{lost}"


def survived(part: float) -> str:
    """A share of an update; rounding may carry a little more than all of it, which is all."""
    return share(1.0 if part > 0.9999 else part)
