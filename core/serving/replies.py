"""What Ollama answers, as values. Fields that a version does not send are None; fields that are not known are passed over.

Written against the replies of 0.24 and 0.33. Names and texts are as the server sent them: `printable` before they are shown.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from core.reasons import Reason
from core.serving.errors import ServerError

# Ollama writes "for ever" as a moment some 292 years ahead.
FOREVER_SECONDS = 1e9

_TIME = re.compile(r"(\d{4,})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:?\d\d)?")
_FROM = re.compile(r"^FROM\s.*?sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)
_ADAPTER = re.compile(r"^ADAPTER\s.*?sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)
_RENDERER = re.compile(r"^RENDERER (\S+)$", re.MULTILINE)
_PARAMETER = re.compile(r"(\S+)[ \t]+(.*)")


@dataclass(frozen=True)
class Resident:
    """A runner of the server: a model in memory, under the tag that loaded it first. Sizes in bytes; `digest` is the tag's.

    `expires_at` is in Unix seconds; it lies in the past while an unloaded model still answers somebody.
    """

    name: str
    digest: str | None
    size_bytes: int | None
    size_vram_bytes: int | None
    context_length: int | None
    expires_at: float | None

    def keep_alive_seconds(self, now: float) -> float | None:
        """How long it would have stayed from `now` on; -1 is for ever, None not known."""
        if self.expires_at is None:
            return None
        left = self.expires_at - now
        return -1.0 if left > FOREVER_SECONDS else max(left, 0.0)


@dataclass(frozen=True)
class Tag:
    """A model of the server's store. `digest` is that of its manifest; `modified_at` in Unix seconds."""

    name: str
    digest: str | None
    size_bytes: int | None
    modified_at: float | None
    family: str | None
    parameter_size: str | None
    quantization: str | None


@dataclass(frozen=True)
class ModelInfo:
    """What a model is made of. `blob` (`sha256:…`) is its weights': tags with one blob share a runner.

    `context_length` is the trained one; `parameters` the Modelfile's, each with its values in order; `keys` those of the file's
    header, where long lists are None. `renderer` names the part of the server that makes the model's prompts in the place of
    any template; `remote` is the host where the model runs, of one that is not here. Both None where `show` names none.
    """

    blob: str | None
    capabilities: tuple[str, ...]
    template: str
    system: str
    parameters: Mapping[str, tuple[str, ...]]
    context_length: int | None
    architecture: str | None
    parameter_count: int | None
    quantization: str | None
    adapters: tuple[str, ...] = ()
    renderer: str | None = None
    remote: str | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Completion:
    """What a model answered. Durations as the server measured them; a wait for a free slot is in none of them.

    `finish` is `stop`, `length`, `load`, `unload` or what the server says; None where it does not. `rendered` is the prompt
    of a request that asked for no answer but for that (`_debug_render_only`).
    """

    text: str
    thinking: str = ""
    finish: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_seconds: float | None = None
    load_seconds: float | None = None
    prompt_seconds: float | None = None
    completion_seconds: float | None = None
    rendered: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = field(default=())


def residents(body: object) -> tuple[Resident, ...]:
    """The reply of `/api/ps`. A model without a name is refused: nobody could say that it is gone."""
    return tuple(
        Resident(
            name=_name(entry, "ps"),
            digest=_text(entry, "digest"),
            size_bytes=count(entry, "size"),
            size_vram_bytes=count(entry, "size_vram"),
            context_length=count(entry, "context_length"),
            expires_at=unix_time(entry.get("expires_at")),
        )
        for entry in _models(body, "ps")
    )


def tags(body: object) -> tuple[Tag, ...]:
    """The reply of `/api/tags`."""
    found = []
    for entry in _models(body, "tags"):
        details = _mapping(entry.get("details"))
        found.append(
            Tag(
                name=_name(entry, "tags"),
                digest=_text(entry, "digest"),
                size_bytes=count(entry, "size"),
                modified_at=unix_time(entry.get("modified_at")),
                family=_text(details, "family"),
                parameter_size=_text(details, "parameter_size"),
                quantization=_text(details, "quantization_level"),
            )
        )
    return tuple(found)


def shown(body: object) -> ModelInfo:
    """The reply of `/api/show`."""
    if not isinstance(body, dict):
        raise garbled("show")
    info, details = _mapping(body.get("model_info")), _mapping(body.get("details"))
    architecture = _text(info, "general.architecture")
    # The weights come first; a vision model's projector has a FROM line of its own after it.
    modelfile = _text(body, "modelfile") or ""
    blob = _FROM.search(modelfile)
    capabilities = body.get("capabilities")
    return ModelInfo(
        blob=f"sha256:{blob[1]}" if blob else None,
        capabilities=tuple(str(one) for one in capabilities) if isinstance(capabilities, list) else (),
        template=_text(body, "template") or "",
        system=_text(body, "system") or "",
        parameters=_parameters(_text(body, "parameters") or ""),
        context_length=count(info, f"{architecture}.context_length"),
        architecture=architecture,
        parameter_count=count(info, "general.parameter_count"),
        quantization=_text(details, "quantization_level"),
        adapters=tuple(f"sha256:{one}" for one in _ADAPTER.findall(modelfile)),
        renderer=_text(body, "renderer") or (line[1] if (line := _RENDERER.search(modelfile)) else None),
        remote=_text(body, "remote_host") or _text(body, "remote_model") or None,
        keys=info,
    )


def answer(body: Mapping[str, Any], text: str, thinking: str, tool_calls: tuple[Mapping[str, Any], ...]) -> Completion:
    """The last line of an answer, with what the lines before it said."""
    debug = _mapping(body.get("_debug_info"))
    return Completion(
        text=text,
        thinking=thinking,
        finish=_text(body, "done_reason"),
        prompt_tokens=count(body, "prompt_eval_count"),
        completion_tokens=count(body, "eval_count"),
        total_seconds=_seconds(body, "total_duration"),
        load_seconds=_seconds(body, "load_duration"),
        prompt_seconds=_seconds(body, "prompt_eval_duration"),
        completion_seconds=_seconds(body, "eval_duration"),
        rendered=_text(debug, "rendered_template"),
        tool_calls=tool_calls,
    )


def unix_time(value: object) -> float | None:
    """Unix seconds of an RFC 3339 time with up to nanoseconds and an offset; None for anything else.

    A year past 9999 is infinity, Go's zero time (0001) None: it means that nothing is known.
    """
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    if year > 9999:
        return math.inf
    if year <= 1:
        return None
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    zone = found[8] or "Z"
    offset = 0
    if zone not in "Zz":
        offset = (int(zone[1:3]) * 60 + int(zone[-2:])) * 60 * (-1 if zone[0] == "-" else 1)
    return moment.timestamp() + (second - min(second, 59)) + float(found[7] or 0) - offset


def full_name(name: str) -> str:
    """The name with its tag, as the server lists it."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def name_key(name: str) -> str:
    """By this two names of Ollama are compared: upper case and lower case are one to it (`types/model/name.go`)."""
    return full_name(name).lower()


def template_hash(template: str) -> str:
    """The SHA-256 of a chat template as Ollama tells it, in hexadecimal digits."""
    return hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest()


def garbled(what: str) -> ServerError:
    """What was answered to `what` is not what Ollama answers."""
    remedy = "is it Ollama that listens there?"
    reason = Reason("server_garbled", {"request": what})
    return ServerError(
        f"the answer to `{what}` is not one of Ollama", code="server_garbled", remedy=remedy, reason=reason
    )


def _models(body: object, what: str) -> list[dict[str, Any]]:
    if not isinstance(body, dict) or "models" not in body:
        raise garbled(what)
    entries = body["models"] if body["models"] is not None else []  # Go writes an empty list so now and then
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise garbled(what)
    return entries


def _name(entry: Mapping[str, Any], what: str) -> str:
    name = _text(entry, "name") or _text(entry, "model")
    if not name:
        raise garbled(what)
    return name


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) else None


def count(body: Mapping[str, Any], key: str) -> int | None:
    """A number of things in a reply; None for what is none."""
    value = body.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(body: Mapping[str, Any], key: str) -> float | None:
    nanoseconds = count(body, key)
    return None if nanoseconds is None else nanoseconds / 1e9


def _parameters(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        if pair := _PARAMETER.fullmatch(line.strip()):
            value = pair[2].strip()
            value = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
            found[pair[1]] = (*found.get(pair[1], ()), value)
    return found
