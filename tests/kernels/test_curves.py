"""Test responses and sections along lines against the sums that define them."""

from __future__ import annotations

import numpy as np
import pytest

from convcli.kernels import Kernel, kernel, kernel_sections, response, response_curves

RNG = np.random.default_rng(7)


def gain(taps: np.ndarray, frequency: np.ndarray) -> float:
    """Return |H| at one frequency, term by term."""
    places = np.stack(np.meshgrid(*map(np.arange, taps.shape), indexing="ij"), axis=-1)
    return float(abs((taps * np.exp(-2j * np.pi * (places @ frequency))).sum()))


@pytest.mark.parametrize("shape", [(7,), (3, 5), (4, 1), (2, 3, 4), (2, 2, 3, 2)])
def test_gains_along_axes_are_the_sums_of_the_definition(shape: tuple[int, ...]) -> None:
    taps = RNG.normal(size=shape)
    curves = response_curves(Kernel.of_taps("k", taps))
    axes = [axis for axis, size in enumerate(shape) if size > 1][::-1]
    assert len(curves) in (len(axes), len(axes) + 1)
    for axis, curve in zip(axes, curves, strict=False):
        assert curve.frequencies[[0, -1]].tolist() == [0, 0.5]
        for at in (0, 17, 120, 240):
            frequency = np.eye(len(shape))[axis] * curve.frequencies[at]
            assert curve.gains[at] == pytest.approx(gain(taps, frequency), abs=1e-9)


def test_the_line_to_the_peak_reaches_it() -> None:
    tilted = kernel("gabor:theta=30,wavelength=5")
    *axes, last = response_curves(tilted)
    found = response(tilted)
    assert [curve.along for curve in axes] == ["x", "y"]
    assert last.along == "the line to the peak"
    assert last.gains.max() == pytest.approx(found.peak, rel=1e-2)
    assert last.gains[0] == pytest.approx(abs(found.flat))


@pytest.mark.parametrize(
    ("name", "along"),
    [
        ("gaussian", ["x and y"]),
        ("sobel-x", ["x", "y"]),
        ("laplacian", ["x and y", "the line to the peak"]),
        ("identity:size=1", ["x"]),
        ("1,2,1", ["x"]),
        ("1;2;1", ["y"]),
    ],
)
def test_equal_axes_are_one_curve(name: str, along: list[str]) -> None:
    assert [curve.along for curve in response_curves(kernel(name))] == along


def test_zeros_of_small_kernels_are_exact() -> None:
    for taps, at in (([1, 1], 240), ([1, 1, 1], 160), ([1, 0, 1], 120), ([1] * 5, 96)):
        (curve,) = response_curves(Kernel.of_taps("box", taps))
        assert curve.gains[at] == 0
        assert not curve.silent
    assert [curve.silent for curve in response_curves(kernel("sobel-x"))] == [False, True]


def test_decibels() -> None:
    (curve,) = response_curves(Kernel.of_taps("k", [5.0, 5.0]))
    assert curve.decibels()[0] == pytest.approx(20)
    assert curve.decibels(-60)[-1] == -60
    with np.errstate(divide="ignore"):
        wanted = np.maximum(20 * np.log10(curve.gains), -80)
    assert np.array_equal(curve.decibels(), wanted)


def test_sections_pass_through_the_largest_tap() -> None:
    taps = RNG.normal(size=(4, 5, 6))
    taps[1, 3, 2] = -9
    centre, sections = kernel_sections(Kernel.of_taps("k", taps))
    assert centre == (1, 3, 2)
    assert [section.along for section in sections] == ["x", "y", "z"]
    for section, wanted in zip(
        sections, (taps[1, 3, :], taps[1, :, 2], taps[:, 3, 2]), strict=True
    ):
        assert np.array_equal(section.taps, wanted)
