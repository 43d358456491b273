"""From followed boxes to standing things: judged alone, solved together, joined, judged again, solved for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from vision.camera import Camera
from vision.geo import FloatArray
from vision.locating.association import Spots, follow
from vision.locating.candidates import (
    IMMOBILE_ODDS,
    MOBILE_ODDS,
    Candidates,
    Judge,
    Judged,
    compact,
    gather,
    judge,
    merged,
)
from vision.locating.cuboid import V_EAST, FrameStates
from vision.locating.observations import BoolArray, IntArray, Observations
from vision.locating.pieces import PairSolver, one_thing
from vision.locating.reassign import resorted
from vision.locating.strays import strays
from vision.locating.together import Ground, Together, ground_of, solve_together
from vision.tracks.track import Poses, Track

SUSPENSION_S = 1.5
# Pitching of the body that a track without attitude can't tell.
SHAKE = np.radians(0.25)
# Followed things less likely than this (logarithm of odds) are taken for false boxes.
LEAST_ODDS = -1.0
# Half the robust square per box beyond which a thing does not look like one that stands.
WORST_FIT = 4.0
# Faster than any error of a smoothed path makes a standing thing seem.
SURELY_MOVING_MPS = 4.0
# What has been found to stand may move by this in the last solution: nothing.
STANDS_STILL_MPS = 0.01
# How often boxes are sorted anew and pieces joined, until nothing changes.
SORTINGS = 4


@dataclass(frozen=True, slots=True)
class Trust:
    """What a thing alone may blame on others: sigmas `own` (4,) of pitch, roll, heading (radians) and heading rate
    (radians per second), and the speed `still_mps` that path errors lend to a standing thing."""

    own: FloatArray
    still_mps: float


# Before and after tilt and path were solved together, for surveyed tracks and for smoothed ones.
ALONE_SURVEYED = Trust(np.radians([0.7, 1.5, 0.3, 0.1]), 0.05)
ALONE_SMOOTHED = Trust(np.radians([0.7, 1.5, 6.0, 3.0]), 0.4)
AFTER_SURVEYED = Trust(np.radians([0.15, 0.4, 0.1, 0.1]), 0.05)
AFTER_SMOOTHED = Trust(np.radians([0.15, 0.4, 0.5, 0.5]), 0.15)


@dataclass(frozen=True, slots=True, eq=False)
class StandingThings:
    """t standing things: `names`, cuboids (t, 9) and `covariance` (t, 5, 5) as in `together`; `label` (n,): the
    thing that each box shows, −1 for none; `joint`: the last joint solution, None when nothing stands."""

    names: list[str]
    things: FloatArray
    covariance: FloatArray
    label: IntArray
    joint: Together | None = None


def standing_things(
    seen: Observations,
    track: Track,
    poses: Poses,
    camera: Camera,
    *,
    with_covariance: bool = True,
    foresee: Callable[[IntArray, list[str]], None] | None = None,
) -> StandingThings:
    """Find what stands among the boxes and where. `poses` are those of the frames of `seen`; `with_covariance`: False
    saves a third of the time where only the places are wanted; `foresee`: told halfway which things will most likely
    stand, as `label` and `names` of the answer."""
    spots = Spots(seen, camera)
    raw, ground, shake_px = _start(seen, track, poses, camera)
    label, odds = follow(seen, spots, camera, steady=track.surveyed)
    label = compact(np.where(odds[label] > LEAST_ODDS, label, -1))
    if label.max() < 0:
        return _nothing(seen)

    candidates = gather(seen, spots, label, shake_px, camera)
    judged = judge(candidates, raw, camera, *_of(ALONE_SURVEYED if track.surveyed else ALONE_SMOOTHED, camera))
    stands = standing(candidates, judged)
    # On a surveyed path standing things are told at once; on a smoothed one the path itself is to be found first.
    sort_motion = not track.surveyed
    chosen = candidates.boxes >= 3 if sort_motion else stands
    joint = _together(candidates, judged, chosen, raw, ground, camera, sort_motion=sort_motion)
    places = judged.still.things.copy()
    places[chosen] = joint.things
    covariance = np.linalg.inv(judged.still.information)[:, :2, :2]
    label = merged(seen, label, candidates.group, candidates.names, places, covariance, stands)

    trust = AFTER_SURVEYED if track.surveyed else AFTER_SMOOTHED
    again, pairs = Judge(joint.frames, camera, *_of(trust)), PairSolver(joint.frames, camera, trust.own)

    def looked_at(label: IntArray) -> tuple[Candidates, Judged, BoolArray]:
        """The candidates that the labels make, solved one by one in the corrected frames, and which of them stand."""
        candidates = gather(seen, spots, label, shake_px, camera)
        judged = again(candidates)
        return candidates, judged, standing(candidates, judged)

    candidates, judged, stands = looked_at(label)
    if foresee is not None:
        foresee(np.where((label >= 0) & stands[label], label, -1), candidates.names)
    loose = np.zeros(0, dtype=np.int64)
    for _ in range(SORTINGS):
        before = label
        wrong = strays(seen, candidates, judged.still, stands, joint.frames, camera)
        if len(wrong):
            label = label.copy()
            label[wrong] = -1
            loose = np.union1d(loose, wrong)
            candidates, judged, stands = looked_at(label)
        label = one_thing(seen, candidates, judged.still, judged.prior, stands, pairs)
        if label.max() < before.max():
            candidates, judged, stands = looked_at(label)
        alone, spare = np.flatnonzero(stands), loose[label[loose] < 0]
        sorted_ = compact(resorted(seen, spots, candidates, judged.still, alone, joint.frames, camera, spare))
        if (sorted_ == label).all():
            break
        label = sorted_
        candidates, judged, stands = looked_at(label)
    if not stands.any():
        return _nothing(seen)
    joint = _together(candidates, judged, stands, raw, ground, camera, after=joint, with_covariance=with_covariance)
    return _once(seen, candidates, judged, stands, joint)


class Explanation:
    """Standing things and the boxes that show them, ready to be solved anew with other poses of the same frames."""

    def __init__(self, seen: Observations, track: Track, poses: Poses, camera: Camera, found: StandingThings) -> None:
        assert found.joint is not None
        self.track, self.camera = track, camera
        raw, _, shake_px = _start(seen, track, poses, camera)
        candidates = gather(seen, Spots(seen, camera), found.label, shake_px, camera)
        trust = ALONE_SURVEYED if track.surveyed else ALONE_SMOOTHED
        self.rows, self.prior = candidates.rows, judge(candidates, raw, camera, *_of(trust, camera)).prior
        self.prior.sigma[:, V_EAST:] = STANDS_STILL_MPS
        self.last = replace(found.joint, things=found.things)

    def likelihood(self, seen: Observations, poses: Poses) -> float:
        """Logarithm of how well the things, standing all of them, explain their boxes with these poses; up to a
        constant. It starts from the last solution, so poses should change little from call to call."""
        raw, ground, _ = _start(seen, self.track, poses, self.camera)
        self.last = solve_together(
            self.rows, self.last.things, self.prior, raw, ground, self.camera, after=self.last, with_covariance=False
        )
        return -self.last.cost


def _start(seen: Observations, track: Track, poses: Poses, camera: Camera) -> tuple[FrameStates, Ground, float]:
    """The frames before any correction, what they share, and how many pixels the body's pitching may shake them."""
    lever = (camera.mount.forward_m, camera.mount.left_m)
    raw = FrameStates(poses.enu_m[:, :2], lever, seen.heading, suspension(track, seen.time_s, poses))
    shake_px = 0.0 if track.surveyed else SHAKE * float(np.mean(camera.focal_xy))
    return raw, ground_of(track, seen.time_s, seen.lens_m, camera), shake_px


def _nothing(seen: Observations) -> StandingThings:
    return StandingThings([], np.zeros((0, 9)), np.zeros((0, 5, 5)), np.full(len(seen), -1))


def _of(trust: Trust, camera: Camera | None = None) -> tuple[FloatArray, float]:
    """`camera`: whose mount is not yet solved for, so that a thing alone may blame it as well."""
    mount = np.zeros(4)
    if camera is not None:
        mount[:3] = np.radians([camera.sigma.pitch_deg, camera.sigma.roll_deg, camera.sigma.yaw_deg])
    return np.hypot(trust.own, mount), trust.still_mps


def suspension(track: Track, times_s: FloatArray, poses: Poses) -> FloatArray:
    """Fast changes of the track's pitch and roll (k, 2), radians: what of them is not the road's slope or camber."""
    fast = np.zeros((len(times_s), 2))
    step = 0.05
    grid = np.arange(track.time_s[0], track.time_s[-1] + step, step)
    for axis, (angle, now) in enumerate(((track.pitch_deg, poses.pitch_deg), (track.roll_deg, poses.roll_deg))):
        if track.surveyed and angle is not None:
            slow = gaussian_filter1d(np.interp(grid, track.time_s, angle), SUSPENSION_S / step, mode="nearest")
            fast[:, axis] = np.radians(now - np.interp(times_s, grid, slow))
    return fast


def standing(candidates: Candidates, judged: Judged) -> BoolArray:
    """Which candidates (t,) stand: they fit a standing thing, and an even motion explains them no better."""
    boxes = np.maximum(np.bincount(candidates.rows.thing, minlength=len(candidates)), 1)
    mobile = candidates.mobile
    before = np.where(mobile, MOBILE_ODDS, IMMOBILE_ODDS)
    # A bad fit of what can't drive off speaks against its boxes (a stall's canopy, a heap's edge), not of motion.
    worst = np.where(mobile, WORST_FIT, 2 * WORST_FIT)
    return np.asarray((judged.moving + before < 0) & (judged.still.cost / boxes < worst))


def _together(
    candidates: Candidates,
    judged: Judged,
    chosen: BoolArray,
    frames: FrameStates,
    ground: Ground,
    camera: Camera,
    *,
    sort_motion: bool = False,
    after: Together | None = None,
    with_covariance: bool = True,
) -> Together:
    numbers = np.cumsum(chosen) - 1
    rows = candidates.rows.where(chosen[candidates.rows.thing])
    rows = rows.renumbered(numbers[rows.thing])
    mobile = candidates.mobile
    fast = np.hypot(*judged.motion.things[:, V_EAST:].T) > SURELY_MOVING_MPS
    moves = mobile & fast & (judged.moving > 0) & sort_motion
    start = np.where(moves[:, None], judged.motion.things, judged.still.things)[chosen]
    prior = judged.prior.where(chosen)
    if after:
        prior.sigma[:, V_EAST:] = STANDS_STILL_MPS
    may_move = mobile[chosen] if sort_motion else None
    return solve_together(
        rows, start, prior, frames, ground, camera, may_move=may_move, after=after, with_covariance=with_covariance
    )


def _once(
    seen: Observations, candidates: Candidates, judged: Judged, stands: BoolArray, joint: Together
) -> StandingThings:
    """Each thing once: what the joint solution still has twice goes to the one with more boxes."""
    numbers = np.cumsum(stands) - 1
    label = np.where((candidates.label >= 0) & stands[candidates.label], numbers[candidates.label], -1)
    kept = np.flatnonzero(stands)
    names = [candidates.names[i] for i in kept]
    every = np.ones(len(kept), dtype=bool)
    # Apart from the receiver's error, which all of them share.
    covariance = np.linalg.inv(judged.still.information[kept])[:, :2, :2]
    joined = merged(seen, label, candidates.group[kept], names, joint.things, covariance, every)
    boxes = np.bincount(label[label >= 0], minlength=len(kept))
    best: dict[int, int] = {}
    for thing in range(len(kept)):
        whole = int(joined[np.flatnonzero(label == thing)[0]])
        if whole not in best or boxes[thing] > boxes[best[whole]]:
            best[whole] = thing
    order = [best[whole] for whole in range(len(best))]
    return StandingThings([names[i] for i in order], joint.things[order], joint.covariance[order], joined, joint)
