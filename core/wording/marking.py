"""The words of marking: how many inputs are missing, how a pair came to be offered, what came of a decision."""

from __future__ import annotations

from core.format import plural
from core.marking.needs import Needs
from core.marking.session import Decided
from core.marking.usefulness import Level, MarkingOffer

LEVELS: dict[Level, str] = {
    Level.CAPTURES: "the checks read different things in the two answers",
    Level.CHECKS: "the checks judge the two answers differently",
    Level.TEXT: "only the words differ",
    Level.OBVIOUS: "what is wrong with one is seen without a person",
    Level.ALIKE: "the two answers say the same",
}
WRITTEN = {"disagreement": "chosen for the disagreement", "random": "chosen by chance"}


def needs_words(needs: Needs) -> str:
    """`9 more inputs to be able to show 0.10 (80 % power, s_d 0.21 of 14 paired differences)`, or why that is not known."""
    shown = f"{needs.difference:.2f}"
    if needs.needed is None or needs.more is None or needs.deviation is None:
        return f"how many inputs show {shown} is not known yet: {why_words(needs)}"
    basis = f"80 % power, s_d {needs.deviation:.2f} of {plural(needs.paired, 'paired difference')}"
    if needs.more:
        return f"{plural(needs.more, 'more input')} to be able to show {shown} ({basis})"
    return f"{plural(needs.have, 'input')}: enough to show {shown} ({basis})"


def why_words(needs: Needs) -> str:
    """Why the spread of the differences is not known."""
    if needs.why == "all_alike":
        return f"all {needs.paired} paired differences are alike, so they have no spread"
    return (
        f"no spread is known: {plural(needs.paired, 'paired difference')} of the two "
        f"{'is' if needs.paired == 1 else 'are'} there, and two are needed"
    )


def counted_words(needs: Needs) -> str:
    """What is counted: `14 inputs stand for production; 5 more were chosen for the disagreement and count for no estimate`."""
    said = f"{plural(needs.have, 'input')} {'stands' if needs.have == 1 else 'stand'} for production"
    if needs.disagreement:
        were = "was" if needs.disagreement == 1 else "were"
        said += f"; {needs.disagreement} more {were} chosen for the disagreement, and no estimate counts those"
    return said


def offer_words(offer: MarkingOffer) -> str:
    """Why a pair is offered."""
    how = "drawn by chance" if offer.chosen == "random" else "offered as they disagree"
    return f"{how}: {LEVELS[offer.pair.level]}"


def decided_words(decided: Decided) -> str:
    """What came of a decision, and who gave which answer."""
    offer = decided.offer
    who = f"left was {offer.left.candidate}, right was {offer.right.candidate}"
    if decided.decision == "skip":
        return f"skipped {offer.pair.input_id}"
    said = f"marked {offer.pair.input_id} ({decided.decision}): {who}"
    if decided.added is not None:
        kept = f", to {decided.added.use} by" if decided.added.use else ""
        return f"{said}; golden input `{decided.added.id}`{kept}"
    return f"{said}; {decided.why}" if decided.why else said
