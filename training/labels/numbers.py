"""Numbers out of JSON and XML, where nothing can be relied on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it reads as a number, NaN and infinity included; booleans do not."""
    if isinstance(value, bool) or value is None:
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def numbers(values: Iterable[Any]) -> list[float]:
    """All as floats; only for values that `is_number` accepts."""
    return [float(value) for value in values]


def stated_size(width: Any, height: Any) -> tuple[float, float] | None:
    """The size that an annotation states, None when it states none."""
    if not (is_number(width) and is_number(height)):
        return None
    w, h = float(width), float(height)
    return (w, h) if math.isfinite(w) and math.isfinite(h) and w > 0 and h > 0 else None
