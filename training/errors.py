"""Faults of data and training that a user can act on."""

from __future__ import annotations

from vision.errors import JiejingError


class DatasetError(JiejingError):
    """A data set, a manifest or a label file that is not what it should be."""


class TrainingError(JiejingError):
    """A run that cannot start, resume or be exported."""
