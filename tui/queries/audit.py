"""What the model will see of a task's data, asked of `core.submission.audit_process` in a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import BakehouseError
from core.home import Home

if TYPE_CHECKING:
    from core.config.project import Project
    from core.data.audit import Audit

SHOWN = 50
"""Examples that can be paged through; more would make the audit's file large."""


@dataclass(frozen=True)
class AuditQuery:
    """Which data, by whose tokenizer, at which length."""

    task: str
    model: str
    recipe: str
    max_length: int


@dataclass(frozen=True)
class AuditAnswer:
    """The audit that was wished for, or why there is none."""

    query: AuditQuery
    audit: Audit | None = None
    why: str = ""
    refused: str = ""
    """What a gate of the training says of it, in a sentence; empty when none refuses it."""


def see(home: Home, find_project: Callable[[], Project], query: AuditQuery) -> AuditAnswer:
    """Audit; what goes wrong is told."""
    from core.submission.audit_process import audit
    from core.submission.gates import lengths_around, refusal

    try:
        project = find_project()
        found = audit(
            home,
            project,
            query.task,
            query.model,
            max_length=query.max_length,
            lengths=lengths_around(query.max_length),
            show=range(1, SHOWN + 1),
            recipe=query.recipe,
        )
    except BakehouseError as error:
        if error.code == "model_not_pulled":
            return AuditAnswer(query, why=f"tokens are counted once {query.model} is on the disk: {error.remedy}")
        return AuditAnswer(query, why=f"tokens are not counted: {error}")
    except (OSError, sqlite3.Error) as error:
        return AuditAnswer(query, why=f"tokens are not counted: {error}")
    refused = refusal(found, query.task)
    return AuditAnswer(query, found, refused="" if refused is None else f"{refused.message}; {refused.remedy}")
