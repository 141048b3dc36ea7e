"""Whether a base model's files are there and what they say they are, told from their headers: nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.config.model import ModelEntry
from core.errors import InputError
from core.files import read_json
from core.home import Home, expanded
from core.models.folder import check_folder
from core.models.gguf import check_gguf
from core.models.headers import refuse_stand_in
from core.own_paths import located

# What another pull of the same model mends.
FETCHED_AGAIN = ("bad_model", "incomplete_model", "no_model", "no_tokenizer")
SHARD_BYTES = 5_000_000_000


@dataclass(frozen=True)
class HubCopy:
    """A model of the hub as it was fetched: the commit names its weights, the folder is the hub's own cache."""

    hub: str
    commit: str
    folder: Path


def hub_record(home: Home, entry: ModelEntry) -> Path:
    """Where a pull of a hub model leaves what it fetched."""
    return home.models / entry.name / "hub.json"


def hub_copy(home: Home, entry: ModelEntry) -> HubCopy | None:
    """The copy of a hub model that jobs use, of one commit until it is pulled anew; None when there is none."""
    record = read_json(hub_record(home, entry))
    if record is None or record["hub"] != entry.hub:
        return None
    folder = Path(located(home, record["folder"]))
    return HubCopy(record["hub"], record["commit"], folder) if (folder / "config.json").exists() else None


def needs_pull(home: Home, entry: ModelEntry) -> bool:
    """True when the model has to be fetched before a job can use it."""
    if entry.hub is not None:
        return hub_copy(home, entry) is None
    if entry.wheel is None:
        return False
    path = home.models / entry.name / entry.wheel.file_name
    return not path.is_file() or path.stat().st_size != entry.wheel.size_bytes


def pull_bytes(home: Home, entry: ModelEntry) -> int:
    """What a model takes of the disk that is still to be pulled, in bytes, about: 16 bits a parameter. 0 for one that is there,
    and where nothing says how large the model is."""
    if not needs_pull(home, entry):
        return 0
    return entry.wheel.size_bytes if entry.wheel is not None else 2 * parameter_count(home, entry)


def is_usable(home: Home, entry: ModelEntry) -> bool:
    """Whether the model is on this disk, and its files are whole as far as their headers tell."""
    if needs_pull(home, entry):
        return False
    try:
        check_model_files(home, entry)
    except InputError:
        return False
    return True


def model_folder(home: Home, entry: ModelEntry) -> Path | None:
    """The folder of a model's safetensors and config.json on this disk; None when there is none."""
    if entry.path is not None:
        folder = expanded(entry.path)
        return folder if (folder / "config.json").is_file() else None
    copy = hub_copy(home, entry) if entry.hub is not None else None
    return None if copy is None else copy.folder


def shard_bytes(home: Home, entry: ModelEntry) -> int:
    """The most of a model that is in host memory while it is loaded to a GPU, in bytes: its largest file of weights.

    Before it is pulled that is a shard as the hub's libraries write them, or all of a smaller model; a GGUF file is
    de-quantised as a whole, to fp32.
    """
    count = parameter_count(home, entry)
    if entry.wheel is not None or (entry.path or "").endswith(".gguf"):
        return 4 * count
    folder = model_folder(home, entry)
    found = max((file.stat().st_size for file in folder.glob("*.safetensors")), default=0) if folder else 0
    return found or (min(SHARD_BYTES, 2 * count) if count else SHARD_BYTES)


def parameter_count(home: Home, entry: ModelEntry) -> int:
    """The parameters of a model: as its entry says, else about as many as its files hold; 0 where there are none yet.

    A GGUF file is taken for one of 4 bits a value, the usual width, so that in fp32 it is eight times its size. Files of 8
    and 16 bits hold fewer parameters, which costs a reservation that is too large; those of 2 bits hold up to twice as many.
    Safetensors are taken for 16 bits.
    """
    if entry.parameters is not None:
        return entry.parameters
    if entry.wheel is not None:
        return 2 * entry.wheel.size_bytes
    if (entry.path or "").endswith(".gguf"):
        file = expanded(entry.path or "")
        return 2 * file.stat().st_size if file.is_file() else 0
    folder = model_folder(home, entry)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) // 2 if folder else 0


def check_model_files(home: Home, entry: ModelEntry) -> None:
    """Refuse a model on this disk whose small files show that it cannot be used. Raises `InputError` with what to do.

    A model that is still to be pulled passes: its pull looks at it.
    """
    copy = hub_copy(home, entry) if entry.hub is not None else None
    path = copy.folder if copy is not None else None if entry.path is None else expanded(entry.path)
    if path is None:
        return
    try:
        check_file(path, entry.name) if path.is_file() or path.suffix == ".gguf" else check_folder(path, entry.name)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", code="bad_model", file=error.filename or path, key=entry.name
        ) from error
    except InputError as error:
        if copy is not None and error.code in FETCHED_AGAIN:
            error.remedy = f"bakehouse models pull {entry.name}"
        raise


def check_file(path: Path, name: str) -> None:
    """A model that is named by a file is a whole GGUF file."""
    if path.suffix in (".safetensors", ".json"):
        with path.open("rb") as file:
            refuse_stand_in(path, file.read(80))
        raise InputError(
            "is one file of a model", code="no_model", file=path, key=name, remedy=f"write path: {path.parent}"
        )
    try:
        check_gguf(path, name)
    except FileNotFoundError:
        raise InputError("no such GGUF file", code="no_model", file=path, key=name) from None
