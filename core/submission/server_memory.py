"""The memory of a bake-off's llama-servers before it is queued: what each file will take, and whether this machine has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.config.task import Task
from core.errors import InputError
from core.format import data_size, gb, listed
from core.home import Home
from core.jobfile import convert, quantize
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.convert_lora import ConvertLoraSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.models.files import parameter_count
from core.models.gguf import check_servable
from core.models.gguf_memory import GgufShape, ServerMemory, server_memory, shape_of_file, shape_to_be
from core.models.llama_cpp import gpu_devices
from core.models.shapes import with_shape
from core.own_paths import read_result
from core.submission.candidates import who_answers
from core.submission.gguf import made_file
from core.telemetry.newest import jobs_vendor
from core.vram.budget import Budget, budget_of, this_machine
from core.vram.layers import NotPredicted, lora_parameters

F16_BYTES = 2


@dataclass(frozen=True)
class ServersMemory:
    """What the llama-server of each GGUF file will take, by the name of its model; `unknown` are those nothing is known of."""

    by_name: Mapping[str, ServerMemory] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """`at most 2.1 GB of host memory`, of the largest: one runs at a time; empty where nothing is known."""
        largest = max(self.by_name.values(), key=lambda one: one.needed_bytes, default=None)
        if largest is None:
            return ""
        most = "at most " if largest.at_most or len(self.by_name) > 1 else "about "
        return f"{most}{data_size(largest.needed_bytes)} of {'GPU' if largest.on_gpu else 'host'} memory"


def model_of(candidate: CandidateSpec) -> str:
    """The name of a candidate's model, however that is asked."""
    return candidate.name.removesuffix(f" @{candidate.variant.written}")


def servers_memory(
    home: Home,
    candidates: Sequence[CandidateSpec],
    tasks: Sequence[Task],
    slots: int,
    server: Path,
    remarks: list[str],
) -> ServersMemory:
    """What the candidates' llama-servers will take. What may not fit now is added to `remarks`.

    Raises `InputError` for a model that this machine could not hold with nothing else in its memory.
    """
    groups: dict[str, list[CandidateSpec]] = {}
    for candidate in candidates:
        if candidate.form == "gguf":
            groups.setdefault(repr(who_answers(candidate)), []).append(candidate)
    if not groups:
        return ServersMemory()
    on_gpu = jobs_vendor(home) is not None and gpu_devices(server) != ()
    found: dict[str, ServerMemory] = {}
    unknown = []
    for group in groups.values():
        name = model_of(group[0])
        shape = _with_adapter(home, group[0], _shape(home, group[0]))
        if shape is None:
            unknown.append(name)
            continue
        # As the job asks it: one window for all of its tasks and variants.
        window = max(one.variant.applied(task.sampling).context_length for one in group for task in tasks)
        found[name] = server_memory(shape, window, slots, on_gpu=on_gpu)
    _hold_against(home, found, remarks, on_gpu=on_gpu)
    if unknown:
        remarks.append(f"how much memory {listed(unknown)} will take is not known")
    return ServersMemory(found, tuple(unknown))


def _shape(home: Home, candidate: CandidateSpec) -> GgufShape | None:
    """Of the file, or of what its job will make; None where neither tells enough."""
    job = parse_reference(candidate.ref)
    file = made_file(home, job.job_id) if job is not None else Path(candidate.path or "")
    if file is not None:
        try:
            shape = shape_of_file(check_servable(file, candidate.name))
            return shape if shape.layers or shape.state_values else None
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}", code="bad_model", file=file, key=candidate.name
            ) from error
    assert job is not None  # a path names a file
    spec = JobFile.load(home.run_dir(job.job_id)).spec
    if isinstance(spec, ConvertSpec):
        entry, bits = spec.model, convert.BITS[spec.format]
    elif isinstance(spec, QuantizeSpec) and spec.model is not None:
        entry, bits = spec.model, quantize.BITS[spec.quantization]
    else:
        return None
    entry = with_shape(home, entry)
    parameters = parameter_count(home, entry)
    return shape_to_be(entry.shape, parameters, bits) if entry.shape is not None and parameters else None


def _with_adapter(home: Home, candidate: CandidateSpec, shape: GgufShape | None) -> GgufShape | None:
    """With the factors of the adapter that the server puts on it, in F16: as its job has made them, or as it will."""
    job = parse_reference(candidate.lora)
    if shape is None or job is None:
        return shape
    spec = JobFile.load(home.run_dir(job.job_id)).spec
    made = (read_result(home.run_dir(job.job_id)) or {}).get("summary", {}).get("bytes")
    if isinstance(made, int):
        return replace(shape, lora_bytes=made)
    if not isinstance(spec, ConvertLoraSpec):
        return shape
    source = parse_reference(spec.adapter)
    if source is None:  # a folder, of factors in 16 or 32 bits
        return replace(shape, lora_bytes=sum(one.stat().st_size for one in Path(spec.adapter).glob("*.safetensors")))
    training, entry = JobFile.load(home.run_dir(source.job_id)).spec, with_shape(home, spec.model)
    if not isinstance(training, TrainSpec) or entry.shape is None:
        return shape
    factors = lora_parameters(entry.shape, training.recipe.targets, training.recipe.rank)
    return replace(shape, lora_bytes=F16_BYTES * factors)


def _hold_against(home: Home, found: Mapping[str, ServerMemory], remarks: list[str], *, on_gpu: bool) -> None:
    """Refuse what never fits, remark what does not fit now."""
    try:
        budget = this_machine(home) if on_gpu else budget_of(None)
    except NotPredicted as unknown:
        remarks.append(f"whether {listed(list(found))} fit is not known: {unknown.why}")
        return
    for name, memory in sorted(found.items(), key=lambda item: -item[1].needed_bytes):
        if memory.least_bytes > budget.emptied.limit_bytes:
            raise _too_large(name, memory, budget)
        if memory.needed_bytes > budget.limit_bytes:
            remarks.append(f"{name} {'may' if memory.at_most else 'does'} not fit now: {_needs(memory, budget)}")


def _needs(memory: ServerMemory, budget: Budget) -> str:
    in_use = f" ({budget.in_use})" if budget.in_use else ""
    of_whom = "GPU memory" if budget.kind == "gpu" else "host memory"
    then = "free GPU memory before the job starts" if budget.kind == "gpu" else "the job waits until there is room"
    return (
        f"its llama-server needs {_at_most(memory)}{gb(memory.needed_bytes)} GB of {of_whom}, {gb(budget.limit_bytes)} of "
        f"{gb(budget.total_bytes)} usable{in_use}; {then}"
    )


def _too_large(name: str, memory: ServerMemory, budget: Budget) -> InputError:
    parts = memory.components
    return InputError(
        f"{name} does not fit: its llama-server needs about {data_size(memory.needed_bytes)} (weights "
        f"{data_size(parts['weights'])}, cache {data_size(parts['cache'])} for {memory.slots} × {memory.window:,} tokens); "
        f"{data_size(budget.emptied.limit_bytes)} of {budget.name} are usable",
        code="too_large",
        remedy="take a smaller quantisation, a lower context_length in the task, or a lower concurrency",
    )


def _at_most(memory: ServerMemory) -> str:
    return "at most " if memory.at_most else "about "
