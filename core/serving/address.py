"""Where a model server is: `OLLAMA_HOST` in all its spellings, and the addresses of other servers in the same ones."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from core.errors import InputError
from core.redaction import redact_address, remember_secret, secrets_of_address
from core.text import printable

DEFAULT_PORT = 11434
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is, and who asks: `authorization` is the header that its user and password make, None without them.

    `url` holds no secret, so that whoever has it may show and store it.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)


def server_url(written: str | None = None) -> str:
    """The address alone, without user and password; see `server_address`."""
    return server_address(written).url


def server_address(
    written: str | None = None, *, key: str = "ollama.url", default_port: int = DEFAULT_PORT
) -> ServerAddress:
    """`scheme://host:port`, with a path where one is written, and no slash at its end; None: `OLLAMA_HOST`, else the default.

    `USER:PASSWORD@` before the host is taken out of the address; signs such as `/` in them are written as `%2F`.

    As Ollama reads it: a bare host or port completes to `http://127.0.0.1:11434` (`default_port`), a written scheme brings its
    own port (80, 443), a port that is none counts as not written. An address that means "listen everywhere" is this
    machine's. InputError for what names no host, with the `key` under which it was written.
    """
    key = "OLLAMA_HOST" if written is None else key
    text = (os.environ.get("OLLAMA_HOST", "") if written is None else written).strip().strip("'\"").strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    scheme = scheme.lower()
    if scheme not in ("http", "https"):
        raise _wrong(text, key)
    default = default_port if not separator else {"http": 80, "https": 443}[scheme]
    pair, _, rest = rest.rpartition("@")
    if re.search(r"[/?#\s]", pair):
        raise _wrong(text, key)
    place, _, path = rest.partition("/")
    name, port = _split(place)
    host = _host(name)
    if host is None or re.search(r"[^!-~]|[?#@]", path):
        raise _wrong(text, key)
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    number = number if 0 < number <= 65535 else default
    path = path.strip("/")
    url = f"{scheme}://{host}:{number}" + (f"/{path}" if path else "")
    return ServerAddress(url, _authorization(pair) if pair else None)


def _authorization(pair: str) -> str:
    """The header of HTTP's basic authentication (RFC 7617) for `USER:PASSWORD` as an address writes them."""
    user, _, password = pair.partition(":")
    remember_secret(*secrets_of_address(f"{pair}@"))
    plain = f"{unquote(user)}:{unquote(password)}".encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(plain).decode()}"


def is_here(url: str) -> bool:
    """Whether a server at this address (as `server_url` writes it) runs on this machine; no name is looked up for it."""
    import socket

    import psutil

    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in ("localhost", socket.gethostname().lower())
    if address.is_loopback:
        return True
    own = (one.address.partition("%")[0] for several in psutil.net_if_addrs().values() for one in several)
    return str(address) in own


def same_server(one: str, other: str) -> bool:
    """Whether two addresses (as `server_url` writes them) mean one server: `localhost` and 127.0.0.1 do."""
    if one == other:
        return True
    first, second = urlsplit(one), urlsplit(other)
    alike = (first.scheme, first.port, first.path) == (second.scheme, second.port, second.path)
    return alike and is_here(one) and is_here(other)


def _split(place: str) -> tuple[str, str]:
    """(host, port); the port is empty where none is written. IPv6 stands bare or in brackets."""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":")
    if place.count(":") > 1:
        return place, ""
    host, _, port = place.partition(":")
    return host, port


def _host(host: str) -> str | None:
    if not host:
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host if _NAME.fullmatch(host) else None
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return str(address) if address.version == 4 else f"[{address}]"


def _wrong(text: str, key: str) -> InputError:
    return InputError(
        f"`{printable(redact_address(text))}` is no address of a model server",
        code="bad_server_address",
        key=key,
        remedy="write it as 127.0.0.1:11434 or http://host:11434"
        + ("; signs such as / in a password are written as %2F" if "@" in text else ""),
    )
