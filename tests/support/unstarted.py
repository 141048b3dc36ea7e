"""A home in which jobs are queued and none is started: no runner, no GPU, no server, and tools that are files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.needs import need


def start_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below `folder` lie the home (`home`), the settings (`config`) and what is taken for llama.cpp's tools."""
    need("torch")  # without it no training is accepted
    tools = folder / "llama.cpp/build/bin"
    tools.mkdir(parents=True)
    for name in ("llama-server", "llama-quantize"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)
    (folder / "llama.cpp/convert_hf_to_gguf.py").touch()
    for variable, value in {
        "LLAMA_CPP_DIR": folder / "llama.cpp",
        "XDG_CONFIG_HOME": folder / "config",
        "BAKEHOUSE_HOME": folder / "home",
        "BAKEHOUSE_GPU_SOURCE": "none",
        "OLLAMA_HOST": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.cli.submitted.warn_of_launcher", lambda home: None)  # it asks a program
