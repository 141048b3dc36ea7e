"""Somebody else's change of an alias: what is noted of it, once for each model that is found there."""

from __future__ import annotations

import sqlite3

from core.aliases.digests import is_same
from core.reasons import Reason
from core.store.fleet import AliasVersion
from core.store.fleet_changes import add_note, notes

ALIAS_CHANGED, ALIAS_GONE, ALIAS_BACK = "alias_changed", "alias_gone", "alias_back"
FOREIGN = (ALIAS_CHANGED, ALIAS_GONE, ALIAS_BACK)


def note_found(connection: sqlite3.Connection, version: AliasVersion, digest: str | None) -> Reason | None:
    """Note what an alias that is recorded to be `version` was found to be (`digest`; None: nothing is there).

    What was noted; None where that was noted before, or all is as recorded. Call it in a transaction.
    """
    told = next((one.reason for one in notes(connection, version.alias_id) if one.reason.code in FOREIGN), None)
    news = _news(version, digest, told)
    if news is not None:
        add_note(connection, version.alias_id, news)
    return news


def _news(version: AliasVersion, digest: str | None, told: Reason | None) -> Reason | None:
    """`told` is the newest note of the alias about somebody else's change."""
    values = {"version": version.number, "recorded": version.digest}
    if is_same(version.digest, digest):
        was_foreign = told is not None and told.code != ALIAS_BACK and told.values.get("version") == version.number
        return Reason(ALIAS_BACK, values) if was_foreign else None
    news = Reason(ALIAS_GONE, values) if digest is None else Reason(ALIAS_CHANGED, {**values, "digest": digest})
    return None if news == told else news
