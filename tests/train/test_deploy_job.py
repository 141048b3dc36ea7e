"""The job `deploy` to a stand-in of Ollama: what the server has afterwards, whatever goes wrong and wherever the job is killed.

The stand-in is held to recordings of two real servers.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from core.config.model import ModelEntry
from core.data.render import encode_prompt
from core.files import read_json, write_json
from core.home import Home, RunDir
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.deploy import DeploySpec
from core.jobfile.served_as import OfficialTemplate, ServedAs
from core.serving.ollama import Ollama
from core.shipping.choice import APART
from core.shipping.families import Family
from tests.support.chat_templates import ASKING_PLAINLY
from tests.support.gguf_bytes import KEYS, file, header
from tests.support.ollama_standin import VERSIONS, Asked, OllamaStandin
from tests.support.parity_checks import HELLO, REFUSED
from tests.support.tokenizers import CHATML, byte_level, write_model
from tests.support.workshop import Process, Workshop, events, wait_until

pytestmark = pytest.mark.train

NAME, STAGING = "hello:prod", "hello:prod-staging-0a1b2c3d"
FORMER = {"answer": "Former.", "parameters": {"stop": ["#"]}}
STOPPED = 75
THINKS = CHATML + "{% if enable_thinking %}<think>{% endif %}"
"""Without thinking as ChatML's; of no family, for with it no other writes just that."""
_ids = count(1)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_level()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Iterator[Workshop]:
    folder = write_model(tmp_path_factory.mktemp("model"), tokenizer)
    made = Workshop(
        Home(tmp_path_factory.mktemp("home")).create(), ModelEntry(name="tiny", path=str(folder)), forked=True
    )
    yield made
    made.close()


@dataclass
class Scene:
    """A server with a model that serves, a GGUF file, and deployments of it."""

    shop: Workshop
    server: OllamaStandin
    file: Path
    more: dict[str, Any] = field(default_factory=dict)

    def spec(self, **more: Any) -> DeploySpec:
        given: dict[str, Any] = {
            "source": str(self.file),
            "to": "ollama",
            "name": NAME,
            "server": ServerUnderTest(name="ollama", api="ollama", url=self.server.url),
            "staging": STAGING,
            "model": self.shop.model,
            "served": ServedAs(task=HELLO),
            "golden": self.shop.golden("Say hello.", "Name a flour."),
        }
        return DeploySpec(**{**given, **more})

    def submit(self, **more: Any) -> RunDir:
        return self.shop.submit(next(_ids), self.spec(**more))

    def run(self, **more: Any) -> tuple[int, RunDir]:
        run = self.submit(**more)
        return self.shop.finish(run), run

    @property
    def tags(self) -> dict[str, str]:
        """The digest of each tag."""
        return {name: model.digest for name, model in self.server.models.items()}

    def rollbacks(self) -> list[str]:
        return [name for name in self.server.models if "-before-" in name]


@pytest.fixture(params=VERSIONS)
def scene(request: pytest.FixtureRequest, shop: Workshop, tokenizer: Any, tmp_path: Path) -> Iterator[Scene]:
    yield from staged(request.param, shop, tokenizer, tmp_path)


@pytest.fixture
def newer(shop: Workshop, tokenizer: Any, tmp_path: Path) -> Iterator[Scene]:
    yield from staged(VERSIONS[-1], shop, tokenizer, tmp_path)


def staged(version: Any, shop: Workshop, tokenizer: Any, folder: Path) -> Iterator[Scene]:
    def counts(text: str) -> int:
        return len(encode_prompt(tokenizer, text))

    made = folder / "tiny-Q8_0.gguf"
    made.write_bytes(file(header({**KEYS, "tokenizer.chat_template": CHATML})) + os.urandom(16))
    with OllamaStandin(version, load_seconds=0.02, token_seconds=0.0) as server:
        server.store.mind = {"answer": "Hello.", "counts": counts}
        server.add_model(NAME, **FORMER)
        server.add_model("else:v1")
        with Ollama(server.url) as client:
            client.load(NAME, context_length=512)
        yield Scene(shop, server, made)


def result_of(run: RunDir) -> dict[str, Any]:
    document = read_json(run.result)
    return dict(document["summary"]) if isinstance(document, dict) else {}


def error_of(run: RunDir, attempt: int = 1) -> dict[str, Any]:
    return read_json(run.attempt(attempt).error_json) or {}


def listed(server: OllamaStandin) -> list[tuple[str, int]]:
    return [(one["name"], one["context_length"]) for one in server.scheduler.ps()]


def test_a_file_serves_once_it_is_proved_and_what_served_is_kept(scene: Scene) -> None:
    former = scene.tags[NAME]
    code, run = scene.run()
    assert code == 0, error_of(run)
    told, model = result_of(run), scene.server.models[NAME]
    (kept,) = scene.rollbacks()
    assert kept == f"hello:prod-before-{run.path.name}" and scene.tags[kept] == former
    assert set(scene.tags) == {NAME, kept, "else:v1"} and model.answer == "Hello."
    assert model.template == Family("chatml").go_template and model.system == ""
    sampling = HELLO.sampling
    assert model.parameters == {
        "num_ctx": sampling.context_length,
        "num_predict": sampling.max_new_tokens,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "repeat_penalty": 1.0,
        "stop": ["<|im_end|>", "<|im_start|>"],
    }
    assert (told["name"], told["digest"], told["blob"], told["rollback"]) == (NAME, model.digest, model.blob, kept)
    assert (told["server"], told["answer"], told["template"]["family"]) == (scene.server.version, "Hello.", "chatml")
    assert told["prompts"] == len(read_json(run.parity)["cases"]) and read_json(run.parity)["passed"]
    assert listed(scene.server) == [(NAME, 512)], "the server's memory is as it was"
    assert events(run, 1, "warning") == []


def test_the_same_again_replaces_nothing_and_keeps_nothing_anew(newer: Scene) -> None:
    assert newer.run()[0] == 0
    before = newer.tags
    code, run = newer.run()
    assert code == 0 and newer.tags == before and result_of(run)["rollback"] is None


def test_a_template_of_an_installed_model_is_proved_with_the_files_own_one_taken_out(newer: Scene) -> None:
    """The file's own can do more, so it would run: that of the installed model renders the same for this task alone."""
    newer.file.write_bytes(file(header({**KEYS, "tokenizer.chat_template": THINKS})))
    official = OfficialTemplate(model="chatml:1", template=Family("chatml").go_template, stops=("<|im_end|>",))
    code, run = newer.run(served=ServedAs(task=HELLO, official=official))
    assert code == 0, error_of(run)
    assert newer.server.models[NAME].own_template == "" and result_of(run)["template"] == {
        "from": "chatml:1",
        "runs": "template",
    }
    assert list(newer.shop.home.artefacts.glob(".tmp-*")) == [] and newer.file.read_bytes()[:4] == b"GGUF"


def test_where_no_family_is_known_the_files_own_runs(scene: Scene) -> None:
    """The newer one knows a template for a jinja that is much like ChatML's; an older one is not sent what it cannot read."""
    before = scene.tags
    scene.file.write_bytes(file(header({**KEYS, "tokenizer.chat_template": THINKS})))
    code, run = scene.run()
    if scene.server.newer:
        assert code == 0, error_of(run)
        assert result_of(run)["template"] == {"from": "file", "runs": "jinja"}
        return
    assert (code, error_of(run)["code"]) == (2, "unknown_template") and scene.tags == before
    assert not any(asked.path.startswith("/api/blobs/") for asked in scene.server.requests), "nothing was sent"


def test_a_template_that_ollama_takes_for_anothers_runs_all_the_same(newer: Scene, tmp_path: Path) -> None:
    """Its text is near ChatML's, and what it renders is not: the file is sent with a remark in front of it."""
    plain = byte_level(ASKING_PLAINLY)
    folder = write_model(tmp_path / "plain", plain)
    newer.file.write_bytes(file(header({**KEYS, "tokenizer.chat_template": ASKING_PLAINLY})))
    newer.server.store.mind["counts"] = lambda text: len(encode_prompt(plain, text))
    code, run = newer.run(model=ModelEntry(name="plain", path=str(folder)))
    told = result_of(run)["template"] if code == 0 else error_of(run)
    assert code == 0, told
    assert told == {"from": "file", "runs": "jinja"}
    assert newer.server.models[NAME].own_template == APART + ASKING_PLAINLY


# What goes wrong: who does it, how the job ends, and with which error.

Arrange = Callable[[Scene], None]


def dressed(**more: Any) -> Arrange:
    """The server makes something else of what it is sent."""

    def arrange(scene: Scene) -> None:
        scene.server.store.dress = lambda model: replace(model, **more)

    return arrange


def at(method: str, path: str, act: Callable[[Scene], None], nth: int = 1) -> Arrange:
    """Something happens as the nth such request comes, before it is answered."""

    def arrange(scene: Scene) -> None:
        seen = 0

        def look(asked: Asked) -> None:
            nonlocal seen
            if (asked.method, asked.path.startswith(path)) == (method, True):
                seen += 1
                if seen == nth:
                    act(scene)

        scene.server.on_request = look

    return arrange


def refuses(path: str, status: int = 500, said: str = "no room") -> Callable[[Scene], None]:
    return lambda scene: scene.server.answer_next(b'{"error": "%s"}' % said.encode(), path, status=status)


def drops(path: str) -> Callable[[Scene], None]:
    return lambda scene: scene.server.drop_next(path)


def becomes(version: str) -> Callable[[Scene], None]:
    return lambda scene: setattr(scene.server, "version", version)


def answers_short(text: str) -> int:
    return 1


BLOBS, CREATE, COPY = "/api/blobs/", "/api/create", "/api/copy"
FAULTS: dict[str, tuple[Arrange, int, str]] = {
    "the server is away": (lambda scene: scene.server.down(), 1, "server_down"),
    "the upload is refused": (
        at("POST", BLOBS, refuses(BLOBS, 400, "digest mismatch, expected a")),
        1,
        "server_refused",
    ),
    "nothing is created": (at("POST", CREATE, refuses(CREATE, 400, "unsupported architecture")), 1, "create_refused"),
    "the creation breaks off": (at("POST", CREATE, drops(CREATE)), 1, "server_down"),
    "the server is another one afterwards": (at("POST", CREATE, becomes("0.34.0")), 1, "server_changed"),
    "another template runs": (dressed(template="{{ .Prompt }}"), REFUSED, "other_template"),
    "stop words are lost": (dressed(parameters={}), REFUSED, "parameter_lost"),
    "the server counts other tokens": (dressed(counts=answers_short), REFUSED, "prompt_count"),
    "nothing is answered": (dressed(answer=""), REFUSED, "no_answer"),
    "what served is not kept": (at("POST", COPY, refuses(COPY)), 1, "server_refused"),
    "it is not put in place": (at("POST", COPY, refuses(COPY), 2), 1, "server_refused"),
    "the server goes away before": (at("POST", COPY, drops(COPY), 2), 1, "server_down"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_leaves_what_served_as_it_was(newer: Scene, fault: str) -> None:
    arrange, wanted, error = FAULTS[fault]
    before, memory = newer.tags, listed(newer.server)
    arrange(newer)
    code, run = newer.run()
    assert (code, error_of(run).get("code")) == (wanted, error), error_of(run)
    assert newer.tags == before, "no staging tag, and none that keeps what nothing has replaced"
    assert not run.result.exists()
    if fault != "the server is away":
        assert listed(newer.server) == memory


def test_a_copy_whose_answer_is_lost_is_looked_up(newer: Scene) -> None:
    def done_and_lost(scene: Scene) -> None:
        scene.server.copy_model(STAGING, NAME)
        scene.server.drop_next(COPY)

    at("POST", COPY, done_and_lost, 2)(newer)
    assert newer.run()[0] == 0
    assert newer.server.models[NAME].answer == "Hello." and len(newer.rollbacks()) == 1


def test_a_staging_tag_that_does_not_go_is_told_and_removed_by_the_next_deployment(newer: Scene) -> None:
    at("DELETE", "/api/delete", refuses("/api/delete"))(newer)
    code, run = newer.run()
    assert code == 0 and STAGING in newer.tags and result_of(run)["digest"] == newer.tags[NAME]
    assert [one["code"] for one in events(run, 1, "warning")] == ["staging_left"]
    newer.server.on_request = None
    other = "other:v1-staging-0a1b2c3d"
    assert newer.run(name="other:v1", staging=other)[0] == 0
    assert STAGING not in newer.tags and other not in newer.tags


@pytest.mark.parametrize("path", [BLOBS, CREATE])
def test_a_stop_while_the_server_works_leaves_nothing(newer: Scene, path: str) -> None:
    before, run = newer.tags, newer.submit()

    def stop(scene: Scene) -> None:
        scene.server.delay_next(600.0, path)
        write_json(run.attempt(1).stop_request, {"why": "cancel"})

    at("POST", path, stop)(newer)
    assert newer.shop.finish(run) == STOPPED
    assert newer.tags == before and not run.result.exists() and not run.attempt(1).error_json.exists()


KILLS = {
    "as the file is sent": ("POST", BLOBS, 1),
    "as the model is made": ("POST", CREATE, 1),
    "as it is loaded": ("POST", "/api/generate", 1),
    "as a prompt is rendered": ("POST", "/api/chat", 3),
    "as what served is kept": ("POST", COPY, 1),
    "as it is put in place": ("POST", COPY, 2),
    "as the staging tag goes": ("DELETE", "/api/delete", 1),
}


@pytest.mark.parametrize("moment", KILLS)
def test_killed_anywhere_it_is_done_by_its_next_attempt(newer: Scene, moment: str) -> None:
    scene, former, memory, run = newer, newer.tags[NAME], listed(newer.server), newer.submit()
    started: list[Process] = []
    known = threading.Event()

    def kill(scene: Scene) -> None:
        known.wait()
        os.kill(started[0].pid, signal.SIGKILL)

    method, path, nth = KILLS[moment]
    at(method, path, kill, nth)(scene)
    started.append(scene.shop.start(run))
    known.set()
    assert scene.shop.ended(started[0]) == -signal.SIGKILL
    scene.server.on_request = None
    # The request that it died over is done all the same, or not: what served is one of the two.
    assert scene.tags[NAME] == former or scene.server.models[NAME].answer == "Hello."
    assert scene.shop.finish(run, 2) == 0, error_of(run, 2)
    (kept,) = scene.rollbacks()
    assert (scene.tags[kept], scene.server.models[NAME].answer) == (former, "Hello.")
    assert set(scene.tags) == {NAME, kept, "else:v1"}, "no stray tag"
    assert result_of(run)["rollback"] == kept and result_of(run)["digest"] == scene.tags[NAME]
    assert listed(scene.server) == memory, "nothing of it stays in the server's memory"


def test_two_deployments_of_one_name_go_one_after_the_other(newer: Scene) -> None:
    """A server of another machine: its deployments run beside other jobs."""
    first, second = newer.submit(), newer.submit()
    go_on = threading.Event()
    at("POST", CREATE, lambda scene: bool(go_on.wait()))(newer)
    one = newer.shop.start(first)
    wait_until(lambda: any(asked.path == CREATE for asked in newer.server.requests), one)
    two = newer.shop.start(second)
    wait_until(lambda: bool(events(second, 1, "phase")), two)
    go_on.set()
    assert (newer.shop.ended(one), newer.shop.ended(two)) == (0, 0)
    assert sum(asked.path == CREATE for asked in newer.server.requests) == 2 and len(newer.rollbacks()) == 1
    assert STAGING not in newer.tags
