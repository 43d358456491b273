"""The matrix whose pattern is found once: filled, solved and inverted as a dense one would be."""

from __future__ import annotations

import numpy as np
import pytest

from vision.locating.information import Information


def problem(seed: int) -> tuple[Information, list[np.ndarray], np.ndarray]:
    """Blocks on random unknowns that fall on one another, and a diagonal: pattern, values of both parts, and the matrix
    they make."""
    rng = np.random.default_rng(seed)
    size, width, blocks = 40, 5, 30
    columns = np.array([rng.choice(size, width, replace=False) for _ in range(blocks)])
    slopes = rng.normal(size=(blocks, 3, width))
    squares = slopes.swapaxes(1, 2) @ slopes
    diagonal = rng.uniform(0.5, 2.0, size)
    rows, others = np.repeat(columns, width, axis=1).ravel(), np.tile(columns, width).ravel()
    dense = np.diag(diagonal)
    np.add.at(dense, (rows, others), squares.ravel())
    every = np.arange(size)
    return Information(size, [(rows, others), (every, every)]), [squares.ravel(), diagonal], dense


@pytest.mark.parametrize("seed", range(5))
def test_solves_and_inverts_like_a_dense_matrix(seed: int) -> None:
    """Also with other data in the same pattern, eliminated in the order that suited the first."""
    information, (squares, diagonal), dense = problem(seed)
    right = np.random.default_rng(seed + 100).normal(size=len(dense))
    for scale in (1.0, 7.0):
        data = information.added_up(0, squares) + information.added_up(1, scale * diagonal)
        matrix = dense + np.diag((scale - 1) * diagonal)
        factor = information.factor(data)
        assert factor.solve(right) == pytest.approx(np.linalg.solve(matrix, right), rel=1e-9)
        unknowns = np.arange(39).reshape(13, 3)
        inverse = np.linalg.inv(matrix)
        wanted = np.array([inverse[np.ix_(some, some)] for some in unknowns])
        assert factor.covariance(unknowns) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_diagonal_entries_are_known() -> None:
    """What damping scales are the entries on the diagonal, in their order."""
    information, (squares, diagonal), dense = problem(1)
    data = information.added_up(0, squares) + information.added_up(1, diagonal)
    assert data[information.diagonal] == pytest.approx(np.diag(dense))


def test_more_unknowns_than_their_products_fit_into_32_bits() -> None:
    """Scipy numbers small matrices in 32 bits; an hour of driving has 50,000 unknowns."""
    size = 50_000
    every = np.arange(size, dtype=np.int32)
    information = Information(size, [(every, every), (every[1:], every[:-1]), (every[:-1], every[1:])])
    ones = np.ones(size)
    data = information.added_up(0, 3 * ones) + information.added_up(1, -ones[1:]) + information.added_up(2, -ones[1:])
    solved = information.factor(data).solve(ones)
    assert solved[size // 2] == pytest.approx(1.0)  # in the middle 3x - x - x = 1
    assert data[information.diagonal] == pytest.approx(3 * ones)
