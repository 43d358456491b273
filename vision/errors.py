"""Errors that a user can act on: each says what is wrong, with which file, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


class JiejingError(Exception):
    """A fault that is not a bug; caught once, at the top, and printed as one line.

    `remedy` tells the user what to do; `exit_code` is what the command line ends with.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class UsageError(JiejingError):
    """The command was called wrongly."""

    exit_code = 2


class MediaError(JiejingError):
    """A picture or video that cannot be read."""


class TrackError(JiejingError):
    """A track that cannot be used."""


class CameraError(JiejingError):
    """A camera file that is missing a field or holds an impossible one."""


class ModelError(JiejingError):
    """A model folder that is unknown, incomplete or not what its hash says."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One input that could not be processed: a line in a report, never the end of a run."""

    file: str
    reason: str
    remedy: str = ""

    @classmethod
    def of(cls, file: str, error: JiejingError) -> Fault:
        return cls(file=file, reason=error.message, remedy=error.remedy)

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}" + (f" ({self.remedy})" if self.remedy else "")
