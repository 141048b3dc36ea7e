"""The process that counts: `PYTHON -P -m jobs.audit REQUEST.json` prints one JSON document, an audit or an error.

It loads a tokenizer and nothing else. transformers imports torch where it finds it, and that takes twice as long as all the
rest; no tokenizer needs it, except one that is read out of a GGUF file. So torch is hidden from this process where it can be.
Exit codes as of all jobs: 0 done, 1 failed, 2 bad input, 4 not found.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.config.model import ModelEntry
from core.data.examples import load_examples
from core.errors import BakehouseError, InputError
from core.home import Home, expanded
from core.process.leftovers import sweep, take_place, temporary_name
from core.submission.audit_process import AuditRequest
from jobs import models
from jobs.context import explain

WITH_TORCH = "--with-torch"


class NeedsTorchError(Exception):
    """The tokenizer could not be read while torch was hidden."""


def main(arguments: list[str]) -> int:
    if not arguments or len(arguments) > 2 or arguments[1:] not in ([], [WITH_TORCH]):
        print("usage: python -m jobs.audit REQUEST.json", file=sys.stderr)
        return 2
    # What libraries print must not come between the document and its reader.
    stdout = os.dup(1)
    os.dup2(2, 1)

    def answer(document: dict[str, Any]) -> None:
        os.dup2(stdout, 1)
        print(json.dumps({"schema": 1, **document}), flush=True)

    try:
        found = _audit(Path(arguments[0]), with_torch=arguments[1:] == [WITH_TORCH])
    except NeedsTorchError:
        os.dup2(stdout, 1)
        os.execv(sys.executable, [sys.executable, "-P", "-m", "jobs.audit", arguments[0], WITH_TORCH])
    except BakehouseError as error:
        answer({"error": error.to_json(), "exit_code": error.exit_code})
        return error.exit_code
    except Exception as error:
        answer({"error": explain(error).to_json(), "exit_code": 1})
        raise
    answer({"audit": found})
    return 0


def _audit(path: Path, *, with_torch: bool) -> dict[str, Any]:
    started = time.monotonic()
    request = AuditRequest.model_validate_json(path.read_bytes())
    # Before anything heavy: most mistakes are in the data.
    examples, report = load_examples(Path(request.train), request.task)
    tokenizer = _tokenizer(request.model, Home(Path(request.home)), with_torch=with_torch)
    from core.data.auditor import make_audit

    found = make_audit(
        tokenizer,
        examples,
        report,
        request.golden,
        request.task,
        request.recipe,
        request.model.name,
        request.lengths,
        request.show,
    )
    return replace(found, seconds=time.monotonic() - started).to_json()


def _tokenizer(entry: ModelEntry, home: Home, *, with_torch: bool) -> Any:
    """The model's tokenizer, without torch where that does. One out of a GGUF file is kept for the next audit."""
    base = located = _located(entry, home)
    kept = home.cache / "tokenizers" / base.fingerprint
    from_gguf = models.reads_gguf(base, home)
    if from_gguf and kept.is_dir():
        base, from_gguf = models.BaseModel(base.name, kept, None, base.fingerprint), False
    if not (with_torch or from_gguf):
        sys.modules["torch"] = None  # type: ignore[assignment]  # an import of it fails as if it were not installed
    models.prepare_libraries()
    try:
        tokenizer = models.own_tokenizer(base, home)
    except InputError as error:
        if with_torch or from_gguf:
            raise
        raise NeedsTorchError from error
    if from_gguf:
        with contextlib.suppress(OSError):
            _keep(tokenizer, kept)
    return models.give_template(tokenizer, located)


def _located(entry: ModelEntry, home: Home) -> models.BaseModel:
    """As `models.locate`, but of a folder the weights, which that hashes, need not be read."""
    if entry.path is not None and (folder := expanded(entry.path)).is_dir():
        return models.BaseModel(entry.name, folder, None, "", entry.template_text)
    return models.locate(entry, home)


def _keep(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer into `folder`, whole or not at all."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(folder.parent)
    temporary = folder.with_name(temporary_name(folder.name))
    try:
        tokenizer.save_pretrained(temporary)
        take_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
