"""Litter at its true size: geometry of the drawn street, cut-outs, laid pieces, windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.composites.clutter import UPRIGHT, scatter, stud, stud_make, stud_row
from training.composites.composite import Composite, drawn_scene, lay, make_all, on_picture, read, scrap, window, write
from training.composites.ground import FloatImage, View, draw_street
from training.composites.pieces import Piece, cut, read_pieces, write_pieces
from training.composites.roadside import guard_rail, painted_kerb, plain_wall, rubble, shrub, strip
from training.sources import Label, Picture

Clutter = Callable[[np.random.Generator, View, FloatImage, tuple[float, float]], None]
PATROL = View(focal=1350.0, height_m=1.8, horizon=100.0, centre=240.0, size=480)


def square_piece(side: int = 60, material: str = "metal") -> Piece:
    """An opaque red square."""
    bgra = np.zeros((side, side, 4), np.uint8)
    bgra[..., 2:] = 255
    return Piece(bgra, material)


def on_board(shift: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A blue disc of radius 40 on an unevenly lit white board, 256×192."""
    y, x = np.mgrid[0:192, 0:256].astype(np.float32)
    light = 225 - 25 * ((x - 128) / 128) ** 2 - 10 * ((y - 96) / 96) ** 2
    picture = np.repeat(light[..., None], 3, axis=2)
    cv2.circle(picture, (128 + shift, 96), 40, (180, 60, 30), cv2.FILLED)
    return np.clip(picture + np.random.default_rng(0).normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def test_a_can_ten_metres_away_is_sixteen_pixels() -> None:
    """12 cm at 10 m through a focal length of 1,350 pixels: 16.2 pixels."""
    assert 0.12 * PATROL.metre(10) == pytest.approx(16.2)


def test_ground_and_pixels_agree() -> None:
    """Projecting a pixel's ground point gives the pixel's centre back; the sky has no ground."""
    x, z = PATROL.ground()
    assert PATROL.pixel(float(x[300, 400]), float(z[300, 400])) == pytest.approx((400.5, 300.5), abs=1e-2)
    assert np.isinf(z[:100]).all()
    assert np.isfinite(z[102:]).all()


def test_flat_things_look_flatter_the_farther_they_lie() -> None:
    """Seen from 1.8 m: at 1.8 m the flattening is 1/√2, and it falls with distance."""
    assert PATROL.flattening(1.8) == pytest.approx(2**-0.5)
    assert PATROL.flattening(20) < PATROL.flattening(10) < PATROL.flattening(5)


def test_a_laid_piece_has_its_true_width() -> None:
    """A square of 0.4 m at 8 m covers 67 to 96 pixels across, as it is turned; its box holds what changed."""
    rng = np.random.default_rng(3)
    bgr = np.full((480, 480, 3), 120, np.float32)
    box = lay(rng, PATROL, bgr, square_piece(), (0.0, 8.0), 0.4)
    assert box is not None
    width = 0.4 * PATROL.metre(8)
    assert 0.95 * width <= box[2] - box[0] <= 1.45 * width
    red = bgr[..., 2] - bgr[..., 1] > 60
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert box == pytest.approx((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), abs=3)


def test_a_piece_out_of_the_window_is_not_labelled() -> None:
    """What lies beyond the window's edge leaves the picture as it is and gives no box."""
    bgr = np.full((480, 480, 3), 120, np.float32)
    assert lay(np.random.default_rng(0), PATROL, bgr, square_piece(), (40.0, 8.0), 0.4) is None
    assert (bgr == 120).all()


def test_the_whole_piece_is_cut_out_of_the_board() -> None:
    """The disc comes out whole: 80 pixels wide, opaque inside, clear at the corners."""
    piece = cut(on_board(), "plastic")
    assert piece is not None
    height, width = piece.bgra.shape[:2]
    assert abs(width - 80) <= 6
    assert abs(height - 80) <= 6
    assert piece.bgra[height // 2, width // 2, 3] == 255
    assert piece.bgra[0, 0, 3] == 0


def test_a_piece_cut_by_the_frame_is_left_out() -> None:
    """A disc that runs out of the picture is no whole piece; an empty board is none at all."""
    assert cut(on_board(shift=100), "plastic") is None
    empty = np.full((192, 256, 3), 220, np.uint8)
    assert cut(empty, "plastic") is None


def test_cut_outs_survive_the_disk(tmp_path: Path) -> None:
    """Written pieces come back with their material and pixels."""
    (tmp_path / "in" / "plastic").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "in" / "plastic" / "one.jpg"), on_board())
    cv2.imwrite(str(tmp_path / "in" / "plastic" / "two.jpg"), on_board(shift=100))
    assert write_pieces(tmp_path / "in", tmp_path / "out") == 1
    (piece,) = read_pieces(tmp_path / "out")
    assert piece.material == "plastic"
    assert piece.bgra.shape[2] == 4


def test_the_same_seed_draws_the_same_street() -> None:
    """Two scenes of one seed are equal in pixels and labels; another seed gives another."""
    pieces = [square_piece()]
    one, two, other = (drawn_scene(np.random.default_rng(seed), pieces, [], 160) for seed in (4, 4, 5))
    assert (one.bgr == two.bgr).all()
    assert one.labels == two.labels
    assert (one.bgr != other.bgr).any()


def test_drawn_scenes_label_what_they_lay() -> None:
    """Over twenty scenes there are labelled pieces and clean streets; boxes lie inside; only waste is known."""
    scenes = [drawn_scene(np.random.default_rng(seed), [square_piece()], [], 160) for seed in range(20)]
    counts = [sum(label.name == "garbage" for label in made.labels) for made in scenes]
    assert max(counts) > 0
    assert min(counts) == 0
    assert all("waste" not in made.unknown and "adverts" in made.unknown for made in scenes)
    for made in scenes:
        for label in made.labels:
            x0, y0, x1, y1 = label.box
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1


def test_streets_have_ground_below_the_horizon_only() -> None:
    """The street's distance grows towards the horizon, row by row."""
    street = draw_street(np.random.default_rng(1), PATROL)
    column = street.z[102:, 240]
    assert (np.diff(column) < 0).all()
    assert street.bgr.shape == (480, 480, 3)


def test_real_pictures_keep_their_labels_and_stay_untouched_there() -> None:
    """Pieces are laid outside the boxes that were there; those labels remain first, and no pixel in them changes."""
    rng = np.random.default_rng(2)
    picture = np.clip(rng.normal(120, 4, (640, 640, 3)), 0, 255).astype(np.uint8)
    label = Label("overflow", (0.3, 0.5, 0.6, 0.95))
    base = Picture(Path("x.jpg"), "s", "train", (label,), frozenset({"adverts"}))
    laid = on_picture(np.random.default_rng(1), [square_piece()], picture, base)
    assert laid is not None
    assert laid.labels[0] == label
    assert len(laid.labels) > 1
    assert laid.unknown == base.unknown
    centre = (slice(350, 580), slice(230, 350))
    assert np.abs(laid.bgr[centre].astype(int) - cv2.GaussianBlur(picture, (0, 0), 0.5)[centre]).max() <= 8


def test_a_wall_of_noise_offers_no_open_ground() -> None:
    """Where nothing is smooth, nothing is laid."""
    picture = np.random.default_rng(0).integers(0, 255, (320, 320, 3)).astype(np.uint8)
    base = Picture(Path("x.jpg"), "s", "train", ())
    assert on_picture(np.random.default_rng(1), [square_piece()], picture, base) is None


def test_windows_keep_pixels_and_cut_boxes() -> None:
    """A window shows the piece at its own pixels; a box that shows less than half becomes a place to ignore."""
    bgr = np.zeros((400, 400, 3), np.uint8)
    bgr[200:220, 200:230] = 255
    labels = (Label("bin", (0.0, 0.0, 1.0, 1.0)), Label("garbage", (0.5, 0.5, 0.575, 0.55)))
    part = window(np.random.default_rng(0), Composite(bgr, labels, frozenset()), 200)
    assert [label.name for label in part.labels] == ["ignore", "garbage"]
    x0, y0, x1, y1 = (round(value * 200) for value in part.labels[1].box)
    assert (x1 - x0, y1 - y0) == (30, 20)
    assert (part.bgr[y0:y1, x0:x1] == 255).all()
    assert part.bgr.sum() == 255 * 3 * 600


def test_drawn_scraps_are_opaque_inside() -> None:
    """A scrap has a solid middle and a clear rim."""
    piece = scrap(np.random.default_rng(0))
    assert piece.bgra[48, 48, 3] == 255
    assert piece.bgra[0, 0, 3] == 0


def test_composites_come_back_as_training_pictures(tmp_path: Path) -> None:
    """`make_all` uses streets and facades for what they know; what `write` stored, `read` gives back."""
    rng = np.random.default_rng(0)
    for name in ("street", "facade"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.clip(rng.normal(120, 3, (240, 240, 3)), 0, 255))
    street = Picture(tmp_path / "street.jpg", "a", "train", (), frozenset({"adverts", "private"}))
    facade = Picture(tmp_path / "facade.jpg", "b", "train", (), frozenset({"waste", "private"}))
    made = make_all([square_piece()], [street, facade], drawn=2, pasted=5, side=160, seed=1)
    assert [name for name, _ in made] == ["drawn00000", "drawn00001", "pasted00000"]
    write(made, tmp_path / "out")
    pictures = read(tmp_path / "out")
    assert [p.path.stem for p in pictures] == [name for name, _ in made]
    assert pictures[2].unknown == street.unknown
    assert pictures[2].labels == made[2][1].labels


def test_road_markers_are_drawn_and_never_labelled() -> None:
    """A raised marker changes the ground where it stands and nowhere far from it; its row keeps even steps."""
    view = View(focal=900, height_m=1.7, horizon=-100, centre=160, size=320)
    bgr = np.full((320, 320, 3), 100, np.float32)
    rng = np.random.default_rng(4)
    stud(rng, view, bgr, (0.0, 5.0), stud_make(rng))
    rows, columns = np.nonzero(np.abs(bgr - 100).max(2) > 20)
    u, v = view.pixel(0.0, 5.0)
    assert len(rows) > 40
    assert np.hypot(rows - v, columns - u).max() < 0.25 * view.metre(5.0)
    row = np.array(stud_row(np.random.default_rng(9), (1.0, 6.0)))
    steps = np.linalg.norm(np.diff(row, axis=0), axis=1)
    assert len(row) > 2
    assert np.ptp(steps) < 1e-6


@pytest.mark.parametrize("draw", [guard_rail, painted_kerb, rubble, shrub])
def test_what_stands_beside_roads_is_drawn_the_same_from_the_same_seed(draw: Clutter) -> None:
    """Some of twenty tries show in the window; colours stay within a picture's range; a seed gives one drawing."""
    shown = 0
    for seed in range(20):
        first, second = (np.full((480, 480, 3), 120, np.float32) for _ in range(2))
        for bgr in (first, second):
            draw(np.random.default_rng(seed), PATROL, bgr, (0.0, 8.0))
        assert (first == second).all()
        assert first.min() >= 0
        assert first.max() <= 255
        shown += bool((first != 120).any())
    assert shown >= 10


def test_a_strip_stands_on_its_ground_points() -> None:
    """Its lower edge lies where the ground is, its upper one its height above, by the scale of its distance."""
    upper, lower = strip(PATROL, [(0.0, 9.0)], 0.0, 0.5)
    assert lower == pytest.approx(PATROL.pixel(0.0, 9.0))
    assert lower[1] - upper[1] == pytest.approx(0.5 * PATROL.metre(9.0))


def test_what_upright_things_cover_is_told() -> None:
    """Litter must not be laid where a rail or a shrub hides the ground: those pixels are the ones that changed."""
    for seed in range(12):
        bgr = np.full((480, 480, 3), 120, np.float32)
        covered = scatter(np.random.default_rng(seed), PATROL, bgr)
        assert not covered[(bgr == 120).all(axis=2)].any()
    assert {guard_rail, painted_kerb, shrub} <= UPRIGHT


def test_a_plain_wall_is_a_picture() -> None:
    """Its size, and colours that a picture can hold."""
    wall = plain_wall(np.random.default_rng(4), 320, 200)
    assert wall.shape == (200, 320, 3)
    assert wall.min() >= 0
    assert 60 < wall.mean() < 245
