"""How a process that plays a job asks the stand-in of a card for memory: a file that tests.support.cardsim reads."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "BAKEHOUSE_CARDSIM"


def hold_gpu(words: str | None) -> None:
    """Ask the card that `BAKEHOUSE_CARDSIM` names for these words (see tests.support.cardsim); None lets go.

    Does nothing where no card is played. Returns once the request lies there, not once it is seen.
    """
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return
    request = Path(folder) / "requests" / str(os.getpid())
    if words is None:
        request.unlink(missing_ok=True)
        return
    new = request.with_name(f".{os.getpid()}")
    new.write_text(words)
    new.rename(request)
