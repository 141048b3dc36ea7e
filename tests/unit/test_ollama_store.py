"""Files sent to an Ollama and models made of them, against a stand-in of two versions, and where that goes wrong."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import InputError
from core.serving.ollama import Ollama
from core.serving.ollama_prompts import rendered_prompt
from core.serving.ollama_store import (
    PIECE_BYTES,
    CreateStatus,
    StoredModel,
    copy,
    create,
    delete,
    has_blob,
    send_blob,
    stored,
)
from core.serving.retry import RetryPolicy
from tests.support.gguf_bytes import KEYS, file, header
from tests.support.ollama_models import CHATML
from tests.support.ollama_served import failure
from tests.support.ollama_standin import VERSIONS, OllamaStandin

pytestmark = pytest.mark.process

AGAIN = RetryPolicy(attempts=3, first_seconds=0.01)
ONCE = RetryPolicy(attempts=1)
THINKS = "{% if not enable_thinking %}<think></think>{% endif %}{{ messages }}"


@pytest.fixture(params=VERSIONS)
def standin(request: pytest.FixtureRequest) -> Iterator[OllamaStandin]:
    with OllamaStandin(request.param, load_seconds=0.02) as server:
        server.add_model("judge:v1", system="You judge.", parameters={"stop": ["<|im_end|>"]})
        yield server


@pytest.fixture
def ollama(standin: OllamaStandin) -> Iterator[Ollama]:
    with Ollama(standin.url) as client:
        yield client


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A file of three pieces and a bit."""
    path = tmp_path / "model.gguf"
    path.write_bytes(os.urandom(3 * PIECE_BYTES + 17))
    return path


def gguf(path: Path, template: str = "{{ x }}") -> Path:
    path.write_bytes(file(header({**KEYS, "tokenizer.chat_template": template})))
    return path


def uploads(standin: OllamaStandin) -> int:
    return sum(1 for one in standin.requests if one.method == "POST" and one.path.startswith("/api/blobs/"))


def sent_model(ollama: Ollama, path: Path) -> str:
    """Uploads the file; its digest."""
    digest = digest_of(path)
    send_blob(ollama, path, digest)
    return digest


# Uploads.


def test_a_file_is_sent_once_and_its_progress_is_told(standin: OllamaStandin, ollama: Ollama, several: Path) -> None:
    digest, size = digest_of(several), several.stat().st_size
    told: list[tuple[int, int]] = []
    assert not has_blob(ollama, digest)
    assert send_blob(ollama, several, digest, sent=lambda done, total: told.append((done, total)))
    assert told == [(0, size), *((n * PIECE_BYTES, size) for n in (1, 2, 3)), (size, size)]
    assert has_blob(ollama, digest)
    told.clear()
    assert not send_blob(ollama, several, digest, sent=lambda done, total: told.append((done, total)))
    assert told == [(size, size)] and uploads(standin) == 1
    standin.down()
    standin.up()
    assert has_blob(ollama, digest), "it outlives a restart"


@pytest.mark.parametrize("cut_at", [1, PIECE_BYTES, 3 * PIECE_BYTES + 16, 3 * PIECE_BYTES + 17])
def test_an_upload_that_breaks_off_begins_again(
    standin: OllamaStandin, ollama: Ollama, several: Path, cut_at: int
) -> None:
    """At whatever byte; also where all have come, and nobody says so."""
    digest = digest_of(several)
    told: list[int] = []
    standin.cut_next_upload(after_bytes=cut_at)
    standin.cut_next_upload(after_bytes=1)
    assert send_blob(ollama, several, digest, sent=lambda done, total: told.append(done), policy=AGAIN)
    assert told.count(0) == uploads(standin) == 3, "each begins at the beginning: nothing of the others was stored"
    assert has_blob(ollama, digest)


def test_a_file_that_came_whole_is_not_sent_again_though_the_answer_was_lost(
    standin: OllamaStandin, ollama: Ollama, several: Path
) -> None:
    digest = digest_of(several)
    standin.lose_next_answer("/api/blobs/")
    send_blob(ollama, several, digest, policy=AGAIN)
    assert has_blob(ollama, digest) and uploads(standin) == 1


def test_of_an_upload_that_is_given_up_nothing_is_stored(standin: OllamaStandin, ollama: Ollama, several: Path) -> None:
    digest = digest_of(several)
    standin.cut_next_upload(after_bytes=PIECE_BYTES)
    error = failure(lambda: send_blob(ollama, several, digest, policy=ONCE))
    assert error.code == "server_down" and "nothing of it is stored" in error.message and several.name in error.message
    assert not has_blob(ollama, digest)


def test_a_server_that_is_restarted_meanwhile_gets_the_file(
    standin: OllamaStandin, ollama: Ollama, several: Path
) -> None:
    went: list[bool] = []

    def sent(done: int, total: int) -> None:
        if done == PIECE_BYTES and not went:
            went.append(True)
            standin.down()
            standin.up()

    assert send_blob(ollama, several, digest_of(several), sent=sent, policy=AGAIN)
    assert went and has_blob(ollama, digest_of(several))


def test_other_bytes_than_the_digest_says_are_refused_at_once(
    standin: OllamaStandin, ollama: Ollama, several: Path
) -> None:
    wrong = "sha256:" + "0" * 64
    error = failure(lambda: send_blob(ollama, several, wrong, policy=AGAIN))
    assert (error.code, error.status, uploads(standin)) == ("server_refused", 400, 1)
    assert "other bytes" in error.message and error.remedy
    assert not has_blob(ollama, wrong) and not has_blob(ollama, digest_of(several))


def test_a_file_that_shrinks_while_it_is_sent_is_told_of(standin: OllamaStandin, ollama: Ollama, several: Path) -> None:
    digest, told = digest_of(several), []

    def sent(done: int, total: int) -> None:
        told.append(done)
        if done == PIECE_BYTES:
            os.truncate(several, PIECE_BYTES + 5)

    with pytest.raises(InputError) as caught:
        send_blob(ollama, several, digest, sent=sent, policy=AGAIN)
    assert caught.value.code == "file_changed" and told.count(0) == 1
    assert not has_blob(ollama, digest)


def test_a_file_that_cannot_be_read_is_no_fault_of_the_server(ollama: Ollama, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        send_blob(ollama, tmp_path / "nowhere.gguf", "sha256:" + "0" * 64)
    assert caught.value.code == "unreadable_file"


def test_an_upload_is_stopped_at_any_time(standin: OllamaStandin, ollama: Ollama, several: Path) -> None:
    """Also in the pause before it would begin again."""
    digest, enough = digest_of(several), [False]

    def sent(done: int, total: int) -> None:
        enough[0] = done >= PIECE_BYTES

    standin.cut_next_upload(after_bytes=PIECE_BYTES)
    slow = RetryPolicy(attempts=9, first_seconds=3600.0, longest_seconds=3600.0)
    error = failure(lambda: send_blob(ollama, several, digest, sent=sent, stopped=lambda: enough[0], policy=slow))
    assert error.code == "request_stopped" and not has_blob(ollama, digest)


def test_a_large_file_is_sent_in_little_memory(standin: OllamaStandin, ollama: Ollama, tmp_path: Path) -> None:
    path, size = tmp_path / "large.gguf", 48 * PIECE_BYTES
    with path.open("wb") as opened:
        opened.truncate(size)
    digest = digest_of(path)
    assert not has_blob(ollama, digest), "what a first request imports is no part of the measure"
    tracemalloc.start()
    try:
        assert send_blob(ollama, path, digest)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * PIECE_BYTES, "the stand-in's own pieces in it"


# Models.


def test_a_model_is_made_of_a_file_and_read_back(standin: OllamaStandin, ollama: Ollama, tmp_path: Path) -> None:
    digest = sent_model(ollama, gguf(tmp_path / "m.gguf"))
    told: list[CreateStatus] = []
    made = create(
        ollama,
        "judge:v2",
        files={"m.gguf": digest},
        template=CHATML,
        system="You judge.",
        parameters={"stop": ["<|im_end|>"], "temperature": 0.2, "repeat_penalty": 1.0},
        license="CC0",
        on_status=told.append,
    )
    texts = [one.text for one in told]
    assert (texts[0], texts[-1]) == ("parsing GGUF", "success")
    assert ("verifying conversion" in texts) == standin.newer
    assert made == stored(ollama, "judge:v2") and (made.info.blob == digest) is not standin.newer
    assert made.digest == next(one.digest for one in ollama.tags() if one.name == "judge:v2")
    assert (made.info.template, made.info.system) == (CHATML, "You judge.")
    assert made.info.parameters == {"repeat_penalty": ("1",), "stop": ("<|im_end|>",), "temperature": ("0.2",)}
    assert stored(ollama, "judge:v3") is None


def test_the_blob_of_the_model_can_be_another_than_the_file_s(
    standin: OllamaStandin, ollama: Ollama, tmp_path: Path
) -> None:
    digest = sent_model(ollama, gguf(tmp_path / "m.gguf", THINKS))
    made = create(ollama, "judge:v2", files={"m.gguf": digest})
    assert (made.info.blob != digest) == standin.newer and has_blob(ollama, digest)
    assert ("thinking" in made.info.capabilities) == standin.newer


def test_the_bytes_of_a_long_step_are_told(standin: OllamaStandin, ollama: Ollama) -> None:
    told: list[CreateStatus] = []
    standin.answer_next(
        b'{"status":"quantizing F16 model to Q8_0","digest":"0","total":300,"completed":100}\n{"status":"success"}\n',
        "/api/create",
        content_type="application/x-ndjson",
    )
    standin.add_model("q")
    create(ollama, "q", base="judge:v1", on_status=told.append)
    assert told[0] == CreateStatus("quantizing F16 model to Q8_0", 100, 300)


def refused_create(ollama: Ollama, **given: object) -> Callable[[], StoredModel]:
    return lambda: create(ollama, "judge:v1", **given)  # type: ignore[arg-type]


def test_what_is_refused_in_the_stream_is_one_error_and_the_former_model_stays(
    standin: OllamaStandin, ollama: Ollama, tmp_path: Path
) -> None:
    before = stored(ollama, "judge:v1")
    digest = sent_model(ollama, gguf(tmp_path / "m.gguf"))
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(file(header())[:-64])
    no_gguf = tmp_path / "no.gguf"
    no_gguf.write_bytes(b"no GGUF file at all")
    cases: list[dict[str, object]] = [
        {"files": {"m.gguf": digest}, "template": "{{ if .Messages }"},
        {"files": {"m.gguf": "sha256:" + "1" * 64}},
        {"files": {"m.gguf": sent_model(ollama, torn)}},
        {"files": {"m.gguf": sent_model(ollama, no_gguf)}},
        {},
    ]
    for given in cases:
        error = failure(refused_create(ollama, **given))
        assert error.code == "create_refused" and error.said and not error.is_transient, given
        assert stored(ollama, "judge:v1") == before


def test_a_malformed_file_takes_the_older_server_down_and_is_told(
    standin: OllamaStandin, ollama: Ollama, tmp_path: Path
) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(file(header())[:40])
    digest = sent_model(ollama, path)
    error = failure(refused_create(ollama, files={"m.gguf": digest}))
    if standin.newer:
        assert error.code == "create_refused"
    else:
        assert error.code == "server_down" and "malformed" in (error.remedy or "")
        assert failure(ollama.version).code == "server_down"


def test_a_base_that_is_not_there_is_not_fetched_from_a_registry(standin: OllamaStandin, ollama: Ollama) -> None:
    error = failure(lambda: create(ollama, "x", base="jugde:v1", system="Other."))
    assert error.code == "model_not_found" and "judge:v1" in (error.remedy or "")
    assert not any(one.path == "/api/create" for one in standin.requests)
    made = create(ollama, "x", base="judge:v1", system="Other.")
    assert made.info.system == "Other." and made.info.blob == standin.models["judge:v1"].blob


def test_a_stream_that_breaks_off_makes_nothing(standin: OllamaStandin, ollama: Ollama, tmp_path: Path) -> None:
    digest = sent_model(ollama, gguf(tmp_path / "m.gguf"))
    standin.drop_next("/api/create", after_lines=2)
    assert failure(refused_create(ollama, files={"m.gguf": digest})).code == "server_down"
    standin.answer_next(b'{"status":"parsing GGUF"}\n', "/api/create")
    assert failure(refused_create(ollama, files={"m.gguf": digest})).code == "server_garbled"
    standin.answer_next(b"<html>", "/api/create")
    assert failure(refused_create(ollama, files={"m.gguf": digest})).code == "server_garbled"


def test_what_a_later_version_adds_is_no_fault(standin: OllamaStandin, ollama: Ollama, tmp_path: Path) -> None:
    """Fields that no version has, in every object of every answer that a deployment reads."""
    standin.version = "0.47.0-rc1+x"  # type: ignore[assignment]
    standin.add_fields()
    standin.store.mind = {"answer": "Yes."}
    path = gguf(tmp_path / "m.gguf")
    assert ollama.version() == standin.version
    digest = sent_model(ollama, path)
    told: list[CreateStatus] = []
    made = create(ollama, "task:staged", files={path.name: digest}, template=CHATML, on_status=told.append)
    assert made == stored(ollama, "task:staged") and told[-1] == CreateStatus("success")
    digests = {one.name: one.digest for one in ollama.tags()}
    assert copy(ollama, "task:staged", "task").digest == made.digest == digests["task:staged"]
    delete(ollama, "task:staged")
    assert stored(ollama, "task:staged") is None and failure(lambda: ollama.show("nobody")).status == 404
    asked = [("system", "You judge."), ("user", "Good?")]
    prompt = rendered_prompt(ollama, "task", standin.version, asked, None, 512, 60.0, 5.0)
    assert prompt.endswith("<|im_start|>user\nGood?<|im_end|>\n<|im_start|>assistant\n")
    assert [one.name for one in ollama.ps()] == ["task:latest"]
    answer = ollama.chat("task", [{"role": "user", "content": "Good?"}])
    assert (answer.text, answer.finish) == ("Yes.", "stop")
    ollama.unload("task")
    standin.answer_next(
        b'{"status":"sealing","seal":{"by":"x"},"total":"many"}\n{"event":7}\n{"status":"success","took":1}\n{"bye":[]}\n',
        "/api/create",
    )
    told.clear()
    assert create(ollama, "judge:v1", files={"m.gguf": digest}, on_status=told.append).info.system == "You judge."
    assert told == [CreateStatus("sealing"), CreateStatus("success")]


def test_what_no_tag_uses_goes_with_a_new_model_and_stays_with_a_copied_tag(
    standin: OllamaStandin, ollama: Ollama, tmp_path: Path
) -> None:
    first = sent_model(ollama, gguf(tmp_path / "1.gguf", "{{ one }}"))
    second = sent_model(ollama, gguf(tmp_path / "2.gguf", "{{ two }}"))
    served = create(ollama, "task", files={"1.gguf": first}).info.blob or ""
    kept = copy(ollama, "task", "task:rollback")
    other = create(ollama, "task", files={"2.gguf": second}).info.blob or ""
    assert has_blob(ollama, served) and kept.info.blob == served != other
    back = copy(ollama, "task:rollback", "task")
    assert back.info.blob == served and not has_blob(ollama, other), "copied over, without a word"
    delete(ollama, "task:rollback")
    assert has_blob(ollama, served)
    delete(ollama, "task")
    assert not has_blob(ollama, served) and stored(ollama, "task") is None
    assert has_blob(ollama, first) is standin.newer, "a file that was written anew for the model stays as it was sent"


def test_a_model_that_runs_outlives_its_tag(standin: OllamaStandin, ollama: Ollama) -> None:
    ollama.load("judge:v1")
    delete(ollama, "judge:v1")
    assert standin.listed() == ["judge:v1"]


def test_what_is_not_there_is_neither_copied_nor_deleted(ollama: Ollama) -> None:
    for act in (lambda: copy(ollama, "nobody", "x"), lambda: delete(ollama, "nobody")):
        assert failure(act).code == "model_not_found"
    assert failure(lambda: copy(ollama, "judge:v1", "no name?")).status == 400
