"""The vehicle's side of the patrol protocol, with the standard library alone."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from vision.errors import JiejingError

_TIMEOUT_S = 60.0
_SLICE = 64 * 1024
# What one request carries: after a cut the server knows how far it came, so this only bounds a request's length.
CHUNK_BYTES = 8 * 1024**2
_LONGEST_PAUSE_S = 60.0
# Answers after which the same request may succeed; of a chunk also those that only say that it did not fit.
_LATER = frozenset({423, 429, 502, 503, 504, 507})
_LATER_FOR_CHUNKS = _LATER | {409, 460}
_KINDS = ("track", "telemetry", "media")
T = TypeVar("T")
Progress = Callable[[int, int], None]


class UploadError(JiejingError):
    """The server cannot be reached, or does not take what is sent."""


class _LaterError(UploadError):
    """It may well work later: a broken connection, a busy or full server."""

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class _GoneError(UploadError):
    """There is no such thing on the server, or no more."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to send. `kind`: media, track or telemetry; `name`: what the server shall call it, the path's by default;
    `sha256`: its hash in lower-case hex, computed when it is empty."""

    path: Path
    kind: str
    name: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers in lower case, and body as JSON."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


class Vehicle:
    """Speaks to one server for one vehicle. Raises UploadError when the server refuses or is not there.

    `patience_s`: for how long `upload` tries again, with growing pauses, while nothing gets through; `bytes_per_s`:
    what it sends at most; `waiting` is told why it pauses and for how many seconds.
    """

    def __init__(
        self,
        server: str,
        vehicle: str,
        *,
        api_key: str | None = None,
        patience_s: float = 0.0,
        bytes_per_s: float | None = None,
        waiting: Callable[[str, float], None] = lambda _reason, _seconds: None,
    ) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UploadError(f"{server!r} is no server", remedy="give an address like http://127.0.0.1:8311")
        secure = parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = connect(parts.hostname, parts.port or (443 if secure else 80), timeout=_TIMEOUT_S)
        self._server = server
        self._vehicle = vehicle
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._patience_s = patience_s
        self._bytes_per_s = bytes_per_s
        self._waiting = waiting
        self._got_through = time.monotonic()

    def upload(
        self,
        started_at: datetime,
        files: Sequence[LocalFile],
        *,
        camera: dict[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> str:
        """Send a patrol; what the server has already is not sent again, and a file goes on where it stopped. Gives the
        patrol's id.

        `progress`: called with the bytes sent and the bytes there are to send.
        """
        hashed, sizes = {}, {}
        for file in files:
            with reading(file.path):
                hashed[file.path] = file.sha256 or sha256_of(file.path)
                sizes[file.path] = file.path.stat().st_size
        announcement = {
            "vehicle": self._vehicle,
            "started_at": started_at.isoformat(),
            "camera": camera,
            "files": [
                {
                    "name": file.name or file.path.name,
                    "kind": file.kind,
                    "size": sizes[file.path],
                    "sha256": hashed[file.path],
                }
                for file in files
            ],
        }
        self._got_through = time.monotonic()
        known = self._patiently(lambda: self.ask("POST", "/v1/patrols", announcement))
        missing = set(known["missing"])
        # The track goes first: when it cannot be used, that is known before the pictures have cost their way.
        first = sorted(files, key=lambda file: _KINDS.index(file.kind))
        waiting = {hashed[file.path]: file.path for file in first if hashed[file.path] in missing}
        total = sum(sizes[path] for path in waiting.values())
        done = 0

        def told(before: int, sent: int) -> None:
            if progress:
                progress(before + sent, total)

        for sha256, path in waiting.items():
            before = done
            self._send(known["id"], path, sha256, sizes[path], partial(told, before))
            done += sizes[path]
        if progress:
            progress(total, total)
        return str(known["id"])

    def report(self, patrol_id: str) -> dict[str, Any]:
        """How the patrol fares."""
        return self.ask("GET", f"/v1/patrols/{patrol_id}")

    def wait(self, patrol_id: str, *, every_s: float = 0.3, progress: Progress | None = None) -> dict[str, Any]:
        """Wait until the patrol is done or failed; gives its report. `progress`: frames read, frames there are."""
        while True:
            report = self._patiently(lambda: self.report(patrol_id))
            if progress and report["frames"]["total"]:
                progress(report["frames"]["read"], report["frames"]["total"])
            if report["state"] in ("done", "failed"):
                return report
            time.sleep(every_s)

    def cases(self) -> list[dict[str, Any]]:
        """All cases, page after page."""
        url: str | None = "/v1/cases?limit=1000"
        found: list[dict[str, Any]] = []
        while url:
            page = self.ask("GET", url)
            found += page["features"]
            url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
        return found

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request with a JSON answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        return self._request(method, path, headers, data).body

    def _send(self, patrol: str, path: Path, sha256: str, size: int, sent: Callable[[int], object]) -> None:
        """Send one file by the resumable protocol. The upload is found again by its Idempotency-Key, so that nothing
        needs to be remembered but the file itself; when it has expired there, another one is begun."""
        for attempt in range(100):
            begin = partial(self._begin, patrol, path, sha256, size, attempt)
            try:
                url, offset = self._patiently(begin)
                self._continue(url, path, offset, size, sent)
                return
            except _GoneError:
                continue
        raise UploadError(f"{path.name}: the server forgets it again and again", remedy="ask the server's operator")

    def _begin(self, patrol: str, path: Path, sha256: str, size: int, attempt: int) -> tuple[str, int]:
        """Create the upload, or find it again: its address and how much of it is durable. Raises _GoneError when it
        was there and has expired."""
        about = {"patrol": patrol, "sha256": sha256, "filename": path.name}
        key = hashlib.sha256(f"{patrol} {sha256} {attempt}".encode()).hexdigest()
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(size),
            "Upload-Metadata": ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in about.items()),
            "Idempotency-Key": key,
        }
        made = self._request("POST", "/v1/uploads", headers, b"")
        return urlsplit(made.headers["location"]).path, int(made.headers["upload-offset"])

    def _continue(self, url: str, path: Path, offset: int, size: int, sent: Callable[[int], object]) -> None:
        """Send the rest of a file; after every break the server is asked how far it came."""
        breaks = 0
        while offset < size:
            sent(offset)
            length = min(CHUNK_BYTES, size - offset)
            headers = {
                "Tus-Resumable": "1.0.0",
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(length),
                "Upload-Offset": str(offset),
            }
            before = offset
            try:
                answer = self._request("PATCH", url, headers, self._slices(path, offset, length, sent))
                offset = int(answer.headers["upload-offset"])
            except _LaterError as error:
                self._pause(error, 2.0**breaks / 4)
                offset = self._patiently(lambda: self._offset(url))
            breaks = 0 if offset > before else min(breaks + 1, 10)
        sent(size)

    def _offset(self, url: str) -> int:
        """How much of an upload is durable."""
        return int(self._request("HEAD", url, {"Tus-Resumable": "1.0.0"}, None).headers["upload-offset"])

    def _slices(self, path: Path, offset: int, length: int, sent: Callable[[int], object]) -> Iterator[bytes]:
        """A part of a file in small pieces, at the set pace."""
        began, end = time.monotonic(), offset + length
        at = offset
        with reading(path), path.open("rb") as file:
            file.seek(offset)
            while at < end:
                data = file.read(min(_SLICE, end - at))
                if not data:
                    raise UploadError(f"{path} has become shorter", remedy="leave files alone until they are sent")
                yield data
                at += len(data)
                sent(at)
                if self._bytes_per_s is not None:
                    time.sleep(max(0.0, (at - offset) / self._bytes_per_s - (time.monotonic() - began)))

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do something, again and again while the server is out of reach or asks to come later."""
        pauses = 0
        while True:
            try:
                return action()
            except _LaterError as error:
                pauses += 1
                self._pause(error, 2.0 ** min(pauses, 10))

    def _pause(self, error: _LaterError, backoff_s: float = 0.0) -> None:
        """Wait before the next try; raises the error when patience is over."""
        if time.monotonic() - self._got_through > self._patience_s:
            raise error
        pause_s = max(min(backoff_s, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0), error.retry_after_s)
        pause_s = min(pause_s, max(0.1, self._patience_s))
        if pause_s >= 1:
            self._waiting(error.message, pause_s)
        time.sleep(pause_s)

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None
    ) -> Answer:
        """One request on the kept connection, which is renewed after a fault; all that we ask may be asked twice."""
        was_open = self._connection.sock is not None
        try:
            self._connection.request(method, path, body=body, headers={**self._headers, **headers})
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            with contextlib.suppress(OSError):
                self._connection.close()
            if was_open and (body is None or isinstance(body, bytes)):
                return self._request(method, path, headers, body)
            raise _LaterError(
                f"{self._server} cannot be reached: {error or type(error).__name__}", remedy="is the server running?"
            ) from error
        told = {name.lower(): value for name, value in answer.getheaders()}
        if told.get("connection", "") == "close" or answer.status >= 300:
            self._connection.close()
        if 300 <= answer.status < 400:
            raise UploadError(f"{self._server} sends on to {told.get('location')}", remedy="give the address it names")
        try:
            said: dict[str, Any] = json.loads(text) if text else {}
        except ValueError as error:
            raise UploadError(f"{self._server} is not a Jiejing server", remedy="check the address") from error
        if answer.status >= 400:
            remedy = str(said.get("remedy", ""))
            # The detail ends with the remedy, which is told with the error anyway.
            message = f"{method} {path}: {said.get('detail', answer.reason)}".removesuffix(f": {remedy}")
            if answer.status in (_LATER_FOR_CHUNKS if method == "PATCH" else _LATER):
                given = told.get("retry-after", "")
                raise _LaterError(message, remedy=remedy, retry_after_s=float(given) if given.isdigit() else 0.0)
            raise (_GoneError if answer.status in (404, 410) else UploadError)(message, remedy=remedy)
        self._got_through = time.monotonic()
        return Answer(answer.status, told, said)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read a file. Raises UploadError when that fails: no network is away, and trying for days would not help."""
    try:
        yield
    except OSError as error:
        raise UploadError(
            f"{path} cannot be read: {error.strerror}", remedy="is the card still in? then run the command again"
        ) from error


def sha256_of(path: Path) -> str:
    """A file's hash in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
