"""How sure a figure is: the same figure on random draws of the same pictures (percentile bootstrap, Efron 1979).

A draw only says how often each picture counts, so the matches are sorted once and weighted, never copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.evaluation.metrics import Floats, Matched, average_precisions, join

ROUNDS = 400
# The interval holds nine times of ten.
LOW, HIGH = 5.0, 95.0


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The matches of one class in many pictures as one list, best first.

    `owner` (detections,) is the index of each one's picture, `truths` (pictures,) the true boxes of each picture.
    """

    matched: Matched
    owner: npt.NDArray[np.int64]
    truths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, parts: Sequence[Matched]) -> Pool:
        """The pool of matches picture by picture."""
        rows = len(parts[0].hit) if parts else 1
        owner = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
        scores = np.concatenate([part.scores for part in parts]) if parts else np.zeros(0)
        truths = np.array([part.truths for part in parts], dtype=np.int64)
        return cls(join(parts, rows), owner[np.argsort(-scores, kind="stable")].astype(np.int64), truths)

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return len(self.truths)

    def once(self) -> Floats:
        """Every picture counts once."""
        return np.ones(self.pictures)


# A figure of a pool whose pictures count as often as the second argument (pictures,) says; NaN where it has no meaning.
Figure = Callable[[Pool, Floats], float]


def ap50(pool: Pool, times: Floats) -> float:
    """AP at IoU .5."""
    one = pool.matched
    first = Matched(one.scores, one.hit[:1], one.void[:1], float(pool.truths @ times))
    return float(average_precisions(first, times[pool.owner])[0])


def ap(pool: Pool, times: Floats) -> float:
    """AP over IoU .5 to .95."""
    one = pool.matched
    weighted = Matched(one.scores, one.hit, one.void, float(pool.truths @ times))
    return float(average_precisions(weighted, times[pool.owner]).mean())


def recall_above(threshold: float) -> Figure:
    """The share of true boxes found at IoU .5 with at least this score."""

    def recall(pool: Pool, times: Floats) -> float:
        truths = float(pool.truths @ times)
        return _right(pool, times, threshold) / truths if truths else float("nan")

    return recall


def precision_above(threshold: float) -> Figure:
    """The share of detections with at least this score that are right at IoU .5; those in ignored places are none."""

    def precision(pool: Pool, times: Floats) -> float:
        shown = ~pool.matched.void[0] & (pool.matched.scores >= threshold)
        count = float(times[pool.owner][shown].sum())
        return _right(pool, times, threshold) / count if count else float("nan")

    return precision


def _right(pool: Pool, times: Floats, threshold: float) -> float:
    one = pool.matched
    return float(times[pool.owner][one.hit[0] & ~one.void[0] & (one.scores >= threshold)].sum())


def draws(pictures: int, rounds: int, seed: int = 0) -> Iterator[Floats]:
    """`rounds` draws with replacement: how often each picture counts (pictures,)."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.bincount(rng.integers(0, pictures, pictures), minlength=pictures).astype(np.float64)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The bounds that hold nine values of ten; NaN without values."""
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return float("nan"), float("nan")
    low, high = np.percentile(known, (LOW, HIGH))
    return float(low), float(high)


def interval(pool: Pool, figure: Figure, seed: int = 0, rounds: int = ROUNDS) -> tuple[float, float]:
    """The interval of a figure that holds nine times of ten; NaN where the class has no true box."""
    return mean_interval([pool], figure, seed, rounds)


def mean_interval(pools: Sequence[Pool], figure: Figure, seed: int = 0, rounds: int = ROUNDS) -> tuple[float, float]:
    """The interval of a figure's mean over classes that are known in the same pictures; NaN where no class has boxes.

    A class whose few pictures a draw leaves out counts for nothing in that draw.
    """
    pools = [pool for pool in pools if pool.truths.sum()]
    if not pools:
        return float("nan"), float("nan")
    values = []
    for times in draws(pools[0].pictures, rounds, seed):
        known = [value for value in (figure(pool, times) for pool in pools) if not np.isnan(value)]
        values.append(sum(known) / len(known) if known else float("nan"))
    return percentiles(values)
