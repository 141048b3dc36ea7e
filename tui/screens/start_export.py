"""What a run is exported as, before that is queued: merged weights or a GGUF file; and whether it was made so already."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding
from textual.message import Message

from core.config.model import BaseWeights, WeightFormat
from core.jobfile.kinds import kind_of
from core.jobfile.quantize import Quantization
from core.store.jobs import JobRow
from core.submission.wanted_export import WantedGguf, WantedMerge
from core.text import printable
from tui.context import Context
from tui.lines import Line, wrapped
from tui.queries.failures import ask_beside
from tui.screens.dialog import RowsDialog, key_row


@dataclass(frozen=True)
class ExportChoice:
    """What can be made: `dtype` of merged weights, or of a GGUF file (`gguf`), quantised afterwards where one is named.

    `base_weights` is what the adapter is merged into.
    """

    dtype: WeightFormat = "bf16"
    gguf: bool = False
    quantization: Quantization | None = None
    base_weights: BaseWeights = "original"

    @property
    def label(self) -> str:
        seen = ", dequantized base" if self.base_weights == "dequantized" else ""
        return f"GGUF {self.quantization or self.dtype}{seen}" if self.gguf else f"{self.dtype}{seen}"

    def wanted(self, job: JobRow) -> WantedGguf | WantedMerge:
        """What is queued of a job."""
        if self.gguf:
            return WantedGguf(f"job:{job.id}", self.dtype, self.quantization, base_weights=self.base_weights)
        return WantedMerge(f"job:{job.id}", self.dtype, self.base_weights)


MERGES = (ExportChoice("bf16"), ExportChoice("fp16"), ExportChoice("fp32"))
FILES = (
    ExportChoice(gguf=True),
    ExportChoice(gguf=True, quantization="Q8_0"),
    ExportChoice(gguf=True, quantization="Q4_K_M"),
)
# Of an adapter that was trained on quantised weights.
AS_TRAINED = (
    ExportChoice("bf16", base_weights="dequantized"),
    ExportChoice(gguf=True, quantization="Q8_0", base_weights="dequantized"),
)
ABOUT = {
    "bf16": "two bytes, as most models are published; rounds small updates off",
    "fp16": "two bytes, eight times finer than bf16; not for values above 65,504",
    "fp32": "four bytes, keeps all of the update: to quantise from",
    "GGUF bf16": "for llama.cpp and Ollama: two bytes a weight",
    "GGUF Q8_0": "one byte a weight; answers hardly differ",
    "GGUF Q4_K_M": "about five bits a weight; answers may differ",
    "bf16, dequantized base": "merged into the weights that training saw, errors of quantisation included",
    "GGUF Q8_0, dequantized base": "the same, one byte a weight: bake both off before one serves",
}


class AskExport(RowsDialog["WantedGguf | WantedMerge | None"]):
    """Returns the GGUF file or the format of a merge that was chosen, or None."""

    BINDINGS: ClassVar = [
        Binding("enter,y", "start", show=False),
        Binding("escape,n,q", "leave", show=False),
        Binding("down,j,tab", "move(1)", show=False),
        Binding("up,k,shift+tab", "move(-1)", show=False),
    ]

    class EarlierRead(Message):
        """By label: as which job a choice was made already and where that lies, or why it cannot be made here."""

        def __init__(self, words: dict[str, str]) -> None:
            super().__init__()
            self.words = words

    def __init__(self, context: Context, job: JobRow) -> None:
        super().__init__()
        self.context = context
        self.job = job
        makes = kind_of(job.kind).makes
        self.merges = "adapter" in makes
        self.question = f"Merge job {job.id} into its base?" if self.merges else f"Make a GGUF file of job {job.id}?"
        quantised = tuple(choice for choice in FILES if choice.quantization is not None)
        as_trained = AS_TRAINED if "bits" in job.settings else ()
        self.choices = (*MERGES, *FILES, *as_trained) if self.merges else FILES if "merged" in makes else quantised
        self.index = 0
        self.earlier: dict[str, str] = {}

    def on_mount(self) -> None:
        self.fit()
        if self.context.live:
            # Nothing is told of a failure: the feed says what is wrong with the home, and the submission looks once more.
            ask_beside("earlier exports", self._read, lambda line: None, self.post_message)

    def _read(self) -> EarlierRead:
        from core.errors import BakehouseError
        from core.store.database import open_database
        from core.submission.gguf import earlier_export
        from core.submission.merge import earlier_merge

        found: dict[str, str] = {}
        with closing(open_database(self.context.home)) as connection:
            for choice in self.choices:
                wanted = choice.wanted(self.job)
                try:
                    if isinstance(wanted, WantedGguf):
                        project = self.context.find_project()
                        made = earlier_export(self.context.home, connection, project, wanted)
                        words = "" if made is None else made.words
                    else:
                        merge = earlier_merge(self.context.home, connection, wanted)
                        words = "" if merge is None else merge.words
                except BakehouseError as error:
                    words = str(error)
                if words:
                    found[choice.label] = words
        return self.EarlierRead(found)

    def on_ask_export_earlier_read(self, message: EarlierRead) -> None:
        self.earlier = message.words
        self.fit()

    @property
    def choice(self) -> ExportChoice:
        """What is marked."""
        return self.choices[self.index]

    def rows(self, width: int) -> list[Line]:
        what = printable(self.job.title)
        explanation = (
            f"The adapter of {what} is merged into its base in fp32. The result says how much of the update survives in the "
            "format written. A GGUF file is made of that by llama.cpp."
            if self.merges
            else f"llama.cpp makes a GGUF file of what job {self.job.id} makes ({what})."
        )
        rows = [Line(row) for row in wrapped(explanation, width)] + [Line()]
        labels = max(len(choice.label) for choice in self.choices)
        for choice in self.choices:
            marked = choice == self.choice
            line = Line("▸ " if marked else "  ", "focus").add(f"{choice.label:<{labels}}  ", "bold" if marked else "")
            rows.append(line.add(ABOUT[choice.label], "dim").cut(width))
        rows.append(Line())
        if (told := self.earlier.get(self.choice.label)) is not None:
            return [
                *rows,
                *(Line(row, "warn") for row in wrapped(printable(told), width)),
                Line(),
                key_row(("j k", "format"), ("esc", "back")),
            ]
        act = "export" if self.choice.gguf else "merge"
        keys = key_row(("⏎", act), ("j k", "format"), ("esc", "cancel"))
        return [*rows, Line(self.choice.wanted(self.job).command, "dim"), Line(), keys]

    def action_move(self, step: int) -> None:
        self.index = (self.index + step) % len(self.choices)
        self.fit()

    def action_start(self) -> None:
        if self.choice.label not in self.earlier:
            self.dismiss(self.choice.wanted(self.job))
