"""A kernel along lines: its taps along each axis, and its response from zero frequency on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.kernels.model import Kernel, Taps
from convcli.kernels.response import axes_in_words, response

SAMPLES = 241
"""Frequencies of a curve: among them are those at 1/2, 1/3, 1/4, 1/5 and 1/6 cycles per sample."""

_SAME = 1e-9  # relative difference below which two curves are equal, and a gain is zero


@dataclass(frozen=True, eq=False)
class ResponseCurve:
    """The gains along one line through zero frequency.

    along: the line in words. frequencies: (N,) float64 from 0 to 0.5 cycles per sample; of a line
    between axes, the largest of its frequencies. gains: (N,) float64.
    """

    along: str
    frequencies: NDArray[np.float64]
    gains: NDArray[np.float64]

    @property
    def silent(self) -> bool:
        """Whether every gain is zero."""
        return not self.gains.any()

    def decibels(self, lowest: float = -80.0) -> NDArray[np.float64]:
        """Return 20 log10 of the gains: 0 dB is a gain of 1; lower ones than `lowest` are that.

        >>> mean = Kernel.of_taps("mean", [0.5, 0.5])
        >>> response_curves(mean)[0].decibels()[[0, -1]]
        array([  0., -80.])
        """
        with np.errstate(divide="ignore"):
            return np.asarray(np.maximum(20 * np.log10(self.gains), lowest))


def response_curves(kernel: Kernel) -> tuple[ResponseCurve, ...]:
    """Return the response along every axis, and towards its peak if that lies between axes.

    Equal curves are one. An axis of a single tap has none, unless all axes are such.

    >>> (curve,) = response_curves(Kernel.of_taps("mean", [0.5, 0, 0.5]))
    >>> curve.along, float(curve.frequencies[120]), float(curve.gains[120])
    ('x', 0.25, 0.0)
    """
    taps = kernel.taps
    frequencies = np.linspace(0, 0.5, SAMPLES)
    scale = float(np.abs(taps).sum())
    gains = [
        (axis, _gains(taps, np.eye(taps.ndim)[axis], frequencies, scale))
        for axis in long_axes(taps)
    ]
    curves = [
        ResponseCurve(axes_in_words(axes, taps.ndim), frequencies, values)
        for axes, values in distinct_lines(gains, _SAME * scale)
    ]
    peak = np.array(response(kernel).peak_at)
    if np.count_nonzero(peak) > 1:
        direction = peak / np.abs(peak).max()
        values = _gains(taps, direction, frequencies, scale)
        curves.append(ResponseCurve("the line to the peak", frequencies, values))
    return tuple(curves)


class KernelSection(NamedTuple):
    """The taps along one axis, or along several if they are the same. along: the axes in words."""

    along: str
    taps: Taps


def kernel_sections(kernel: Kernel) -> tuple[tuple[int, ...], tuple[KernelSection, ...]]:
    """Return the index of the largest tap by magnitude, and the taps along each axis through it.

    >>> kernel_sections(Kernel.of_taps("k", [[0, 1, 0], [1, -4, 1], [0, 1, 0]]))
    ((1, 1), (KernelSection(along='x and y', taps=array([ 1., -4.,  1.])),))
    """
    taps = kernel.taps
    centre = tuple(int(at) for at in np.unravel_index(int(np.abs(taps).argmax()), taps.shape))
    lines = [
        (axis, np.moveaxis(taps, axis, 0)[:, *np.delete(centre, axis)]) for axis in long_axes(taps)
    ]
    return centre, tuple(
        KernelSection(axes_in_words(axes, taps.ndim), line)
        for axes, line in distinct_lines(lines, 0.0)
    )


def long_axes(taps: Taps) -> list[int]:
    """Return the axes of more than one tap, x first; the last axis if there are none."""
    found = [axis for axis, size in enumerate(taps.shape) if size > 1]
    return found[::-1] or [taps.ndim - 1]


def distinct_lines(
    lines: Sequence[tuple[int, Taps]], within: float
) -> list[tuple[list[int], Taps]]:
    """Return each line of those that are equal `within` a distance, with their axes in order."""
    found: list[tuple[list[int], Taps]] = []
    for axis, line in lines:
        equal = (
            axes
            for axes, known in found
            if len(known) == len(line) and np.abs(known - line).max() <= within
        )
        if (axes := next(equal, None)) is None:
            found.append(([axis], line))
        else:
            axes.insert(0, axis)
    return found


def _gains(
    taps: Taps, direction: Sequence[float] | NDArray[np.float64], frequencies: Taps, scale: float
) -> NDArray[np.float64]:
    """Return |H(f * direction)|: (*K), (D,), (N,) -> (N,); rounding errors of zero are zero."""
    waves = [
        np.exp(-2j * np.pi * np.outer(np.arange(size), frequencies * part))
        for size, part in zip(taps.shape, direction, strict=True)
    ]
    values = taps @ waves[-1]
    for wave in waves[-2::-1]:
        values = (values * wave).sum(axis=-2)
    gains = np.abs(values)
    return np.where(gains > _SAME * scale, gains, 0.0)
