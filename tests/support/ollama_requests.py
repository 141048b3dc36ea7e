"""What the Ollama stand-in reads out of a request, and the errors it answers with: texts as both servers write them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

FOREVER_SECONDS = (2**63 - 1) / 1e9

_INTEGERS = {"num_ctx", "num_predict", "num_keep", "num_batch", "num_gpu", "main_gpu", "num_thread"}
_INTEGERS |= {"seed", "top_k", "repeat_last_n"}
_FLOATS = {"temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"}
_BOOLEANS = ["use_mmap"]
_STRINGS = {"model", "prompt", "system", "template", "suffix"}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


@dataclass(frozen=True)
class Asked:
    """A request that came: its time (Unix seconds), and its body where that is an object."""

    time: float
    method: str
    path: str
    body: dict[str, Any] | None

    @property
    def unloads(self) -> str | None:
        """The model that it asks to unload."""
        body = self.body or {}
        ends = self.path in ("/api/generate", "/api/chat") and body.get("keep_alive") in (0, "0", "0s")
        return str(body.get("model")) if ends and not body.get("prompt") and not body.get("messages") else None


class RefusalError(Exception):
    """An HTTP status and the text of its `error`."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


def body_of(raw: bytes, kind: str) -> dict[str, Any]:
    """The request's object; `kind` is the name of Go's type for it."""
    if not raw:
        raise RefusalError(400, "missing request body")
    try:
        body = json.loads(raw)
    except UnicodeDecodeError:
        raise RefusalError(400, "invalid character 'ÿ' looking for beginning of value") from None
    except json.JSONDecodeError as error:
        if not error.doc[error.pos :].strip():
            raise RefusalError(400, "unexpected EOF") from None
        character = error.doc[error.pos]
        raise RefusalError(400, f"invalid character {character!r} looking for beginning of value") from None
    if not isinstance(body, dict):
        raise RefusalError(400, f"json: cannot unmarshal {_go_kind(body)} into Go value of type api.{kind}")
    for key in _STRINGS & set(body):
        if body[key] is not None and not isinstance(body[key], str):
            found = _go_kind(body[key])
            raise RefusalError(400, f"json: cannot unmarshal {found} into Go struct field {kind}.{key} of type string")
    return body


def keep_alive(body: dict[str, Any]) -> float | None:
    """Seconds, those of "for ever" for a negative value; None where the request has none."""
    value = body.get("keep_alive")
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return FOREVER_SECONDS if value < 0 else float(value)
    if not isinstance(value, str):
        raise RefusalError(400, f"Unsupported type: '{_go_kind(value)}'")
    seconds = _duration(value)
    return FOREVER_SECONDS if seconds < 0 else seconds


def checked_options(options: object) -> dict[str, Any]:
    """The options a runner knows; others are passed over, a wrong type is an error of the server's."""
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise RefusalError(
            400,
            f"json: cannot unmarshal {_go_kind(options)} into Go struct field .options of type map[string]interface {{}}",
        )
    found: dict[str, Any] = {}
    for key, value in options.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in _INTEGERS and not number:
            raise RefusalError(500, f'option "{key}" must be of type integer')
        if key in _FLOATS and not number:
            raise RefusalError(500, f'option "{key}" must be of type float32')
        if key in _BOOLEANS and not isinstance(value, bool):
            raise RefusalError(500, f'option "{key}" must be of type boolean')
        if key == "stop" and not isinstance(value, list):
            raise RefusalError(500, 'option "stop" must be of type array')
        if key in _INTEGERS:
            found[key] = int(value)
        elif key in _FLOATS or key in _BOOLEANS or key == "stop":
            found[key] = value
    return found


def check_think(body: dict[str, Any], capabilities: list[str]) -> bool | str:
    """Whether the model is to think; it does by itself where it can and nothing is said."""
    think = body.get("think")
    if isinstance(think, str) and think not in ("high", "medium", "low", "max"):
        raise RefusalError(
            400, f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
        )
    if think and "thinking" not in capabilities:
        raise RefusalError(400, f'"{body["model"]}" does not support thinking')
    return "thinking" in capabilities if think is None else think


def check_format(body: dict[str, Any]) -> None:
    """`json` or a schema; anything else fails once the model is loaded, as the server's own error."""
    wanted = body.get("format")
    if wanted in (None, "", "json") or isinstance(wanted, dict):
        return
    raise RefusalError(
        500, f'invalid format: {json.dumps(json.dumps(wanted))}; expected "json" or a valid JSON Schema object'
    )


def too_long(newer: bool, tokens: int, window: int) -> RefusalError:
    """A prompt that does not fit and may not be cut."""
    if not newer:
        return RefusalError(400, "the input length exceeds the context length")
    message = f"request ({tokens} tokens) exceeds the available context size ({window} tokens), try increasing it"
    inner = {
        "code": 400,
        "message": message,
        "type": "exceed_context_size_error",
        "n_prompt_tokens": tokens,
        "n_ctx": window,
    }
    return RefusalError(400, json.dumps({"error": inner}, separators=(",", ":")))


def no_images() -> RefusalError:
    message = "Multimodal data provided, but model does not support multimodal requests."
    inner = {"code": 400, "message": message, "type": "invalid_request_error"}
    return RefusalError(400, json.dumps({"error": inner}, separators=(",", ":")))


def out_of_memory(newer: bool, wanted: int, cache: int, available: int) -> RefusalError:
    """A model that does not fit, in bytes."""
    if not newer:
        text = f"model requires more system memory ({wanted / 2**30:.1f} GiB) than is available ({available / 2**30:.1f} GiB)"
        return RefusalError(500, text)
    lines = (
        f"ggml_aligned_malloc: insufficient memory (attempted to allocate {cache / 2**20:.2f} MB)",
        f"ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size {cache}",
        f"ggml_backend_buft_alloc_buffer_n_default: failed to allocate CPU buffer of size {cache}",
        "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
    )
    return RefusalError(500, "llama-server process has terminated: exit status 1: " + "\n".join(lines))


def _duration(text: str) -> float:
    whole = _DURATION.fullmatch(text)
    if whole is None:
        if text == "0":
            return 0.0
        if re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
            raise RefusalError(400, f'time: missing unit in duration "{text}"')
        raise RefusalError(400, f'time: invalid duration "{text}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(whole[2]))
    return -seconds if whole[1] == "-" else seconds


def _go_kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array", dict: "object"}[type(value)]
