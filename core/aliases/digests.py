"""Digests as servers and files write them: with the name of the hash, or without."""

from __future__ import annotations


def bare(digest: str | None) -> str | None:
    """A digest without the name of its hash, by which two are compared."""
    return None if digest is None else digest.removeprefix("sha256:")


def is_same(one: str | None, other: str | None) -> bool:
    """Whether two digests are known and are the same."""
    return one is not None and bare(one) == bare(other)
