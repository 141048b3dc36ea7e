"""A job file's keys as plain values, for those who need one or two of them and not the classes of what a person wrote."""

from __future__ import annotations

from typing import Any, TypeVar

from core.errors import InputError
from core.home import RunDir
from core.own_paths import MARK, former_home, located

LEASED_GPU = "BAKEHOUSE_LEASED_GPU"
"""A variable of a job's environment: the PCI address of the GPU that was made free for it."""

T = TypeVar("T")


def read_document(run: RunDir) -> Any:
    """What `job.yaml` holds. Raises `InputError`: `no_job_file` when it is absent, `bad_job_file` when it is no YAML."""
    import yaml

    path = run.job_file
    try:
        # libyaml's loader where PyYAML has it: ten times as fast, and a calibration reads the files of twenty jobs.
        return yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        raise InputError("this run directory has no job file", code="no_job_file", file=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", code="bad_job_file", file=path) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"the job file is not YAML: {error}", code="bad_job_file", file=path) from error


def own_path(run: RunDir, text: str) -> str:
    """Where the file lies now that a path in a run's job file names."""
    if text.startswith(MARK) or not text.startswith("/"):
        return located(run.home, text)
    return located(run.home, text, former_home(run))


def read_key(run: RunDir, key: str, expected: type[T]) -> T:
    """One key of a job file, a path of ours as it lies now.

    Raises `InputError` as `read_document` does, and for a value of another type.
    """
    document = read_document(run)
    value = document.get(key) if isinstance(document, dict) else None
    if isinstance(value, str):
        value = own_path(run, value)
    if not isinstance(value, expected):
        raise InputError(f"the job file has no usable `{key}`", code="bad_job_file", file=run.job_file, key=key)
    return value
