"""Experiment trackers, off by default. What they write goes into the attempt's folder; none of them is left to call home."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from core.config.recipe import Recipe
from core.errors import InputError
from core.home import AttemptDir


def require_tracker(recipe: Recipe) -> None:
    """InputError when the recipe reports to a tracker that this interpreter does not have. Imports nothing."""
    name = recipe.report_to
    if name == "none" or find_spec(name) is not None:
        return
    raise InputError(
        f"{name} is not installed where jobs run",
        code="tracker_not_installed",
        key="report_to",
        remedy=f"{sys.executable} -m pip install {name}",
    )


def prepare_tracker(recipe: Recipe, attempt: AttemptDir) -> None:
    """Tell the tracker where to write, before transformers is imported. What the person has set themselves is kept."""
    if recipe.report_to == "none":
        return
    folder = attempt.path / recipe.report_to
    folder.mkdir(mode=0o700, exist_ok=True)
    defaults = {
        "tensorboard": {"TENSORBOARD_LOGGING_DIR": str(folder)},
        "mlflow": {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "MLFLOW_EXPERIMENT_NAME": "bakehouse",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        "trackio": {"TRACKIO_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"},
        "wandb": {"WANDB_MODE": "offline", "WANDB_DIR": str(folder), "WANDB_SILENT": "true"},
    }[recipe.report_to]
    for name, value in {**defaults, "DO_NOT_TRACK": "1"}.items():
        os.environ.setdefault(name, value)
