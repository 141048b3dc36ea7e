"""Passwords and tokens kept out of what is shown and stored: one rule for errors, reasons, logs, events and commands.

What counts as a secret: the part of an address before `@`; the value of a query's parameter, of a header, a variable, an option
or a key of a document whose name speaks of a token, key, secret or password; tokens of a known shape; and whatever the
environment or the settings of this process hold in such a place, wherever else it turns up (libraries print it taken apart).
Each shows as `***`.

Texts that are data (examples, answers of models) are shown as they are.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TextIO
from urllib.parse import unquote

HIDDEN = "***"

_SECRET_NAME = (
    r"(?:token|secret|passw(?:or)?d|pwd|passphrase|api[-_]?key|access[-_]?key|auth|credential|signature|sig)s?"
)
_ADDRESS = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?!USER:PASSWORD@)(?P<user>[^\s/?#\"`<>]+)@", re.IGNORECASE)
# A password with a `/`, `#` or `?` that nobody has escaped. A port and a path behind it are no password.
_RAW_PASSWORD = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?!USER:PASSWORD@)[^\s/?#\"'`<>:@\[]+:(?!\d{1,5}[/?#])[^\s\"'`<>]+@(?=[\w\[])",
    re.IGNORECASE,
)
# `user:password@host` without a scheme, as libraries quote a host; a tag of a container's image is none.
_PAIR = re.compile(
    r"(?<![\w.:@%+-])(?<![^/]/)[\w.%+-]+:(?=[^\s@]*\d)(?=[^\s@]*[A-Za-z])[^\s@/\"'`<>]{8,}@(?!sha256:)(?=[\w\[])",
    re.IGNORECASE,
)
_QUERY = re.compile(rf"(?P<name>[?&;#](?:[\w.-]*[-_.])?(?:{_SECRET_NAME}|key)=)[^&;\s#\"'`<>]+", re.IGNORECASE)
_PARAMETERS = r"[\w-]+=(?:\"[^\"]*\"|[^\s,\"']+)(?:,\s*[\w-]+=(?:\"[^\"]*\"|[^\s,\"']+))*"
_HEADER = re.compile(
    r"(?P<name>\b(?:proxy-)?authorization|\bx-api-key|\bapi-key|\bx-auth-token)"
    r"(?P<between>[\"']?\s*[:=]\s*(?:b(?=[\"']))?[\"']?)"
    r"(?P<scheme>(?:bearer|basic|digest|token|api-?key|oauth|negotiate|ntlm|aws4-hmac-sha256)\s+)?"
    rf"(?:{_PARAMETERS}|[^\s\"',;}}\])]+)",
    re.IGNORECASE,
)
_COOKIE = re.compile(r"(?P<name>\b(?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)[^\r\n\"']+", re.IGNORECASE)
_BEARER = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+(?=[A-Za-z0-9._~+/-]*[0-9=._~+/])[A-Za-z0-9._~+/=-]{8,}")
_VARIABLE = re.compile(
    r"\b(?P<name>[A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY)=)(?![\d.]+\b)[^\s\"'`,;]+"
)
# A name that ends so, whatever stands before it. `PWD` alone is where a shell is.
_PASSWORD_NAME = r"(?:passw(?:or)?d|(?<=_)pwd|passphrase|secret|api[-_]?key|access[-_]?key|subscription[-_]?key)s?"
_IS = r"\\?[\"']?\s*[:=]\s*\\?"
# What a program makes up has letters and digits; a word of a sentence, a figure, a path or `<pad>` is no secret.
_RANDOM = (
    r"(?!/|\*{3})(?![\d.+-]+(?:e[+-]?\d+)?(?:[\s,;]|$))(?=[^\s\"'`,;<>(){}\[\]]*\d)(?=[^\s\"'`,;<>(){}\[\]]*[A-Za-z])"
    r"[^\s\"'`,;<>(){}\[\]]{8,}"
)
_NAMED = re.compile(
    rf"(?P<name>{_PASSWORD_NAME}{_IS}[\"'](?=[^\"'\s<>]{{4,}}[\"'])|(?:{_PASSWORD_NAME}|tokens?|credentials?){_IS}[\"']?(?={_RANDOM}))"
    r"[^\s\"'`,;<>(){}\[\]\\]+",
    re.IGNORECASE,
)
_OPTION = re.compile(
    rf"(?P<name>--(?:[a-z]+-){{0,4}}(?:{_PASSWORD_NAME}|token)\s+[\"']?)(?={_RANDOM})[^\s\"'`]+"
    r"|(?P<user>(?:(?<!\S)-u|--user|--proxy-user)[ =][\"']?[^\s:\"']+:)[^\s\"']+"
    r"|(?P<netrc>\blogin\s+\S+\s+password\s+)\S+",
    re.IGNORECASE,
)
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{10,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|pypi-[\w-]{16,}|xox[abprs]-[\w-]{10,}|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{35}|nvapi-[\w-]{20,}|(?:r8|gsk|npm)_[A-Za-z0-9]{30,}"
    r"|dapi[0-9a-f]{32}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})"
)
_HINT = re.compile(
    r"://|[?&;#][\w.-]*=|authorization|api-key|auth-token|cookie|bearer|basic |[a-z]=|hf_|sk-|gh[pousr]_"
    r"|github_pat_|glpat-|pypi-|xox|A[KS]IA|AIza|nvapi-|r8_|gsk_|npm_|dapi|eyJ|token|secret|passw|_pwd|passphrase"
    r"|api_?key|access[-_]?key|subscription|credential|-u |--user|--proxy|:[^\s@]+@",
    re.IGNORECASE,
)

# Where an environment holds secrets: whole values, and addresses that may carry one.
_VALUES = (
    *(
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HUGGINGFACE_HUB_TOKEN",
        "WANDB_API_KEY",
        "COMET_API_KEY",
        "NEPTUNE_API_TOKEN",
    ),
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OLLAMA_API_KEY"),
)
_ADDRESSES = (
    *("OLLAMA_HOST", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "HF_ENDPOINT"),
    *("MLFLOW_TRACKING_URI", "WANDB_BASE_URL"),
)
# A shorter one is hidden where it stands as a secret, but not wherever its letters turn up.
_SHORTEST_KNOWN = 8

_remembered: set[str] = set()


def redact(text: str) -> str:
    """The text with every secret in it as `***`; applied twice it changes nothing more."""
    for secret in _known():
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return _by_pattern(text) if _HINT.search(text) else text


def redact_all(document: Any) -> Any:
    """A JSON document whose texts are redacted; the keys stay."""
    if isinstance(document, str):
        return redact(document)
    if isinstance(document, Mapping):
        return {key: redact_all(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [redact_all(value) for value in document]
    return document


def redact_address(address: str) -> str:
    """An address as a person wrote it, right or wrong: whatever stands before its last `@` is hidden."""
    scheme, separator, rest = address.rpartition("://")
    _, at, place = rest.rpartition("@")
    return redact(f"{scheme}{separator}{HIDDEN}@{place}" if at else address)


def remember_secret(*secrets: str) -> None:
    """Hide these while this process lives, wherever they turn up: secrets that a file holds, not the environment."""
    _remembered.update(secret for secret in secrets if len(secret) >= _SHORTEST_KNOWN)


@lru_cache(maxsize=1024)
def _by_pattern(text: str) -> str:
    text = _ADDRESS.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _RAW_PASSWORD.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PAIR.sub(f"{HIDDEN}@", text)
    text = _QUERY.sub(rf"\g<name>{HIDDEN}", text)
    text = _HEADER.sub(lambda m: f"{m['name']}{m['between']}{m['scheme'] or ''}{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<scheme> {HIDDEN}", text)
    text = _COOKIE.sub(rf"\g<name>{HIDDEN}", text)
    text = _VARIABLE.sub(rf"\g<name>{HIDDEN}", text)
    text = _NAMED.sub(rf"\g<name>{HIDDEN}", text)
    text = _OPTION.sub(lambda m: f"{m['name'] or m['user'] or m['netrc']}{HIDDEN}", text)
    return _SHAPES.sub(HIDDEN, text)


def _known() -> tuple[str, ...]:
    """The secrets of this process, the longest first: one may be a part of another."""
    values = tuple(os.environ.get(name, "") for name in _VALUES)
    addresses = tuple(os.environ.get(name, "") for name in _ADDRESSES)
    return _secrets_of(values, addresses, frozenset(_remembered))


@lru_cache(maxsize=16)
def _secrets_of(values: tuple[str, ...], addresses: tuple[str, ...], remembered: frozenset[str]) -> tuple[str, ...]:
    found = {value.strip() for value in values} | remembered
    for written in addresses:
        for address in written.split():
            found |= secrets_of_address(address)
    return tuple(sorted((one for one in found if len(one) >= _SHORTEST_KNOWN), key=len, reverse=True))


def secrets_of_address(address: str) -> set[str]:
    """What in an address is secret: its password, a user that stands alone (a token), and both as a header writes them."""
    rest = address.rpartition("://")[2]
    authority = rest if "@" in rest else ""
    pair = authority.rpartition("@")[0]
    if not pair:
        return set()
    user, colon, password = pair.partition(":")
    secret = password if colon else user
    plain = f"{unquote(user)}:{unquote(password)}"
    return {pair, secret, unquote(secret), base64.b64encode(plain.encode("utf-8", "surrogateescape")).decode()} - {""}


class RedactedStream:
    """A stream of text that writes whole lines without their secrets, and the rest of one when it is flushed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        if lines:
            self._stream.write("".join(f"{redact(line)}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        rest, self._rest = self._rest, ""
        if rest:
            self._stream.write(redact(rest))
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
