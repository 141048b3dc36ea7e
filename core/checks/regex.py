"""`regex`: a pattern is found in the answer, at least once or exactly so many times; its named groups are captured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from core.checks.base import BaseDefinition, Captures, CheckResult, Count, count_share, resolve_count
from core.checks.lookalikes import alike_for_pattern
from core.checks.normal_form import written
from core.checks.patterns import (
    Flag,
    Pattern,
    Stopwatch,
    collect_groups,
    compile_pattern,
    compile_shaped,
    find_all,
    pattern_parts,
)


class RegexCheck(BaseDefinition):
    check: Literal["regex"]
    # Before the pattern: that is compiled with its flags when it is validated.
    flags: tuple[Flag, ...] = Field(default=(), strict=False)
    pattern: Pattern
    multiline: bool = False
    count: Count | None = None
    case_sensitive: bool = True

    @field_validator("pattern")
    @classmethod
    def _compiles_with_its_flags(cls, pattern: str, info: ValidationInfo) -> str:
        compile_pattern(pattern, flags=info.data.get("flags", ()))
        return pattern

    def group_names(self) -> tuple[str, ...]:
        return tuple(compile_pattern(self.pattern, flags=self.flags).groupindex)


def score_regex(
    definition: RegexCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when the pattern matches at least once or, with `count`, exactly so many times."""
    parts = pattern_parts(definition.pattern, definition.parts, definition.count)
    pattern = compile_shaped(
        definition.pattern,
        parts,
        multiline=definition.multiline,
        case_sensitive=definition.case_sensitive,
        flags=definition.flags,
    )
    watch = Stopwatch(timeout)
    matches = list(find_all(pattern, written(text, parts), watch))
    found = collect_groups(matches)
    what = definition.id or "pattern"
    if definition.count is None:
        if matches:
            return CheckResult(1.0, "", found)
        alike = alike_for_pattern(definition, text, watch, flags=definition.flags, multiline=definition.multiline)
        return CheckResult(0.0, f"{what}: no match{alike}", found)
    expected = resolve_count(definition.count, expect)
    if len(matches) == expected:
        return CheckResult(1.0, "", found)
    share = count_share(len(matches), expected) if definition.partial else 0.0
    return CheckResult(
        share, f"{what}: {len(matches)} match{'' if len(matches) == 1 else 'es'}, expected {expected}", found
    )
