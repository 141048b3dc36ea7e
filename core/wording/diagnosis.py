"""The words of a diagnosis: symptoms, causes with their figures, what to do, and the tests that are worth making."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.diagnosis.causes import CONSEQUENCES, Cause, Certainty, Evidence
from core.diagnosis.diagnosis import Diagnosis, SymptomsOf
from core.diagnosis.lineage import Link
from core.diagnosis.next_test import NextTest
from core.diagnosis.symptoms import Symptom
from core.format import figure, listed, of_five, plural, score_figure, share
from core.jobfile.deploy import DeploySpec
from core.jobfile.kinds import kind_of
from core.store.jobs import ENDED
from core.text import one_line
from core.wording import failure_modes, parity
from core.wording.jobs import outcome_words
from core.wording.stages import OUTCOMES

SHOWN_EXCERPT = 100
SHOWN_HASH = 12
MOST_NAMED = 2
"""Of causes that are as likely as each other, in the first line."""
HASH = 64
"""Signs of a SHA-256."""
SURE: Mapping[Certainty, str] = {"shown": "certain", "likely": "likely", "possible": "possible"}

SYMPTOMS = failure_modes.SENTENCES | {
    "short_and_alike": "are alike whatever was asked, or short and of one length",
}
NAMES = failure_modes.NAMES | {"short_and_alike": "answers all alike"}
# Those of the prompts are `core.wording.parity`'s; of what is only inferred there are no values to say them with.
_INFERRED = {
    "thinking_differs": "thinking is rendered in another way than in training",
    "trailing_whitespace": "the prompt ends in other white space than in training, such as a line feed",
    "stop_token_lost": "the tokens that end an answer in training ({trained}) are none of the file's ends ({served})",
}
_CAUSES = {
    "template_differs": "the chat template of the GGUF file is not the one that training rendered with",
    "prompt_tokens_differ": "the served prompts are not training's: {range} tokens in {inputs} of {of}",
    "prompts_differ": "the served prompts are not the trained ones, in a way that this version has no name for",
    "thinking_policy_differs": "trained with thinking {trained}, asked with thinking {asked} ({candidate})",
    "system_prompt_differs": "{candidate} was asked with another system prompt than its training had",
    "few_shot_not_sent": "training put up to {examples} in front of {share} of its prompts, and {candidate} was asked without",
    "limit_too_low": "whole answers of {candidate} take up to {longest} of {limit} tokens: the limit may be too low",
    "served_weights_changed": "{candidate} is not the model that was deployed: its weights are others",
    "served_template_changed": "{candidate} has another chat template than the one that its deployment proved",
    "server_version_changed": "{candidate} was asked on another version of its server than the one that proved it",
    "served_by_hand": "{candidate} was made by hand, without a deployment: nothing has proved its prompts",
    "completions_skipped": "{count} of {of} examples were not trained: their completions do not fit into max_length",
    "prompts_cut": "{count} of {of} prompts lost their middle in training",
    "length_lowered": "the memory held no longer examples: max_length went from {before} to {after} tokens",
    "too_few_steps": "only {steps} steps were trained (loss {first} → {last})",
    "loss_not_fallen": "the loss hardly fell in {steps} steps: {first} → {last}",
    "loss_not_finite": "the loss was not a number from step {step} on",
    "weights_unchanged": "what was made is the base again: no weight, or hardly any, changed in {dtype}",
    "update_lost": "only {share} of the training's update survives in {dtype}",
    "original_base_weights": "trained on a base of {bits} bits and merged into the original one, which training never saw",
    "no_gain": "the trained model is no better than its base ({difference})",
    "behind_base": "{stage} is no better than the base ({difference}), and no stage before it was asked the same",
    "loss_at_stage": "the score is lost from {before} to {after} ({difference})",
}
_REMEDIES = {
    "thinking_policy_differs": "ask as it was trained: one `thinking` in the task for training and bake-off",
    "system_prompt_differs": "ask with the system prompt that trained it, or train again with the present one",
    "few_shot_not_sent": "send as many with each request (`@few_shot=` in a bake-off), or train without them",
    "limit_too_low": "raise `max_new_tokens` of the task",
    "served_weights_changed": "deploy again, and see who makes models under that name",
    "served_template_changed": "deploy again, and see who makes models under that name",
    "server_version_changed": "check its prompts on this version",
    "served_by_hand": "deploy the file instead: a deployment proves the prompts before it serves",
    "completions_skipped": "raise `max_length`, or shorten the examples",
    "prompts_cut": "raise `max_length`, or shorten the inputs",
    "length_lowered": "train with a smaller rank, batch or model, so that the length stays",
    "too_few_steps": "train for more epochs, or with a smaller batch",
    "loss_not_fallen": "raise the learning rate or the epochs, and look whether the data teaches what is asked",
    "loss_not_finite": "lower the learning rate, or train in fp32",
    "weights_unchanged": "export with `--dtype fp32`, or train further",
    "update_lost": "export with `--dtype fp32` and quantise that",
    "original_base_weights": "merge it into what training saw (`--base-weights dequantized`)",
    "prompt_tokens_differ": "find out by a parity check which tokens differ",
    "prompts_differ": "look at the job of the parity check: it shows both prompts",
    "no_gain": "look at the training first: no later step can give what it did not",
    "behind_base": "ask the stages before it the same inputs",
    "loss_at_stage": "look at what the later stage was made with; keep the earlier one meanwhile",
}
_TESTS = {
    "prompts": "renders every prompt by training's template and by the server's, token by token",
    "lengths": "counts what the length rule leaves of each example; nothing is trained",
    "limit": "asks the same model with twice the limit beside the present one",
    "weights": "makes the model anew, so that a bake-off can compare both",
    "steps": "trains for twice as long, with the rest unchanged",
    "stages": "asks each stage the same inputs: the first that is bad has the fault",
}

DiagnosisRole = Literal["head", "bad", "warn", "good", "text", "dim", "command"]


@dataclass(frozen=True)
class DiagnosisRow:
    """A row of a diagnosis on a terminal, before it is wrapped: a gutter, and the text to the right of it."""

    role: DiagnosisRole
    gutter: str
    text: str
    data: bool = False
    """It quotes an answer, which is shown as it is."""


def symptom_words(symptom: Symptom) -> str:
    """`31 of 36 answers repeat the instructions`."""
    return f"{symptom.count} of {symptom.of} answers {SYMPTOMS[symptom.code]}"


def cause_words(cause: Cause) -> str:
    """The cause as a clause."""
    code, values = cause.code, cause.reason.values
    if code in _CAUSES:
        return _CAUSES[code].format(**_worded(values))
    if code in _INFERRED and ("text" not in values if code == "stop_token_lost" else not values):
        return _INFERRED[code].format(**_worded(values))
    return parity.finding_words(cause.reason)


def remedy_words(cause: Cause, diagnosis: Diagnosis | None = None) -> str:
    """What to do about it, as a clause. Commands in it name the jobs of `diagnosis`."""
    if cause.code in _REMEDIES:
        return _REMEDIES[cause.code]
    if cause.code == "stop_token_lost" and "text" not in cause.reason.values:
        return "convert the model again with its generation_config.json"
    chain = [] if diagnosis is None else list(diagnosis.lineage.above(cause.job))
    served = chain[0].spec if chain else None
    if isinstance(served, DeploySpec) and served.to == "ollama" and parity.is_of_template(cause.reason):
        return "deploy the file again; if that is refused, to a llama-server, which runs the file's own template"
    made_from = next((link.id for link in chain if link.job.kind in ("merge", "train")), None)
    return parity.remedy_words(cause.reason, made_from)


def figures_words(figures: Sequence[Evidence]) -> list[str]:
    """`job 7, result.json: summary.skipped = 3; summary.trained = 20`: those of one file in one line."""
    by_place: dict[str, list[str]] = {}
    for one in figures:
        by_place.setdefault(_place(one), []).append(_figure(one))
    return [f"{place}: {'; '.join(said)}" for place, said in by_place.items()]


def _place(evidence: Evidence) -> str:
    return f"job {evidence.job}, {evidence.file}"


def _figure(evidence: Evidence) -> str:
    value = evidence.value
    said = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    said = said[:SHOWN_HASH] if len(said) == HASH and said.isalnum() else one_line(said, limit=60)
    return f"{one_line(evidence.key)} = {said}"


def test_words(test: NextTest) -> str:
    """What a test does, as a clause."""
    return _TESTS[test.code]


def headline(diagnosis: Diagnosis) -> str:
    """What went wrong, in one sentence: the surest cause, how the job itself failed, or that nothing is known."""
    of_models = [one for one in diagnosis.symptoms if one.job is not None]
    asked = diagnosis.lineage.asked
    told = {cause.job for cause in diagnosis.causes} | {one.job for cause in diagnosis.causes for one in cause.evidence}
    if asked.job.state == "failed" and asked.id not in told:
        return _sentence(failed_words(asked))
    if asked.job.is_censored:
        return _sentence(f"job {asked.id}, {kind_of(asked.job.kind).noun}, made nothing: {outcome_words(asked.job)}")
    if diagnosis.causes:
        return _sentence(_answer_words(answer_of(diagnosis)))
    if asked.job.state not in ENDED:
        return _sentence(
            f"job {asked.id}, {kind_of(asked.job.kind).noun}, is {asked.job.state}; nothing speaks against it yet"
        )
    if of_models:
        return "The answers have faults, and nothing on record explains them."
    if not diagnosis.scores and not diagnosis.symptoms:
        return "Nothing on record speaks against it; no answers of it are on record yet."
    return "Nothing on record speaks against it."


def answer_of(diagnosis: Diagnosis) -> tuple[Cause, ...]:
    """The surest cause; where that only tells where something is lost, with what may have lost it, as sure as each other."""
    first, *others = diagnosis.causes
    if first.code not in CONSEQUENCES:
        return (first,)
    behind = [one for one in others if one.code not in CONSEQUENCES]
    return (first, *[one for one in behind if one.certainty == behind[0].certainty][:MOST_NAMED])


def _answer_words(causes: Sequence[Cause]) -> str:
    first, *others = causes
    said = f"{SURE[first.certainty]}: {cause_words(first)}"
    return f"{said}; {SURE[others[0].certainty]}: {', or '.join(map(cause_words, others))}" if others else said


def failed_words(link: Link) -> str:
    """`job 9, a deployment, failed: …`"""
    said = f"job {link.id}, {kind_of(link.job.kind).noun}, failed: {outcome_words(link.job)}"
    return f"{said}; what served before goes on serving" if link.job.kind == "deploy" else said


def diagnosis_rows(diagnosis: Diagnosis) -> list[DiagnosisRow]:
    """All of a diagnosis, the most important first."""
    rows = _first_rows(diagnosis)
    told = rows[0].text
    failed = [words for link in diagnosis.failed if _sentence(words := failed_words(link)) != told]
    rows += [DiagnosisRow("warn", "✗ ", words) for words in failed]
    if diagnosis.causes:
        rows += [DiagnosisRow("text", "", ""), DiagnosisRow("head", "", "Causes")]
        figured: dict[tuple[Evidence, ...], int] = {}
        for number, cause in enumerate(diagnosis.causes, 1):
            rows += _cause_rows(number, cause, diagnosis, figured.setdefault(cause.evidence, number))
    if diagnosis.tests:
        rows += [DiagnosisRow("text", "", ""), DiagnosisRow("head", "", "What tells more, the cheapest first")]
        for test in diagnosis.tests:
            rows.append(DiagnosisRow("command", "$ ", test.command))
            about = [str(n) for n, cause in enumerate(diagnosis.causes, 1) if cause.code in test.tells]
            about = about if cause_codes_differ(diagnosis, test) else []
            rows.append(DiagnosisRow("dim", "  ", test_words(test) + (f" (for {listed(about)})" if about else "")))
    if diagnosis.symptoms:
        rows += [DiagnosisRow("text", "", ""), DiagnosisRow("head", "", "Symptoms")]
        for of in diagnosis.symptoms:
            rows += _symptom_rows(of, diagnosis)
    if diagnosis.scores:
        rows += [DiagnosisRow("text", "", ""), DiagnosisRow("head", "", "Scores by stage")]
        rows += _score_rows(diagnosis)
    rows += [DiagnosisRow("text", "", ""), DiagnosisRow("head", "", "Looked at")]
    rows += [DiagnosisRow("dim", "", said) for said in _looked_at(diagnosis)]
    return rows


def cause_codes_differ(diagnosis: Diagnosis, test: NextTest) -> bool:
    """Whether the test is about some of the causes and not about all of them."""
    return any(cause.code not in test.tells for cause in diagnosis.causes)


def _first_rows(diagnosis: Diagnosis) -> list[DiagnosisRow]:
    """The answer with what to do about it; then what is seen in the answers of each model of the lineage, in a row each."""
    said = headline(diagnosis)
    ill = [of for of in diagnosis.symptoms if of.job is not None]
    asked = diagnosis.lineage.asked.job
    bad = bool(diagnosis.causes) or asked.state == "failed"
    rows = [DiagnosisRow("bad" if bad else "warn" if ill else "good", "", said)]
    last = answer_of(diagnosis)[-1] if diagnosis.causes else None
    if last is not None and last.certainty == "shown" and last.code not in CONSEQUENCES:
        rows.append(DiagnosisRow("text", "→ ", remedy_words(last, diagnosis)))
    elif diagnosis.tests:
        rows.append(DiagnosisRow("command", "$ ", diagnosis.tests[0].command))
    elif last is not None:
        rows.append(DiagnosisRow("text", "→ ", remedy_words(last, diagnosis)))
    for of in ill:
        shown = ", ".join(f"{NAMES[one.code]} ({one.count} of {one.of})" for one in of.symptoms)
        where = "" if len({one.task for one in diagnosis.symptoms}) == 1 else f", {of.task}"
        rows.append(DiagnosisRow("warn", "✗ ", f"{one_line(of.candidate)}{where}, bake-off {of.bakeoff}: {shown}"))
    return rows


def _cause_rows(number: int, cause: Cause, diagnosis: Diagnosis, figures_of: int) -> Iterator[DiagnosisRow]:
    gutter = f"{number} "
    indent = " " * len(gutter)
    role: DiagnosisRole = "bad" if cause.certainty == "shown" else "warn"
    where = f" · {noun_of(diagnosis, cause.job)}"
    yield DiagnosisRow(role, gutter, f"{SURE[cause.certainty]}: {cause_words(cause)}{where}")
    seen = {one.code for of in diagnosis.symptoms if of.job is not None for one in of.symptoms}
    explained = [NAMES[code] for code in dict.fromkeys(cause.explains) if code in seen]
    if explained:
        yield DiagnosisRow("text", indent, f"would explain: {listed(explained)}")
    if figures_of != number:
        yield DiagnosisRow("dim", indent, f"the figures of {figures_of}")
    else:
        yield from (DiagnosisRow("dim", indent, said) for said in figures_words(cause.evidence))
    yield DiagnosisRow("text", indent, f"→ {remedy_words(cause, diagnosis)}")


def noun_of(diagnosis: Diagnosis, job: int) -> str:
    """`quantize 4`: the job at which a cause came in."""
    link = diagnosis.lineage.by_id.get(job)
    return f"job {job}" if link is None else f"{link.job.kind} {job}"


def _symptom_rows(of: SymptomsOf, diagnosis: Diagnosis) -> Iterator[DiagnosisRow]:
    whose = f"{one_line(of.candidate)}, {of.task}, bake-off {of.bakeoff}"
    if of.job is None:
        seen = ", ".join(f"{NAMES[one.code]} ({one.count} of {one.of})" for one in of.symptoms)
        yield DiagnosisRow("dim", "", f"{whose}, as it came: {seen}")
        return
    yield DiagnosisRow("text", "", whose)
    for symptom in of.symptoms:
        unexplained = symptom.code in diagnosis.unexplained
        yield DiagnosisRow("warn", "✗ ", symptom_words(symptom) + ("; no cause is on record" if unexplained else ""))
        shown = one_line(symptom.excerpt, limit=SHOWN_EXCERPT)
        where = f"{one_line(symptom.input_id)} #{symptom.repeat}"
        yield DiagnosisRow("dim", "  ", f"{where}: “{shown}”" if shown else f"{where}: no text", data=True)


def _score_rows(diagnosis: Diagnosis) -> Iterator[DiagnosisRow]:
    for one in diagnosis.scores:
        interval = f" [{score_figure(one.low)}, {score_figure(one.high)}]" if one.low is not None else ""
        made = "" if one.job is None else f", job {one.job}"
        who = f"{one_line(one.candidate)}{made}, {one.task}, bake-off {one.bakeoff}"
        step = "" if one.outcome is None else f" · beside {one_line(str(one.before))}: {OUTCOMES[one.outcome]}"
        yield DiagnosisRow("text", "", f"{one.stage:<8} {of_five(one.score)}{interval}  {who}{step}")


def _looked_at(diagnosis: Diagnosis) -> Iterator[str]:
    links = diagnosis.lineage.links
    states = {link.id: "" if link.job.state == "done" else f" ({link.job.state})" for link in links}
    yield ", ".join(f"{link.job.kind} {link.id}{states[link.id]}" for link in links)
    for job in diagnosis.passed:
        yield f"job {job}: a parity check has proved that its served prompts are the trained ones"
    if not any(link.job.kind == "bakeoff" for link in links):
        yield f"no bake-off has asked any of {plural(len(links), 'job')}: of answers nothing is known"


def _worded(values: Mapping[str, object]) -> dict[str, object]:
    """The values as a person reads them: scores on their scale, shares, ranges."""
    worded: dict[str, object] = {}
    for name, value in values.items():
        if name == "difference" and isinstance(value, int | float):
            worded[name] = f"{5 * value:+.2f} of 5"
        elif name == "share" and isinstance(value, int | float):
            worded[name] = share(value)
        elif isinstance(value, float):
            worded[name] = figure(value)
        elif isinstance(value, list):
            worded[name] = listed([str(one) for one in value]) or "none"
        else:
            worded[name] = one_line(str(value))
    low, high = values.get("low"), values.get("high")
    if isinstance(low, int) and isinstance(high, int):
        worded["range"] = f"{low:+d}" if low == high else f"{low:+d} to {high:+d}"
    if isinstance(count := values.get("count"), int):
        worded["examples"] = plural(count, "answered example")
    return worded


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}."
