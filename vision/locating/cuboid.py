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
from vision.geo import FloatArray
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
_COORDINATE = np.array([0, 1, 0, 1])  # of a pixel, that makes each edge
# How four corners lie against the centre, in halves of the long side and of the wide one.
_ALONG, _ACROSS = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, -1.0, 1.0])


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
    return np.ascontiguousarray(_predicted(rows, things, frames, camera).off.T)


def linearise(
    rows: BoxRows, things: FloatArray, frames: FrameStates, camera: Camera
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`misfits`, and their derivatives by the thing (n, 4, 9) and by the frame (n, 4, 7)."""
    seen = _predicted(rows, things, frames, camera)
    telling = np.where(seen.silent, 0.0, 1 / rows.sigma.T)
    by_optical = camera.gradient(seen.optical, _COORDINATE) * (telling * np.exp(frames.log_focal))
    # By the corner's place in the vehicle's axes, on the road (forward, left, up), and on the map.
    by_point, point = (_turned(camera.optical_to_vehicle, vectors) for vectors in (by_optical, seen.optical))
    (sin, pitch_sin, roll_sin), (cos, pitch_cos, roll_cos) = seen.sin, seen.cos
    raised = roll_sin * by_point[1] + roll_cos * by_point[2]
    forward = pitch_cos * by_point[0] - pitch_sin * raised
    left = roll_cos * by_point[1] - roll_sin * by_point[2]
    up = pitch_sin * by_point[0] + pitch_cos * raised
    east, north = forward * sin - left * cos, forward * cos + left * sin

    corner = seen.chosen % 4
    (_, long_e, wide_e, _), (_, long_n, wide_n, _) = seen.east, seen.north
    (centre_f, long_f, wide_f, _), (centre_l, long_l, wide_l, _) = seen.forward, seen.left
    ahead, aside = _ALONG[corner], _ACROSS[corner]
    by_long, by_wide = ahead * (east * long_e + north * long_n), aside * (east * wide_e + north * wide_n)
    by_thing = np.empty((len(rows.thing), 4, THING))
    by_thing[..., EAST], by_thing[..., NORTH] = east.T, north.T
    by_thing[..., YAW] = (north * (ahead * long_e + aside * wide_e) - east * (ahead * long_n + aside * wide_n)).T
    by_thing[..., LENGTH], by_thing[..., WIDTH] = by_long.T, by_wide.T
    by_thing[..., HEIGHT] = (up * (seen.chosen >= 4) * seen.tall).T
    by_thing[..., BASE] = up.T
    by_thing[..., V_EAST], by_thing[..., V_NORTH] = (east * rows.elapsed_s).T, (north * rows.elapsed_s).T
    # The corner as seen from the point that the heading turns about.
    spot_f = centre_f + ahead * long_f + aside * wide_f + frames.lever_m[0]
    spot_l = centre_l + ahead * long_l + aside * wide_l + frames.lever_m[1]
    by_frame = np.empty((len(rows.thing), 4, FRAME))
    by_frame[..., PLACE_EAST], by_frame[..., PLACE_NORTH] = -east.T, -north.T
    by_frame[..., HEADING] = (left * spot_f - forward * spot_l).T
    by_frame[..., PITCH] = (by_point[0] * point[2] - by_point[2] * point[0]).T
    by_frame[..., ROLL] = (by_point[1] * point[2] - by_point[2] * point[1]).T
    by_frame[..., LOG_LENS_HEIGHT] = (-up * (camera.height_m * np.exp(frames.log_lens_height))).T
    by_frame[..., LOG_FOCAL] = (seen.from_middle * telling).T
    return np.ascontiguousarray(seen.off.T), by_thing, by_frame


@dataclass(frozen=True, slots=True, eq=False)
class _Predicted:
    """What n boxes should show. Numbers of one kind lie side by side, which is what arithmetic on few boxes takes
    least time for: `off` (4, n) whitened residuals, zero where `silent` (4, n); `from_middle` (4, n) pixels of the
    edges from the picture's middle; `chosen` (4, n): which of eight corners, four low ones first, make left, upper,
    right, lower edge, and where they are, `optical` (3, 4, n), right, down and into the picture; `east`, `north`
    (4, n): the centre against the lens, half of the long side, half of the wide one, and the tall one, which has
    nothing of either; `forward`, `left` (4, n): the same on the road; `tall` (n,); `sin`, `cos` (3, n): of heading,
    pitch and roll."""

    off: FloatArray
    silent: BoolArray
    from_middle: FloatArray
    chosen: IntArray
    optical: FloatArray
    east: FloatArray
    north: FloatArray
    forward: FloatArray
    left: FloatArray
    tall: FloatArray
    sin: FloatArray
    cos: FloatArray


def _predicted(rows: BoxRows, things: FloatArray, frames: FrameStates, camera: Camera) -> _Predicted:
    count = len(rows.thing)
    x = things.T[:, rows.thing]
    angles = np.empty((4, count))
    angles[0], angles[1:3], angles[3] = frames.heading[rows.frame], frames.tilt[rows.frame].T, x[YAW]
    sins, coss = np.sin(angles), np.cos(angles)
    (sin, pitch_sin, roll_sin, yaw_sin), (cos, pitch_cos, roll_cos, yaw_cos) = sins, coss
    long, wide, tall = np.exp(x[LENGTH : HEIGHT + 1])
    lens_e, lens_n = frames.place_m.T[:, rows.frame]
    ahead_m, aside_m = frames.lever_m
    # Centre, half of the long side, half of the wide one, and the tall one; on the map, from the lens, and on the road.
    east, north, up = np.zeros((3, 4, count))
    east[0] = x[EAST] + x[V_EAST] * rows.elapsed_s - (lens_e + ahead_m * sin - aside_m * cos)
    north[0] = x[NORTH] + x[V_NORTH] * rows.elapsed_s - (lens_n + ahead_m * cos + aside_m * sin)
    east[1], north[1] = 0.5 * long * yaw_cos, 0.5 * long * yaw_sin
    east[2], north[2] = -0.5 * wide * yaw_sin, 0.5 * wide * yaw_cos
    forward, left = east * sin + north * cos, north * sin - east * cos
    up[0], up[3] = x[BASE] - camera.height_m * np.exp(frames.log_lens_height), tall
    # In the vehicle's axes, then in the camera's.
    raised = pitch_cos * up - pitch_sin * forward
    parts = np.empty((3, 4, count))
    parts[0] = pitch_cos * forward + pitch_sin * up
    parts[1] = roll_sin * raised + roll_cos * left
    parts[2] = roll_cos * raised - roll_sin * left
    centre, along, across, upward = _turned(camera.optical_to_vehicle.T, parts).swapaxes(0, 1)
    corners = np.empty((3, 8, count))
    for corner, arm in enumerate((along + across, along - across)):
        corners[:, corner], corners[:, corner + 2] = centre + arm, centre - arm
    corners[:, 4:] = corners[:, :4] + upward[:, None]

    pixels = camera.pixels_of(np.moveaxis(corners, 0, 2))
    across_px, down_px = np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])
    chosen = np.empty((4, count), dtype=np.int64)
    chosen[LEFT], chosen[RIGHT] = across_px.argmin(axis=0), across_px.argmax(axis=0)
    chosen[TOP], chosen[BOTTOM] = down_px[4:].argmin(axis=0) + 4, down_px[:4].argmax(axis=0)
    at = chosen * count + np.arange(count)
    optical = corners.reshape(3, -1).take(at, axis=1)
    edges = np.empty((4, count))
    edges[::2], edges[1::2] = across_px.take(at[::2]), down_px.take(at[1::2])
    middle = np.array(camera.centre_xy)[_COORDINATE, None]
    from_middle = (edges - middle) * np.exp(frames.log_focal)
    off = (middle + from_middle - rows.box.T) / rows.sigma.T
    silent = rows.bound.T * off < 0
    if camera.model == "pinhole":
        silent |= optical[2] < _NEAREST_M
    off[silent] = 0.0
    return _Predicted(off, silent, from_middle, chosen, optical, east, north, forward, left, tall, sins[:3], coss[:3])


def _turned(rotation: FloatArray, vectors: FloatArray) -> FloatArray:
    """Vectors (3, …), turned by one rotation (3, 3)."""
    return np.asarray((rotation @ vectors.reshape(3, -1)).reshape(vectors.shape))


def robust(off: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cost (half the robust square) and weight of whitened residuals: Cauchy's loss beyond `ROBUST` sigmas."""
    share = (off / ROBUST) ** 2
    return 0.5 * ROBUST**2 * np.log1p(share), 1 / (1 + share)
