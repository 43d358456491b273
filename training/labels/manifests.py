"""manifest.toml and checksums.sha256 of a data set folder: written by imports, held against the files by checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.labels.kinds import LabelFault
from training.labels.reading import Manifest
from training.labels.values import LabelledPicture

CHECKSUMS = "checksums.sha256"


def checksum_lines(root: Path, pictures: Iterable[LabelledPicture], more: Iterable[Path] = ()) -> list[str]:
    """One line per file in the form of `sha256sum`: the pictures, their label files and `more`, by name."""
    sums = {picture.name: picture.sha256 for picture in pictures}
    files = {root / picture.labels for picture in pictures if picture.labels} | set(more)
    for file in files:
        if file.is_file():
            sums[file.relative_to(root).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    return [f"{value}  {name}" for name, value in sorted(sums.items())]


def digest(root: Path, pictures: Iterable[LabelledPicture]) -> str:
    """The one checksum of a data set: SHA-256 over `name sha256` lines of pictures and label files, by name."""
    total = hashlib.sha256()
    for picture in sorted(pictures, key=lambda picture: picture.path.name):
        label = root / picture.labels
        content = label.read_bytes() if picture.labels and label.is_file() else b""
        total.update(f"{picture.path.name} {picture.sha256}\n".encode())
        total.update(f"{picture.path.stem}.txt {hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def checksum_faults(root: Path, manifest: Manifest, pictures: Sequence[LabelledPicture]) -> list[LabelFault]:
    """Files that are not what the manifest and checksums.sha256 promise; nothing where no checksum is stated."""
    stated = manifest.raw.get("checksum", {})
    listed = _listed(root / CHECKSUMS)
    faults = _other_files(root, stated.get("files", {}))
    if not stated.get("sha256") and not listed:
        return faults
    lines = checksum_lines(root, pictures, (root / name for name in listed))
    sums = {line[66:]: line[:64] for line in lines}
    for name, value in listed.items():
        if name not in sums:
            if not (root / name).is_file():
                faults.append(LabelFault("manifest-checksum", name, "listed, but not there"))
        elif sums[name] != value:
            faults.append(LabelFault("manifest-checksum", name, "its content is not what was listed"))
    if listed:
        faults += [
            LabelFault("manifest-checksum", name, "not listed in checksums.sha256")
            for name in sums
            if name not in listed
        ]
    if stated.get("sha256") and digest(root, pictures) != stated["sha256"]:
        reason = "the data are not those that the manifest describes"
        faults.append(LabelFault("manifest-checksum", manifest.path.name, reason))
    return faults


def _other_files(root: Path, stated: Mapping[str, str]) -> list[LabelFault]:
    """Splits and further boxes that are not what `[checksum.files]` says: another split leaks, other boxes teach."""
    faults = []
    for name, value in stated.items():
        file = root / name
        if not file.is_file():
            faults.append(LabelFault("manifest-checksum", name, "listed, but not there"))
        elif hashlib.sha256(file.read_bytes()).hexdigest() != value:
            faults.append(LabelFault("manifest-checksum", name, "its content is not what was listed"))
    return faults


def _listed(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
    return {row[1].strip(): row[0] for row in rows if len(row) == 2}


def toml_text(values: Mapping[str, Any]) -> str:
    """A TOML document of strings, numbers, booleans, lists of them, and tables of such one level deep."""
    plain = [f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    tables = [
        "\n".join([f"\n[{key}]", *(f"{_key(name)} = {_toml(item)}" for name, item in value.items())])
        for key, value in values.items()
        if isinstance(value, Mapping)
    ]
    return "\n".join([*plain, *tables]) + "\n"


def _key(name: object) -> str:
    text = str(name)
    return text if text.isascii() and text.replace("-", "").replace("_", "").isalnum() else _toml(text)


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return "[" + ", ".join(_toml(item) for item in items) + "]"
    # JSON's strings, numbers and booleans are TOML's too; 0x7f alone must be escaped in TOML and is not in JSON.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
