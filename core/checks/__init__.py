"""The checks that score an answer, one file each. A definition is what a person writes; `build` makes it runnable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from core.checks.base import AskedInput, BaseDefinition, Captures, CheckFault, CheckResult
from core.checks.captured_equals import CapturedEqualsCheck, score_captured_equals
from core.checks.contains import ContainsAllCheck, ContainsAnyCheck, NotContainsCheck, score_contains
from core.checks.each_item import EachItemCheck, score_each_item
from core.checks.heading import HeadingCheck, score_heading
from core.checks.isolated import ISOLATED_FROM, CheckKilledError, Kills, score_isolated
from core.checks.json_schema import JsonSchemaCheck, score_json_schema
from core.checks.judge import JudgeCheck, score_judge
from core.checks.lengths import CharactersCheck, LinesCheck, WordsCheck, score_length
from core.checks.number_range import NumberRangeCheck, score_number_range
from core.checks.python import PythonCheck, score_python
from core.checks.regex import RegexCheck, score_regex
from core.checks.section_order import SectionOrderCheck, score_section_order
from core.checks.similarity import SimilarityCheck, score_similarity
from core.checks.table import TableCheck, score_table
from core.files import sha256_json

__all__ = [
    "CapturedEqualsCheck",
    "Check",
    "CheckDefinition",
    "CheckResult",
    "ContainsAllCheck",
    "ContainsAnyCheck",
    "HeadingCheck",
    "JsonSchemaCheck",
    "JudgeCheck",
    "NotContainsCheck",
    "PythonCheck",
    "RegexCheck",
    "SimilarityCheck",
    "TableCheck",
    "build",
    "capture_names",
    "check_hash",
    "check_id",
    "check_ids",
    "code_files",
]

# Of definition, text, expect, captures and timeout; where it `reads_input`, also of `asked`.
Scorer = Callable[..., CheckResult]

# What scores each kind of definition. A check is added by its line here.
REGISTRY: dict[type[BaseDefinition], Scorer] = {
    HeadingCheck: score_heading,
    TableCheck: score_table,
    RegexCheck: score_regex,
    ContainsAnyCheck: score_contains,
    ContainsAllCheck: score_contains,
    NotContainsCheck: score_contains,
    CapturedEqualsCheck: score_captured_equals,
    SectionOrderCheck: score_section_order,
    LinesCheck: score_length,
    WordsCheck: score_length,
    CharactersCheck: score_length,
    NumberRangeCheck: score_number_range,
    EachItemCheck: score_each_item,
    JsonSchemaCheck: score_json_schema,
    SimilarityCheck: score_similarity,
    JudgeCheck: score_judge,
    PythonCheck: score_python,
}

if TYPE_CHECKING:
    CheckDefinition = BaseDefinition
else:
    # pydantic is told by the key `check` which of them is meant.
    CheckDefinition = Annotated[Union[tuple(REGISTRY)], Field(discriminator="check")]  # noqa: UP007 - of as many as there are

# Some 50,000 tokens.
MAX_TEXT_CHARACTERS = 200_000


@dataclass(frozen=True)
class Check:
    """A definition with the seconds that its pattern may take on one answer, and how often checks of these answers were
    killed."""

    definition: BaseDefinition
    pattern_timeout: float
    kills: Kills | None = None

    def score(
        self, text: str, expect: Mapping[str, Any], captures: Captures | None = None, asked: AskedInput | None = None
    ) -> CheckResult:
        """What the check says of `text`; `captures` are those of the format checks, for those that read them, and `asked` is
        the input, for those that compare the text with it.

        Nothing is raised: a check that cannot be done is faulty, and says why.
        """
        if len(text) > MAX_TEXT_CHARACTERS:
            return CheckResult(0.0, f"the answer has more than {MAX_TEXT_CHARACTERS:,} characters", faulty=True)
        if self.kills is not None and (why := self.kills.given_up(self.definition)):
            return CheckResult(0.0, why, faulty=True)
        definition = self.definition
        try:
            far = len(text) >= ISOLATED_FROM or definition.is_unbounded(text, expect)
            scorer = score_isolated if far and not definition.ISOLATED else REGISTRY[type(definition)]
            beside = {"asked": asked} if definition.reads_input else {}
            result = scorer(definition, text, expect, captures or {}, self.pattern_timeout, **beside)
        except CheckFault as fault:
            if self.kills is not None:
                self.kills.note(definition, fault if isinstance(fault, CheckKilledError) else None)
            return CheckResult(0.0, str(fault), faulty=True)
        except Exception as error:  # noqa: BLE001  (one answer must not end the scoring of a thousand)
            return CheckResult(0.0, f"the check failed: {type(error).__name__}: {error}"[:200], faulty=True)
        if self.kills is not None:
            self.kills.note(definition, None)
        if result.detail and self.definition.message:
            return replace(result, detail=self.definition.message)
        return result


def build(definition: BaseDefinition, pattern_timeout: float = 1.0, kills: Kills | None = None) -> Check:
    """The runnable check of a definition; `pattern_timeout` in seconds. `kills` are counted over a set of answers."""
    return Check(definition, pattern_timeout, kills)


def check_id(definition: BaseDefinition) -> str:
    """The id that was given, else one made from the check: "heading", "price equals expect", "contains_any: Exeter…"."""
    return definition.id or definition.default_id()


def check_ids(definitions: Iterable[BaseDefinition]) -> list[str]:
    """The ids of a task's checks (format, then content), told apart where two are the same: "regex", "regex-2"."""
    ids: list[str] = []
    for definition in definitions:
        plain = check_id(definition)
        numbered = (f"{plain}-{number}" for number in count(2))
        ids.append(plain if plain not in ids else next(name for name in numbered if name not in ids))
    return ids


def code_files(*parts: Iterable[BaseDefinition]) -> tuple[str, ...]:
    """The files of a person that these checks run, as they are written."""
    return tuple(dict.fromkeys(one.file for part in parts for one in part if isinstance(one, PythonCheck)))


def capture_names(definitions: Iterable[BaseDefinition]) -> set[str]:
    """The names that these checks capture: what a check beside them can read."""
    return {name for definition in definitions for name in definition.group_names()}


def check_hash(
    definition: BaseDefinition,
    *,
    name: str | None = None,
    part: str = "format",
    sources: Sequence[BaseDefinition] = (),
    expect: Mapping[str, Any] | None = None,
    asked: AskedInput | None = None,
) -> str:
    """Hex SHA-256 over all that decides what a check says: its definition, the version of its code, and what it reads.

    `name` is its id among the checks of the task (`check_ids`), `sources` are the checks whose captures it reads,
    `expect` the golden input's expectations, of which only the keys that it asks for count, `asked` the input, which counts
    where it is read. The weight changes no value and is left out: a task can be weighted anew without scoring anew.
    """
    return sha256_json(
        {
            "name": name or check_id(definition),
            "part": part,
            "definition": definition.model_dump(mode="json", exclude={"id", "weight", *_unsaid(definition)}),
            "version": definition.VERSION,
            "sources": [check_hash(source) for source in sources],
            "expect": definition.read_of(expect or {}),
            **({"asked": asked.turns} if asked is not None and definition.reads_input else {}),
        }
    )


def _unsaid(definition: BaseDefinition) -> list[str]:
    """The keys that came after scores were stored, where they say what held before."""
    fields = type(definition).model_fields
    return [key for key in definition.UNHASHED_DEFAULTS if getattr(definition, key) == fields[key].default]
