"""The store of the Ollama stand-in: models, what `/api/tags` and `/api/show` say of them, and the way Go writes times."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.support.go_template import fields_of, parse
from tests.support.ollama_render import capabilities_of_go

CHATML = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
BARE = "{{ .Prompt }}"
STORE = "/srv/ollama/models/blobs/"

_NAME = re.compile(r"(?:[\w.-]+(?::\d+)?/)?(?:[\w-]+/)?[\w][\w.-]*(?::[\w][\w.-]*)?")


@dataclass
class Model:
    """One tag. `own_template` is the jinja of its GGUF, `own_capabilities` what that one can do besides completion, and
    `own_tokens` the texts of its bos and eos by the names that jinja has for them.

    `answer` is what it says to everything (or a function of the prompt); None counts up as far as `num_predict` lets it, and
    no further once `enough` is set. `loads_until`: a load lasts until this is set, whatever `load_seconds` says. `generates` is
    what gives a real answer, of the prompt and the options: a llama-server behind the stand-in, say. `counts` counts the tokens
    of a prompt, where it is not to be its words. `renderer` and `remote_host` are shown, and nothing more: no part of a server
    that makes prompts by itself is here.
    """

    name: str
    blob: str
    size_bytes: int
    kv_bytes_per_token: int
    trained_context: int
    template: str | None = None
    own_template: str = ""
    own_capabilities: tuple[str, ...] = ()
    own_tokens: Mapping[str, str] = field(default_factory=dict)
    system: str = ""
    license: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    answer: str | Callable[[str], str] | None = None
    generates: Callable[[str, Mapping[str, Any]], str] | None = None
    counts: Callable[[str], int] | None = None
    enough: threading.Event | None = None
    load_seconds: float | None = None
    loads_until: threading.Event | None = None
    adapter: str = ""
    embeds_only: bool = False
    renderer: str = ""
    remote_host: str = ""
    quantization: str = "Q8_0"
    modified_at: float = field(default_factory=time.time)

    @property
    def digest(self) -> str:
        """Of the manifest: another for each tag whose parts differ, the same for copies."""
        parts = (
            self.blob,
            self.template,
            self.system,
            self.license,
            sorted(self.parameters.items(), key=str),
            self.adapter,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def details(self) -> dict[str, Any]:
        families = ["llama", "llama"] if self.adapter else ["llama"]
        return {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": families,
            "parameter_size": "134.52M",
            "quantization_level": self.quantization,
        }

    def size_at(self, context: int, parallel: int) -> int:
        """Bytes of a runner: the weights and a cache for every slot."""
        return self.size_bytes + self.kv_bytes_per_token * context * parallel

    def capabilities(self, newer: bool) -> tuple[list[str], str]:
        """What it can do and the template that runs. From 0.30 on the file's own, where that one can do more."""
        if self.embeds_only:
            return ["embedding"], BARE
        written = self.template or BARE
        found = capabilities_of_go(written)
        wins = self.template is None or jinja_wins(self.own_template, self.own_capabilities, written, found)
        if newer and self.own_template and wins:
            return [*self.own_capabilities, "completion"], self.own_template
        return ["completion", *found], written

    def tag(self, newer: bool) -> dict[str, Any]:
        """Its entry in `/api/tags`; there the file's own template counts in no version."""
        details = self.details
        if newer:
            details |= {"context_length": self.trained_context, "embedding_length": 576}
        entry: dict[str, Any] = {
            "name": self.name,
            "model": self.name,
            "modified_at": go_time(self.modified_at),
            "size": self.size_bytes,
            "digest": self.digest,
            "details": details,
        }
        if newer:
            entry["capabilities"] = self.capabilities(False)[0]
        return entry

    def shown(self, newer: bool, verbose: bool) -> dict[str, Any]:
        """The reply of `/api/show`."""
        capabilities, template = self.capabilities(newer)
        from_file = STORE + self.blob.replace(":", "-")
        pairs = [
            (key, value)
            for key in sorted(self.parameters)
            for value in (self.parameters[key] if isinstance(self.parameters[key], list) else [self.parameters[key]])
        ]
        lines = [
            '# Modelfile generated by "ollama show"',
            "# To build a new Modelfile based on this, replace FROM with:",
        ]
        lines += [f"# FROM {self.name}", "", f"FROM {from_file}", f"TEMPLATE {_quoted(self.template or BARE)}"]
        lines += [f"SYSTEM {self.system}"] if self.system else []
        lines += [f"ADAPTER {STORE}{self.adapter.replace(':', '-')}"] if self.adapter else []
        lines += [f"RENDERER {self.renderer}"] if self.renderer else []
        lines += [f"PARAMETER {key} {_number(value)}" for key, value in pairs]
        lines += [f"LICENSE {self.license}"] if self.license else []
        body: dict[str, Any] = {"license": self.license} if self.license else {}
        body["modelfile"] = "\n".join(lines) + "\n"
        if pairs:
            body["parameters"] = "\n".join(
                f"{key:<30} " + (f'"{value}"' if isinstance(value, str) else _number(value)) for key, value in pairs
            )
        body["template"] = template
        if self.system:
            body["system"] = self.system
        body |= {"remote_host": self.remote_host} if self.remote_host else {}
        return body | {
            "details": self.details | {"parent_model": "" if newer else from_file},
            "model_info": self._info(verbose),
            "tensors": [{"name": "output_norm.weight", "type": "F32", "shape": [576]}],
            "capabilities": capabilities,
            "modified_at": go_time(self.modified_at),
        }

    def _info(self, verbose: bool) -> dict[str, Any]:
        return {
            "general.architecture": "llama",
            "general.basename": "standin",
            "general.file_type": 1 if self.quantization == "F16" else 7,
            "general.finetune": "standin",
            "general.languages": ["en"] if verbose else None,
            "general.license": "apache-2.0",
            "general.organization": "Bakehouse",
            "general.parameter_count": 134515008,
            "general.quantization_version": 2,
            "general.size_label": "135M",
            "general.type": "model",
            "llama.attention.head_count": 9,
            "llama.attention.head_count_kv": 3,
            "llama.attention.layer_norm_rms_epsilon": 1e-05,
            "llama.block_count": 30,
            "llama.context_length": self.trained_context,
            "llama.embedding_length": 576,
            "llama.feed_forward_length": 1536,
            "llama.rope.dimension_count": 64,
            "llama.rope.freq_base": 100000,
            "llama.vocab_size": 49152,
            "tokenizer.ggml.add_bos_token": False,
            "tokenizer.ggml.add_space_prefix": False,
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.merges": ["Ġ t", "Ġ a"] if verbose else None,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.padding_token_id": 2,
            "tokenizer.ggml.pre": "smollm",
            "tokenizer.ggml.token_type": [3, 3] if verbose else None,
            "tokenizer.ggml.tokens": ["<|endoftext|>", "<|im_start|>"] if verbose else None,
            "tokenizer.ggml.unknown_token_id": 0,
        }


def full_name(name: object) -> str | None:
    """The name with its tag, None for what is no name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def jinja_wins(own: str, own_capabilities: Sequence[str], written: str, capabilities: Sequence[str]) -> bool:
    """Whether 0.33 takes the file's jinja before a TEMPLATE: where it can do more, and calls and results of tools are not lost
    by it; or as much, where those are in the jinja alone."""
    more = len(own_capabilities) - len(capabilities)
    jinja_has_tools, go_has_tools = _jinja_knows_results(own), _go_knows_results(written)
    if more > 0:
        return jinja_has_tools or not go_has_tools
    same = set(own_capabilities) == set(capabilities) and "tools" in capabilities
    return same and jinja_has_tools and not go_has_tools


def _jinja_knows_results(text: str) -> bool:
    calls = "tool_calls" in text or "assistant_tool_call" in text
    roles = [f"role{close} == {quote}tool{quote}" for close in ("']", '"]') for quote in "'\""]
    roles += [f"message.role == {quote}tool{quote}" for quote in "'\""]
    return calls and any(one in text for one in ("tool_response", "tool_results", "ipython", *roles))


def _go_knows_results(text: str) -> bool:
    named = {name.lower() for name in fields_of(parse(text))}
    signs = ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
    return {"tools", "toolcalls"} <= named and any(one in text for one in signs)


def go_time(seconds: float) -> str:
    """RFC 3339 in UTC with nanoseconds, their last zeros left out."""
    nanoseconds = time_ns(seconds)
    moment = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{nanoseconds % 10**9:09d}".rstrip("0")
    return f"{moment}.{fraction}Z" if fraction else f"{moment}Z"


def time_ns(seconds: float) -> int:
    return int(seconds * 10**9)


def _quoted(text: str) -> str:
    if '"' in text:
        return f'"""{text}"""'
    return f'"{text}"' if "\n" in text or text != text.strip() else text


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
