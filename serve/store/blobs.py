"""Files under their SHA-256, durable before they are acknowledged.

Originals and evidence lie in folders of their own per patrol: deleting one patrol can never take a file that another
one has just been promised.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from serve.errors import MismatchError, TooLargeError

ORIGINALS = "originals"
EVIDENCE = "evidence"
_STALE_SECONDS = 24 * 3600


class Blobs:
    """A local folder of files; the areas are `originals`, never served, and `evidence`, redacted and served."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"

    def prepare(self) -> None:
        """Make the folders and throw away what broken-off uploads left behind."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        for part in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                    part.unlink()

    def path(self, area: str, patrol_id: str, sha256: str) -> Path:
        """Where a file lies, or would lie."""
        return self._root / area / patrol_id / sha256

    def receive(self, patrol_id: str, sha256: str, size: int) -> Incoming:
        """A place for an upload of `size` bytes with that hash."""
        return Incoming(self, self._incoming / secrets.token_hex(16), patrol_id, sha256, size)

    def put(self, area: str, patrol_id: str, data: bytes) -> str:
        """Store bytes durably; gives their hash. Storing the same again changes nothing."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.path(area, patrol_id, sha256).exists():
            part = self._incoming / secrets.token_hex(16)
            with part.open("xb") as file:
                file.write(data)
                _sync(file)
            self.settle(part, area, patrol_id, sha256)
        return sha256

    def settle(self, part: Path, area: str, patrol_id: str, sha256: str) -> None:
        """Move a synced file to its name, and make the name durable too."""
        target = self.path(area, patrol_id, sha256)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync_folder(target.parent.parent)
        part.replace(target)
        _sync_folder(target.parent)

    def remove(self, area: str, patrol_id: str, keep: Iterable[str] = ()) -> None:
        """Delete a patrol's files of one area, but for those with the hashes to `keep`."""
        folder = self._root / area / patrol_id
        kept = set(keep)
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
            return
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in kept:
                path.unlink(missing_ok=True)


class Incoming:
    """One upload: write the chunks, then `finish`; leaving the block without it throws the file away."""

    def __init__(self, blobs: Blobs, part: Path, patrol_id: str, sha256: str, size: int) -> None:
        self._blobs = blobs
        self._part = part
        self._patrol_id = patrol_id
        self._expected = sha256
        self._size = size
        self._hash = hashlib.sha256()
        self._written = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = self._part.open("xb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Append a chunk. Raises TooLargeError when there is more than was announced."""
        assert self._file is not None
        self._written += len(chunk)
        if self._written > self._size:
            raise TooLargeError(
                f"the file has more than the announced {self._size} bytes",
                remedy="announce the patrol with the right sizes, or send the file that was announced",
            )
        self._hash.update(chunk)
        self._file.write(chunk)

    def finish(self) -> None:
        """Check size and hash, then make the file durable. Raises MismatchError when either is not as announced."""
        assert self._file is not None
        if self._written != self._size:
            raise MismatchError(
                f"{self._written} bytes arrived, {self._size} were announced", remedy="send the whole file again"
            )
        if self._hash.hexdigest() != self._expected:
            raise MismatchError(
                f"the SHA-256 of what arrived is {self._hash.hexdigest()}, not {self._expected}",
                remedy="send the file again; if it changed since, announce the patrol anew",
            )
        _sync(self._file)
        self._blobs.settle(self._part, ORIGINALS, self._patrol_id, self._expected)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
