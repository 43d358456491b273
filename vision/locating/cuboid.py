"""The measurement model: the box that a standing or moving thing shows in a frame, and how it changes.

A thing is an upright cuboid: centre east and north (metres), yaw of its long axis (radians, anticlockwise from east),
natural logarithms of length, width and height (metres), height of its base above the road, velocity east and north.
A frame is a place, a heading and the tilt of the vehicle's axes against the road below: pitch nose up +, roll left
side up + (radians). The road is a plane through the wheels; the lens is `camera.height_m` above it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from vision.camera import Camera
from vision.geo import FloatArray, tilted
from vision.locating.observations import BOTTOM, LEFT, RIGHT, TOP, BoolArray, IntArray, Observations

EAST, NORTH, YAW, LENGTH, WIDTH, HEIGHT, BASE, V_EAST, V_NORTH = range(9)
THING = 9
PLACE_EAST, PLACE_NORTH, HEADING, PITCH, ROLL, LOG_LENS_HEIGHT, LOG_FOCAL = range(7)
FRAME = 7
# Pixels of a 1,000-pixel-wide picture by which annotators and detectors differ on one edge, and the share of the side
# by which a cuboid is a wrong shape. The second is the same in all frames that show one aspect of the thing.
EDGE_PX, SHAPE_SHARE = 1.6, 0.05
HIDDEN_FACTOR = 4.0
ROBUST = 3.0
_NEAREST_M = 0.3
_EDGES, _COORDINATE = np.arange(4), np.array([0, 1, 0, 1])  # of a pixel, that makes each edge
_SIGNS = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], float) / 2


@dataclass(frozen=True, slots=True, eq=False)
class FrameStates:
    """k frames: `place_m` (k, 2) east, north of the point that the track gives; `lever_m`: the lens forward and left of
    it; `heading` (k,) radians clockwise from north; `tilt` (k, 2) pitch and roll
    of the vehicle against the road, radians; the corrections of lens height and focal length as logarithms."""

    place_m: FloatArray
    lever_m: tuple[float, float]
    heading: FloatArray
    tilt: FloatArray
    log_lens_height: float = 0.0
    log_focal: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class BoxRows:
    """n boxes for the model: `thing`, `frame` (n,): indexes; `box`, `sigma` (n, 4): pixels; `bound` (n, 4): +1 where
    only a prediction greater than the box's edge contradicts it, −1 where only a smaller one does, 0 where both do;
    `elapsed_s` (n,): time against the thing's middle time."""

    thing: IntArray
    frame: IntArray
    box: FloatArray
    sigma: FloatArray
    bound: IntArray
    elapsed_s: FloatArray

    def where(self, keep: BoolArray | IntArray) -> BoxRows:
        """Only the selected rows."""
        return BoxRows(
            self.thing[keep], self.frame[keep], self.box[keep], self.sigma[keep], self.bound[keep], self.elapsed_s[keep]
        )

    def followed_by(self, others: BoxRows) -> BoxRows:
        """These rows and then the others."""
        both = ((getattr(self, one.name), getattr(others, one.name)) for one in fields(self))
        return BoxRows(*(np.concatenate(pair) for pair in both))

    def renumbered(self, thing: IntArray) -> BoxRows:
        """The same rows under other thing numbers."""
        return replace(self, thing=thing)


def box_rows(
    seen: Observations, rows: IntArray, thing: IntArray, aspect_count: IntArray, shake_px: float, camera: Camera
) -> BoxRows:
    """The rows of `seen` as measurements of `thing` (n,).

    `aspect_count` (n,): how many of the thing's rows show the same aspect of it, and so share one shape error;
    `shake_px`: what the vehicle's unmeasured pitching adds to the upper and lower edges.
    """
    box, cut, hidden = seen.box[rows], seen.cut[rows], seen.hidden[rows]
    side = np.maximum(box[:, [RIGHT, BOTTOM]] - box[:, [LEFT, TOP]], 1.0)[:, [0, 1, 0, 1]]
    edge_px = EDGE_PX * camera.size_wh[0] / 1000
    sigma2 = edge_px**2 + aspect_count[:, None] * (SHAPE_SHARE * side) ** 2
    sigma2[:, [TOP, BOTTOM]] += shake_px**2
    sigma = np.sqrt(sigma2) * np.where(hidden, HIDDEN_FACTOR, 1.0)
    outward = np.array([1, 1, -1, -1])
    bound = np.where(cut, outward, 0)
    sideways = cut[:, LEFT] | cut[:, RIGHT]  # the corner that makes the lower or upper edge may be out of sight
    for edge in (TOP, BOTTOM):
        bound[sideways, edge] = outward[edge]
    counts = np.bincount(thing)
    time_s = seen.time_s[seen.frame[rows]]
    middle = np.bincount(thing, time_s) / np.maximum(counts, 1)
    return BoxRows(thing, seen.frame[rows], box, sigma, bound, time_s - middle[thing])


def misfits(rows: BoxRows, things: FloatArray, frames: FrameStates, camera: Camera) -> FloatArray:
    """Whitened residuals (n, 4) of predicted against seen edges, at `things` (t, 9)."""
    return _predicted(rows, things, frames, camera).off


def linearise(
    rows: BoxRows, things: FloatArray, frames: FrameStates, camera: Camera
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`misfits`, and their derivatives by the thing (n, 4, 9) and by the frame (n, 4, 7)."""
    seen = _predicted(rows, things, frames, camera)
    tall, lens_height = np.exp(things[rows.thing, HEIGHT]), camera.height_m * np.exp(frames.log_lens_height)
    telling = np.where(seen.silent, 0.0, 1 / rows.sigma)
    gradient = camera.gradient(seen.points, _COORDINATE) * (telling * np.exp(frames.log_focal))[..., None]  # (n, 4, 3)
    on_road = gradient @ seen.to_vehicle  # by the corner's forward, left, up on the road
    flat, up = on_road[..., :2], on_road[..., 2]
    by_place = flat @ seen.to_road  # (n, 4, 2) by east, north
    corner = seen.chosen % 4
    arm_long, arm_wide = _picked(seen.along, corner), _picked(seen.across, corner)
    arm = arm_long + arm_wide
    by_thing = np.empty((len(up), 4, THING))
    by_thing[..., EAST : NORTH + 1] = by_place
    by_thing[..., YAW] = by_place[..., 1] * arm[..., 0] - by_place[..., 0] * arm[..., 1]
    by_thing[..., LENGTH] = by_place[..., 0] * arm_long[..., 0] + by_place[..., 1] * arm_long[..., 1]
    by_thing[..., WIDTH] = by_place[..., 0] * arm_wide[..., 0] + by_place[..., 1] * arm_wide[..., 1]
    by_thing[..., HEIGHT] = up * (seen.chosen >= 4) * tall[:, None]
    by_thing[..., BASE] = up
    by_thing[..., V_EAST : V_NORTH + 1] = by_place * rows.elapsed_s[:, None, None]
    spot = _picked(seen.level, corner) + np.array(frames.lever_m)  # seen from the point that the heading turns about
    by_frame = np.empty((len(up), 4, FRAME))
    by_frame[..., PLACE_EAST : PLACE_NORTH + 1] = -by_place
    by_frame[..., HEADING] = flat[..., 1] * spot[..., 0] - flat[..., 0] * spot[..., 1]
    by_frame[..., PITCH] = gradient[..., 0] * seen.points[..., 2] - gradient[..., 2] * seen.points[..., 0]
    by_frame[..., ROLL] = gradient[..., 1] * seen.points[..., 2] - gradient[..., 2] * seen.points[..., 1]
    by_frame[..., LOG_LENS_HEIGHT] = -up * lens_height
    by_frame[..., LOG_FOCAL] = seen.from_middle * telling
    return seen.off, by_thing, by_frame


@dataclass(frozen=True, slots=True, eq=False)
class _Predicted:
    """What n boxes should show: `off` (n, 4) whitened residuals, zero where `silent` (n, 4); `from_middle` (n, 4)
    pixels of the edges from the picture's middle; `chosen` (n, 4): which of eight corners, four low ones first, make
    left, upper, right, lower edge, and their `points` (n, 4, 3) in the vehicle's axes; `level` (n, 4, 2): the four on
    the road; `along`, `across` (n, 4, 2): from centre to corner; `to_road` (n, 2, 2), `to_vehicle` (n, 3, 3)."""

    off: FloatArray
    silent: BoolArray
    from_middle: FloatArray
    chosen: IntArray
    points: FloatArray
    level: FloatArray
    along: FloatArray
    across: FloatArray
    to_road: FloatArray
    to_vehicle: FloatArray


def _predicted(rows: BoxRows, things: FloatArray, frames: FrameStates, camera: Camera) -> _Predicted:
    x = things[rows.thing]
    heading, tilt = frames.heading[rows.frame], frames.tilt[rows.frame]
    sin, cos = np.sin(heading), np.cos(heading)
    to_road = np.stack([sin, cos, -cos, sin], axis=1).reshape(-1, 2, 2)
    lens = frames.place_m[rows.frame] + np.array(frames.lever_m) @ to_road
    long, wide, tall = np.exp(x[:, LENGTH : HEIGHT + 1].T)
    axis = np.stack([np.cos(x[:, YAW]), np.sin(x[:, YAW])], axis=1)
    side = np.stack([-axis[:, 1], axis[:, 0]], axis=1)
    along = _SIGNS[None, :, :1] * (long[:, None] * axis)[:, None]  # (n, 4 corners, 2)
    across = _SIGNS[None, :, 1:] * (wide[:, None] * side)[:, None]
    centre = x[:, :2] + x[:, V_EAST : V_NORTH + 1] * rows.elapsed_s[:, None]
    east, north = np.moveaxis(along + across + (centre - lens)[:, None], 2, 0)
    level = np.empty((len(x), 4, 2))
    level[..., 0] = east * sin[:, None] + north * cos[:, None]
    level[..., 1] = north * sin[:, None] - east * cos[:, None]
    foot = x[:, BASE] - camera.height_m * np.exp(frames.log_lens_height)
    from_vehicle = tilted(tilt[:, 0], tilt[:, 1])
    # The corners in the camera's own axes: those on the road, and what raises them to the foot and to the top.
    to_optical = (from_vehicle.reshape(-1, 3) @ camera.optical_to_vehicle).reshape(-1, 3, 3)
    upward = to_optical[:, None, 2]
    corners = np.empty((len(x), 8, 3))
    corners[:, :4] = level @ to_optical[:, :2] + foot[:, None, None] * upward
    corners[:, 4:] = corners[:, :4] + tall[:, None, None] * upward
    pixels = camera.pixels_of(corners)
    chosen = np.stack(
        [
            pixels[:, :, 0].argmin(axis=1),
            pixels[:, 4:, 1].argmin(axis=1) + 4,
            pixels[:, :, 0].argmax(axis=1),
            pixels[:, :4, 1].argmax(axis=1),
        ],
        axis=1,
    )
    optical = _picked(corners, chosen)
    points = (optical.reshape(-1, 3) @ camera.optical_to_vehicle.T).reshape(optical.shape)
    middle = np.array(camera.centre_xy)[_COORDINATE]
    from_middle = (_picked(pixels, chosen)[:, _EDGES, _COORDINATE] - middle) * np.exp(frames.log_focal)
    off = (middle + from_middle - rows.box) / rows.sigma
    silent = (rows.bound > 0) & (off < 0) | (rows.bound < 0) & (off > 0)
    if camera.model == "pinhole":
        silent |= optical[..., 2] < _NEAREST_M
    off = np.where(silent, 0.0, off)
    to_vehicle = from_vehicle.swapaxes(1, 2)
    return _Predicted(off, silent, from_middle, chosen, points, level, along, across, to_road, to_vehicle)


def _picked(values: FloatArray, which: IntArray) -> FloatArray:
    """Of values (n, m, d) those that are chosen (n, e) in each row: (n, e, d)."""
    rows, choices, width = values.shape
    first = np.arange(0, rows * choices, choices)[:, None]
    return np.asarray(values.reshape(-1, width).take(which + first, axis=0))


def robust(off: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cost (half the robust square) and weight of whitened residuals: Cauchy's loss beyond `ROBUST` sigmas."""
    share = (off / ROBUST) ** 2
    return 0.5 * ROBUST**2 * np.log1p(share), 1 / (1 + share)
