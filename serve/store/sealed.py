"""Originals encrypted at rest: AES-256-GCM in chunks, so that a film of gigabytes needs a megabyte of memory.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, CRYPTO 2015): a key of its own for each file, a
counter and a mark of the last chunk in the nonce. Chunks can't be taken out, swapped, or cut off at the end unnoticed,
and a file can't stand in for another one.

A file that is still arriving grows at any byte, which no sealed one can: it is veiled with AES-256-CTR under a key of
its own. That hides it and proves nothing; the announced SHA-256 does, before the file is sealed.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from serve.errors import SettingsError

_MAGIC = b"JJSEAL1\n"
_SALT, _TAG, _CHUNK, _BLOCK = 32, 16, 1024**2, 16
# How a veiled file begins; sixteen bytes that no camera writes.
_VEIL_MAGIC = bytes.fromhex("4a4a5645494c310aa7c3f09b5ed1846f")
VEIL_HEAD = len(_VEIL_MAGIC) + _SALT


@dataclass(frozen=True, slots=True)
class Veil:
    """Hides one file's bytes, wherever they stand in it."""

    key: bytes

    def turn(self, data: bytes | memoryview, offset: int) -> bytes:
        """Plain bytes that belong at `offset` into hidden ones, and hidden ones into plain ones."""
        skipped = offset % _BLOCK
        stream = Cipher(AES(self.key), CTR((offset // _BLOCK).to_bytes(_BLOCK, "big"))).encryptor()
        stream.update(bytes(skipped))
        return stream.update(data)


class Sealer:
    """Seals and opens files with one master key: 32 bytes in base64. Raises SettingsError for anything else."""

    def __init__(self, key: str) -> None:
        try:
            self._key = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            self._key = b""
        if len(self._key) != 32:
            raise SettingsError(
                "the key for originals is not 32 bytes in base64",
                remedy="set JIEJING_ORIGINALS_KEY to what `openssl rand -base64 32` prints, and keep a copy of it",
            )

    def veil_head(self) -> bytes:
        """What a new veiled file begins with: `VEIL_HEAD` bytes."""
        return _VEIL_MAGIC + secrets.token_bytes(_SALT)

    def veil(self, head: bytes) -> Veil:
        """The veil of a file that begins so."""
        return Veil(self._derived(head[len(_VEIL_MAGIC) :], b"jiejing arriving"))

    def seal(self, plain: BinaryIO, target: Path, name: str) -> None:
        """Write what is read encrypted to a new file, durably; `name` must be given again to open it."""
        salt = secrets.token_bytes(_SALT)
        with target.open("xb") as sealed:
            sealed.write(_MAGIC + salt)
            cipher = self._cipher(salt, name)
            for nonce, chunk in _numbered(plain, _CHUNK):
                sealed.write(cipher.encrypt(nonce, chunk, None))
            sealed.flush()
            os.fsync(sealed.fileno())

    def open(self, sealed: Path, target: Path, name: str) -> None:
        """Write a sealed file's plain bytes to a new file that only this user may read. Raises SettingsError when the
        key is another one or the file was tampered with; the target then does not exist."""
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with sealed.open("rb") as file, os.fdopen(handle, "wb") as plain:
                head = file.read(len(_MAGIC) + _SALT)
                cipher = self._cipher(head[len(_MAGIC) :], name)
                for nonce, chunk in _numbered(file, _CHUNK + _TAG):
                    plain.write(cipher.decrypt(nonce, chunk, None))
        except InvalidTag as error:
            target.unlink()
            raise SettingsError(
                "an original cannot be opened: it was sealed with another key, or changed since",
                remedy="set JIEJING_ORIGINALS_KEY to the key of the time when it was uploaded",
            ) from error

    def _cipher(self, salt: bytes, name: str) -> AESGCM:
        return AESGCM(self._derived(salt, b"jiejing original " + name.encode()))

    def _derived(self, salt: bytes, info: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(self._key)


def is_sealed(path: Path) -> bool:
    """Whether a file was written by `Sealer.seal`."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def is_veiled(head: bytes) -> bool:
    """Whether a file that begins so was begun with `Sealer.veil_head`."""
    return len(head) >= VEIL_HEAD and head.startswith(_VEIL_MAGIC)


def _numbered(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The file's chunks, each with its nonce: 11 bytes of counter, one that marks the last. An empty file has one."""
    number, chunk = 0, file.read(size)
    while True:
        following = file.read(size)
        yield number.to_bytes(11, "big") + (b"\0" if following else b"\1"), chunk
        if not following:
            return
        number, chunk = number + 1, following
