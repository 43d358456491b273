"""Two models on the same pictures: is the difference more than luck? Paired bootstrap over pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from training.evaluation.bootstrap import ROUNDS, Figure, Pool, ap, ap50, draws, percentiles, recall_above
from training.evaluation.evaluate import Looks, pool_of
from vision.taxonomy import CLASSES


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A of one figure of one class: the value, and the interval that holds it nine times of ten."""

    class_name: str
    figure: str
    boxes: int
    a: float
    b: float
    low: float
    high: float


def check_same(a: Looks, b: Looks) -> None:
    """Paired means the same pictures in the same order. Raises ValueError when they are not."""
    if [picture.path for picture, _ in a] != [picture.path for picture, _ in b]:
        raise ValueError("the two models saw different pictures")


def difference(
    pools_a: Sequence[Pool], pools_b: Sequence[Pool], figures: tuple[Figure, Figure], seed: int, rounds: int
) -> tuple[float, float, float, float]:
    """The mean of a figure over classes for A and for B, and the bounds of B − A; the same draws of pictures for both.

    The pools are those of classes known in the same pictures, each with true boxes.
    """
    pairs = list(zip(pools_a, pools_b, strict=True))
    gaps = []
    for times in draws(pools_a[0].pictures, rounds, seed):
        known = [figures[1](two, times) - figures[0](one, times) for one, two in pairs if one.truths @ times]
        if known:
            gaps.append(sum(known) / len(known))
    once = pools_a[0].once()
    means = [sum(figures[i](pair[i], once) for pair in pairs) / len(pairs) for i in (0, 1)]
    return means[0], means[1], *percentiles(gaps)


def compare(
    a: Looks,
    b: Looks,
    shown_a: Mapping[str, float],
    shown_b: Mapping[str, float],
    seed: int = 0,
    rounds: int = ROUNDS,
) -> list[Difference]:
    """mAP50, mAP50-95 and recall at the shipped thresholds, class by class; classes without true boxes are left out.

    `a` and `b` are looks at the same pictures in the same order; ValueError when they are not.
    """
    check_same(a, b)
    found = []
    for name in CLASSES:
        pools = [pool_of(looks, frozenset({name})) for looks in (a, b)]
        boxes = int(pools[0].truths.sum())
        if not boxes:
            continue
        recalls = (recall_above(shown_a[name]), recall_above(shown_b[name]))
        for label, pair in (("mAP50", (ap50, ap50)), ("mAP50-95", (ap, ap)), ("recall", recalls)):
            found.append(Difference(name, label, boxes, *difference(pools[:1], pools[1:], pair, seed, rounds)))
    return found


def mean_difference(
    a: Looks, b: Looks, names: Iterable[str], figure: Figure = ap, seed: int = 0, rounds: int = ROUNDS
) -> Difference:
    """The difference of a figure's mean over classes of one group. Raises ValueError as `compare` does."""
    check_same(a, b)
    pools = [(pool_of(a, frozenset({name})), pool_of(b, frozenset({name}))) for name in sorted(names)]
    pools = [pair for pair in pools if pair[0].truths.sum()]
    boxes = sum(int(one.truths.sum()) for one, _ in pools)
    ours = [one for one, _ in pools], [two for _, two in pools]
    return Difference("mean", "mAP50-95", boxes, *difference(*ours, (figure, figure), seed, rounds))
