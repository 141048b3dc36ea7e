"""The memory of a llama-server, told from headers: each formula by hand, for each way in which layers keep what they saw."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from core.config.model import ModelShape
from core.models.gguf import GgufHeader, GgufTensor
from core.models.gguf_memory import (
    BATCH,
    GPU_CONTEXT_BYTES,
    CachedLayer,
    GgufShape,
    server_memory,
    shape_of_file,
    shape_to_be,
)

F16, F32, Q4_0, Q8_0, Q4_K = 1, 0, 2, 8, 12


def tensor(name: str, *shape: int, kind: int = F16, size: int = 100) -> GgufTensor:
    return GgufTensor(name, shape, kind, 0, size)


def header(*tensors: GgufTensor, architecture: str = "llama", **keys: Any) -> GgufHeader:
    of_model = {f"{architecture}.{name.replace('__', '.')}": value for name, value in keys.items()}
    everything = (tensor("token_embd.weight", 64, 1000, size=128_000), *tensors)
    return GgufHeader(3, {"general.architecture": architecture, **of_model}, everything, 0)


def attention(number: int, keys: int, values: int) -> tuple[GgufTensor, GgufTensor]:
    return tensor(f"blk.{number}.attn_k.weight", 64, keys), tensor(f"blk.{number}.attn_v.weight", 64, values)


def cache(found: GgufShape, context: int, slots: int = 1) -> int:
    return server_memory(found, context, slots, on_gpu=False).components["cache"]


def test_the_cache_is_tokens_times_the_widths_of_keys_and_values_over_all_slots() -> None:
    found = shape_of_file(header(*attention(0, 32, 16), *attention(1, 32, 16), embedding_length=64))
    assert found.layers == (CachedLayer(32, 16), CachedLayer(32, 16)) and not found.at_most
    assert cache(found, 1024) == 1024 * 2 * (32 + 16) * 2
    assert cache(found, 1024, slots=3) == 3 * cache(found, 1024)
    assert cache(found, 1025) == cache(found, 1280), "a window is rounded to 256 tokens"


def test_layers_may_differ_and_some_keep_nothing_of_a_token() -> None:
    """Mamba's layers between attention: a state a slot, whatever the window."""
    found = shape_of_file(
        header(
            *attention(0, 32, 32),
            *attention(1, 8, 8),
            tensor("blk.2.ssm_conv1d.weight", 4, 128),
            tensor("blk.2.attn_qkv.weight", 64, 96),
            ssm__conv_kernel=4,
            ssm__inner_size=128,
            ssm__state_size=16,
            ssm__group_count=1,
        )
    )
    assert found.layers == (CachedLayer(32, 32), CachedLayer(8, 8))
    assert found.state_values == 3 * (128 + 2 * 16) + 16 * 128
    assert cache(found, 512, 2) == 2 * 512 * (64 + 16) * 2 + 2 * 4 * found.state_values


def test_projections_in_one_matrix_are_told_by_the_heads() -> None:
    fused = tensor("blk.0.attn_qkv.weight", 64, 128), tensor("blk.1.attn_qkv.weight", 64, 128)
    one = header(*fused, embedding_length=64, attention__head_count=4, attention__head_count_kv=2)
    assert shape_of_file(one).layers == (CachedLayer(32, 32),) * 2
    own = header(*fused, embedding_length=64, attention__head_count=4, attention__head_count_kv=(2, 1))
    assert shape_of_file(own).layers == (CachedLayer(32, 32), CachedLayer(16, 16))
    lengths = {"attention__key_length": 24, "attention__value_length": 8}
    longer = header(*fused, embedding_length=64, attention__head_count=4, attention__head_count_kv=1, **lengths)
    assert shape_of_file(longer).layers == (CachedLayer(24, 8),) * 2


def test_latent_attention_keeps_one_vector_a_token() -> None:
    found = shape_of_file(header(tensor("blk.0.attn_kv_a_mqa.weight", 64, 576), architecture="deepseek2"))
    assert found.layers == (CachedLayer(576, 0),)


def test_a_layer_with_a_sliding_window_keeps_that_and_a_batch() -> None:
    layers = [one for number in range(6) for one in attention(number, 32, 32)]
    gemma = shape_of_file(header(*layers, architecture="gemma3", attention__sliding_window=512))
    assert [layer.window for layer in gemma.layers] == [512] * 5 + [None]
    assert cache(gemma, 8192) == (8192 + 5 * (512 + BATCH)) * 64 * 2
    assert cache(gemma, 256) == 6 * 256 * 64 * 2, "never more than the window of the slot"
    pattern = (True, False, True, False, True, False)
    told = header(*layers, attention__sliding_window=512, attention__sliding_window_pattern=pattern)
    assert [layer.window for layer in shape_of_file(told).layers] == [512, None] * 3
    unknown = shape_of_file(header(*layers, architecture="new", attention__sliding_window=512))
    assert unknown.at_most and cache(unknown, 8192) == 6 * 8192 * 64 * 2
    memory = server_memory(unknown, 8192, 1, on_gpu=False)
    assert memory.least_bytes == memory.needed_bytes - memory.components["cache"], "nothing is refused for a guess"


def test_a_gpu_holds_all_but_the_table_of_tokens_which_the_host_keeps() -> None:
    output = tensor("output.weight", 64, 1000, size=128_000)
    layers = attention(0, 32, 32)
    for tensors, on_gpu in (((*layers, output), 128_200), (layers, 128_200)):
        found = shape_of_file(header(*tensors))
        memory = server_memory(found, 1024, 1, on_gpu=True)
        assert memory.components["weights"] == on_gpu, "a tied head is the table once more"
        assert memory.device_bytes == memory.needed_bytes == sum(memory.components.values())
        assert memory.components["program"] == GPU_CONTEXT_BYTES
        assert memory.components["compute"] >= 4 * 1000 * BATCH, (
            "the logits of a whole batch, as older versions have them"
        )
        assert memory.least_host_bytes >= found.embedding_bytes
    alone = server_memory(found, 1024, 1, on_gpu=False)
    assert alone.device_bytes == 0 and alone.needed_bytes == alone.host_bytes == sum(alone.components.values())


@pytest.mark.parametrize(
    "machine, kind, twice",
    [("x86_64", Q4_0, True), ("x86_64", Q8_0, False), ("aarch64", Q8_0, True), ("s390x", Q4_K, False)],
)
def test_weights_in_a_layout_of_the_processor_are_resident_twice_and_needed_once(
    monkeypatch: pytest.MonkeyPatch, machine: str, kind: int, twice: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    matrix = tensor("blk.0.ffn_up.weight", 64, 128, kind=kind, size=5000)
    others = (
        tensor("blk.0.attn_norm.weight", 64, kind=F32),
        tensor("blk.0.odd.weight", 64, 9, kind=kind, size=700),
        tensor("output.weight", 64, 1000, kind=F16),
    )
    memory = server_memory(shape_of_file(header(matrix, *others)), 512, 1, on_gpu=False)
    assert memory.spare_bytes == (5000 if twice else 0)
    assert memory.resident_bytes == memory.needed_bytes + memory.spare_bytes


def test_a_file_that_is_still_to_be_made_is_told_from_its_models_shape() -> None:
    shape = ModelShape(
        hidden=64, ffn=128, layers=2, heads=4, kv_heads=2, head_dim=16, vocabulary=1000, tied=True, attention="sliding"
    )
    found = shape_to_be(shape, 1_000_000, 8.5)
    assert found.weights_bytes == 1_062_500 and found.layers == (CachedLayer(32, 32),) * 2 and found.at_most
    assert not shape_to_be(shape.model_copy(update={"attention": "full"}), 1_000_000, 8.5).at_most


def test_tensors_of_an_unknown_type_make_it_a_guess() -> None:
    assert shape_of_file(header(tensor("blk.0.ffn_up.weight", 64, 128, kind=99, size=0))).at_most
