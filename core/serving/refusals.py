"""The refusals of a model server told apart: busy, out of memory, a prompt too long, no such model, an option not taken."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from core.reasons import Reason
from core.serving.errors import ServerCode, ServerError, one_line

# Of Ollama's own list (llm/status.go), the words before it (0.24), and those of CUDA, HIP, Vulkan and vLLM.
_NO_MEMORY = re.compile(
    r"out[ -]of[ -](?:device )?memory|(?:cuda|hip)malloc failed|failed to allocate|allocation failed|not enough memory"
    r"|insufficient memory|error_?out_?of_?(?:device_?)?memory|requires more (?:system|gpu) memory",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"exceed_context_size|context_length_exceeded|exceeds? the (?:available|maximum) context|maximum context length"
    r"|(?:exceeds|longer than) the (?:model'?s )?(?:maximum )?context (?:length|size|window)|prompt is too long",
    re.IGNORECASE,
)
_BUSY = re.compile(r"server busy|pending requests|overloaded|loading model|rate limit|too many requests", re.IGNORECASE)
_NO_MODEL = re.compile(r"model\b.*(?:not found|does not exist|not exist|unknown)|no such model", re.IGNORECASE)
# Ollama answers 500 to what it could have known to be wrong.
_NEVER = re.compile(
    r"^invalid format|failed to parse grammar|failed to initialize samplers|must be of type", re.IGNORECASE
)
_REFUSES = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|not permitted|extra|unexpected|invalid|forbidden|not allowed",
    re.IGNORECASE,
)
_MOST_NAMES = 20


def classified(error: ServerError, *, options: Collection[str] = ()) -> ServerError:
    """The same error with a finer `code`, where what the server said tells more. `options`: the names that were sent."""
    if error.code != "server_refused":
        return error
    code: ServerCode | None = None
    if _TOO_LONG.search(error.said):
        code = "context_overflow"
    elif _NO_MEMORY.search(error.said):
        code = "server_out_of_memory"
    elif error.status in (429, 503, 529) or _BUSY.search(error.said):
        code = "server_busy"
    elif error.status in (400, 404) and _NO_MODEL.search(error.said):
        code = "model_not_found"
    elif error.status == 500 and _NEVER.search(error.said):
        code = "option_refused"
    elif error.status in (400, 422) and (option := _refused_option(error.said, options)) is not None:
        return ServerError(
            f"the server does not take the option `{option}`: {error.said}",
            code="option_refused",
            status=error.status,
            said=error.said,
            remedy=f"write `omit: [{option}]` to this server in bakehouse.yaml, and it is not sent",
            reason=Reason("option_refused", {"option": option, "said": error.said}),
        )
    return error if code is None else _with_code(error, code)


def no_such_model(model: str, server: str, names: Sequence[str]) -> ServerError:
    """A model that a server does not have, with those that it has."""
    shown = [one_line(name) for name in names[:_MOST_NAMES]]
    more = len(names) - len(shown)
    there = f"it has {', '.join(shown)}" + (f" and {more} more" if more else "") if shown else "it has none"
    wanted = one_line(model)
    return ServerError(
        f"server {server} has no model `{wanted}`",
        code="model_not_found",
        status=404,
        remedy=there,
        reason=Reason("model_not_found", {"server": server, "model": wanted, "names": shown}),
    )


def no_render(model: str, why: str) -> ServerError:
    """That the prompts which a model gets are not known, as its server does not show them."""
    message = f"what prompts `{one_line(model)}` gets is unknown: {why}"
    remedy = "check its GGUF file instead, or serve it by an Ollama from 0.11.5 on or a llama-server"
    return ServerError(
        message, code="no_render", remedy=remedy, reason=Reason("no_render", {"model": model, "why": why})
    )


def _refused_option(said: str, options: Collection[str]) -> str | None:
    """Which of the options that were sent is named in the refusal, the longest name first."""
    if not _REFUSES.search(said):
        return None
    named = (
        one for one in sorted(options, key=len, reverse=True) if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", said)
    )
    return next(named, None)


def _with_code(error: ServerError, code: ServerCode) -> ServerError:
    return ServerError(
        error.message,
        code=code,
        status=error.status,
        said=error.said,
        remedy=error.remedy,
        reason=error.reason,
        retry_after_seconds=error.retry_after_seconds,
    )
