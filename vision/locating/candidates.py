"""Followed things as problems to solve: which boxes to use, where to start, and which of them are one thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision.boxes import area
from vision.camera import Camera
from vision.geo import FloatArray, median
from vision.locating.association import Spots
from vision.locating.cuboid import LENGTH, V_EAST, V_NORTH, WIDTH, YAW, BoxRows, FrameStates, box_rows
from vision.locating.observations import BoolArray, IntArray, Observations
from vision.locating.standing import ELONGATED, MOVING_SIGMA_MPS, Prior, Solved, prior_of, solve_both, solve_each

# Boxes whose range differs by less than this share and whose bearing by less than this angle show one aspect.
ASPECT_RANGE, ASPECT_BEARING = 0.15, np.radians(10.0)
ASPECT_S = 5.0
_STEP_MPS = 1.0
FARTHEST_JOIN_M, SPLINTER = 3.0, 2
# Odds of moving against standing, as logarithms, before looking; what is not mobile moves only when someone carries it.
MOBILE_ODDS, IMMOBILE_ODDS = 0.0, -3.0
MOBILE = frozenset(
    {"vehicle", "car", "van", "truck", "bus", "tram", "misc", "person", "pedestrian", "person_sitting", "cyclist"}
)
# Of two boxes in one frame, one shows a part of what the other shows when this much of it lies within.
WITHIN = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """t followed things. `label` (n,): the thing of each box, −1 for none; `rows`: the boxes to solve with; `names`:
    the class with the most score, `class_of` (t,) its index; `group`, `boxes` (t,): its kindred group, and how many
    boxes it has; `place` (t, 2) and `path_yaw` (t,): rough place and the vehicle's direction when nearest, radians
    anticlockwise from east; `drift` (t, 4): place and velocity if it moves evenly."""

    label: IntArray
    rows: BoxRows
    names: list[str]
    class_of: IntArray
    group: IntArray
    boxes: IntArray
    place: FloatArray
    path_yaw: FloatArray
    drift: FloatArray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mobile(self) -> BoolArray:
        """Which of the things (t,) are of a kind that drives or walks."""
        return np.array([name in MOBILE for name in self.names], dtype=bool)

    def where(self, keep: BoolArray) -> Candidates:
        """Only the selected things (t,), numbered anew; boxes of others are nobody's."""
        numbers = np.where(keep, np.cumsum(keep) - 1, -1)
        rows = self.rows.where(keep[self.rows.thing])
        return Candidates(
            np.where(self.label >= 0, numbers[self.label], -1),
            rows.renumbered(numbers[rows.thing]),
            [name for name, kept in zip(self.names, keep, strict=True) if kept],
            self.class_of[keep],
            self.group[keep],
            self.boxes[keep],
            self.place[keep],
            self.path_yaw[keep],
            self.drift[keep],
        )

    def boxes_of(self) -> list[bytes]:
        """What tells the things' sets of boxes apart: one key per thing (t,)."""
        held = np.flatnonzero(self.label >= 0)
        held = held[np.argsort(self.label[held], kind="stable")]
        return [part.tobytes() for part in np.split(held, np.cumsum(self.boxes))[:-1]]


def gather(seen: Observations, spots: Spots, label: IntArray, shake_px: float, camera: Camera) -> Candidates:
    """The candidates that `label` (n,) makes of the boxes; labels are 0 … t − 1, every one of them used."""
    used = np.flatnonzero(label >= 0)
    thing = label[used]
    count = int(label.max()) + 1 if len(used) else 0
    votes = np.zeros((count, max(1, len(seen.class_names))))
    np.add.at(votes, (thing, seen.name[used]), seen.score[used] + 1e-6)
    chosen, per_aspect = _thinned(seen, spots, used, thing)
    rows = box_rows(seen, chosen, label[chosen], per_aspect, shake_px, camera)
    spot, place = spots.information[chosen], spots.place[chosen]
    # Weighted means: of the places alone, and with an even motion.
    still, toward = np.zeros((count, 2, 2)), np.zeros((count, 2))
    np.add.at(still, rows.thing, spot)
    np.add.at(toward, rows.thing, np.einsum("nij,nj->ni", spot, place))
    spread = np.concatenate(
        [np.tile(np.eye(2), (len(chosen), 1, 1)), rows.elapsed_s[:, None, None] * np.eye(2)], axis=2
    )
    weighted = spot @ spread
    moving, drift = np.zeros((count, 4, 4)), np.zeros((count, 4))
    np.add.at(moving, rows.thing, spread.swapaxes(1, 2) @ weighted)
    np.add.at(drift, rows.thing, np.einsum("nij,ni->nj", weighted, place))
    moving += np.diag([1e-6, 1e-6, MOVING_SIGMA_MPS**-2, MOVING_SIGMA_MPS**-2])
    by_range = np.lexsort((spots.range_m[used], thing))
    nearest = used[by_range][np.searchsorted(thing[by_range], np.arange(count))]
    return Candidates(
        label,
        rows,
        [seen.class_names[i] for i in votes.argmax(axis=1)],
        votes.argmax(axis=1),
        seen.groups[votes.argmax(axis=1)] if count else seen.group[nearest],
        np.bincount(thing, minlength=count),
        np.linalg.solve(still, toward[..., None])[..., 0],
        np.pi / 2 - seen.heading[seen.frame[nearest]],
        np.linalg.solve(moving, drift[..., None])[..., 0],
    )


def _thinned(seen: Observations, spots: Spots, used: IntArray, thing: IntArray) -> tuple[IntArray, IntArray]:
    """The first and the last box of each aspect and few seconds; how many of each aspect are kept."""
    aspect = _numbered(
        thing,
        np.floor(np.log(spots.range_m[used]) / ASPECT_RANGE),
        np.floor(np.arctan2(spots.toward[used, 0], spots.toward[used, 1]) / ASPECT_BEARING),
    )
    spell = _numbered(aspect, np.floor((seen.time_s[seen.frame[used]] - seen.time_s[0]) / ASPECT_S))
    _, group, size = np.unique(spell, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    rank = np.empty(len(used), dtype=np.int64)
    rank[order] = np.arange(len(used)) - np.repeat(np.cumsum(size) - size, size)
    of = size[group]
    kept = (rank == 0) | (rank == of - 1)
    _, same, together = np.unique(aspect[kept], return_inverse=True, return_counts=True)
    return used[kept], together[same]


def _numbered(*columns: IntArray | FloatArray) -> IntArray:
    """One number (n,) for what columns (n,) of whole numbers say together, in the order of the first column, then the
    second, …"""
    number = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        low = int(column.min(initial=0))
        number = number * (int(column.max(initial=0)) - low + 1) + column.astype(np.int64) - low
    return number


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Candidates solved as standing and as moving. `moving` (t,): logarithm of how much more evidence there is for
    even motion, −∞ where it was out of the question; `motion`: that solution."""

    still: Solved
    prior: Prior
    moving: FloatArray
    motion: Solved

    def where(self, keep: BoolArray | IntArray) -> Judged:
        """Only the selected things."""
        return Judged(self.still.where(keep), self.prior.where(keep), self.moving[keep], self.motion.where(keep))

    def followed_by(self, others: Judged) -> Judged:
        """These things and then the others."""
        return Judged(
            Solved.of_all((self.still, others.still)),
            self.prior.followed_by(others.prior),
            np.concatenate((self.moving, others.moving)),
            Solved.of_all((self.motion, others.motion)),
        )


class Judge:
    """Judges candidates in the same frames again and again; what had the same boxes before is not solved anew."""

    def __init__(self, frames: FrameStates, camera: Camera, own_sigma: FloatArray, still_mps: float) -> None:
        self._given = frames, camera, own_sigma, still_mps
        self._numbers: dict[bytes, int] = {}
        self._judged: Judged | None = None

    def __call__(self, candidates: Candidates) -> Judged:
        """As `judge`."""
        keys = candidates.boxes_of()
        fresh = np.array([key not in self._numbers for key in keys], dtype=bool)
        if self._judged is None or fresh.any():
            new = judge(candidates.where(fresh), *self._given)
            self._judged = self._judged.followed_by(new) if self._judged else new
            self._numbers |= {keys[i]: len(self._numbers) + n for n, i in enumerate(np.flatnonzero(fresh))}
        return self._judged.where(np.array([self._numbers[key] for key in keys], dtype=np.int64))


def judge(
    candidates: Candidates,
    frames: FrameStates,
    camera: Camera,
    own_sigma: FloatArray,
    still_mps: float,
) -> Judged:
    """Solve every candidate as standing, along and across the road, and as moving evenly."""
    rows = candidates.rows
    along = prior_of(candidates.names, candidates.place, candidates.path_yaw, still_mps)
    across = Prior(along.mean.copy(), along.sigma)
    across.mean[:, YAW] += np.pi / 2
    long = along.mean[:, LENGTH] > along.mean[:, WIDTH] + np.log(ELONGATED)
    part, numbers = _part(rows, long)
    priors = (along, across.where(long))
    still, other = solve_both((rows, part), (along.mean, priors[1].mean), priors, frames, camera, own_sigma)
    other = other.spread(numbers)
    turned = other.log_evidence > still.log_evidence
    prior = Prior(np.where(turned[:, None], across.mean, along.mean), along.sigma)
    still = still.better(other)

    fast = np.hypot(*candidates.drift[:, 2:].T) > _STEP_MPS
    yaw = np.where(fast, np.arctan2(candidates.drift[:, 3], candidates.drift[:, 2]), prior.mean[:, YAW])
    moving = prior_of(candidates.names, candidates.drift[:, :2], yaw, MOVING_SIGMA_MPS)
    start = moving.mean.copy()
    start[:, V_EAST : V_NORTH + 1] = candidates.drift[:, 2:]
    start = np.where(fast[:, None], start, still.things)
    # An even motion, which has more to be chosen, has at most as much more evidence as standing costs.
    doubtful = candidates.mobile | (still.cost > -IMMOBILE_ODDS)
    part, numbers = _part(rows, doubtful)
    motion = solve_each(part, start[doubtful], moving.where(doubtful), frames, camera, own_sigma).spread(numbers)
    return Judged(still, prior, motion.log_evidence - still.log_evidence, motion)


def _part(rows: BoxRows, which: BoolArray) -> tuple[BoxRows, IntArray]:
    """The rows of the things `which` (t,) selects, these numbered anew, and the new number of each thing, −1 for the
    others."""
    numbers = np.where(which, np.cumsum(which) - 1, -1)
    part = rows.where(which[rows.thing])
    return part.renumbered(numbers[part.thing]), numbers


def merged(
    seen: Observations,
    label: IntArray,
    groups: IntArray,
    names: list[str],
    things: FloatArray,
    covariance: FloatArray,
    allowed: BoolArray,
) -> IntArray:
    """Labels with those candidates joined that are one thing seen twice: near for their errors, and never side by side.

    `groups`, `names`, `allowed` (t,): kindred group, class, and which may be joined; `things` (t, 9), `covariance`
    (t, 2, 2) of east and north.
    """
    count = len(things)
    if count < 2:
        return compact(label)
    row_of: list[dict[int, int]] = [{} for _ in range(count)]
    for row in np.flatnonzero(label >= 0):
        row_of[label[row]][int(seen.frame[row])] = int(row)
    away = things[:, None, :2] - things[None, :, :2]
    distance = np.linalg.norm(away, axis=2)
    # Near means footprints that overlap; for one and the same class also within reach, and for a splinter of a box or
    # two within its error.
    splinter = np.array([len(rows) for rows in row_of]) <= SPLINTER
    error = np.where(splinter, np.minimum(np.sqrt(np.trace(covariance, axis1=1, axis2=2)), FARTHEST_JOIN_M), 0.0)
    same = np.array(names)[:, None] == np.array(names)[None, :]
    length = np.exp((things[:, None, LENGTH] + things[None, :, LENGTH]) / 2)
    cap = 0.2 + 0.2 * length + same * (0.6 + 0.2 * length + np.maximum(error[:, None], error[None, :]))
    i, j = np.nonzero(np.triu((distance < cap) & (groups[:, None] == groups) & allowed[:, None] & allowed, 1))
    if not len(i):
        return compact(label)
    both = covariance[i] + covariance[j] + np.eye(2) * 0.2**2
    gap = np.einsum("ni,nij,nj->n", away[i, j], np.linalg.inv(both), away[i, j])
    parent = np.arange(count)
    members = [[k] for k in range(count)]
    for p in np.lexsort((j, i, gap)):
        if gap[p] > 9.0:
            break
        a, b = parent[i[p]], parent[j[p]]
        if a == b or any(side_by_side(seen, row_of[x], row_of[y]) for x in members[a] for y in members[b]):
            continue
        a, b = min(a, b), max(a, b)
        for k in members[b]:
            parent[k] = a
        members[a] += members[b]
    joined = np.where(label >= 0, parent[np.maximum(label, 0)], -1)
    return compact(joined)


def compact(label: IntArray) -> IntArray:
    """The same labels numbered 0 … t − 1 in their order, −1 kept."""
    kept = np.unique(label[label >= 0])
    return np.where(label >= 0, np.searchsorted(kept, label), -1)


def side_by_side(seen: Observations, a: dict[int, int], b: dict[int, int]) -> bool:
    """Whether frames show both as two things: boxes that neither cover one another nor lie one within the other.

    `a`, `b`: the row of each frame's box.
    """
    frames = sorted(a.keys() & b.keys())
    if not frames:
        return False
    first, second = seen.box[[a[f] for f in frames]], seen.box[[b[f] for f in frames]]
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    shared = np.maximum(high - low, 0.0).prod(axis=1)
    smaller = np.minimum(area(first), area(second))
    return median(shared / np.maximum(smaller, 1.0)) < WITHIN
