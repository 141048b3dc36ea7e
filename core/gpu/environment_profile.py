"""What the environment of a job should be on a GPU: profiles by architecture, shipped in `configs/gpu`.

A variable stands in a profile with its reason. What a person has set counts more than what a profile would set; what a profile
takes out is known to break a run, and only the settings (`gpu.environment`) keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from core.config.base import Loaded, Name, NonEmpty, Written
from core.config.shipped import shipped_root
from core.config.validation import validate
from core.config.yaml import load_mapping
from core.gpu.vendors import VENDORS

if TYPE_CHECKING:
    from core.gpu.devices import Gpu

PROFILES = Path("configs/gpu")
ANY = "*"

# Which GPU a job sees is the lease's to say, and these are Bakehouse's own.
RESERVED = ("BAKEHOUSE_*", "*_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")

Origin = Literal["profile", "settings", "yours", "remedy"]


class Setting(Written):
    """A variable that a profile sets. It is not set where one of `unless` is the person's own."""

    value: NonEmpty
    why: NonEmpty
    unless: list[NonEmpty] = Field(default_factory=list)


class Item(Written):
    """An item of a comma-separated variable that a profile takes out; the others stay. `why` goes on behind its name."""

    item: NonEmpty
    why: NonEmpty


class GpuProfile(Loaded):
    """One file of `configs/gpu`. `architectures` are patterns (`gfx11*`, `*`); the most exact one of the GPU's vendor counts.

    `unset`: variables that are removed, with the reason. `without`: items taken out of a variable. `remedies`: variables that
    only help against a trouble the doctor finds, and cost something otherwise. `notes`: what else is to be known.
    """

    name: Name
    vendor: str
    architectures: list[NonEmpty] = Field(min_length=1)
    set: dict[str, Setting] = Field(default_factory=dict)
    unset: dict[str, NonEmpty] = Field(default_factory=dict)
    without: dict[str, Item] = Field(default_factory=dict)
    remedies: dict[str, Setting] = Field(default_factory=dict)
    notes: list[NonEmpty] = Field(default_factory=list)

    @field_validator("vendor")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in VENDORS:
            raise ValueError(f"no such vendor: one of {', '.join(VENDORS)}")
        return value


@dataclass(frozen=True)
class Decision:
    """What becomes of one variable, by whom, and why.

    `action`: `set` to `value`, `unset`, or `kept` as the person has it. `conflict`: the person's own environment says something
    else than the profile: it was overruled, or it was kept and may do harm.
    """

    variable: str
    action: Literal["set", "unset", "kept"]
    value: str | None
    why: str
    origin: Origin
    conflict: bool = False

    @property
    def words(self) -> str:
        """`MIOPEN_FIND_MODE=FAST: the first step …`."""
        done = {"set": f"{self.variable}={self.value}", "unset": f"{self.variable} unset"}
        return f"{done.get(self.action, f'{self.variable}={self.value} kept')}: {self.why}"

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Environment:
    """What is done to a job's environment: variables `set`, variables `unset`, and the reason of each."""

    set: dict[str, str]
    unset: tuple[str, ...]
    decisions: tuple[Decision, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(decision.words for decision in self.decisions)


def profiles() -> tuple[GpuProfile, ...]:
    """The shipped profiles by name. Raises the first problem of their files."""
    return _profiles_in(shipped_root() / PROFILES)


@cache
def _profiles_in(folder: Path) -> tuple[GpuProfile, ...]:
    return tuple(load_profile(file) for file in sorted(folder.glob("*.yaml")))


def load_profile(file: Path) -> GpuProfile:
    """The profile of a file, named by it. `InputError` with line and key."""
    return validate(GpuProfile, load_mapping(file), given={"name": file.stem})


def profile_for(gpu: Gpu | None) -> GpuProfile | None:
    """The profile of a GPU; None without a GPU, or for one that no profile knows."""
    return None if gpu is None else profile_of(gpu.vendor, gpu.architecture)


def profile_of(vendor: str, architecture: str | None) -> GpuProfile | None:
    """The profile whose pattern meets the architecture most exactly; one that is not known meets only `*`."""
    found = [
        (len(pattern.replace(ANY, "")), profile)
        for profile in profiles()
        if profile.vendor == vendor
        for pattern in profile.architectures
        if pattern == ANY or fnmatchcase(architecture or "", pattern)
    ]
    return max(found, key=lambda one: one[0], default=(0, None))[1]


def environment(
    profile: GpuProfile | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str | None],
    remedies: Mapping[str, str] = MappingProxyType({}),
) -> Environment:
    """What a job's environment becomes on top of `environ`.

    `overrides` (the settings' `gpu.environment`) win over all: a text is set, None leaves the variable as it is. `remedies` are
    set for what befell a former attempt of the job.
    """
    decisions: list[Decision] = []
    for name, value in overrides.items():
        if _reserved(name):
            why = "Bakehouse says this itself, so that a job sees the leased GPU: the settings are not followed"
            decisions.append(Decision(name, "kept", environ.get(name), why, "settings", conflict=True))
        elif value is None:
            decisions.append(Decision(name, "kept", environ.get(name), "gpu.environment keeps it", "settings"))
        else:
            decisions.append(Decision(name, "set", value, "gpu.environment says so", "settings"))
    for name, value in remedies.items():
        if name not in overrides:
            decisions.append(
                Decision(name, "set", value, "a former attempt ended in a page fault of the GPU", "remedy")
            )
    if profile is not None:
        decisions += _of_profile(profile, environ, {*overrides, *remedies})
    return Environment(
        {one.variable: one.value for one in decisions if one.action == "set" and one.value is not None},
        tuple(one.variable for one in decisions if one.action == "unset"),
        tuple(decisions),
    )


def _of_profile(profile: GpuProfile, environ: Mapping[str, str], decided: set[str]) -> list[Decision]:
    decisions: list[Decision] = []
    for name, why in profile.unset.items():
        if name not in decided:
            decisions.append(Decision(name, "unset", None, why, "profile", conflict=name in environ))
    for name, taken in profile.without.items():
        items = environ.get(name, "").split(",")
        left = [item for item in items if item.replace(" ", "") != taken.item]
        if name in decided or left == items:
            continue
        rest = ",".join(left)
        decisions.append(
            Decision(name, "set" if rest else "unset", rest or None, f"{taken.item} {taken.why}", "profile", True)
        )
    for name, setting in profile.set.items():
        if name in decided:
            continue
        own = next((known for known in (name, *setting.unless) if known in environ or known in decided), None)
        if own is None:
            decisions.append(Decision(name, "set", setting.value, setting.why, "profile"))
        elif own in environ:
            differs = own != name or environ[own] != setting.value
            why = f"yours; the profile would set {name}={setting.value}: {setting.why}" if differs else setting.why
            decisions.append(Decision(own, "kept", environ[own], why, "yours", conflict=differs))
    return decisions


def _reserved(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in RESERVED)
