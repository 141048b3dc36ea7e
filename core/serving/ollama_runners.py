"""Which process of an Ollama has some weights in memory, and having it go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from core.serving.ollama import Ollama
from core.serving.replies import Resident, Tag, name_key

POLL_SECONDS = 0.1


def tag_of(server: Ollama, name: str) -> Tag | None:
    """The tag `name` of the server's store. Its digest is another as soon as the template, a parameter or anything else is."""
    return next((tag for tag in server.tags() if name_key(tag.name) == name_key(name)), None)


def runner_of(
    server: Ollama, name: str, residents: Sequence[Resident], blob_of: Callable[[str], str]
) -> Resident | None:
    """The one of `residents` that has the weights of the tag `name`.

    A tag that was created anew leaves the runner of its former weights, listed under the same name; another tag may keep those.
    """
    if not residents:
        return None
    tags = server.tags()
    digests = {name_key(tag.name): tag.digest for tag in tags}
    own, blob = digests.get(name_key(name)), blob_of(name)

    def is_ours(one: Resident) -> bool:
        if one.digest is not None and one.digest == own:
            return True
        now = digests.get(name_key(one.name))
        if None in (now, one.digest) or now == one.digest:
            return blob_of(one.name) == blob
        kept = next((tag.name for tag in tags if tag.digest == one.digest), None)
        return kept is not None and blob_of(kept) == blob

    return next((one for one in residents if is_ours(one)), None)


def is_another(one: Resident, other: Resident | Tag | None) -> bool:
    """Whether these are two models, by the digests of their manifests."""
    return other is not None and None not in (one.digest, other.digest) and one.digest != other.digest


def sent_away(server: Ollama, name: str, resident: Callable[[], Resident | None], seconds: float) -> bool:
    """Have the runner of a tag's weights go, whatever its own tag is. False where it works for somebody all the time."""
    deadline = time.monotonic() + seconds
    while resident() is not None:
        if time.monotonic() > deadline:
            return False
        server.unload(name)
        time.sleep(POLL_SECONDS)
    return True
