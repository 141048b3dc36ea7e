"""A verdict belongs to what was measured: what has changed since is named, and what cannot be known is said to be unknown."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.files import sha256_json, write_json
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.models.fingerprints import KnownFingerprints, fingerprint_file
from core.results.rescoring import rescore
from core.serving.answering import ServedIdentity
from core.staleness.present_files import NotHashed, PresentFiles, ThingGone
from core.staleness.staleness import IDENTITY, OfCandidate, OfTask, StaleCause, Why
from core.store.database import open_database, transaction
from core.store.results import import_result
from core.wording.staleness import PARTS_OF_A_VERDICT, UNKNOWN_WHY, stale_words, unknown_words
from tests.support.measured_bakeoff import EXAMPLE, GOLDEN, JUDGE, SERVED, MeasuredBakeoff, identities, measured_bakeoff
from tests.support.stale_bakeoff import found_in, of_server, short

Change = Callable[[MeasuredBakeoff], None]
TASK_CHANGES: dict[str, tuple[Change, list[tuple[str | None, str | None, str, bool]]]] = {
    "nothing": (lambda made: None, []),
    "a title": (lambda made: made.task("judge", title="The judge"), []),
    "tags of golden inputs": (
        lambda made: made.golden("judge", [{**one, "tags": ["x"]} for one in GOLDEN["judge"]]),
        [],
    ),
    "a check": (lambda made: made.task("judge", content=[]), [(None, "judge", "checks", False)]),
    "a weight": (
        lambda made: made.task("judge", format=[{**JUDGE["format"][0], "weight": 2}]),
        [(None, "judge", "checks", False)],
    ),
    "the margin": (lambda made: made.task("plan", margin=0.1), [(None, "plan", "margin", False)]),
    "an expectation": (
        lambda made: made.golden("judge", [GOLDEN["judge"][0], {**GOLDEN["judge"][1], "expect": {"price": "66"}}]),
        [(None, "judge", "golden", False)],
    ),
    "golden inputs are gone": (
        lambda made: (made.project / "golden/plan.yaml").unlink(),
        [(None, "plan", "golden", True)],
    ),
    "the system text": (lambda made: made.task("judge", system="Judge well."), [(None, "judge", "system", False)]),
    "as which role it is sent": (
        lambda made: made.task("judge", system_role="user"),
        [(None, "judge", "system", False)],
    ),
    "the sampling": (
        lambda made: made.task("judge", sampling={"temperature": 0.5}),
        [(None, "judge", "sampling", False)],
    ),
    "the thinking": (lambda made: made.task("plan", thinking="on"), [(None, "plan", "thinking", False)]),
    "a task is gone": (
        lambda made: (made.project / "configs/tasks/plan.yaml").unlink(),
        [(None, "plan", "task", True)],
    ),
    "the project is gone": (
        lambda made: shutil.rmtree(made.project),
        [
            (None, "judge", "task", True),
            (None, "plan", "task", True),
            ("box:qwen3:4b@system=terse.md", None, "system_file", True),
        ],
    ),
    "the training data": (
        lambda made: (
            (made.project / "data/judge.jsonl").write_text(
                json.dumps({"messages": [EXAMPLE[0], {**EXAMPLE[1], "content": "PRICE: 13"}]}) + "\n"
            )
            and None
        ),
        [(None, "judge", "examples", False)],
    ),
    "more training data": (
        lambda made: (
            (made.project / "data/judge.jsonl").write_text(
                "".join(
                    json.dumps({"messages": [{**EXAMPLE[0], "content": text}, EXAMPLE[1]]}) + "\n"
                    for text in ("A lamp", "B")
                )
            )
            and None
        ),
        [],
    ),
    "the file of a variant": (
        lambda made: (made.project / "terse.md").write_text("Be brief.") and None,
        [("box:qwen3:4b@system=terse.md", None, "system_file", False)],
    ),
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeasuredBakeoff:
    return home_of(tmp_path, monkeypatch)


def home_of(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> MeasuredBakeoff:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    made = measured_bakeoff(folder, **options)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(made.home.root))
    return made


@pytest.mark.parametrize("name", TASK_CHANGES)
def test_what_changed_of_a_task_or_a_variant_is_named_and_nothing_else(made: MeasuredBakeoff, name: str) -> None:
    change, expected = TASK_CHANGES[name]
    change(made)
    found = found_in(made, of_server(SERVED))
    assert short(found) == expected
    assert found.unknown == ()
    assert found.is_stale == bool(expected) == bool(stale_words(found.causes))


def test_a_rescoring_with_the_present_checks_is_not_stale_and_the_original_is(made: MeasuredBakeoff) -> None:
    made.task("judge", content=[], margin=0.2)
    with contextlib.closing(open_database(made.home)) as connection:
        assert [what for _, _, what, _ in short(found_in(made))] == ["checks", "margin"]
        rescore(made.home, connection, made.job_id, author="anna")
        assert found_in(made).causes == ()
        assert [what for _, _, what, _ in short(found_in(made, number=0))] == ["checks", "margin"]


def test_a_task_that_cannot_be_read_is_unknown(made: MeasuredBakeoff) -> None:
    (made.project / "configs/tasks/plan.yaml").write_text("format: [")
    (made.project / "golden/judge.yaml").write_text("inputs: 3")
    found = found_in(made, of_server(SERVED))
    assert [(one.task, one.what, one.why) for one in found.unknown] == [
        ("judge", "golden", "unreadable"),
        ("plan", "task", "unreadable"),
    ]
    assert found.causes == ()


def test_weights_that_were_written_replaced_or_removed_are_told_of_all_that_rests_on_them(
    made: MeasuredBakeoff,
) -> None:
    weights = made.model / "model.safetensors"
    before = weights.stat()
    assert found_in(made).causes == ()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = found_in(made).causes
    assert [(one.candidate, one.what) for one in changed] == [
        ("m base", "weights"),
        ("m tuned", "weights"),
        ("m base@few_shot=1", "weights"),
    ]
    assert changed[0].before == identities_before(made) and changed[0].now not in {None, changed[0].before}
    weights.write_bytes(b"weights")
    assert found_in(made).causes == (), "the very bytes are back"
    shutil.rmtree(made.model)
    assert {(one.candidate, one.what, one.now) for one in found_in(made).causes} == {
        (name, "weights", None) for name in ("m base", "m tuned", "m base@few_shot=1")
    }


def identities_before(made: MeasuredBakeoff) -> str | None:
    (made.model / "model.safetensors").write_bytes(b"weights")
    return identities(made)["m base"].weights


def test_an_adapter_of_a_job_that_was_run_again_or_whose_files_are_gone(made: MeasuredBakeoff) -> None:
    again = made.home.artefacts / "again"
    shutil.copytree(made.adapter, again)
    run = made.home.run_dir(made.trained)
    artefact = {"sha256": "f" * 64, "kind": "adapter", "path": str(again), "bytes": 7, "lineage": {}}
    write_json(run.result, {"schema": 1, "message": "trained", "artefacts": [artefact]})
    with contextlib.closing(open_database(made.home)) as connection, transaction(connection):
        import_result(connection, made.trained, run)
    assert short(found_in(made)) == [("m tuned", None, "weights", False)]
    for path in (again, made.adapter):
        shutil.rmtree(path)
    assert short(found_in(made)) == [("m tuned", None, "weights", True)]


def test_a_template_is_compared_where_the_files_tell_it(made: MeasuredBakeoff) -> None:
    (made.model / "chat_template.jinja").write_text("{{ messages }}")
    assert found_in(made).causes == (), "the same template in another file"
    (made.model / "chat_template.jinja").write_text("{{ others }}")
    assert {(one.candidate, one.what) for one in found_in(made).causes} == {
        (name, "template") for name in ("m base", "m tuned", "m base@few_shot=1")
    }
    (made.model / "chat_template.jinja").unlink()
    (made.model / "tokenizer_config.json").write_text("{}")
    found = found_in(made, of_server(SERVED))
    assert found.causes == () and {(one.what, one.why) for one in found.unknown} == {("template", "unreadable")}


def test_the_template_of_a_gguf_file_is_told_by_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = home_of(tmp_path, monkeypatch, gguf=True)
    found = found_in(made, of_server(SERVED))
    assert (found.causes, found.unknown) == ((), ())
    made.model.write_bytes(b"GGUF others!")
    os.utime(made.model, (1, 1))
    changed = {(one.candidate, one.what) for one in found_in(made, of_server(SERVED)).causes}
    assert changed == {(name, "weights") for name in ("m base", "m tuned", "m base@few_shot=1")}


def test_every_field_of_an_identity_is_compared_and_has_words() -> None:
    assert set(IDENTITY) == {field.name for field in fields(ServedIdentity)}
    codes = {*OfTask.__args__, *OfCandidate.__args__}  # type: ignore[attr-defined]
    assert codes - {"mixed"} == set(PARTS_OF_A_VERDICT)
    assert set(Why.__args__) == set(UNKNOWN_WHY)  # type: ignore[attr-defined]


def test_a_bake_off_of_which_nothing_was_measured_leaves_its_models_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = home_of(tmp_path, monkeypatch, measured=False)
    found = found_in(made, of_server(SERVED))
    assert found.causes == ()
    assert {(one.candidate, one.why) for one in found.unknown} == {(name, "not_stored") for name in identities(made)}
    attempt = made.home.run_dir(made.job_id).attempt(1)
    attempt.path.mkdir()
    write_json(attempt.manifest, {"candidates": {"m base": identities(made)["m base"].weights, "m tuned": "another"}})
    assert [(one.candidate, one.what) for one in found_in(made).causes] == [("m tuned", "weights")]


def test_answers_of_several_models_are_told(made: MeasuredBakeoff) -> None:
    with contextlib.closing(open_database(made.home)) as connection, transaction(connection):
        connection.execute(
            """
            UPDATE answers SET document = json_set(document, '$.identity', 'another')
            WHERE candidate = 'box:qwen3:4b' AND task = 'plan'
            """
        )
    found = found_in(made, of_server(SERVED))
    assert found.causes == (StaleCause("box:qwen3:4b", None, "mixed", 1, 2),)
    assert "answers of box:qwen3:4b (of 2 models, as it changed while it was asked)" in stale_words(found.causes)


def test_the_words_name_what_changed_how_and_whose_it_is() -> None:
    line = {"check": "regex", "id": "line", "pattern": "a"}
    causes = [
        StaleCause(None, "judge", "checks", {"format": [line, {"check": "table"}], "content": []},
                   {"format": [{**line, "pattern": "b"}], "content": [{"check": "regex"}]}),
        StaleCause(None, "judge", "margin", 0.05, 0.1),
        StaleCause(None, "plan", "golden", 12, 12),
        StaleCause(None, "judge", "sampling", {"temperature": 0.2, "top_k": None}, {"temperature": 0.5, "top_k": None}),
        *(StaleCause(name, None, "version", "0.12.6", "0.13.0") for name in ("a", "b", "c", "d", "e")),
        StaleCause("box:gone", None, "model", "gone", None),
        StaleCause("m tuned", None, "weights", "a", None),
    ]  # fmt: skip
    assert stale_words(causes) == (
        "Stale, changed since it was measured: checks of judge (+ regex, − table, ~ line); margin of judge (0.25 → 0.50); "
        "golden inputs of plan; sampling of judge (temperature 0.2 → 0.5); "
        "version of the server of a, b, c and 2 more (0.12.6 → 0.13.0); model of box:gone (no longer on its server); "
        "weights of m tuned (gone)"
    )
    assert stale_words([]) == unknown_words([]) == ""


def test_the_command_says_that_a_verdict_is_stale(made: MeasuredBakeoff, capsys: pytest.CaptureFixture[str]) -> None:
    def results(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(["results", str(made.job_id), *words])
        return capsys.readouterr().out

    assert "Stale" not in results()
    made.task("judge", content=[])
    assert (
        " ".join(results().split()).count("Stale, changed since it was measured: checks of judge (− captured_equals)")
        == 1
    )
    assert "box:qwen3:4b and box:qwen3:4b@system=terse.md (its server was not asked; --ask-servers asks)" in " ".join(
        results().split()
    )
    document = json.loads(results("--json"))
    assert document["staleness"]["stale"] is True
    assert [one["what"] for one in document["staleness"]["causes"]] == ["checks"]


def test_a_file_is_hashed_once_until_it_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").create()
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"one")
    other.write_bytes(b"two")
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return fingerprint_file(path)

    monkeypatch.setattr("core.models.fingerprints.fingerprint_file", counted)
    for _ in range(2):
        known = KnownFingerprints(home)
        assert known.of(file) == fingerprint_file(file)
        known.keep()
    assert read == [file]
    other.replace(file)
    assert KnownFingerprints(home).of(file) == fingerprint_file(file)
    assert read == [file, file]
    known.path.write_text("no JSON")
    assert KnownFingerprints(home).of(file) == fingerprint_file(file)


def test_a_gguf_file_is_known_by_the_hash_that_was_noted_of_it(
    made: MeasuredBakeoff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made" / "gguf"
    folder.mkdir(parents=True)
    file = folder / "m.gguf"
    file.write_bytes(b"GGUF")
    whole = hashlib.sha256(b"GGUF").hexdigest()

    def weights(path: Path) -> str:
        candidate = CandidateSpec(name="g", form="gguf", path=str(path))
        with contextlib.closing(open_database(made.home)) as connection:
            return PresentFiles(made.home, connection, None).weights(candidate)

    assert weights(file) == weights(folder) == whole
    monkeypatch.setattr("core.staleness.present_files.HASH_WHOLE_BELOW_BYTES", 2)
    with pytest.raises(NotHashed):
        weights(file)
    status = file.stat()
    key = sha256_json([str(file.resolve()), status.st_size, status.st_mtime_ns, status.st_ino])
    (made.home.cache / "hashes").mkdir()
    write_json(made.home.cache / "hashes" / f"{key}.json", {"sha256": "noted"})
    assert weights(file) == "noted"
    write_json(folder.parent / "lineage.json", {"file_sha256": "of its job"})
    assert weights(folder) == "of its job"
    file.unlink()
    with pytest.raises(ThingGone):
        weights(file)
