"""Candidates that the job loads itself: a base model, an adapter on it, a merged model.

Model by model: one load serves a base and all adapters on it, over all tasks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.bakeoff.measured import MeasuredCandidate, append_measured
from core.config.golden import GoldenInput
from core.errors import InputError
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.models.fingerprints import adapter_fingerprint
from core.scoring.answers import Answer, find_fault
from core.scoring.questions import AskedTask, asked_task
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity
from core.thinking import split_thinking
from jobs import models
from jobs.adapters import load_adapter, require_same_base
from jobs.bakeoff.prompts import WantedAnswer, wanted_answers
from jobs.bakeoff.record import AnswerRecord, Tally
from jobs.bakeoff.template_gate import golden_gate
from jobs.context import JobContext
from jobs.cpu_dtype import GENERATING, dtype_for
from jobs.device import job_device
from jobs.manifest import device_facts, extend_manifest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from jobs.generate import Generated

# More rows than this gain little speed, and hold answers back that a smaller batch would have finished.
MAX_BATCH = 48
# Share of the free memory that the key-value cache of a batch may take.
CACHE_SHARE_GPU = 0.5
CACHE_SHARE_CPU = 0.2
# Tokens of the answer that is thrown away before any is timed: kernels are chosen and caches filled by it.
WARM_UP_TOKENS = 4


@dataclass(frozen=True)
class Candidate:
    """A candidate with its files found. `weights` names what it computes with: it keys its answers."""

    spec: CandidateSpec
    base: models.BaseModel
    folder: Path | None
    weights: str

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def model_files(self) -> models.BaseModel:
        """What has to be loaded: for an adapter its base."""
        if self.spec.form != "merged":
            return self.base
        assert self.folder is not None
        return models.BaseModel(self.name, self.folder, None, self.weights)


@dataclass(frozen=True)
class InProcessRun:
    """What is asked of all candidates that the job loads itself, and where their answers go."""

    context: JobContext
    spec: BakeoffSpec
    inputs: Mapping[str, tuple[GoldenInput, ...]]
    record: AnswerRecord
    tally: Tally
    before_load: Callable[[], None]


def answer_in_process(
    context: JobContext,
    spec: BakeoffSpec,
    candidates: Sequence[CandidateSpec],
    inputs: Mapping[str, tuple[GoldenInput, ...]],
    record: AnswerRecord,
    tally: Tally,
    before_load: Callable[[], None],
) -> None:
    """All missing answers of the candidates that are loaded here. `before_load` is called before each load of a model."""
    run = InProcessRun(context, spec, inputs, record, tally, before_load)
    context.phase("finding the candidates", ", ".join(candidate.name for candidate in candidates))
    models.prepare_libraries()
    found = [_find(context, candidate) for candidate in candidates]
    device = job_device(context)
    first = found[0].spec.model
    assert first is not None  # what is loaded here has an entry
    # One for all: candidates that were asked in different dtypes would not compare.
    dtype = dtype_for(context, "auto", device, first, GENERATING)
    extend_manifest(
        context,
        device=device_facts(),
        dtype=dtype,
        candidates={candidate.name: candidate.weights for candidate in found},
    )
    for files, group in _by_model(found, spec.against):
        context.phase("loading the tokenizer", files.name)
        tokenizer = models.load_tokenizer(files, context.home)
        wanted = {candidate.name: _missing(run, candidate, tokenizer) for candidate in group}
        every = [answer for by_task in wanted.values() for _, answers in by_task for answer in answers]
        if not every:
            continue
        model = _loaded(run, files, group, tokenizer, device, models.as_torch(dtype))
        from jobs.load_report import require_rows

        require_rows(model, tokenizer, (token for answer in every for token in answer.prompt_ids), files.name)
        for candidate in group:
            if any(answers for _, answers in wanted[candidate.name]):
                context.phase("answering", candidate.name)
                with _as_candidate(model, candidate) as ready:
                    _answer(run, candidate, ready, tokenizer, wanted[candidate.name])


def _loaded(
    run: InProcessRun,
    files: models.BaseModel,
    group: Sequence[Candidate],
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    dtype: torch.dtype,
) -> PreTrainedModel:
    """The model of a group in memory, noted for each of its candidates with what the load took."""
    context = run.context
    context.phase("loading the model", files.name)
    run.before_load()
    began = time.monotonic()
    model = models.load_model(files, context.home, device, dtype, context.warn)
    loaded = LoadedModel(time.monotonic() - began, vram_bytes=_device_bytes(model))
    run.tally.loaded(group[0].name, loaded.seconds)
    for candidate in group:
        measured = MeasuredCandidate(
            candidate=candidate.name,
            attempt=context.attempt.number,
            time=time.time(),
            identity=_identity(candidate, tokenizer),
            loaded=loaded,
            capabilities=Capabilities(),
        )
        append_measured(context.run.candidates, measured)
    return model


def _identity(candidate: Candidate, tokenizer: PreTrainedTokenizerBase) -> ServedIdentity:
    """Who answers: the weights, and the template that they are asked with."""
    template = tokenizer.chat_template
    return ServedIdentity(
        api="in-process",
        model=candidate.base.name,
        weights=candidate.weights,
        template=hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) else None,
    )


def _device_bytes(model: PreTrainedModel) -> int | None:
    """What the GPU holds for this process with the model loaded; None on a CPU."""
    import torch

    return int(torch.cuda.memory_allocated(model.device)) if model.device.type == "cuda" else None


def _find(context: JobContext, spec: CandidateSpec) -> Candidate:
    """The files of a candidate. Raises NotFoundError or InputError when they are not there or not what they should be."""
    if spec.variant.output is not None:
        raise InputError(
            f"{spec.name}: a model that the bake-off loads itself cannot be held to a format",
            code="no_constrained_decoding",
            remedy="ask the model at a server, such as llama-server or Ollama",
        )
    assert spec.model is not None  # the spec was validated
    base = models.locate(spec.model, context.home)
    if spec.form == "base":
        return Candidate(spec, base, None, base.fingerprint)
    reference = spec.path or spec.ref
    assert reference is not None  # the spec was validated
    folder, sha256 = context.artefacts.resolve(reference, spec.form)
    if spec.form == "merged":
        return Candidate(spec, base, folder, models.locate_path(spec.name, folder).fingerprint)
    require_same_base(folder, base)
    return Candidate(spec, base, folder, adapter_fingerprint(base.fingerprint, sha256))


def _by_model(candidates: list[Candidate], against: str) -> list[tuple[models.BaseModel, list[Candidate]]]:
    """Candidates by the weights that must be loaded, bases before the adapters on them.

    `against` goes before all others: with it known, some need not be asked to the end.
    """
    groups: dict[tuple[str, str | None], tuple[models.BaseModel, list[Candidate]]] = {}
    for candidate in candidates:
        files = candidate.model_files
        # An adapter keeps the chat template that it was trained with, whatever its base's entry says by now.
        groups.setdefault((files.fingerprint, files.template), (files, []))[1].append(candidate)
    for _, group in groups.values():
        group.sort(key=lambda candidate: (candidate.name != against, candidate.spec.form == "adapter"))
    return sorted(groups.values(), key=lambda pair: against not in {candidate.name for candidate in pair[1]})


def _missing(
    run: InProcessRun, candidate: Candidate, tokenizer: PreTrainedTokenizerBase
) -> list[tuple[AskedTask, list[WantedAnswer]]]:
    """The answers that are wanted of a candidate and not there yet, a task after the other."""
    context, record, tally = run.context, run.record, run.tally
    found = []
    held = 0
    for under_test in run.spec.tasks:
        asked = asked_task(under_test, run.inputs[under_test.name], candidate.spec)
        golden_gate(context, asked, tokenizer)
        wanted = wanted_answers(asked, candidate.weights, tokenizer, run.spec.seed)
        missing = [answer for answer in wanted if not record.has(candidate.name, answer.key)]
        if record.is_hopeless(candidate.name, asked.name):
            missing = []
        held += len(wanted) - len(missing)
        tally.held(candidate.name, asked.name, len(wanted) - len(missing))
        found.append((asked, missing))
    if held:
        tally.tell(candidate.name)
        context.say(f"{candidate.name}: {held} answers are there already, or not wanted any more")
    return found


@contextmanager
def _as_candidate(model: PreTrainedModel, candidate: Candidate) -> Iterator[PreTrainedModel]:
    """The loaded model as the candidate: with its adapter, which is taken off again afterwards."""
    import torch

    if candidate.spec.form != "adapter":
        yield model
        return
    assert candidate.folder is not None
    adapted = load_adapter(model, candidate.folder)
    # In fp32 the adapter is added into the weights, exact to rounding, and each token costs no more than the base's.
    # In bf16 that would round it away in part, so there it stays beside them.
    exact = model.dtype == torch.float32
    if exact:
        adapted.merge_adapter()
    try:
        base: Any = adapted.get_base_model()
        yield base
    finally:
        if exact:
            adapted.unmerge_adapter()
        adapted.unload()


def _answer(
    run: InProcessRun,
    candidate: Candidate,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    wanted: Sequence[tuple[AskedTask, list[WantedAnswer]]],
) -> None:
    """Generate the answers of a candidate and write each down as it ends."""
    from jobs.generate import GenerationRequest, Generator

    context, spec, record, tally = run.context, run.spec, run.record, run.tally
    began, tokens, number = time.monotonic(), 0, 0
    count = sum(len(answers) for _, answers in wanted)
    for asked, missing in wanted:
        if not missing:
            continue
        batch_size = spec.batch_size or _batch_size(model, missing, asked)
        context.say(f"{asked.name}: {len(missing)} answers, up to {batch_size} at a time")
        by_key = {answer.key: answer for answer in missing}
        requests = [GenerationRequest(answer.key, answer.prompt_ids, answer.cell.seed) for answer in missing]
        if not number:
            _warm_up(model, tokenizer, asked, requests[0])
            began = time.monotonic()
        limit = asked.sampling.max_new_tokens
        tally.answering(candidate.name, asked.name, len(missing), batch=batch_size, limit=limit)

        def at_step(generated_tokens: int, seconds: float) -> None:
            context.check_stop()
            tally.step()
            tally.sign_of_life(candidate.name, generated_tokens / seconds)

        generator = Generator(model, tokenizer, asked.sampling, asked.thinking)
        for answered, generated in enumerate(generator.answer(requests, batch_size, at_step), start=1):
            number += 1
            answer = _as_answer(asked, candidate, by_key[generated.key], generated)
            record.add(answer)
            tokens += generated.completion_tokens
            tally.add(answer)
            fault = f", {answer.fault}" if answer.fault else ""
            context.say(
                f"{candidate.name} {number}/{count} {answer.task} {answer.input_id} #{answer.repeat}: "
                f"{answer.completion_tokens} tokens{fault}"
            )
            if answered < len(missing) and record.is_hopeless(candidate.name, asked.name):
                tally.skip(candidate.name, asked.name, len(missing) - answered)
                context.say(
                    f"{candidate.name}: at {asked.name} it cannot reach {spec.against} any more and is not asked on"
                )
                break
    speed = tokens / (time.monotonic() - began)
    context.say(f"{candidate.name}: {count} answers, {tokens} tokens, {speed:.0f} tok/s")


def _warm_up(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: AskedTask, request: Any) -> None:
    """A few tokens of the first answer, thrown away."""
    from jobs.generate import Generator

    least = min(WARM_UP_TOKENS, asked.sampling.max_new_tokens)
    short = asked.sampling.model_copy(update={"max_new_tokens": least})
    for _ in Generator(model, tokenizer, short, asked.thinking).answer([request], 1):
        pass


def _as_answer(asked: AskedTask, candidate: Candidate, wanted: WantedAnswer, generated: Generated) -> Answer:
    raw = f"<think>{generated.text}" if wanted.opens_thinking else generated.text
    split = split_thinking(raw, lambda: asked.asked_for(wanted.cell.item))
    return Answer(
        key=wanted.key,
        candidate=candidate.name,
        task=asked.name,
        input_id=wanted.cell.item.id,
        repeat=wanted.cell.repeat,
        seed=wanted.cell.seed,
        text=split.text,
        thinking=split.thinking,
        finish=generated.finish,
        fault=find_fault(split, generated.finish, asked.thinking),
        prompt_tokens=generated.prompt_tokens,
        completion_tokens=generated.completion_tokens,
        characters=len(split.text),
        seconds=generated.seconds,
        batch_size=generated.batch_size,
        tokens_per_second=generated.completion_tokens / generated.seconds if generated.seconds else None,
        prompt_sha256=wanted.prompt_sha256,
        time=time.time(),
        asked_thinking=asked.thinking if asked.thinking != asked.task.thinking else None,
    )


def _batch_size(model: PreTrainedModel, wanted: Sequence[WantedAnswer], asked: AskedTask) -> int:
    """As many answers at a time as the free memory has room for in its key-value cache."""
    import psutil
    import torch

    config: Any = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    longest = max(len(answer.prompt_ids) for answer in wanted) + asked.sampling.max_new_tokens
    if model.device.type == "cuda":
        room = torch.cuda.mem_get_info(model.device)[0] * CACHE_SHARE_GPU
    else:
        room = psutil.virtual_memory().available * CACHE_SHARE_CPU
    return max(1, min(MAX_BATCH, int(room / (token_bytes * longest))))
