"""Whether a judge judges itself or its own kind: models tend to prefer what they wrote themselves (Panickssery et al., "LLM
evaluators recognize and favor their own generations", arXiv 2404.13076). Told by servers and names alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.jobfile.bakeoff import CandidateSpec

# By the names that their makers give them; a long one may stand within a word (`tinyllama`), a short one is a word.
FAMILIES = (
    *("qwen", "llama", "smollm", "gemma", "mistral", "mixtral", "ministral", "deepseek", "granite", "olmo", "falcon"),
    *("internlm", "exaone", "hunyuan", "nemotron", "kimi", "gemini", "claude", "phi", "glm", "gpt", "yi", "lfm"),
)
_ONE = {"mixtral": "mistral", "ministral": "mistral"}
_WITHIN = 5


@dataclass(frozen=True)
class Kin:
    """The candidates that a judge is, and those of its family, by name."""

    itself: tuple[str, ...] = ()
    family: tuple[str, ...] = ()


def kin_of(judge: CandidateSpec, candidates: Sequence[CandidateSpec]) -> Kin:
    """Who among the candidates a judge is, or is kin of, as far as names tell."""
    itself = tuple(one.name for one in candidates if _place(one) is not None and _place(one) == _place(judge))
    own = families_in(judge)
    family = tuple(one.name for one in candidates if one.name not in itself and own & families_in(one))
    return Kin(itself, family)


def families_in(candidate: CandidateSpec) -> frozenset[str]:
    """The families of models that a candidate's names speak of."""
    model = candidate.model
    told = [candidate.name.partition(" @")[0], candidate.served_model]
    told += [Path(candidate.path).name] if candidate.path else []
    told += [] if model is None else [model.name, model.hub, None if model.path is None else Path(model.path).name]
    words = set(re.findall(r"[a-z]+", " ".join(filter(None, told)).lower()))
    return frozenset(_ONE.get(name, name) for name in FAMILIES for word in words if _is_of(name, word))


def _is_of(family: str, word: str) -> bool:
    return (
        word == family or (len(family) >= _WITHIN and family in word) or (len(family) == 4 and word.startswith(family))
    )


def _place(candidate: CandidateSpec) -> tuple[str, str, str] | None:
    if candidate.server is None or candidate.served_model is None:
        return None
    return candidate.server.api, candidate.server.served_dir or candidate.server.url, candidate.served_model
