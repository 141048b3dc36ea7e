"""The chat template of a GGUF file: read with the texts of its tokens, and cleaned of marks of training."""

from __future__ import annotations

import struct
from pathlib import Path

from core.data.training_marks import has_training_marks, without_training_marks
from core.models.gguf import GgufHeader, TornError, token_texts
from core.models.gguf_rewrite import with_text
from core.shipping.jinja import JinjaTemplate

KEY = "tokenizer.chat_template"
ADDS_BOS = "tokenizer.ggml.add_bos_token"
BOS, EOS = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"


def template_of(path: Path, header: GgufHeader) -> JinjaTemplate | None:
    """The file's own template; None where it has none. Raises as `JinjaTemplate` does, and `OSError`."""
    if header.chat_template is None:
        return None
    ids = {name: value for name in (BOS, EOS) if isinstance(value := header.keys.get(name), int)}
    try:
        texts = token_texts(path, set(ids.values()))
    except (TornError, struct.error):
        texts = {}
    bos, eos = (texts.get(ids.get(name, -1), "") for name in (BOS, EOS))
    return JinjaTemplate(header.chat_template, bos=bos, eos=eos, adds_bos=header.keys.get(ADDS_BOS) is True)


def take_out_marks(path: Path, header: GgufHeader) -> bool:
    """Have the file's template without marks of training; whether there were any. The file is replaced as a whole, and needs
    its size once more on the disk meanwhile. Raises `OSError`."""
    template = header.chat_template
    if template is None or not has_training_marks(template):
        return False
    beside = path.with_name(f".{path.name}.unmarked")
    try:
        with_text(path, beside, KEY, without_training_marks(template))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return True
