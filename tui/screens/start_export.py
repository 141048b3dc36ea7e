"""Which format an adapter is merged into its base in, before that is queued, and whether it was merged so already."""

from __future__ import annotations

from contextlib import closing
from typing import ClassVar, get_args

from textual.binding import Binding
from textual.message import Message

from core.config.model import WeightFormat
from core.store.jobs import JobRow
from core.text import printable
from tui.context import Context
from tui.lines import Line, wrapped
from tui.queries.failures import ask_beside
from tui.screens.dialog import RowsDialog, key_row

FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)
ABOUT = {
    "bf16": "two bytes, as most models are published; rounds small updates off",
    "fp16": "two bytes, eight times finer than bf16; not for values above 65,504",
    "fp32": "four bytes, keeps all of the update: to quantise from",
}


class AskExport(RowsDialog["WeightFormat | None"]):
    """Returns the format that was chosen, or None."""

    BINDINGS: ClassVar = [
        Binding("enter,y", "start", show=False),
        Binding("escape,n,q", "leave", show=False),
        Binding("down,j,tab", "move(1)", show=False),
        Binding("up,k,shift+tab", "move(-1)", show=False),
    ]

    class EarlierRead(Message):
        def __init__(self, words: dict[WeightFormat, str]) -> None:
            super().__init__()
            self.words = words

    def __init__(self, context: Context, job: JobRow) -> None:
        super().__init__()
        self.context = context
        self.job = job
        self.question = f"Merge job {job.id} into its base?"
        self.index = 0
        self.earlier: dict[WeightFormat, str] = {}
        """Of formats in which the adapter was merged already: as which job, and where it lies."""

    def on_mount(self) -> None:
        self.fit()
        if self.context.live:
            # Nothing is told of a failure: the feed says what is wrong with the home, and the submission looks once more.
            ask_beside("earlier merges", self._read, lambda line: None, self.post_message)

    def _read(self) -> EarlierRead:
        from core.store.database import open_database
        from core.submission.merge import earlier_merge

        found: dict[WeightFormat, str] = {}
        with closing(open_database(self.context.home)) as connection:
            for dtype in FORMATS:
                if (earlier := earlier_merge(self.context.home, connection, f"job:{self.job.id}", dtype)) is not None:
                    found[dtype] = earlier.words
        return self.EarlierRead(found)

    def on_ask_export_earlier_read(self, message: EarlierRead) -> None:
        self.earlier = message.words
        self.fit()

    @property
    def dtype(self) -> WeightFormat:
        """The format that is marked."""
        return FORMATS[self.index]

    def rows(self, width: int) -> list[Line]:
        explanation = (
            f"The adapter of {printable(self.job.title)} is merged into its base in fp32. The result says how much of the "
            "update survives in the format written."
        )
        rows = [Line(row) for row in wrapped(explanation, width)] + [Line()]
        for dtype in FORMATS:
            marked = dtype == self.dtype
            line = Line("▸ " if marked else "  ", "focus").add(f"{dtype}  ", "bold" if marked else "")
            rows.append(line.add(ABOUT[dtype], "dim").cut(width))
        rows.append(Line())
        if self.dtype in self.earlier:
            told = self.earlier[self.dtype]
            return [
                *rows,
                *(Line(row, "warn") for row in wrapped(printable(told), width)),
                Line(),
                key_row(("j k", "format"), ("esc", "back")),
            ]
        command = f"bakehouse export {self.job.id} --dtype {self.dtype}"
        return [*rows, Line(command, "dim"), Line(), key_row(("⏎", "merge"), ("j k", "format"), ("esc", "cancel"))]

    def action_move(self, step: int) -> None:
        self.index = (self.index + step) % len(FORMATS)
        self.fit()

    def action_start(self) -> None:
        if self.dtype not in self.earlier:
            self.dismiss(self.dtype)
