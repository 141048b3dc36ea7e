"""A home can be moved at any moment between jobs: what is in it is named by its place in it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.home import Home
from core.jobfile.kinds import KINDS
from core.models.files import hub_copy, hub_record
from core.own_paths import located, stored, stored_result
from tests.support.depth import example_count
from tests.support.moving import Moved, copy, copy_and_keep, rename

WORK = {
    "train": Moved.train,
    "merge": Moved.merge,
    "bake off": Moved.bake_off,
    "convert": Moved.convert,
    "convert_lora": Moved.convert_lora,
    "quantize": Moved.quantize,
}
MOVES = {"mv": rename, "rsync": copy, "rsync and keep": copy_and_keep}
ACTS = [*WORK, *MOVES, "an older Bakehouse"]


@settings(max_examples=example_count(8))
@given(st.booleans(), st.lists(st.sampled_from(ACTS), max_size=6))
@example(False, ["an older Bakehouse", "mv", "an older Bakehouse"])
@example(True, ["an older Bakehouse", "rsync and keep", "an older Bakehouse"])
def test_whatever_was_made_is_found_wherever_the_home_is_moved(linked: bool, acts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Moved(Path(folder), linked=linked)
        older = False
        for act in ["train", "bake off", *acts, "mv"]:
            if act in WORK:
                WORK[act](home)
            elif act in MOVES:
                home.move(MOVES[act])
            else:
                home.as_before_schema_5()
                older = True
            if act not in WORK:
                home.check()
        assert older or not home.names_of_former_places()


@pytest.mark.parametrize("way", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("linked", [False, True])
def test_a_home_of_an_older_bakehouse_is_found_though_it_was_moved_before_the_upgrade(
    tmp_path: Path, way: object, linked: bool
) -> None:
    home = Moved(tmp_path, linked=linked)
    home.train()
    home.bake_off()
    home.as_before_schema_5()
    home.move(way)  # type: ignore[arg-type]
    home.move(way)  # type: ignore[arg-type]
    home.check()
    home.merge()
    home.check()


def test_an_artefact_whose_job_file_is_gone_is_known_by_its_hash(tmp_path: Path) -> None:
    home = Moved(tmp_path, linked=False)
    home.train()
    home.as_before_schema_5()
    home.home.run_dir(1).job_file.unlink()
    home.move(rename)
    from core.store.database import open_database
    from core.store.results import list_artefacts

    (row,) = list_artefacts(open_database(home.home), home.home)
    assert (row.path / "weights").read_text() == home.weights[1]


@pytest.mark.parametrize("name", ["home", "with blank and é", "home:odd", "quote'\"\nline"])
@pytest.mark.parametrize("path", ["artefacts/ab/adapter", "inputs/x y.jsonl", "a/home:b"])
def test_what_lies_in_the_home_is_stored_by_its_place_there(tmp_path: Path, name: str, path: str) -> None:
    home, other = Home(tmp_path / name), Home(tmp_path / "elsewhere" / name)
    kept = stored(home, home.root / path)
    assert kept == f"home:{path}"
    assert located(other, kept) == str(other.root / path)


@pytest.mark.parametrize("path", ["/models/smol", "/home/anna/homework/x", "relative/x", "", "job:12/adapter"])
def test_what_lies_elsewhere_stays_as_it_is(path: str) -> None:
    home = Home(Path("/home/anna/home"))
    assert stored(home, path) == located(home, path) == located(home, path, "/former") == path


def test_a_link_to_the_home_is_the_home(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert stored(Home(tmp_path / "link"), (tmp_path / "disk").resolve() / "runs/1") == "home:runs/1"


def test_a_result_keeps_what_is_no_path(tmp_path: Path) -> None:
    home = Home(tmp_path)
    result = {
        "message": f"{tmp_path}/x",
        "artefacts": [{"path": f"{tmp_path}/a", "sha256": "0"}, "odd"],
        "summary": None,
    }
    assert stored_result(home, result) == {**result, "artefacts": [{"path": "home:a", "sha256": "0"}, "odd"]}


def test_a_pulled_model_in_the_home_s_cache_moves_along(tmp_path: Path) -> None:
    from core.config.model import ModelEntry
    from core.files import write_json

    entry = ModelEntry(name="m", hub="owner/m")
    home, moved = Home(tmp_path / "a").create(), Home(tmp_path / "b")
    folder = home.cache / "hub/snapshots/c0ffee"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    hub_record(home, entry).parent.mkdir(parents=True)
    write_json(hub_record(home, entry), {"hub": "owner/m", "commit": "c0ffee", "folder": stored(home, folder)})
    home.root.rename(moved.root)
    found = hub_copy(moved, entry)
    assert found is not None and found.folder == moved.cache / "hub/snapshots/c0ffee"


def test_every_kind_of_job_is_tried() -> None:
    """A kind that makes artefacts, or reads copies, belongs into `tests.support.moving`."""
    assert {kind.name for kind in KINDS.values() if kind.makes} <= {
        "train",
        "merge",
        "convert",
        "convert_lora",
        "quantize",
        "pack",
    }
