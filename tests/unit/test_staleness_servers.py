"""What servers have now, against what answered in a bake-off; and what is unknown where they do not tell."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.jobfile.bakeoff import CandidateSpec
from core.serving.errors import ServerError
from core.staleness.present_servers import Told, ask_server, ask_servers
from core.staleness.staleness import StaleCause
from core.wording.staleness import unknown_words
from tests.support.measured_bakeoff import SERVED, MeasuredBakeoff, measured_bakeoff
from tests.support.stale_bakeoff import found_in, of_server, short


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeasuredBakeoff:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return measured_bakeoff(tmp_path)


SERVER_CHANGES = {
    "weights": "sha256:bbbb",
    "template": "another",
    "parameters": {"stop": []},
    "version": "0.13.0",
    "model": "qwen3:8b",
    "server": "elsewhere",
    "api": "openai",
}


@pytest.mark.parametrize("what", SERVER_CHANGES)
def test_what_a_server_has_now_is_told_of_each_candidate_that_it_answers_for(made: MeasuredBakeoff, what: str) -> None:
    now = replace(SERVED, **{what: SERVER_CHANGES[what]})
    found = found_in(made, of_server(now))
    assert found.causes == tuple(
        StaleCause(name, None, what, getattr(SERVED, what), SERVER_CHANGES[what])  # type: ignore[arg-type]
        for name in ("box:qwen3:4b", "box:qwen3:4b@system=terse.md")
    )


def test_a_server_that_was_not_asked_does_not_answer_or_does_not_tell_leaves_it_unknown(made: MeasuredBakeoff) -> None:
    unasked = found_in(made)
    assert unasked.causes == () and {one.why for one in unasked.unknown} == {"not_asked"}
    silent = found_in(made, of_server("no_answer"))
    assert silent.causes == () and {one.why for one in silent.unknown} == {"no_answer"}
    assert unknown_words(silent.unknown) == (
        "Not known whether changed: box:qwen3:4b and box:qwen3:4b@system=terse.md (its server did not answer)"
    )
    partly = found_in(made, of_server(replace(SERVED, weights=None)))
    assert partly.causes == () and {(one.what, one.why) for one in partly.unknown} == {("weights", "not_told")}
    assert "weights of box:qwen3:4b and" in unknown_words(partly.unknown)


def test_a_server_at_an_address_where_nothing_listens_is_asked_in_vain_and_soon(made: MeasuredBakeoff) -> None:
    found = found_in(made, ask_server)
    assert found.causes == () and {one.why for one in found.unknown} == {"no_answer"}


def test_a_server_that_stalls_is_waited_for_no_longer_than_is_said() -> None:
    server = {"name": "box", "api": "ollama", "url": "http://127.0.0.1:9"}
    specs = [
        CandidateSpec.model_validate({"name": f"c{n}", "form": "served", "server": server, "served_model": f"m{n % 2}"})
        for n in range(4)
    ]
    released, asked = threading.Event(), []

    def stalls(candidate: CandidateSpec) -> Told:
        asked.append(candidate.served_model)
        if candidate.served_model == "m0":
            released.wait()
        return SERVED

    try:
        found = ask_servers(specs, stalls, seconds=0.2)
        left = [thread for thread in threading.enumerate() if thread.name == "ask-server" and not thread.daemon]
    finally:
        released.set()
    assert not left, "leaving never waits for a server"
    assert {model: told for (_, _, model), told in found.items()} == {"m0": "no_answer", "m1": SERVED}
    assert sorted(asked) == ["m0", "m1"], "a model is asked for once, however many candidates it is"


@pytest.mark.parametrize(
    ("code", "told"), [("model_not_found", "gone"), ("key_missing", "no_key"), ("server_down", "no_answer")]
)
def test_a_refusal_tells_a_model_that_is_gone_from_a_server_that_cannot_be_asked(
    made: MeasuredBakeoff, monkeypatch: pytest.MonkeyPatch, code: Any, told: Told
) -> None:
    def opened(server: Any, model: str) -> None:
        raise ServerError("no", code=code)

    monkeypatch.setattr("core.staleness.present_servers.opened", opened)
    found = found_in(made, ask_server)
    names = ["box:qwen3:4b", "box:qwen3:4b@system=terse.md"]
    if told == "gone":
        assert short(found) == [(name, None, "model", True) for name in names] and not found.unknown
    else:
        assert not found.causes and {one.why for one in found.unknown} == {told}


def test_what_another_failure_of_asking_is_comes_out_where_it_is_asked() -> None:
    server = {"name": "box", "api": "ollama", "url": "http://127.0.0.1:9"}
    spec = CandidateSpec.model_validate({"name": "c", "form": "served", "server": server, "served_model": "m"})

    def broken(candidate: CandidateSpec) -> Told:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_servers([spec], broken)


@pytest.mark.parametrize(
    ("url", "stale"), [("127.0.0.1:9", False), ("http://127.0.0.1:9/", False), ("http://10.0.0.9:9", True)]
)
def test_a_server_is_another_one_by_its_address_and_not_by_how_that_is_written(
    made: MeasuredBakeoff, url: str, stale: bool
) -> None:
    file = made.project / "bakehouse.yaml"
    file.write_text(f"{file.read_text()}\nservers: {{box: {{api: ollama, url: '{url}'}}}}\n")
    assert ("server" in {one.what for one in found_in(made).causes}) is stale
