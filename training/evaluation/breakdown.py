"""Where a model is good and where it is not: figures with intervals, by box size, light and sharpness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.evaluation.bootstrap import (
    ROUNDS,
    Figure,
    Pool,
    ap,
    ap50,
    interval,
    mean_interval,
    precision_above,
    recall_above,
)
from training.evaluation.conditions import LIGHT, SHARPNESS, Conditions
from training.evaluation.evaluate import FAMILIES, Looks, family_threshold, pool_of, report, rounded
from training.evaluation.metrics import SIZES
from training.sources import GROUPS
from vision.taxonomy import CLASSES

MEMBERS: dict[str, frozenset[str]] = {name: frozenset({name}) for name in CLASSES} | FAMILIES


def _bounds(low_high: tuple[float, float]) -> list[float] | None:
    low, high = (rounded(value) for value in low_high)
    return None if low is None or high is None else [low, high]


def measure(
    looks: Looks, conditions: Sequence[Conditions], shown: Mapping[str, float], rounds: int = ROUNDS
) -> dict[str, Any]:
    """The report of `evaluate` with an interval for every figure, and the same figures part by part.

    `conditions[i]` belong to `looks[i]`; an interval holds its figure nine times of ten (bootstrap over pictures).
    """
    found = report(looks, shown)
    pools = {name: pool_of(looks, members) for name, members in MEMBERS.items()}
    for part in ("classes", "families"):
        for name, entry in found[part].items():
            entry["mAP50_interval"] = _bounds(interval(pools[name], ap50, rounds=rounds))
            entry["mAP50-95_interval"] = _bounds(interval(pools[name], ap, rounds=rounds))
            at = entry["at_threshold"]
            for figure, of in (("precision", precision_above), ("recall", recall_above)):
                at[f"{figure}_interval"] = _bounds(interval(pools[name], of(at["threshold"]), rounds=rounds))
    for group, means in found["means"].items():
        known = [pools[name] for name in sorted(GROUPS[group])]
        for label, average in (("mAP50", ap50), ("mAP50-95", ap)):
            means[f"{label}_interval"] = _bounds(mean_interval(known, average, rounds=rounds))
    return found | {"breakdowns": breakdowns(looks, conditions, shown, rounds)}


def breakdowns(
    looks: Looks, conditions: Sequence[Conditions], shown: Mapping[str, float], rounds: int = ROUNDS
) -> dict[str, Any]:
    """Figures by COCO's box sizes, by light and by sharpness; classes without true boxes in a part are left out of it.

    A part states its cut: of areas in square pixels, of mean luminance, of the variance of the Laplacian.
    """
    sizes = {
        size: {"area": [area[0], area[1] if size != "large" else None], "classes": _classes(looks, shown, area, rounds)}
        for size, area in SIZES.items()
    }
    light = _parts(looks, conditions, lambda one: one.light, LIGHT, shown, rounds)
    sharpness = _parts(looks, conditions, lambda one: one.sharpness, SHARPNESS, shown, rounds)
    return {"size": sizes, "light": light, "sharpness": sharpness}


def _parts(
    looks: Looks,
    conditions: Sequence[Conditions],
    of: Callable[[Conditions], str],
    cuts: Sequence[tuple[str, float]],
    shown: Mapping[str, float],
    rounds: int,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, end in cuts:
        inside = [one for one, condition in zip(looks, conditions, strict=True) if of(condition) == name]
        below = None if end == float("inf") else end
        classes = _classes(inside, shown, (0.0, 1e10), rounds)
        found[name] = {"below": below, "pictures": len(inside), "classes": classes}
    return found


def _classes(looks: Looks, shown: Mapping[str, float], area: tuple[float, float], rounds: int) -> dict[str, Any]:
    found = {}
    for name, members in MEMBERS.items():
        pool = pool_of(looks, members, area)
        if pool.truths.sum():
            found[name] = _row(pool, family_threshold(shown, members), rounds)
    return found


def _row(pool: Pool, threshold: float, rounds: int) -> dict[str, Any]:
    """One class in one part: its boxes, and each figure with its interval (that of mAP50-95 would cost ten times)."""
    once = pool.once()
    figures: dict[str, Figure] = {
        "mAP50": ap50,
        "mAP50-95": ap,
        "precision": precision_above(threshold),
        "recall": recall_above(threshold),
    }
    row: dict[str, Any] = {"boxes": int(pool.truths.sum())}
    for label, figure in figures.items():
        row[label] = rounded(figure(pool, once))
        if label in ("mAP50", "recall"):
            row[f"{label}_interval"] = _bounds(interval(pool, figure, rounds=rounds))
    return row
