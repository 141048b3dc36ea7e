"""The models that were unloaded for a job, in the file that outlives the runner."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.gpu_lease.evicted_models import EvictedModel, EvictedModels, read_evicted_models, unreadable_files
from core.serving.replies import Resident

JUDGE = EvictedModel("judge:v1", 8192, 240.5, "sha256:aa")
PLANNER = EvictedModel("planner:v1", 4096, -1.0, None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "evicted_models.json"


def test_what_went_is_known_to_the_next_runner_until_it_is_back(file: Path) -> None:
    models = EvictedModels(file)
    assert not models and not file.exists()
    models.add(JUDGE)
    models.add(PLANNER)
    models.add(EvictedModel("judge:v1", 2048, 1.0))
    assert EvictedModels(file).models == (JUDGE, PLANNER), "as it was first, not as it was seen again"
    models.rename("judge:v1", "judge:latest")
    models.drop("planner:v1")
    assert EvictedModels(file).names == ("judge:latest",)
    assert EvictedModels(file).models[0].context_length == 8192
    models.drop("judge:latest")
    assert not models and not file.exists()


def test_another_tag_of_what_is_noted_is_not_noted_beside_it(file: Path) -> None:
    """Both are one model in memory, and one comes back."""
    models = EvictedModels(file)
    models.add(JUDGE)
    models.rename("judge:v1", "judge-2:v1")
    models.add(JUDGE)
    models.add(PLANNER)
    models.add(EvictedModel("seeder:v1"))
    assert models.names == ("judge-2:v1", "planner:v1", "seeder:v1"), "two of which nothing is known are two"


def test_a_service_that_was_stopped_is_not_forgotten_though_it_held_no_model(file: Path) -> None:
    EvictedModels(file).note_service(True)
    later = EvictedModels(file)
    assert later and later.stopped and later.models == ()
    later.note_service(False)
    assert not file.exists()


def test_a_name_that_is_no_utf_8_comes_back_as_it_was(file: Path) -> None:
    EvictedModels(file).add(EvictedModel("judge\udcff:v1"))
    assert EvictedModels(file).names == ("judge\udcff:v1",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0" * 300,
        "\xff",
        "[]",
        "{}",
        '{"models": 3}',
        '{"models": {}}',
        '{"models": [3]}',
        '{"models": [{"name": 3}]}',
        '{"models": [{"name": ""}]}',
        '{"models": [{"blob": "x"}]}',
        '{"models": [{"name": "judge", "keep_alive_seconds": NaN}]}',
        '{"models": [{"name": "judge", "keep_alive_seconds": "long"}]}',
        '{"models": [{"name": "judge", "context_length": "8k"}]}',
        '{"models": [], "service_stopped": "yes"}',
        '{"models": [], "schema": 2}',
        "[" * 100_000,
    ],
)
def test_a_file_that_cannot_be_read_is_kept_beside_and_does_not_count_as_empty(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    assert not read_evicted_models(file).whole
    models = EvictedModels(file)
    assert not models and not file.exists()
    (aside,) = unreadable_files(file)
    assert aside.read_bytes() == text.encode("latin-1")
    models.add(JUDGE)
    assert EvictedModels(file).models == (JUDGE,), "life goes on"
    assert unreadable_files(file) == (aside,), "and the other file stays until somebody has looked at it"


def test_what_can_be_read_of_it_is_saved(file: Path) -> None:
    file.write_text(json.dumps({"schema": 1, "models": [asdict(JUDGE), {"name": 3}, asdict(PLANNER)]}))
    assert EvictedModels(file).models == (JUDGE, PLANNER)
    assert len(unreadable_files(file)) == 1
    assert EvictedModels(file).models == (JUDGE, PLANNER)
    assert len(unreadable_files(file)) == 1


def test_none_of_several_such_files_is_lost(file: Path) -> None:
    for text in ("one", "two", "three"):
        file.write_text(text)
        EvictedModels(file)
    assert sorted(path.read_text() for path in unreadable_files(file)) == ["one", "three", "two"]


def test_something_else_in_its_place_is_moved_aside_too(file: Path) -> None:
    file.mkdir()
    EvictedModels(file).add(JUDGE)
    assert EvictedModels(file).models == (JUDGE,)
    assert unreadable_files(file)[0].is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_nothing_can_be_moved_nothing_is_evicted(file: Path) -> None:
    file.write_text("not JSON")
    file.parent.chmod(0o500)
    try:
        models = EvictedModels(file)
        with pytest.raises(OSError):
            models.add(JUDGE)
        with pytest.raises(OSError):
            models.load()
    finally:
        file.parent.chmod(0o700)
    models.add(JUDGE)
    assert EvictedModels(file).models == (JUDGE,) and len(unreadable_files(file)) == 1


def test_a_command_that_only_looks_changes_nothing(file: Path) -> None:
    file.write_text("not JSON")
    assert not read_evicted_models(file).whole
    assert file.read_text() == "not JSON" and unreadable_files(file) == ()
    file.unlink()
    assert read_evicted_models(file).whole


def test_a_model_is_known_by_its_weights_under_another_tag() -> None:
    other = Resident("judge-2:latest", "d", 1, 1, 8192, None)
    assert JUDGE.is_resident(other, "sha256:aa") and not JUDGE.is_resident(other, "sha256:bb")
    assert not PLANNER.is_resident(other, None), "two that are not known are not the same"
    assert PLANNER.is_resident(Resident("planner:v1", None, 1, 1, None, None), None)


def a_value() -> st.SearchStrategy[object]:
    leaves = st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=8)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    )


MODEL_LIKE = st.fixed_dictionaries(
    {}, optional={name: a_value() for name in ("name", "context_length", "keep_alive_seconds", "blob", "other")}
)
ANYTHING = st.one_of(
    st.binary(max_size=200),
    a_value().map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"models": st.lists(MODEL_LIKE, max_size=4)}, optional={"schema": a_value(), "service_stopped": a_value()}
    ).map(lambda value: json.dumps(value).encode()),
)


def nothing_is_lost(content: bytes) -> None:
    """All models that a file names are known, or the file is kept beside and told of."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "evicted_models.json"
        file.write_bytes(content)
        found = read_evicted_models(file)
        models = EvictedModels(file)
        assert models.models == found.models and models.stopped == found.service_stopped
        asides = unreadable_files(file)
        assert bool(asides) == (not found.whole)
        assert all(aside.read_bytes() == content for aside in asides)
        if found.whole:
            document = json.loads(content)
            assert len(found.models) == len(document["models"])
        models.add(EvictedModel("one-more:v1"))
        assert "one-more:v1" in EvictedModels(file).names
        assert unreadable_files(file) == asides, "what was saved of it is whole"


@given(ANYTHING)
def test_whatever_stands_in_the_file_no_model_is_forgotten(content: bytes) -> None:
    nothing_is_lost(content)


@given(st.data())
def test_a_file_that_was_torn_or_damaged_anywhere_is_not_taken_for_an_empty_one(data: st.DataObject) -> None:
    whole = json.dumps({"schema": 1, "service_stopped": False, "models": [asdict(JUDGE), asdict(PLANNER)]}).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    torn = (
        whole[:at]
        if data.draw(st.booleans())
        else whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    )
    nothing_is_lost(torn)


@pytest.mark.parametrize(
    "kept",
    [
        {"keep_alive_seconds": 10**400},
        {"keep_alive_seconds": True},
        {"context_length": True},
        {"context_length": 10**30},
    ],
)
def test_a_number_that_no_server_takes_is_no_model(file: Path, kept: dict[str, object]) -> None:
    file.write_text(json.dumps({"schema": 1, "models": [{"name": "judge", **kept}]}))
    assert EvictedModels(file).models == () and len(unreadable_files(file)) == 1


WHOLE = json.dumps({"schema": 1, "service_stopped": True, "models": [asdict(JUDGE), asdict(PLANNER)]})


@pytest.mark.parametrize(
    ("text", "models"),
    [
        (WHOLE[:-10], (JUDGE,)),
        (WHOLE + "\0\0\0", (JUDGE, PLANNER)),
        (WHOLE + '{"schema": 1, "models": []}', (JUDGE, PLANNER)),
        ("<<<<<<< HEAD\n" + WHOLE, (JUDGE, PLANNER)),
        (WHOLE.replace("}]}", '}], "models": []}'), (JUDGE, PLANNER)),
        (WHOLE.replace('"planner:v1"', '"planner\x00'), (JUDGE,)),
    ],
)
def test_of_a_torn_file_what_stands_whole_comes_back_and_so_does_the_service(
    file: Path, text: str, models: tuple[EvictedModel, ...]
) -> None:
    file.write_text(text)
    found = EvictedModels(file)
    assert (found.models, found.stopped) == (models, True)
    assert len(unreadable_files(file)) == 1, "and it is told that some of it could not be read"


@pytest.mark.parametrize(
    "place", [lambda file: os.mkfifo(file), lambda file: file.symlink_to("/no/such/disk"), Path.mkdir]
)
def test_what_is_no_file_is_neither_waited_for_nor_empty(file: Path, place: Callable[[Path], object]) -> None:
    place(file)
    assert not read_evicted_models(file).whole
