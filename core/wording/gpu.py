"""The words for what the runner says of the GPU: what goes on, why a job waits for it, what happened to it, what to do.

Names of models, programs and users are foreign text: they are made printable here, once. A code that this version does not
know is shown as it is called, with its values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.format import clock, gb, listed, moment, plural
from core.gpu_lease.phases import Phase
from core.reasons import Reason
from core.text import printable
from core.wording.served import served_words

Words = Callable[[Mapping[str, Any]], str]

PHASE_WORDS: Mapping[Phase, str] = {
    "free": "free",
    "clearing": "being cleared for {job}",
    "held": "in use by {job}",
    "verifying": "being checked after {job}",
    "restoring": "restoring served models",
    "blocked": "not available, {job} is waiting",
}
SERVING_WORDS: Mapping[Phase, str] = {"held": "in use by {job} through the model server"}
"""Of a job that asks the model server, whose models stay."""
FAULTED = "blocked after a page fault"


def gpu_words(reason: Reason | None, now: float | None = None) -> str:
    """One line for a person; empty of None. `now`, in Unix seconds: a day that is not that one's is told with its hour."""
    if reason is None:
        return ""
    try:
        return printable(WORDS[reason.code]({**reason.values, "now": now}))
    except (KeyError, TypeError, ValueError, IndexError):
        told = (f"{key} {value}" for key, value in reason.values.items())
        return printable(", ".join([reason.code.replace("_", " "), *told]))


def gpu_phase_words(phase: str, job_id: int | None, cause: str = "", mode: str = "exclusive") -> str:
    """`in use by job 42`; `mode` is what the job does with the GPU (`core.jobfile.gpu_use`).

    A phase that this version does not know is shown as it is called.
    """
    if (phase, cause) == ("blocked", "gpu_faulted"):
        return FAULTED
    job = "a job" if job_id is None else f"job {job_id}"
    table = {**PHASE_WORDS, **(SERVING_WORDS if mode == "serving" else {})}
    return printable(table.get(phase, phase).format(job=job))  # type: ignore[call-overload]


def cause(values: Mapping[str, Any]) -> str:
    """The words of the reason that another one carries: its code under `problem`, its values beside it."""
    return gpu_words(Reason(str(values["problem"]), values))


def _served_cause(values: Mapping[str, Any]) -> str:
    """The same, where the reason is one of a served model of the home."""
    known = values["problem"] in WORDS
    return cause(values) if known else served_words(Reason(str(values["problem"]), values))


def _since(values: Mapping[str, Any]) -> str:
    since = values.get("since")
    return "" if since is None else f" since {moment(float(since), values['now'])}"


def _named(names: Any) -> str:
    return listed([str(name) for name in names])


def _models(values: Mapping[str, Any]) -> str:
    return _named(values["models"])


def _holder(values: Mapping[str, Any]) -> str:
    user = f", {values['user']}" if values.get("user") else ""
    return f"{values['name']} (pid {values['pid']}{user}) holds {gb(values['held_bytes'])} GB{_since(values)}"


def _again(values: Mapping[str, Any]) -> str:
    """When it is tried again, where only that is waited for."""
    retry_at = values.get("retry_at")
    return "" if retry_at is None else f". Next attempt at {clock(float(retry_at), seconds=True)}"


def _programs(values: Mapping[str, Any]) -> str:
    count = values.get("more_programs")
    if not count:
        return _holder(values)
    return f"{_holder(values)}, {count} more {'hold' if count > 1 else 'holds'} {gb(values['more_bytes'])} GB"


def _too_large(values: Mapping[str, Any]) -> str:
    beside = " alongside the served models" if values.get("beside_models") else ""
    needed, usable, total = (gb(values[f"{name}_bytes"]) for name in ("needed", "usable", "total"))
    return f"Needs {needed} GB; only {usable} of {total} GB is usable{beside}. Reduce batch size, rank or max_length."


def _job(values: Mapping[str, Any]) -> str:
    return f"job {values['job_id']}" if values.get("job_id") else "a job"


def remedy(variable: str) -> str:
    """What a job runs with after a page fault of the GPU: `with the memory cache off`."""
    return REMEDIES.get(variable, f"with {variable} set")


REMEDIES = {"PYTORCH_NO_HIP_MEMORY_CACHING": "with the memory cache off"}


def _whose_fault(values: Mapping[str, Any]) -> str:
    if values.get("job_id"):
        return f"job {values['job_id']}"
    if values.get("name"):
        return f"{values['name']} (pid {values['pid']})" if values.get("pid") else str(values["name"])
    if values.get("pid"):
        return f"process {values['pid']}"
    then = f" while job {values['job_on_gpu']} had the GPU" if values.get("job_on_gpu") else ""
    return f"a process that nobody names{then}"


def _faulted(values: Mapping[str, Any]) -> str:
    when = f" at {moment(float(values['time']), values['now'])}" if values.get("time") else ""
    then = f"; then this job retries {remedy(values['variable'])}" if values.get("variable") else ""
    return f"Page fault of {_whose_fault(values)}{when}: restart the machine, or `bakehouse queue release-gpu`{then}"


def _other_home(values: Mapping[str, Any]) -> str:
    home = values.get("home") or "another home"
    return f"In use by job {values['job_id']} of {home}" if values.get("job_id") else f"In use by {home}"


def _loaded_by_client(values: Mapping[str, Any]) -> str:
    done = {"unload": " Unloading it.", "pause": " Pausing the job."}.get(values["policy"], "")
    return f"{values['model']} was loaded by a client while {_job(values)} is using the GPU.{done}"


def _refused(values: Mapping[str, Any]) -> str:
    said, status, url = values.get("said"), values.get("status"), values.get("url")
    where = f" at {url}" if url else ""
    return str(said) if said else f"Model server{where} answered with HTTP status {status}"


def _wants_password(values: Mapping[str, Any]) -> str:
    who = f"Model server at {values['url']}" if values["status"] == 401 else f"A proxy before {values['url']}"
    return f"{who} {'did not accept this user and password' if values['given'] else 'asks for a user and a password'}"


def _command_failed(values: Mapping[str, Any]) -> str:
    why = values.get("said") or f"exit code {values['exit_code']}"
    return f"`{values['command']}` failed: {why}"


def _retrying(words_of: Words) -> Words:
    return lambda values: words_of(values) + _again(values)


_SERVER: dict[str, Words] = {
    "server_down": lambda values: f"No model server answers at {values['url']}",
    "server_cut_off": lambda values: f"Model server at {values['url']} closed the connection during an answer",
    "server_slow": lambda values: f"Model server at {values['url']} did not answer within {values['seconds']:g} s",
    "server_refused": _refused,
    "server_wants_password": _wants_password,
    "server_garbled": lambda values: "Unexpected answer from the model server. Is Ollama listening at this address?",
    "server_address_unusable": lambda values: f"Model server cannot be reached at {values['url']}: {values['error']}",
    "server_address_invalid": lambda values: f"{values['key']} is not a valid address of a model server",
    "model_not_found": lambda values: f"The model server has no model {values.get('model', 'of that name')}",
    "option_refused": lambda values: (
        f"Model server does not take the option {values.get('option', 'that was asked for')}: {values.get('said') or 'refused'}"
    ),
    "no_render": lambda values: f"The prompts that {values['model']} gets are unknown: {values['why']}",
    "unexpected_error": lambda values: f"Unexpected error: {values['error']}",
    "model_tag_deleted": lambda values: f"{values['model']} is loaded, but its tag was deleted: no request unloads it",
    "model_tag_replaced": lambda values: (
        f"{values['model']} is loaded, but its tag was replaced: no request unloads it"
    ),
    "command_failed": _command_failed,
}
"""Why nothing is known of the model server, or why a request to it failed."""

_WAITING: dict[str, Words] = {
    "gpu_not_read_yet": lambda values: "Waiting for the first GPU reading…",
    "gpu_readings_stopped": lambda values: f"No GPU readings{_since(values)}",
    "measuring_idle_memory": lambda values: "Measuring idle GPU memory…",
    "awaiting_reading": lambda values: "Waiting for a new GPU reading…",
    "lock_not_opened": lambda values: f"GPU lock file {values['path']} cannot be opened: {values['error']}",
    "lock_not_regular": lambda values: f"GPU lock file {values['path']} is not a regular file",
    "held_by_own_process": lambda values: f"A process of {_job(values)} is still using the GPU",
    "held_by_other_home": _other_home,
    "held_by_program": _programs,
    "held_by_other_server": lambda values: f"{_holder(values)}, and Ollama does not list it",
    "memory_unowned": lambda values: f"{gb(values['unowned_bytes'])} GB belong to no process{_since(values)}",
    "memory_not_freed": lambda values: f"{gb(values['left_bytes'])} GB were not freed",
    "job_too_large": _too_large,
    "clients_active": lambda values: (
        f"Paused: clients are using {values['model']}. Resumes after {values['seconds']:.0f} s without requests."
    ),
    "gpu_faulted": _faulted,
    "home_not_writable": lambda values: f"Cannot write to the Bakehouse home: {values['error']}",
    "models_still_loaded": lambda values: f"{_models(values)} still loaded after {values['seconds']:.0f} s",
    "served_still_there": lambda values: f"{_models(values)} still running after {values['seconds']:.0f} s",
    "models_kept_loading": lambda values: f"Models were loaded again and again for {values['seconds']:.0f} s",
}
"""What a job waits for."""

_UNDER_WAY: dict[str, Words] = {
    "unloading_models": lambda values: f"Unloading {_models(values)} from Ollama",
    "stopping_served": lambda values: f"Stopping {_models(values)} (served by llama-server)",
    "starting_served": lambda values: f"Starting {_models(values)} again (served by llama-server)",
    "memory_returning": lambda values: f"Waiting for {gb(values['left_bytes'])} GB to be freed",
    "checking_for_loads": lambda values: "Checking that no model is being loaded",
    "stopping_server": lambda values: "Stopping the model server",
    "starting_server": lambda values: "Starting the model server",
    "listing_models": lambda values: "Checking which models are loaded",
    "loading_model": lambda values: f"Loading {values['model']}, {values['place']} of {values['total']}",
    "checking_memory": lambda values: f"Checking GPU memory after {_job(values)}",
    "job_memory_returning": lambda values: f"Waiting for {gb(values['left_bytes'])} GB of {_job(values)} to be freed",
}
"""What is done at the moment."""

_HAPPENED: dict[str, Words] = {
    "gpu_page_fault": lambda values: f"GPU page fault of {_whose_fault(values)}: no job starts until it is released",
    "gpu_fault_elsewhere": lambda values: (
        f"GPU page fault of {_whose_fault(values)}, which is no job's"
        + (f": job {values['asking_job_id']} only asks the model server" if values.get("asking_job_id") else "")
    ),
    "gpu_released": lambda values: f"GPU released after the page fault of {_whose_fault(values)}",
    "gpu_fault_over": lambda values: f"Machine restarted since the page fault of {_whose_fault(values)}: GPU released",
    "gpu_cleared": lambda values: f"{gb(values['freed_bytes'])} GB freed within {values['seconds']} s: the GPU is free",
    "memory_unknown": lambda values: "GPU memory usage is unavailable; starting without a memory check.",
    "job_memory_not_returned": lambda values: (
        f"{gb(values['left_bytes'])} GB of {_job(values)} were not freed within {values['seconds']:.0f} s"
    ),
    "model_loaded_by_client": _loaded_by_client,
    "server_stopped": lambda values: "Model server stopped",
    "server_started": lambda values: "Model server started",
    "server_elsewhere": lambda values: (
        f"Model server at {values['url']} is on another machine; its models are left loaded"
    ),
    "models_returned": lambda values: f"{plural(values['count'], 'served model')} restored",
    "served_back": lambda values: f"{_models(values)} {'serve' if len(values['models']) > 1 else 'serves'} again",
    "served_not_back": lambda values: f"{values['model']} does not serve again: {_served_cause(values)}",
    "served_still_loading": lambda values: f"still loading after {values['seconds']:.0f} s",
    "models_out_of_reach": lambda values: (
        f"Not reloading {_models(values)}: no model server on this machine is configured."
    ),
    "model_given_up": lambda values: f"Not reloading {values['model']}: {values['tries']} attempts failed.",
    "model_not_returning": lambda values: f"Not reloading {values['model']}: {cause(values)}",
    "model_not_loaded": lambda values: f"Could not reload {values['model']}: {cause(values)}",
    "model_not_unloaded": lambda values: f"Could not unload {values['model']}: {cause(values)}",
    "model_does_not_fit": lambda values: (
        f"Not reloading {values['model']}: not enough GPU memory alongside {_named(values['others'])}."
    ),
    "model_displaced_others": lambda values: (
        f"{_named(values['others'])} did not stay loaded: not enough GPU memory alongside {values['model']}."
    ),
    "evicted_models_unreadable": lambda values: (
        "The list of models to reload was unreadable. Models may have to be reloaded by hand; "
        f"see {values['file']}, then delete it."
    ),
}
"""What happened to the GPU."""

_REMEDIES: dict[str, Words] = {
    "restart_after_driver_death": lambda values: (
        "Probably a process died inside the driver: close what else uses the GPU, or restart the machine."
    ),
    "find_hidden_holder": lambda values: (
        "No process here holds it: look into containers and at other users' processes, or restart the machine."
    ),
}
"""What to do about it."""

WORDS: dict[str, Words] = {
    **{code: _retrying(words_of) for code, words_of in (_SERVER | _WAITING).items()},
    **_UNDER_WAY,
    **_HAPPENED,
    **_REMEDIES,
}
