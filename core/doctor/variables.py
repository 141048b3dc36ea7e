"""What jobs find in their environment on this card, why, and what of the person's own stands against it."""

from __future__ import annotations

from core.config.gpuprofile import Decision, Environment, GpuProfile, environment, profile_for
from core.doctor.box import Box
from core.doctor.report import Line

SECTION = "environment"


def environment_of(box: Box) -> tuple[GpuProfile | None, Environment]:
    """The profile of the box's card and what it makes of this environment."""
    profile = profile_for(box.card)
    return profile, environment(profile, box.environ, box.settings.card.environment)


def examine(box: Box) -> list[Line]:
    profile, made = environment_of(box)
    return [profile_line(box, profile), *(decision_line(decision) for decision in made.decisions)]


def profile_line(box: Box, profile: GpuProfile | None) -> Line:
    if profile is None:
        what = "without a card there is none to apply" if box.card is None else "there is none for this card"
        return Line("profile", "absent", what, section=SECTION)
    notes = "".join(f". {note}" for note in profile.notes).removesuffix(".")
    return Line("profile", "ok", f"{profile.name}{notes}", section=SECTION)


def decision_line(decision: Decision) -> Line:
    """`ok` where nothing of the person's is touched, else a warning with what to do."""
    name = decision.variable
    if not decision.conflict:
        return Line(name, "ok", said(decision), section=SECTION)
    if decision.origin == "yours":
        remedy = f"unset {name}, or keep it on purpose: card: {{environment: {{{name}: null}}}} in settings.yaml"
    elif decision.origin == "settings":
        remedy = f"take {name} out of card.environment in settings.yaml"
    else:
        remedy = (
            f"unset {name} in your shell; card: {{environment: {{{name}: null}}}} in settings.yaml keeps it for jobs"
        )
    return Line(name, "warning", said(decision), remedy, SECTION)


def said(decision: Decision) -> str:
    match decision.action:
        case "set":
            return f"set to {decision.value}: {decision.why}"
        case "unset":
            taken = "yours is taken out" if decision.conflict else "kept unset"
            return f"{taken}: {decision.why}"
        case _:
            return f"{'not set' if decision.value is None else f'{decision.value} stays'}: {decision.why}"
