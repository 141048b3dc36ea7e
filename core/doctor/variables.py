"""What jobs find in their environment on this GPU, why, and what of the person's own stands against it."""

from __future__ import annotations

from core.doctor.machine import Machine
from core.doctor.results import Diagnostic
from core.gpu.environment_profile import Decision, Environment, GpuProfile, environment, profile_for

SECTION = "environment"


def environment_of(machine: Machine) -> tuple[GpuProfile | None, Environment]:
    """The profile of the box's GPU and what it makes of this environment."""
    profile = profile_for(machine.gpu)
    return profile, environment(profile, machine.environ, machine.settings.gpu.environment)


def examine(machine: Machine) -> list[Diagnostic]:
    profile, made = environment_of(machine)
    return [profile_line(machine, profile), *(decision_line(decision) for decision in made.decisions)]


def profile_line(machine: Machine, profile: GpuProfile | None) -> Diagnostic:
    if profile is None:
        what = "without a GPU there is none to apply" if machine.gpu is None else "there is none for this GPU"
        return Diagnostic("profile", "absent", what, section=SECTION)
    notes = "".join(f". {note}" for note in profile.notes).removesuffix(".")
    return Diagnostic("profile", "ok", f"{profile.name}{notes}", section=SECTION)


def decision_line(decision: Decision) -> Diagnostic:
    """`ok` where nothing of the person's is touched, else a warning with what to do."""
    name = decision.variable
    if not decision.conflict:
        return Diagnostic(name, "ok", said(decision), section=SECTION)
    if decision.origin == "yours":
        remedy = f"unset {name}, or keep it on purpose: gpu: {{environment: {{{name}: null}}}} in settings.yaml"
    elif decision.origin == "settings":
        remedy = f"take {name} out of gpu.environment in settings.yaml"
    else:
        remedy = (
            f"unset {name} in your shell; gpu: {{environment: {{{name}: null}}}} in settings.yaml keeps it for jobs"
        )
    return Diagnostic(name, "warning", said(decision), remedy, SECTION)


def said(decision: Decision) -> str:
    match decision.action:
        case "set":
            return f"set to {decision.value}: {decision.why}"
        case "unset":
            taken = "yours is taken out" if decision.conflict else "kept unset"
            return f"{taken}: {decision.why}"
        case _:
            return f"{'not set' if decision.value is None else f'{decision.value} stays'}: {decision.why}"
