"""Words for what can be made again, and why some of it stays."""

from __future__ import annotations

from core.reasons import Reason

INTERMEDIATES = {"merged": "merged model", "gguf": "GGUF file"}
_KEEP = {
    "needed": "job {job} needs it",
    "open": "{process} has it open (pid {pid})",
    "served": "{name} serves from it",
    "version": "version {number} of the alias {alias} serves from it",
    "service": "the service {unit} starts with it",
    "named": "models.yaml names it as {model}",
    "not_again": "it cannot be made again, {source} is gone",
    "base_changed": "it cannot be made again, {source} holds other weights now",
}


def keep_words(reason: Reason) -> str:
    """`job 12 needs it`."""
    return _KEEP[reason.code].format(**reason.values)
