"""What the models of the Ollama stand-in answer, and the lines it comes in. A token is a word here; no template is run."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.ollama_models import Model, go_time
from tests.support.ollama_requests import RefusalError, too_long
from tests.support.ollama_runners import Runner
from tests.support.ollama_templates import rendered

NATURAL_TOKENS = 64  # where a model that only counts stops by itself
GONE = "an error was encountered while running the model: unexpected EOF"

_TOKEN = re.compile(r"\s*\S+|\s+")


def tokens_of(text: str) -> list[str]:
    return _TOKEN.findall(text)


@dataclass
class Prompt:
    """What a model is asked: the text as it sees it, its length in tokens, and that of its last part alone."""

    text: str
    tokens: int
    last_tokens: int
    system_tokens: int = 0

    def cut_to(self, window: int, newer: bool, may_cut: bool) -> int:
        """The tokens that are left in the window: whole messages go first, then the one that is too long is cut."""
        if self.tokens <= window:
            return self.tokens
        if not may_cut:
            raise too_long(newer, self.tokens, window)
        left = self.system_tokens + self.last_tokens
        if left <= window:
            return left
        return window // 2 + 2 if newer else window


def chat_prompt(model: Model, messages: list[dict[str, Any]], newer: bool, think: bool | str | None = None) -> Prompt:
    """A conversation by the template that runs. What is told of its parts is told of them in ChatML."""
    if model.system and not any(message.get("role") == "system" for message in messages[:1]):
        messages = [{"role": "system", "content": model.system}, *messages]
    text = rendered(model, messages, newer, think)
    parts = [
        f"<|im_start|>{message.get('role', '')}\n{message.get('content') or ''}<|im_end|>\n" for message in messages
    ]
    last = len(tokens_of(parts[-1])) + 1 if parts else 1
    system = [part for part, message in zip(parts, messages, strict=True) if message.get("role") == "system"]
    counted = len(tokens_of(text)) if model.counts is None else model.counts(text)
    return Prompt(text, counted, last, sum(len(tokens_of(part)) for part in system))


def generate_prompt(model: Model, body: dict[str, Any], newer: bool) -> Prompt:
    prompt = str(body.get("prompt") or "")
    if body.get("raw"):
        count = len(tokens_of(prompt))
        return Prompt(prompt, count, count)
    system = str(body.get("system") or model.system)
    messages = [{"role": "system", "content": system}] if system else []
    return chat_prompt(model, [*messages, {"role": "user", "content": prompt}], newer, body.get("think"))


@dataclass
class Told:
    """The course of one answer."""

    text: str = ""
    thinking: str = ""
    tokens: int = 0
    reason: str = "stop"
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0


def pieces(
    runner: Runner, model: Model, prompt: Prompt, options: dict[str, Any], window: int, told: Told, token_seconds: float
) -> Iterator[str]:
    """The answer word by word; raises RefusalError when the runner dies. `window`: the tokens it may take in all, 0 for any."""
    wanted = options.get("num_predict", -1)
    limit = wanted if wanted > 0 else 10**9
    if window and window < limit:
        limit = window
    stops = [str(stop) for stop in options.get("stop", [])]
    for word in _words(model, prompt, wanted, options):
        if told.tokens >= limit:
            told.reason = "length"
            return
        time.sleep(token_seconds)
        if not runner.alive:
            raise RefusalError(500, GONE)
        if model.enough is not None and model.enough.is_set():
            return
        told.tokens += 1
        whole = told.text + word
        cut = min((place for stop in stops if (place := whole.find(stop)) >= 0), default=None)
        if cut is not None:
            rest = whole[len(told.text) : cut]
            told.text = whole[:cut]
            if rest:
                yield rest
            return
        told.text = whole
        yield word
    told.tokens = max(told.tokens, 1)  # the end is a token too


def done_fields(told: Told, prompt_tokens: int, load_seconds: float, newer: bool) -> dict[str, Any]:
    """The last line's measures, in nanoseconds. 0.24 leaves the duration of an empty answer out."""
    elapsed = time.monotonic() - told.started
    found: dict[str, Any] = {
        "done_reason": told.reason,
        "total_duration": nanoseconds(load_seconds + elapsed),
        "load_duration": nanoseconds(load_seconds),
        "prompt_eval_count": prompt_tokens,
        "prompt_eval_duration": nanoseconds(0.001 * prompt_tokens),
        "eval_count": told.tokens,
    }
    if newer or told.text:
        found["eval_duration"] = nanoseconds(elapsed)
    return found


def split_thoughts(text: str) -> tuple[str, str]:
    """(thinking, answer) of a text that opens a thought."""
    if not text.lstrip().startswith("<think>"):
        return "", text
    thought, _, rest = text.lstrip().removeprefix("<think>").partition("</think>")
    return thought, rest.lstrip("\n")


def logprobs_of(words: list[str], top: int) -> list[dict[str, Any]]:
    def one(word: str) -> dict[str, Any]:
        return {"token": word, "logprob": -0.5, "bytes": list(word.encode())}

    return [one(word) | ({"top_logprobs": [one(word)] * top} if top else {}) for word in words]


def line(model: str, chat: bool, text: str, thinking: str = "", done: bool = False) -> dict[str, Any]:
    """One line of a stream, or the frame of a whole answer."""
    found: dict[str, Any] = {"model": model, "created_at": go_time(time.time())}
    if chat:
        found["message"] = {"role": "assistant", "content": text} | ({"thinking": thinking} if thinking else {})
    else:
        found["response"] = text
        if thinking:
            found["thinking"] = thinking
    return found | {"done": done}


def nanoseconds(seconds: float) -> int:
    return max(1, round(seconds * 1e9))


def _words(model: Model, prompt: Prompt, wanted: int, options: dict[str, Any]) -> Iterator[str]:
    if model.generates is not None:
        yield from tokens_of(model.generates(prompt.text, options))
        return
    answer = model.answer(prompt.text) if callable(model.answer) else model.answer
    if answer is not None:
        yield from tokens_of(answer)
        return
    # It counts: as long as it is let, or to its own end.
    numbers = itertools.count(1) if wanted > 0 else range(1, NATURAL_TOKENS + 1)
    yield from (f" {number}" if number > 1 else str(number) for number in numbers)
