"""Small real tokenizers, built in code: byte-level BPE, so that every text has tokens and every token list a text."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.needs import need

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = (
    "You grade notes. The bread is ready, and the oven is still warm.",
    "### note — PASS (4.2/5)\n| Criterion | Score | Reason |\n|---|---|---|\n| Clarity | 5 | Plain words |\n\nSUMMARY: 1",
    "<think>\n\n</think>\n\nsystem\nuser\nassistant\n",
)
# Qwen's own: special tokens, and tokens that are one piece of text without being special.
QWEN_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QWEN_ADDED = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
# How Qwen2 and Qwen3 split a text before the byte pairs are merged (tokenizer.json of Qwen/Qwen3-4B).
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen3_template() -> str:
    """Qwen3's chat template as the model's repository has it, read from the installed TRL without importing it."""
    need("trl")
    spec = find_spec("trl")
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / "qwen3.jinja").read_text()


def byte_level(
    template: str | None = CHATML,
    special: Sequence[str] = ("<|im_start|>", "<|im_end|>"),
    added: Sequence[str] = (),
    corpus: Iterable[str] = CORPUS,
    *,
    qwen: bool = False,
) -> Any:
    """A transformers tokenizer with a few hundred tokens. `qwen`: normalised and split as Qwen's."""
    need("tokenizers", "transformers")
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    if qwen:
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=list(special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in added])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=template)


def qwen3() -> Any:
    """A small tokenizer of Qwen3's make, with its chat template."""
    return byte_level(qwen3_template(), QWEN_SPECIAL, QWEN_ADDED, qwen=True)


def write_model(folder: Path, tokenizer: Any) -> Path:
    """A model folder with this tokenizer and weights of one number: enough for what reads no weights."""
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": len(tokenizer)}))
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    return folder
