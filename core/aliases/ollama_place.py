"""An alias that is a tag of an Ollama: a move is a copy of another tag, and costs a few kilobytes.

What moves is never copied from a name alone: a tag is taken as a source only while it has the digest that was asked for, and
each tag that is written is looked at afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from core.aliases.digests import is_same
from core.aliases.kept_names import kept_name
from core.aliases.places import KeptNames, Placed
from core.errors import BakehouseError
from core.serving.errors import ServerError
from core.serving.ollama import Ollama
from core.serving.ollama_runners import runner_of
from core.serving.ollama_store import copy, delete
from core.serving.replies import Tag, name_key, template_hash
from core.store.fleet import Alias, AliasVersion, Target


class OllamaPlace:
    """See `AliasPlace`. `in_use` are the digests of what other aliases on this server are: their models stay in memory."""

    def __init__(self, ollama: Ollama, in_use: Collection[str] = ()) -> None:
        self._ollama, self._in_use = ollama, frozenset(in_use)
        self._seen: dict[str, Tag] = {}
        """The tags as they were listed last: what is copied is copied by what was decided on."""

    def look(self, alias: Alias) -> Placed | None:
        return self._look(alias.name)

    def look_at_source(self, alias: Alias, target: Target) -> Placed | None:
        """The tag that has what was asked for; where none has it, what is under the names that should."""
        tags = self._tags()
        found = _with_digest(tags, target.digest, target.kept_as, target.source) or next(
            (tags[name_key(name)] for name in (target.kept_as, target.source) if name and name_key(name) in tags), None
        )
        return None if found is None else self._look(found.name)

    def choose_kept(self, alias: Alias, former: AliasVersion | None, target: Target) -> KeptNames:
        tags = self._tags()
        of_former = None
        if former is not None and former.digest is not None:
            of_former = _free(tags, alias, former.number, former.digest, former.kept_as)
        assert target.number is not None and target.digest is not None  # the change was checked when it was asked for
        of_target = _free(tags, alias, target.number, target.digest, target.kept_as)
        return KeptNames(of_former, of_target, target_is_new=name_key(of_target) not in tags)

    def keep_former(self, alias: Alias, former: AliasVersion, kept: str) -> None:
        self._keep(former.digest, kept, alias.name)

    def keep_target(self, alias: Alias, target: Target) -> None:
        assert target.kept_as is not None
        self._keep(target.digest, target.kept_as, target.source)

    def place(self, alias: Alias, target: Target) -> None:
        """Right after `look`: what it saw is what is replaced."""
        self._copied(target.digest, alias.name, target.kept_as, target.source)

    def put_back(self, alias: Alias, former: AliasVersion | None) -> None:
        """Right after `look`, as `place`."""
        if former is None:
            with contextlib.suppress(_NotThereError):
                self._delete(alias.name)
        else:
            self._copied(former.digest, alias.name, former.kept_as, kept_name(alias.name, former.number))

    def forget_target(self, alias: Alias, target: Target) -> None:
        """Nothing is removed that is not on the server under another name as well."""
        tags = self._tags()
        kept = None if target.kept_as is None else tags.get(name_key(target.kept_as))
        same = [one for one in tags.values() if is_same(one.digest, target.digest)]
        if kept is not None and kept in same and len(same) > 1:
            with contextlib.suppress(_NotThereError):
                self._delete(kept.name)

    def settle(self, alias: Alias, former: AliasVersion | None, target: Target) -> None:
        """Has the former model leave the memory where it was loaded under this alias, and no other alias is the same model."""
        if former is None or former.kept_as is None:
            return
        if any(is_same(former.digest, one) for one in (target.digest, *self._in_use)):
            return
        residents = self._ollama.ps()
        runner = runner_of(self._ollama, former.kept_as, residents, self._blob) if residents else None
        if runner is not None and name_key(runner.name) == alias.name_key:
            self._ollama.unload(former.kept_as)

    def close(self) -> None:
        self._ollama.close()

    def _look(self, name: str) -> Placed | None:
        """The digest is asked for last: what is decided by it is decided by what was there a moment ago."""
        version = self._ollama.version()
        info = problem = None
        try:
            info = self._ollama.show(name)
        except ServerError as error:
            problem = error
        tag = self._tags().get(name_key(name))
        if tag is None:
            # Also of a tag of which nothing was written but its name: Ollama writes in place, so a full disk or a kill in the
            # middle of a copy leaves that. It is not listed, `show` answers 500, and a copy over it makes it whole.
            return None
        if problem is not None and problem.status != 404:
            raise problem
        template = None
        if info is not None:
            template = template_hash(info.template)
        return Placed(tag.digest, None if info is None else info.blob, template, version, tag.size_bytes)

    def _keep(self, digest: str | None, kept: str, source: str) -> None:
        """Have a tag that keeps what has this digest."""
        there = self._tags().get(name_key(kept))
        if there is None:
            self._copied(digest, kept, source, made_here=True)
        elif not is_same(there.digest, digest):
            raise _taken(kept)

    def _copied(self, digest: str | None, name: str, *sources: str | None, made_here: bool = False) -> None:
        """Copy what has this digest to `name`, from one of these sources, else from any tag that has it."""
        found = _with_digest(self._seen, digest, *sources)
        if found is None:
            raise BakehouseError(
                f"the server has no tag any more with the digest {(digest or 'unknown')[:12]} that `{name}` is to be",
                code="former_gone",
            )
        copy(self._ollama, found.name, name)
        now = self._tags().get(name_key(name))
        if made_here and (now is None or not is_same(now.digest, digest)):
            if now is not None:
                self._delete(name)
            raise BakehouseError(
                f"`{found.name}` was replaced by somebody else while it was to be kept as `{name}`",
                code="alias_changed",
            )

    def _delete(self, name: str) -> None:
        try:
            delete(self._ollama, name)
        except ServerError as error:
            if error.status == 404:
                raise _NotThereError(name, code="model_not_found") from error
            raise

    def _tags(self) -> dict[str, Tag]:
        self._seen = {name_key(tag.name): tag for tag in self._ollama.tags()}
        return self._seen

    def _blob(self, name: str) -> str:
        """Of the weights of a tag; a name of its own for one that is gone: it is nobody else's."""
        blob: str | None = None
        try:
            blob = self._ollama.show(name).blob
        except ServerError as error:
            if error.status != 404:
                raise
        return blob or f"tag:{name_key(name)}"


class _NotThereError(BakehouseError):
    """What is to be deleted is gone already."""


def _with_digest(tags: dict[str, Tag], digest: str | None, *first: str | None) -> Tag | None:
    """A tag with this digest: one of the names that are named `first`, else any."""
    named = (tags.get(name_key(name)) for name in first if name)
    every = (tags[key] for key in sorted(tags))
    return next((tag for tag in (*named, *every) if tag is not None and is_same(tag.digest, digest)), None)


def _free(tags: dict[str, Tag], alias: Alias, number: int, digest: str, known: str | None) -> str:
    """A name under which a version can be kept: one that has it, or that nothing has."""
    names: list[str] = [
        *([known] if known else ()),
        kept_name(alias.name, number),
        kept_name(alias.name, number, digest),
    ]
    for name in names:
        there = tags.get(name_key(name))
        if there is not None and is_same(there.digest, digest):
            return name
    for name in names:
        if name_key(name) not in tags:
            return name
    raise _taken(names[-1])


def _taken(name: str) -> BakehouseError:
    return BakehouseError(
        f"`{name}`, which is to keep a version, is another model on that server",
        code="kept_name_taken",
        remedy=f"copy it to another name, and delete `{name}`",
    )
