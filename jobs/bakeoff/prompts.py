"""The prompts of a model that the job loads itself: each wanted answer with the token ids that it is generated from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import InputError
from core.scoring.answers import answer_key
from core.scoring.questions import AskedTask, Cell, cells

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class WantedAnswer:
    """One answer that is wanted of a model loaded here. `opens_thinking`: the prompt ends within a think block."""

    key: str
    cell: Cell
    prompt_ids: tuple[int, ...]
    prompt_sha256: str
    opens_thinking: bool


def wanted_answers(asked: AskedTask, weights: str, tokenizer: PreTrainedTokenizerBase, seed: int) -> list[WantedAnswer]:
    """Every answer that is wanted of a model in one task. InputError when a prompt leaves no room for an answer."""
    from core.data.render import encode_prompt, render_prompt

    prompts: dict[str, tuple[tuple[int, ...], str, bool]] = {}
    for item in asked.inputs:
        prompt = render_prompt(tokenizer, asked.messages(item), asked.thinking, system_role=asked.task.system_role)
        ids = tuple(encode_prompt(tokenizer, prompt))
        if len(ids) >= asked.sampling.context_length:
            raise InputError(
                f"the golden input `{item.id}` has {len(ids)} tokens with its prompt, the context only "
                f"{asked.sampling.context_length}",
                code="input_too_long",
                file=asked.under_test.golden.source,
                remedy="raise sampling.context_length in the task, or shorten the input",
            )
        prompts[item.id] = ids, hashlib.sha256(prompt.encode()).hexdigest(), prompt.rstrip().endswith("<think>")
    wanted = []
    for cell in cells(asked, seed):
        ids, prompt_sha256, opens = prompts[cell.item.id]
        key = answer_key(
            task=cell.task,
            weights=weights,
            prompt_sha256=prompt_sha256,
            sampling=asked.sampling.model_dump(),
            seed=cell.seed,
            repeat=cell.repeat,
            input_id=cell.item.id,
        )
        wanted.append(WantedAnswer(key, cell, ids, prompt_sha256, opens))
    return wanted
