"""Python's own parser, for one thread at a time."""

from __future__ import annotations

import ast
import threading
from typing import Any

# Before 3.11.9 and 3.12.3 the interpreter counts the depth of all trees that are being made in one place: where one thread
# parses while another one does, either can fail with `SystemError: AST constructor recursion depth mismatch` (gh-106905).
_ONE_AT_A_TIME = threading.RLock()


def parsed(code: str) -> ast.Module:
    """The tree of a file. Raises what `ast.parse` does: `SyntaxError`, `ValueError`, `RecursionError`, `MemoryError`."""
    with _ONE_AT_A_TIME:
        return ast.parse(code)


def literal(text: str) -> Any:
    """The value that a literal stands for. Raises what `ast.literal_eval` does: the same."""
    with _ONE_AT_A_TIME:
        return ast.literal_eval(text)
