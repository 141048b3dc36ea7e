"""A GGUF file as a candidate, the demo's candidates, and how long a bake-off is expected to take."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from core.bakeoff.result import result_summary
from core.config.project import shipped
from core.config.shipped import DEMO_MODEL
from core.errors import InputError
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, Variant
from core.jobfile.spec import JobFile
from core.store.database import open_database, transaction
from core.submission.expected_time import expected_seconds, measured_paces
from core.submission.submit import submit_demo
from tests.support.kitchen import Kitchen, kitchen
from tests.support.leaderboards import answers, board
from tests.unit.test_model_headers import WHOLE

__all__ = ["kitchen"]
LOADED = "the job loads small itself"


def server_in(folder: Path) -> Path:
    folder.mkdir()
    server = folder / "llama-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    return server


def test_a_llama_server_answers_for_a_gguf_file_where_there_is_one(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kitchen.root / "small.gguf").write_bytes(WHOLE)
    kitchen.write("yes.gbnf", 'root ::= "yes"')
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
    remarks: list[str] = []
    spec = kitchen.spec(kitchen.submit(kitchen.wanted("small.gguf"), remarks))
    assert (spec.candidates[0].form, spec.llama_server) == ("base", None)
    assert remarks[0].startswith(LOADED)
    with pytest.raises(InputError, match="not held to a format"):
        kitchen.submit(kitchen.wanted("small.gguf@format=yes.gbnf"))

    server = server_in(kitchen.root.parent / "llama")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(server.parent))
    remarks.clear()
    spec = kitchen.spec(kitchen.submit(kitchen.wanted("./small.gguf", "small.gguf@format=yes.gbnf"), remarks))
    assert [one.form for one in spec.candidates] == ["gguf", "gguf"]
    assert [one.name for one in spec.candidates] == ["small", "small @format=yes.gbnf"]
    assert spec.llama_server == str(server)
    assert remarks == [
        f"a llama-server of the job answers for small and small @format=yes.gbnf: {server} (by LLAMA_CPP_DIR)",
        "how much memory small will take is not known",  # it has no layers
    ]


def test_the_demo_compares_the_base_the_base_with_examples_and_the_tuned(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.submission.submit.ask_gates", lambda *args: "")  # it asks a process with a tokenizer
    monkeypatch.setattr("core.submission.submit.longest_example", lambda *args: None)
    train, bakeoff = submit_demo(kitchen.home, shipped(), author="tester")
    spec = JobFile.load(kitchen.home.run_dir(bakeoff.id)).spec
    assert isinstance(spec, BakeoffSpec)
    names = [f"{DEMO_MODEL} base", f"{DEMO_MODEL} base @few_shot=2", f"{DEMO_MODEL} tuned"]
    assert [one.name for one in spec.candidates] == names
    assert spec.candidates[2].ref == f"job:{train.id}/adapter"
    assert (len(spec.tasks[0].examples), spec.incumbent) == (2, names[0])


def measured(kitchen: Kitchen, job_id: int, task: str, paces: dict[str, float], refs: dict[str, str]) -> None:
    rows = [{"name": name, "ref": refs.get(name), "seconds_per_answer": pace} for name, pace in paces.items()]
    result = json.dumps({"summary": {"task": task, "candidates": rows}})
    with contextlib.closing(open_database(kitchen.home)) as connection, transaction(connection):
        connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [result, job_id])


def served(name: str, ref: str | None = None, written: str = "") -> CandidateSpec:
    shown = f"{name} @{written}" if written else name
    model = None if ref else {"name": "m", "hub": "a/b"}
    return CandidateSpec.model_validate(
        {
            "name": shown,
            "form": "gguf" if ref else "base",
            "ref": ref,
            "model": model,
            "variant": Variant(written=written),
        }
    )


def test_the_expected_time_is_that_of_the_same_candidate_asked_in_the_same_way(kitchen: Kitchen) -> None:
    for paces in ({"m": 9.0}, {"m": 2.0, "m @few_shot=2": 8.0, "tuned": 1.0}):
        job = kitchen.submit(kitchen.wanted("plain"))
        measured(kitchen, job.id, "bread", paces, {"tuned": "job:3/gguf"})
        kitchen.end(job)
    with contextlib.closing(open_database(kitchen.home)) as connection:
        known = measured_paces(connection, "kitchen")
        assert not measured_paces(connection, "another")
    candidates = [
        served("m"),
        served("m", written="few_shot=2"),
        served("m", written="few_shot=3"),
        served("tuned of another name", ref="job:3/gguf"),
    ]
    found = [expected_seconds(one, {"bread": 10, "jam": 5}, known) for one in candidates]
    assert found == [30.0, 120.0, None, 15.0]
    assert expected_seconds(candidates[0], {"bread": 0}, known) == 0.0


def test_what_a_bake_off_leaves_is_what_the_next_one_is_expected_by() -> None:
    """The rows of `result.json` have the keys that are read."""
    rows = result_summary({"bread": board(3, answers("a", 3, "x"))}, {})["candidates"]
    assert {"name", "ref", "seconds_per_answer"} <= set(rows[0])
