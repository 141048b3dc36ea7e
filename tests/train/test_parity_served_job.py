"""The job `parity` on served models: of a stand-in of Ollama that counts by the trained tokenizer, and of a llama-server."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from core.config.model import ModelEntry
from core.data.render import encode_prompt
from core.home import Home
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.parity import ParitySpec
from core.serving.servers import model_names
from tests.support.llama_cpp import convertible_model, gguf_of, started
from tests.support.ollama_models import CHATML
from tests.support.ollama_standin import VERSIONS, OllamaStandin
from tests.support.parity_checks import HELLO, REFUSED, Outcome, outcome_of
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train

_ids = count(1)

Check = Callable[[ServerUnderTest, str], Outcome]


@pytest.fixture(scope="module")
def entry(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    """Random weights behind the real small model's tokenizer and template."""
    return convertible_model(model_cache, tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tokenizer(entry: ModelEntry) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(entry.path)


@pytest.fixture(scope="module")
def check(entry: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Check]:
    """Runs the job: its exit code, what it found, its error where it ended in one, and its warnings."""
    shop = Workshop(Home(tmp_path_factory.mktemp("home")).create(), entry, forked=True)

    def run(server: ServerUnderTest, model: str) -> Outcome:
        golden = shop.golden("Say hello.", "Name a flour.")
        spec = ParitySpec(server=server, served_model=model, model=entry, task=HELLO, golden=golden)
        return outcome_of(shop, next(_ids), spec, "warning")

    yield run
    shop.close()


@pytest.fixture(params=VERSIONS)
def standin(request: pytest.FixtureRequest, tokenizer: Any) -> Iterator[OllamaStandin]:
    def counts(text: str) -> int:
        return len(encode_prompt(tokenizer, text))

    with OllamaStandin(request.param, load_seconds=0.05, token_seconds=0.0) as server:
        for name, more in {"sound": {}, "deaf": {"template": "{{ .Prompt }}"}, "padded": {}}.items():
            given: dict[str, Any] = {"template": CHATML, "answer": "Hello.", "counts": counts, **more}
            server.add_model(name, **given)
        server.models["padded:latest"].counts = lambda text: counts(text) + 1
        yield server


def ollama_at(url: str) -> ServerUnderTest:
    return ServerUnderTest(name="ollama", api="ollama", url=url)


def test_a_model_of_an_ollama_passes_and_is_unloaded(standin: OllamaStandin, check: Check) -> None:
    code, found, error, warnings = check(ollama_at(standin.url), "sound")
    assert (code, error, warnings) == (0, {}, [])
    assert found["passed"] and found["findings"] == [] and len(found["cases"]) == 8
    assert (found["served"], found["server"]) == ("ollama:sound", standin.version)
    assert found["weights"] == standin.models["sound:latest"].blob and "file" not in found
    assert standin.listed() == []


@pytest.mark.parametrize(("model", "codes"), [("deaf", {"no_template"}), ("padded", {"prompt_count"})])
def test_a_model_of_an_ollama_that_gets_other_prompts_is_refused(
    standin: OllamaStandin, check: Check, model: str, codes: set[str]
) -> None:
    code, found, error, _ = check(ollama_at(standin.url), model)
    told = {case["cause"]["code"] for case in found["cases"] if not case["same"]}
    told |= {finding["code"] for finding in found["findings"]}
    assert code == REFUSED and not found["passed"] and codes <= told
    assert error["code"] in codes and error["remedy"] and model in str(error)
    assert standin.listed() == []


def test_what_was_loaded_before_is_so_afterwards(standin: OllamaStandin, check: Check, tokenizer: Any) -> None:
    from core.serving.ollama import Ollama

    with Ollama(standin.url) as client:
        client.load("sound", context_length=512)
    assert check(ollama_at(standin.url), "sound")[0] == 0
    assert [(one["name"], one["context_length"]) for one in standin.scheduler.ps()] == [("sound:latest", 512)]


def test_a_server_that_is_away_and_one_that_shows_nothing_say_so(standin: OllamaStandin, check: Check) -> None:
    standin.version = "0.11.4"  # type: ignore[assignment]
    code, found, error, _ = check(ollama_at(standin.url), "sound")
    assert code not in (0, REFUSED) and error["code"] == "no_render" and not found
    standin.down()
    code, found, error, _ = check(ollama_at(standin.url), "sound")
    assert code not in (0, REFUSED) and error["code"] == "server_down" and not found


def test_a_model_of_a_llama_server_that_runs_passes(entry: ModelEntry, check: Check, tmp_path: Path) -> None:
    file = gguf_of(entry, tmp_path / "tiny-Q8_0.gguf")
    url, process = started(file, tmp_path / "server.log", "-c", "1024", "-np", "1", "--jinja")
    try:
        server = ServerUnderTest(name="box", api="openai", url=url)
        (name,) = model_names(server)
        code, found, error, _ = check(server, name)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    assert (code, error) == (0, {})
    assert found["passed"] and all(case["same"] for case in found["cases"]) and found["served"] == f"box:{name}"
