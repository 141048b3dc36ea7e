"""What a model server can do wrong, and what is to become of it: the table of cases that both APIs are held to."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

from core.serving.answer_parts import LONGEST_ANSWER_CHARACTERS
from tests.support.hostile import NAME
from tests.support.hostile_server import STREAM, Behaviour, Connection, chunked, end, head, piece, whole


@dataclass(frozen=True)
class Outcome:
    """What is to become of it: an error's code and whether it passes, or a reply's end with its text."""

    code: str | None = None
    transient: bool = True
    finish: str = "stop"
    text: str | None = None
    status: int | None = None


def long_answer(connection: Connection) -> None:
    connection.begin()
    for _ in range(160):
        connection.say("x" * 65536)
    connection.end()


def in_one_line(megabytes: int) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.begin()
        connection.say("x" * (megabytes * 10**6))
        connection.end()

    return behave


def endless(text: str) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.begin()
        while True:
            connection.say(text)

    return behave


def byte_by_byte(connection: Connection) -> None:
    connection.begin()
    for byte in piece(connection.api, '"Brot è 🥐"'.encode()) + end(connection.api):
        connection.send(bytes([byte]))


def raw_piece(text: bytes) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.begin()
        connection.send(piece(connection.api, text), end(connection.api))

    return behave


def halves(connection: Connection) -> None:
    connection.begin()
    connection.send(
        piece(connection.api, rb'"\ud83e"'), piece(connection.api, rb'"\udd50 \ud83e"'), end(connection.api)
    )


def stalls_at_once(connection: Connection) -> None:
    connection.stall()


def stalls_in_the_middle(connection: Connection) -> None:
    connection.begin()
    connection.say("a")
    connection.stall()


def trickles(connection: Connection) -> None:
    """Never silent for long, and never done."""
    connection.begin()
    while not connection.server.over.wait(0.02):
        connection.send(b"\n" if connection.api == "ollama" else b": still here\n\n")


def trickling_head(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX: ")
    while not connection.server.over.wait(0.02):
        connection.send(b"x")


def with_length(difference: int) -> Behaviour:
    """Says another length than it sends, and closes."""

    def behave(connection: Connection) -> None:
        body = piece(connection.api, b'"half"') + end(connection.api)
        length = f"Content-Length: {len(body) + difference}"
        connection.send(head(200, STREAM[connection.api], length), body)

    return behave


def closes_in_the_middle(connection: Connection) -> None:
    connection.send(head(200, STREAM[connection.api], "Transfer-Encoding: chunked"))
    connection.send(chunked(piece(connection.api, b'"half"')))


def ends_without_an_end(connection: Connection) -> None:
    connection.send(head(200, STREAM[connection.api], "Transfer-Encoding: chunked"))
    connection.send(chunked(piece(connection.api, b'"half"')), b"0\r\n\r\n")


def breaks(connection: Connection) -> None:
    connection.begin()
    connection.say("half")
    connection.reset()


def chunked_garbage(connection: Connection) -> None:
    connection.send(head(200, STREAM[connection.api], "Transfer-Encoding: chunked"), b"zz\r\nnonsense\r\n-4\r\n\r\n")


def sends(reply: bytes) -> Behaviour:
    return lambda connection: connection.send(reply)


def body_of(content: bytes, status: int = 200, *lines: str) -> Behaviour:
    return lambda connection: connection.send(whole(status, content, *lines))


def error_in_the_stream(connection: Connection) -> None:
    connection.begin()
    connection.say("half")
    prefix = b"" if connection.api == "ollama" else b"data: "
    connection.send(prefix + b'{"error": "an error was encountered: unexpected EOF"}\n\n')


def compressed(connection: Connection) -> None:
    """A small reply that would be a large one."""
    body = zlib.compress(b" " * 10**7)
    connection.send(whole(200, body, "Content-Encoding: deflate"))


def with_numbers(numbers: bytes) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.begin()
        connection.send(piece(connection.api, b'"a"'), end(connection.api, numbers))

    return behave


def with_finish(finish: bytes) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.begin()
        connection.send(piece(connection.api, b'"a"'), end(connection.api, finish=finish))

    return behave


def other_line_ends(connection: Connection) -> None:
    connection.begin()
    body = piece(connection.api, b'"a"') + end(connection.api)
    connection.send(b"\r\n\r\n", body.replace(b"\n", b"\r\n"))


def many_lines(connection: Connection) -> None:
    """None is an answer's, nor the end of one."""
    connection.begin()
    connection.send(b"x\n" * 1_000_000)


def error(status: int, said: object, *lines: str) -> Behaviour:
    return body_of(json.dumps({"error": said}).encode(), status, *lines)


CUT = Outcome(finish="length", text="x" * LONGEST_ANSWER_CHARACTERS)
GARBLED = Outcome("server_garbled")
CASES: dict[str, tuple[Behaviour, Outcome]] = {
    # Too much.
    "10 MB in pieces": (long_answer, CUT),
    "10 MB in one line": (in_one_line(10), CUT),
    "40 MB in one line": (in_one_line(40), GARBLED),
    "an answer without end": (endless("x" * 65536), CUT),
    "a head of 1 MB": (sends(head(200, "text/plain", "X: " + "x" * 10**6)), GARBLED),
    "a reply that is compressed": (compressed, GARBLED),
    # Text that is none.
    "characters cut between packets": (byte_by_byte, Outcome(text="Brot è 🥐")),
    "no UTF-8": (raw_piece(b'"a\xff\xc3b"'), Outcome(text="a\ufffd\ufffdb")),
    "half characters": (halves, Outcome(text="🥐 \ufffd")),
    "escapes and markup": (raw_piece(b'"\\u001b[2J[red]x[/red]"'), Outcome(text="\x1b[2J[red]x[/red]")),
    # Lengths.
    "longer than it says": (with_length(-20), GARBLED),
    "shorter than it says": (with_length(+20), Outcome(text="half")),
    "chunks that are none": (chunked_garbage, GARBLED),
    # Ends.
    "closes at once": (lambda connection: None, Outcome("server_down")),
    "closes in the middle": (closes_in_the_middle, Outcome("server_down")),
    "breaks in the middle": (breaks, Outcome("server_down")),
    "ends without an end": (ends_without_an_end, GARBLED),
    # What is no answer.
    "200 with an error": (error(200, "it broke"), Outcome("server_refused", status=200)),
    "an error in the stream": (error_in_the_stream, Outcome("server_refused", status=200)),
    "200 with HTML": (body_of(b"<html>Welcome</html>"), GARBLED),
    "200 with nothing": (body_of(b""), GARBLED),
    "a list": (body_of(b"[1, 2]"), GARBLED),
    "deep JSON": (body_of(b'{"a":' * 100_000), GARBLED),
    "choices that are none": (body_of(b'{"choices": "x", "message": 3}\n'), GARBLED),
    "no HTTP": (sends(b"220 mail.example.org ESMTP\r\n\r\n"), GARBLED),
    # Values that are none.
    "NaN": (with_numbers(b"NaN"), Outcome(text="a")),
    "infinite": (with_numbers(b"-Infinity"), Outcome(text="a")),
    "negative": (with_numbers(b"-5"), Outcome(text="a")),
    "text for numbers": (with_numbers(b'"7"'), Outcome(text="a")),
    "half a number": (with_numbers(b"0.5"), Outcome(text="a")),
    "a number of 5000 digits": (with_numbers(b"9" * 5000), GARBLED),
    "content of another type": (raw_piece(b'["a"]'), Outcome(text="")),
    "more lines than a document has": (many_lines, GARBLED),
    "another word for the end": (with_finish(b'"content_filter\\u001b"'), Outcome(finish="content_filter")),
    "another way of ending lines": (other_line_ends, Outcome(text="a")),
    # Refusals.
    "400": (error(400, "no"), Outcome("server_refused", transient=False, status=400)),
    "400 with escapes": (error(400, NAME), Outcome("server_refused", transient=False, status=400)),
    "401": (error(401, "no"), Outcome("server_refused", transient=False, status=401)),
    "404": (error(404, "model 'm' not found"), Outcome("model_not_found", transient=False, status=404)),
    "a redirect": (
        sends(whole(302, b"", "Location: http://127.0.0.1:9/elsewhere")),
        Outcome("server_refused", transient=False, status=302),
    ),
    "429": (error(429, {"message": "slow down"}, "Retry-After: 7"), Outcome("server_busy", status=429)),
    "500": (error(500, "it broke"), Outcome("server_refused", status=500)),
    "502 of a gateway": (body_of(b"<h1>Bad gateway</h1>", 502), Outcome("server_refused", status=502)),
    "503": (error(503, "server busy, please try again."), Outcome("server_busy", status=503)),
    "no memory, 500": (
        error(500, "model requires more system memory (86.0 GiB) than is available"),
        Outcome("server_out_of_memory", transient=False, status=500),
    ),
    "no memory, 503": (
        error(503, "CUDA error: out of memory"),
        Outcome("server_out_of_memory", transient=False, status=503),
    ),
    "too long a prompt": (
        error(400, {"code": 400, "message": "request (9 tokens) exceeds the available context size (4 tokens)"}),
        Outcome("context_overflow", transient=False, status=400),
    ),
}  # fmt: skip
