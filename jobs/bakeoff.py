"""The job `bakeoff`: every candidate answers every golden input, then stored answers are scored.

An answer is on the disk as soon as it is there. A retry goes on with what is missing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.bakeoff.answers import Answer, answer_key, append_answer, find_fault, read_answers, split_thinking
from core.config.golden import GoldenInput
from core.data.examples import asked_messages
from core.errors import InputError
from core.files import write_atomic
from core.format import of_five
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.time_left import Pace
from jobs import models
from jobs.adapters import load_adapter, require_same_base
from jobs.context import JobContext
from jobs.cpu_dtype import GENERATING, dtype_for
from jobs.device import job_device
from jobs.gates import golden_gate
from jobs.inputs import read_golden
from jobs.manifest import device_facts, extend_manifest, start_manifest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from jobs.generate import Generated

# More rows than this gain little speed, and hold answers back that a smaller batch would have finished.
MAX_BATCH = 48
# Share of the free memory that the key-value cache of a batch may take.
CACHE_SHARE_GPU = 0.5
CACHE_SHARE_CPU = 0.2
# While a batch has no answer ready, its speed is told this often.
SECONDS_PER_SIGN = 2.0


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
class WantedAnswer:
    """One answer that is wanted."""

    key: str
    input_id: str
    repeat: int
    seed: int
    prompt_ids: tuple[int, ...]
    prompt_sha256: str
    opens_thinking: bool


def run(context: JobContext, spec: BakeoffSpec) -> None:
    started = time.monotonic()
    context.phase("reading the golden inputs", spec.golden.source)
    start_manifest(context)
    golden = read_golden(spec.golden)
    if not golden:
        raise InputError("there are no golden inputs", code="empty_golden", file=spec.golden.source)

    context.phase("finding the candidates", ", ".join(candidate.name for candidate in spec.candidates))
    models.prepare_libraries()
    candidates = [_find(context, candidate) for candidate in spec.candidates]
    device = job_device(context)
    # One for all: candidates that were asked in different dtypes would not compare.
    first = candidates[0].spec.model
    assert first is not None  # what is loaded here has an entry
    computes_in = dtype_for(context, "auto", device, first, GENERATING)
    extend_manifest(
        context,
        device=device_facts(),
        dtype=computes_in,
        candidates={candidate.name: candidate.weights for candidate in candidates},
        seed=spec.seed,
    )
    total = len(candidates) * len(golden) * spec.repeats
    done = {(answer.candidate, answer.key) for answer in read_answers(context.run.answers)}
    tally = Tally(context, total)
    # Model by model: one load serves a base and all adapters on it.
    for files, group in _by_model(candidates):
        _answer_with(context, spec, golden, files, group, done, device, models.as_torch(computes_in), tally)

    context.phase("scoring")
    _score(context, spec, golden, candidates, time.monotonic() - started)


class Tally:
    """Answers so far, told as progress events."""

    def __init__(self, context: JobContext, total: int) -> None:
        self.context = context
        self.total = total
        self.done = 0
        # Answers that are generated together end together: what counts is how long a batch of them takes.
        self.pace = Pace(warm_up=1, least=3)
        self.batch = 1
        self.fresh = 0
        self.began = self.told = time.monotonic()

    def add(self, count: int, *, fresh: bool, label: str) -> None:
        self.done += count
        self.fresh += count if fresh else 0
        if self.fresh >= self.batch:
            now = time.monotonic()
            self.pace.step(now - self.began, self.fresh)
            self.began, self.fresh = now, 0
        self.tell(label)

    def answering(self, batch: int) -> None:
        """Answers come from now on, so many at a time; what passed before, such as the load of a model, is not counted."""
        self.batch, self.fresh, self.began = batch, 0, time.monotonic()

    def tell(self, label: str, tokens_per_second: float | None = None) -> None:
        eta = self.pace.left(self.total - self.done)
        self.told = time.monotonic()
        self.context.progress(
            self.done, self.total, "answers", label=label, eta_seconds=eta, tokens_per_second=tokens_per_second
        )


def _find(context: JobContext, spec: CandidateSpec) -> Candidate:
    """The files of a candidate. Raises NotFoundError or InputError when they are not there or not what they should be."""
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
    return Candidate(spec, base, folder, hashlib.sha256(f"{base.fingerprint}+{sha256}".encode()).hexdigest())


def _by_model(candidates: list[Candidate]) -> list[tuple[models.BaseModel, list[Candidate]]]:
    """Candidates by the weights that must be loaded, bases before the adapters on them."""
    groups: dict[str, tuple[models.BaseModel, list[Candidate]]] = {}
    for candidate in candidates:
        files = candidate.model_files
        groups.setdefault(files.fingerprint, (files, []))[1].append(candidate)
    for _, group in groups.values():
        group.sort(key=lambda candidate: candidate.spec.form == "adapter")
    return list(groups.values())


def _answer_with(
    context: JobContext,
    spec: BakeoffSpec,
    golden: list[GoldenInput],
    files: models.BaseModel,
    group: list[Candidate],
    done: set[tuple[str, str]],
    device: torch.device,
    dtype: torch.dtype,
    tally: Tally,
) -> None:
    """All missing answers of the candidates that share one loaded model."""
    context.phase("loading the tokenizer", files.name)
    tokenizer = models.load_tokenizer(files, context.home)
    golden_gate(context, spec, golden, tokenizer)
    wanted = {}
    for candidate in group:
        cells = _cells(spec, golden, candidate, tokenizer)
        wanted[candidate.name] = [cell for cell in cells if (candidate.name, cell.key) not in done]
        if held := len(cells) - len(wanted[candidate.name]):
            tally.add(held, fresh=False, label=candidate.name)
            context.say(f"{candidate.name}: {held} answers are there already")
    if not any(wanted.values()):
        return
    context.phase("loading the model", files.name)
    model = models.load_model(files, context.home, device, dtype, context.warn)
    from jobs.load_report import require_rows

    met = (token for cells in wanted.values() for cell in cells for token in cell.prompt_ids)
    require_rows(model, tokenizer, met, files.name)
    for candidate in group:
        if wanted[candidate.name]:
            context.phase("answering", candidate.name)
            with _as_candidate(model, candidate) as ready:
                _answer(context, spec, candidate, ready, tokenizer, wanted[candidate.name], tally)


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


def _cells(
    spec: BakeoffSpec, golden: list[GoldenInput], candidate: Candidate, tokenizer: PreTrainedTokenizerBase
) -> list[WantedAnswer]:
    """Every answer that is wanted of a candidate. InputError when a prompt leaves no room for an answer."""
    from core.data.render import encode_prompt, render_prompt

    sampling = spec.task.sampling
    cells = []
    for item in golden:
        asked = asked_messages(item, spec.task.system)
        prompt = render_prompt(tokenizer, asked, spec.task.thinking, system_role=spec.task.system_role)
        prompt_ids = tuple(encode_prompt(tokenizer, prompt))
        if len(prompt_ids) >= sampling.context_length:
            raise InputError(
                f"the golden input `{item.id}` has {len(prompt_ids)} tokens with its prompt, the context only "
                f"{sampling.context_length}",
                code="input_too_long",
                file=spec.golden.source,
                remedy="raise sampling.context_length in the task, or shorten the input",
            )
        prompt_sha256 = hashlib.sha256(prompt.encode()).hexdigest()
        for repeat in range(1, spec.repeats + 1):
            seed = answer_seed(spec.seed, item.id, repeat)
            key = answer_key(
                weights=candidate.weights,
                prompt_sha256=prompt_sha256,
                sampling=sampling.model_dump(),
                seed=seed,
                repeat=repeat,
                input_id=item.id,
            )
            opens = prompt.rstrip().endswith("<think>")
            cells.append(WantedAnswer(key, item.id, repeat, seed, prompt_ids, prompt_sha256, opens))
    return cells


def answer_seed(seed: int, input_id: str, repeat: int) -> int:
    """The seed of an answer, below 2³¹: the same for every candidate, another for each input and repeat."""
    digest = hashlib.sha256(f"{seed}\0{input_id}\0{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _answer(
    context: JobContext,
    spec: BakeoffSpec,
    candidate: Candidate,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    cells: list[WantedAnswer],
    tally: Tally,
) -> None:
    """Generate the answers of a candidate and write each down as it ends."""
    from jobs.generate import GenerationRequest, Generator

    by_key = {cell.key: cell for cell in cells}
    batch_size = spec.batch_size or _batch_size(model, cells, spec)
    context.say(f"{len(cells)} answers, up to {batch_size} at a time")
    generator = Generator(model, tokenizer, spec.task.sampling, spec.task.thinking)
    began, tokens = time.monotonic(), 0
    tally.answering(batch_size)

    def at_step(generated_tokens: int, seconds: float) -> None:
        context.check_stop()
        if time.monotonic() - tally.told > SECONDS_PER_SIGN:
            tally.tell(candidate.name, generated_tokens / seconds)

    requests = [GenerationRequest(cell.key, cell.prompt_ids, cell.seed) for cell in cells]
    for number, generated in enumerate(generator.answer(requests, batch_size, at_step), start=1):
        answer = _as_answer(spec, candidate, by_key[generated.key], generated)
        append_answer(context.run.answers, answer)
        tokens += generated.completion_tokens
        tally.add(1, fresh=True, label=candidate.name)
        fault = f", {answer.fault}" if answer.fault else ""
        context.say(
            f"{candidate.name} {number}/{len(cells)} {answer.input_id} #{answer.repeat}: "
            f"{answer.completion_tokens} tokens{fault}"
        )
    speed = tokens / (time.monotonic() - began)
    context.say(f"{candidate.name}: {len(cells)} answers, {tokens} tokens, {speed:.0f} tok/s")


def _as_answer(spec: BakeoffSpec, candidate: Candidate, cell: WantedAnswer, generated: Generated) -> Answer:
    raw = f"<think>{generated.text}" if cell.opens_thinking else generated.text
    split = split_thinking(raw)
    return Answer(
        key=cell.key,
        candidate=candidate.name,
        task=spec.task.name,
        input_id=cell.input_id,
        repeat=cell.repeat,
        seed=cell.seed,
        text=split.text,
        thinking=split.thinking,
        finish=generated.finish,
        fault=find_fault(split, generated.finish, spec.task.thinking),
        prompt_tokens=generated.prompt_tokens,
        completion_tokens=generated.completion_tokens,
        characters=len(split.text),
        seconds=generated.seconds,
        batch_size=generated.batch_size,
        tokens_per_second=generated.completion_tokens / generated.seconds if generated.seconds else None,
        prompt_sha256=cell.prompt_sha256,
        time=time.time(),
    )


def _batch_size(model: PreTrainedModel, cells: list[WantedAnswer], spec: BakeoffSpec) -> int:
    """As many answers at a time as the free memory has room for in its key-value cache."""
    import psutil
    import torch

    config: Any = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    longest = max(len(cell.prompt_ids) for cell in cells) + spec.task.sampling.max_new_tokens
    if model.device.type == "cuda":
        room = torch.cuda.mem_get_info(model.device)[0] * CACHE_SHARE_GPU
    else:
        room = psutil.virtual_memory().available * CACHE_SHARE_CPU
    return max(1, min(MAX_BATCH, int(room / (token_bytes * longest))))


def _score(
    context: JobContext, spec: BakeoffSpec, golden: list[GoldenInput], candidates: list[Candidate], seconds: float
) -> None:
    """Score all stored answers and leave the result."""
    from core.bakeoff.leaderboard import build_leaderboard
    from core.bakeoff.result import result_message, result_summary
    from core.bakeoff.scoring import score_answers

    answers = read_answers(context.run.answers)
    scores = score_answers(spec.task, golden, answers, spec.pattern_timeout_seconds)
    # Whole before result.json is there: whoever sees that finds every score.
    lines = [json.dumps(one.to_json(), ensure_ascii=False) for one in scores]
    write_atomic(context.run.scores, "".join(f"{line}\n" for line in lines))
    board = build_leaderboard(
        spec.task,
        golden,
        answers,
        scores,
        spec.incumbent,
        candidates={candidate.name: candidate.spec.form for candidate in candidates},
        repeats=spec.repeats,
    )
    for row in board.rows:
        context.say(f"{row.name}: format {of_five(row.format_score)}, content {of_five(row.content_score)}")
    summary = result_summary(board, {candidate.name: candidate.spec.ref for candidate in candidates})
    context.finish(result_message(board), summary={**summary, "seconds": seconds})
