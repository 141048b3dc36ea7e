"""What a llama-server takes of memory for a GGUF file: told from the file's header, or from the shape that it will have.

Weights are the tensors' own sizes. The cache of keys and values is, summed over the layers that have one,
tokens × (width of the keys + width of the values) × bytes of a value, where a width is heads × length and the tokens are the
window of a slot × slots; a layer that sees only a sliding window keeps that and a batch (`llama_kv_cache_iswa`). The widths are
those of the layer's own projections: layers may differ. A layer without attention keeps a state of constant size a slot.
What a step computes in is a batch of 512 tokens wide.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.config.model import ModelEntry, ModelShape
from core.home import Home
from core.models.files import parameter_count
from core.models.gguf import GgufHeader, GgufTensor, check_servable
from core.models.shapes import with_shape

WINDOW_STEP = 256
"""llama.cpp rounds the window of a slot to a multiple of it."""
BATCH = 512
"""Tokens that are computed together (`--ubatch-size`)."""
CACHE_VALUE_BYTES = 2
"""f16, what llama-server caches in where it is not told otherwise."""
PROGRAM_BYTES = 20_000_000
"""A llama-server without a model: its code, its threads, its HTTP server."""
TOKEN_BYTES = 400
"""What a token of the vocabulary takes beside the weights: its text, its rank, its merges, each in a table of its own."""
GPU_RUNTIME_BYTES = 1_000_000_000
"""Of the host's memory, where the layers are on a GPU: the driver's libraries, kernels, and buffers that both reach."""
GPU_CONTEXT_BYTES = 350_000_000
"""Of the GPU's: the driver's context with its kernels."""

# Every Nth layer sees all tokens, the others a window, where the file has no `sliding_window_pattern` (llama.cpp's src/models).
FULL_EVERY = {
    "afmoe": 4,
    "cohere2": 4,
    "exaone4": 4,
    "exaone-moe": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "llama4": 4,
    "olmo2": 4,
    "plamo3": 8,
    "smallthinker": 4,
}
# Types that llama.cpp lays out anew for this processor (ggml-cpu's repack.cpp), and then holds twice: as mapped, and so.
_REPACKED_BY_ARM = frozenset({2, 8, 12, 13, 14, 20, 39, 41})
REPACKED = {"x86_64": frozenset({2, 10, 12, 20, 39}), "aarch64": _REPACKED_BY_ARM, "arm64": _REPACKED_BY_ARM}
REPACKED_ROWS = 8
"""Their rows are interleaved by so many; a tensor whose rows do not divide stays as it is."""
LAYER = re.compile(r"blk\.(\d+)\.(attn_k|attn_v|attn_qkv|attn_kv_a_mqa|ssm_conv1d|ssm_in)\.weight")


@dataclass(frozen=True)
class CachedLayer:
    """Values of keys and of values that a layer keeps of each token; of the last `window` tokens only, where there is one."""

    keys: int
    values: int
    window: int | None = None


@dataclass(frozen=True)
class GgufShape:
    """What the memory of a model follows from.

    `embedding_bytes` is the table of tokens among the weights, which stays with the host; with `tied` it is the head, too.
    `repacked_bytes` are those weights that a CPU has in a layout of its own beside the mapped file.
    `state_values` is what layers without attention keep a slot, in fp32. `lora_bytes` are the factors of an adapter that the
    server puts on the model, which lie beside the weights. `at_most`: not all is known of its layers, and the
    cache is counted as the largest that it can be.
    """

    weights_bytes: int
    embedding_bytes: int
    tied: bool
    vocabulary: int
    hidden: int
    ffn: int
    layers: tuple[CachedLayer, ...]
    state_values: int = 0
    repacked_bytes: int = 0
    lora_bytes: int = 0
    at_most: bool = False


@dataclass(frozen=True)
class ServerMemory:
    """What a llama-server takes for a model, in bytes, with a window of `window` tokens for each of `slots` answers at a time.

    `host_bytes` is what the host must have for it, the mapped file counted in, `device_bytes` what a GPU holds (0 without one).
    `spare_bytes` is resident beside that and can be had at any time: pages of the file whose weights lie elsewhere, too.
    `components` are `weights`, `cache`, `compute`, `program`, and `adapter` where the server puts one on the
    model: of the GPU where there is one, else of the host.
    """

    window: int
    slots: int
    host_bytes: int
    device_bytes: int = 0
    components: Mapping[str, int] = field(default_factory=dict)
    spare_bytes: int = 0
    at_most: bool = False

    @property
    def resident_bytes(self) -> int:
        """What the kernel shows as resident (RSS) of a server without a GPU, once it has worked on whole batches."""
        return self.host_bytes + self.spare_bytes

    @property
    def on_gpu(self) -> bool:
        return self.device_bytes > 0

    @property
    def needed_bytes(self) -> int:
        """Of the memory that decides: the GPU's where there is one."""
        return self.device_bytes or self.host_bytes

    @property
    def least_bytes(self) -> int:
        """The same without what is only counted because it can't be told: nothing is refused for that."""
        return self.needed_bytes - (self.components["cache"] if self.at_most else 0)

    @property
    def least_host_bytes(self) -> int:
        """What the host must have for it, by the same rule."""
        return self.host_bytes if self.on_gpu else self.least_bytes


def server_memory(shape: GgufShape, context_length: int, slots: int, *, on_gpu: bool) -> ServerMemory:
    """The memory of a llama-server with `context_length` tokens for each of its slots.

    On a CPU only what is touched counts: of the logits a row a slot. A GPU's buffers are there as a whole: before llama.cpp
    knew how many outputs a batch can have, they held the logits of all of its tokens.
    """
    window = -(-context_length // WINDOW_STEP) * WINDOW_STEP
    tokens = window * slots
    batch = min(BATCH, tokens)
    cache = sum(_cached_tokens(layer, window) * slots * (layer.keys + layer.values) for layer in shape.layers)
    cache = CACHE_VALUE_BYTES * cache + 4 * shape.state_values * slots
    # Fitted to what llama-server logs: a step's widest point, in fp32, and the mask of the attention, in f16.
    compute = 4 * batch * (2 * shape.ffn + 8 * shape.hidden) + 2 * batch * window
    program = PROGRAM_BYTES + TOKEN_BYTES * shape.vocabulary
    row = 4 * shape.vocabulary
    adapter = {"adapter": shape.lora_bytes} if shape.lora_bytes else {}
    if not on_gpu:
        parts = {
            "weights": shape.weights_bytes,
            "cache": cache,
            "compute": compute + 2 * row * slots,
            "program": program,
            **adapter,
        }
        return ServerMemory(window, slots, sum(parts.values()), 0, parts, shape.repacked_bytes, shape.at_most)
    weights = shape.weights_bytes - (0 if shape.tied else shape.embedding_bytes)
    parts = {
        "weights": weights,
        "cache": cache,
        "compute": compute + row * batch,
        "program": GPU_CONTEXT_BYTES,
        **adapter,
    }
    host = shape.embedding_bytes + program + row * slots + GPU_RUNTIME_BYTES
    return ServerMemory(window, slots, host, sum(parts.values()), parts, at_most=shape.at_most)


def host_bytes_of_server(home: Home, file: Path, model: ModelEntry, context_length: int, slots: int = 1) -> int:
    """The least that a llama-server without a GPU takes of the host's memory for `file`, in bytes; a file that is still to be
    made of `model` is counted in 16 bits. InputError for a file that no server could load."""
    if file.is_file():
        shape = shape_of_file(check_servable(file, file.name))
    else:
        parameters, entry = parameter_count(home, model), with_shape(home, model)
        if entry.shape is None or not parameters:
            return 2 * parameters
        shape = shape_to_be(entry.shape, parameters, 16)
    return server_memory(shape, context_length, slots, on_gpu=False).least_bytes


def _cached_tokens(layer: CachedLayer, window: int) -> int:
    if layer.window is None:
        return window
    return min(window, -(-(layer.window + BATCH) // WINDOW_STEP) * WINDOW_STEP)


def shape_of_file(header: GgufHeader) -> GgufShape:
    """The shape that a file's header tells."""
    keys, architecture = header.keys, header.architecture
    tensors = {tensor.name: tensor for tensor in header.tensors}
    embedding = tensors.get("token_embd.weight")
    hidden = _whole(keys.get(f"{architecture}.embedding_length")) or (embedding.shape[0] if embedding else 0)
    layers, states, at_most = _layers(header, architecture)
    return GgufShape(
        weights_bytes=sum(tensor.size_bytes for tensor in header.tensors),
        embedding_bytes=embedding.size_bytes if embedding else 0,
        tied="output.weight" not in tensors,
        vocabulary=embedding.shape[1] if embedding and len(embedding.shape) > 1 else 0,
        hidden=hidden,
        ffn=_largest(keys.get(f"{architecture}.feed_forward_length")),
        layers=layers,
        state_values=states * _state_values(keys, architecture),
        repacked_bytes=sum(tensor.size_bytes for tensor in header.tensors if _is_repacked(tensor, tensors)),
        at_most=at_most or any(tensor.size_bytes == 0 for tensor in header.tensors),
    )


def _is_repacked(tensor: GgufTensor, tensors: Mapping[str, GgufTensor]) -> bool:
    """Whether a CPU holds a copy of it in its own layout: matrices by which something is multiplied, of some types."""
    if len(tensor.shape) < 2 or tensor.shape[1] % REPACKED_ROWS:
        return False
    if tensor.name == "token_embd.weight" and "output.weight" in tensors:
        return False  # rows are looked up in it, and nothing else
    return tensor.kind in REPACKED.get(platform.machine(), frozenset())


def shape_to_be(shape: ModelShape, parameters: int, bits: float) -> GgufShape:
    """The shape of a file that a job has yet to make of a model, with about so many bits a weight."""
    layer = CachedLayer(shape.kv_heads * shape.head_dim, shape.kv_heads * shape.head_dim)
    return GgufShape(
        weights_bytes=round(parameters * bits / 8),
        embedding_bytes=round(shape.vocabulary * shape.hidden * bits / 8),
        tied=shape.tied,
        vocabulary=shape.vocabulary,
        hidden=shape.hidden,
        ffn=shape.ffn,
        layers=(layer,) * shape.layers,
        at_most=shape.attention != "full",
    )


def _layers(header: GgufHeader, architecture: str) -> tuple[tuple[CachedLayer, ...], int, bool]:
    """The layers that keep something of each token, how many keep a state instead, whether more is counted than may be."""
    found: dict[int, dict[str, GgufTensor]] = {}
    for tensor in header.tensors:
        if (match := LAYER.fullmatch(tensor.name)) is not None and len(tensor.shape) > 1:
            found.setdefault(int(match[1]), {})[match[2]] = tensor
    window = _whole(header.keys.get(f"{architecture}.attention.sliding_window"))
    pattern = header.keys.get(f"{architecture}.attention.sliding_window_pattern")
    every = pattern if isinstance(pattern, int) and pattern > 0 else FULL_EVERY.get(architecture)
    layers, states = [], 0
    for number in sorted(found):
        of_layer = found[number]
        states += "ssm_conv1d" in of_layer or "ssm_in" in of_layer
        width = _widths(header, architecture, number, of_layer)
        if width is None:
            continue
        layer = CachedLayer(*width)
        if isinstance(pattern, tuple):
            sees_window = number < len(pattern) and bool(pattern[number])
        else:
            sees_window = every is not None and number % every < every - 1
        layers.append(replace(layer, window=window) if window and sees_window else layer)
    told = isinstance(pattern, tuple) or every is not None
    return tuple(layers), states, bool(window) and not told


def _widths(
    header: GgufHeader, architecture: str, number: int, of_layer: Mapping[str, GgufTensor]
) -> tuple[int, int] | None:
    """Values of keys and of values that a layer keeps of a token; None for one without attention."""
    keys = header.keys
    if "attn_kv_a_mqa" in of_layer:  # latent attention: one vector a token, of which both are made
        return of_layer["attn_kv_a_mqa"].shape[1], 0
    if "attn_k" in of_layer:
        key = of_layer["attn_k"].shape[1]
        return key, of_layer["attn_v"].shape[1] if "attn_v" in of_layer else key
    if "attn_qkv" not in of_layer or "ssm_conv1d" in of_layer:
        return None
    heads = _of_layer(keys.get(f"{architecture}.attention.head_count"), number)
    kv_heads = _of_layer(keys.get(f"{architecture}.attention.head_count_kv"), number) or heads
    hidden = _whole(keys.get(f"{architecture}.embedding_length"))
    head = hidden // heads if heads else 0
    key = _whole(keys.get(f"{architecture}.attention.key_length")) or head
    value = _whole(keys.get(f"{architecture}.attention.value_length")) or head
    return kv_heads * key, kv_heads * value


def _state_values(keys: Mapping[str, Any], architecture: str) -> int:
    """What a layer without attention keeps (Mamba's convolution and state, `llama_hparams::n_embd_r` and `n_embd_s`)."""
    kernel, inner, state, groups = (
        _whole(keys.get(f"{architecture}.ssm.{name}"))
        for name in ("conv_kernel", "inner_size", "state_size", "group_count")
    )
    return max(0, kernel - 1) * (inner + 2 * groups * state) + state * inner


def _of_layer(value: object, number: int) -> int:
    if isinstance(value, tuple):
        return _whole(value[number]) if number < len(value) else 0
    return _whole(value)


def _largest(value: object) -> int:
    return max(map(_whole, value), default=0) if isinstance(value, tuple) else _whole(value)


def _whole(value: object) -> int:
    """A count, 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
