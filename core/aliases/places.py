"""Where an alias lives: what is asked of a server to look at a production name, and to move it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.store.fleet import Alias, AliasVersion, Target


@dataclass(frozen=True)
class Placed:
    """What a server has under a name. `digest` is that of Ollama's manifest, else the SHA-256 of the GGUF file; `weights` and
    `template` are hashes as a bake-off's `ServedIdentity` has them. None is what is not known."""

    digest: str | None
    weights: str | None = None
    template: str | None = None
    server_version: str | None = None
    size_bytes: int | None = None


class AliasPlace(Protocol):
    """The server of an alias. Each method may be called again after a kill: what is done already is not done twice.

    All raise ServerError, or another BakehouseError that says why not. None of them writes to the store.
    """

    def look(self, alias: Alias) -> Placed | None:
        """What is there under the alias now, None for nothing."""

    def look_at_source(self, alias: Alias, target: Target) -> Placed | None:
        """What the source of a move is now, None where it is gone."""

    def keep_former(self, alias: Alias, former: AliasVersion) -> str | None:
        """Have the server keep what the alias is; the tag that does, None where none is needed."""

    def keep_target(self, alias: Alias, target: Target) -> Target:
        """Have the server keep what the alias is to become, whatever becomes of its source; with where it is kept."""

    def place(self, alias: Alias, target: Target) -> None:
        """Make the alias the target. What it is afterwards is looked at by the caller."""

    def put_back(self, alias: Alias, former: AliasVersion) -> None:
        """Make the alias what it was, where it is missing or half done."""

    def forget_target(self, alias: Alias, target: Target) -> None:
        """Let go of what `keep_target` made, after a move that was taken back."""

    def settle(self, alias: Alias, former: AliasVersion | None, target: Target) -> None:
        """What is good to do after a move and is no part of it: have the former model leave the memory, say."""
