"""Answers: one generation for (candidate, input, repeat), and the file they are appended to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from core.files import append_line, read_lines, sha256_json
from core.thinking import Split

Finish = Literal["stop", "length"]
# What the model did: it scores 0 and is shown as that. `server`: what the server did; the answer counts as missing.
ModelFault = Literal["empty", "length", "thinking"]
Fault = Literal["empty", "length", "thinking", "server"]


@dataclass(frozen=True)
class Answer:
    """One line of `answers.jsonl`.

    `repeat` counts from 1 (`repeat_numbers`). `text` is what the checks see, `thinking` what stood in the think block.
    `seconds` is what the answer cost, not how long one waited for it: the time of its batch is divided among the answers in it,
    and so is that of a server among the answers that were asked for at the same time; `batch_size` is how many those were.
    `time` is in Unix seconds.

    What a later version added may be None: `first_token_seconds` from the request to the first text at the client,
    `prompt_seconds` the server's time for the prompt without what it had cached, `thinking_tokens` of the completion's,
    `asked_thinking` the policy that a variant asked with instead of the task's, `thinking_apart` whether the server moved the
    thinking into a field of its own, `identity` the hash of what answered (`serving.answering.ServedIdentity`), `shared`
    whether others used the server meanwhile, `tries` how often it was asked for, `problem` what the server did (of the fault
    `server`). A line that is `withdrawn`, of the fault `server`, takes back what was written under its key before: the model
    changed at that time, so nobody knows who gave that answer.
    """

    key: str
    candidate: str
    task: str
    input_id: str
    repeat: int
    seed: int
    text: str
    thinking: str | None
    finish: Finish
    fault: Fault | None
    prompt_tokens: int
    completion_tokens: int
    characters: int
    seconds: float
    batch_size: int
    tokens_per_second: float | None
    prompt_sha256: str
    time: float
    first_token_seconds: float | None = None
    prompt_seconds: float | None = None
    thinking_tokens: int | None = None
    asked_thinking: Literal["off", "on"] | None = None
    thinking_apart: bool = False
    identity: str | None = None
    shared: bool | None = None
    tries: int = 1
    problem: str | None = None
    withdrawn: bool = False

    @property
    def place(self) -> tuple[str, str, str, int]:
        """Which answer of the result it is, whoever gave it: candidate, task, input, repeat."""
        return self.candidate, self.task, self.input_id, self.repeat

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Answer:
        """The answer of a line; keys that a newer version added are ignored. KeyError when one is missing."""
        return cls(**known_fields(cls, document))


def known_fields(cls: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """What a document holds of a dataclass's fields, without keys that a newer version added. KeyError when one is missing."""
    return {
        field.name: document[field.name] for field in fields(cls) if field.name in document or field.default is MISSING
    }


def repeat_numbers(repeats: int) -> range:
    """The repeats of an input as they are stored, named and shown: 1, 2, …"""
    return range(1, repeats + 1)


def answer_key(
    *, task: str, weights: str, prompt_sha256: str, sampling: Mapping[str, Any], seed: int, repeat: int, input_id: str
) -> str:
    """Hex SHA-256 that names an answer: the same key would be generated again from the same things.

    `weights` names what answers (a hash of the weights, of base and adapter, or a served model's identity). The input's id is
    in it because templates strip white space: two inputs may render to one prompt, and each wants its answer; so do two tasks.
    """
    return sha256_json(
        {
            "task": task,
            "weights": weights,
            "prompt_sha256": prompt_sha256,
            "sampling": dict(sampling),
            "seed": seed,
            "repeat": repeat,
            "input_id": input_id,
        }
    )


def append_answer(path: Path, answer: Answer) -> None:
    """Append one whole line and wait for the disk."""
    append_line(path, answer.to_json())


def read_answers(path: Path) -> list[Answer]:
    """The answers of a file, in the order of their newest lines; a torn last line is dropped.

    Of doubles (same candidate, same key) the first counts, unless a server failed to give it and a later attempt has it, or it
    was withdrawn. A good answer that is written again stands where it was written last: it is what counts for its place again.
    """
    found: dict[tuple[str, str], Answer] = {}
    for document, _ in read_lines(path):
        answer = Answer.from_json(document)
        cell = (answer.candidate, answer.key)
        former = found.get(cell)
        if former is not None and not answer.withdrawn:
            if answer.fault == "server":
                continue
            answer = answer if former.fault == "server" else former
        found.pop(cell, None)
        found[cell] = answer
    return list(found.values())


def find_fault(split: Split, finish: str, policy: Literal["off", "on"]) -> ModelFault | None:
    """What the model did wrong, if anything: ran to the length limit, leaked its thinking, or said nothing.

    With the policy `off` any thinking is leaked (an empty block is a template's, and harmless); with `on`, one that
    never ends is.
    """
    if finish == "length":
        return "length"
    if split.open or (policy == "off" and split.thinking):
        return "thinking"
    return None if split.text.strip() else "empty"
