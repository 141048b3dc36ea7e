"""What a training is told: its task, model and recipe, its data, and the memory it was expected to take."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.files import sha256_json
from core.home import Home
from core.jobfile.spec import WORKING_BYTES, Columns, FrozenModel, InputFile, Spec
from core.models.files import parameter_count, shard_bytes

TRAINING = ("torch", "transformers", "trl", "peft", "accelerate", "safetensors", "gguf")
TRAINING_HQQ = (*TRAINING, "hqq")

# Host memory beside the weights on a CPU, in bytes: the demo's training took 5.7 GB before its loss did without logits.
TRAINING_ON_CPU_BYTES = 6_000_000_000


class ForecastNote(FrozenModel):
    """The memory that a training was expected to take when it was submitted, in bytes.

    `allocated_bytes` is what torch will have allocated at the peak (on a CPU the process's resident size), `device_bytes`
    what the GPU will show as used; `components` are the estimate's parts, before measured runs corrected their sum.
    `ladder` says what the job will do about a forecast that does not fit. `dtype` is the one it is for: where the job chooses
    on a CPU (`dtype: auto`), the larger, fp32. `length` is the tokens of an example that it was made for: those of the longest
    one where `of_data` is true, else `max_length`.
    """

    allocated_bytes: int
    plus_minus_bytes: int
    device_bytes: int
    components: dict[str, int]
    budget_name: str
    limit_bytes: int
    fits: bool
    calibrated_by: int
    calibration: str = ""
    ladder: str = ""
    dtype: Literal["bf16", "fp32"] | None = None
    length: int | None = None
    of_data: bool = False


class FittedKey(FrozenModel):
    """A key of the recipe that was changed at submission so that it fits: by `fit: auto`, or on a CPU by the ladder."""

    key: str
    before: Any
    after: Any


class TrialRef(FrozenModel):
    """A short training that was done to choose by: of which arm, which job, with which learning rate."""

    arm: str
    job: int
    lr: float


class TrialChoice(FrozenModel):
    """What a training of an experiment chooses by trials before it begins: its learning rate, and whether it is done at all.

    `arm` is its own, as `trials` are; those of the arms that it is held against are the ones of `race`, a job that waits for
    all of them. With `keep`, only so many arms with the lowest held-out bits per byte go on. In job files of before there were
    such jobs `trials` are those of all arms. `siblings` are trainings of the same arm whose choice stands for this one, the
    first that has made one: the seeds of an arm differ in the seed alone.
    """

    arm: str
    trials: list[TrialRef] = Field(min_length=1)
    keep: int | None = Field(default=None, ge=1)
    siblings: list[int] = Field(default=[])
    race: int | None = None

    @model_validator(mode="after")
    def _has_own_trials(self) -> TrialChoice:
        if all(trial.arm != self.arm for trial in self.trials):
            raise ValueError(f"no trial is of the arm {self.arm}")
        return self


class TrainSpec(Spec):
    """Train a LoRA adapter. `golden` is for the leak gate: a JSON list of golden inputs with their text filled in.

    `recipe` is what will run; `fitted` says how it differs from the one that was asked for. Without a `forecast`,
    `not_predicted` says why there is none. With a `choice` the learning rate is the one that trials chose, not the recipe's.
    """

    kind: Literal["train"] = "train"
    task: Task
    model: ModelEntry
    recipe: Recipe
    train: InputFile
    golden: InputFile | None = None
    forecast: ForecastNote | None = None
    not_predicted: str | None = None
    fitted: list[FittedKey] = Field(default=[])
    choice: TrialChoice | None = None

    @property
    def title(self) -> str:
        return f"train {self.task.name} · {self.model.name}"

    @property
    def columns(self) -> Columns:
        return Columns(task=self.task.name, model=self.model.name)

    @property
    def settings(self) -> dict[str, Any]:
        recipe = self.recipe.model_dump(mode="json", exclude={"name", "hqq", "few_shot", "targets"})
        if self.recipe.steps is not None:
            del recipe["epochs"]
        if self.choice is not None:
            recipe["lr"] = "by trials"  # which tell once they have ended
        return {
            "base": self.model.name,
            "recipe": self.recipe.name,
            **{name: value for name, value in recipe.items() if value is not None},
            **({"bits": self.recipe.hqq.bits} if self.recipe.hqq else {}),
            **({"few_shot": self.recipe.few_shot.count} if self.recipe.few_shot else {}),
            "targets": list(self.recipe.targets),
            "thinking": self.task.thinking,
            "system_sha256": sha256_json(self.task.system),
            "data": self.train.source,
            "data_sha256": self.train.sha256,
        }

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return (self.model,)

    def with_rate(self, lr: float) -> TrainSpec:
        """The same with another learning rate in its recipe: the one that was chosen."""
        return self.model_copy(update={"recipe": self.recipe.model_copy(update={"lr": lr})})

    @property
    def needs(self) -> tuple[int, ...]:
        return () if self.choice is None or self.choice.race is None else (self.choice.race,)

    @property
    def needs_ended(self) -> tuple[int, ...]:
        return () if self.choice is None else tuple(sorted({trial.job for trial in self.choice.trials}))

    @property
    def packages(self) -> tuple[str, ...]:
        return TRAINING_HQQ if self.recipe.method == "qlora-hqq" else TRAINING

    def host_memory(self, home: Home, on_gpu: bool) -> int:
        """What the training may take of the machine's memory, in bytes.

        On a GPU the weights come shard by shard, so that one of them is in memory at a time. On a CPU the training takes what
        its forecast says, but no more than the planner gave it: a job that was accepted as tight could otherwise never start.
        Without a forecast the weights in fp32 and a working set are counted.
        """
        if on_gpu:
            return shard_bytes(home, self.model) + WORKING_BYTES
        if self.forecast is None:
            return 4 * parameter_count(home, self.model) + TRAINING_ON_CPU_BYTES
        # The least that it may take is above the limit only where it waits for others to leave.
        least = self.forecast.allocated_bytes - self.forecast.plus_minus_bytes
        return max(least, min(self.forecast.allocated_bytes, self.forecast.limit_bytes))

    def device_memory(self, on_gpu: bool) -> int | None:
        return self.forecast.device_bytes if on_gpu and self.forecast is not None else None
