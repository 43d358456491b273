"""Single pieces of litter cut out of pictures that show them on a white board."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

# Longest side of a real piece in metres, by material: our own estimates from everyday things.
MATERIAL_SIZES_M: dict[str, tuple[float, float]] = {
    "paper": (0.08, 0.30),
    "plastic": (0.08, 0.32),
    "metal": (0.07, 0.15),
    "cardboard": (0.15, 0.50),
    "glass": (0.12, 0.30),
    "trash": (0.06, 0.25),
}


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A cut-out: `bgra` (h, w, 4) with a soft alpha channel, cropped to the piece; `material` names its sizes."""

    bgra: Image
    material: str

    @property
    def size_range_m(self) -> tuple[float, float]:
        """Shortest and longest usual length of its longer side, metres."""
        return MATERIAL_SIZES_M.get(self.material, (0.08, 0.3))


def board(picture: Image) -> npt.NDArray[np.float32]:
    """The empty board under uneven light: a quadratic fitted to the picture's border, channel by channel (h, w, 3).

    Fitted twice, the second time without the border pixels that lie far off (a piece or a shadow touching the edge).
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width - 0.5, y / height - 0.5
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    rim = max(4, min(height, width) // 24)
    border = np.ones((height, width), dtype=bool)
    border[rim:-rim, rim:-rim] = False
    index = np.flatnonzero(border.ravel())
    values = picture.reshape(-1, 3).astype(np.float32)
    fitted = np.linalg.lstsq(terms[index], values[index], rcond=None)[0]
    residual = np.abs(values[index] - terms[index] @ fitted).max(axis=1)
    index = index[residual <= max(6.0, float(np.percentile(residual, 80)))]
    fitted = np.linalg.lstsq(terms[index], values[index], rcond=None)[0]
    return np.asarray((terms @ fitted).reshape(height, width, 3), dtype=np.float32)


def cut(picture: Image, material: str) -> Piece | None:
    """The one whole piece on a white board, or None where it fills the frame, is cut by it, or does not stand out.

    `picture` (h, w, 3) BGR. A shadow (darker, same hue) is left behind.
    """
    empty = np.clip(board(picture), 1, 255)
    if empty.mean() < 90:  # no white board at all
        return None
    ratio = picture.astype(np.float32) / empty
    hue = ratio.max(axis=2) - ratio.min(axis=2)
    dark = 1.0 - ratio.mean(axis=2)
    edges = cv2.Laplacian(cv2.GaussianBlur(picture, (3, 3), 0), cv2.CV_32F)
    rough = cv2.boxFilter(np.abs(edges).max(axis=2), -1, (5, 5))
    likely = (hue > 0.10) | (dark > 0.35) | (dark < -0.12) | ((rough > 9) & (np.abs(dark) > 0.04))
    mask = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[(np.abs(dark) < 0.03) & (hue < 0.03) & (rough < 4)] = cv2.GC_BGD
    mask[(hue > 0.22) | (dark > 0.55)] = cv2.GC_FGD
    if not (np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).any() and (mask == cv2.GC_BGD).any()):
        return None
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, mask, None, *models, 2, cv2.GC_INIT_WITH_MASK)
    solid = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    solid = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(solid)
    if count < 2:
        return None
    best = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, w, h, area = (int(v) for v in stats[best])
    height, width = solid.shape
    whole = x > 2 and y > 2 and x + w < width - 2 and y + h < height - 2
    if not whole or not 0.02 < area / (width * height) < 0.6 or area < 0.25 * w * h:
        return None
    outlines, _ = cv2.findContours((parts == best).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(solid)
    cv2.drawContours(filled, outlines, -1, 255, cv2.FILLED)
    alpha = cv2.GaussianBlur(cv2.erode(filled, np.ones((3, 3), np.uint8)), (5, 5), 0)
    bgra = np.dstack([picture, alpha])[y : y + h, x : x + w]
    return Piece(np.ascontiguousarray(bgra), material)


def cut_folder(folder: Path) -> Iterator[tuple[str, Piece]]:
    """The whole pieces of a folder with one sub-folder per material, in file order, with their file names."""
    for path in sorted(folder.glob("*/*.jpg")):
        picture = cv2.imread(str(path))
        piece = None if picture is None else cut(np.asarray(picture, dtype=np.uint8), path.parent.name)
        if piece is not None:
            yield path.stem, piece


def write_pieces(folder: Path, out: Path) -> int:
    """Cut-outs as PNG under `out`/material; returns how many were whole."""
    count = 0
    for name, piece in cut_folder(folder):
        target = out / piece.material / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), piece.bgra)
        count += 1
    return count


def read_pieces(folder: Path) -> list[Piece]:
    """Cut-outs written by `write_pieces`, in file order."""
    found = []
    for path in sorted(folder.glob("*/*.png")):
        bgra = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if bgra is not None and bgra.ndim == 3 and bgra.shape[2] == 4:
            found.append(Piece(np.asarray(bgra, dtype=np.uint8), path.parent.name))
    return found
