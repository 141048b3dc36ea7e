"""Finding llama.cpp: three ways to name it, the layouts in which people have it, and one error where a tool is nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.models.llama_cpp import LlamaCpp, converter_command, converter_version, version_in

PROGRAMS = ("llama-server", "llama-quantize")
SCRIPT = "convert_hf_to_gguf.py"


def program(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("#!/bin/sh\n")
    place.chmod(0o755)
    return place


def script(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCRIPT).write_text("import torch\n")
    return folder / SCRIPT


def source_tree(root: Path) -> Path:
    """A source tree with its build, as `cmake -B build` leaves it."""
    for name in PROGRAMS:
        program(root / "build" / "bin" / name)
    script(root)
    return root


@pytest.mark.parametrize("below", ["", "build", "build/bin"])
def test_a_source_tree_is_understood_from_any_of_its_folders(tmp_path: Path, below: str) -> None:
    tree = source_tree(tmp_path / "llama.cpp")
    found = LlamaCpp.find(str(tree / below), {"PATH": ""})
    assert found.require("llama-server") == tree / "build/bin/llama-server"
    assert found.require("llama-quantize") == tree / "build/bin/llama-quantize"
    assert found.require("converter") == tree / SCRIPT


@pytest.mark.parametrize("folder", ["", "bin", "build/bin"])
def test_a_release_is_understood_as_it_was_unpacked(tmp_path: Path, folder: str) -> None:
    for name in PROGRAMS:
        program(tmp_path / "release" / folder / name)
    found = LlamaCpp.find(str(tmp_path / "release"), {"PATH": ""})
    assert found.require("llama-server") == tmp_path / "release" / folder / "llama-server"
    assert found.converter is None


def test_the_setting_goes_before_the_variable_and_that_before_path_for_each_tool(tmp_path: Path) -> None:
    release, tree, path = tmp_path / "release", source_tree(tmp_path / "tree"), tmp_path / "usr/bin"
    program(release / "llama-server")
    for name in PROGRAMS:
        program(path / name)
    found = LlamaCpp.find(str(release), {"LLAMA_CPP_DIR": str(tree), "PATH": str(path)})
    assert found.server is not None and found.quantize is not None
    assert (found.server.path, found.server.way) == (release / "llama-server", "llama_cpp.folder")
    assert (found.quantize.path, found.quantize.way) == (tree / "build/bin/llama-quantize", "LLAMA_CPP_DIR")
    found = LlamaCpp.find(None, {"PATH": str(path)})
    assert found.server is not None and (found.server.path, found.server.way) == (path / "llama-server", "PATH")


def test_a_build_that_is_linked_onto_path_brings_the_script_of_its_tree(tmp_path: Path) -> None:
    tree = source_tree(tmp_path / "llama.cpp")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/llama-quantize").symlink_to(tree / "build/bin/llama-quantize")
    found = LlamaCpp.find(None, {"PATH": str(tmp_path / "bin")})
    assert found.require("converter") == tree / SCRIPT
    assert found.server is None


def test_a_command_of_a_python_package_runs_by_itself_and_a_script_by_the_interpreter_of_jobs(tmp_path: Path) -> None:
    installed = program(tmp_path / "llama-convert-hf-to-gguf")
    found = LlamaCpp.find(None, {"PATH": str(tmp_path)})
    assert converter_command(found.require("converter"), "/env/bin/python") == [str(installed)]
    assert converter_command(script(tmp_path), "/env/bin/python") == ["/env/bin/python", str(tmp_path / SCRIPT)]


@pytest.mark.parametrize("tool", ["llama-server", "llama-quantize", "converter"])
def test_a_tool_that_is_nowhere_is_one_error_with_the_three_ways(tmp_path: Path, tool: str) -> None:
    with pytest.raises(InputError) as caught:
        LlamaCpp.find(None, {"PATH": str(tmp_path)}).require(tool)  # type: ignore[arg-type]
    assert caught.value.code == "no_llama_cpp"
    assert all(way in (caught.value.remedy or "") for way in ("llama_cpp: {folder", "LLAMA_CPP_DIR", "PATH"))


@pytest.mark.parametrize("setting, environ, key", [
    ("gone", {}, "llama_cpp.folder"),
    (None, {"LLAMA_CPP_DIR": "gone"}, "LLAMA_CPP_DIR"),
])  # fmt: skip
def test_a_place_that_is_named_and_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str | None, environ: dict[str, str], key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        LlamaCpp.find(setting, {"PATH": "", **environ})
    assert caught.value.key == key


def test_a_program_that_may_not_be_run_is_not_taken(tmp_path: Path) -> None:
    program(tmp_path / "llama-server").chmod(0o644)
    assert LlamaCpp.find(str(tmp_path), {"PATH": ""}).server is None


def test_two_converters_are_told_apart_by_their_code(tmp_path: Path) -> None:
    converter = script(tmp_path)
    before = converter_version(converter)
    (tmp_path / "conversion").mkdir()
    (tmp_path / "conversion/llama.py").write_text("new = True\n")
    assert converter_version(converter) != before


@pytest.mark.parametrize("said, version", [
    ("version: 0.6.0-dev (build 0, commit unknown)\nbuilt with GNU 12.2.0\n", "0.6.0-dev (build 0, commit unknown)"),
    ("ggml_cuda_init: found 1 device\nversion: 5921 (abc1234)\n", "5921 (abc1234)"),
    ("main: build = 4000 (0123abc)\nmain: built with cc\n", "4000 (0123abc)"),
    ("llama-server: error while loading shared libraries: libllama.so\n", None),
])  # fmt: skip
def test_the_version_of_old_and_new_tools_is_read(said: str, version: str | None) -> None:
    assert version_in(said) == version
