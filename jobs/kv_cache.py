"""A key-value cache that is written in place. The library's own one copies all of itself at every token."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

# How many tokens a layer grows by.
GROWTH = 128


class RoomyLayer(DynamicLayer):
    """Keys and values of one full-attention layer, views into buffers with room behind them.

    Shapes: [batch, key-value heads, tokens, head size].
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library annotates nothing here
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None  # empty tensors until something is written
        held = self.get_seq_length()
        total = held + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < total:
            self._buffers = (self._grown(self.keys, key_states, total), self._grown(self.values, value_states, total))
        keys, values = self._buffers
        keys[:, :, held:total] = key_states
        values[:, :, held:total] = value_states
        self.keys, self.values = keys[:, :, :total], values[:, :, :total]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keep the given rows, in that order; a row may be named several times."""
        assert self.keys is not None and self.values is not None  # rows are selected after the prompt was read
        self.keys, self.values = self.keys[beam_idx], self.values[beam_idx]
        self._buffers = None

    @staticmethod
    def _grown(held: torch.Tensor, new: torch.Tensor, total: int) -> torch.Tensor:
        batch, heads, _, size = new.shape
        buffer = new.new_empty(batch, heads, total + GROWTH, size)
        if held.numel():
            buffer[:, :, : held.shape[-2]] = held
        return buffer


def roomy_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache for a model; its full-attention layers are written in place, sliding and linear ones as usual."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def select_rows(cache: Any, rows: torch.Tensor) -> None:
    """Keep the given rows of a cache, in that order; a row may be named several times."""
    for layer in cache.layers:
        layer.reorder_cache(rows)
