"""Marks of training in a chat template: `{% generation %}` says which part carries loss. transformers knows the word, servers
do not; a template with it is refused by some and makes llama-cpp-python fail as a whole."""

from __future__ import annotations

import re

_MARK = r"\{%([-+]?)\s*(?:end)?generation\s*([-+]?)%\}"
_COMMENT_OR_MARK = re.compile(rf"(?s:\{{#.*?#\}})|{_MARK}")


def first_training_mark(template: str) -> str | None:
    """The first mark as it is written, comments included; None where there is none."""
    found = re.search(_MARK, template)
    return None if found is None else found[0]


def has_training_marks(template: str) -> bool:
    return first_training_mark(template) is not None


def without_training_marks(template: str) -> str:
    """The template without its marks. In the place of each is an empty comment that keeps or cuts the white space around it
    as the mark did; from comments, in which templates speak of their marks, these are only taken out."""

    def instead(match: re.Match[str]) -> str:
        return re.sub(_MARK, "", match[0]) if match[0].startswith("{#") else f"{{#{match[1]}{match[2]}#}}"

    return _COMMENT_OR_MARK.sub(instead, template)
