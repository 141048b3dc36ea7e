"""Whether a served model sees what it was trained on: from parity checks, GGUF headers, and how bake-offs asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from core.data.training_marks import first_training_mark
from core.diagnosis.causes import EXPLAINS, Cause, Certainty, Evidence
from core.diagnosis.deployments import checked_job
from core.diagnosis.lineage import Lineage, Link
from core.diagnosis.template_causes import template_causes
from core.files import sha256_json
from core.jobfile.train import TrainSpec
from core.models.gguf import GgufHeader
from core.parity.blocking import TOLD
from core.parity.gate import END_KEYS
from core.reasons import Reason

BOS_WRITTEN = ("bos_token", "<|begin_of_text|>", "<|startoftext|>", "<bos>", "{{- '<s>'", "{{ '<s>'")
"""What a chat template that writes the beginning of a text by itself holds."""
PARITY = "parity.json"


def parity_causes(lineage: Lineage) -> Iterator[Cause]:
    """What the checks of prompts found, each cause once for each file."""
    for link in lineage.checks:
        about = checked_job(lineage, link)
        if link.id != newest_check(lineage, about):
            continue
        at = about or link.id
        differing: dict[str, list[int]] = {}
        reasons: dict[str, Reason] = {}
        for index, case in enumerate(_cases(link)):
            if case.get("same") is False:
                for reason in _reasons_of(case):
                    differing.setdefault(reason.code, []).append(index)
                    reasons.setdefault(reason.code, reason)
        for code, indices in differing.items():
            first = _cases(link)[indices[0]]
            figures = (
                Evidence(link.id, PARITY, "cases that differ so", f"{len(indices)} of {len(_cases(link))}"),
                Evidence(link.id, PARITY, f"cases[{indices[0]}].first_difference", first.get("first_difference")),
            )
            yield Cause(reasons[code], _certainty(code), at, figures)
        findings = link.parity.get("findings")
        for index, finding in enumerate(findings if isinstance(findings, list) else ()):
            found = _reason(finding)
            if found is not None and found.code in EXPLAINS:
                figure = Evidence(link.id, PARITY, f"findings[{index}]", found.code)
                yield Cause(found, _certainty(found.code), at, (figure,))


def _reasons_of(case: Mapping[str, Any]) -> Iterator[Reason]:
    """Why a prompt differs; what only a later version has a name for is one reason."""
    also = case.get("also")
    for document in (case.get("cause"), *(also if isinstance(also, list) else ())):
        found = _reason(document)
        yield found if found is not None and found.code in EXPLAINS else Reason("prompts_differ")


def _certainty(code: str) -> Certainty:
    """The gate tells some things that harm some models or texts alone."""
    return "possible" if code in TOLD else "shown"


def newest_check(lineage: Lineage, job: int | None) -> int | None:
    """The newest check of what a job made or deployed that left what it found; of what no job made, the newest of these."""
    found = (link.id for link in lineage.checks if link.parity and checked_job(lineage, link) == job)
    return max(found, default=None)


def proved_jobs(lineage: Lineage) -> frozenset[int]:
    """The jobs whose GGUF file, or deployment, the newest check of prompts found nothing against."""
    found = set()
    for link in lineage.checks:
        job = checked_job(lineage, link)
        if job is not None and link.id == newest_check(lineage, job) and link.parity.get("passed") is True:
            found.add(job)
    return frozenset(found)


def file_causes(lineage: Lineage, passed: Collection[int]) -> Iterator[Cause]:
    """What the headers of GGUF files say: their template against the trained one, marks of training, their ends."""
    for link, _ in lineage.files:
        trained = lineage.training_of(link.id)
        header = link.gguf
        if header is None:
            if link.summary.get("chat_template") is False:
                figure = Evidence(link.id, "result.json", "summary.chat_template", value=False)
                yield Cause(Reason("file_without_template"), "shown", link.id, (figure,))
            continue
        yield from _of_header(link, header, proved=link.id in passed)
        if trained is not None and link.id not in passed:
            yield from _of_template(lineage, link, header, *trained)
            yield from _of_ends(link, header, trained[0])


def _of_header(link: Link, header: GgufHeader, *, proved: bool) -> Iterator[Cause]:
    """What a header says by itself."""
    name = "GGUF header"
    if header.chat_template is None:
        figure = Evidence(link.id, name, "tokenizer.chat_template", None)
        yield Cause(Reason("file_without_template"), "shown", link.id, (figure,))
        return
    if (mark := first_training_mark(header.chat_template)) is not None:
        figure = Evidence(link.id, name, "tokenizer.chat_template", mark)
        yield Cause(Reason("training_marks"), "shown", link.id, (figure,))
    if header.keys.get("tokenizer.ggml.add_bos_token") and not proved:
        written = next((mark for mark in BOS_WRITTEN if mark in header.chat_template), None)
        if written is not None:
            figures = (
                Evidence(link.id, name, "tokenizer.ggml.add_bos_token", value=True),
                Evidence(link.id, name, "tokenizer.chat_template", f"… {written} …"),
            )
            yield Cause(Reason("doubled_bos"), "possible", link.id, figures)


def _of_template(
    lineage: Lineage, link: Link, header: GgufHeader, training: Link, trained: TrainSpec
) -> Iterator[Cause]:
    """That a file's template is another text than the trained one, and what differs in what the two render: where nothing does,
    nothing is wrong."""
    wanted = trained_template(training)
    if header.chat_template is None or wanted is None or wanted == (served := sha256_json(header.chat_template)):
        return
    found = template_causes(lineage, link, header, trained, wanted)
    yield from found or ()
    if found != ():
        figures = (
            Evidence(training.id, "result.json", "sha256 of the trained chat template", wanted),
            Evidence(link.id, "GGUF header", "sha256 of tokenizer.chat_template", served),
        )
        yield Cause(Reason("template_differs"), "likely", link.id, figures)


def trained_template(training: Link) -> str | None:
    """The hash of the chat template that a training rendered with, as it is saved."""
    for key in ("saved_template_sha256", "chat_template_sha256"):  # marks of training leave what is saved
        found = training.lineage.get(key) or training.manifest.get(key)
        if isinstance(found, str):
            return found
    return None


def _of_ends(link: Link, header: GgufHeader, training: Link) -> Iterator[Cause]:
    model = training.manifest.get("model")
    config = model.get("config") if isinstance(model, dict) else None
    told = config.get("eos_token_id") if isinstance(config, dict) else None
    wanted = [told] if isinstance(told, int) else [one for one in told or () if isinstance(one, int)]
    known = [end for key in END_KEYS if isinstance(end := header.keys.get(f"tokenizer.ggml.{key}"), int)]
    if not wanted or set(wanted) & set(known):
        return
    figures = (
        Evidence(training.id, "manifest.json", "model.config.eos_token_id", ", ".join(map(str, wanted))),
        Evidence(link.id, "GGUF header", "ends of an answer", ", ".join(map(str, known)) or None),
    )
    yield Cause(Reason("stop_token_lost", {"trained": wanted, "served": known}), "possible", link.id, figures)


def _cases(link: Link) -> list[Mapping[str, Any]]:
    cases = link.parity.get("cases")
    return [case for case in cases if isinstance(case, dict)] if isinstance(cases, list) else []


def _reason(document: Any) -> Reason | None:
    try:
        return Reason.from_json(document) if isinstance(document, dict) else None
    except ValueError:
        return None
