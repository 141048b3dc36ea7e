"""Generation in batches, with the prompt's text as the served chat template renders it.

Rows that share a prompt (the repeats of an input) share its prefill; a row that has ended leaves the batch; each row
draws from a random stream of its own seed, so that an answer depends on its neighbours only through rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from core.config.task import Sampling
from core.data.render import Thinking, encode_prompt, end_of_turn
from jobs.kv_cache import roomy_cache, select_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# llama.cpp and Ollama penalise what was repeated within the last 64 tokens; so do we.
PENALTY_WINDOW = 64
# Rows are taken out once so large a share of a batch has ended: each time copies the key-value cache.
ENDED_SHARE = 1 / 8
# More candidates than this are hardly ever within a nucleus; if they are, the whole vocabulary is sorted.
NUCLEUS_CANDIDATES = 1024


@dataclass(frozen=True)
class GenerationRequest:
    """One answer that is wanted. `key` is handed back with it; requests with equal `prompt_ids` share a prefill."""

    key: str
    prompt_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Generated:
    """An answer. `seconds` is its share of the batch's time: each step is divided among the rows that it advanced."""

    key: str
    text: str
    finish: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    batch_size: int


@dataclass
class _Row:
    request: GenerationRequest
    limit: int
    ids: list[int] = field(default_factory=list)
    seconds: float = 0.0
    finish: Literal["stop", "length"] | None = None


class Generator:
    """Answers requests with one model. The model is used as it is: adapters are switched by the caller."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        thinking: Thinking,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.sampling = sampling
        self.device = next(model.parameters()).device
        self.stops = _stop_sequences(model, tokenizer, thinking)

    def answer(
        self,
        requests: Sequence[GenerationRequest],
        batch_size: int,
        at_step: Callable[[int, float], None] | None = None,
    ) -> Iterator[Generated]:
        """Answer all requests, each as soon as it has ended.

        Long prompts go with long ones, so that little is padded. `at_step(tokens, seconds)`, of the batch so far, is
        called after each step and may raise to stop.
        """
        ordered = sorted(requests, key=lambda request: (len(request.prompt_ids), request.prompt_ids))
        for start in range(0, len(ordered), batch_size):
            yield from self._batch(ordered[start : start + batch_size], at_step)

    @torch.inference_mode()
    def _batch(
        self, requests: Sequence[GenerationRequest], at_step: Callable[[int, float], None] | None
    ) -> Iterator[Generated]:
        rows = [_Row(request, self._limit(request)) for request in requests]
        began = started = time.perf_counter()
        logits, mask, cache = self._prefill(rows)
        uniform = torch.stack([_stream(row.request.seed, self.sampling.max_new_tokens) for row in rows]).to(self.device)
        active = list(range(len(rows)))  # the row behind each place of the batch
        step = 0
        while True:
            chosen = self._choose(logits, [rows[index] for index in active], uniform[active, step])
            step += 1
            now = time.perf_counter()
            running = [index for index in active if rows[index].finish is None]
            share, started = (now - started) / len(running), now
            for index, token in zip(active, chosen.tolist(), strict=True):
                row = rows[index]
                if row.finish is not None:
                    continue
                row.seconds += share
                row.ids.append(token)
                row.finish = self._finish(row)
                if row.finish is not None:
                    yield self._generated(row, len(rows))
            if at_step is not None:
                at_step(sum(len(row.ids) for row in rows), now - began)
            still = [place for place, index in enumerate(active) if rows[index].finish is None]
            if not still:
                return
            if len(active) - len(still) >= len(active) * ENDED_SHARE:
                kept = torch.tensor(still, device=self.device)
                select_rows(cache, kept)
                mask, chosen = mask[kept], chosen[kept]
                active = [active[place] for place in still]
            mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
            output = self.model(
                input_ids=chosen[:, None],
                attention_mask=mask,
                position_ids=mask.sum(dim=1, keepdim=True) - 1,
                past_key_values=cache,
                use_cache=True,
            )
            logits = output.logits[:, -1]

    def _limit(self, request: GenerationRequest) -> int:
        return min(self.sampling.max_new_tokens, self.sampling.context_length - len(request.prompt_ids))

    def _prefill(self, rows: Sequence[_Row]) -> tuple[torch.Tensor, torch.Tensor, object]:
        """Logits behind each row's prompt, the attention mask and the cache; each different prompt is read once."""
        prompts = list(dict.fromkeys(row.request.prompt_ids for row in rows))
        width = max(len(prompt) for prompt in prompts)
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, prompt in enumerate(prompts):
            ids[place, width - len(prompt) :] = torch.tensor(prompt)
            mask[place, width - len(prompt) :] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        cache = roomy_cache(self.model.config)
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        places = {prompt: place for place, prompt in enumerate(prompts)}
        spread = torch.tensor([places[row.request.prompt_ids] for row in rows], device=self.device)
        if len(prompts) < len(rows):
            select_rows(cache, spread)
        return output.logits[:, -1][spread], mask[spread], cache

    def _choose(self, logits: torch.Tensor, rows: Sequence[_Row], uniform: torch.Tensor) -> torch.Tensor:
        """The next token of each row, in the order of llama.cpp: penalty, temperature, top k, top p, draw."""
        logits = logits.float()
        if self.sampling.repeat_penalty != 1.0:
            logits = _penalised(logits, rows, self.sampling.repeat_penalty)
        if self.sampling.temperature == 0:
            return logits.argmax(dim=-1)
        scores = logits / self.sampling.temperature
        order: torch.Tensor | None = None
        if self.sampling.top_k is not None:
            scores, order = scores.topk(min(self.sampling.top_k, scores.shape[-1]), dim=-1)
        if self.sampling.top_p is not None:
            scores, order = _nucleus(scores, order, self.sampling.top_p)
        cumulative = scores.double().softmax(dim=-1).cumsum(dim=-1)
        # Inverse of the distribution at the row's own random number.
        place = torch.searchsorted(cumulative, (uniform.double() * cumulative[:, -1])[:, None], right=True)
        place = place.clamp(max=scores.shape[-1] - 1)
        return (place if order is None else order.gather(-1, place))[:, 0]

    def _finish(self, row: _Row) -> Literal["stop", "length"] | None:
        if any(row.ids[-len(stop) :] == stop for stop in self.stops):
            return "stop"
        return "length" if len(row.ids) >= row.limit else None

    def _generated(self, row: _Row, batch_size: int) -> Generated:
        ids = row.ids
        if row.finish == "stop":
            stop = max((stop for stop in self.stops if ids[-len(stop) :] == stop), key=len)
            ids = ids[: -len(stop)]
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        assert isinstance(text, str)  # of one answer; of a batch it would be a list
        return Generated(
            key=row.request.key,
            text=text,
            finish=row.finish or "length",
            prompt_tokens=len(row.request.prompt_ids),
            completion_tokens=len(row.ids),
            seconds=row.seconds,
            batch_size=batch_size,
        )


def _stop_sequences(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, thinking: Thinking) -> list[list[int]]:
    """What ends an answer: the template's end of a turn, and the end tokens of the tokenizer and of the model."""
    stops = [encode_prompt(tokenizer, end_of_turn(tokenizer, thinking))]
    named = model.generation_config.eos_token_id if model.generation_config is not None else None
    for token in [tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])]:
        if token is not None and [token] not in stops:
            stops.append([token])
    return stops


def _stream(seed: int, length: int) -> torch.Tensor:
    """The random numbers of one answer, the same on every device and in every batch."""
    return torch.rand(length, generator=torch.Generator().manual_seed(seed))


def _penalised(logits: torch.Tensor, rows: Sequence[_Row], penalty: float) -> torch.Tensor:
    """Logits with the tokens of each row's last 64 made less likely: divided where positive, else multiplied."""
    logits = logits.clone()
    for place, row in enumerate(rows):
        recent = (row.request.prompt_ids + tuple(row.ids))[-PENALTY_WINDOW:]
        index = torch.tensor(sorted(set(recent)), device=logits.device)
        values = logits[place, index]
        logits[place, index] = torch.where(values > 0, values / penalty, values * penalty)
    return logits


def _nucleus(scores: torch.Tensor, order: torch.Tensor | None, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest set of tokens that reaches `top_p`: sorted scores with the others at -inf, and their tokens."""
    probabilities = scores.softmax(dim=-1)
    count = min(NUCLEUS_CANDIDATES, scores.shape[-1])
    if order is None:
        if bool((probabilities.topk(count, dim=-1).values.sum(dim=-1) < top_p).any()):
            count = scores.shape[-1]
        scores, order = scores.topk(count, dim=-1)
        probabilities = probabilities.gather(-1, order)
    before = probabilities.cumsum(dim=-1) - probabilities
    return scores.masked_fill(before >= top_p, float("-inf")), order
