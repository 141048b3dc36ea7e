"""How deep the tests go: as deep as each change needs, or to the ground, once for each closing note (`make soak`).

`BAKEHOUSE_TEST_DEPTH=soak` makes property tests try more examples, chaos last longer, and takes bounds on time at their word.
"""

from __future__ import annotations

import os

from tests.support.waiting import PATIENCE_SECONDS

SOAK = os.environ.get("BAKEHOUSE_TEST_DEPTH") == "soak"
DEEPER = 20
"""How many times more examples a property test tries in the soak."""


def example_count(usual: int) -> int:
    """How many examples a property test tries."""
    return usual * DEEPER if SOAK else usual


def at_most(limit_seconds: float) -> float:
    """A bound on time as the soak, which has the machine for itself, holds it; elsewhere only what never ends breaks one."""
    return limit_seconds if SOAK else max(limit_seconds, PATIENCE_SECONDS)
