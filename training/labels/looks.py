"""How pictures look in a few hundred bytes: perceptual hashes, and which pictures of a set look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vision.pictures.media import Rgb

THUMB = 16
# Look-alikes: so many of 63 bits may differ, and the thumbnails' correlation must reach so much.
MAX_BITS = 16
MIN_CORRELATION = 0.85
_BLOCK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """`bits`: a 63-bit perceptual hash; `thumb` (256,) uint8: the grey picture at 16×16."""

    bits: int
    thumb: npt.NDArray[np.uint8]


def look_of(pixels: Rgb) -> Look:
    """The look of RGB pixels (height, width, 3) of any size.

    The hash takes the signs about the median of the 8×8 lowest frequencies, without the mean, of the picture at 32×32
    (pHash: C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, section 3.2.1).
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:8, :8].reshape(-1)[1:]
    bits = 0
    for bit in low > np.median(low):
        bits = bits << 1 | int(bit)
    thumb = cv2.resize(small, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return Look(bits, np.asarray(thumb, dtype=np.uint8).reshape(-1))


def alike(looks: Sequence[Look], max_bits: int = MAX_BITS) -> list[tuple[int, int, int]]:
    """Pairs (i, j, differing bits) with i < j whose hashes are close and whose thumbnails agree.

    Every picture is compared with every other one, in blocks: 20,000 pictures take some seconds.
    """
    if len(looks) < 2:
        return []
    bits = np.array([look.bits for look in looks], dtype=np.uint64)
    thumbs = np.stack([look.thumb for look in looks]).astype(np.float32)
    thumbs -= thumbs.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(thumbs, axis=1, keepdims=True)
    # A picture of one colour has no look: it is like no other.
    thumbs = np.divide(thumbs, norms, out=np.zeros_like(thumbs), where=norms > 1.0)
    pairs = []
    for start in range(0, len(bits), _BLOCK):
        apart = np.bitwise_count(bits[start : start + _BLOCK, None] ^ bits[None, start:])
        rows, columns = np.nonzero(apart <= max_bits)
        later = columns > rows
        for i, j in zip(rows[later].tolist(), columns[later].tolist(), strict=True):
            if float(thumbs[start + i] @ thumbs[start + j]) >= MIN_CORRELATION:
                pairs.append((start + i, start + j, int(apart[i, j])))
    return pairs


class Groups:
    """Union-find over the numbers 0 to n - 1."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def find(self, i: int) -> int:
        """The representative of the group of i."""
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make the groups of i and j one; the lower number represents it."""
        a, b = sorted((self.find(i), self.find(j)))
        self._parent[b] = a
