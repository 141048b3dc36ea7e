"""The files that submission copied for a job."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from core.config.golden import GoldenInput
from core.config.task import Task
from core.data.examples import DataReport, Example, load_examples
from core.errors import InputError
from core.jobfile.spec import InputFile


def read_examples(file: InputFile, task: Task) -> tuple[list[Example], DataReport]:
    """The training examples; an error names the file that the person wrote, not the copy of it."""
    try:
        return load_examples(Path(file.path), task)
    except InputError as error:
        error.file = file.source
        raise


def read_golden(file: InputFile) -> list[GoldenInput]:
    """The golden inputs, each with its text. InputError when the copy is damaged."""
    try:
        return TypeAdapter(list[GoldenInput]).validate_json(Path(file.path).read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(
            f"the copy of the golden inputs is damaged: {error}", code="bad_input", file=file.path
        ) from error
