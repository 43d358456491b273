"""Errors of the server that a caller can act on; `serve/doors/problems.py` maps each to a status."""

from __future__ import annotations

from vision.errors import JiejingError


class SettingsError(JiejingError):
    """The server was set up in a way that it refuses to run in."""

    exit_code = 2


class NotFoundError(JiejingError):
    """There is no such object, or it is not the caller's: the answer is the same."""


class ConflictError(JiejingError):
    """The request contradicts what is already there."""


class InvalidInputError(JiejingError):
    """What was sent can be read, but not used."""


class HeaderError(InvalidInputError):
    """A header that the protocol asks for is missing or cannot be read."""


class MismatchError(JiejingError):
    """A file is not what its announcement said."""


class TooLargeError(JiejingError):
    """More was sent than is accepted."""


class UnauthorizedError(JiejingError):
    """No key, or not the right one."""


class NotAllowedError(JiejingError):
    """Whoever asks is known, but may not do this."""


class ForbiddenError(JiejingError):
    """The request came from a page or under a name that this server does not answer."""


class ChecksumError(JiejingError):
    """A chunk is not what its checksum says."""


class LaterError(JiejingError):
    """Not now: the same request may well succeed after `retry_after_s` seconds."""

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: int = 60) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class BusyError(LaterError):
    """Somebody else is at it."""

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: int = 2) -> None:
        super().__init__(message, remedy=remedy, retry_after_s=retry_after_s)


class TooManyError(LaterError):
    """One caller or vehicle asks for more than its share."""


class OverloadedError(LaterError):
    """More is waiting than is taken in."""


class DiskFullError(LaterError):
    """No room for what was sent, or soon none for anything else."""


class StorageError(LaterError):
    """The disk or the object store failed."""
