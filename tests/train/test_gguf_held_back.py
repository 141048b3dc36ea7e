"""Conversions and quantisations under tools, disks and files that fail them: one clear error, and nothing half done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config.model import ModelEntry
from core.files import read_json, sha256_file, write_atomic
from core.home import Home, RunDir
from core.jobfile.convert import ConvertSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.models.gguf import check_servable
from core.models.gguf_rewrite import with_text
from core.models.llama_cpp import LlamaCpp
from core.own_paths import read_result
from core.shipping.gguf_template import KEY
from tests.support.forked import CHECKOUT
from tests.support.held_job import Hold
from tests.support.llama_cpp import convertible_model, llama_cpp
from tests.support.workshop import Workshop, events, wait_until
from tests.train.test_gguf_proof import random_adapter

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def tools() -> LlamaCpp:
    return llama_cpp()


@pytest.fixture(scope="module")
def model(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    return convertible_model(model_cache, tmp_path_factory.mktemp("convertible"))


@pytest.fixture
def shop(model: ModelEntry, tmp_path: Path) -> Iterator[Workshop]:
    """A home whose path has blanks, a quote and letters that are not ASCII in it."""
    made = Workshop(Home(tmp_path / "Bäcker's höme 面包").create(), model, forked=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(model: ModelEntry, tools: LlamaCpp, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as a GGUF file in full precision that no job has made."""
    made = Workshop(Home(tmp_path_factory.mktemp("home")).create(), model, forked=True)
    run = made.submit(1, convert(tools, model))
    assert made.finish(run) == 0, run.attempt(1).log.read_text()
    return Path((read_result(run) or {})["summary"]["path"])


def convert(tools: LlamaCpp, model: ModelEntry, converter: Path | None = None) -> ConvertSpec:
    return ConvertSpec(model=model, format="f32", converter=str(converter or tools.require("converter")))


def quantize(tools: LlamaCpp, source: Path, program: Path | None = None) -> QuantizeSpec:
    return QuantizeSpec(source=str(source), program=str(program or tools.require("llama-quantize")))


def a_copy(model: ModelEntry, folder: Path) -> ModelEntry:
    shutil.copytree(model.path or "", folder)
    return model.model_copy(update={"path": str(folder)})


def copying(folder: Path, made: Path, before: str = "", after: str = "") -> Path:
    """A converter that hands out what the real one made of the model, so that it need not work again; and that does something
    before or after it. `out` is the file, `source` the model."""
    script = folder / "convert_hf_to_gguf.py"
    script.write_text(
        "import os, shutil, sys\n"
        "words = sys.argv[1:]\n"
        "out, source = words[words.index('--outfile') + 1], words[0]\n"
        f"{before}\nshutil.copy({str(made)!r}, out)\n{after}\n"
    )
    return script


def error_of(run: RunDir) -> dict[str, str]:
    found: dict[str, str] = read_json(run.attempt(1).error_json)
    assert "\n" not in found["message"]
    return found


def nothing_is_left(shop: Workshop, run: RunDir) -> bool:
    return not list(shop.home.artefacts.iterdir()) and not run.result.exists()


TOOLS = {
    "no file": ("sys.exit(0)", "", "no_output"),
    "a folder": ("os.mkdir(out); sys.exit(0)", "", "no_output"),
    "half a file": ("", "os.truncate(out, os.path.getsize(out) // 2)", "bad_model"),
    "another type": ("", "shutil.copy(os.environ['ANOTHER_TYPE'], out)", "other_output"),
    "its source is gone": ("shutil.rmtree(source); sys.exit(1)", "", "source_changed"),
    "a weight file is gone": ("os.remove(source + '/model.safetensors'); sys.exit(1)", "", "source_changed"),
    "its source is another": ("", "open(source + '/config.json', 'a').write(' ')", "source_changed"),
    "killed": ("os.kill(os.getpid(), 9)", "", "tool_failed"),
}


@pytest.mark.parametrize("what", TOOLS)
def test_a_converter_that_does_not_do_its_work_leaves_one_line(
    shop: Workshop,
    tools: LlamaCpp,
    model: ModelEntry,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    before, after, code = TOOLS[what]
    if what == "another type":
        half = tmp_path / "half.gguf"
        program = tools.require("llama-quantize")
        subprocess.run([program, whole, half, "F16"], check=True, capture_output=True)
        monkeypatch.setenv("ANOTHER_TYPE", str(half))
    script = copying(tmp_path, whole, before, after)
    run = shop.submit(1, convert(tools, a_copy(model, tmp_path / "model"), script))
    assert shop.finish(run) != 0
    error = error_of(run)
    assert error["code"] == code
    assert what != "killed" or error["message"] == "convert_hf_to_gguf.py was ended by SIGKILL"
    assert nothing_is_left(shop, run)


def test_paths_in_any_script_come_through(shop: Workshop, tools: LlamaCpp, model: ModelEntry, tmp_path: Path) -> None:
    run = shop.submit(1, convert(tools, a_copy(model, tmp_path / "-ein 'Modell' & 模型")))
    assert shop.finish(run) == 0, run.attempt(1).log.read_text()
    made = Path((read_result(run) or {})["summary"]["path"])
    assert check_servable(made, "made").keys["general.name"] == model.name
    small = shop.submit(2, quantize(tools, made))
    assert shop.finish(small) == 0, small.attempt(1).log.read_text()
    assert check_servable(Path((read_result(small) or {})["summary"]["path"]), "made").file_type == 7


def test_a_model_that_the_converter_does_not_know_is_named(
    shop: Workshop, tools: LlamaCpp, model: ModelEntry, tmp_path: Path
) -> None:
    other = a_copy(model, tmp_path / "other")
    config = Path(other.path or "") / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": ["BaguetteForCausalLM"]}))
    run = shop.submit(1, convert(tools, other))
    assert shop.finish(run) == 1
    error = error_of(run)
    assert error["code"] == "tool_failed" and "BaguetteForCausalLM" in error["message"]
    assert nothing_is_left(shop, run)


def test_a_model_without_a_tokenizer_is_refused_before_the_tool(
    shop: Workshop, tools: LlamaCpp, model: ModelEntry, tmp_path: Path
) -> None:
    bare = a_copy(model, tmp_path / "bare")
    for file in Path(bare.path or "").glob("*token*"):
        file.unlink()
    run = shop.submit(1, convert(tools, bare))
    assert shop.finish(run) == 2
    assert error_of(run)["code"] == "no_tokenizer"
    assert nothing_is_left(shop, run)


def test_two_jobs_that_make_the_same_file_at_once_both_have_it(
    shop: Workshop, tools: LlamaCpp, model: ModelEntry, whole: Path, tmp_path: Path
) -> None:
    """Both are held where their files are whole, and let go on together."""
    runs = [shop.submit(number, convert(tools, model, copying(tmp_path, whole))) for number in (1, 2)]
    held = [shop.start(run, hold=Hold("phase", "name", "checking")) for run in runs]
    for run, process in zip(runs, held, strict=True):
        wait_until(lambda run=run: any(one["name"] == "checking" for one in events(run, 1, "phase")), process)
    for run in runs:
        write_atomic(run.attempt(1).path / "go-on", "1000000", durable=False)
    assert [shop.ended(process) for process in held] == [0, 0], [run.attempt(1).log.read_text() for run in runs]
    results = [read_result(run) or {} for run in runs]
    assert len({result["summary"]["path"] for result in results}) == 1
    file = Path(results[0]["summary"]["path"])
    assert sha256_file(file) == results[0]["summary"]["file_sha256"] == results[1]["summary"]["file_sha256"]
    assert len(list(shop.home.artefacts.iterdir())) == 1


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_file_that_was_lost_or_damaged_is_made_again_in_its_place(
    shop: Workshop, tools: LlamaCpp, model: ModelEntry, whole: Path, tmp_path: Path, damage: str
) -> None:
    first = shop.submit(1, convert(tools, model, copying(tmp_path, whole)))
    assert shop.finish(first) == 0
    summary = (read_result(first) or {})["summary"]
    file = Path(summary["path"])
    if damage == "gone":
        file.unlink()
    else:
        os.truncate(file, 1000)
    again = shop.submit(2, convert(tools, model, copying(tmp_path, whole)))
    assert shop.finish(again) == 0, again.attempt(1).log.read_text()
    assert sha256_file(file) == summary["file_sha256"] == (read_result(again) or {})["summary"]["file_sha256"]
    assert len(list(shop.home.artefacts.iterdir())) == 1


# --- disks, as the kernel has them: in a mount namespace of the job's own


def in_a_namespace(mounts: str, run: RunDir) -> subprocess.CompletedProcess[bytes]:
    """Run a job behind mounts that only it sees."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine gives no mount namespace")
    attempt = run.attempt(1)
    attempt.path.mkdir()
    script = f'{mounts}\nexec "$PYTHON" -P -m jobs "$RUN"'
    env = {**os.environ, "BAKEHOUSE_ATTEMPT": "1", "PYTHONPATH": str(CHECKOUT), "PYTHON": sys.executable}
    env |= {"RUN": str(run.path), "ARTEFACTS": str(run.home.artefacts)}
    with attempt.log.open("wb") as log:
        return subprocess.run(["unshare", "-rm", "sh", "-ec", script], stdout=log, stderr=log, env=env, cwd=run.path)


def filling(tools: LlamaCpp, folder: Path, left: str) -> Path:
    """A quantiser that begins when another program has filled the disk but for so much."""
    program = folder / "llama-quantize"
    real = tools.require("llama-quantize")
    program.write_text(
        "#!/bin/sh\n"
        'free=$(df --output=avail -B1 "$(dirname "$2")" | tail -1)\n'
        f'fallocate -l $((free - {left})) "$(dirname "$2")/../../filler"\n'
        f'exec "{real}" "$@"\n'
    )
    program.chmod(0o755)
    return program


def test_a_disk_that_is_too_small_is_told_before_and_one_that_fills_up_in_the_middle(
    shop: Workshop, tools: LlamaCpp, whole: Path, tmp_path: Path
) -> None:
    """llama-quantize itself only says `iostream error`."""
    small = shop.submit(1, quantize(tools, whole))
    assert in_a_namespace('mount -t tmpfs -o size=50m tmpfs "$ARTEFACTS"', small).returncode == 1
    error = error_of(small)
    assert error["code"] == "disk_full" and "are needed" in error["message"]
    # Where marks of training are taken out the file exists twice for a while: room for one is not enough.
    with_text(whole, marked := tmp_path / "marked.gguf", KEY, "{% generation %}x{% endgeneration %}")
    for number, file, code in ((3, whole, 0), (4, marked, 1)):
        run = shop.submit(number, quantize(tools, file))
        assert in_a_namespace('mount -t tmpfs -o size=205000000 tmpfs "$ARTEFACTS"', run).returncode == code
    assert error_of(run)["code"] == "disk_full" and "are needed" in error_of(run)["message"]
    full = shop.submit(2, quantize(tools, whole, filling(tools, tmp_path, "1000000")))
    assert in_a_namespace('mount -t tmpfs -o size=300m tmpfs "$ARTEFACTS"', full).returncode == 1
    error = error_of(full)
    assert (error["code"], error["message"]) == ("disk_full", "llama-quantize: no space left on the disk")


def test_no_step_takes_a_file_for_whole_that_the_system_broke_off(
    shop: Workshop, tools: LlamaCpp, model: ModelEntry, whole: Path, tmp_path: Path
) -> None:
    """By a limit on the size of files, which merge, converter and quantiser meet in the middle of writing."""
    random_adapter(model, tmp_path / "adapter", 0.05)
    merge = MergeSpec(adapter=str(tmp_path / "adapter"), model=model, dtype="fp32")
    run = shop.submit(1, merge)
    assert in_a_namespace('mount -t tmpfs -o size=50m tmpfs "$ARTEFACTS"', run).returncode == 1
    error = error_of(run)
    assert error["code"] == "disk_full" and "are needed" in error["message"], "a merge is refused before it begins"
    for number, spec in enumerate((merge, convert(tools, model), quantize(tools, whole)), 2):
        run = shop.submit(number, spec)
        assert in_a_namespace("ulimit -f 2048", run).returncode == 1, spec.kind
        error = error_of(run)
        assert error["code"] == "file_size_limit" and "ulimit -f unlimited" in error["remedy"], (spec.kind, error)
        assert list(run.home.artefacts.iterdir()) == [] and not run.result.exists()


def test_artefacts_that_cannot_be_written_are_told_with_their_folder(
    shop: Workshop, tools: LlamaCpp, whole: Path
) -> None:
    run = shop.submit(1, quantize(tools, whole))
    mounts = 'mount --bind "$ARTEFACTS" "$ARTEFACTS"; mount -o remount,ro,bind "$ARTEFACTS"'
    assert in_a_namespace(mounts, run).returncode == 1
    error = error_of(run)
    assert str(run.home.artefacts) in json.dumps(error, ensure_ascii=False) and "ead-only" in error["message"]


def test_a_tool_that_does_not_say_its_version_is_known_by_its_hash(
    shop: Workshop, tools: LlamaCpp, whole: Path, tmp_path: Path
) -> None:
    program = tmp_path / "llama-quantize"
    program.write_text(f'#!/bin/sh\n"{tools.require("llama-quantize")}" "$@" >/dev/null 2>&1\n')
    program.chmod(0o755)
    run = shop.submit(1, quantize(tools, whole, program))
    assert shop.finish(run) == 0, run.attempt(1).log.read_text()
    lineage = (read_result(run) or {})["artefacts"][0]["lineage"]
    assert lineage["tool"]["version"] == f"sha256:{sha256_file(program)}"
    assert lineage["source_sha256"] == sha256_file(whole), "of a file that no job of this home made, too"
