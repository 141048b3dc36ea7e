"""GGUF files with another header, by the `gguf` package's own tools: as a person changes them by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ADD_BOS = "add-bos"
"""Beside the tool's options: the file's tokenizer puts the beginning of a text in front."""


def rewritten(file: Path, place: Path, *changes: str) -> Path:
    """The file with another header; `changes` are the options of `gguf_new_metadata`."""
    from gguf import GGUFReader

    options = [one for one in changes if one != ADD_BOS]
    command = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", str(file), str(place), "--force", *options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TQDM_DISABLE": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    if ADD_BOS in changes:
        field = GGUFReader(place, "r+").get_field("tokenizer.ggml.add_bos_token")
        assert field is not None
        field.parts[field.data[0]][0] = True
    return place
