"""The prompt that an Ollama makes of a conversation, shown without an answer; and which of its versions can do what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from core.serving.answering import ServedFile, ServedIdentity
from core.serving.ollama import Ollama, keep_alive
from core.serving.refusals import no_render
from core.serving.replies import ModelInfo

NEVER_CUTS = (0, 12, 6)
"""The first version with `truncate` and `shift`."""
RENDERS = (0, 11, 5)
"""The first version with `_debug_render_only`."""
RUNS_LLAMA_SERVER = (0, 30, 0)
"""From this version on a llama-server runs every file."""


def shows_prompts(identity: ServedIdentity) -> bool:
    """Whether the server of a model shows the prompts that it gets, as far as its version tells."""
    if identity.api == "ollama":
        return version_number(identity.version or "") >= RENDERS
    return identity.api == "llama-server"


def rendered_prompt(
    server: Ollama,
    model: str,
    version: str,
    messages: Sequence[tuple[str, str]],
    think: bool | None,
    context_length: int | None,
    keep_alive_seconds: float,
    seconds: float,
) -> str:
    """The prompt of a conversation of (role, text). The model is loaded where it is not, with this window.

    `think` None is not sent. ServerError: `no_render` of a version that shows none, or that answers in spite of being asked for
    the prompt alone.
    """
    if version_number(version) < RENDERS:
        raise no_render(model, f"Ollama {version} does not show them")
    fields: dict[str, Any] = {"_debug_render_only": True, "keep_alive": keep_alive(keep_alive_seconds)}
    if think is not None:
        fields["think"] = think
    if version_number(version) >= NEVER_CUTS:
        fields |= {"truncate": False, "shift": False}
    options: dict[str, Any] = {"num_predict": 1}  # for a version that does not know the field
    if context_length is not None:
        options["num_ctx"] = context_length
    conversation = [{"role": role, "content": text} for role, text in messages]
    answer = server.chat(model, conversation, timeout_seconds=seconds, stream=False, fields=fields, **options)
    if answer.rendered is None:
        raise no_render(model, f"Ollama {version} answered where it was asked for the prompt")
    return answer.rendered


def file_told(version: str, info: ModelInfo) -> ServedFile:
    """What `show` tells of a model's file. Before 0.30 an engine of Ollama's own runs some: it knows ends by number."""
    return ServedFile(
        keys=info.keys or None,
        template=info.template,
        stops=info.parameters.get("stop", ()),
        ends_by_name=version_number(version) >= RUNS_LLAMA_SERVER,
    )


def version_number(version: str) -> tuple[int, ...]:
    """The three numbers of a version, without what stands behind them (`-rc2`); one that nobody knows (a build of one's own,
    0.0.0) counts as new."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    numbers = tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return numbers if any(numbers) else (10**6, 0, 0)
