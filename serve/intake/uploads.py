"""Files on their way in: resumable ones with a row each, and small ones in one piece.

The order is what keeps promises. Bytes are durable before an offset is told; a file is durable under its hash before
its row says so; the row is committed before the last answer. Whatever dies in between, `settle` can be done again: the
housekeeper does for uploads whose vehicle never comes back to ask.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import structlog

from serve.errors import InvalidInputError, MismatchError, NotFoundError, StorageError, TooManyError
from serve.intake.desk import Intake
from serve.intake.gates import check_track
from serve.store import patrols, uploads
from serve.store.blobs import ORIGINALS
from serve.store.database import Desk
from serve.store.patrols import FileEntry, Patrol
from serve.store.spool import Part, Spool, storing
from serve.store.uploads import Upload
from vision.errors import JiejingError

_HASHED_AT_A_TIME = 1024**2
# A spool file without a row is one whose creation was broken off, or whose patrol was deleted.
_STRAY_SECONDS = 3600.0
# So many uploads of one file are kept at a time.
_OF_ONE_FILE = 8
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Uploads:
    """The files of one intake. `keep_days`: how long an unfinished one waits for its vehicle; `max_open`: how many of
    one vehicle may be on their way."""

    intake: Intake
    keep_days: float
    max_open: int

    @property
    def _spool(self) -> Spool:
        return self.intake.blobs.spool

    def expect(self, desk: Desk, patrol_id: str, sha256: str, size: int) -> FileEntry:
        """The announced file. Raises NotFoundError, InvalidInputError when it was announced with another size."""
        entry, _ = patrols.expected(desk, patrol_id, sha256)
        if size != entry.size:
            raise InvalidInputError(
                f"{size} bytes are to come, {entry.size} were announced",
                remedy="announce the patrol with the right sizes, or send the file that was announced",
            )
        return entry

    def create(self, desk: Desk, patrol_id: str, sha256: str, size: int, filename: str | None) -> Upload:
        """A new upload of an announced file. Its place in the spool is made before its row is.

        Raises NotFoundError, InvalidInputError, TooManyError, DiskFullError, StorageError.
        """
        entry = self.expect(desk, patrol_id, sha256, size)
        _, arrived = patrols.expected(desk, patrol_id, sha256)
        now = datetime.now(UTC)
        vehicle = patrols.get(desk, patrol_id).vehicle
        others = uploads.open_of(desk, vehicle) - {(patrol_id, sha256)}
        if not arrived and len(others) >= self.max_open:
            raise TooManyError(
                f"{vehicle} has {self.max_open} files on their way", remedy="finish or DELETE some of them first"
            )
        upload = Upload(
            id=secrets.token_hex(16),
            patrol_id=patrol_id,
            sha256=sha256,
            size=size,
            filename=filename or entry.name,
            expires_at=now + timedelta(days=self.keep_days),
            finished_at=now if arrived else None,
        )
        if not arrived:
            self._spool.require_room(size)
            self._spool.make(upload.id)
            self._forget_lost(desk, patrol_id, sha256)
        uploads.add(desk, upload)
        return upload

    def _forget_lost(self, desk: Desk, patrol_id: str, sha256: str) -> None:
        """Make place for one more upload of a file. A vehicle that did not hear the answer knows nothing of the upload
        that it made, and makes another; those that nothing came for the longest time go, their bytes as strays."""
        found = sorted(uploads.of_file(desk, patrol_id, sha256), key=self._spool.written_at)
        for lost in found[: max(0, len(found) - _OF_ONE_FILE + 1)]:
            uploads.delete(desk, lost)

    def find(self, upload_id: str) -> tuple[Upload, int]:
        """An upload and how much of it is durable; one that has all its bytes is settled first.

        Raises NotFoundError, and what `settle` raises.
        """
        with self.intake.database.reading(self.intake.reach) as desk:
            upload = uploads.get(desk, upload_id)
        if upload.finished_at is not None:
            return upload, upload.size
        length = self._spool.length(upload_id)
        if length is not None and length < upload.size:
            return upload, length
        self.settle(upload)
        return upload, upload.size

    def append(self, upload: Upload, offset: int) -> Part:
        """Go on with an upload; it then lives longer. See `Spool.append`. Raises NotFoundError when it is gone."""
        expires_at = datetime.now(UTC) + timedelta(days=self.keep_days)
        if expires_at - upload.expires_at > timedelta(hours=1):
            with self.intake.database.writing(self.intake.reach) as desk:
                uploads.prolong(desk, upload.id, expires_at)
        return self._spool.append(upload.id, offset)

    def settle(self, upload: Upload) -> None:
        """Check a complete upload, put it under its hash, acknowledge it. Doing it again is doing it once.

        Raises MismatchError, or InvalidInputError for a track that cannot be used: the upload is then forgotten.
        """
        try:
            self.accept(upload.patrol_id, upload.sha256, upload.id)
        except (MismatchError, InvalidInputError, NotFoundError):
            self.terminate(upload.id)
            raise

    def terminate(self, upload_id: str) -> None:
        """Forget an upload; a file that has arrived stays. Raises NotFoundError."""
        with self.intake.database.writing(self.intake.reach) as desk:
            uploads.get(desk, upload_id)
            uploads.delete(desk, upload_id)
        self._spool.remove(upload_id)

    def accept(self, patrol_id: str, sha256: str, name: str) -> tuple[Patrol, int]:
        """Put a complete file of the spool under its hash and note that it has arrived; with the last one processing
        starts. Gives how many are still missing.

        Raises NotFoundError, MismatchError, InvalidInputError, StorageError.
        """
        intake = self.intake
        with intake.database.reading(intake.reach) as desk:
            entry, _ = patrols.expected(desk, patrol_id, sha256)
            patrol = patrols.get(desk, patrol_id)
        with suppress(FileNotFoundError), storing():
            # When it is not there, somebody else has just settled it, or nothing is: `settle` tells.
            with self._spool.read(name) as file:
                _check_content(file, entry)
            if entry.kind == "track":
                with self._spool.plain(name, f"{name}{Path(entry.name).suffix.lower()}") as track:
                    check_track(track, entry.name, patrol.started_at, patrol_id)
        intake.blobs.settle(self._spool.path(name), ORIGINALS, patrol_id, sha256)
        try:
            with intake.database.writing(intake.reach) as desk:
                patrol, left = patrols.receive(desk, patrol_id, sha256, datetime.now(UTC))
                done = uploads.finish(desk, patrol_id, sha256, datetime.now(UTC))
        except NotFoundError:
            intake.blobs.remove(ORIGINALS, patrol_id)
            raise
        for other in done:
            self._spool.remove(other)
        intake.hand_over(patrol)
        return patrol, left

    def whole(self, patrol_id: str, sha256: str) -> tuple[FileEntry, str] | None:
        """For a file in one piece: its entry and a name in the spool; None when it has arrived already.

        Raises NotFoundError, DiskFullError.
        """
        with self.intake.database.reading(self.intake.reach) as desk:
            entry, arrived = patrols.expected(desk, patrol_id, sha256)
        if arrived:
            return None
        self._spool.require_room(entry.size)
        return entry, secrets.token_hex(16)

    def sweep(self) -> None:
        """Drop what has expired, settle what is complete, remove strays: what the housekeeper does, again and again,
        for all jurisdictions."""
        for gone in uploads.delete_expired(self.intake.database, datetime.now(UTC)):
            self._spool.remove(gone)
            _log.info("upload expired", upload=gone)
        waiting = uploads.unfinished(self.intake.database)
        for jurisdiction, upload in waiting:
            try:
                if self._spool.holds(upload.id, upload.size):
                    replace(self, intake=self.intake.of(jurisdiction)).settle(upload)
            except JiejingError as error:
                _log.warning("upload refused", upload=upload.id, reason=str(error))
        known = {upload.id for _, upload in waiting}
        for name in self._spool.idle_for(_STRAY_SECONDS):
            if name not in known:
                self._spool.remove(name)

    def settle_moved(self) -> None:
        """Settle what was moved under its hash by a process that died then, before its row said so. Once, at the start:
        the store is asked for each upload whose bytes do not lie here."""
        for jurisdiction, upload in uploads.unfinished(self.intake.database):
            try:
                if not self._spool.path(upload.id).exists() and self.intake.blobs.has(
                    ORIGINALS, upload.patrol_id, upload.sha256
                ):
                    replace(self, intake=self.intake.of(jurisdiction)).settle(upload)
            except StorageError as error:
                _log.warning("uploads are settled later", reason=str(error))
                return
            except JiejingError as error:
                _log.warning("upload refused", upload=upload.id, reason=str(error))


def _check_content(file: BinaryIO, entry: FileEntry) -> None:
    digest = hashlib.sha256()
    size = 0
    while chunk := file.read(_HASHED_AT_A_TIME):
        digest.update(chunk)
        size += len(chunk)
    if size != entry.size:
        raise MismatchError(f"{size} bytes arrived, {entry.size} were announced", remedy="send the whole file again")
    if digest.hexdigest() != entry.sha256:
        raise MismatchError(
            f"the SHA-256 of what arrived is {digest.hexdigest()}, not {entry.sha256}",
            remedy="send the file again; if it changed since, announce the patrol anew",
        )
