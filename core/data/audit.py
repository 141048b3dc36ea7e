"""What an audit of training data finds: lengths in tokens, what would be cut or skipped, leaks, and examples as the model
sees them. `core.data.auditor` makes one; these are its figures, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from core.data.augment import AugmentReport
from core.data.leaks import Leak
from core.data.text_faults import TextFinding
from core.reasons import Reason

State = Literal["whole", "cut", "skipped"]


@dataclass(frozen=True)
class LengthRow:
    """What training at `max_length` tokens would make of the data, examples that the recipe adds included and before any are
    held out for evaluation (those get no answered turns in front).

    `whole`, `cut` (the prompt lost its middle) and `skipped` are counts; `loss_share` is that of the tokens trained on which
    carry loss. `right_cut` counts the completions whose end a plain cut at the right would have taken, as trainers do by
    default; of them `right_dropped` had no room for a single token of their completion.
    """

    max_length: int
    whole: int
    cut: int
    skipped: int
    loss_share: float
    right_cut: int
    right_dropped: int
    few_shot: int = 0  # examples that have answered turns in front
    longest: int = 0  # tokens of the longest example as it is trained on

    @property
    def total(self) -> int:
        return self.whole + self.cut + self.skipped


@dataclass(frozen=True)
class Piece:
    """A part of an example's text. `mark`: it stands for what a cut took out, the model does not see it."""

    text: str
    loss: bool
    mark: bool = False


@dataclass(frozen=True)
class ShownExample:
    """An example as the model sees it, template included; of a skipped one, what it would have seen.

    `index` counts from 1 in the order of the file; those that the recipe adds come last and have line 0. `shots` is the
    number of answered examples in front of it.
    """

    index: int
    line: int
    state: State
    cut_tokens: int
    prompt_tokens: int
    completion_tokens: int
    pieces: tuple[Piece, ...]
    shots: int = 0


@dataclass(frozen=True)
class Audit:
    """The audit of a task's training data with a model's tokenizer.

    Lengths are tokens, those of the whole file, before any cut and without what the recipe adds. `ratio` is prompt tokens
    to completion tokens over all examples, `loss_share` the completions' share of all tokens. `max_length`, `max_skipped`
    and `augmented` are the recipe's; `unlearnt_turns`, `unlearnt_lines` and `empty_prompts` as in DataReport. `rows` holds a
    row for the recipe's length, too. `golden` is the number of golden inputs the data was compared with, None when there are
    none yet. `template` is what the proof of the chat template tells, `texts` what was found in the examples' texts.
    """

    task: str
    model: str
    recipe: str
    examples: int
    lines: int
    duplicate_lines: tuple[int, ...]
    leaks: tuple[Leak, ...]
    golden: int | None
    further_keys: dict[str, int]
    completion_median: float
    completion_p90: float
    completion_max: int
    prompt_median: float
    prompt_p90: float
    prompt_max: int
    ratio: float
    loss_share: float
    max_length: int
    max_skipped: float
    rows: tuple[LengthRow, ...]
    tokens_median: float = 0.0  # of prompt and completion together
    tokens_max: int = 0
    skipped_lines: tuple[int, ...] = ()  # at max_length
    unlearnt_turns: int = 0
    unlearnt_lines: tuple[int, ...] = ()
    empty_prompts: int = 0
    augmented: AugmentReport = field(default_factory=AugmentReport)
    template: tuple[Reason, ...] = ()
    texts: tuple[TextFinding, ...] = ()
    shown: tuple[ShownExample, ...] = ()
    seconds: float = field(default=0.0, compare=False)  # that the audit took when it was made
    cached: bool = field(default=False, compare=False)  # it was made before

    @property
    def duplicates(self) -> int:
        """Number of examples that repeat an earlier one."""
        return len(self.duplicate_lines)

    @property
    def row(self) -> LengthRow:
        """What happens at the recipe's length."""
        return next(row for row in self.rows if row.max_length == self.max_length)

    @property
    def refused(self) -> str | None:
        """Why a training with this data and recipe would be refused (`leak`, `texts`, `too_many_skipped`), None if not."""
        if self.leaks:
            return "leak"
        if any(finding.refused for finding in self.texts):
            return "texts"
        skipped = self.row.skipped  # always of the file: what the recipe adds fits
        if skipped == self.examples or skipped / self.examples > self.max_skipped:
            return "too_many_skipped"
        return None

    def to_json(self) -> dict[str, Any]:
        """A document that `from_json` reads; `duplicates` and `refused` stand in it for other readers."""
        return {
            **asdict(self),
            "template": [note.to_json() for note in self.template],
            "texts": [finding.to_json() for finding in self.texts],
            "duplicates": self.duplicates,
            "refused": self.refused,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Audit:
        """The audit of a document. KeyError, TypeError or ValueError when it is none of this version."""
        if not isinstance(document, Mapping):
            raise ValueError("no audit")
        fields = {key: value for key, value in document.items() if key not in ("duplicates", "refused")}
        shown = tuple(
            ShownExample(**{**item, "pieces": tuple(Piece(**piece) for piece in item["pieces"])})
            for item in fields["shown"]
        )
        audit = cls(
            **{
                **fields,
                "duplicate_lines": tuple(fields["duplicate_lines"]),
                "leaks": tuple(Leak(**leak) for leak in fields["leaks"]),
                "further_keys": dict(fields["further_keys"]),
                "rows": tuple(LengthRow(**row) for row in fields["rows"]),
                "skipped_lines": tuple(fields["skipped_lines"]),
                "unlearnt_lines": tuple(fields["unlearnt_lines"]),
                "template": tuple(Reason.from_json(note) for note in fields["template"]),
                "texts": tuple(TextFinding.from_json(finding) for finding in fields["texts"]),
                "augmented": AugmentReport(**cast(Mapping[str, Any], fields["augmented"])),
                "shown": shown,
            }
        )
        if not any(row.max_length == audit.max_length for row in audit.rows):
            raise ValueError("no row for the recipe's length")
        return audit
