"""`servers:` of a settings file: what may stand there, what a job file gets of it, and that no key is in any of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.config.project import load_project
from core.config.settings import Settings, load_settings
from core.errors import InputError, NotFoundError
from core.jobfile.servers import known_servers, login_of, named_server
from core.redaction import redact
from core.serving.servers import key_of, open_served

KEY = "abcdefgh-a-key-nobody-guesses"


def project(folder: Path, servers: str) -> Settings:
    (folder / "bakehouse.yaml").write_text(f"id: a\nname: a\nservers:\n{servers}")
    return load_project(folder).settings


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of a person."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    file = tmp_path / "config/bakehouse/settings.yaml"
    file.parent.mkdir(parents=True)
    return file


def test_servers_of_a_person_and_of_a_project_are_known_by_their_names(person: Path, tmp_path: Path) -> None:
    person.write_text(
        "servers: {box: {api: ollama, url: box}, llama: {api: openai, url: 127.0.0.1}}\nollama: {url: here:1234}\n"
    )
    settings = project(
        tmp_path,
        "  llama: {api: openai, url: 'http://10.0.0.7:8000/v1/', local: true, silence_seconds: 5}\n"
        "  hosted: {api: openai, url: 'https://api.example.org/v1', key_env: SOME_KEY, omit: [seed]}\n",
    )
    servers = known_servers(settings)
    assert {name: (one.api, one.url, one.is_local) for name, one in servers.items()} == {
        "ollama": ("ollama", "http://here:1234", False),
        "box": ("ollama", "http://box:11434", False),
        "llama": ("openai", "http://10.0.0.7:8000/v1", True),
        "hosted": ("openai", "https://api.example.org:443/v1", False),
    }
    assert servers["llama"].silence_seconds == 5
    assert (servers["hosted"].key_variable, servers["hosted"].omit) == ("SOME_KEY", ("seed",))
    with pytest.raises(NotFoundError, match="there are ollama, box, llama, hosted"):
        named_server(settings, "nobody")


def test_an_address_without_a_port_has_the_port_of_its_kind(tmp_path: Path, person: Path) -> None:
    servers = known_servers(
        project(tmp_path, "  a: {api: openai, url: 127.0.0.1}\n  b: {api: openai, url: 'http://c'}\n")
    )
    assert (servers["a"].url, servers["b"].url) == ("http://127.0.0.1:8080", "http://c:80")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("  a: {api: openai}\n", "the key `url` is missing"),
        ("  a: {api: gopher, url: x}\n", "expected `ollama` or `openai`"),
        ("  a: {api: openai, url: 'ftp://x'}\n", "is no address of a model server"),
        ("  a: {api: openai, url: 'http://me:secret99@x/v1'}\n", "a password would stand in the job files"),
        ("  a: {api: openai, url: x, key: abc}\n", "did you mean `key_env`"),
        ("  a: {api: openai, url: x, key_env: 'sk-abc def'}\n", "expected text like"),
        ("  a: {api: openai, url: x, silence_seconds: 0}\n", "at least 1"),
        ("  a: {api: openai, url: x, omit: [messages]}\n", "`messages` has to be sent"),
        ("  a: {api: ollama, url: x, omit: [seed]}\n", "Ollama refuses no option"),
        ("  ollama: {api: ollama, url: x}\n", "`ollama.url` says where it is"),
        ("  job: {api: openai, url: x}\n", "no server can be called `job`"),
        ("  'a:b': {api: openai, url: x}\n", "a name of letters"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_line(tmp_path: Path, person: Path, written: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        project(tmp_path, written)
    assert said in str(caught.value)
    assert "bakehouse.yaml:4" in str(caught.value)
    assert "secret99" not in str(caught.value)


def test_a_key_is_read_where_it_is_said_to_be_and_shown_nowhere(
    tmp_path: Path, person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = project(tmp_path, "  hosted: {api: openai, url: x, key_env: PAN_CAKE}\n")
    server = named_server(settings, "hosted")
    monkeypatch.delenv("PAN_CAKE", raising=False)
    with pytest.raises(InputError, match="environment variable PAN_CAKE, which is not set") as caught:
        open_served(server, "m")
    assert (caught.value.code, caught.value.key) == ("key_missing", "PAN_CAKE")
    monkeypatch.setenv("PAN_CAKE", f" {KEY}\n")
    load_project(tmp_path)
    assert redact(f"it is {KEY}!") == "it is ***!"
    assert key_of(server) == KEY
    assert KEY not in json.dumps(server.model_dump(mode="json"))
    monkeypatch.setenv("PAN_CAKE", "a\nb")
    with pytest.raises(InputError, match="has signs that no key has"):
        key_of(server)


def test_the_password_of_the_built_in_server_stays_in_its_setting(person: Path) -> None:
    person.write_text("ollama: {url: 'http://me:open-sesame-77@box:99'}\n")
    server = known_servers(load_settings())["ollama"]
    assert "sesame" not in server.model_dump_json()
    login = login_of(server)
    assert login is not None
    assert (login.url, (login.authorization or "")[:6]) == (server.url, "Basic ")
    person.write_text("ollama: {url: 'http://me:open-sesame-77@another:99'}\n")
    assert login_of(server) is None, "the password is not for the server of the job"
