"""Where an alias lives: what is asked of a server to look at a production name, and to move it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.errors import BakehouseError
from core.reasons import Reason
from core.store.fleet import Alias, AliasVersion, Target

WAITING_PHASES = frozenset({"loading", "waiting_for_lease", "waiting_for_job", "putting_back"})
"""Codes of `NotNowError`, of served models: what a move waits for."""


@dataclass(frozen=True)
class Placed:
    """What a server has under a name. `digest` is that of Ollama's manifest, else the SHA-256 of the GGUF file; `weights` and
    `template` are hashes as a bake-off's `ServedIdentity` has them. None is what is not known. `record` is that of a served
    model (`served.json`), which a version of an alias keeps: a rollback is made of it."""

    digest: str | None
    weights: str | None = None
    template: str | None = None
    server_version: str | None = None
    size_bytes: int | None = None
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class KeptNames:
    """The names under which a server is to keep what a move replaces (`former`) and what it brings (`target`); None where
    none is needed. `target_is_new`: nothing is there under that name yet, so a move that is taken back removes it again."""

    former: str | None = None
    target: str | None = None
    target_is_new: bool = False


class NotNowError(BakehouseError):
    """The move has to wait, or is on its way: it stays open, and the same is asked again in a moment. `code`, one of
    `WAITING_PHASES`, is shown as its phase."""


class AliasPlace(Protocol):
    """The server of an alias, for one thread. Each method may be called again after a kill: what is done is not done twice.

    A method that did not do what it is for raises ServerError, or another BakehouseError that says why not. Where
    `ServerError.is_transient`, it may have been done all the same: the caller looks and tries again; after any other error
    the server does nothing more. `NotNowError` is for what has to wait: one thread does the work of all aliases. None of them
    writes to the store.
    """

    def look(self, alias: Alias) -> Placed | None:
        """What is there under the alias now, None for nothing."""

    def look_at_source(self, alias: Alias, target: Target) -> Placed | None:
        """What the source of a move is now, None where it is gone; of a target without a digest, what is under its name."""

    def choose_kept(self, alias: Alias, former: AliasVersion | None, target: Target) -> KeptNames:
        """Under which names the two are to be kept; nothing is done yet, and the caller stores them first."""

    def keep_former(self, alias: Alias, former: AliasVersion, kept: str) -> None:
        """Have the server keep what the alias is, under this name, whatever becomes of the alias."""

    def keep_target(self, alias: Alias, target: Target) -> None:
        """Have the server keep what the alias is to become, as `target.kept_as`, whatever becomes of its source."""

    def place(self, alias: Alias, target: Target) -> None:
        """Make the alias the target. What it is afterwards is looked at by the caller."""

    def put_back(self, alias: Alias, former: AliasVersion | None) -> None:
        """Make the alias what it was, where it is missing or half done: nothing, where `former` is None. BakehouseError
        (`former_gone`) where the server has nothing of the former any more."""

    def forget_target(self, alias: Alias, target: Target) -> None:
        """Remove what a move has made and left that came to nothing: what `keep_target` made, say."""

    def settle(self, alias: Alias, former: AliasVersion | None, target: Target) -> Reason | None:
        """What is good to do after a move and is no part of it: have the former model leave the memory, say. What a person is
        to know of it stands in the history: `candidate_stopped` and `candidate_runs` (`served`, `alias`)."""

    def close(self) -> None:
        """Let go of connections."""
