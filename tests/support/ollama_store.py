"""The files and the making of models in the Ollama stand-in: uploads, `/api/create`, and which parts a store still holds.

A part of a model (weights, template, system prompt, licence, parameters) is a blob under the digest of its content, as on the
real servers. A file of those that were uploaded to them counts under the digest that they had where it is `taught`; any other
is read, and what a server sees in it (`ollama_files`) decides what the model is.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support import ollama_requests as requests
from tests.support.ollama_files import StoredFile, read_file
from tests.support.ollama_http import UPLOADS, ClientGoneError, Exchange
from tests.support.ollama_models import CHATML, STORE, Model, full_name
from tests.support.ollama_requests import RefusalError
from tests.support.ollama_templates import check_template

STOPS = ["<|im_start|>", "<|im_end|>"]
TO_QUANTIZE = ("F32", "F16", "BF16")
TYPES = ("F32", "F16", "Q4_K_S", "Q4_K_M", "Q8_0")
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


class Store:
    """`models` are the server's tags, `dies` ends the server."""

    def __init__(self, models: dict[str, Model], newer: bool, dies: Callable[[], None]) -> None:
        self.models, self.newer = models, newer
        self.taught: dict[str, StoredFile] = {}
        """By the SHA-256 of the bytes that are sent in a file's place."""
        self.mind: dict[str, Any] = {}
        """What models that are made of files are given beside what is in them: `answer`, `generates`, `counts` of `Model`."""
        self.rewrites = True
        """Whether 0.33 puts another file than was sent into a model: all but those that its llama-quantize wrote."""
        self.dress: Callable[[Model], Model] = lambda model: model
        """What this server makes of a model that is not what it was asked for."""
        self._dies = dies
        self._files: dict[str, StoredFile] = {}
        self._parts: set[str] = set()

    def __contains__(self, digest: str) -> bool:
        return digest in self._files or digest in self._parts or any(digest in parts_of(one) for one in self._models())

    def put(self, model: Model) -> None:
        """The model under its name; parts of a former one there that no other uses go."""
        former = self.models.get(model.name)
        self.models[model.name] = model
        self._parts |= parts_of(model)
        self._drop(former)

    def remove(self, name: str) -> None:
        self._drop(self.models.pop(name))

    # Its routes.

    def head(self, exchange: Exchange) -> None:
        if _digest_of(exchange) not in self:
            raise RefusalError(404, f'blob "{_digest_of(exchange)}" not found')
        exchange.text(200, "", None)

    def post(self, exchange: Exchange) -> None:
        """Takes a file; nothing of one that is not whole, or not what its digest says."""
        try:
            wanted = _digest_of(exchange)
        except RefusalError:
            _drain(exchange)
            raise
        if wanted in self:
            _drain(exchange)
            exchange.text(200, "", None)
            return
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            hashed = hashlib.sha256()
            for piece in exchange.upload():
                hashed.update(piece)
                file.write(piece)
            file.flush()
            found = self.taught.get(hashed.hexdigest()) or read_file(f"sha256:{hashed.hexdigest()}", Path(file.name))
        if found.digest != wanted:
            raise RefusalError(400, f'digest mismatch, expected "{wanted}", got "{found.digest}"')
        self._files[wanted] = found
        exchange.text(201, "", None)

    def create(self, exchange: Exchange) -> None:
        body = requests.body_of(exchange.raw, "CreateRequest")
        name = full_name(body.get("model") or body.get("name"))
        if name is None:
            raise RefusalError(400, "invalid model name")
        if not body.get("from") and not body.get("files"):
            exchange.json(400, {"error": "neither 'from' or 'files' was specified"}, "application/json")
            return
        streams = body.get("stream") is not False
        for line in self._make(name, body):
            if streams:
                exchange.line(line)
        if streams:
            exchange.end()
        else:
            exchange.json(200, {"status": "success"}, "application/json")

    # Making a model.

    def _make(self, name: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Line by line, until the model is there. The order of the parts is that of the recordings."""
        notes: dict[str, str] = {}
        if body.get("from"):
            if full_name(body["from"]) not in self.models:
                yield _said("pulling manifest")
                host = "registry.ollama.ai"
                place = f"https://{host}/v2/library/{body['from']}/manifests/latest"
                why = f'Get "{place}": dial tcp: lookup {host}: no such host'
                raise RefusalError(500, f"pull model manifest: {why}")
            model = replace(self.models[full_name(body["from"]) or ""], name=name)
            parts = [part for part in _parts(model) if part[0] not in body]
            adapters = list((body.get("adapters") or {}).values())
            if adapters:
                # What is no adapter is taken for one by its name alone, and changes nothing.
                file = yield from self._parsed(adapters[0], body)
                parts.append(("adapter", file.digest))
        else:
            file = yield from self._parsed(next(iter(body["files"].values())), body)
            model = self._of_file(name, file, body)
            parts = [("weights", model.blob)]
        if body.get("template") is None and (body.get("files") or body.get("adapters")) and file.detected:
            notes[parts[-1][0]] = "using autodetected template chatml"
        stops = {"stop": STOPS} if body.get("files") and file.detected else {}
        model = replace(
            model,
            template=body.get("template", model.template),
            system=body.get("system", model.system),
            license=body.get("license", model.license),
            parameters={**stops, **model.parameters, **(body.get("parameters") or {})},
            modified_at=time.time(),
        )
        if body.get("template") is not None:
            check_template(body["template"])
        parts += [part for part in _parts(model) if part[0] in body and part[0] in ("template", "system", "license")]
        parts += [("parameters", _sha(_go_json(model.parameters)))] if model.parameters else []
        for kind, digest in parts:
            yield _said(f"{'using existing' if digest in self else 'creating new'} layer {digest}")
            self._parts.add(digest)
            if kind in notes:
                yield _said(notes[kind])
        yield _said("writing manifest")
        self.put(self.dress(model))
        yield _said("success")

    def _parsed(self, digest: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The uploaded file, once the server has looked at it."""
        file = self._files.get(digest)
        if file is not None and file.panics and not self.newer:
            self._dies()
            raise ClientGoneError
        yield _said("parsing GGUF")
        if file is None:
            raise RefusalError(500, f"open {STORE}{digest.replace(':', '-')}: no such file or directory")
        if file.refusal is not None:
            raise RefusalError(400, file.refusal)
        if body.get("quantize"):
            file = yield from self._quantized(file, str(body["quantize"]).upper())
        if self.newer:
            yield _said("verifying conversion")
        return file

    def _quantized(self, file: StoredFile, wanted: str) -> Iterator[dict[str, Any]]:
        if file.quantization not in TO_QUANTIZE:
            raise RefusalError(500, "quantization is only supported for F16, BF16 and F32 models")
        if wanted not in TYPES:
            raise RefusalError(500, f"unsupported quantization type {wanted} - supported types are {', '.join(TYPES)}")
        if not self.newer:  # only this one tells how far it is
            for done in (1, 2, 3):
                line = _said(f"quantizing {file.quantization} model to {wanted}")
                counted = {"total": file.size_bytes, "completed": done * file.size_bytes // 3}
                yield line | {"digest": "0000000000000000000"} | counted
        digest = _sha(f"{file.digest} {wanted}")
        return replace(file, digest=digest, rewritten=None, quantization=wanted, size_bytes=file.size_bytes // 2)

    def _of_file(self, name: str, file: StoredFile, body: dict[str, Any]) -> Model:
        blob = file.rewritten if self.newer and self.rewrites and file.rewritten is not None else file.digest
        return Model(
            name,
            blob,
            file.size_bytes,
            23_000,
            8192,
            CHATML if file.detected else None,
            own_template=file.template,
            own_capabilities=file.capabilities,
            own_tokens=file.tokens,
            quantization=file.quantization,
            **self.mind,
        )

    def _models(self) -> list[Model]:
        return list(self.models.values())

    def _drop(self, former: Model | None) -> None:
        """What only a former model used."""
        if former is None:
            return
        unused = parts_of(former).difference(*(parts_of(one) for one in self._models()))
        self._parts -= unused
        for digest in unused:
            self._files.pop(digest, None)


def parts_of(model: Model) -> set[str]:
    """The digests of all that a model is made of."""
    found = {digest for _, digest in _parts(model)}
    return found | ({_sha(_go_json(model.parameters))} if model.parameters else set())


def _parts(model: Model) -> list[tuple[str, str]]:
    """(kind, digest) of the parts that a model hands on to one that is made of it, in the order of its manifest."""
    texts = {"template": model.template, "system": model.system, "license": model.license}
    found = [("weights", model.blob), *((kind, _sha(text)) for kind, text in texts.items() if text)]
    return [*found, *([("adapter", model.adapter)] if model.adapter else [])]


def _digest_of(exchange: Exchange) -> str:
    found = _DIGEST.fullmatch(exchange.path.removeprefix(UPLOADS))
    if found is None:
        raise RefusalError(400, "invalid digest format")
    return f"sha256:{found[1]}"


def _drain(exchange: Exchange) -> None:
    for _ in exchange.upload():
        pass


def _said(status: str) -> dict[str, Any]:
    return {"status": status}


def _sha(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _go_json(parameters: Any) -> str:
    """As Go writes a map: its keys sorted, whole numbers without a fraction, signs of HTML as escapes, and a line feed."""
    numbers = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in parameters.items()
    }
    text = json.dumps(numbers, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"
