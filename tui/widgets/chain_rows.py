"""How a chain is written: in the queue as one row, on its own screen with a row for each link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.format import duration
from core.store.chains import Chain, ChainLink
from core.store.jobs import JobRow
from core.text import printable
from core.wording.chains import step_name
from tui.lines import Line
from tui.model.snapshot import Snapshot
from tui.widgets.job_row import sign, state


def chains_by_row(chains: Iterable[Chain]) -> dict[int, Chain]:
    """By the job in whose place a chain is listed; of several in one place the newest."""
    return {chain.row.id: chain for chain in sorted(chains, key=lambda one: one.id)}


def folded(jobs: Sequence[JobRow], chains: Iterable[Chain]) -> list[JobRow]:
    """The jobs without those links of a chain that the row of the chain stands for."""
    rows = chains_by_row(chains)
    hidden = {link.job.id for chain in rows.values() for link in chain.own} - set(rows)
    return [job for job in jobs if job.id not in hidden]


def chain_line(
    chain: Chain, job: JobRow, width: int, places: tuple[int, int], snapshot: Snapshot, mark: str, ticked: str
) -> Line:
    """A chain in one row: what it is, how many links are done, and the state of the link that tells how it stands."""
    start, middle = places
    current = chain.current
    character, role = sign(current.job)
    line = Line(character, role, mark).add(ticked, "focus").add(f" {job.id:>{start - 4}} ").to(start)
    line.add(printable(chain.title)).cut(middle - 1).to(middle)
    line.add(f"{chain.done}/{len(chain.links)} {step_name(current)} ")
    score = snapshot.run_scores.get(current.job.id)
    return line.extend(state(current.job, max(1, width - line.width), snapshot.time, score)).cut(width)


def link_line(link: ChainLink, width: int, snapshot: Snapshot, mark: str = "") -> Line:
    """A link in one row: its job, which step it is, how long it ran, its state."""
    job = link.job
    character, role = sign(job)
    ran = link.ran(snapshot.time)
    line = Line(character, role, mark).add(f" {job.id:>4}  ").add(step_name(link)).to(22)
    line.add(f"{duration(ran) if ran >= 1 else '':>8}  ", "dim")
    if link.taken:
        line.add("made before  ", "dim")
    score = snapshot.run_scores.get(job.id)
    return line.extend(state(job, max(1, width - line.width), snapshot.time, score)).cut(width)
