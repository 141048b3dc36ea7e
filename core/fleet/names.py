"""Which alias a person means: by its name, with its server before it, or by the task that it answers for."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from core.errors import InputError, NotFoundError
from core.serving.replies import name_key
from core.store.fleet import LLAMA_SERVER, Alias, AliasVersion, aliases, fleet_tasks, versions
from core.store.fleet_changes import changes


def reference_of(alias: Alias) -> str:
    """How commands and bake-offs name what serves under an alias: `served:note`, `ollama:vault-judge`."""
    return reference_to(alias.server, alias.name)


def reference_to(server: str, name: str) -> str:
    """The same of a model that need not be an alias; `server` as an `Alias` has it."""
    return f"served:{name}" if server == LLAMA_SERVER else f"{server}:{name}"


def name_key_of(server: str, name: str) -> str:
    """The name as its server compares names: a served model's folder is its name as it is."""
    return name if server == LLAMA_SERVER else name_key(name)


def alias_named(connection: sqlite3.Connection, name: str) -> Alias:
    """The alias of this name. Raises `NotFoundError`, and `InputError` for a name that several servers have."""
    found = _named(aliases(connection), name)
    if not found:
        raise NotFoundError(
            f"the fleet has no alias called `{name}`",
            code="alias_not_found",
            key=name,
            remedy=f"take it in first: `bakehouse fleet adopt {name}`",
        )
    return _the_one(found, name)


def the_alias(connection: sqlite3.Connection, name: str) -> Alias:
    """The alias of this name, else that which answers for this task. Raises as `alias_named`."""
    known = aliases(connection)
    doing = {one.alias_id for one in fleet_tasks(connection) if one.task == name}
    found = _named(known, name) or [one for one in known if one.id in doing]
    if not found:
        raise _nobody(name)
    return _the_one(found, name)


def aliases_meant(connection: sqlite3.Connection, name: str) -> tuple[set[int], str | None]:
    """The ids of the aliases of this name and no task; else of all that answer for the task of this name or ever did, and the
    task. Raises `NotFoundError`."""
    found = {one.id for one in _named(aliases(connection), name)}
    if found:
        return found, None
    found = {one.alias_id for one in fleet_tasks(connection) if one.task == name}
    found |= {one.alias_id for one in changes(connection) if one.task == name}
    if not found:
        raise _nobody(name)
    return found, name


def version_numbered(connection: sqlite3.Connection, alias: Alias, number: int) -> AliasVersion:
    """The version of this number. Raises `NotFoundError`."""
    known = {one.number: one for one in versions(connection, alias.id)}
    if number not in known:
        raise NotFoundError(
            f"{alias.name} has no version {number}",
            code="version_not_found",
            key=str(number),
            remedy=f"its versions: {', '.join(map(str, known)) or 'none'}",
        )
    return known[number]


def _named(known: Collection[Alias], name: str) -> list[Alias]:
    whole = [one for one in known if reference_of(one) == name]
    return whole or [one for one in known if one.name_key == name_key_of(one.server, name)]


def _the_one(found: list[Alias], name: str) -> Alias:
    if len(found) > 1:
        raise InputError(
            f"several aliases can be meant by `{name}`",
            code="ambiguous_name",
            key=name,
            remedy=f"name one: {', '.join(map(reference_of, found))}",
        )
    return found[0]


def _nobody(name: str) -> NotFoundError:
    return NotFoundError(
        f"no task and no alias of the fleet is called `{name}`",
        code="alias_not_found",
        key=name,
        remedy="`bakehouse fleet list` shows them",
    )
