"""The lean step computes what PEFT, transformers and torch compute."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, PretrainedConfig, Qwen2Config, Qwen3Config

from core.config.recipe import HqqOptions
from jobs.step.hqq import LibraryLinear, prepare_library, quantised
from jobs.step.loss import CompletionLoss, Head
from jobs.step.memory_efficient import Replaced, make_lean
from jobs.step.mlp import TOKENS_AT_A_TIME
from jobs.step.optimizer import Codes, LeanAdamW, join, make_optimizer, split
from jobs.trainer import collate
from tests.bench.trace import empty_layer

pytestmark = pytest.mark.train

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 101,
    "max_position_embeddings": 1024,
    "attn_implementation": "sdpa",
    "pad_token_id": 0,
}


def adapted(config: PretrainedConfig, targets: list[str] = TARGETS, bits: int | None = None) -> Any:
    """A small model with random weights and a random adapter, that of PEFT."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if bits is not None:
        prepare_library()
        for name, module in list(model.named_modules()):
            if isinstance(module, torch.nn.Linear) and name != "lm_head":
                parent, _, leaf = name.rpartition(".")
                layer = quantised(
                    module.weight.data,
                    module.bias,
                    HqqOptions(bits=bits, group_size=32),
                    torch.float32,
                    torch.device("cpu"),
                )
                setattr(model.get_submodule(parent), leaf, layer)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=12, target_modules=targets))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def loss_and_gradients(model: Any, ids: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("config", "bits", "norms"),
    [
        (LlamaConfig(**SMALL), None, 5),
        (Qwen2Config(**SMALL), None, 5),  # its projections have a bias
        (Qwen3Config(**SMALL), None, 9),  # it norms queries and keys
        (Qwen3Config(**SMALL), 4, 9),
        (LlamaConfig(**SMALL), 3, 5),
    ],
)
def test_lean_layers_give_the_losses_and_gradients_of_the_libraries(
    config: PretrainedConfig, bits: int | None, norms: int
) -> None:
    model = adapted(config, bits=bits)
    ids = torch.randint(1, 101, (2, TOKENS_AT_A_TIME // 2 + 40))  # more tokens than one part
    expected = loss_and_gradients(model, ids)
    assert make_lean(model) == Replaced(linears=14, mlps=2, norms=norms)
    for checkpointed in (False, True):
        if checkpointed:
            model.gradient_checkpointing_enable()
        found = loss_and_gradients(model, ids)
        assert found[0] == pytest.approx(expected[0], rel=1e-6)
        assert found[1].keys() == expected[1].keys()
        for name, gradient in expected[1].items():
            torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_an_mlp_whose_layers_are_not_all_adapted_keeps_its_own_way() -> None:
    model = adapted(LlamaConfig(**SMALL), targets=["q_proj", "up_proj"])
    ids = torch.randint(1, 101, (1, 20))
    expected = loss_and_gradients(model, ids)
    assert make_lean(model).mlps == 0
    assert loss_and_gradients(model, ids)[0] == pytest.approx(expected[0], rel=1e-6)


def test_a_module_that_computes_something_else_is_left_alone() -> None:
    """Gemma's norm multiplies by one plus its weight, under another name for its epsilon: nothing of it may be replaced."""
    model = adapted(
        Gemma2Config(**{**SMALL, "attn_implementation": "eager"}, query_pre_attn_scalar=16, sliding_window=16)
    )
    ids = torch.randint(1, 101, (1, 40))
    expected = loss_and_gradients(model, ids)
    assert make_lean(model).norms == 0
    assert loss_and_gradients(model, ids)[0] == pytest.approx(expected[0], rel=1e-6)


def test_a_norm_of_the_same_name_is_tried_before_it_is_replaced() -> None:
    model = adapted(LlamaConfig(**SMALL))
    kind = type(model.get_base_model().model.norm)

    class OddRMSNorm(kind):  # type: ignore[misc, valid-type]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 1.5

    model.get_base_model().model.norm.__class__ = OddRMSNorm
    assert make_lean(model).norms == 4


def test_dropout_falls_on_the_adapter_alone_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=0.5, target_modules=["down_proj"])
    model = get_peft_model(AutoModelForCausalLM.from_config(LlamaConfig(**SMALL), dtype=torch.float32), config).train()
    layer = model.get_base_model().model.layers[0].mlp.down_proj
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(1, 96)
    base = layer.get_base_layer()(x)
    whole = layer.eval()(x) - base
    make_lean(model)
    layer.train()
    drawn = torch.stack([layer(x) - base for _ in range(4000)])
    assert drawn.std(0).min() > 0
    torch.testing.assert_close(drawn.mean(0), whole, atol=4 * float(drawn.std(0).max()) / 4000**0.5, rtol=0)


@pytest.mark.parametrize("extra", [{}, {"scale": 0.25}, {"softcap": 5.0}, {"scale": 2.0, "softcap": 3.0}])
def test_the_loss_is_the_cross_entropy_of_whole_logits(
    extra: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("jobs.step.loss.LOGIT_BYTES", 0)  # the fewest rows at a time
    hidden, targets = torch.randn(77, 16, requires_grad=True), torch.randint(0, 50, (77,))
    head = Head(torch.randn(50, 16), torch.randn(50), **extra)
    logits = torch.nn.functional.linear(hidden, head.weight, head.bias) * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    found = CompletionLoss.apply(hidden, targets, head, torch.tensor(77))
    torch.testing.assert_close(found, expected / 77, rtol=1e-6, atol=0)
    wanted, got = (torch.autograd.grad(loss, hidden)[0] for loss in (expected / 77, found))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-8)


def test_padding_on_the_right_without_a_mask_changes_no_loss() -> None:
    model = adapted(Qwen3Config(**SMALL)).eval()
    make_lean(model)
    examples = [
        {"input_ids": list(range(1, n)), "labels": [-100] * (n // 2) + list(range(n // 2 + 1, n))} for n in (9, 30, 17)
    ]

    def total(batch: dict[str, Any]) -> float:
        hidden = model.get_base_model().base_model(input_ids=batch["input_ids"], use_cache=False).last_hidden_state
        rows = hidden.flatten(0, 1).index_select(0, batch["positions"])
        return float(CompletionLoss.apply(rows, batch["targets"], Head.of(model.get_base_model()), 1.0))

    together = collate(examples)
    assert together["tokens"] == 8 + 29 + 16
    assert sorted(together["targets"].tolist()) == sorted(t for e in examples for t in e["labels"] if t != -100)
    assert total(together) == pytest.approx(sum(total(collate([example])) for example in examples), rel=1e-6)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
@settings(max_examples=200, deadline=None)
def test_a_value_is_split_into_the_nearest_bf16_and_joined_without_loss(values: list[float]) -> None:
    whole = torch.tensor(values, dtype=torch.float32)
    whole = whole[whole.abs() < 3e38]  # what rounds up beyond the largest bf16 is no weight
    high, low = split(whole)
    assert torch.equal(join(high, low).view(torch.int32), whole.view(torch.int32))
    nearest = (whole - whole.bfloat16().float()).abs()
    assert bool(((whole - high.float()).abs() <= nearest).all())


def fit(optimizer_of: Any, dtype: torch.dtype, steps: int = 200) -> tuple[torch.Tensor, Any]:
    """A least-squares problem: (the last value, the optimizer)."""
    torch.manual_seed(0)
    wanted, inputs = torch.randn(64, 128), torch.randn(256, 128)
    outputs = inputs @ wanted.t()
    parameter = torch.nn.Parameter(torch.zeros(64, 128, dtype=dtype))
    optimizer = optimizer_of([parameter])
    for _ in range(steps):
        optimizer.zero_grad()
        ((inputs @ parameter.float().t() - outputs) ** 2).mean().backward()
        optimizer.step()
    return parameter.detach().float().clone(), optimizer


def test_in_fp32_it_is_torchs_adamw() -> None:
    options = {"lr": 0.02, "weight_decay": 0.01}
    expected, _ = fit(lambda parameters: torch.optim.AdamW(parameters, **options), torch.float32)
    found, _ = fit(lambda parameters: LeanAdamW(parameters, **options), torch.float32)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_bf16_parameters_lose_no_small_update() -> None:
    """Updates far below the spacing of bf16 near one: without the low halves nothing would ever move."""
    parameter = torch.nn.Parameter(torch.ones(64, dtype=torch.bfloat16))
    optimizer = LeanAdamW([parameter], lr=1e-5)
    for _ in range(1000):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    value = join(parameter.detach(), optimizer.state[parameter]["low"])
    torch.testing.assert_close(value, torch.full((64,), 0.99), rtol=1e-4, atol=0)


def test_eight_bit_moments_are_near_and_small() -> None:
    torch.manual_seed(0)
    values = torch.randn(10_240) * torch.logspace(-4, 0, 10_240)
    signed, unsigned = (Codes(values.device, signed=signed) for signed in (True, False))
    codes, scale = signed.pack(values)
    back = signed.unpack(codes, scale, values)
    assert codes.numel() + 4 * scale.numel() < 1.03 * values.numel()
    assert (back - values).abs().mean() / values.abs().mean() < 0.02
    roots, scale = unsigned.pack(values.abs())
    assert bool((unsigned.unpack(roots, scale, values) > 0).all())  # what is divided by
    expected, _ = fit(lambda parameters: torch.optim.AdamW(parameters, lr=0.02), torch.float32)
    found, optimizer = fit(lambda parameters: LeanAdamW(parameters, lr=0.02, moments="8bit"), torch.float32)
    assert (found - expected).norm() / expected.norm() < 0.05
    (state,) = optimizer.state.values()
    assert "exp_avg" not in state


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("moments", ["fp32", "8bit"])
def test_a_state_that_was_written_and_read_goes_on_bit_for_bit(dtype: torch.dtype, moments: Any) -> None:
    value, optimizer = fit(lambda parameters: LeanAdamW(parameters, lr=0.02, moments=moments), dtype, 20)
    before = optimizer.param_groups[0]["params"][0]
    after = torch.nn.Parameter(before.detach().clone())
    other = LeanAdamW([after], lr=1.0, moments=moments)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    gradient = torch.randn_like(before)
    for parameter, one in ((before, optimizer), (after, other)):
        parameter.grad = gradient.clone()
        one.step()
    assert torch.equal(before, after)
    assert other.state[after]["step"] == 21
    assert not torch.equal(value, after.float())


def test_the_state_of_torchs_adamw_is_taken_over() -> None:
    """What the ladder does when it goes from fp32 to 8-bit moments in the middle of a run."""
    value, optimizer = fit(
        lambda parameters: make_optimizer(parameters, lr=0.02, weight_decay=0.0, moments="fp32"), torch.float32, 50
    )
    assert isinstance(optimizer, torch.optim.AdamW)
    parameter = torch.nn.Parameter(value.clone())
    other = make_optimizer([parameter], lr=0.02, weight_decay=0.0, moments="8bit")
    other.load_state_dict(optimizer.state_dict())
    (taken,) = other.state.values()
    (given_state,) = optimizer.state.values()
    assert taken["step"] == 50
    first = Codes(parameter.device, signed=True).unpack(taken["first_codes"], taken["first_scale"], parameter)
    torch.testing.assert_close(first, given_state["exp_avg"], rtol=0.1, atol=float(first.abs().max()) * 0.01)


def test_a_state_of_other_parameters_is_refused() -> None:
    _, optimizer = fit(lambda parameters: LeanAdamW(parameters, lr=0.02), torch.float32, 2)
    with pytest.raises(ValueError, match="other parameters"):
        LeanAdamW([torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(3))], lr=1.0).load_state_dict(
            optimizer.state_dict()
        )


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_quantised_weight_is_what_the_library_says_and_an_empty_one_has_its_bytes(bits: Any) -> None:
    torch.manual_seed(0)
    prepare_library()
    weight = torch.randn(48, 128) * 0.02
    options = HqqOptions(bits=bits, group_size=64)
    layer = quantised(weight, None, options, torch.bfloat16, torch.device("cpu"))
    assert torch.equal(layer.dequantize(), LibraryLinear.dequantize(layer))
    assert (layer.dequantize().float() - weight).norm() / weight.norm() < {8: 0.01, 4: 0.1, 3: 0.22, 2: 0.5}[bits]
    empty = empty_layer(48, 128, options, torch.bfloat16)
    for one, other in ((layer.W_q, empty.W_q), *((layer.meta[key], empty.meta[key]) for key in ("scale", "zero"))):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(3, 128, dtype=dtype, requires_grad=True)
        layer(x).float().sum().backward()
        torch.testing.assert_close(
            x.grad.float(), layer.dequantize().float().sum(0).expand(3, -1), rtol=0.02, atol=0.01
        )


def test_a_weight_that_does_not_divide_into_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        quantised(torch.randn(3, 5), None, HqqOptions(bits=4, group_size=64), torch.float32, torch.device("cpu"))
