"""What stands between an adapter and its last file is named with its size, and goes only where nothing needs it."""

from __future__ import annotations

import json
import mmap
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.cli.main import main
from core.files import write_json
from core.intermediates import Intermediate, list_intermediates, remove_intermediate
from core.models.fingerprints import KnownFingerprints, path_fingerprint
from core.process.identity import start_ticks
from core.served.control import remove
from core.served.record import ServedModelRecord, write_record
from core.store.database import transaction
from core.store.fleet import Target, insert_alias, insert_version
from core.store.jobs import JobRow
from core.wording.intermediates import keep_words
from tests.support.kiln import Kiln, kiln

__all__ = ["kiln"]

BYTES = 50_000


@dataclass
class Way:
    """A training's adapter, merged, converted and quantised: the three jobs, and the folders that they made."""

    kiln: Kiln
    merge: JobRow
    convert: JobRow
    quantize: JobRow
    adapter: Path

    def listed(self, **models: str) -> dict[int, Intermediate]:
        return {one.job_id: one for one in list_intermediates(self.kiln.home, self.kiln.connection, models)}

    def folder(self, job: JobRow) -> Path:
        return self.kiln.home.artefacts / f"{job.id:064}"

    def kept(self, job: JobRow, **models: str) -> str | None:
        keep = self.listed(**models)[job.id].keep
        return None if keep is None else keep.code


@pytest.fixture
def way(kiln: Kiln) -> Way:
    adapter = kiln.home.artefacts / f"{kiln.train:064}" / "adapter"
    adapter.mkdir(parents=True)
    made = {"sha256": f"{kiln.train:064}", "kind": "adapter", "path": str(adapter), "bytes": 9, "lineage": {}}
    write_json(kiln.home.run_dir(kiln.train).result, {"schema": 1, "kind": "train", "artefacts": [made]})
    merge, convert, quantize = kiln.export(dtype="fp16", quantization="Q8_0").queued
    for job in (merge, convert, quantize):
        folder = kiln.done(job)
        (folder / "weights").write_bytes(b"x" * BYTES * (4 - job.id + merge.id))
    return Way(kiln, merge, convert, quantize, adapter)


def test_what_others_were_made_of_is_named_and_the_last_file_is_not(way: Way) -> None:
    found = list_intermediates(way.kiln.home, way.kiln.connection)
    assert [(one.job_id, one.kind, one.made) for one in found] == [
        (way.merge.id, "merged", (way.convert.id,)),
        (way.convert.id, "gguf", (way.quantize.id,)),
    ]
    assert all(one.keep is None and one.bytes > 3 * BYTES - 1 for one in found)
    assert found[0].bytes > found[1].bytes


def test_of_what_nothing_was_made_nothing_is_named(kiln: Kiln) -> None:
    merge, _ = kiln.export().queued
    kiln.done(merge)
    assert list_intermediates(kiln.home, kiln.connection) == []


def opened(way: Way, tmp_path: Path) -> Callable[[], None]:
    return (way.folder(way.convert) / "gguf/m.gguf").open("rb").close


def mapped(way: Way, tmp_path: Path) -> Callable[[], None]:
    """As a server has it: the file is closed and its pages stay."""
    with (way.folder(way.convert) / "gguf/m.gguf").open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ).close


def in_a_unit(way: Way, tmp_path: Path) -> Callable[[], None]:
    units = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd/user"
    units.mkdir(parents=True)
    unit = units / "bakehouse-judge.service"
    unit.write_text(f"[Service]\nExecStart=llama-server -m {way.folder(way.convert)}/gguf/m.gguf\n")
    return unit.unlink


def served(way: Way, tmp_path: Path) -> Callable[[], None]:
    """A served model has it, which need not run now."""
    file = way.folder(way.convert) / "gguf/m.gguf"
    home = way.kiln.home
    command = ("/llama-server", "--model", str(file))
    write_record(home, ServedModelRecord("judge", file, "sha256:ab", "judge", "m", 1, command, 18080, 512))
    return lambda: remove(home, "judge")


def served_before(way: Way, tmp_path: Path) -> Callable[[], None]:
    """A deployment that was broken off goes back to it."""
    served(way, tmp_path)
    folder = way.kiln.home.served_dir("judge")
    return folder.record.rename(folder.record_before).unlink


def former_version(way: Way, tmp_path: Path) -> Callable[[], None]:
    """An alias goes back to it without a rebuild."""
    file, connection = way.folder(way.convert) / "gguf/m.gguf", way.kiln.connection
    with transaction(connection):
        alias = insert_alias(connection, server="llama-server", url="", name="judge", name_key="judge")
        insert_version(connection, alias.id, Target("judge-7", "ab", record={"file": str(file)}), "promoted")

    def forgotten() -> None:
        with transaction(connection):
            connection.execute("DELETE FROM aliases")

    return forgotten


def queued(way: Way, tmp_path: Path) -> Callable[[], None]:
    (job,) = way.kiln.export(dtype="fp16", quantization="Q4_K_M").queued
    return lambda: way.kiln.end(job.id, "cancelled")


@pytest.mark.parametrize(
    ("hold", "code"),
    [
        (opened, "open"),
        (mapped, "open"),
        (in_a_unit, "service"),
        (served, "served"),
        (served_before, "served"),
        (former_version, "version"),
        (queued, "needed"),
    ],
)
def test_what_serves_or_is_needed_stays_until_it_is_no_more(
    way: Way, tmp_path: Path, hold: Callable[[Way, Path], Callable[[], None]], code: str
) -> None:
    let_go = hold(way, tmp_path)
    assert (way.kept(way.convert), way.kept(way.merge)) == (code, None)
    keep = way.listed()[way.convert.id].keep
    assert keep is not None and keep_words(keep) and "{" not in keep_words(keep)
    with pytest.raises(SystemExit) as refused:
        main(["runs", "clean", "--intermediates", str(way.convert.id)])
    assert refused.value.code == 1 and way.folder(way.convert).is_dir()
    let_go()
    assert way.kept(way.convert) is None


def test_what_models_yaml_names_stays(way: Way) -> None:
    path = str(way.folder(way.merge) / "merged")
    assert way.kept(way.merge, mine=path) == "named"
    assert way.kept(way.merge, mine=f"{way.folder(way.merge)}-2") is None


def test_what_cannot_be_made_again_stays(way: Way) -> None:
    way.adapter.rmdir()
    assert (way.kept(way.merge), way.kept(way.convert)) == ("not_again", None)  # the merged model is still there
    (merged,) = (one for one in way.listed().values() if one.kind == "merged")
    way.folder(way.merge).rename(way.folder(way.merge).with_name("elsewhere"))
    assert way.kept(way.convert) == "not_again" and merged.keep is not None


def test_what_was_made_of_a_base_that_is_gone_or_another_now_stays(way: Way) -> None:
    base = Path(way.kiln.model.path or "")
    lineage = way.folder(way.merge) / "lineage.json"
    write_json(lineage, {"base_fingerprint": path_fingerprint(base, KnownFingerprints(way.kiln.home))})
    assert way.kept(way.merge) is None
    weights = next(base.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert way.kept(way.merge) == "base_changed"
    base.rename(base.with_name("elsewhere"))
    keep = way.listed()[way.merge.id].keep
    assert keep is not None and keep.code == "not_again" and str(base) in keep_words(keep)
    # The F16 file is made again of the merged model, which is there; without that, of nothing.
    assert way.kept(way.convert) is None
    way.folder(way.merge).rename(way.folder(way.merge).with_name("elsewhere"))
    assert way.kept(way.convert) == "not_again"


def test_a_job_that_was_queued_meanwhile_keeps_what_it_needs(way: Way) -> None:
    listed = way.listed()[way.convert.id]
    assert listed.keep is None
    way.kiln.export(dtype="fp16", quantization="Q4_K_M")
    assert not remove_intermediate(way.kiln.home, way.kiln.connection, listed)
    assert (way.folder(way.convert) / "gguf/m.gguf").is_file()


def test_the_command_lists_without_removing_and_removes_what_may_go(
    way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["runs", "clean", *words])
        assert not left.value.code
        return capsys.readouterr().out

    checkpoints = way.kiln.home.run_dir(way.kiln.train).checkpoints
    checkpoints.mkdir()
    (checkpoints / "w").write_bytes(b"x" * 7000)
    ticks = start_ticks(os.getpid()) or 0
    half, other = (way.kiln.home.artefacts / f".tmp-{os.getpid()}-{start}-gguf" for start in (ticks - 1, ticks))
    for place in (half, other):  # left by a killed job that had this pid; written now
        place.mkdir()
        (place / "half.gguf").write_bytes(b"x" * 3000)
    said = run()
    assert "7 kB  checkpoints" in said and f"of which job {way.quantize.id} made another" in said
    assert "201 kB  merged model" in said and "3 kB  half written by jobs that were killed" in said
    document = json.loads(run("--json"))
    assert [one["job"] for one in document["intermediates"]] == [way.merge.id, way.convert.id]
    assert document["checkpoints"] == [{"job": way.kiln.train, "bytes": 7000}]
    assert way.folder(way.merge).is_dir() and checkpoints.is_dir()
    freed = json.loads(run("--intermediates", "--json"))["freed_bytes"]
    assert document["half_written_bytes"] == 3000
    assert freed == sum(one["bytes"] for one in document["intermediates"]) + 3000
    assert not half.exists() and other.is_dir()
    shutil.rmtree(other)
    assert not way.folder(way.merge).exists() and not way.folder(way.convert).exists()
    assert (way.folder(way.quantize) / "gguf/m.gguf").is_file() and checkpoints.is_dir()
    assert not [path for path in way.kiln.home.artefacts.iterdir() if path.name.startswith(".tmp")]
    again = way.kiln.export(dtype="fp16", quantization="Q6_K").queued
    assert [job.kind for job in again] == ["merge", "convert", "quantize"]


def test_what_comes_to_serve_while_it_is_removed_stays(way: Way, tmp_path: Path) -> None:
    one = way.listed()[way.convert.id]
    assert one.keep is None
    served(way, tmp_path)
    assert not remove_intermediate(way.kiln.home, way.kiln.connection, one)
    assert one.path.is_dir()
