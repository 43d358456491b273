"""Which followed things are one: lost from sight and found again, or mixed up with a neighbour in between.

Two hypotheses are weighed: that the boxes of two followed things show one standing thing, or two. Both are solved and
their evidence (Laplace's approximation) compared, so that a far piece whose range is known to five metres joins what
stands along its line of sight, and equal things side by side stay apart. What is seen as two in one picture is two;
what takes turns, one of them in each picture though both should be in it, is rather one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vision.camera import Camera
from vision.geo import FloatArray
from vision.locating.candidates import Candidates, compact, side_by_side
from vision.locating.cuboid import BoxRows, FrameStates
from vision.locating.observations import BoolArray, IntArray, Observations, unlike
from vision.locating.standing import PLACE_SIGMA_M, Prior, Solved, solve_both

# Kindred things per square metre about one of them: a second thing is that likely to stand at a place.
DENSITY_PER_M2 = 0.05
# Logarithms of odds: of each picture that shows one of the two and should show both, up to so many; of another class.
TURN_ODDS, MOST_TURNS, CLASS_ODDS = 0.7, 10, -1.5
# Pairs further apart, for their errors, in metres or in seconds, are not weighed.
FARTHEST_SIGMAS, FARTHEST_M, LONGEST_S = 5.0, 25.0, 60.0
_ROUNDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Followed things (`members`) taken as one: their boxes by frame, and how they solve together."""

    members: tuple[int, ...]
    by_frame: dict[int, int]
    class_of: int
    start: FloatArray
    place: FloatArray
    covariance: FloatArray
    log_evidence: float
    spans: tuple[float, float]


class PairSolver:
    """Solves two pieces as one standing thing, in the same frames again and again; no two of the same boxes twice."""

    def __init__(self, frames: FrameStates, camera: Camera, own_sigma: FloatArray) -> None:
        """`own_sigma` (4,): as in `solve_each`."""
        self._given = frames, camera, own_sigma
        self._solved: dict[tuple[bytes, ...], Solved] = {}

    def together(
        self, seen: Observations, candidates: Candidates, prior: Prior, pairs: Sequence[tuple[_Piece, _Piece]]
    ) -> Solved:
        """The solution of each pair, from where either stands; the one with more boxes says what is known before."""
        boxes = candidates.boxes_of()
        keys = [
            (*(boxes[k] for k in a.members), a.start.tobytes(), *(boxes[k] for k in b.members), b.start.tobytes())
            for a, b in pairs
        ]
        new = [(pair, key) for pair, key in zip(pairs, keys, strict=True) if key not in self._solved]
        if new:
            rows = _rows(seen, candidates.rows, [a.members + b.members for (a, b), _ in new])
            first, second = (np.array([pair[k].start for pair, _ in new]) for k in (0, 1))
            priors = (prior.where(np.array([_larger(*pair).members[0] for pair, _ in new])),) * 2
            one, other = solve_both((rows, rows), (first, second), priors, *self._given)
            better = one.better(other)
            self._solved |= {key: better.where(np.array([p])) for p, (_, key) in enumerate(new)}
        return Solved.of_all(self._solved[key] for key in keys)


def _larger(a: _Piece, b: _Piece) -> _Piece:
    return a if len(a.by_frame) >= len(b.by_frame) else b


def one_thing(
    seen: Observations, candidates: Candidates, still: Solved, prior: Prior, allowed: BoolArray, solver: PairSolver
) -> IntArray:
    """Labels (n,) of the boxes with those candidates joined that show one standing thing.

    `still`, `prior`: the candidates as standing things, solved one by one, and the priors of that; `allowed` (t,):
    which may be joined.
    """
    label = candidates.label
    covariance = np.linalg.inv(still.information)[:, :2, :2]
    by_frame: list[dict[int, int]] = [{} for _ in range(len(candidates))]
    for row in np.flatnonzero(label >= 0):
        by_frame[label[row]][int(seen.frame[row])] = int(row)
    pieces: dict[int, _Piece] = {}
    for k in np.flatnonzero(allowed):
        times = seen.time_s[[min(by_frame[k]), max(by_frame[k])]]
        pieces[int(k)] = _Piece(
            (int(k),),
            by_frame[k],
            int(candidates.class_of[k]),
            still.things[k],
            still.things[k, :2],
            covariance[k],
            float(still.log_evidence[k]),
            (float(times[0]), float(times[1])),
        )
    fresh = set(pieces)
    for _ in range(_ROUNDS):
        near = _near(seen, pieces, fresh)
        pairs = [(i, j) for i, j in near if not side_by_side(seen, pieces[i].by_frame, pieces[j].by_frame)]
        if not pairs:
            break
        together = solver.together(seen, candidates, prior, [(pieces[i], pieces[j]) for i, j in pairs])
        gain = together.log_evidence - [pieces[i].log_evidence + pieces[j].log_evidence for i, j in pairs]
        names = np.array([[pieces[i].class_of, pieces[j].class_of] for i, j in pairs])
        gain += CLASS_ODDS * unlike(seen, names[:, 0], names[:, 1])
        gain -= np.log(DENSITY_PER_M2 * 2 * np.pi * PLACE_SIGMA_M**2)
        for p, (i, j) in enumerate(pairs):
            a, b = pieces[i], pieces[j]
            turns = len(a.by_frame) + len(b.by_frame) - 2 * len(a.by_frame.keys() & b.by_frame.keys())
            gain[p] += TURN_ODDS * min(turns, MOST_TURNS)
        spread = np.linalg.inv(together.information)[:, :2, :2]
        taken: set[int] = set()
        fresh = set()
        for p in np.argsort(-gain, kind="stable"):
            i, j = pairs[p]
            if gain[p] <= 0:
                break
            if taken & {i, j}:
                continue
            taken |= {i, j}
            a, b = pieces[i], pieces.pop(j)
            head = _larger(a, b)
            pieces[i] = replace(
                head,
                members=head.members + (b if head is a else a).members,
                by_frame={**b.by_frame, **a.by_frame},
                start=together.things[p],
                place=together.things[p, :2],
                covariance=spread[p],
                log_evidence=float(together.log_evidence[p]),
                spans=(min(a.spans[0], b.spans[0]), max(a.spans[1], b.spans[1])),
            )
            fresh.add(i)
    whole = np.arange(len(candidates))
    for i, piece in pieces.items():
        whole[list(piece.members)] = i
    return compact(np.where(label >= 0, whole[np.maximum(label, 0)], -1))


def _near(seen: Observations, pieces: dict[int, _Piece], fresh: set[int]) -> list[tuple[int, int]]:
    """Pairs of kindred pieces that may be one as far as their places go, one of each fresh."""
    keys = np.array(sorted(pieces))
    if len(keys) < 2:
        return []
    place = np.array([pieces[k].place for k in keys])
    covariance = np.array([pieces[k].covariance for k in keys])
    names = np.array([pieces[k].class_of for k in keys])
    kin = np.isfinite(unlike(seen, names[:, None], names))
    spans = np.array([pieces[k].spans for k in keys])
    new = np.array([k in fresh for k in keys])
    away = place[:, None] - place[None]
    apart_s = np.maximum(spans[:, None, 0] - spans[None, :, 1], spans[None, :, 0] - spans[:, None, 1])
    rough = (np.linalg.norm(away, axis=2) < FARTHEST_M) & kin & (apart_s < LONGEST_S)
    rough &= new[:, None] | new[None]
    first, second = np.nonzero(np.triu(rough, 1))
    both = covariance[first] + covariance[second] + np.eye(2) * 0.2**2
    off = away[first, second]
    gap = np.einsum("ni,ni->n", off, np.linalg.solve(both, off[..., None])[..., 0])
    near = gap < FARTHEST_SIGMAS**2
    return [(int(keys[i]), int(keys[j])) for i, j in zip(first[near], second[near], strict=True)]


def _rows(seen: Observations, rows: BoxRows, groups: list[tuple[int, ...]]) -> BoxRows:
    """The boxes of each group of things as those of one thing, in the order of the groups."""
    order = np.argsort(rows.thing, kind="stable")
    bounds = np.searchsorted(rows.thing[order], np.arange(int(rows.thing.max()) + 2))
    chosen = [np.concatenate([order[bounds[k] : bounds[k + 1]] for k in group]) for group in groups]
    thing = np.repeat(np.arange(len(groups)), [len(part) for part in chosen])
    picked = rows.where(np.concatenate(chosen)).renumbered(thing)
    time_s = seen.time_s[picked.frame]
    middle = np.bincount(thing, time_s) / np.bincount(thing)
    return replace(picked, elapsed_s=time_s - middle[thing])
