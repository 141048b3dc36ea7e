"""A chain as the commands show it: one thing with its links."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from core.cli.common import SIGNS, job_line
from core.format import duration
from core.store.chains import Chain
from core.text import cell_width, printable
from core.wording.chains import chain_words
from core.wording.runs import Difference


def chain_lines(chain: Chain, width: int, apart: Mapping[int, Difference], scores: Mapping[int, float]) -> list[str]:
    """A line for the chain, below it one for each link; titles take `width` cells."""
    now = time.time()
    head = f"{printable(chain.title)}  chain:{chain.id}"
    room = " " * (width + 7 - cell_width(head) - 2)
    lines = [printable(f"{SIGNS[chain.state]} {head}{room} {chain_words(chain, now)}")]
    for link in chain.links:
        job, ran = link.job, link.ran(now)
        more = ["made before"] if link.taken else []
        more += [f"ran {duration(ran)}"] if ran >= 1 else []
        line = job_line(job, apart.get(job.id), scores.get(job.id), width - 2)
        lines.append(f"  {line}" + (f" ({', '.join(more)})" if more else ""))
    return lines


def chain_json(chain: Chain) -> dict[str, Any]:
    """A chain for `--json`: its state is that of `current`, the job of the link that tells how it stands."""
    now = time.time()
    return {
        "id": chain.id,
        "title": chain.title,
        "project_id": chain.project_id,
        "author": chain.author,
        "submitted_at": chain.submitted_at,
        "state": chain.state,
        "current": chain.current.job.id,
        "done": chain.done,
        "links": [
            {
                "job": link.job.id,
                "kind": link.job.kind,
                "state": link.job.state,
                "taken": link.taken,
                "seconds": round(link.ran(now), 3),
            }
            for link in chain.links
        ],
    }
