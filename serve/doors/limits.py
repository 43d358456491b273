"""How much at once: requests per caller, wrong keys per address, bytes per body."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive

from serve.doors.problems import of_error
from serve.errors import TooLargeError, TooManyError

# An announcement of 50,000 files has some 10 MB; files and pictures have limits of their own where they arrive.
MOST_BYTES = 32 * 1024**2
_MOST_BUCKETS = 10_000


class Buckets:
    """Token buckets by name: `burst` at once, `per_minute` on and on. Those least used lately are forgotten when there
    are too many, so that inventing names costs no memory."""

    def __init__(self, per_minute: float, burst: float) -> None:
        self._rate = per_minute / 60
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def ensure(self, name: str) -> None:
        """Raises TooManyError when the bucket is empty, with the time until it is not."""
        left = self._now(name, time.monotonic())
        if left < 1:
            raise TooManyError(
                "too many requests",
                remedy="wait as long as Retry-After says",
                retry_after_s=max(1, math.ceil((1 - left) / self._rate)),
            )

    def spend(self, name: str) -> None:
        """Take one from the bucket, if there is one."""
        now = time.monotonic()
        self._left[name] = (max(0.0, self._now(name, now) - 1), now)
        self._left.move_to_end(name)
        if len(self._left) > _MOST_BUCKETS:
            self._left.popitem(last=False)

    def _now(self, name: str, now: float) -> float:
        left, at = self._left.get(name, (self._burst, now))
        return min(self._burst, left + (now - at) * self._rate)


def limit_body(headers: Headers, receive: Receive) -> tuple[Response | None, Receive]:
    """Refuse a body that says it is too large; cut one that does not say."""
    too_large = TooLargeError("the request has too many bytes", remedy=f"send at most {MOST_BYTES} bytes")
    declared = headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > MOST_BYTES:
        return of_error(too_large), receive
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MOST_BYTES:
            # Of all that is raised while a body is read, this kind alone is not taken for a broken body.
            raise HTTPException(413, too_large.message)
        return message

    return None, counted
