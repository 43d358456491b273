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


class MismatchError(JiejingError):
    """A file is not what its announcement said."""


class TooLargeError(JiejingError):
    """More was sent than is accepted."""


class UnauthorizedError(JiejingError):
    """No key, or not the right one."""


class NotAllowedError(JiejingError):
    """Whoever asks is known, but may not do this."""


class TooManyError(JiejingError):
    """More requests than are answered; `retry_after_s` says when it is worth trying again."""

    def __init__(self, message: str, *, remedy: str, retry_after_s: int) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class ForbiddenError(JiejingError):
    """The request came from a page or under a name that this server does not answer."""
