"""Files under their SHA-256, durable before they are acknowledged: in a local folder or an S3-compatible store.

Originals and evidence lie in folders of their own per patrol: deleting one patrol can never take a file that another
one has just been promised.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.exceptions import NotFoundError as MissingError
from obstore.store import LocalStore, from_url

from serve.errors import NotFoundError, SettingsError, StorageError
from serve.store.sealed import Sealer, is_sealed
from serve.store.spool import Spool, storing, sync_folder

if TYPE_CHECKING:
    from obstore.store import RetryConfig

ORIGINALS = "originals"
EVIDENCE = "evidence"
# An object store takes a conditional put in one piece, held in memory; what is larger goes in parts.
_ONE_PIECE_BYTES = 64 * 1024**2
_PART_BYTES = 16 * 1024**2
_COPIED_BYTES = 1024**2
# A vehicle, or a person at a page, waits for the answer: what is away longer is told, and tried again by whoever asked.
_RETRY: RetryConfig = {"max_retries": 5, "retry_timeout": timedelta(seconds=30)}


class Blobs:
    """The areas are `originals`, never served, and `evidence`, redacted and served.

    `root`: local folder, for the spool always and for the files unless `store_url` names an object store such as
    `s3://bucket/prefix`; its credentials and endpoint come from the usual AWS_… variables. With a `sealer` originals
    are kept encrypted, sealed once they have arrived and veiled before. Raises SettingsError.
    """

    def __init__(
        self, root: Path, *, store_url: str | None = None, min_free_bytes: int = 0, sealer: Sealer | None = None
    ) -> None:
        self._root = root
        self._sealer = sealer
        self._is_local = store_url is None
        self.spool = Spool(root / "incoming", min_free_bytes=min_free_bytes, sealer=sealer)
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(root) if store_url is None else from_url(store_url, retry_config=_RETRY)
        except (BaseError, ValueError) as error:
            raise SettingsError(
                f"the object store {store_url!r} cannot be used: {error}",
                remedy="set JIEJING_STORE_URL like s3://bucket/prefix, and AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …",
            ) from error

    def prepare(self) -> None:
        """Make the folders."""
        self.spool.prepare()

    def settle(self, part: Path, area: str, patrol_id: str, sha256: str) -> None:
        """Move a synced file of the spool under its hash, durably. Doing it again, or at once from two sides, is
        doing it once. Raises NotFoundError when there is neither the part nor the settled file."""
        key = _key(area, patrol_id, sha256)
        with storing():
            if area == ORIGINALS and self._sealer is not None and part.exists():
                sealed = self.spool.path(secrets.token_hex(16))
                try:
                    with self.spool.read(part.name) as plain:
                        self._sealer.seal(plain, sealed, sha256)
                    self._place(sealed, key)
                finally:
                    sealed.unlink(missing_ok=True)
            else:
                self._place(part, key)
            if self._is_local:
                folder = self._root / area / patrol_id
                sync_folder(folder)
                sync_folder(folder.parent)
            part.unlink(missing_ok=True)

    def _place(self, part: Path, key: str) -> None:
        try:
            with _reaching():
                if self._is_local:
                    obstore.rename(self._store, f"incoming/{part.name}", key, overwrite=False)
                elif part.stat().st_size <= _ONE_PIECE_BYTES:
                    obstore.put(self._store, key, part, mode="create", use_multipart=False)
                else:
                    obstore.put(self._store, key, part, chunk_size=_PART_BYTES)
        except AlreadyExistsError:
            pass
        except (MissingError, FileNotFoundError):
            if not self._has(key):
                raise NotFoundError("the upload is gone", remedy="send the file again from its beginning") from None

    def put(self, area: str, patrol_id: str, data: bytes) -> str:
        """Store bytes durably; gives their hash. Storing the same again changes nothing."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.has(area, patrol_id, sha256):
            name = secrets.token_hex(16)
            with self.spool.create(name) as part:
                part.write(data)
                part.sync()
            self.settle(self.spool.path(name), area, patrol_id, sha256)
        return sha256

    def has(self, area: str, patrol_id: str, sha256: str) -> bool:
        """Whether the file is there. Raises StorageError."""
        return self._has(_key(area, patrol_id, sha256))

    def _has(self, key: str) -> bool:
        try:
            with _reaching():
                obstore.head(self._store, key)
        except (MissingError, FileNotFoundError):
            return False
        return True

    def read(self, area: str, patrol_id: str, sha256: str) -> bytes:
        """The file's bytes; for evidence pictures, which are small. Raises NotFoundError, StorageError."""
        try:
            with _reaching():
                return bytes(obstore.get(self._store, _key(area, patrol_id, sha256)).bytes())
        except (MissingError, FileNotFoundError):
            raise NotFoundError("the file was deleted", remedy="load what named it again") from None

    def lay_out(self, area: str, patrol_id: str, sha256: str, target: Path) -> None:
        """Have the file at a local path: a link where it lies here, a copy otherwise; opened when it was sealed.

        Raises NotFoundError, StorageError, SettingsError when it was sealed with a key that is not set.
        """
        here = self._root / _key(area, patrol_id, sha256)
        if not self._is_local:
            here = target.with_name(f".{target.name}.fetched")
            try:
                with here.open("xb") as file, _reaching():
                    for chunk in obstore.get(self._store, _key(area, patrol_id, sha256)):
                        file.write(chunk)
            except (MissingError, FileNotFoundError):
                here.unlink(missing_ok=True)
                raise NotFoundError(f"{target.name} was deleted", remedy="announce and send the patrol again") from None
        if area == ORIGINALS and here.is_file() and is_sealed(here):
            if self._sealer is None:
                raise SettingsError(
                    "the originals are sealed, and no key is set", remedy="set JIEJING_ORIGINALS_KEY as when they came"
                )
            self._sealer.open(here, target, sha256)
            if not self._is_local:
                here.unlink()
        elif self._is_local:
            target.symlink_to(here)
        else:
            here.rename(target)

    def everything(self, area: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        """All files of an area as they lie there, sealed ones sealed: (area/patrol/hash, their bytes in pieces)."""
        for listed in obstore.list(self._store, prefix=area):
            for one in sorted(listed, key=lambda entry: entry["path"]):
                with contextlib.suppress(MissingError, FileNotFoundError):  # deleted on schedule meanwhile
                    yield one["path"], map(bytes, obstore.get(self._store, one["path"]))

    def put_back(self, area: str, patrol_id: str, sha256: str, source: IO[bytes]) -> None:
        """Store what `everything` gave, as it was."""
        name = secrets.token_hex(16)
        with self.spool.create(name) as part:
            while chunk := source.read(_COPIED_BYTES):
                part.write(chunk)
            part.sync()
        with storing():
            self._place(self.spool.path(name), _key(area, patrol_id, sha256))
        self.spool.remove(name)

    def patrols(self, area: str) -> list[str]:
        """The ids of the patrols that have files in an area, or had lately. Raises StorageError."""
        with _reaching():
            found = obstore.list_with_delimiter(self._store, prefix=area)["common_prefixes"]
        return [prefix.rstrip("/").rsplit("/", 1)[-1] for prefix in found]

    def remove(self, area: str, patrol_id: str, keep: Iterable[str] = (), *, before: datetime | None = None) -> int:
        """Delete a patrol's files of one area, but for those with the hashes to `keep`, and only those that came
        `before` a moment; gives how many. Raises StorageError."""
        kept, count = set(keep), 0
        with _reaching():
            for listed in obstore.list(self._store, prefix=f"{area}/{patrol_id}"):
                gone = [
                    one["path"]
                    for one in listed
                    if one["path"].rsplit("/", 1)[-1] not in kept and (before is None or one["last_modified"] < before)
                ]
                if gone:
                    obstore.delete(self._store, gone)
                count += len(gone)
        if self._is_local:
            with contextlib.suppress(OSError):
                (self._root / area / patrol_id).rmdir()
        return count


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """What the store answers, as an error of ours; that a file is missing, or there already, stays what it is."""
    try:
        yield
    except (AlreadyExistsError, MissingError):
        raise
    except BaseError as error:
        # The rest of it shows the library's insides.
        said = str(error).partition("\n")[0]
        raise StorageError(f"the file store failed: {said}", remedy="try again later; is the store running?") from error


def _key(area: str, patrol_id: str, sha256: str) -> str:
    return f"{area}/{patrol_id}/{sha256}"
