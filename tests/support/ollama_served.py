"""An Ollama that serves three tags of two models, what is asked of it, and the fault that comes of asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from core.serving.ollama import ServerError
from tests.support.ollama_standin import OllamaStandin

QUESTION = [{"role": "user", "content": "What is bread made of?"}]
CONTEXT = 1024


@contextmanager
def served(version: str) -> Iterator[OllamaStandin]:
    """An Ollama of that version with `judge:v1`, the same blob as `judge:rollback`, and `planner`."""
    with OllamaStandin(version, load_seconds=0.05) as server:
        server.add_model("judge:v1", size_bytes=4_000_000_000, kv_bytes_per_token=20_000)
        server.copy_model("judge:v1", "judge:rollback")
        server.add_model("planner", size_bytes=2_000_000_000)
        yield server


def failure(act: Callable[[], object]) -> ServerError:
    with pytest.raises(ServerError) as caught:
        act()
    assert str(caught.value).isprintable(), "one line that says nothing to the terminal"
    return caught.value
