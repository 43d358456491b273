"""Training pictures of small litter at its true size: real pieces laid on drawn streets and on real street pictures.

What a patrol sees is a cup at 10 metres: 16 pixels. Pictures of heaps at arm's length never teach that. Drawn streets
carry no waste but what we lay there; on real pictures the labels that were there stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.composites.brush import blend
from training.composites.clutter import scatter, scrawl, stud, stud_make, stud_row
from training.composites.ground import FloatImage, View, draw_street, f32
from training.composites.pieces import Image, Piece
from training.composites.roadside import plain_wall
from training.composites.windows import window_of
from training.sources import Box, Label, Picture

SMALLEST_PX = 7.0  # below that a piece is neither learned nor punished
FARTHEST_M = 28.0


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A made picture `bgr` (h, w, 3) uint8, its labels, and the groups that stay unknown in it."""

    bgr: Image
    labels: tuple[Label, ...]
    unknown: frozenset[str]


def lay(
    rng: np.random.Generator, view: View, bgr: FloatImage, piece: Piece, at: tuple[float, float], length_m: float
) -> tuple[float, float, float, float] | None:
    """Lay a piece on the ground at (x, z) metres, `length_m` long, with a shadow; its box in pixels, None if unseen.

    The piece is turned, flattened as a flat thing on the ground is (less where it stands up), lit like its place.
    """
    longest = max(piece.bgra.shape[:2])
    target = length_m * view.metre(at[1])
    turned = _turn(piece.bgra, float(rng.uniform(0, 360)))
    factor = target / longest
    flat = view.flattening(at[1])
    upright = rng.uniform(0.0, 0.5) if piece.material in ("paper", "trash", "cardboard") else rng.uniform(0.35, 1.0)
    squash = flat + (1 - flat) * upright
    size = (max(round(turned.shape[1] * factor), 2), max(round(turned.shape[0] * factor * squash), 2))
    shrunk = cv2.resize(turned.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    u, v = view.pixel(*at)
    left, top = round(u - size[0] / 2), round(v - size[1])
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + size[0], view.size), min(top + size[1], view.size)
    if x1 - x0 < 0.6 * size[0] or y1 - y0 < 0.6 * size[1]:
        return None
    alpha = shrunk[y0 - top : y1 - top, x0 - left : x1 - left, 3] / 255
    colour = shrunk[y0 - top : y1 - top, x0 - left : x1 - left, :3]
    ground = bgr[y0:y1, x0:x1].mean((0, 1))
    light = float(np.clip(ground.mean() / 130, 0.45, 1.5)) ** 0.6 * rng.uniform(0.75, 1.2)
    cast = (ground / max(float(ground.mean()), 1.0)) ** 0.35
    dirt = np.float32(rng.uniform(0, 0.25) ** 1.5 * 2)
    colour = np.clip(colour * light * cast, 0, 250) * (1 - dirt) + ground * 0.8 * dirt
    _cast_shadow(rng, bgr, alpha, x0, y0)
    # Seen through the alpha, premultiplied at the resize: edges keep the piece's own colour.
    bgr[y0:y1, x0:x1] += (colour - bgr[y0:y1, x0:x1]) * alpha[..., None]
    rows, columns = np.flatnonzero(alpha.max(1) > 0.35), np.flatnonzero(alpha.max(0) > 0.35)
    if not len(rows) or not len(columns):
        return None
    return float(x0 + columns[0]), float(y0 + rows[0]), float(x0 + columns[-1] + 1), float(y0 + rows[-1] + 1)


def _turn(bgra: Image, degrees: float) -> Image:
    height, width = bgra.shape[:2]
    side = int(np.ceil(np.hypot(height, width)))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += (side - width) / 2, (side - height) / 2
    turned = cv2.warpAffine(bgra, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(bgra[..., 3], matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=0)
    turned[..., 3] = inside
    rows, columns = np.flatnonzero(inside.max(1)), np.flatnonzero(inside.max(0))
    if not len(rows):
        return bgra
    return np.ascontiguousarray(turned[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _cast_shadow(rng: np.random.Generator, bgr: FloatImage, alpha: FloatImage, x0: int, y0: int) -> None:
    height, width = alpha.shape
    pad = max(height, width) // 2 + 2
    mask = np.zeros((height + 2 * pad, width + 2 * pad), np.float32)
    dx, dy = rng.uniform(-0.25, 0.25) * width, rng.uniform(0.02, 0.15) * height
    mask[pad : pad + height, pad : pad + width] = alpha
    shift = f32([[1, 0, dx], [0, 1, dy]])
    mask = cv2.warpAffine(mask, shift, mask.shape[::-1])
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.08 * max(height, width), 0.5)) * rng.uniform(0.2, 0.65)
    top, left = max(y0 - pad, 0), max(x0 - pad, 0)
    bottom, right = min(y0 + height + pad, bgr.shape[0]), min(x0 + width + pad, bgr.shape[1])
    part = mask[top - y0 + pad : bottom - y0 + pad, left - x0 + pad : right - x0 + pad]
    bgr[top:bottom, left:right] *= 1 - part[..., None]


def scrap(rng: np.random.Generator) -> Piece:
    """A drawn piece: a crumpled bag or a torn sheet, uneven and shaded in folds."""
    side = 96
    canvas = View(focal=side, height_m=1e3, horizon=-1e3, centre=side / 2, size=side)
    turn = np.linspace(0, 2 * np.pi, 11, endpoint=False)
    reach = side * 0.42 * np.clip(1 + 0.25 * rng.standard_normal(11), 0.45, 1.1)
    shape = np.stack([side / 2 + reach * np.cos(turn), side / 2 + reach * rng.uniform(0.5, 1) * np.sin(turn)], axis=1)
    alpha = np.zeros((side, side), np.uint8)
    cv2.fillPoly(alpha, [shape.astype(np.int32)], 255, cv2.LINE_AA)
    palette = (
        (235, 235, 235),
        (225, 230, 235),
        (30, 30, 30),
        (60, 60, 190),
        (180, 110, 50),
        (90, 170, 60),
        (60, 190, 225),
    )
    base = f32(palette[int(rng.integers(len(palette)))])
    folds = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), rng.uniform(3, 9))
    light = 0.88 + 0.22 * folds / max(float(folds.std()), 1e-6) * rng.uniform(0.3, 1)
    colour = np.clip(base * light[..., None], 0, 255)
    for _ in range(int(rng.integers(0, 4))):
        spot = f32([side * rng.random(2) for _ in range(4)])
        print_mask = np.zeros((canvas.size, canvas.size), np.float32)
        cv2.fillPoly(print_mask, [spot.astype(np.int32)], 0.6)
        blend(colour, print_mask, rng.uniform(20, 230, 3))
    return Piece(np.dstack([colour, alpha]).astype(np.uint8), "bag" if rng.random() < 0.4 else "paper")


def spots(rng: np.random.Generator, view: View, nearness: FloatImage, count: int) -> list[tuple[float, float]]:
    """Ground points (x, z) in view, drawn with probability by `nearness` (h, w), in loose groups."""
    found: list[tuple[float, float]] = []
    weights = nearness.ravel().astype(np.float64)
    if weights.sum() <= 0:
        return found
    weights /= weights.sum()
    while len(found) < count:
        v, u = divmod(int(rng.choice(weights.size, p=weights)), view.size)
        z = view.focal * view.height_m / max(v + 0.5 - view.horizon, 0.5)
        x = (u + 0.5 - view.centre) * z / view.focal
        for _ in range(min(1 + int(rng.geometric(0.45)), count - len(found))):
            found.append((x + rng.normal(0, 0.35), max(z + rng.normal(0, 0.45), 1.2)))
    return found


def litter(
    rng: np.random.Generator,
    view: View,
    bgr: FloatImage,
    pieces: Sequence[Piece],
    where: FloatImage,
    count: int,
    smallest_px: float = SMALLEST_PX,
) -> list[Label]:
    """Lay `count` pieces where `where` (h, w) is above zero; the labels of those that show."""
    labels = []
    for at in sorted(spots(rng, view, where, count), key=lambda spot: -spot[1]):
        drawn = rng.random() < 0.2 or not pieces
        piece = scrap(rng) if drawn else pieces[int(rng.integers(len(pieces)))]
        low, high = (0.2, 0.5) if piece.material == "bag" else piece.size_range_m
        u, v = view.pixel(*at)
        if at[1] > FARTHEST_M or not (0 <= u < view.size and 0 <= v < view.size) or where[int(v), int(u)] <= 0:
            continue
        box = lay(rng, view, bgr, piece, at, float(rng.uniform(low, high)))
        if box is not None:
            labels.append(_label(box, view.size, smallest_px))
    return labels


def _label(box: Box, size: int, smallest_px: float) -> Label:
    x0, y0, x1, y1 = box
    if max(x1 - x0, y1 - y0) >= smallest_px:
        return Label("garbage", (x0 / size, y0 / size, x1 / size, y1 / size))
    grown = (max(x0 - 4, 0), max(y0 - 4, 0), min(x1 + 4, size), min(y1 + 4, size))
    return Label("ignore", (grown[0] / size, grown[1] / size, grown[2] / size, grown[3] / size))


def finish(rng: np.random.Generator, bgr: FloatImage) -> Image:
    """Lens, haze, motion, sensor and JPEG of a patrol camera."""
    if rng.random() < 0.3:
        bgr = bgr + (rng.uniform(170, 235) - bgr) * rng.uniform(0.05, 0.35)
    bgr = cv2.GaussianBlur(bgr, (0, 0), rng.uniform(0.4, 1.1))
    if rng.random() < 0.3:
        length = int(rng.integers(3, 9))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        bgr = cv2.filter2D(bgr, -1, kernel)
    bgr = bgr * rng.uniform(0.7, 1.3) * f32(rng.uniform(0.96, 1.04, 3))
    if rng.random() < 0.4:  # low sun, dust in the air, a white balance that follows the sand
        bgr = bgr * f32((rng.uniform(0.75, 1.0), 1.0, rng.uniform(1.0, 1.1)))
    noise = rng.standard_normal((*bgr.shape[:2], 3)).astype(np.float32) * rng.uniform(0.5, 5)
    done = np.clip(bgr + noise, 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", done, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 93))])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)


def drawn_scene(
    rng: np.random.Generator, pieces: Sequence[Piece], backdrops: Sequence[Image], size: int = 640
) -> Composite:
    """A window of a full-HD patrol frame: drawn ground, a facade behind, clutter, and litter in three of four."""
    view = View(
        focal=1350 * float(rng.uniform(0.75, 1.25)),
        height_m=float(rng.uniform(1.3, 2.4)),
        horizon=float(rng.uniform(-450, 0.42 * size)),
        centre=float(rng.uniform(-0.9, 1.9)) * size,
        size=size,
    )
    street = draw_street(rng, view)
    bgr = street.bgr
    covered = scatter(rng, view, bgr)
    wall = view.horizon + view.focal * view.height_m / rng.uniform(12, 45)
    if wall > 8 and backdrops:
        if rng.random() < 0.35:
            _stand(rng, bgr, plain_wall(rng, size, size).astype(np.uint8), int(wall))
            for _ in range(int(rng.poisson(0.7))):
                scrawl(rng, view, bgr, (float(rng.normal(0, 5)), 20.0))
        else:
            _stand(rng, bgr, backdrops[int(rng.integers(len(backdrops)))], int(wall))
    rows = np.arange(size, dtype=np.float32)[:, None]
    lowest = view.horizon + view.focal * view.height_m / FARTHEST_M
    nearest = np.min([np.abs(street.across - kerb) for kerb in street.kerbs], axis=0)
    where = (0.12 + np.exp(-((nearest / 0.5) ** 2)) + 0.25 * (street.across > 0)) * (rows > max(lowest, wall + 2))
    where = where * ~covered
    labels: list[Label] = []
    if rng.random() < 0.75:
        strewn = rng.random() < 0.15
        count = int(rng.integers(12, 36) if strewn else np.clip(rng.geometric(0.22), 1, 14))
        labels = litter(rng, view, bgr, pieces, where.astype(np.float32), count)
    return Composite(finish(rng, bgr), tuple(labels), frozenset({"structures", "adverts", "private"}))


def _stand(rng: np.random.Generator, bgr: FloatImage, backdrop: Image, row: int) -> None:
    size = bgr.shape[1]
    scale = rng.uniform(0.8, 1.7) * size / backdrop.shape[1]
    scale = max(scale, size / backdrop.shape[1], min(row, bgr.shape[0]) / backdrop.shape[0])
    big = cv2.resize(backdrop, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    left = int(rng.integers(0, big.shape[1] - size + 1))
    keep = min(row, bgr.shape[0], big.shape[0])
    bgr[row - keep : min(row, bgr.shape[0])] = big[big.shape[0] - keep :, left : left + size][
        : bgr.shape[0] - row + keep
    ]


def on_picture(
    rng: np.random.Generator,
    pieces: Sequence[Piece],
    picture: Image,
    base: Picture,
    *,
    focal: tuple[float, float] = (0.5, 1.0),
    ground_from: float = 0.55,
    smallest_px: float = SMALLEST_PX,
) -> Composite | None:
    """Litter on the open ground of a square real street picture; None where no open ground was found.

    The ground is guessed: below `ground_from` of the height, outside every labelled box, and smooth. `focal`: range of
    the focal length as a share of the picture's side.
    """
    size = picture.shape[0]
    view = View(
        focal=float(rng.uniform(*focal)) * size,
        height_m=float(rng.uniform(1.3, 1.9)),
        horizon=float(rng.uniform(0.28, 0.45)) * size,
        centre=size / 2,
        size=size,
    )
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    mean = cv2.boxFilter(grey, -1, (25, 25))
    spread = np.sqrt(np.maximum(cv2.boxFilter(grey * grey, -1, (25, 25)) - mean * mean, 0))
    where = ((spread < 16) & (mean > 35) & (mean < 225)).astype(np.float32)
    where[: int(max(ground_from * size, view.horizon + 0.1 * size))] = 0
    for label in base.labels:
        x0, y0, x1, y1 = (round(value * size) for value in label.box)
        where[max(y0 - 12, 0) : y1 + 12, max(x0 - 12, 0) : x1 + 12] = 0
    where = cv2.erode(where, np.ones((15, 15), np.uint8))
    if where.mean() < 0.02:
        return None
    bgr = picture.astype(np.float32)
    if rng.random() < 0.6:
        _road_markers(rng, view, bgr, where)
    count = int(np.clip(rng.geometric(0.25), 1, 10)) if rng.random() < 0.8 else 0
    labels = litter(rng, view, bgr, pieces, where, count, smallest_px)
    done = np.clip(cv2.GaussianBlur(bgr, (0, 0), 0.5), 0, 255).astype(np.uint8)
    return Composite(done, base.labels + tuple(labels), base.unknown)


def _road_markers(rng: np.random.Generator, view: View, bgr: FloatImage, where: FloatImage) -> None:
    """Rows of raised road markers on the open ground; unlabelled, for they are no litter."""
    for start in spots(rng, view, where, int(rng.integers(1, 4))):
        make = stud_make(rng)
        for at in stud_row(rng, start):
            if not 1.5 < at[1] < FARTHEST_M:
                continue
            u, v = view.pixel(*at)
            if 0 <= u < view.size and 0 <= v < view.size and where[int(v), int(u)] > 0:
                stud(rng, view, bgr, at, make)


def on_facade(rng: np.random.Generator, pieces: Sequence[Piece], picture: Image, base: Picture) -> Composite | None:
    """Litter before a facade seen from the street: a square of the picture's height, a vehicle's focal length (0.6 to
    0.8 of the width); smaller pieces count than elsewhere, because such a picture is enlarged to the patrol's input."""
    height, width = picture.shape[:2]
    if width < height:
        return None
    left = int(rng.integers(0, width - height + 1))
    square = np.ascontiguousarray(picture[:, left : left + height])
    cut = window_of(base.labels, (width, height), (left, 0, height))
    part = Picture(base.path, base.source, base.split, cut, base.unknown, base.group)
    ratio = width / height
    return on_picture(rng, pieces, square, part, focal=(0.6 * ratio, 0.8 * ratio), ground_from=0.84, smallest_px=4.5)


def window(rng: np.random.Generator, made: Composite, side: int) -> Composite:
    """A square window of `side` pixels, about one of the pieces where there is any: their pixels stay as they are."""
    height, width = made.bgr.shape[:2]
    litter_boxes = [label.box for label in made.labels if label.name == "garbage"]
    x, y = rng.uniform(0, width), rng.uniform(0.4 * height, height)
    if litter_boxes:
        x0, y0, x1, y1 = litter_boxes[-1 - int(rng.integers(min(3, len(litter_boxes))))]
        x, y = (x0 + x1) / 2 * width, (y0 + y1) / 2 * height
    left = int(np.clip(x - rng.uniform(0.15, 0.85) * side, 0, width - side))
    top = int(np.clip(y - rng.uniform(0.15, 0.85) * side, 0, height - side))
    labels = window_of(made.labels, (width, height), (left, top, side))
    part = np.ascontiguousarray(made.bgr[top : top + side, left : left + side])
    return Composite(part, labels, made.unknown)


def make_all(
    pieces: Sequence[Piece],
    pictures: Sequence[Picture],
    *,
    drawn: int,
    pasted: int,
    side: int,
    seed: int,
    before_facades: int = 0,
) -> list[tuple[str, Composite]]:
    """Named composites: `drawn` streets with facades (pictures whose adverts are known) behind them; windows of up to
    `pasted` real pictures (those whose waste is known) with pieces laid on their open ground; and up to
    `before_facades` windows of facades with pieces on the ground before them.

    The same seed gives the same pictures.
    """
    facades = [p for p in pictures if "adverts" not in p.unknown and "waste" in p.unknown]
    backdrops = [np.asarray(cv2.imread(str(p.path)), dtype=np.uint8) for p in facades]
    made = []
    for number in range(drawn):
        rng = np.random.default_rng((seed, 0, number))
        made.append((f"drawn{number:05d}", drawn_scene(rng, pieces, backdrops, side)))
    streets = [p for p in pictures if "waste" not in p.unknown]
    order = np.random.default_rng(seed).permutation(len(streets))
    count = 0
    for index in order:
        if count >= pasted:
            break
        rng = np.random.default_rng((seed, 1, int(index)))
        picture = cv2.imread(str(streets[index].path))
        if picture is None or picture.shape[0] != picture.shape[1] or picture.shape[0] < side:
            continue
        laid = on_picture(rng, pieces, np.asarray(picture, dtype=np.uint8), streets[index])
        if laid is not None:
            made.append((f"pasted{count:05d}", window(rng, laid, side)))
            count += 1
    for number in range(before_facades if facades else 0):
        rng = np.random.default_rng((seed, 2, number))
        chosen = number % len(facades)
        laid = on_facade(rng, pieces, backdrops[chosen], facades[chosen])
        if laid is not None:
            made.append((f"facade{number:05d}", window(rng, laid, min(384, laid.bgr.shape[0]))))
    return made


def write(composites: Sequence[tuple[str, Composite]], folder: Path) -> None:
    """JPEGs and `composites.json` under `folder`."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    index = {}
    for name, made in composites:
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), made.bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
        rows = [[label.name, *label.box] for label in made.labels]
        index[f"{name}.jpg"] = {"labels": rows, "unknown": sorted(made.unknown)}
    (folder / "composites.json").write_text(json.dumps(index), encoding="utf-8")


def read(folder: Path) -> list[Picture]:
    """The training pictures that `write` left in `folder`."""
    index = json.loads((folder / "composites.json").read_text(encoding="utf-8"))
    return [
        Picture(
            path=folder / "images" / name,
            source="composites",
            split="train",
            labels=tuple(Label(row[0], tuple(row[1:])) for row in entry["labels"]),
            unknown=frozenset(entry["unknown"]),
        )
        for name, entry in sorted(index.items())
    ]
