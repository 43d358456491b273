"""The cheapest one-to-one assignment, exact and deterministic."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cheapest(costs: Sequence[Sequence[float]]) -> list[int]:
    """For each row the column it gets, so that the sum of costs is least; no column is given twice.

    `costs`: n rows of m ≥ n columns; `math.inf` forbids a pair, yet each row must have a column left. The Hungarian
    method with potentials, O(n² m) (J. Munkres, 1957; the shortest-path form after R. Jonker and A. Volgenant, 1987).
    """
    n = len(costs)
    m = len(costs[0]) if n else 0
    if any(len(row) != m for row in costs) or m < n:
        raise ValueError(f"expected {n} rows of one length, at least {n}")
    row_price = [0.0] * (n + 1)
    column_price = [0.0] * (m + 1)
    owner = [0] * (m + 1)  # 1-based row of each column, 0 when free; column 0 is where the search starts
    for row in range(1, n + 1):
        owner[0] = row
        column = 0
        best = [math.inf] * (m + 1)
        came_from = [0] * (m + 1)
        done = [False] * (m + 1)
        while owner[column]:
            done[column] = True
            here, step, following = owner[column], math.inf, 0
            for j in range(1, m + 1):
                if done[j]:
                    continue
                reduced = costs[here - 1][j - 1] - row_price[here] - column_price[j]
                if reduced < best[j]:
                    best[j], came_from[j] = reduced, column
                if best[j] < step:
                    step, following = best[j], j
            if not following:
                raise ValueError(f"row {row - 1} has no column left")
            for j in range(m + 1):
                if done[j]:
                    row_price[owner[j]] += step
                    column_price[j] -= step
                else:
                    best[j] -= step
            column = following
        while column:
            owner[column] = owner[came_from[column]]
            column = came_from[column]
    result = [-1] * n
    for j in range(1, m + 1):
        if owner[j]:
            result[owner[j] - 1] = j - 1
    return result
