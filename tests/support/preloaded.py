"""Imported once by the process that jobs are forked from: all that a training and a bake-off import."""

from __future__ import annotations

import pytest  # noqa: F401 - a forked process imports what the tests were started with

import jobs.__main__
import jobs.bakeoff
import jobs.train
from jobs import models

models.prepare_libraries()

import jobs.generate  # noqa: E402
import jobs.prepare  # noqa: E402
import jobs.quantised  # noqa: E402
import jobs.training  # noqa: E402, F401
