"""One move of an alias on its server: looked at, then carried out or taken back. It decides by digests, never by what it
remembers, so that it can be begun again after a kill at any place.

What is done here runs in a thread that may wait for a server; the store is written by the runner's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from core.aliases.digests import is_same
from core.aliases.places import AliasPlace, KeptNames, NotNowError, Placed
from core.errors import BakehouseError
from core.reasons import Reason
from core.serving.errors import ServerError
from core.store.fleet import Alias, AliasVersion, Target
from core.store.fleet_reasons import change_reason

Tell = Callable[[str], None]
# What a gateway answers while the server behind it may still do what was asked.
_MAYBE_DONE = frozenset({200, 408, 499, 502, 503, 504, *range(520, 530)})


@dataclass(frozen=True)
class Move:
    """What is asked of an alias. `former` is what it is recorded to be, None: nothing is to be there.

    `kept` is None until something may have been done on the server. `sent`: the alias itself may have been touched.
    `is_new`: the target is no version of the alias yet.
    """

    alias: Alias
    former: AliasVersion | None
    target: Target
    kept: KeptNames | None
    sent: bool
    is_new: bool


@dataclass(frozen=True)
class Ready:
    """The move can be made, with these names, which are to be stored first."""

    target: Target
    kept: KeptNames


@dataclass(frozen=True)
class Ended:
    """How a move ended. `there` is what the alias is now. `kept_former` is the name under which the server keeps the former."""

    state: Literal["done", "taken_back", "failed"]
    reason: Reason | None
    there: Placed | None
    kept_former: str | None = None
    kept_target: str | None = None


def look(place: AliasPlace, move: Move) -> Ready | Ended:
    """Whether the move can be made, or has been made already, or must not be. Raises what the place raises; nothing of what
    was known before is wrong then."""
    there = place.look(move.alias)
    if _is_target(move, there):
        return _done(place, move, there)
    if not _is_former(move, there):
        return _out(place, move, there, _foreign(move, there))
    source = place.look_at_source(move.alias, move.target)
    if source is None or not is_same(source.digest, move.target.digest):
        code: Literal["source_gone", "source_changed"] = "source_gone" if source is None else "source_changed"
        return _taken_back(place, move, change_reason(code, source=move.target.source))
    kept = move.kept or place.choose_kept(move.alias, move.former, move.target)
    return Ready(_kept_as(move.target, kept), kept)


def carry_out(place: AliasPlace, move: Move, tell: Tell) -> Ended:
    """Make the move, or take it back. Raises NotNowError where it has to wait, and ServerError where nobody knows what the
    server did: look again then."""
    assert move.kept is not None
    try:
        tell("keeping")
        if move.former is not None and move.kept.former is not None:
            _keep_former(place, move, move.former, move.kept.former)
        if move.kept.target is not None:
            place.keep_target(move.alias, move.target)
        there = place.look(move.alias)
        if not _is_target(move, there):
            if not _is_former(move, there):
                return _out(place, move, there, _foreign(move, there))
            tell("placing")
            move = replace(move, sent=True)
            place.place(move.alias, move.target)
            tell("verifying")
            there = place.look(move.alias)
        if _is_target(move, there):
            return _done(place, move, there)
        digest = None if there is None else there.digest
        problem = change_reason("digest_differs", alias=move.alias.name, digest=digest, wanted=move.target.digest)
    except NotNowError:
        raise
    except (BakehouseError, OSError) as error:
        if maybe_done(error):
            raise
        problem = change_reason("move_refused", message=_message(error))
    return _taken_back(place, move, problem)


def maybe_done(error: BaseException) -> bool:
    """Whether the server may have done what this error is about, or may still do it."""
    if not isinstance(error, ServerError):
        return False
    if error.code == "server_refused":
        return error.status is None or error.status in _MAYBE_DONE
    return error.code in {"server_down", "server_slow", "server_garbled", "request_stopped"}


def _keep_former(place: AliasPlace, move: Move, former: AliasVersion, kept: str) -> None:
    """Where the alias is gone and the former with it, there is nothing to keep, and all the more reason to go on."""
    try:
        place.keep_former(move.alias, former, kept)
    except BakehouseError as error:
        if error.code != "former_gone" or place.look(move.alias) is not None:
            raise


def _taken_back(place: AliasPlace, move: Move, problem: Reason) -> Ended:
    """End a move that cannot be made: the former is placed again where the alias is gone, or is what this move made of it.

    Raises ServerError where that is not known to have been done.
    """
    sources = _sources(place, move) if move.sent else []
    # Looked at last: what is done next is done to what is seen here.
    there = place.look(move.alias)
    if _is_target(move, there):
        return _done(place, move, there)
    is_ours = there is not None and any(is_same(one.digest, there.digest) for one in sources)
    if not _is_former(move, there) and not is_ours:
        return _out(place, move, there, _foreign(move, there))
    if not _is_former(move, there) or (there is None and move.former is not None):
        try:
            place.put_back(move.alias, move.former)
        except BakehouseError as error:
            if error.code != "former_gone":
                raise
            return _out(place, move, there, change_reason("former_gone", alias=move.alias.name))
        there = place.look(move.alias)
    return _out(place, move, there, problem)


def _sources(place: AliasPlace, move: Move) -> list[Placed]:
    """What is now under the names that the alias may have been made of: somebody may have replaced that a moment before."""
    names = {name for name in (move.target.kept_as, move.target.source) if name}
    found = [place.look_at_source(move.alias, Target(name, None)) for name in sorted(names)]
    return [one for one in found if one is not None]


def _done(place: AliasPlace, move: Move, there: Placed | None) -> Ended:
    """The alias is the target. What keeps the two versions is made sure of; a version without such a name is kept later."""
    former = target = None
    if move.kept is not None:
        with contextlib.suppress(BakehouseError, OSError):
            if move.kept.target is not None:
                place.keep_target(move.alias, _kept_as(move.target, move.kept))
                target = move.kept.target
            if move.former is not None and move.kept.former is not None:
                place.keep_former(move.alias, move.former, move.kept.former)
                former = move.kept.former
    return Ended("done", None, there, former, target)


def _out(place: AliasPlace, move: Move, there: Placed | None, reason: Reason) -> Ended:
    """The move has come to nothing; what was made for it goes again."""
    if move.kept is not None and (move.kept.target is None or (move.is_new and move.kept.target_is_new)):
        with contextlib.suppress(BakehouseError, OSError):
            place.forget_target(move.alias, _kept_as(move.target, move.kept))
    return Ended("taken_back" if move.sent else "failed", reason, there)


def _kept_as(target: Target, kept: KeptNames) -> Target:
    return replace(target, kept_as=kept.target)


def _is_target(move: Move, there: Placed | None) -> bool:
    return there is not None and is_same(there.digest, move.target.digest)


def _is_former(move: Move, there: Placed | None) -> bool:
    """Whether the alias is what it is recorded to be, or is gone: nobody else's model stands there."""
    if there is None:
        return True
    return move.former is not None and is_same(there.digest, move.former.digest)


def _foreign(move: Move, there: Placed | None) -> Reason:
    """Somebody else's model is there."""
    if move.former is None:
        return change_reason("name_taken", alias=move.alias.name)
    return change_reason("alias_changed", alias=move.alias.name, digest=None if there is None else there.digest)


def _message(error: BakehouseError | OSError) -> str:
    return error.message if isinstance(error, BakehouseError) else error.strerror or str(error)
