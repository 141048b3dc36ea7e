"""A served model of the home as whoever answers: named, asked before a bake-off, away beside what the job loads itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from core.clock import SYSTEM_CLOCK
from core.errors import InputError, NotFoundError
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.gpu_use import GpuUse
from core.jobfile.raw import LEASED_GPU
from core.jobfile.servers import opened
from core.jobfile.spec import JobFile
from core.reasons import Reason
from core.served.away import away_for, send_away
from core.served.record import read_record, write_record
from core.serving.errors import ServerError
from core.staleness.present_servers import ask_server
from core.submission.asked_servers import served_facts
from core.submission.candidates import who_answers
from core.submission.server_candidates import of_home, server_candidate
from jobs.bakeoff.job import unload_served_models
from jobs.bakeoff.served_models import have_serve
from jobs.context import JobContext
from tests.support.hostile_server import Connection, HostileServer, hostile
from tests.support.kitchen import Kitchen, kitchen
from tests.support.ollama_standin import OllamaStandin
from tests.support.played_shim import PlayedShim

__all__ = ["kitchen"]
ROUND_SECONDS = 0.01


@pytest.fixture
def llama_server() -> Iterator[HostileServer]:
    """What a llama-server says of itself."""
    with hostile("openai", Connection.end) as server:
        server.documents = {
            "/v1/models": {"data": [{"id": "note", "meta": {"n_ctx": 2048}}]},
            "/props": {"build_info": "b11434", "chat_template": "{{ messages }}"},
            "/health": {"status": "ok"},
        }
        yield server


@pytest.fixture
def note(kitchen: Kitchen, llama_server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> PlayedShim:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    shim = PlayedShim(kitchen.home, SYSTEM_CLOCK, port=urlsplit(llama_server.url).port or 0)
    shim.loads_seconds = shim.ends_seconds = 0.05
    return shim


@contextmanager
def living(shim: PlayedShim) -> Iterator[None]:
    """Its shim looks every moment, as a process of its own does."""
    over = threading.Event()

    def rounds() -> None:
        while not over.wait(ROUND_SECONDS):
            shim.round()

    thread = threading.Thread(target=rounds, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def candidate(kitchen: Kitchen, reference: str = "served:note") -> CandidateSpec:
    found = server_candidate(kitchen.home, kitchen.project, reference)
    assert found is not None
    return found


def submitted(kitchen: Kitchen, *candidates: str) -> tuple[BakeoffSpec, list[str]]:
    remarks: list[str] = []
    return kitchen.spec(kitchen.submit(kitchen.wanted(*candidates), remarks)), remarks


@pytest.mark.usefixtures("note")
def test_it_is_a_candidate_by_its_name_and_known_by_its_weights(kitchen: Kitchen) -> None:
    spec, remarks = submitted(kitchen, "served:note", "plain")
    (served, _) = spec.candidates
    assert (served.name, served.served_model, served.form) == ("note", "note", "served")
    assert served.server is not None and served.server.served_dir == str(kitchen.home.served / "note")
    assert spec.gpu_use == GpuUse("serving"), "nobody else may hold the GPU beside it"
    assert not any("was not asked" in remark for remark in remarks)
    with closing(opened(served.server, "note")) as model:
        identity, loaded = model.identity(), model.load(2048)
    assert (identity.api, identity.weights, identity.version) == ("llama-server", "sha256:" + "ab" * 32, "b11434")
    assert identity.template is not None and identity.server == "served"
    assert loaded.host_bytes is not None and 0 < loaded.host_bytes <= psutil.Process().memory_info().rss * 2
    stored = (kitchen.home.run_dir(1).job_file).read_text()
    assert "home:served/note" in stored and str(kitchen.home.served) not in stored, "a home can be moved"


def test_one_that_computes_elsewhere_than_the_jobs_takes_no_turn_of_theirs(
    kitchen: Kitchen, note: PlayedShim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.jobfile.servers.find_gpu", lambda: object())
    record = read_record(kitchen.home, "note")
    places = [of_home(kitchen.home, replace(record, on_gpu=on_gpu)).server for on_gpu in (True, False)]
    assert [one.is_local for one in places if one is not None] == [True, False]


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("away", "note is away for a job that has the CPU to itself, and is back after that"),
        ("stopped", "note is stopped (`bakehouse served start note` has it serve)"),
        ("failed", "note does not come up (`bakehouse served logs note` shows why)"),
    ],
)
def test_one_that_does_not_serve_now_is_told_and_no_reason_to_refuse(
    kitchen: Kitchen, note: PlayedShim, phase: str, said: str
) -> None:
    note.folder.stopped.touch()
    if phase == "away":
        send_away(kitchen.home, "note", 7)
        note.folder.stopped.unlink()
    note.fails = Reason("died", {"said": "killed"})
    with living(note):
        while note.phase not in ("away", "stopped"):
            threading.Event().wait(ROUND_SECONDS)
        if phase == "failed":
            note.folder.stopped.unlink()
            while note.phase != "failed":
                threading.Event().wait(ROUND_SECONDS)
    _, remarks = submitted(kitchen, "served:note", "plain")
    assert any(remark == f"note was not asked what it can do: {said}; the job asks it" for remark in remarks), remarks


def test_a_name_that_ollama_has_too_is_told_apart(
    kitchen: Kitchen, note: PlayedShim, standin: OllamaStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", standin.url)
    assert candidate(kitchen).server.served_dir is not None  # type: ignore[union-attr]
    standin.copy_model("planner", "note")
    with pytest.raises(InputError) as refused:
        candidate(kitchen)
    assert refused.value.code == "ambiguous"
    assert "`ollama:note`" in str(refused.value) and "`llama-server:note`" in str(refused.value)
    assert candidate(kitchen, "ollama:note").server.api == "ollama"  # type: ignore[union-attr]
    assert candidate(kitchen, "llama-server:note").server.served_dir is not None  # type: ignore[union-attr]
    spec, _ = submitted(kitchen, "ollama:note", "llama-server:note")
    assert [one.name for one in spec.candidates] == ["note (ollama:note)", "note (llama-server:note)"]


@pytest.mark.usefixtures("note")
def test_what_is_no_served_model_is_a_tag_of_ollama(kitchen: Kitchen) -> None:
    for name in ("qwen3:4b", "org/model", "other"):
        found = candidate(kitchen, f"served:{name}")
        assert (found.server.api, found.served_model) == ("ollama", name)  # type: ignore[union-attr]
    with pytest.raises(NotFoundError):
        candidate(kitchen, "llama-server:other")


@pytest.mark.usefixtures("note")
def test_that_it_does_not_serve_for_a_while_is_told(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "note does not serve while the job loads other models on the GPU"
    assert said not in submitted(kitchen, "served:note", "plain")[1], "without a GPU it stays"
    for place in ("core.submission.doubts", "core.jobfile.servers"):
        monkeypatch.setattr(f"{place}.find_gpu", lambda: object())
    assert said in submitted(kitchen, "served:note", "plain")[1]
    assert said not in submitted(kitchen, "served:note", "served:note@top_k=20")[1]


def test_a_deployment_of_other_weights_is_another_model(kitchen: Kitchen, note: PlayedShim) -> None:
    """The address may have changed, too: what is deployed now answers."""
    served = candidate(kitchen)
    then = ask_server(served)
    record = read_record(kitchen.home, "note")
    write_record(kitchen.home, replace(record, weights="cd" * 32))
    now = ask_server(served)
    assert not isinstance(then, str) and not isinstance(now, str)
    assert now.changed_from(then) == ("weights",)
    write_record(kitchen.home, replace(record, port=record.port - 1))
    assert who_answers(candidate(kitchen)) == who_answers(served), "at another port it is the same candidate"
    note.folder.record.unlink()
    assert ask_server(served) == "gone"
    why = served_facts(served)
    assert isinstance(why, ServerError) and why.message == "note is not deployed"


def context_of(kitchen: Kitchen) -> JobContext:
    run = kitchen.home.run_dir(1)
    run.attempt(1).path.mkdir()
    return JobContext.open(run, run.attempt(1))


def test_it_is_away_while_the_job_loads_its_own_and_back_when_it_is_asked(
    kitchen: Kitchen, note: PlayedShim, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _ = submitted(kitchen, "served:note", "plain")
    context, served = context_of(kitchen), spec.candidates[0].server
    assert served is not None
    with living(note):
        unload_served_models(context, spec)
        assert note.serves and not note.folder.away.exists(), "without a GPU it stays"
        monkeypatch.setenv(LEASED_GPU, "0000:2b:00.0")
        for _ in range(2):
            unload_served_models(context, spec)
            assert not note.runs and away_for(note.folder) == [1]
        have_serve(context, served)
        assert note.serves and note.starts == 2 and not note.folder.away.exists()
        have_serve(context, served)
        assert note.starts == 2


def test_one_that_a_person_stopped_or_that_is_gone_leaves_a_hole(kitchen: Kitchen, note: PlayedShim) -> None:
    spec, _ = submitted(kitchen, "served:note", "plain")
    context, served = context_of(kitchen), spec.candidates[0].server
    assert served is not None
    note.folder.stopped.touch()
    with living(note):
        while note.phase != "stopped":
            threading.Event().wait(ROUND_SECONDS)
        with pytest.raises(ServerError, match="note is stopped"):
            have_serve(context, served)
    note.folder.record.unlink()
    with pytest.raises(ServerError) as gone:
        opened(served, "note")
    assert gone.value.code == "model_not_found"


def test_a_job_file_of_a_bakeoff_on_it_is_read_as_it_was_written(kitchen: Kitchen, note: PlayedShim) -> None:
    spec, _ = submitted(kitchen, "served:note", "plain")
    again = JobFile.load(kitchen.home.run_dir(1)).spec
    assert isinstance(again, BakeoffSpec) and again.candidates == spec.candidates
    assert Path(again.candidates[0].server.served_dir or "") == note.folder.path  # type: ignore[union-attr]
