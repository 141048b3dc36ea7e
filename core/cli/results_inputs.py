"""The table of inputs and candidates as text: which input does a model fail?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.bakeoff.input_cells import InputCell
from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.short_names import heads
from core.cli.text_grid import MIN_WIDTH, blocks, padded, wrap
from core.format import SCORE_SCALE, score_figure
from core.scoring.scorer import Part
from core.text import cell_width, printable
from core.wording.matrix import FAULT_LEGEND, fault_signs

_HEAD = 12
_INPUT = 26


def inputs_text(
    board: Leaderboard,
    width: int,
    part: Part | None,
    above: Sequence[str] = (),
    *,
    worst: bool,
    input_id: str | None = None,
) -> str:
    """Rows are the golden inputs in their order, columns the candidates by rank; no line wider than `width`.

    `part` is by default the one that leads; `above` are lines below the title.
    """
    leading: Part = board.parts[0] if board.parts else "format"
    return "\n".join(_lines(board, max(width, MIN_WIDTH), part or leading, above, worst, input_id)) + "\n"


def _lines(
    board: Leaderboard, width: int, part: Part, above: Sequence[str], worst: bool, input_id: str | None
) -> Iterator[str]:
    which = "the worst repeat" if worst else "the mean" if board.repeats > 1 else "the score"
    yield from wrap(f"Inputs of {printable(board.task)}: {part}, {which} of each input, 0 to {SCORE_SCALE}", width)
    for line in above:
        yield from wrap(line, width)
    short = heads([row.name for row in board.rows], _HEAD)
    names = heads(list(board.input_ids), _INPUT)
    signs: set[str] = set()
    label = max((cell_width(names.of[name]) for name in board.input_ids), default=0)
    uses = {name: "confirm" if name in board.confirming else "choose" for name in board.input_ids}

    def titled(name: str, use: str) -> str:
        return f"{padded(name, label)}  {use}" if board.confirming else name

    lines = [[titled("input", "use"), *(f"{short.of[row.name]:>4}   " for row in board.rows)]]
    for index, name in enumerate(board.input_ids):
        if input_id in {None, name}:
            cells = [row.inputs[index] for row in board.rows]
            signs |= {sign for cell in cells for sign in fault_signs(cell.faults, cell.missing)}
            lines.append([titled(names.of[name], uses[name]), *(cell_text(cell, part, worst) for cell in cells)])
    yield from blocks(lines, width, name_width=_INPUT + len("  confirm"))
    if board.confirming:
        yield from wrap(
            "use: the best candidate is chosen by some inputs, and the others confirm how good it is", width
        )
    if signs:
        yield from wrap("; ".join(f"{sign} {words}" for sign, words in FAULT_LEGEND.items() if sign in signs), width)
    for key in (short.key, names.key):
        if key:
            yield from wrap(key, width)


def cell_text(cell: InputCell, part: Part, worst: bool) -> str:
    """`4.17 e?`: the score, and a sign for each kind of fault among the repeats."""
    scores = cell.part(part)
    value = None if scores is None else scores.worst if worst else scores.mean
    return f"{score_figure(value)} {fault_signs(cell.faults, cell.missing):<2}"
