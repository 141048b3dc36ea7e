"""Who a process belongs to."""

from __future__ import annotations

import os


def user_name() -> str:
    """Who this process belongs to, for people to read: a name, or `uid 1234` where a container has no entry for the user."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"
