"""All boxes of a patrol as parallel arrays, with what each edge of a box can be trusted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vision.camera import Camera
from vision.detections import Detections
from vision.geo import FloatArray
from vision.taxonomy import ADVERTS, STRUCTURES, WASTE, usual_size
from vision.tracks.track import Poses

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LEFT, TOP, RIGHT, BOTTOM = range(4)
# A detector's edge stops a little before the picture's edge when the thing is cut there: by this share of the picture,
# and by this share of the box's side.
CUT_SHARE, CUT_SIDE_SHARE = 0.008, 0.06
HEAP = 5
# An edge is a nearer box's doing when the two meet to so many pixels of a 1,000-pixel-wide picture and this share of
# both boxes' sides.
TOUCH_PX, TOUCH_SHARE = 3.0, 0.04
# A box below this share of the picture's side, 4 pixels in 1,000, is as much error as thing.
SMALLEST = 0.004
# Classes that a detector takes for one another; a class of no group is kindred only to itself.
KINDRED = (
    WASTE,
    STRUCTURES,
    ADVERTS,
    frozenset({"vehicle", "car", "van", "truck", "bus", "tram", "misc"}),
    frozenset({"person", "pedestrian", "person_sitting", "cyclist"}),
)
# What it costs to take one thing for two classes, in units of a squared sigma: of one group, and of the two groups of
# what stands on the ground in heaps and stacks, which a detector mixes up as well.
KIN_COST, MISTAKEN_COST = 2.0, 4.0
_MISTAKEN = (0, 1)
# How well a lone box tells range: the tilt of the road, and how much things of one class differ in height.
TILT_SIGMA = np.radians(0.7)
SIZE_SIGMA = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """n boxes of k frames, in order of time.

    `frame` (n,): index of the frame; `detection` (n,): index within the frame; `box` (n, 4): x_min, y_min, x_max,
    y_max in the camera's pixels; `score` (n,); `name` (n,): index into `class_names`; `cut`, `hidden` (n, 4): edges
    (left, top, right, bottom) that the picture's edge or a nearer box made, or that lie behind a nearer box; `group`
    (n,): kindred classes share one, `groups` the same by class. `time_s` (k,), `lens_m` (k, 2): where the lens was,
    `heading` (k,): radians clockwise from north.
    """

    frame: IntArray
    detection: IntArray
    box: FloatArray
    score: FloatArray
    name: IntArray
    cut: BoolArray
    hidden: BoolArray
    group: IntArray
    class_names: tuple[str, ...]
    groups: IntArray
    time_s: FloatArray
    lens_m: FloatArray
    heading: FloatArray

    def __len__(self) -> int:
        return len(self.frame)

    def backwards(self) -> tuple[Observations, IntArray]:
        """The same boxes as a vehicle that goes back the way it came would see them, and their order (n,) in this."""
        frame = len(self.time_s) - 1 - self.frame
        order = np.argsort(frame, kind="stable")
        by_box = ("detection", "box", "score", "name", "cut", "hidden", "group")
        by_frame = ("lens_m", "heading")
        turned = replace(
            self,
            frame=frame[order],
            time_s=-self.time_s[::-1],
            **{name: getattr(self, name)[order] for name in by_box},
            **{name: getattr(self, name)[::-1] for name in by_frame},
        )
        return turned, order


def kindred_group(name: str, others: dict[str, int]) -> int:
    """A number that kindred classes share; `others` remembers the numbers of classes of no group."""
    for number, members in enumerate(KINDRED):
        if name in members:
            return number
    return others.setdefault(name, len(KINDRED) + len(others))


def unlike(seen: Observations, names: IntArray, others: IntArray) -> FloatArray:
    """What speaks against the classes `names` and `others` (indexes into `class_names`, of shapes that go together)
    being one thing's: 0 for the same, infinite where they can't be."""
    mistaken = np.isin(seen.groups, _MISTAKEN)
    kin = seen.groups[:, None] == seen.groups
    table = np.where(kin, KIN_COST, np.where(mistaken[:, None] & mistaken, MISTAKEN_COST, np.inf))
    np.fill_diagonal(table, 0.0)
    return np.asarray(table[names, others])


def observe(times_s: FloatArray, detections: Sequence[Detections], poses: Poses, camera: Camera) -> Observations:
    """Flatten the detections of frames in order of time; boxes of another picture size are scaled to the camera's.

    Boxes too small to tell anything are left out.
    """
    names = tuple(sorted({name for found in detections for name in found.names()}))
    index = {name: i for i, name in enumerate(names)}
    others: dict[str, int] = {}
    group_of = np.array([kindred_group(name, others) for name in names], dtype=np.int64)
    boxes = [np.zeros((0, 4))]
    hidden, covered = [np.zeros((0, 4), dtype=bool)], [np.zeros((0, 4), dtype=bool)]
    slack = TOUCH_PX * camera.size_wh[0] / 1000
    for found in detections:
        scale = np.tile(np.array(camera.size_wh) / np.array(found.size_wh), 2)
        box = (found.boxes_xyxy + 0.5) * scale - 0.5 if (scale != 1).any() else found.boxes_xyxy
        boxes.append(box)
        hidden.append(_hidden(box))
        covered.append(_covered(box, slack))
    box = np.concatenate(boxes)
    counts = [len(found) for found in detections]
    name = np.array([index[n] for found in detections for n in found.names()], dtype=np.int64)
    sides = box[:, 2:] - box[:, :2]
    keep = (sides > 0).all(axis=1) & (sides.max(axis=1) >= SMALLEST * max(camera.size_wh))
    return Observations(
        frame=np.repeat(np.arange(len(counts)), counts)[keep],
        detection=np.concatenate([np.arange(0), *[np.arange(count) for count in counts]])[keep],
        box=box[keep],
        score=np.concatenate([np.zeros(0), *[found.scores for found in detections]])[keep],
        name=name[keep],
        cut=(_cut(box, camera.size_wh) | np.concatenate(covered))[keep],
        hidden=np.concatenate(hidden)[keep],
        group=(group_of[name] if len(names) else name)[keep],
        class_names=names,
        groups=group_of,
        time_s=times_s,
        lens_m=lens_places(poses, camera),
        heading=np.radians(poses.heading_deg),
    )


def _cut(box: FloatArray, size_wh: tuple[int, int]) -> BoolArray:
    """Which edges (n, 4) the picture's edge made.

    Rectified pictures can be smaller than their camera file says: where no box reaches the stated edge and many end
    together before it, that is the edge.
    """
    slack = CUT_SHARE * max(size_wh)
    cut = np.zeros(box.shape, dtype=bool)
    if not len(box):
        return cut
    for edge, inward in (
        (LEFT, box[:, LEFT]),
        (TOP, box[:, TOP]),
        (RIGHT, size_wh[0] - 1 - box[:, RIGHT]),
        (BOTTOM, size_wh[1] - 1 - box[:, BOTTOM]),
    ):
        first = float(inward.min())
        heap = int((inward <= first + slack).sum())
        beyond = int((inward <= first + 3 * slack).sum()) - heap
        limit = first if first > slack and heap >= HEAP and heap > 2 * beyond else 0.0
        side = box[:, edge % 2 + 2] - box[:, edge % 2]
        cut[:, edge] = inward <= limit + slack + CUT_SIDE_SHARE * side
    return cut


def lens_places(poses: Poses, camera: Camera) -> FloatArray:
    """Metres east, north (k, 2) of the lens at each pose."""
    heading = np.radians(poses.heading_deg)
    forward = np.stack([np.sin(heading), np.cos(heading)], axis=1)
    left = np.stack([-np.cos(heading), np.sin(heading)], axis=1)
    return np.asarray(poses.enu_m[:, :2] + forward * camera.mount.forward_m + left * camera.mount.left_m)


def _hidden(box: FloatArray) -> BoolArray:
    """Which edges' middles (n, 4) lie inside a box that stands nearer, that is lower in the picture."""
    x = (box[:, 0] + box[:, 2]) / 2
    y = (box[:, 1] + box[:, 3]) / 2
    middle_x = np.stack([box[:, 0], x, box[:, 2], x], axis=1)
    middle_y = np.stack([y, box[:, 1], y, box[:, 3]], axis=1)
    nearer = box[None, :, 3] > box[:, None, 3] + 1.0
    inside = (
        (middle_x[:, :, None] >= box[None, None, :, 0] - 1)
        & (middle_x[:, :, None] <= box[None, None, :, 2] + 1)
        & (middle_y[:, :, None] >= box[None, None, :, 1] - 1)
        & (middle_y[:, :, None] <= box[None, None, :, 3] + 1)
    )
    return np.asarray((inside & nearer[:, None, :]).any(axis=2))


def _covered(box: FloatArray, slack: float) -> BoolArray:
    """Which edges (n, 4) end where a nearer box begins, so that the thing may go on behind it."""
    nearer = box[None, :, 3] > box[:, None, 3] + 1.0
    covered = np.zeros(box.shape, dtype=bool)
    side = box[:, 2:] - box[:, :2]
    for edge in (LEFT, TOP, RIGHT, BOTTOM):
        axis, other = edge % 2, 1 - edge % 2
        middle = (box[:, other] + box[:, other + 2]) / 2
        beside = (middle[:, None] > box[None, :, other]) & (middle[:, None] < box[None, :, other + 2])
        gap = np.abs(box[:, None, edge] - box[None, :, axis if edge >= 2 else axis + 2])
        near = gap < slack + TOUCH_SHARE * (side[:, None, axis] + side[None, :, axis])
        covered[:, edge] = (near & beside & nearer).any(axis=1)
    return covered


def rough_ranges(seen: Observations, camera: Camera) -> tuple[FloatArray, FloatArray]:
    """Distance along the ground (n,) in metres of each lone box, and its relative sigma.

    The lower edge on flat ground and the usual height of the class, each weighted by how well it tells.
    """
    x = (seen.box[:, 0] + seen.box[:, 2]) / 2
    foot = camera.rays(np.stack([x, seen.box[:, 3]], axis=1))
    head = camera.rays(np.stack([x, seen.box[:, 1]], axis=1))
    sizes = [usual_size(name) for name in seen.class_names]
    tall = np.array([size.height for size in sizes])[seen.name] if sizes else np.zeros(0)
    base = np.array([size.base for size in sizes])[seen.name] if sizes else np.zeros(0)
    slope_foot = foot[:, 2] / np.maximum(np.hypot(foot[:, 0], foot[:, 1]), 1e-6)
    slope_head = head[:, 2] / np.maximum(np.hypot(head[:, 0], head[:, 1]), 1e-6)
    drop = camera.height_m - base
    raised = base > 0.5
    from_foot = drop / np.where(np.abs(slope_foot) < 1e-3, -1e-3, -slope_foot)
    from_size = tall / np.maximum(slope_head - slope_foot, 1e-3)
    usable = (from_foot > 0.3) & (from_foot < 200.0) & ~seen.cut[:, BOTTOM]
    tilt_sigma = np.hypot(TILT_SIGMA, np.radians(camera.sigma.pitch_deg))
    sigma_foot = np.where(raised, 0.5, 0.03 + tilt_sigma * np.abs(from_foot) / np.maximum(np.abs(drop), 0.3))
    weight_foot = np.where(usable, 1 / sigma_foot**2, 0.0)
    weight_size = np.where(seen.cut[:, TOP] | seen.cut[:, BOTTOM], 0.25, 1.0) / SIZE_SIGMA**2
    log_range = (
        weight_foot * np.log(np.clip(np.where(usable, from_foot, 1.0), 0.3, 200.0))
        + weight_size * np.log(np.clip(from_size, 0.3, 200.0))
    ) / (weight_foot + weight_size)
    return np.exp(log_range), 1 / np.sqrt(weight_foot + weight_size)
