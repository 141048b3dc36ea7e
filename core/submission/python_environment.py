"""The interpreter that jobs run under: what is installed there, asked once and remembered.

People keep a ROCm build of torch in an environment of its own; the setting `jobs.python` names its interpreter. Whether it can
train is asked before anything is queued, without importing torch.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from core import __version__
from core.errors import InputError
from core.files import read_json, sha256_json, write_json
from core.gpu.vendors import VENDORS, vendor_label
from core.home import Home

ASK_SECONDS = 30.0
OTHER_BUILDS = {"intel": r"xpu"}
"""Builds of torch for GPUs that Bakehouse does not run jobs on, by the word in torch's version."""

# Runs under the other interpreter: metadata only, so that it answers in a moment and no GPU is touched.
QUESTION = """
import importlib.metadata as m, json, sys
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def find_python(setting: str | None) -> str:
    """The path of the interpreter that the setting names, this one by default. Raises `InputError`."""
    if setting is None:
        return sys.executable
    found = shutil.which(setting)
    if found is None:
        raise InputError(
            f"Python interpreter not found: {setting}",
            code="no_interpreter",
            key="jobs.python",
            remedy="name the python of the environment that has torch, e.g. /opt/rocm-env/bin/python",
        )
    return found


def versions(home: Home, python: str, packages: tuple[str, ...]) -> dict[str, str | None]:
    """The versions of Bakehouse, torch and the packages under an interpreter; None for one that is not there."""
    names = tuple(dict.fromkeys(("bakehouse", "torch", *packages)))
    if python == sys.executable:
        return {name: version(name) for name in names}
    remembered = home.cache / f"interpreter-{sha256_json([python, site_stamp(python)])[:16]}.json"
    known: dict[str, str | None] = read_json(remembered) or {}
    if all(known.get(name) for name in names):
        return known
    try:
        done = subprocess.run(
            [python, "-P", "-c", QUESTION, *names],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=ASK_SECONDS,
            check=True,
        )
        answer: dict[str, str | None] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InputError(
            f"{python} did not report its packages: {error}", code="no_interpreter", key="jobs.python"
        ) from error
    if all(answer.values()):
        # What is missing may be installed in a place whose times are not looked at: that answer is asked for anew.
        home.cache.mkdir(parents=True, exist_ok=True)
        write_json(remembered, known | answer)
    return answer


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def site_stamp(python: str) -> list[float]:
    """Changes when something is installed or removed under the interpreter: its folders' times."""
    prefix = Path(os.path.abspath(python)).parent.parent  # noqa: PTH100 - a venv's python is a link that must not be followed
    return sorted(folder.stat().st_mtime for folder in prefix.glob("lib/python3*/site-packages"))


def require(home: Home, python: str, packages: tuple[str, ...], vendor: str | None = None) -> None:
    """Refuse a job whose interpreter lacks a package, or whose torch says that it was built for another vendor's GPU.

    `vendor` is that of the GPU (`amd`, `nvidia`), None on a machine without one. Most builds of distributions, of conda and
    from source do not say: they are taken at their owner's word.
    """
    found = versions(home, python, packages)
    if found["bakehouse"] is None:
        raise InputError(
            f"Bakehouse is not installed under {python}",
            code="no_bakehouse",
            key="jobs.python",
            remedy=f"in a clone of version {__version__}: {python} -m pip install '.[train]'",
        )
    if found["torch"] is None:
        raise InputError(
            f"torch is not installed under {python}",
            code="no_torch",
            remedy="install the build for your GPU (README: CPU, CUDA, ROCm), then in the clone: pip install '.[train]'",
        )
    missing = [name for name in packages if found.get(name) is None]
    if missing == ["hqq"]:
        raise InputError(
            f"hqq is not installed under {python}: method qlora-hqq quantises with it",
            code="missing_package",
            key="method",
            # Its own set-up would compile CUDA kernels that nothing here uses.
            remedy=f"DISABLE_CUDA=1 {python} -m pip install hqq",
        )
    if missing:
        raise InputError(
            f"{', '.join(missing)} not installed under {python}",
            code="missing_package",
            remedy=f"in the clone of Bakehouse: {python} -m pip install '.[train]'",
        )
    built_for = torch_vendor(found["torch"])
    if vendor is not None and built_for not in (None, vendor):
        others = [next(iter(other.sources)) for other in VENDORS.values() if other.name == built_for]
        take_other = (
            f"; where there is a GPU of that vendor, too, BAKEHOUSE_GPU_SOURCE={others[0]} takes it" if others else ""
        )
        raise InputError(
            f"torch {found['torch']} under {python} is not built for the {vendor_label(vendor)} GPU of this machine",
            code="wrong_torch",
            remedy="install torch from the index for your GPU (README), or name another interpreter in jobs.python"
            + take_other,
        )


def torch_vendor(torch: str) -> str | None:
    """The vendor that a version of torch names in its local part (`2.9.0+rocm6.4`, `2.9.0+cu128`), None when it names none."""
    words = re.split(r"[._-]", torch.partition("+")[2].lower())
    builds = {**{vendor.name: vendor.torch_build for vendor in VENDORS.values()}, **OTHER_BUILDS}
    return next((name for name, build in builds.items() if any(re.fullmatch(build, word) for word in words)), None)
