"""The Modelfile beside a GGUF file: what `ollama create` needs to serve it as it was trained, written for people.

How Ollama reads one (its `parser/parser.go`): a text in three quotes ends where a line ends with three quotes, whatever white
space is behind them; there is no escape. What Go does not call printable is dropped without a word. A text that would not come
back as it was is not written: a comment says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.config.task import Sampling
from core.shipping.go_text import dropped_by_modelfiles

NAME = "Modelfile"
_QUOTES_END_LINE = re.compile(r'"""[^\S\n\r]*[\n\r]')


@dataclass(frozen=True)
class Modelfile:
    """What is written. `notes` stand in front as comments; `stops` in the order of importance.

    `template` None: Ollama takes the file's own, or what it thinks fits. `system` None: each request brings its own.
    """

    file: str
    template: str | None
    stops: tuple[str, ...] = ()
    sampling: Sampling | None = None
    system: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names of the parts that cannot be written so that Ollama reads them as they are."""
        parts = {"TEMPLATE": self.template, "SYSTEM": self.system}
        stops = {f"PARAMETER stop {index + 1}": stop for index, stop in enumerate(self.stops)}
        return tuple(name for name, text in {**parts, **stops}.items() if text is not None and quoted(text) is None)

    def text(self) -> str:
        """The whole file, with a line feed at its end."""
        lines = [f"# {line}".rstrip() for note in self.notes for line in note.splitlines()]
        lines += ["", f"FROM ./{self.file}"]
        lines += _part("TEMPLATE", self.template)
        for name, value in parameters_of(self.sampling).items():
            lines.append(f"PARAMETER {name} {value}")
        for stop in self.stops:
            lines += _part("PARAMETER stop", stop)
        lines += _part("SYSTEM", self.system)
        return "\n".join(lines).lstrip("\n") + "\n"


def quoted(text: str) -> str | None:
    """The text as a value that Ollama reads as it is; None where it cannot be written."""
    if any(dropped_by_modelfiles(letter) for letter in text) or _QUOTES_END_LINE.search(text):
        return None
    simple = not re.search(r'["\n\r]', text)
    return f'"{text}"' if simple else f'"""{text}"""'


def _part(name: str, text: str | None) -> Sequence[str]:
    if text is None:
        return ()
    value = quoted(text)
    if value is None:
        return (f"# {name} is left out: Ollama would not read its text from a Modelfile as it is.",)
    return (f"{name} {value}",)


def parameters_of(sampling: Sampling | None) -> dict[str, int | float]:
    """The sampling of a task under Ollama's names. All that have a default of Ollama's own are named: those have changed, and
    cut where a task does not. No cut is 1 for top_p and 0 for top_k there."""
    if sampling is None:
        return {}
    return {
        "num_ctx": sampling.context_length,
        "num_predict": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
        "top_k": sampling.top_k or 0,
        "repeat_penalty": sampling.repeat_penalty,
    }
