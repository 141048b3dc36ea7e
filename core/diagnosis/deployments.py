"""What serves of a lineage: its deployments, and the served candidates of bake-offs that they made, or that a person made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from core.bakeoff.measured import MeasuredCandidate
from core.diagnosis.causes import Cause, Certainty, Evidence
from core.diagnosis.lineage import Lineage, Link
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ServerUnderTest
from core.jobfile.deploy import DeploySpec, Target
from core.jobfile.parity import ParitySpec
from core.jobfile.references import parse_reference
from core.reasons import Reason
from core.serving.answering import ServedIdentity
from core.serving.replies import name_key

Change = tuple[str, str, str, Certainty]
CHANGES: Mapping[Target, tuple[Change, ...]] = {
    "ollama": (
        ("served_weights_changed", "blob", "weights", "shown"),
        ("served_template_changed", "template_sha256", "template", "shown"),
        ("server_version_changed", "server", "version", "possible"),
    ),
    # It tells its version in other words than its program, and the template without white space at its end.
    "llama-server": (("served_weights_changed", "weights", "weights", "shown"),),
}
"""What may have become another since a deployment: the cause, what the deployment noted, what the server told a bake-off."""


def deployment_of(lineage: Lineage, server: ServerUnderTest | None, name: str | None, before: int) -> Link | None:
    """The newest deployment that had put a model under that name on that server when job `before` asked it."""
    found = [
        link
        for link, spec in lineage.deployments
        if link.id < before and link.job.state == "done" and _is_place(spec, server, name)
    ]
    return max(found, key=lambda link: link.id, default=None)


def _is_place(spec: DeploySpec, server: ServerUnderTest | None, name: str | None) -> bool:
    if server is None or name is None:
        return False
    if spec.server is None:  # a served model of the home
        return server.served_dir is not None and name == spec.name
    return server.url == spec.server.url and name_key(name) == name_key(spec.name)


def resolved(
    lineage: Lineage, link: Link, spec: BakeoffSpec, measured: Sequence[MeasuredCandidate] = ()
) -> BakeoffSpec:
    """The bake-off with a reference in each served candidate to the deployment that made it, else to the job whose file the
    server says that it has."""
    candidates = []
    for one in spec.candidates:
        job = _maker(lineage, link, one, measured) if one.form == "served" else None
        candidates.append(one if job is None else one.model_copy(update={"ref": f"job:{job}/gguf"}))
    return spec.model_copy(update={"candidates": candidates})


def _maker(lineage: Lineage, link: Link, candidate: CandidateSpec, measured: Sequence[MeasuredCandidate]) -> int | None:
    deployment = deployment_of(lineage, candidate.server, candidate.served_model, link.id)
    if deployment is not None:
        return deployment.id
    identity = identity_of(candidate, measured)
    weights = None if identity is None else identity.weights
    files = (one.id for one, _ in lineage.files if weights == f"sha256:{one.summary.get('file_sha256')}")
    return next(files, None)


def identity_of(candidate: CandidateSpec, measured: Sequence[MeasuredCandidate]) -> ServedIdentity | None:
    """What the server told of a candidate when it was asked last."""
    found = [one for one in measured if one.candidate == candidate.name]
    return found[-1].identity if found else None


def is_by_hand(lineage: Lineage, candidate: CandidateSpec) -> bool:
    """Whether a person put a file of the lineage on a server: no deployment has proved what it does there."""
    found = parse_reference(candidate.ref)
    link = None if found is None else lineage.by_id.get(found.job_id)
    return candidate.form == "served" and link is not None and not isinstance(link.spec, DeploySpec)


def served_causes(
    lineage: Lineage, link: Link, spec: BakeoffSpec, measured: Sequence[MeasuredCandidate]
) -> Iterator[Cause]:
    """Served candidates that are not what a deployment proved; those that a person made. `spec` is as `resolved` gives it."""
    for candidate in spec.candidates:
        found = parse_reference(candidate.ref)
        maker = None if found is None else lineage.by_id.get(found.job_id)
        identity = identity_of(candidate, measured)
        if candidate.form != "served" or maker is None or identity is None:
            continue
        if is_by_hand(lineage, candidate):
            figures = (
                Evidence(link.id, "candidates.jsonl", f"weights of {candidate.name}", _bare(identity.weights)),
                Evidence(maker.id, "result.json", "summary.file_sha256", _bare(identity.weights)),
            )
            yield Cause(Reason("served_by_hand", {"candidate": candidate.name}), "possible", maker.id, figures)
            continue
        assert isinstance(maker.spec, DeploySpec)  # what is not by hand is by one
        for code, noted, told, sure in CHANGES[maker.spec.to]:
            then, now = maker.summary.get(noted), getattr(identity, told)
            if isinstance(then, str) and isinstance(now, str) and _bare(then) != _bare(now):
                figures = (
                    Evidence(maker.id, "result.json", f"summary.{noted}", _bare(then)),
                    Evidence(link.id, "candidates.jsonl", f"{told} of {candidate.name}", _bare(now)),
                )
                yield Cause(Reason(code, {"candidate": candidate.name}), sure, maker.id, figures)


def _bare(digest: str | None) -> str | None:
    return None if digest is None else digest.removeprefix("sha256:")


def checked_job(lineage: Lineage, link: Link) -> int | None:
    """The job whose prompts a check was about: of a GGUF file its maker, of a deployment and of what serves the deployment.
    None of what no job made."""
    spec = link.spec
    if isinstance(spec, DeploySpec):
        return link.id
    if not isinstance(spec, ParitySpec):
        return None
    if spec.source is not None:
        found = parse_reference(spec.source)
        return None if found is None else found.job_id
    deployment = deployment_of(lineage, spec.server, spec.served_model, link.id)
    return None if deployment is None else deployment.id
