"""The peak of a training step, told from the model's shape, against what others measured and what was counted by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.model import ModelEntry
from core.config.project import shipped
from core.config.recipe import LINEAR_LAYERS, Recipe
from core.vram.budget import budget_for
from core.vram.calibration import uncalibrated
from core.vram.estimate import Step, estimate
from core.vram.forecast import forecast_step
from core.vram.layers import NotPredicted, lora_parameters, require_shape

GB = 1e9


@cache
def entry(name: str) -> ModelEntry:
    return shipped().model(name)


def step(method: str, rank: int, max_length: int, **settings: object) -> Step:
    return Step(method, rank, tuple(LINEAR_LAYERS), max_length, **settings)  # type: ignore[arg-type]


def written_up(method: str, rank: int, max_length: int) -> Step:
    """The settings of Sarkissian's write-up: PEFT's layers, whole logits, and fp32 casts before quantised training."""
    return step(method, rank, max_length, dropout=0.05, full_logits=True, fp32_casts=method == "qlora-hqq", lean=False)


# Peak GB on an RX 9070 XT (qlora-rdna4 and the write-up).
MEASURED = [
    ("Qwen3-4B", "lora", 32, 2048, 13.37),
    ("Qwen3-8B", "qlora-hqq", 16, 2048, 15.95),
    ("Qwen3-8B", "qlora-hqq", 16, 1024, 13.44),
    ("Qwen2.5-7B", "qlora-hqq", 16, 1024, 12.22),
    ("Qwen2.5-7B", "qlora-hqq", 16, 2048, 14.53),
]


@pytest.mark.parametrize(("model", "method", "rank", "length", "peak"), MEASURED)
def test_the_write_ups_measured_peaks_are_predicted(
    model: str, method: str, rank: int, length: int, peak: float
) -> None:
    predicted = estimate(entry(model), written_up(method, rank, length)).allocated_bytes / GB
    assert predicted == pytest.approx(peak, rel=0.02)


@pytest.mark.parametrize(
    ("model", "method", "peak"),
    [("Qwen3-4B", "lora", 10.06), ("Qwen3-8B", "qlora-hqq", 9.31), ("Qwen3-4B", "qlora-hqq", 4.89)],
)
def test_peft_s_layers_under_a_loss_without_logits_take_what_was_simulated_at_full_size(
    model: str, method: str, peak: float
) -> None:
    """Rank 32 at 2048; the simulation was made before this estimate, by others' code."""
    predicted = estimate(entry(model), step(method, 32, 2048, dropout=0.05, lean=False)).allocated_bytes / GB
    assert predicted == pytest.approx(peak, rel=0.02)


def test_the_runs_that_went_through_fit_their_gpu_and_the_one_that_did_not_is_called_out_of_memory() -> None:
    gpu = budget_for("16")
    verdicts = {
        (model, rank, length): forecast_step(entry(model), written_up(method, rank, length), gpu, uncalibrated()).fits
        for model, method, rank, length, _ in [*MEASURED, ("Qwen3-8B", "qlora-hqq", 32, 2048, None)]
    }
    assert verdicts.pop(("Qwen3-8B", 32, 2048)) is False
    assert all(verdicts.values())


def test_without_logits_and_casts_the_run_that_was_out_of_memory_has_gigabytes_to_spare() -> None:
    shipped_step = step("qlora-hqq", 32, 2048, dropout=0.05)
    expected = forecast_step(entry("Qwen3-8B"), shipped_step, budget_for("16"), uncalibrated())
    assert expected.surely_fits
    assert expected.spare_bytes > 5 * GB


@pytest.mark.parametrize(
    ("model", "rank", "millions"), [("Qwen3-4B", 32, 66.1), ("Qwen3-8B", 16, 43.6), ("Qwen3-8B", 32, 87.3)]
)
def test_trainable_parameters_are_those_published(model: str, rank: int, millions: float) -> None:
    count = lora_parameters(require_shape(entry(model)), LINEAR_LAYERS, rank)
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_dora_is_not_predicted() -> None:
    with pytest.raises(NotPredicted, match="not predicted: DoRA"):
        estimate(entry("Qwen3-4B"), step("lora", 16, 1024, dora=True))


# Counted by hand: 8.190735360e9 parameters, of which 6.945767424e9 in linear layers, for Qwen3-8B.
@pytest.mark.parametrize(
    ("model", "settings", "gigabytes"),
    [
        ("Qwen3-4B", {"method": "lora"}, 8.044936),
        ("Qwen3-8B", {"method": "lora"}, 16.381471),
        ("Qwen3-8B", {"method": "qlora-hqq"}, 6.945767 * (0.5 + 4 / 64) + 2 * 1.244968),
        ("Qwen3-8B", {"method": "qlora-hqq", "group_size": 32}, 6.945767 * (0.5 + 4 / 32) + 2 * 1.244968),
        ("Qwen3-8B", {"method": "qlora-hqq", "bits": 8}, 6.945767 * (1 + 4 / 64) + 2 * 1.244968),
        ("Qwen3-8B", {"method": "qlora-hqq", "bits": 2}, 6.945767 * (0.25 + 4 / 64) + 2 * 1.244968),
        ("Qwen3-8B", {"method": "qlora-hqq", "fp32_casts": True}, 6.945767 * (0.5 + 4 / 64) + 4 * 1.244968),
        ("SmolLM2-135M", {"method": "lora", "device": "cpu", "dtype": "fp32"}, 0.53806),
    ],
)
def test_weights_take_what_was_counted_by_hand(model: str, settings: dict[str, object], gigabytes: float) -> None:
    method = str(settings.pop("method"))
    counted = estimate(entry(model), step(method, 16, 1024, **settings)).components["weights"]
    assert counted / GB == pytest.approx(gigabytes, rel=1e-5)


# 66.06 M parameters of the adapter: value, gradient and optimizer state in bytes each.
@pytest.mark.parametrize(
    ("lora_dtype", "optimizer", "each"),
    [
        ("fp32", "adamw", 4 + 4 + 8),
        ("bf16", "adamw", 2 + 2 + 8 + 2),
        ("fp32", "adamw-8bit", 4 + 4 + 2 + 8 / 256),
        ("bf16", "adamw-8bit", 2 + 2 + 2 + 8 / 256 + 2),
    ],
)
def test_an_adapter_parameter_costs_its_value_its_gradient_and_what_the_optimizer_keeps(
    lora_dtype: str, optimizer: str, each: float
) -> None:
    parts = estimate(entry("Qwen3-4B"), step("lora", 32, 2048, lora_dtype=lora_dtype, optimizer=optimizer)).components
    total = parts["lora"] + parts["gradients"] + parts["optimizer"]
    assert total == pytest.approx(66_060_288 * each, rel=1e-6)


def test_autocasts_copies_are_peft_s_alone_and_only_of_fp32_adapters() -> None:
    assert "copies" not in estimate(entry("Qwen3-4B"), step("lora", 32, 2048)).components
    assert "copies" not in estimate(entry("Qwen3-4B"), step("lora", 32, 2048, lean=False, lora_dtype="bf16")).components
    peft = estimate(entry("Qwen3-4B"), step("lora", 32, 2048, lean=False))
    assert peft.components["copies"] == 2 * 66_060_288


@pytest.mark.parametrize(("every", "layers"), [(1, 36), (2, 18), (5, 8), (36, 1)])
def test_checkpoints_are_the_inputs_of_every_nth_layer(every: int, layers: int) -> None:
    parts = estimate(entry("Qwen3-4B"), step("lora", 32, 2048, every_n_layers=every)).components
    assert parts["checkpoints"] == 2 * layers * 2048 * 2560


def test_layers_that_are_not_recomputed_keep_many_times_a_checkpoint() -> None:
    def peak(**settings: object) -> int:
        return estimate(entry("Qwen3-4B"), step("lora", 32, 2048, **settings)).allocated_bytes

    checkpoint = 2 * 2048 * 2560
    every, half, none = peak(), peak(every_n_layers=2), peak(activation_checkpointing=False)
    assert every < half < none
    assert half - every > 18 * 10 * checkpoint


@pytest.mark.parametrize("name", ["Qwen3.5-9B", "Gemma3-12B"])
def test_layers_that_are_not_modelled_are_never_guessed_at(name: str) -> None:
    with pytest.raises(NotPredicted, match="not predicted: memory estimation does not support") as unknown:
        estimate(entry(name), step("lora", 16, 1024))
    assert unknown.value.code == "not_predicted"
    assert "measure" in str(unknown.value) or "a run says its peak" in str(unknown.value)


def test_a_model_without_a_shape_is_not_predicted_and_the_remedy_says_what_to_add() -> None:
    bare = ModelEntry(name="mine", hub="me/mine")
    with pytest.raises(NotPredicted, match=r"the shape of mine is not known.*add `shape:`"):
        estimate(bare, step("lora", 16, 1024))


def test_a_target_without_a_size_is_not_predicted() -> None:
    with pytest.raises(NotPredicted, match=r"`c_attn` is no layer.*q_proj"):
        estimate(entry("Qwen3-4B"), replace(step("lora", 16, 1024), targets=("c_attn",)))


def test_targets_may_be_named_with_their_module() -> None:
    short = estimate(entry("Qwen3-4B"), replace(step("lora", 16, 1024), targets=("q_proj",)))
    assert estimate(entry("Qwen3-4B"), replace(step("lora", 16, 1024), targets=("self_attn.q_proj",))) == short


def test_a_recipe_s_step_is_bf16_on_a_gpu_and_fp32_on_a_cpu_unless_it_says_so() -> None:
    auto = shipped().recipe("demo").model_copy(update={"dtype": "auto"})
    assert [Step.of(auto, device).dtype for device in ("gpu", "cpu")] == ["bf16", "fp32"]
    assert Step.of(shipped().recipe("lora-bf16"), "cpu").dtype == "bf16"


def test_of_the_dtypes_that_a_cpu_may_choose_the_larger_is_forecast_and_its_adapter_is_in_fp32() -> None:
    auto = shipped().recipe("demo").model_copy(update={"lora_dtype": "bf16"})
    steps = [Step.of(auto.model_copy(update={"dtype": dtype}), "cpu") for dtype in ("auto", "fp32", "bf16")]
    assert [step.lora_dtype for step in steps] == ["fp32", "fp32", "bf16"]
    assert steps[0] == steps[1]
    in_fp32, in_bf16 = (estimate(entry("SmolLM2-135M"), step).allocated_bytes for step in steps[1:])
    assert in_fp32 > 1.2 * in_bf16


def test_a_cpu_counts_the_process_and_a_gpu_does_not() -> None:
    on_cpu = estimate(entry("SmolLM2-135M"), step("lora", 16, 512, device="cpu", dtype="fp32")).components
    assert on_cpu["process"] > 0.3 * GB
    assert "process" not in estimate(entry("SmolLM2-135M"), step("lora", 16, 512)).components


models = st.sampled_from(
    [model.name for model in shipped().models() if model.shape and model.shape.attention == "full"]
)
recipes = st.builds(
    Recipe,
    name=st.just("r"),
    method=st.sampled_from(["lora", "qlora-hqq"]),
    rank=st.integers(1, 512),
    alpha=st.just(16.0),
    max_length=st.integers(16, 16_384),
    epochs=st.just(1.0),
    lr=st.just(1e-4),
    batch_size=st.integers(1, 8),
    lora_dtype=st.sampled_from(["fp32", "bf16"]),
    optimizer=st.sampled_from(["adamw", "adamw-8bit"]),
    activation_checkpointing=st.just(True),
    every_n_layers=st.integers(1, 8),
)


@given(models, recipes, st.sampled_from(["gpu", "cpu"]))
def test_a_longer_example_a_higher_rank_or_a_larger_batch_never_takes_less(
    model: str, recipe: Recipe, device: str
) -> None:
    def peak(**changes: object) -> int:
        return estimate(entry(model), Step.of(recipe.model_copy(update=changes), device)).allocated_bytes  # type: ignore[arg-type]

    least = peak()
    assert peak(max_length=recipe.max_length + 16) > least
    assert peak(rank=recipe.rank + 1) > least
    assert peak(batch_size=recipe.batch_size + 1) > least
    assert peak(optimizer="adamw-8bit") <= least
    assert peak(every_n_layers=1) <= least
    assert peak(activation_checkpointing=False, every_n_layers=1) >= peak(every_n_layers=1)


@given(models, recipes)
def test_the_parts_are_whole_bytes_and_none_is_empty(model: str, recipe: Recipe) -> None:
    parts = estimate(entry(model), Step.of(recipe)).components
    assert all(isinstance(count, int) and count > 0 for count in parts.values())
