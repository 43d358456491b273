"""The pictures of a data set: found by name, never by order, and looked at once."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from training.labels.kinds import LabelFault
from training.labels.looks import look_of
from training.labels.values import LabelledBox, LabelledPicture, Seen, Xyxy
from vision.errors import MediaError
from vision.pictures.media import MAX_PICTURE_BYTES, decode, find_media, picture_header

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".mpo", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# Label Studio puts eight hexadecimal digits before the name of an uploaded file.
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
# What vision.pictures.media says -> our kind, first match.
_KINDS_BY_WORDS = (
    ("empty", "picture-empty"),
    ("too many", "picture-huge"),
    ("not a JPEG or PNG", "picture-not"),
    ("cut off", "picture-cut-off"),
)


class Album:
    """The picture files under a folder, by path and by name; each is read at most once."""

    def __init__(self, root: Path, folders: Iterable[Path] | None = None) -> None:
        self.root = root
        self.paths = find_media(list(folders) if folders is not None else [root], SUFFIXES)
        self._names = {path: self._name(path) for path in self.paths}
        self._by_tail: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._by_tail[path.name].append(path)
        self._seen: dict[Path, Seen | LabelFault] = {}

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def name(self, path: Path) -> str:
        """The picture's path under the folder."""
        return self._names.get(path) or self._name(path)

    def find(self, reference: str, beside: str = "") -> Path | LabelFault:
        """The one picture that an annotation means: by path, else by the longest tail of the path that is unique.

        `reference` may be a path, an address (`s3://…`, `/data/local-files/?d=…`) or carry an upload prefix;
        `beside` is the annotation's own folder under the root.
        """
        address = urlsplit(reference.replace("\\", "/"))
        query = re.search(r"(?:^|&)d=([^&]+)", address.query)
        plain = unquote(query[1] if query else address.path or reference)
        parts = [part for part in PurePosixPath(plain).parts if part not in ("/", ".", "..")]
        if not parts:
            return LabelFault("picture-missing", reference or "(no name)", "the annotation names no picture")
        last = [parts[-1]]
        if without := _UPLOAD_PREFIX.sub("", parts[-1]):
            last.append(without)
        for tail in dict.fromkeys(last):
            candidates = self._by_tail.get(tail, [])
            if len(candidates) > 1:
                wanted = [*parts[:-1], tail]
                candidates = _closest(candidates, wanted, [*PurePosixPath(beside).parts, *wanted])
            if len(candidates) == 1:
                return candidates[0]
            if candidates:
                names = ", ".join(self.name(path) for path in candidates[:3])
                return LabelFault("picture-ambiguous", reference, f"may be any of {names}")
        return LabelFault("picture-missing", reference, "no such picture in the folder")

    def see(self, path: Path) -> Seen | LabelFault:
        """What the file holds, or why it cannot be used."""
        if path not in self._seen:
            self._seen[path] = _see(path, self.name(path))
        return self._seen[path]

    def left_over(
        self, used: Container[Path], faults: Sequence[LabelFault], kind: str, reason: str
    ) -> list[LabelFault]:
        """A fault for each picture that is neither used nor spoken of yet: `kind`, or why it cannot be read."""
        spoken = {fault.picture for fault in faults} | {fault.file for fault in faults}
        found = []
        for path in self.paths:
            name = self.name(path)
            if path not in used and name not in spoken:
                seen = self.see(path)
                found.append(seen if isinstance(seen, LabelFault) else LabelFault(kind, name, reason, name))
        return found

    def picture(
        self,
        path: Path,
        seen: Seen,
        boxes: Iterable[LabelledBox],
        known: frozenset[str],
        *,
        labels: str,
        split: str = "",
        size_stated: bool = False,
    ) -> LabelledPicture:
        """A labelled picture of this album."""
        return LabelledPicture(
            path=path,
            name=self.name(path),
            seen=seen,
            boxes=tuple(boxes),
            known=known,
            split=split,
            labels=labels,
            size_stated=size_stated,
        )


def _closest(candidates: list[Path], *wanted: list[str]) -> list[Path]:
    """The candidates that share the longest tail with one of the wanted paths."""

    def shared(path: Path, parts: list[str]) -> int:
        count = 0
        for mine, theirs in zip(reversed(path.parts), reversed(parts), strict=False):
            if mine != theirs:
                break
            count += 1
        return count

    scores = {path: max(shared(path, parts) for parts in wanted) for path in candidates}
    best = max(scores.values())
    return [path for path, score in scores.items() if score == best]


def _see(path: Path, name: str) -> Seen | LabelFault:
    try:
        size = path.stat().st_size
        if size > MAX_PICTURE_BYTES:
            return LabelFault("picture-huge", name, f"the file has {size / 1e6:.0f} MB", name)
        data = path.read_bytes()
    except FileNotFoundError:
        return LabelFault("picture-missing", name, "no such file", name)
    except OSError as error:
        return LabelFault("picture-unreadable", name, str(error.strerror), name)
    if not data:
        return LabelFault("picture-empty", name, "the file has no bytes", name)
    try:
        header = picture_header(data, path)
        pixels = decode(data, header, (64, 64))
    except MediaError as error:
        kind = next((kind for words, kind in _KINDS_BY_WORDS if words in error.message), "picture-unreadable")
        return LabelFault(kind, name, error.message, name)
    return Seen(
        size_wh=header.size_wh,
        orientation=header.orientation,
        taken_at=header.taken_at,
        gps=header.gps,
        sha256=hashlib.sha256(data).hexdigest(),
        is_png=data.startswith(b"\x89PNG"),
        look=look_of(pixels),
    )


def fit(
    boxes: Iterable[LabelledBox], stated_wh: tuple[float, float] | None, seen: Seen, where: str, name: str
) -> tuple[list[LabelledBox], list[LabelFault]] | LabelFault:
    """The boxes in pixels of the upright file, given the picture size that the annotation states.

    Equal sizes change nothing; the same aspect scales; a size that fits only before EXIF orientation, or none at all,
    is a fault: then boxes and picture do not belong together.
    """
    found = list(boxes)
    (w, h), (sw, sh) = seen.size_wh, stated_wh or seen.size_wh
    if (sw, sh) == (w, h):
        return found, []
    if (sw, sh) == (float(h), float(w)) and seen.stored_wh != seen.size_wh:
        reason = f"labelled at {sw:g}×{sh:g}, but EXIF turns the picture to {w}×{h}"
        return LabelFault("exif-rotated", where, reason, name)
    # Both sides of a resized picture are rounded to whole pixels, hence a pixel of slack on the smaller picture.
    if sw <= 0 or sh <= 0 or abs(sw * h - sh * w) > max(w, h, sw, sh):
        return LabelFault("size-mismatch", where, f"labelled at {sw:g}×{sh:g}, the file has {w}×{h}", name)
    note = LabelFault("size-scaled", where, f"labelled at {sw:g}×{sh:g}, the file has {w}×{h}", name)
    return [scaled(box, w / sw, h / sh) for box in found], [note]


def scaled(box: LabelledBox, x: float, y: float) -> LabelledBox:
    """The box with its coordinates multiplied."""
    x0, y0, x1, y1 = box.xyxy
    corners: Xyxy = (x0 * x, y0 * y, x1 * x, y1 * y)
    return LabelledBox(box.name, corners, box.ignore, box.where)
