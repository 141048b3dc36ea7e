"""The answers of `tests/samples/failure_modes`, marked by hand with their failure modes, and how detectors do on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from core.failure_modes import AnsweredExample, Mode, SeenAnswer
from core.scoring.answers import find_fault
from core.statistics.proportions import wilson
from core.thinking import split_thinking
from tests.support.samples import SAMPLES

FOLDER = SAMPLES / "failure_modes"
MARKED = (
    "echo_instructions",
    "echo_input",
    "echo_example",
    "stopped_early",
    "cut",
    "empty",
    "thinking_leaked",
    "thinking_aloud",
    "repetition",
    "other_language",
    "preamble",
    "fence",
    "frame_shown",
)
"""Every code that was looked for while marking, in the order of the definitions."""
USUAL_LIMIT = 200
CHARACTERS_PER_TOKEN = 4

Use = Literal["tune", "confirm"]
Origin = Literal["real", "written"]


@dataclass(frozen=True)
class AskedFor:
    """A task as it was asked: its system text, inputs by id, and examples in the order in which they are sent."""

    system: str
    inputs: Mapping[str, str]
    examples: tuple[AnsweredExample, ...]


@dataclass(frozen=True)
class MarkedAnswer:
    """An answer and the failure modes that a person saw in it. `text` is as it came, thinking included."""

    id: str
    use: Use
    origin: Origin
    task: str
    input: str
    text: str
    modes: frozenset[str]
    shots: int
    limit: int
    finish: Literal["stop", "length"]
    tokens: int

    def seen(self, asked: AskedFor) -> SeenAnswer:
        """The answer as a scorer hands it to the detectors. The examples are training data too: usual answers of the task."""
        split = split_thinking(self.text, lambda: f"{asked.system}\n{asked.inputs[self.input]}")
        return SeenAnswer(
            input_id=self.input,
            repeat=1,
            text=split.text,
            thinking=split.thinking,
            system=asked.system,
            asked=asked.inputs[self.input],
            finish=self.finish,
            fault=find_fault(split, self.finish, "off"),
            completion_tokens=self.tokens,
            examples=asked.examples[: self.shots],
            usual=tuple(example.answer for example in asked.examples),
            limit=self.limit,
        )


@dataclass(frozen=True)
class Found:
    """What the detectors did with one code on some answers: how many a person marked, how many were found, how many both."""

    code: str
    marked: int
    found: int
    right: int

    @property
    def precision(self) -> float | None:
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        return self.right / self.marked if self.marked else None


def asked_tasks() -> dict[str, AskedFor]:
    return {
        name: AskedFor(
            system=task["system"],
            inputs=task["inputs"],
            examples=tuple(AnsweredExample(one["input"], one["answer"]) for one in task["examples"]),
        )
        for name, task in _read("tasks").items()
    }


def marked_answers() -> list[MarkedAnswer]:
    """The whole set, in the order of its files."""
    origins: Sequence[Origin] = ("real", "written")
    return [
        _marked(document, use, origin)
        for origin in origins
        for use, name in _files(origin).items()
        for document in _read(name)
    ]


def codes_found(
    answers: Iterable[MarkedAnswer], find: Callable[[SeenAnswer], Iterable[Mode]]
) -> dict[str, frozenset[str]]:
    """The codes that the detectors see in each answer, by its id."""
    tasks = asked_tasks()
    return {answer.id: frozenset(mode.code for mode in find(answer.seen(tasks[answer.task]))) for answer in answers}


def compare(answers: Iterable[MarkedAnswer], found: Mapping[str, frozenset[str]]) -> list[Found]:
    """For each code, what was found (`codes_found`) against the marks; last all codes together, as `all`."""
    pairs = [(answer.modes, found[answer.id]) for answer in answers]
    rows = [
        Found(
            code,
            marked=sum(code in marks for marks, _ in pairs),
            found=sum(code in seen for _, seen in pairs),
            right=sum(code in marks & seen for marks, seen in pairs),
        )
        for code in MARKED
    ]
    return [*rows, Found("all", *(sum(getattr(row, name) for row in rows) for name in ("marked", "found", "right")))]


def falsely_blamed(answers: Iterable[MarkedAnswer], found: Mapping[str, frozenset[str]]) -> list[str]:
    """The answers without a mark in which something was found."""
    return [answer.id for answer in answers if not answer.modes and found[answer.id]]


def table(rows: Iterable[Found]) -> str:
    """As markdown; the intervals are Wilson's, 95 %."""
    lines = ["| code | marked | found | right | precision | recall |", "|---|---|---|---|---|---|"]
    for row in rows:
        shares = f"{_share(row.right, row.found)} | {_share(row.right, row.marked)}"
        lines.append(f"| `{row.code}` | {row.marked} | {row.found} | {row.right} | {shares} |")
    return "\n".join(lines)


def parts_table(parts: Mapping[str, Sequence[Found]]) -> str:
    """Precision and recall of each code on each part of the set, as `precision / recall of N marked`, as markdown."""
    lines = [f"| code | {' | '.join(parts)} |", f"|---{'|---' * len(parts)}|"]
    for rows in zip(*parts.values(), strict=True):
        lines.append(f"| `{rows[0].code}` | {' | '.join(map(_short, rows))} |")
    return "\n".join(lines)


def _short(row: Found) -> str:
    shares = ("–" if share is None else f"{share:.2f}" for share in (row.precision, row.recall))
    return f"{' / '.join(shares)} of {row.marked}"


def _share(right: int, of: int) -> str:
    if not of:
        return "–"
    interval = wilson(right, of)
    return f"{right / of:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _files(origin: Origin) -> dict[Use, str]:
    return {"tune": origin, "confirm": f"{origin}-confirm"}


def _read(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def _marked(document: Mapping[str, Any], use: Use, origin: Origin) -> MarkedAnswer:
    text = document["text"]
    return MarkedAnswer(
        id=document["id"],
        use=use,
        origin=origin,
        task=document["task"],
        input=document["input"],
        text=text,
        modes=frozenset(document["modes"]),
        shots=document.get("shots", 0),
        limit=document.get("limit", USUAL_LIMIT),
        finish=document.get("finish", "stop"),
        tokens=document.get("tokens", max(1, len(text) // CHARACTERS_PER_TOKEN)),
    )
