"""The template of an installed model, read from a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.config.project import shipped
from core.config.settings import OllamaSettings, Settings
from core.errors import InputError
from core.jobfile.served_as import OfficialTemplate
from core.serving.ollama import Ollama
from core.shipping.installed import InstalledTemplate, installed_template
from core.submission.served_as import served_as
from tests.support.ollama_standin import OllamaStandin

pytestmark = pytest.mark.process

OFFICIAL = (
    "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}{{ end }}{{ .Tools }}"
)


@pytest.fixture(scope="module")
def server() -> Iterator[OllamaStandin]:
    with OllamaStandin("0.33.0-rc2") as standin:
        standin.add_model(
            "qwen3:8b", template=OFFICIAL, parameters={"stop": ["<|im_start|>", "<|im_end|>"], "top_k": 20}
        )
        standin.add_model("bare", template=None)
        standin.add_model("rendered", template=OFFICIAL, renderer="qwen3.5")
        standin.add_model("cloud", template=OFFICIAL, remote_host="https://elsewhere.example:443")
        standin.add_model(
            "jinja", own_template="{% for m in messages %}{% endfor %}", own_capabilities=("tools", "thinking")
        )
        yield standin


def test_template_and_stops_are_taken(server: OllamaStandin) -> None:
    with Ollama(server.url) as ollama:
        found = installed_template(ollama, "qwen3:8b")
    assert found == InstalledTemplate("qwen3:8b", OFFICIAL, ("<|im_start|>", "<|im_end|>"))
    assert found.capabilities == {"thinking", "tools"}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nobody", "no model"),
        ("no name?", "no model"),
        ("bare", "no template"),
        ("jinja", "jinja of its file"),
        ("rendered", "by Ollama itself (qwen3.5)"),
        ("cloud", "elsewhere.example"),
    ],
)
def test_a_model_without_one_is_refused_with_what_to_do(server: OllamaStandin, model: str, words: str) -> None:
    with Ollama(server.url) as ollama, pytest.raises(InputError) as caught:
        installed_template(ollama, model)
    assert (caught.value.code, caught.value.key) == ("no_installed_template", "template_from")
    assert caught.value.remedy and words in str(caught.value)


def test_an_export_takes_the_template_that_the_models_entry_names(server: OllamaStandin) -> None:
    project = replace(shipped(), settings=Settings(ollama=OllamaSettings(url=server.url)))
    entry = project.model("Qwen3-4B").model_copy(update={"template_from": "qwen3:8b"})
    served = served_as(project, "judge", entry)
    assert served.official == OfficialTemplate(
        model="qwen3:8b", template=OFFICIAL, stops=("<|im_start|>", "<|im_end|>")
    )
    assert served.task == project.task("judge")
    assert served_as(project, "a task that is gone", entry).task is None
    with pytest.raises(InputError):
        served_as(project, "judge", entry.model_copy(update={"template_from": "nobody"}))


def test_a_server_that_is_not_there() -> None:
    with Ollama("http://127.0.0.1:9") as ollama, pytest.raises(InputError) as caught:
        installed_template(ollama, "qwen3:8b")
    assert caught.value.code == "no_installed_template" and "Ollama" in str(caught.value.remedy)
