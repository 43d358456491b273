"""Unfinished files: appended, made durable, cut back; and how full the disk may become.

The length of a file after its last sync is the offset that is told to a vehicle, so nothing here answers before the
disk has. A failed sync says nothing about what the disk holds: the file is then cut back to what was durable before.
With a key files that are still arriving are veiled: a head with its salt, then the bytes, hidden.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from serve.errors import BusyError, ConflictError, DiskFullError, SettingsError, StorageError
from serve.store.sealed import VEIL_HEAD, Sealer, Veil, is_veiled

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Spool:
    """A folder of unfinished files. `min_free_bytes`: what is left free on its disk for everything else; `sealer`:
    veils those that are made from now on."""

    def __init__(self, folder: Path, *, min_free_bytes: int, sealer: Sealer | None = None) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._sealer = sealer

    def prepare(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where a file lies, or would lie."""
        return self._folder / name

    def free_bytes(self) -> int:
        """What is free on the folder's disk."""
        stat = os.statvfs(self._folder)
        return stat.f_bavail * stat.f_frsize

    def require_room(self, wanted_bytes: int = 0) -> None:
        """Raise DiskFullError unless so much fits and the watermark still holds."""
        free = self.free_bytes()
        if free - wanted_bytes < self._min_free_bytes:
            raise DiskFullError(
                f"the server's disk is nearly full ({free // 1024**2} MiB free)",
                remedy="keep the file and send it later; the server's operator has to make room",
            )

    def make(self, name: str, *, veiled: bool = True) -> None:
        """Make a file, empty and durable; veiled if there is a key. Raises DiskFullError, StorageError."""
        with storing():
            with self.path(name).open("xb") as file:
                if veiled and self._sealer is not None:
                    file.write(self._sealer.veil_head())
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(self._folder)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[Part]:
        """A new file that lies as it is written; when the block is left by an error it is removed."""
        try:
            self.make(name, veiled=False)
            with self.append(name, 0) as part:
                yield part
        except BaseException:
            self.remove(name)
            raise

    def append(self, name: str, offset: int) -> Part:
        """Go on with a file at `offset`, which is its length. See `Part`."""
        return Part(self, self.path(name), offset)

    def read(self, name: str) -> io.BufferedReader:
        """A file's plain bytes. Raises FileNotFoundError, SettingsError when it is veiled and there is no key."""
        file = self.path(name).open("rb")
        try:
            veil = self.veil_of(file.fileno())
        except BaseException:
            file.close()
            raise
        return file if veil is None else io.BufferedReader(_Unveiled(file, veil), 1024**2)

    @contextlib.contextmanager
    def plain(self, name: str, as_name: str) -> Iterator[Path]:
        """A file under another name in the spool, readable by anything: itself, or a copy without its veil; gone
        when the block is left."""
        shown = self.path(as_name)
        with storing():
            shown.unlink(missing_ok=True)
        try:
            with storing(), self.path(name).open("rb") as file:
                if self.veil_of(file.fileno()) is None:
                    shown.symlink_to(self.path(name))
                else:
                    with self.read(name) as source, shown.open("xb") as target:
                        while chunk := source.read(1024**2):
                            target.write(chunk)
            yield shown
        finally:
            # One that stays is swept as a stray.
            with contextlib.suppress(OSError):
                shown.unlink(missing_ok=True)

    def veil_of(self, handle: int) -> Veil | None:
        """The veil over an open file; None over a plain one. Raises SettingsError when there is one and no key."""
        head = os.pread(handle, VEIL_HEAD, 0)
        if not is_veiled(head):
            return None
        if self._sealer is None:
            raise SettingsError(
                "files on their way are veiled, and no key is set", remedy="set JIEJING_ORIGINALS_KEY as when they came"
            )
        return self._sealer.veil(head)

    def length(self, name: str) -> int | None:
        """How many bytes of a file are durable; None when there is no such file. Raises StorageError."""
        try:
            handle = os.open(self.path(name), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            with storing():
                os.fsync(handle)
            return self._bytes(handle)
        finally:
            os.close(handle)

    def written_at(self, name: str) -> float:
        """When a file was written to last, in seconds since 1970; 0 when there is none."""
        try:
            return self.path(name).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def holds(self, name: str, size: int) -> bool:
        """Whether a file has so many bytes, durable or not: a cheap question."""
        try:
            if self.path(name).stat().st_size < size:
                return False
            with self.path(name).open("rb") as file:
                return self._bytes(file.fileno()) >= size
        except FileNotFoundError:
            return False

    def _bytes(self, handle: int) -> int:
        size = os.fstat(handle).st_size
        return size if self.veil_of(handle) is None else size - VEIL_HEAD

    def remove(self, name: str) -> None:
        """Delete a file, if it is there. Raises StorageError."""
        with storing():
            self.path(name).unlink(missing_ok=True)

    def idle_for(self, seconds: float) -> list[str]:
        """The names of files that nothing was written to for so long."""
        found = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > seconds:
                    found.append(path.name)
        return found


class Part:
    """One unfinished file while it is written to; nobody else can write meanwhile.

    Entering raises FileNotFoundError, StorageError, BusyError when another process writes, ConflictError when the
    file's length is not `offset`. Leaving makes durable what was written, as far as the disk takes it.
    """

    def __init__(self, spool: Spool, path: Path, offset: int) -> None:
        self._spool = spool
        self._path = path
        self._durable = offset
        self._end = offset
        self._handle = -1
        self._veil: Veil | None = None
        self._head = 0

    def __enter__(self) -> Self:
        with storing():
            self._handle = os.open(self._path, os.O_RDWR)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._veil = self._spool.veil_of(self._handle)
            self._head = 0 if self._veil is None else VEIL_HEAD
            found = os.fstat(self._handle).st_size - self._head
            if found != self._durable:
                raise ConflictError(
                    f"the upload stands at {found}, not at {self._durable}", remedy="ask with HEAD and go on from there"
                )
        except BlockingIOError:
            os.close(self._handle)
            raise BusyError("another connection is sending this file", remedy="wait a moment, then go on") from None
        except BaseException:
            os.close(self._handle)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._end > self._durable:
                with contextlib.suppress(StorageError, DiskFullError):
                    self.sync()
        finally:
            os.close(self._handle)

    def write(self, data: bytes) -> None:
        """Append. Raises DiskFullError before the disk is full, StorageError when it fails."""
        self._spool.require_room(len(data))
        rest = memoryview(data if self._veil is None else self._veil.turn(data, self._end))
        try:
            with storing():
                while rest:
                    written = os.pwrite(self._handle, rest, self._head + self._end)
                    self._end += written
                    rest = rest[written:]
        except (DiskFullError, StorageError):
            self._cut(self._durable)
            raise

    def sync(self) -> int:
        """Make durable what was written; gives the file's length. Raises StorageError, the file then cut back."""
        try:
            with storing():
                os.fsync(self._handle)
        except (DiskFullError, StorageError):
            self._cut(self._durable)
            raise
        self._durable = self._end
        return self._end

    def discard(self) -> None:
        """Take back what was written since the last sync."""
        self._cut(self._durable)

    def _cut(self, length: int) -> None:
        self._end = length
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, self._head + length)


class _Unveiled(io.RawIOBase):
    """A veiled file's plain bytes, one after the other."""

    def __init__(self, file: io.BufferedReader, veil: Veil) -> None:
        super().__init__()
        self._file = file
        self._veil = veil
        self._at = 0
        file.seek(VEIL_HEAD)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """See the base class."""
        view = memoryview(buffer).cast("B")
        data = self._veil.turn(self._file.read(len(view)), self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """The file too."""
        self._file.close()
        super().close()


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """What the disk answers, as errors of ours: DiskFullError, StorageError; a missing file stays what it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError("the server's disk is full", remedy="keep the file and send it later") from error
        raise StorageError(
            f"the server's disk failed: {error.strerror}", remedy="keep the file and send it later"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises StorageError."""
    with storing():
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
