"""What the servers of the Ollama stand-in see in an uploaded GGUF file.

Held to what a real Ollama said of the same texts and files (tests/unit/test_ollama_files.py). Of the templates that Ollama
knows for a jinja it is near to, ChatML alone is here: a file whose jinja is near another one's counts as unknown.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InputError
from core.models.gguf import FILE_TYPES, GgufHeader, TornError, check_gguf, token_texts

NOT_GGUF = "supplied file was not in GGUF format"
TORN = "GGUF string length 18446744073709551615 exceeds maximum 9223372036854775807"
NEAR = 100
"""Fewer edits than this, letter by letter, and a jinja counts as one that is known."""

_TURN = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
_DEFAULT = (
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
)
_ASKING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
CHATML_TEXTS = tuple(
    f"{{% for message in messages %}}{default}{_TURN}{{% endfor %}}{_ASKING}" for default in ("", _DEFAULT)
)
"""ChatML in jinja as most models have it, without and with a default system prompt."""


@dataclass(frozen=True)
class StoredFile:
    """An uploaded file. `template` is the jinja of a GGUF, `tokens` are the texts of its bos and eos; `detected`: the jinja is
    one that the server knows as ChatML's.

    `rewritten` is the digest under which 0.33 puts it into a model. `refusal` is what `create` says to it; `panics`: 0.24 says
    nothing, and ends.
    """

    digest: str
    size_bytes: int = 143_000_000
    template: str = ""
    detected: bool = False
    quantization: str = "Q8_0"
    rewritten: str | None = None
    refusal: str | None = None
    panics: bool = False
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def capabilities(self) -> tuple[str, ...]:
        return capabilities_of_jinja(self.template)


def capabilities_of_jinja(text: str) -> tuple[str, ...]:
    """What the template can do besides completion, as 0.33 tells it: by words in its text, wherever they stand."""
    found = ("tools",) if "tools" in text or "tool_call" in text else ()
    splits = any(f"content.split({quote}</think>{quote})" in text for quote in "'\"")
    thinks = ("<think>" in text and "</think>" in text) or (splits and "reasoning_content" not in text)
    return (*found, "thinking") if thinks else found


def is_chatml(text: str) -> bool:
    """Whether a jinja is near enough to one that is known as ChatML's."""
    return any(abs(len(text) - len(known)) < NEAR and _edits(text, known) < NEAR for known in CHATML_TEXTS)


def read_file(digest: str, path: Path) -> StoredFile:
    """What a server sees in a file that is really there."""
    size = path.stat().st_size
    try:
        header = check_gguf(path, path.name)
    except InputError as error:
        if "its header says" in error.message:
            refusal = f'tensor "token_embd.weight" offset+size ({size + 1}) exceeds file size ({size})'
            return StoredFile(digest, size, refusal=refusal)
        is_gguf = "no GGUF" not in error.message
        return StoredFile(digest, size, refusal=TORN if is_gguf else NOT_GGUF, panics=is_gguf)
    kinds = {number: name for name, number in FILE_TYPES.items()}
    template = header.chat_template or ""
    # 0.33 has its llama-quantize copy each file, and what another program wrote comes out in other bytes.
    rewritten = f"sha256:{hashlib.sha256(f'{digest} written anew'.encode()).hexdigest()}"
    return StoredFile(
        digest,
        size,
        template,
        is_chatml(template),
        kinds.get(header.file_type or 0, "F32"),
        rewritten,
        tokens=_tokens(path, header),
    )


def _tokens(path: Path, header: GgufHeader) -> dict[str, str]:
    ids = {name: header.keys.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    known = {name: number for name, number in ids.items() if isinstance(number, int)}
    try:
        texts = token_texts(path, set(known.values()))
    except (TornError, struct.error):
        return {}
    return {f"{name}_token": texts[number] for name, number in known.items() if number in texts}


def _edits(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        corner, row[0] = row[0], at
        for to, against in enumerate(other, 1):
            corner, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, corner + (letter != against))
    return row[-1]
