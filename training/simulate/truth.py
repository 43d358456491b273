"""Where each thing is in a picture and how much of it can be seen; and a quick painter that needs no renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.simulate.camera import View
from training.simulate.mesh import Array
from training.simulate.scene import Scene, Thing

NEAR_M = 0.1
# Smaller, or more hidden than this, and a label would be a guess.
LEAST_PIXELS = 10
LEAST_VISIBLE = 0.15
SUBPIXEL_BITS = 4
# The painter's sun, and how far it sees.
SUN = np.array([0.51, 0.40, 0.76])
FAR_M = 150.0

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TruthBox:
    """The visible part of a thing: `box_xyxy` in pixels measured from the picture's upper left corner; `visible`:
    share of what of it would be in the picture were nothing before it; `inside`: share of its outline that lies
    in the picture at all; `range_m` from the lens to the nearest visible point; `ignore`: hardly visible."""

    thing: int
    class_name: str
    box_xyxy: tuple[int, int, int, int]
    pixels: int
    visible: float
    inside: float
    range_m: float
    ignore: bool

    def to_json(self) -> dict[str, Any]:
        """A record for truth files."""
        return {
            "thing": self.thing,
            "class": self.class_name,
            "box": list(self.box_xyxy),
            "pixels": self.pixels,
            "visible": round(self.visible, 3),
            "inside": round(self.inside, 3),
            "range_m": round(self.range_m, 2),
            "ignore": self.ignore,
        }


def faces_in_view(
    corners: Array, faces: npt.NDArray[np.int32], view: View
) -> tuple[Array, Array, npt.NDArray[np.intp]]:
    """The faces wholly before the lens: their pixels (m, 4, 2), mean depth (m,) and index into `faces` (m,)."""
    pixels, depth = view.to_picture(corners)
    front = (depth > NEAR_M)[faces].all(axis=1)
    kept = np.flatnonzero(front)
    return pixels[faces[kept]], depth[faces[kept]].mean(axis=1), kept


def as_points(pixels: Array) -> npt.NDArray[np.int32]:
    """Pixel coordinates as OpenCV's fixed point."""
    return np.rint(np.clip(pixels, -1e6, 1e6) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def outline(scene: Scene, thing: Thing, view: View) -> tuple[Mask, float]:
    """The silhouette of a thing alone (h, w), and the share of its whole outline that lies in the picture."""
    camera = view.camera
    pixels, _, _ = faces_in_view(scene.corners(thing), scene.meshes[thing.mesh].faces, view)
    mask = np.zeros((camera.height, camera.width), np.uint8)
    if not len(pixels):
        return mask, 0.0
    low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    if (high < 0).any() or low[0] > camera.width or low[1] > camera.height:
        return mask, 0.0
    for polygon in as_points(pixels):
        cv2.fillConvexPoly(mask, polygon, 1, shift=SUBPIXEL_BITS)
    # The whole outline, drawn small enough to fit, tells what the picture's edge cuts off.
    room = 160.0 / max(float((high - low).max()), 1.0)
    whole = np.zeros((164, 164), np.uint8)
    for polygon in as_points((pixels - low) * room + 1):
        cv2.fillConvexPoly(whole, polygon, 1, shift=SUBPIXEL_BITS)
    x1, y1 = (np.maximum(-low, 0) * room + 1).astype(int)
    x2, y2 = ((np.array([camera.width, camera.height]) - low) * room + 1).astype(int)
    total = int(whole.sum())
    return mask, float(whole[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)].sum()) / max(1, total)


def boxes_of(scene: Scene, view: View, ids: npt.NDArray[np.uint16], depth: npt.NDArray[np.float32]) -> list[TruthBox]:
    """The visible things of a picture, from which thing each pixel shows (h, w) and how far it is (h, w)."""
    things = scene.labelled()
    found = []
    camera = view.camera
    columns = (np.arange(camera.width) - camera.cx) / camera.fx
    rows = (np.arange(camera.height) - camera.cy) / camera.fx
    for ident in np.unique(ids):
        if ident == 0 or int(ident) not in things:
            continue
        thing = things[int(ident)]
        shown = ids == ident
        ys, xs = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        pixels = int(shown.sum())
        alone, inside = outline(scene, thing, view)
        visible = min(1.0, pixels / max(1, int(alone.sum())))
        box = (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
        near = depth[shown] * np.sqrt(1 + (columns[None, :] ** 2 + rows[:, None] ** 2)[shown])
        longest = max(box[2] - box[0], box[3] - box[1])
        ignore = longest < LEAST_PIXELS or visible < LEAST_VISIBLE or pixels < LEAST_PIXELS
        found.append(TruthBox(int(ident), thing.class_name, box, pixels, visible, inside, float(near.min()), ignore))
    return found


def paint(
    scene: Scene, view: View, which: int = 1, *, coloured: bool = True
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float32], Mask]:
    """Draw a pass without a renderer: faces from far to near, flat and lit by one sun.

    Returns ids (h, w), depth (h, w) metres and a picture (h, w, 3) RGB, grey unless `coloured`. Good to a pixel or
    two where faces cross.
    """
    camera = view.camera
    parts = [part for part in (flat_faces(scene, thing, view) for thing in scene.seen_in(which)) if part is not None]
    layers = np.zeros((camera.height, camera.width, 2), np.float32)
    layers[..., 1] = 1e4
    picture = np.full((camera.height, camera.width, 3), (190, 205, 222), np.uint8)
    if parts:
        polygon, depth, owner, colour = (np.concatenate(column) for column in zip(*parts, strict=True))
        marks = np.stack([owner, depth], axis=1)
        for i in np.argsort(-depth, kind="stable").tolist():
            cv2.fillConvexPoly(layers, polygon[i], marks[i].tolist(), shift=SUBPIXEL_BITS)
            if coloured:
                cv2.fillConvexPoly(picture, polygon[i], colour[i].tolist(), shift=SUBPIXEL_BITS)
    return layers[..., 0].astype(np.uint16), layers[..., 1].copy(), picture


def flat_faces(
    scene: Scene, thing: Thing, view: View
) -> tuple[npt.NDArray[np.int32], Array, npt.NDArray[np.int64], Array] | None:
    """The faces of a thing that can show in a picture: corners in fixed point (m, 4, 2), depth, id and colour."""
    camera, mesh = view.camera, scene.meshes[thing.mesh]
    corners = scene.corners(thing)
    pixels, depth, kept = faces_in_view(corners, mesh.faces, view)
    if not len(kept):
        return None
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    inside = (high > 0).all(axis=1) & (low[:, 0] < camera.width) & (low[:, 1] < camera.height)
    seen = inside & (depth < FAR_M) & ((high - low).max(axis=1) > 0.3)
    kept, pixels, depth = kept[seen], pixels[seen], depth[seen]
    a, b, c = (corners[mesh.faces[kept, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    lit = 0.55 + 0.45 * np.abs(normal @ SUN)
    base = np.array([m.colour if m.kind != "image" else (0.45, 0.16, 0.12) for m in mesh.materials])
    colour = np.clip((base[mesh.material[kept]] * lit[:, None]) ** (1 / 2.2), 0, 1) * 255
    return as_points(pixels), depth, np.full(len(kept), thing.id, np.int64), colour
