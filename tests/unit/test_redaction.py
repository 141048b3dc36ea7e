"""No password and no token is shown or stored, wherever it comes from; what is no secret stays as it is."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crash_report import crash_line
from core.doctor.results import Diagnostic
from core.errors import BakehouseError
from core.events import EventReader, EventWriter
from core.reasons import Reason
from core.redaction import RedactedStream, redact, redact_address, redact_all, secrets_of_address
from core.runner.log import LineFormatter
from core.serving.address import server_address, server_url
from core.serving.errors import reason_of
from core.serving.ollama import Ollama, ServerError
from core.text import log_line
from core.wording.gpu import gpu_words

SECRET = "s3cr3t-Pa55w0rd"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OLLAMA_HOST", "HTTPS_PROXY", "HF_TOKEN", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"http://me:{SECRET}@host:1/a", "http://***@host:1/a"),
        (f"cannot reach 'https://{SECRET}@hub.example/x'", "cannot reach 'https://***@hub.example/x'"),
        (f"socks5h://u:{SECRET}@proxy:9 and http://plain/x", "socks5h://***@proxy:9 and http://plain/x"),
        (f"postgresql+psycopg://u:a@{SECRET}@db/x", "postgresql+psycopg://***@db/x"),
        (f"git+https://oauth2:{SECRET}@git.example/a.git", "git+https://***@git.example/a.git"),
        (f"GET /x?token={SECRET}&page=2", "GET /x?token=***&page=2"),
        (f"https://b.example/o?X-Amz-Signature={SECRET}&e=1", "https://b.example/o?X-Amz-Signature=***&e=1"),
        (f"https://b.example/o?a=1;api_key={SECRET}#frag", "https://b.example/o?a=1;api_key=***#frag"),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer ***"),
        (f"{{'authorization': 'Basic {SECRET}=='}}", "{'authorization': 'Basic ***'}"),
        (f'"Proxy-Authorization": "{SECRET}"', '"Proxy-Authorization": "***"'),
        (f"X-Api-Key={SECRET}, Accept: x", "X-Api-Key=***, Accept: x"),
        (f"sent Bearer {SECRET} to it", "sent Bearer *** to it"),
        (f"WANDB_API_KEY={SECRET} bakehouse", "WANDB_API_KEY=*** bakehouse"),
        (f"curl -u me:{SECRET} https://host/x", "curl -u me:*** https://host/x"),
        (f"pip --password {SECRET} x", "pip --password *** x"),
        (f"hf --hf-token={SECRET}", "hf --hf-token=***"),
        (f"host='me:{SECRET}@host', port=80", "host='***@host', port=80"),
        (f"//me:{SECRET}@host/path", "//***@host/path"),
        (f"http://me:{SECRET}/2@host:80/x", "http://***@host:80/x"),
        (f"http://me:{SECRET}#1@host/x", "http://***@host/x"),
        (f"login me password {SECRET}", "login me password ***"),
        (f"{{'password': '{SECRET}', 'a': 1}}", "{'password': '***', 'a': 1}"),
        ('"password": "correct-horse"', '"password": "***"'),
        (f"hf_token: {SECRET}", "hf_token: ***"),
        (f'HF_TOKEN = "{SECRET}"', 'HF_TOKEN = "***"'),
        (f"export AWS_SESSION_TOKEN='{SECRET}'", "export AWS_SESSION_TOKEN='***'"),
        (f"MYSQL_PWD={SECRET}", "MYSQL_PWD=***"),
        (f"x-amz-security-token: {SECRET}", "x-amz-security-token: ***"),
        (f"Ocp-Apim-Subscription-Key: {SECRET}", "Ocp-Apim-Subscription-Key: ***"),
        (f"Cookie: a=b; session={SECRET}", "Cookie: ***"),
        (f'Authorization: Digest username="me", response="{SECRET}"', "Authorization: Digest ***"),
        (
            f"Authorization: AWS4-HMAC-SHA256 Credential={SECRET}/1, Signature={SECRET}",
            "Authorization: AWS4-HMAC-SHA256 ***",
        ),
        (f"https://h/#access_token={SECRET}", "https://h/#access_token=***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", "***"),
        ("AIza" + "a" * 35, "***"),
        ("token hf_abcdefghijKLMNOP is wrong", "token *** is wrong"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ01", "***"),
        ("AKIA0123456789ABCDEF", "***"),
    ],
)
def test_a_secret_in_each_of_its_places(text: str, shown: str) -> None:
    assert redact(text) == redact(redact(text)) == shown
    assert SECRET not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        *("http://127.0.0.1:11434", "anna@gpubox, console", "git@github.com:a/b.git", "https://a/b@1.2", "a:b@c"),
        *(
            "max_tokens=512",
            "MAX_TOKENS=512",
            "?page=2&sort=key",
            "the basic authentication of HTTP",
            "hf_home",
            "key: x",
        ),
        *(
            "pad_token='<pad>'",
            "eos_token: <|end_of_text_1|>",
            "tokens=1.2345678e-05",
            "token_accuracy=0.98765432a",
            "PWD=/home/anna1",
        ),
        *(
            "password: is asked for by the server",
            "ollama/ollama:0.6.4-rocm@sha256:ab",
            "http://[::1]:80/x@y",
            "tokens: 12345678",
        ),
        *("secret_file: /run/secrets/x12", "http://h:8080/a@b", "bos_token_id=1", "--max-tokens 512", "skeleton-key"),
        *("Basic questions about bread", "50 tokens/s", "eos_token=</s>", "secret", "https://host/?monkey=1"),
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_what_the_environment_holds_is_hidden_wherever_it_turns_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = base64.b64encode(b"me:p@ss w0rd/1").decode()
    monkeypatch.setenv("HTTPS_PROXY", "http://me:p%40ss%20w0rd%2F1@proxy:3128")
    monkeypatch.setenv("HF_TOKEN", "nothing-of-a-known-shape")
    said = redact(f"tried p@ss w0rd/1, p%40ss%20w0rd%2F1, header {pair}, with nothing-of-a-known-shape")
    assert said == "tried ***, ***, header ***, with ***"
    monkeypatch.delenv("HTTPS_PROXY")
    assert "p@ss w0rd/1" in redact("tried p@ss w0rd/1"), "the environment is asked each time"


def test_a_short_password_is_hidden_in_its_place_and_no_word_for_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://me:tea@host")
    assert redact("http://me:tea@host says that tea is hot") == "http://***@host says that tea is hot"


@pytest.mark.process
def test_every_way_to_a_person_or_a_file_hides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"cannot open http://me:{SECRET}@host/x"
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path))
    error = BakehouseError(said, file=f"http://me:{SECRET}@host/f", remedy=said)
    events = EventWriter(tmp_path / "events.jsonl")
    events.write("warning", code="x", message=said)
    (event,) = EventReader(tmp_path / "events.jsonl")
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s", (said,), None)
    out = io.StringIO()
    stream = RedactedStream(out)
    stream.write(said[:25])
    stream.write(said[25:] + "\nAuthorization: ")
    stream.write(SECRET)
    stream.flush()
    line = crash_line(RuntimeError(said), "A test")
    ways = [
        *(str(error), error.to_json(), event, Reason("x", {"message": said, "many": [said]}).to_json()),
        *(
            Diagnostic("Ollama", "fault", said, said).to_json(),
            log_line(said),
            LineFormatter("%(message)s").format(record),
        ),
        *(out.getvalue(), line),
        (tmp_path / "events.jsonl").read_text(),
        *(path.read_text() for path in tmp_path.rglob("crash-*.txt")),
    ]
    for way in ways:
        assert SECRET not in json.dumps(way)
    assert out.getvalue() == "cannot open http://***@host/x\nAuthorization: ***"


@given(st.text(max_size=60), st.from_regex(r"[A-Za-z0-9!$&'()*+,;=._~%-]{1,40}", fullmatch=True))
def test_no_part_of_an_address_before_its_host_is_left(around: str, password: str) -> None:
    address = f"http://user:{password}@host/path"
    said = redact(f"{around} {address} {around}")
    assert f":{password}@" not in said and "***@host/path" in said
    assert redact(said) == said


@given(st.text(max_size=80))
def test_any_text_is_redacted_in_a_moment_and_only_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_document_keeps_its_form() -> None:
    document = {"token": 5, "a": [None, True, {"b": "http://u:p@h"}], "c": 1.5}
    assert redact_all(document) == {"token": 5, "a": [None, True, {"b": "http://***@h"}], "c": 1.5}


# The model server's address.


@pytest.mark.parametrize(
    ("written", "url", "pair"),
    [
        (f"http://me:{SECRET}@host", "http://host:80", f"me:{SECRET}"),
        (f"me:{SECRET}@host:1234", "http://host:1234", f"me:{SECRET}"),
        (f"https://{SECRET}@host/ollama/", "https://host:443/ollama", f"{SECRET}:"),
        ("http://a%40b:c%2Fd%3A@[::1]:5", "http://[::1]:5", "a@b:c/d:"),
        ("me:a:b@c@10.0.0.1", "http://10.0.0.1:11434", "me:a:b@c"),
        (":pass@0.0.0.0", "http://127.0.0.1:11434", ":pass"),
        ("é:ü@host", "http://host:11434", "é:ü"),
    ],
)
def test_user_and_password_are_sent_and_not_shown(written: str, url: str, pair: str) -> None:
    address = server_address(written)
    assert address.url == server_url(written) == Ollama(written).url == url
    assert address.authorization == f"Basic {base64.b64encode(pair.encode()).decode()}"
    assert "Basic" not in repr(address)


@pytest.mark.parametrize(
    "written", ["ftp://me:{}@host", "me:{}/x@host", "http://me:{}@", "me:{}@ho st", "http://a:{}@host?x"]
)
def test_a_wrong_address_is_quoted_without_its_password(written: str) -> None:
    address = written.format(SECRET)
    try:
        assert SECRET not in server_url(address)
    except BakehouseError as error:
        assert SECRET not in json.dumps(error.to_json())
        assert "***" in error.message
    assert SECRET not in redact_address(address)


def test_what_of_an_address_is_secret() -> None:
    assert "p%20w" in secrets_of_address("http://u:p%20w@h") and "p w" in secrets_of_address("http://u:p%20w@h")
    assert secrets_of_address("http://host:80/a") == set()


class Gatekeeper(BaseHTTPRequestHandler):
    """A server that lets one user in, and says 401 or 407 to others."""

    status = 401

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        good = given == f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"
        body = b'{"version": "0.33.0"}' if good else b"<html>who is there?</html>"
        self.send_response(200 if good else self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(params=[401, 407])
def gate(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    Gatekeeper.status = request.param
    server = HTTPServer(("127.0.0.1", 0), Gatekeeper)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", request.param
    server.shutdown()
    server.server_close()


def test_a_server_behind_a_password_is_asked_with_it(gate: tuple[str, int]) -> None:
    host, _ = gate
    with Ollama(f"http://me:{SECRET}@{host}") as server:
        assert server.version() == "0.33.0"
        assert server.url == f"http://{host}"


@pytest.mark.parametrize("pair", ["", "me:wrong-password@", "token-alone@"])
def test_a_server_that_lets_nobody_in_says_so_and_what_to_write(gate: tuple[str, int], pair: str) -> None:
    host, status = gate
    with Ollama(f"{pair}{host}") as server, pytest.raises(ServerError) as refused:
        server.version()
    error, reason = refused.value, reason_of(refused.value)
    assert (error.code, error.status, reason.code) == ("server_refused", status, "server_wants_password")
    assert ("did not accept" if pair else "asks for a user and a password") in error.message
    assert ("proxy" in error.message) == (status == 407)
    assert "USER:PASSWORD@host" in (error.remedy or "")
    words = gpu_words(reason)
    assert host in words and "wrong-password" not in words + str(error)
