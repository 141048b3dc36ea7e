"""A model of the Hugging Face hub, brought into the hub's own cache and pinned to the commit that was fetched."""

from __future__ import annotations

import shutil
import threading
from fnmatch import fnmatch
from pathlib import Path

from core.config.model import ModelEntry
from core.errors import BakehouseError, InputError
from core.failures import download_remedy
from core.files import write_json
from core.format import data_size
from core.models.files import hub_copy, hub_record
from core.models.folder import check_folder
from core.own_paths import stored
from jobs.context import JobContext

# What the weights, the tokenizer and the template of a model are written in; no pickles, no code.
PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
LOOK_SECONDS = 1.0


def pull_hub(context: JobContext, entry: ModelEntry) -> tuple[Path, int]:
    """Fetch a model and note its commit; returns its folder and bytes. The library resumes what was begun.

    Where the hub cannot be reached, a copy that its cache already has is taken. Raises `InputError` for a model that is not
    there, not given to this account, or of a kind that no job can use, `BakehouseError` when the hub or the disk fails.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    assert entry.hub is not None
    context.phase("asking the hub", entry.hub)
    try:
        info = HfApi().model_info(entry.hub, files_metadata=True)
        files = {item.rfilename: item.size or 0 for item in info.siblings or []}
        wanted = {name: size for name, size in files.items() if any(fnmatch(name, pattern) for pattern in PATTERNS)}
        if not any(name.endswith(".safetensors") for name in wanted):
            raise InputError(
                f"{entry.hub} has no .safetensors file",
                code="unsafe_model",
                key="hub",
                remedy="weights are read as safetensors or GGUF only",
            )
        folder = download(context, entry.hub, str(info.sha), sum(wanted.values()))
    except GatedRepoError as error:
        raise InputError(
            f"{entry.hub} is given only to accounts that accepted its licence",
            code="gated",
            remedy="accept it on the hub, then `hf auth login` on this machine",
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(f"the hub has no model {entry.hub}", code="no_such_model", key="hub") from error
    except BakehouseError:
        raise
    except Exception as error:  # noqa: BLE001 - the hub's client speaks through another HTTP library in each of its versions
        folder = cached_copy(context, entry, error)
    check_folder(folder, entry.name)
    record = hub_record(context.home, entry)
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The cache names a snapshot's folder by its commit.
    write_json(record, {"hub": entry.hub, "commit": folder.name, "folder": stored(context.home, folder)})
    return folder, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def download(context: JobContext, hub: str, commit: str, total_bytes: int) -> Path:
    """The snapshot of a commit, with progress in bytes and a look at the stop request each second."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    blobs = cache / f"models--{hub.replace('/', '--')}" / "blobs"
    require_room(cache, total_bytes - bytes_in(blobs))
    context.phase("downloading", f"{hub}, {data_size(total_bytes)}")
    outcome: list[str | Exception] = []

    def fetch() -> None:
        try:
            outcome.append(str(snapshot_download(hub, revision=commit, allow_patterns=PATTERNS)))
        except Exception as error:  # noqa: BLE001 - handed over to the thread that asked, which knows each kind
            outcome.append(error)

    # A daemon: a stop leaves it, and what it has fetched so far is taken up by the next attempt.
    thread = threading.Thread(target=fetch, name="download", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(LOOK_SECONDS)
        context.check_stop()
        context.progress(min(bytes_in(blobs), total_bytes), total_bytes, "bytes", label=hub)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return Path(outcome[0])


def cached_copy(context: JobContext, entry: ModelEntry, error: Exception) -> Path:
    """The copy that jobs used so far, else the newest of the hub's cache, when the hub itself cannot be had.

    Raises `BakehouseError` when there is none.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    assert entry.hub is not None  # only a model of the hub is pulled from there
    why = (str(error).splitlines() or [type(error).__name__])[0]
    former = hub_copy(context.home, entry)
    try:
        folder = former.folder if former else Path(snapshot_download(entry.hub, local_files_only=True))
    except LocalEntryNotFoundError:
        folder = None
    if folder is None or not any(folder.glob("*.safetensors")):
        raise BakehouseError(
            f"{entry.hub} could not be fetched: {why}",
            code="download_failed",
            remedy=download_remedy(
                str(error),
                "a retry goes on where it broke off; without a network, name a folder with the model in configs/models.yaml",
            ),
        ) from error
    context.warn("hub_not_reached", f"the hub could not be reached ({why}): the copy of {folder.name[:12]} is taken")
    return folder


def bytes_in(blobs: Path) -> int:
    """Bytes of the files of a model's cache, unfinished ones included."""
    try:
        return sum(path.stat().st_size for path in blobs.iterdir())
    except FileNotFoundError:
        return 0


def require_room(folder: Path, needed_bytes: int) -> None:
    """BakehouseError when the disk has less than that free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise BakehouseError(
            f"the disk has {data_size(free)} free, {data_size(needed_bytes)} are needed",
            code="disk_full",
            file=folder,
            remedy="free some space and retry",
        )
