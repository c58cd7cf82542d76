"""Test separable forms: the number of terms, and that their product is the taps."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convcli.engine import analysis
from convcli.errors import KernelError
from convcli.kernels import factorize, kernel, names
from convcli.kernels.model import outer

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)
INTEGERS = st.integers(-9, 9).map(float)


def error(taps: np.ndarray, terms: object) -> float:
    return float(np.linalg.norm(outer(terms) - taps))  # type: ignore[arg-type]


@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=4, max_side=5), elements=FINITE))
def test_terms_multiply_out_to_the_taps(taps: np.ndarray) -> None:
    terms = factorize(taps)
    assert all(tuple(map(len, term)) == taps.shape for term in terms)
    assert error(taps, terms) <= 2e-12 * np.linalg.norm(taps)


@given(
    st.lists(hnp.arrays(np.float64, st.integers(1, 6), elements=INTEGERS), min_size=1, max_size=4)
)
def test_a_product_of_integers_is_one_term_of_integers_exactly(factors: list[np.ndarray]) -> None:
    taps = reduce(np.multiply.outer, factors)
    terms = factorize(taps)
    assert len(terms) == 1
    np.testing.assert_array_equal(outer(terms), taps)
    assert all((factor % 1 == 0).all() for factor in terms[0])


@pytest.mark.parametrize("name", [n for n in names() if n != "random"])
def test_no_more_terms_than_the_bank_knows(name: str) -> None:
    k = kernel(name)
    terms = factorize(k)
    assert error(k.taps, terms) <= 1e-12 * np.linalg.norm(k.taps)
    assert len(terms) <= (k.rank or min(k.shape))


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 5), (2, 3, 4, 5)])
def test_a_kernel_rounded_to_float32_is_found_by_a_wider_tolerance(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    taps = reduce(np.multiply.outer, [rng.normal(size=n) for n in shape]).astype(np.float32)
    assert len(factorize(taps)) > 1
    terms = factorize(taps, tolerance=1e-6)
    assert len(terms) == 1
    assert error(taps, terms) <= 1e-6 * np.linalg.norm(taps)


@given(st.integers(1, 4), st.integers(4, 8), st.integers(4, 8), st.integers(0, 99))
def test_the_rank_of_a_plane_is_found(rank: int, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, rank)))[0] for n in (height, width))
    taps = left @ right.T
    assert len(factorize(taps)) == rank


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1, 1e160, 1e300])
def test_far_magnitudes_neither_overflow_nor_vanish(scale: float) -> None:
    taps = np.array([[1.0, 2.0], [3.0, 5.0]]) * scale
    np.testing.assert_allclose(outer(factorize(taps)), taps, rtol=1e-12)


def test_signs_are_settled_by_the_first_factor() -> None:
    ((column, row),) = factorize(-np.outer([1, 2, 1], [-1, 0, 1]))
    assert (column.tolist(), row.tolist()) == ([1, 2, 1], [1, 0, -1])


def test_zeros_are_one_term_of_zeros() -> None:
    ((column, row),) = factorize(np.zeros((2, 3)))
    assert (column.tolist(), row.tolist()) == ([0, 0], [0, 0, 0])


@pytest.mark.parametrize("taps", [[[1, np.nan]], 3.0, [[]], [1j]])
def test_what_is_no_kernel_is_refused(taps: object) -> None:
    with pytest.raises(KernelError):
        factorize(taps)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rank", "terms"), [(1, 1), (3, 3), (65, 0), (200, 0)])
def test_a_large_kernel_of_many_terms_is_told_without_finding_them(
    rank: int, terms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    taps = rng.standard_normal((200, rank)) @ np.linalg.qr(rng.standard_normal((220, rank)))[0].T
    if terms == 0:
        monkeypatch.setattr(analysis, "factors", lambda *given: pytest.fail("they were looked for"))
    assert analysis.separable_terms(taps, "float64") == terms


def test_one_product_is_found_without_an_svd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.linalg, "svd", lambda *given, **options: pytest.fail("an SVD was made"))
    column, row = np.arange(1.0, 400.0), np.arange(-7.0, 900.0)
    ((left, right),) = factorize(np.multiply.outer(column, row))
    np.testing.assert_array_equal(np.multiply.outer(left, right), np.multiply.outer(column, row))
