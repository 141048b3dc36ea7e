"""A program of llama.cpp that a test can have stand still with half a file written."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from core.models.llama_cpp import Tool
from tests.support.llama_cpp import llama_cpp

HALF = "half"
# In place of llama.cpp's programs: hands out what the real one made, or half of that and stands still, or is the real one.
TOOL = """
import os, shutil, signal, sys
how, real, made = open({file!r}).read().split("\\n")
if how == "real":
    words = [*[sys.executable] * real.endswith(".py"), real, *sys.argv[1:]]
    os.execv(words[0], words)
out = sys.argv[sys.argv.index("--outfile") + 1] if "--outfile" in sys.argv else sys.argv[2]
shutil.copy(made, out)
if how == {half!r}:
    os.truncate(out, os.path.getsize(out) // 2)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@dataclass
class HaltingTool:
    """A program of llama.cpp that the test can have stop half-way. `made` is what the real one made."""

    script: Path
    real: Path

    def does(self, how: str, made: Path) -> None:
        self.script.with_suffix(".how").write_text(f"{how}\n{self.real}\n{made}")

    @classmethod
    def of(cls, folder: Path, which: Tool) -> HaltingTool:
        real = llama_cpp().require(which)
        script = folder / real.name
        text = TOOL.format(half=HALF, file=str(script.with_suffix(".how")))
        script.write_text(text if real.suffix == ".py" else f"#!{sys.executable}\n{text}")
        script.chmod(0o755)
        return cls(script, real)
