"""The words for judges: how far one can be believed, and how many answers nobody has judged."""

from __future__ import annotations

from collections.abc import Iterator

from core.bakeoff.judges import Doubt, JudgeAgreement
from core.bakeoff.leaderboard import Leaderboard
from core.format import listed, plural, share
from core.statistics.agreement import RaterAgreement
from core.text import printable


def judge_lines(board: Leaderboard) -> list[str]:
    """What stands beside the scores that rest on judges: what each has said, how far it agrees, and why to doubt it."""
    return [line for one in board.judges for line in map(printable, _lines(one))]


def judge_mark(board: Leaderboard) -> str:
    """The same for narrow places, of the judge in the gravest doubt: `judge j: agreement with marks unknown`; empty without a
    judge in doubt."""
    doubted = [one for one in board.judges if one.doubts]
    if not doubted:
        return ""
    one = doubted[0]
    return printable(f"judge {one.judge}: {_SHORT[one.doubts[0]]}")


def unjudged_words(board: Leaderboard, job_id: int) -> str:
    """`12 of 52 answers are not judged: …` with the command that asks for them; empty where all are."""
    unjudged, answers = sum(row.unjudged for row in board.rows), sum(row.answers for row in board.rows)
    if not unjudged:
        return ""
    are = "is" if unjudged == 1 else "are"
    ask = f"`bakehouse results {job_id} --judge` asks for them"
    return f"{unjudged} of {plural(answers, 'answer')} {are} not judged, and left out of the content scores: {ask}"


_SHORT: dict[Doubt, str] = {
    "no_marks": "agreement with marks unknown",
    "chance": "no better than chance",
    "cannot_tell": "not shown to beat chance",
    "order": "the order decides",
    "itself": "judges itself",
    "family": "judges its own family",
}


def _lines(one: JudgeAgreement) -> Iterator[str]:
    said = f"{one.check}: {one.judge} judged {plural(one.judged, 'answer')}"
    if one.unread:
        said += f"; {one.unread} replies held no verdict" if one.unread > 1 else "; 1 reply held no verdict"
    if one.outdated:
        old = plural(one.outdated, "verdict")
        said += f"; {old} of another rubric, scale, reference or judge {_do(one.outdated)} not count"
    yield said
    yield f"  with marks by hand: {_marked(one.marks)}"
    yield f"  with itself: {agreement_words(one.asks) if one.asks is not None else 'unknown, as it was asked once'}"
    if one.compares:
        orders = "unknown, as nothing was asked in both orders" if one.orders is None else agreement_words(one.orders)
        depends = "" if one.order_dependent is None else f"; {share(one.order_dependent)} depend on the order"
        yield f"  in both orders: {orders}{depends}"
    yield from (f"  ! {_sentence(doubt, one)}" for doubt in one.doubts)


def _do(count: int) -> str:
    return "does" if count == 1 else "do"


def agreement_words(found: RaterAgreement) -> str:
    """`84 % of 50 (kappa 0.62 [0.35, 0.80])`."""
    same = f"{'–' if found.share is None else share(found.share)} of {found.pairs}"
    if found.kappa is None:
        return f"{same} (no kappa: all say the same)"
    low, high = found.kappa_interval.low, found.kappa_interval.high
    bounds = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{same} (kappa {found.kappa:.2f}{bounds})"


def _marked(found: RaterAgreement | None) -> str:
    return "unknown, as no judged answer is marked" if found is None else agreement_words(found)


def _sentence(doubt: Doubt, one: JudgeAgreement) -> str:
    match doubt:
        case "no_marks":
            return (
                f"Whether {one.judge} tells right from wrong is unknown until some of these answers are marked by hand."
            )
        case "chance":
            return (
                f"{one.judge} agrees with the marks no better than chance: its scores say nothing of right and wrong."
            )
        case "cannot_tell":
            return f"So few marks do not show that {one.judge} agrees with them beyond chance."
        case "order":
            return f"The order in which {one.judge} reads two answers decides as much as the answers do."
        case "itself":
            return f"{one.judge} is a candidate itself ({listed(one.kin.itself)}): models tend to prefer their own answers."
        case "family":
            return f"{one.judge} seems to be of one family with {listed(one.kin.family)}, and may prefer answers like its own."
