"""Large pictures in parts: tiles cover all, what an edge cuts is left to the neighbour, nothing is told twice."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pictures import street
from vision.boxes import iou
from vision.detecting.detector import Detector
from vision.detecting.tiling import OVERLAP, merged, tiles_of, whole_ones
from vision.pictures.media import Rgb, decode, picture_header, read_bytes
from vision.pictures.resize import resize
from vision.shipped import dataset_folder


def read(path: Path) -> Rgb:
    data = read_bytes(path)
    return decode(data, picture_header(data, path))


sides = st.integers(100, 6000)


@given(sides, sides, st.integers(3, 40), st.integers(3, 40))
def test_every_small_thing_lies_whole_in_some_tile(width: int, height: int, tile_w: int, tile_h: int) -> None:
    tile_wh = (32 * tile_w, 32 * tile_h)
    tiles = tiles_of((width, height), tile_wh)
    if not tiles:
        assert width <= (1 + OVERLAP) * tile_wh[0]
        assert height <= (1 + OVERLAP) * tile_wh[1]
        return
    for (low, high), length, tile in (((0, 2), width, tile_wh[0]), ((1, 3), height, tile_wh[1])):
        spans = sorted({(t[low], t[high]) for t in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert all(b - a == min(tile, length) for a, b in spans)
        assert all(before[1] - after[0] >= OVERLAP * tile - 1 for before, after in itertools.pairwise(spans))


def test_boxes_at_inner_edges_are_dropped_and_those_at_the_pictures_edge_kept() -> None:
    rows = np.array([[0.0, 10, 30, 40, 0.9, 0], [40, 40, 60, 60, 0.8, 1], [70, 5, 100, 20, 0.7, 2]])
    left = whole_ones(rows, (0, 0, 100, 100), (180, 100))
    assert left[:, 5].tolist() == [0, 1]  # the third ends at the tile's right edge, where the picture goes on
    right = whole_ones(rows, (80, 0, 180, 100), (180, 100))
    assert right[:, 5].tolist() == [1, 2]
    assert right[0, :4].tolist() == [120, 40, 140, 60]


def test_two_looks_at_one_thing_are_one_row_and_two_classes_stay_two() -> None:
    whole = np.array([[100.0, 100, 140, 150, 0.4, 0]])
    part = np.array([[102.0, 101, 141, 149, 0.9, 0], [102.0, 101, 141, 149, 0.3, 1]])
    found = merged([whole, part], 300)
    assert found[:, 4].tolist() == [0.9, 0.3]


def test_a_detector_with_tiles_finds_what_is_small_and_tells_nothing_twice() -> None:
    """A street as a ninth of a large picture: in parts its things are found as in the picture alone."""
    small = resize(read(sorted(dataset_folder("sample-patrol").glob("pass-1/*.jpg"))[14]), (640, 480))
    large = np.full((1440, 1920, 3), 114, np.uint8)
    large[900:1380, 1200:1840] = small
    alone = Detector.load(threads=1, input_wh=(640, 480)).detect(small, min_score=0.2)
    assert len(alone), "the drawn street shows nothing: the test would prove nothing"
    tiled = Detector.load(threads=1, input_wh=(640, 480), tiles=True).detect(large, min_score=0.2)
    moved = alone.boxes_xyxy + np.array([1200, 900, 1200, 900])
    best = iou(moved, tiled.boxes_xyxy).max(axis=1)
    assert (best > 0.6).mean() >= 0.7
    for name in set(tiled.names()):
        own = tiled.of_classes(frozenset({name})).boxes_xyxy
        pairs = iou(own, own) - np.eye(len(own))
        assert pairs.max(initial=0.0) <= 0.51


def test_pixels_that_were_decoded_smaller_are_looked_at_whole() -> None:
    detector = Detector.load(threads=1, input_wh=(320, 256), tiles=True)
    picture = street(640, 480, seed=3)
    plain = Detector.load(threads=1, input_wh=(320, 256))
    want, got = (d.detect(picture, size_wh=(2560, 1920), min_score=0.1) for d in (plain, detector))
    assert got.boxes_xyxy.tolist() == pytest.approx(want.boxes_xyxy.tolist())
