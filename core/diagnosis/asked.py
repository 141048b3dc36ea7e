"""How the bake-offs of a lineage asked: policies and instructions that training had not, and prompts of another length."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from core.data.shots import TrainedShots, trained_shots
from core.diagnosis.causes import Cause, Certainty, Evidence
from core.diagnosis.deployments import is_by_hand
from core.diagnosis.lineage import Lineage, Link
from core.jobfile.bakeoff import IN_PROCESS, BakeoffSpec, CandidateSpec, TaskUnderTest
from core.jobfile.references import parse_reference
from core.jobfile.train import TrainSpec
from core.reasons import Reason, Value
from core.results.load import StoredTask

CHARACTERS_A_TOKEN = (1.2, 9.0)
"""Of a system text with its frame: between these a difference of prompts can be its loss."""
LEAST_SYSTEM_TOKENS = 5
MOST_BLOCK_TOKENS = 8
"""Of an empty block of thoughts."""
NEAR_THE_LIMIT = 0.5
"""Of `max_new_tokens`: whole answers that are this long say that others may need more."""


def job_of(candidate: CandidateSpec) -> int | None:
    """The job that makes a candidate's model."""
    found = parse_reference(candidate.made_ref)
    return None if found is None else found.job_id


def asked_causes(lineage: Lineage, link: Link, spec: BakeoffSpec) -> Iterator[Cause]:
    """Where a bake-off asked a candidate otherwise than it was trained.

    A variant beside the same model without one is an experiment, and no fault.
    """
    plain = {job_of(one) for one in spec.candidates if one.variant.is_plain}
    for candidate in spec.candidates:
        job = job_of(candidate)
        trained = None if job is None else lineage.training_of(job)
        if trained is None or (not candidate.variant.is_plain and job in plain):
            continue
        for under_test in spec.tasks:
            if under_test.name == trained[1].task.name:
                yield from _asked_otherwise(link, candidate, under_test, *trained)


def _asked_otherwise(
    link: Link, candidate: CandidateSpec, under_test: TaskUnderTest, training: Link, trained: TrainSpec
) -> Iterator[Cause]:
    task, variant = under_test.task, candidate.variant
    asked = variant.think or task.thinking
    name = candidate.name
    if asked != trained.task.thinking:
        values: dict[str, Value] = {"trained": trained.task.thinking, "asked": asked, "candidate": name}
        figures = (
            Evidence(training.id, "job.yaml", "spec.task.thinking", trained.task.thinking),
            Evidence(link.id, "job.yaml", "thinking", asked),
        )
        yield Cause(Reason("thinking_policy_differs", values), "shown", link.id, figures)
    system = task.system if variant.system is None else variant.system
    if system.strip() != trained.task.system.strip() or task.system_role != trained.task.system_role:
        figures = (
            Evidence(training.id, "job.yaml", "spec.task.system", _sized(trained.task.system)),
            Evidence(link.id, "job.yaml", "system", _sized(system)),
        )
        yield Cause(Reason("system_prompt_differs", {"candidate": name}), "shown", link.id, figures)
    shots = trained_shots(trained.recipe.few_shot, training.summary)
    if shots is not None and shots.expected and not variant.few_shot:
        yield _not_sent(link, name, training, shots)


def _not_sent(link: Link, name: str, training: Link, shots: TrainedShots) -> Cause:
    """Asked without the examples that stood in front of nearly every trained prompt: likely where they were counted."""
    figures = [
        Evidence(training.id, "job.yaml", "spec.recipe.few_shot.count", shots.count),
        Evidence(link.id, "job.yaml", "few_shot", 0),
    ]
    if shots.counted is not None:
        with_any, trained = shots.counted
        added = "summary.added.few_shot_full + few_shot_fewer"
        figures.append(Evidence(training.id, "result.json", added, with_any))
        figures.append(Evidence(training.id, "result.json", "summary.trained", trained))
    sure: Certainty = "possible" if shots.counted is None else "likely"
    values: dict[str, Value] = {"count": shots.count, "share": shots.share, "candidate": name}
    return Cause(Reason("few_shot_not_sent", values), sure, link.id, tuple(figures))


def _sized(text: str) -> str:
    return f"{len(text)} characters" if text.strip() else "none"


def limit_causes(lineage: Lineage, link: Link, spec: BakeoffSpec, tasks: Mapping[str, StoredTask]) -> Iterator[Cause]:
    """Answers that were cut where whole ones come near the limit: it may be too low."""
    for name, stored in tasks.items():
        limit = stored.task.sampling.max_new_tokens
        for candidate in spec.candidates:
            job = job_of(candidate)
            if candidate.variant.sampling.get("max_new_tokens") or job is None or job not in lineage.by_id:
                continue
            answers = [one for one in stored.answers if one.candidate == candidate.name and one.fault != "server"]
            cut = sum(1 for one in answers if one.finish == "length")
            longest = max((one.completion_tokens for one in answers if one.finish != "length"), default=0)
            if cut and longest >= NEAR_THE_LIMIT * limit:
                figures = (
                    Evidence(link.id, "answers.jsonl", f"finish=length, {name}", f"{cut} of {len(answers)}"),
                    Evidence(link.id, "answers.jsonl", "completion_tokens of the longest whole answer", longest),
                )
                values: dict[str, Value] = {
                    "limit": limit,
                    "longest": longest,
                    "candidate": candidate.name,
                    "task": name,
                }
                yield Cause(Reason("limit_too_low", values), "possible", job, figures)


def count_causes(
    lineage: Lineage, link: Link, spec: BakeoffSpec, tasks: Mapping[str, StoredTask], passed: Collection[int]
) -> Iterator[Cause]:
    """Prompts of a GGUF candidate that have other numbers of tokens than those of the same model in the job's own process."""
    for stored in tasks.values():
        for candidate in spec.candidates:
            job, by_hand = job_of(candidate), is_by_hand(lineage, candidate)
            if candidate.form not in ("gguf", "served") or candidate.lora is not None or job is None:
                continue
            if job not in lineage.by_id or (job in passed and not by_hand):
                continue
            reference = _same_prompts(lineage, spec, candidate, job)
            if reference is not None:
                trained, served = (_prompt_tokens(stored, name) for name in (reference.name, candidate.name))
                # What a person made of a file is no fault of the job that made the file.
                at = link.id if by_hand else job
                yield from _counted(lineage, link, stored, candidate, reference, at, trained, served)


def _same_prompts(lineage: Lineage, spec: BakeoffSpec, candidate: CandidateSpec, job: int) -> CandidateSpec | None:
    """A candidate that the bake-off rendered itself, by the template of training, and asked in the same way."""
    made_from = [one.id for one in lineage.above(job)]
    trained = lineage.training_of(job)
    base = trained[1].model.name if trained else candidate.model.name if candidate.model else None
    able = [one for one in spec.candidates if one.form in IN_PROCESS and one.variant == candidate.variant]
    ours = [one for one in able if job_of(one) in made_from]
    return next(iter(ours or [one for one in able if one.model is not None and one.model.name == base]), None)


def _prompt_tokens(stored: StoredTask, name: str) -> dict[str, int]:
    return {
        one.input_id: one.prompt_tokens for one in stored.answers if one.candidate == name and one.prompt_tokens > 0
    }


def _counted(
    lineage: Lineage,
    link: Link,
    stored: StoredTask,
    candidate: CandidateSpec,
    reference: CandidateSpec,
    job: int,
    trained: Mapping[str, int],
    served: Mapping[str, int],
) -> Iterator[Cause]:
    shared = [one for one in trained if one in served]
    off = [served[one] - trained[one] for one in shared]
    if not any(off):
        return
    example = next(one for one in shared if served[one] != trained[one])
    figures = (
        Evidence(link.id, "answers.jsonl", f"prompt_tokens of {example}, {reference.name}", trained[example]),
        Evidence(link.id, "answers.jsonl", f"prompt_tokens of {example}, {candidate.name}", served[example]),
    )
    values = {"low": min(off), "high": max(off), "inputs": sum(map(bool, off)), "of": len(off)}
    yield Cause(Reason("prompt_tokens_differ", values), "shown", job, figures)
    for code, sure in _what_it_may_be(off, stored.task.system, _puts_bos_in_front(lineage, job)):
        yield Cause(Reason(code), sure, job, figures)


def _puts_bos_in_front(lineage: Lineage, job: int) -> bool | None:
    """Whether the file's tokenizer puts a beginning of the text in front of a prompt, by its header; None where that is not
    told."""
    headers = (link.gguf for link in lineage.above(job) if link.gguf is not None)
    header = next(headers, None)
    told = None if header is None else header.keys.get("tokenizer.ggml.add_bos_token")
    return None if told is None else bool(told)


def _what_it_may_be(off: Sequence[int], system: str, puts_bos: bool | None) -> Iterator[tuple[str, Certainty]]:
    """The causes that have such a difference of lengths."""
    if min(off) != max(off):
        return
    by = off[0]
    if by == 1:
        if puts_bos is not False:
            yield "doubled_bos", "possible"
            yield "added_bos", "possible"
        yield "trailing_whitespace", "possible"
    elif by == -1:
        yield from (("lost_bos", "possible"), ("trailing_whitespace", "possible"))
    elif abs(by) <= MOST_BLOCK_TOKENS:
        yield "thinking_differs", "possible"
    if by <= -LEAST_SYSTEM_TOKENS and system.strip():
        each = len(system.strip()) / -by
        if CHARACTERS_A_TOKEN[0] <= each <= CHARACTERS_A_TOKEN[1]:
            yield "system_dropped", "likely" if -by > MOST_BLOCK_TOKENS else "possible"
