"""How many threads torch computes with, where that is not the job's own affair."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[int]:
    """Let each operation compute in one thread; gives how many threads there are to share out otherwise.

    For work that goes in pieces which are small enough for a processor's cache. At the end of each operation threads wait for
    one another, and beside other programs they wait for a core: a proof that computes for a second took twelve that way.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
