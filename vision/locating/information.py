"""The information matrix of one joint solution: its pattern is found once, and filled and factorised every round."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import SuperLU, splu

from vision.geo import FloatArray
from vision.locating.observations import IntArray

_COLUMNS_AT_ONCE = 64


class Information:
    """A symmetric sparse matrix over `size` unknowns whose entries stay where they are.

    `parts`: rows and columns of the entries that each part of a problem adds, repeated ones included; `at` are their
    places in `data`, part by part. Unknowns are eliminated in the order that suited the first matrix to be solved.
    """

    def __init__(self, size: int, parts: list[tuple[IntArray, IntArray]]) -> None:
        self.size = size
        # In 64 bits: an hour of driving has too many unknowns for the 32 that scipy may number them with.
        added = [column.astype(np.int64) * size + row for row, column in parts]
        keys, places = np.unique(np.concatenate(added), return_inverse=True)
        self.indices, column = keys % size, keys // size
        self.indptr = np.searchsorted(column, np.arange(size + 1))
        self.diagonal = np.flatnonzero(self.indices == column)
        bounds = np.cumsum([0] + [len(row) for row, _ in parts])
        self.at = [places[begin:end] for begin, end in itertools.pairwise(bounds)]
        self._order: IntArray | None = None
        self._taken, self._inner = np.arange(len(keys)), (self.indices, self.indptr)

    def added_up(self, part: int, values: FloatArray) -> FloatArray:
        """Data of the matrix that one part alone makes, whose values may fall on the same entry."""
        return np.bincount(self.at[part], values, minlength=len(self.indices)).astype(np.float64)

    def factor(self, data: FloatArray) -> Factor:
        """Factors of the matrix with that data."""
        if self._order is None:
            self._reorder(data)
        matrix = csc_array((data[self._taken], *self._inner), shape=(self.size,) * 2)
        assert self._order is not None
        return Factor(_factors(matrix, "NATURAL"), self._order)

    def _reorder(self, data: FloatArray) -> None:
        shape = (self.size,) * 2
        # This ordering fills in far less than the default one; to find it takes as long as to factorise.
        first = _factors(csc_array((data, self.indices, self.indptr), shape=shape), "MMD_AT_PLUS_A")
        self._order = np.argsort(first.perm_c)
        numbered = csc_array((np.arange(len(data)) + 1.0, self.indices, self.indptr), shape=shape)
        inner = csc_array(numbered[self._order][:, self._order])
        inner.sort_indices()
        self._taken, self._inner = inner.data.astype(np.int64) - 1, (inner.indices, inner.indptr)


class Factor:
    """A factorised matrix."""

    def __init__(self, factors: SuperLU, order: IntArray) -> None:
        self._factors, self._order = factors, order

    def solve(self, right: FloatArray) -> FloatArray:
        """The solution (size,) of the matrix times it being `right` (size,)."""
        found = np.empty_like(right)
        found[self._order] = self._factors.solve(right[self._order])
        return found

    def covariance(self, unknowns: IntArray) -> FloatArray:
        """Marginal covariances (t, d, d) of t groups of unknowns (t, d): those entries of the inverse matrix."""
        count, width = unknowns.shape
        place = np.empty(len(self._order), dtype=np.int64)
        place[self._order] = np.arange(len(place))
        inner, found = place[unknowns], np.empty((count, width, width))
        step = max(_COLUMNS_AT_ONCE // width, 1)
        for begin in range(0, count, step):
            part = inner[begin : begin + step]
            ones = np.zeros((len(place), part.size), order="F")
            ones[part.ravel(), np.arange(part.size)] = 1.0
            columns = self._factors.solve(ones)
            found[begin : begin + step] = columns[part[:, :, None], np.arange(part.size).reshape(-1, 1, width)]
        return found


def _factors(matrix: csc_array, ordering: str) -> SuperLU:
    # Neighbouring columns have little in common here: taking several at a time takes a tenth longer.
    return splu(matrix, permc_spec=ordering, diag_pivot_thresh=0.0, panel_size=1, options={"SymmetricMode": True})
