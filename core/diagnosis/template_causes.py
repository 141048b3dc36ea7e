"""In what a GGUF file's chat template differs from the trained one: both are rendered, where both texts are still there."""

from __future__ import annotations

import json
from pathlib import Path

from core.data.render import render_prompt
from core.data.template import fold_system
from core.data.template_proof import prove
from core.diagnosis.causes import Cause, Evidence
from core.diagnosis.lineage import Lineage, Link
from core.errors import BakehouseError
from core.files import sha256_json
from core.jobfile.train import TrainSpec
from core.models.gguf import GgufHeader
from core.parity.comparison import causes_of_text
from core.parity.conversations import probe_conversations
from core.reasons import Reason
from core.shipping.gguf_template import template_of
from core.shipping.jinja import JinjaTemplate


def template_causes(
    lineage: Lineage, link: Link, header: GgufHeader, trained: TrainSpec, wanted: str
) -> tuple[Cause, ...] | None:
    """What differs in the prompts of a task, each cause once. `wanted` is the hash of the trained template.

    None where that cannot be told: the trained text is gone, jinja is not installed, or a template refuses to render.
    """
    path = link.summary.get("path")
    text = trained_text(lineage, link, wanted)
    if text is None or not isinstance(path, str):
        return None
    try:
        found = _differences(text, Path(path), header, trained)
    except (BakehouseError, OSError, ModuleNotFoundError):
        return None
    except Exception:  # noqa: BLE001 - a template is a program of others: it can raise whatever Python can
        return None
    key = "tokenizer.chat_template, rendered for `{}`"
    return tuple(
        Cause(reason, "likely", link.id, (Evidence(link.id, "GGUF header", key.format(name), reason.code),))
        for reason, name in found
    )


def _differences(text: str, path: Path, header: GgufHeader, trained: TrainSpec) -> list[tuple[Reason, str]]:
    served = template_of(path, header)
    if served is None:
        return []
    task = trained.task
    template = JinjaTemplate(text, bos=served.bos_token, eos=served.eos_token or "")
    proof = prove(template, task.thinking, task.system_role)
    found: dict[str, tuple[Reason, str]] = {}
    for probe in probe_conversations(task, [], proof):
        sent = fold_system(probe.messages) if task.system_role == "user" else probe.messages
        ours = render_prompt(template, probe.messages, task.thinking, system_role=task.system_role)
        theirs = served.prompt(sent, task.thinking == "on")
        if ours != theirs:
            for reason in causes_of_text(probe.messages, ours, theirs, proof):
                found.setdefault(reason.code, (reason, probe.name))
    return list(found.values())


def trained_text(lineage: Lineage, link: Link, wanted: str) -> str | None:
    """The text of the template of that hash, from what the jobs before made and saved it beside."""
    for earlier in lineage.above(link.id):
        for artefact in earlier.result.get("artefacts") or ():
            folder = artefact.get("path") if isinstance(artefact, dict) else None
            text = _text_in(Path(folder)) if isinstance(folder, str) else None
            if text is not None and sha256_json(text) == wanted:
                return text
    return None


def _text_in(folder: Path) -> str | None:
    """The chat template of a model folder, or of one below it, as its tokenizer was saved."""
    for place in (folder, *(one for one in sorted(folder.glob("*")) if one.is_dir())):
        try:
            told = json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")
        except (OSError, ValueError, AttributeError):
            told = None
        if isinstance(told, str):
            return told
        try:
            return (place / "chat_template.jinja").read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
    return None
