"""Bodies on their way in: one at a time for each upload, so many at once, and no connection that only hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request
from starlette.requests import ClientDisconnect

from serve.errors import BusyError, OverloadedError

_WRITTEN_AT_ONCE = 1024**2
_IDLE_S = 60.0
_HANDOVER_S = 30.0


@dataclass(eq=False)
class Transfer:
    """One request's turn at an upload. `stop` is set when a newer one wants it."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Transfers:
    """Who is at which upload, in this process. The newest request wins: the older one's connection is one that the
    vehicle has lost and the server has not noticed yet."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._at: dict[str, Transfer] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[Transfer]:
        """Have an upload alone. Raises OverloadedError when too many are under way, BusyError when the one before
        does not let go."""
        while (before := self._at.get(name)) is not None:
            before.stop.set()
            try:
                await asyncio.wait_for(before.done.wait(), _HANDOVER_S)
            except TimeoutError:
                raise BusyError("another connection is sending this file", remedy="wait, then go on") from None
        if len(self._at) >= self._most:
            raise OverloadedError(
                f"{self._most} uploads are under way", remedy="wait a moment, then go on", retry_after_s=5
            )
        mine = self._at[name] = Transfer()
        try:
            yield mine
        finally:
            del self._at[name]
            mine.done.set()


async def chunks(request: Request, transfer: Transfer | None = None) -> AsyncIterator[bytes]:
    """The body in pieces of about a megabyte.

    Raises ClientDisconnect when the connection breaks or says nothing for a minute, BusyError when a newer request
    wants the upload; what came before is given out first.
    """
    stopped = asyncio.ensure_future((transfer or Transfer()).stop.wait())
    gathered = bytearray()
    broken: Exception | None = None
    try:
        while broken is None:
            coming = asyncio.ensure_future(request.receive())
            await asyncio.wait({coming, stopped}, timeout=_IDLE_S, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                broken = BusyError("a newer connection is sending this file") if stopped.done() else ClientDisconnect()
            elif (message := coming.result())["type"] == "http.disconnect":
                broken = ClientDisconnect()
            else:
                gathered += message.get("body", b"")
                if not message.get("more_body", False):
                    break
            if len(gathered) >= _WRITTEN_AT_ONCE:
                yield bytes(gathered)
                gathered.clear()
        if gathered:
            yield bytes(gathered)
        if broken is not None:
            raise broken
    finally:
        stopped.cancel()
