"""What the figures of a training's steps say about its health: not finite, exploding, stuck at zero."""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any

HISTORY = 50
"""Figures that make up "recent"."""
WARM_UP = 20
"""Figures that must be there before one is called too large: first steps are wild, and an adapter's first norms tiny."""
IN_A_ROW = 3
LOSS_FACTOR = 5.0
LOSS_FLOOR = 2.0
"""Nats a token. A loss below it is no explosion, however small the former ones were."""
NORM_FACTOR = 20.0
NORM_FLOOR = 1.0
ZERO = 1e-7
ZERO_STEPS = 5
FALLEN_FROM = 0.1
"""A loss that was above this and is exactly 0 from one step to the next was not learnt away."""


class Outliers:
    """Tells when a figure has been far above its recent median for several steps; what is far above joins no median."""

    def __init__(self, factor: float, floor: float) -> None:
        self.factor, self.floor = factor, floor
        self.recent: deque[float] = deque(maxlen=HISTORY)
        self.in_a_row = 0

    def add(self, value: float) -> float | None:
        """The usual value once `value` is the third in a row far above it."""
        if len(self.recent) >= WARM_UP:
            usual = statistics.median(self.recent)
            if value > max(self.floor, self.factor * usual):
                self.in_a_row += 1
                return usual if self.in_a_row >= IN_A_ROW else None
        self.in_a_row = 0
        self.recent.append(value)
        return None


class LossWatch:
    """Looks at `step` and `eval` events; each trouble is told once, and again only after it was over."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget everything: the training began anew."""
        self.told: set[str] = set()
        self.loss, self.norm = Outliers(LOSS_FACTOR, LOSS_FLOOR), Outliers(NORM_FACTOR, NORM_FLOOR)
        self.zeros = self.overflows = 0
        self.last: float | None = None
        """The last loss that was not zero."""

    def event(self, event: dict[str, Any]) -> list[tuple[str, str]]:
        """(code, message) of each trouble that this event shows for the first time."""
        if event["kind"] not in {"step", "eval"}:
            return []
        loss, norm, step = _figure(event.get("loss")), _figure(event.get("grad_norm")), event.get("step")
        if event["kind"] == "eval":
            return self._once("nan", _not_finite(loss, None, f"held out, at step {step}"))
        self.overflows = self.overflows + 1 if norm is not None and math.isinf(norm) else 0
        # Clipping makes of one norm that overflowed a step without effect, and the run goes on.
        believed = None if self.overflows == 1 else norm
        found = self._once("nan", _not_finite(loss, believed, f"at step {step}"))
        found += self._once("exploding", self._exploding(loss, norm, step))
        return found + self._once("zero_loss", self._zero(loss, step))

    def _once(self, code: str, message: str | None) -> list[tuple[str, str]]:
        if message is None:
            self.told.discard(code)
            return []
        if code in self.told:
            return []
        self.told.add(code)
        return [(code, message)]

    def _exploding(self, loss: float | None, norm: float | None, step: object) -> str | None:
        said = []
        for name, value, outliers in (("loss", loss, self.loss), ("gradient norm", norm, self.norm)):
            if value is not None and math.isfinite(value) and (usual := outliers.add(value)) is not None:
                said.append(f"the {name} is {value:.3g} at step {step}, where {usual:.3g} was usual")
        return "; ".join(said) or None

    def _zero(self, loss: float | None, step: object) -> str | None:
        if loss is None or not math.isfinite(loss):
            return None
        if abs(loss) > ZERO:
            self.zeros, self.last = 0, loss
            return None
        self.zeros += 1
        # Towards the end of a long training on little data a loss may shrink to nothing: that is no trouble.
        if self.zeros < ZERO_STEPS or (self.last is not None and self.last < FALLEN_FROM):
            return None
        since = "from the first step on" if self.last is None else f"after {self.last:.3g}"
        return f"the loss is 0 at step {step}, for {self.zeros} steps, {since}: nothing is learnt"


def _not_finite(loss: float | None, norm: float | None, where: str) -> str | None:
    for name, value in (("loss", loss), ("gradient norm", norm)):
        if value is not None and not math.isfinite(value):
            return f"the {name} is {value} {where}"
    return None


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
