"""The vehicle's side of the patrol protocol, with the standard library alone."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from vision.errors import JiejingError

_TIMEOUT_S = 60.0
_CHUNK = 1024**2
Progress = Callable[[int, int], None]


class UploadError(JiejingError):
    """The server cannot be reached, or does not take what is sent."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to send. `kind`: media, track or telemetry."""

    path: Path
    kind: str


class Vehicle:
    """Speaks to one server for one vehicle. Raises UploadError when the server refuses or is not there."""

    def __init__(self, server: str, vehicle: str, *, api_key: str | None = None) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UploadError(f"{server!r} is no server", remedy="give an address like http://127.0.0.1:8311")
        secure = parts.scheme == "https"
        self._connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._host, self._port = parts.hostname, parts.port or (443 if secure else 80)
        self._server = server
        self._vehicle = vehicle
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def upload(
        self,
        started_at: datetime,
        files: Sequence[LocalFile],
        *,
        camera: dict[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> str:
        """Send a patrol; what the server has already is not sent again. Gives the patrol's id.

        `progress`: called with the bytes sent and the bytes there are to send.
        """
        hashed = {file.path: _sha256(file.path) for file in files}
        announcement = {
            "vehicle": self._vehicle,
            "started_at": started_at.isoformat(),
            "camera": camera,
            "files": [
                {
                    "name": file.path.name,
                    "kind": file.kind,
                    "size": file.path.stat().st_size,
                    "sha256": hashed[file.path],
                }
                for file in files
            ],
        }
        known = self._ask("POST", "/v1/patrols", announcement)
        missing = set(known["missing"])
        waiting = {sha256: path for path, sha256 in hashed.items() if sha256 in missing}
        total = sum(path.stat().st_size for path in waiting.values())
        sent = 0
        for sha256, path in waiting.items():
            with path.open("rb") as file:
                self._ask("PUT", f"/v1/patrols/{known['id']}/files/{sha256}", file, length=path.stat().st_size)
            sent += path.stat().st_size
            if progress:
                progress(sent, total)
        return str(known["id"])

    def report(self, patrol_id: str) -> dict[str, Any]:
        """How the patrol fares."""
        return self._ask("GET", f"/v1/patrols/{patrol_id}")

    def wait(self, patrol_id: str, *, every_s: float = 0.3, progress: Progress | None = None) -> dict[str, Any]:
        """Wait until the patrol is done or failed; gives its report. `progress`: frames read, frames there are."""
        while True:
            report = self.report(patrol_id)
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
            page = self._ask("GET", url)
            found += page["features"]
            url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
        return found

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | BinaryIO | None = None, length: int | None = None
    ) -> dict[str, Any]:
        headers = dict(self._headers)
        data: bytes | BinaryIO | None = None
        if isinstance(body, dict):
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        elif body is not None:
            data = body
            headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        connection = self._connect(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UploadError(f"{self._server} cannot be reached: {error}", remedy="is the server running?") from error
        finally:
            connection.close()
        try:
            said: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise UploadError(f"{self._server} is not a Jiejing server", remedy="check the address") from error
        if answer.status >= 400:
            raise UploadError(
                f"{method} {path}: {said.get('detail', answer.reason)}", remedy=str(said.get("remedy", ""))
            )
        return said


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
