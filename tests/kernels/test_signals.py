"""Test the kernels for signals against scipy.signal, astropy and Pillow, and their bands."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from astropy.convolution import Moffat2DKernel, RickerWavelet1DKernel, RickerWavelet2DKernel
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, signal

from convcli.errors import KernelError, LimitError
from convcli.kernels import kernel, kernel_bands, response
from convcli.kernels.ranges import MAX_KERNELS, expand_ranges

WINDOWS = {"hamming": "hamming", "hann": "hann", "blackman": "blackman", "box": "boxcar"}
FILTERS = {
    "lowpass": (1, 0),
    "highpass": (0, 1),
    "bandpass": (0, 1, 0),
    "bandstop": (1, 0, 1),
}
"""The gains in the bands between 0, the cutoffs and 0.5."""


def _cutoff_text(cutoffs: list[float]) -> str:
    return "-".join(map(repr, cutoffs))


@given(
    st.sampled_from(list(FILTERS)),
    st.integers(1, 80),
    st.sampled_from([*WINDOWS, "kaiser"]),
    st.lists(st.floats(0.001, 0.499), min_size=2, max_size=2, unique=True).map(sorted),
    st.floats(0, 20),
)
def test_filters_are_those_of_firwin(
    kind: str, half: int, window: str, cutoffs: list[float], beta: float
) -> None:
    chosen = cutoffs if kind.startswith("band") else cutoffs[:1]
    size = 2 * half + 1
    reference = f"{kind}:cutoff={_cutoff_text(chosen)},taps={size},window={window},beta={beta!r}"
    named = ("kaiser", beta) if window == "kaiser" else WINDOWS[window]
    expected = signal.firwin(
        size, chosen if len(chosen) > 1 else chosen[0], window=named, pass_zero=kind, fs=1
    )
    taps = kernel(reference, dims=1).taps
    np.testing.assert_allclose(taps, expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["lowpass", "bandpass"])
def test_filters_that_stop_the_highest_frequency_may_be_even(kind: str) -> None:
    cutoffs = [0.1, 0.2] if kind == "bandpass" else [0.1]
    expected = signal.firwin(20, cutoffs, pass_zero=kind, fs=1)
    taps = kernel(f"{kind}:cutoff={_cutoff_text(cutoffs)},taps=20", dims=1).taps
    np.testing.assert_allclose(taps, expected, atol=1e-15)


def test_a_lowpass_of_several_axes_is_their_product() -> None:
    one = kernel("lowpass:cutoff=0.2", dims=1).taps
    np.testing.assert_allclose(kernel("lowpass:cutoff=0.2").taps, np.outer(one, one), atol=1e-17)


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("low", [0.02, 0.1, 0.24])
def test_the_number_of_taps_lets_a_filter_pass_and_stop(kind: str, low: float) -> None:
    cutoffs = [low, low + 0.2] if kind.startswith("band") else [low]
    made = kernel(f"{kind}:{_cutoff_text(cutoffs)}", dims=1)
    edges = [0.0, *cutoffs, 0.5]
    middles = [(before + after) / 2 for before, after in pairwise(edges)]
    _, gains = signal.freqz(made.taps, worN=middles, fs=1)
    np.testing.assert_allclose(np.abs(gains), FILTERS[kind], atol=0.01)


@given(st.integers(0, 10), st.integers(0, 6), st.integers(0, 6))
def test_savgol_is_that_of_scipy(half: int, order: int, deriv: int) -> None:
    size = 2 * half + 1
    reference = f"savgol:window={size},order={order},deriv={deriv}"
    if order >= size or deriv > order:
        with pytest.raises(KernelError, match="expected"):
            kernel(reference)
        return
    expected = signal.savgol_coeffs(size, order, deriv=deriv, use="dot")
    np.testing.assert_allclose(
        kernel(reference).taps, expected, atol=1e-12 * max(np.abs(expected).max(), 1)
    )


@pytest.mark.parametrize("size", [3, 4, 9, 32])
@pytest.mark.parametrize(
    ("family", "window"),
    [
        ("hann", "hann"),
        ("hamming", "hamming"),
        ("kaiser:beta=3.5", ("kaiser", 3.5)),
        ("exponential:tau=2.5", ("exponential", None, 2.5)),
    ],
)
def test_windows_are_those_of_scipy(family: str, window: object, size: int) -> None:
    name, colon, own = family.partition(":")
    expected = signal.get_window(window, size, fftbins=False)
    made = kernel(f"{name}:size={size}{',' if colon else ''}{own}", dims=2)
    one = expected / expected.sum()
    np.testing.assert_allclose(made.taps, np.outer(one, one), atol=1e-15)
    assert made.rank == 1


@pytest.mark.parametrize(("gamma", "alpha"), [(1.5, 2.5), (3, 4.765)])
def test_moffat_is_that_of_astropy(gamma: float, alpha: float) -> None:
    theirs = Moffat2DKernel(gamma, alpha, x_size=31, y_size=31)
    theirs.normalize()
    ours = kernel(f"moffat:gamma={gamma},alpha={alpha},size=31x31").taps
    np.testing.assert_allclose(ours, theirs.array, atol=1e-15)
    whole = kernel(f"moffat:gamma={gamma},alpha={alpha}").taps
    middle, edge = whole[len(whole) // 2, len(whole) // 2], whole[len(whole) // 2, 0]
    assert edge <= middle / 1000 < whole[len(whole) // 2, 2]


@pytest.mark.parametrize("sigma", [2, 3.5])
def test_the_mexican_hat_is_that_of_astropy(sigma: float) -> None:
    size = 2 * int(6 * sigma) + 1
    for dims, made in ((1, RickerWavelet1DKernel), (2, RickerWavelet2DKernel)):
        ours = kernel(f"mexican-hat:sigma={sigma},size={size}", dims=dims)
        theirs = made(sigma, **dict.fromkeys(("x_size", "y_size")[:dims], size)).array
        np.testing.assert_allclose(ours.taps, theirs, atol=1e-7 * np.abs(theirs).max())
        assert ours.gain == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize(("scale", "size"), [(3, "auto"), (2, "12"), (4, "24"), (5, "auto")])
def test_lanczos_and_a_stride_reduce_as_pillow_does(scale: int, size: str) -> None:
    data = np.random.default_rng(1).normal(size=(60, 120)).astype(np.float32)
    taps = kernel(f"lanczos:scale={scale},size={size}").taps
    inside = slice(3, -3)
    reduced = Image.fromarray(data).resize(
        (data.shape[1] // scale, data.shape[0] // scale), Image.Resampling.LANCZOS
    )
    first = (scale - 1) // 2
    ours = ndimage.correlate(data, taps.astype(np.float32), origin=0 if len(taps) % 2 else -1)[
        first::scale, first::scale
    ]
    np.testing.assert_allclose(ours[inside, inside], np.asarray(reduced)[inside, inside], atol=1e-5)


@pytest.mark.parametrize("name", ["gaussian", "log", "mexican-hat", "unsharp"])
def test_a_width_at_half_maximum_replaces_sigma(name: str) -> None:
    sigma = 5 / np.sqrt(8 * np.log(2))
    sigma = 5 / math.sqrt(8 * math.log(2))
    np.testing.assert_allclose(
        kernel(f"{name}:fwhm=5").taps, kernel(f"{name}:sigma={sigma!r}").taps, atol=1e-15
    )


def test_a_gaussian_has_its_width_at_half_maximum() -> None:
    taps = kernel("gaussian:fwhm=6x10").taps
    middle = taps.shape[0] // 2, taps.shape[1] // 2
    assert taps[middle[0] + 3, middle[1]] == pytest.approx(taps.max() / 2)
    assert taps[middle[0], middle[1] - 5] == pytest.approx(taps.max() / 2)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("gaussian:sigma=1,fwhm=2", "sigma and fwhm for kernel 'gaussian'; expected one of them"),
        ("lowpass:0.5", "expected a number above 0 and below 0.5"),
        ("bandpass:0.2-0.1", "expected two numbers as in 0.1-0.2"),
        ("bandpass:0.2", "expected two numbers as in 0.1-0.2"),
        ("bandpass:0.1-0.2-0.3", "expected two numbers as in 0.1-0.2"),
        ("highpass:taps=8", "use taps=9"),
        ("bandstop:taps=2", "use taps=3"),
        ("lowpass:window=hamm", "expected one of hamming, hann, blackman, box, kaiser"),
        ("savgol:window=4", "expected an odd whole number"),
        ("savgol:order=5", "use window=7 or more"),
        ("savgol:deriv=3", "expected at most the order"),
        ("hann:2", "expected a whole number of at least 3"),
        ("gaussian:sigma=1..3", "a range means several kernels; use it in apply or batch"),
    ],
)
def test_mistakes_are_named(reference: str, message: str) -> None:
    with pytest.raises(KernelError) as caught:
        kernel(reference)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "reference", ["lowpass:1e-9", "moffat:gamma=1e5", "hann:1e9", "lanczos:1e9"]
)
def test_absurd_sizes_are_refused_before_they_are_made(reference: str) -> None:
    with pytest.raises((LimitError, KernelError)):
        kernel(reference)


@pytest.mark.parametrize("kind", ["highpass", "bandpass", "bandstop", "savgol"])
def test_filters_of_signals_have_one_axis(kind: str) -> None:
    assert kernel(kind).taps.ndim == 1
    with pytest.raises(KernelError, match="it exists in 1-D only"):
        kernel(kind, dims=2)


@pytest.mark.parametrize(
    ("reference", "values"),
    [
        ("gabor:theta=0..165/15", [str(15 * step) for step in range(12)]),
        ("gaussian:1..3", ["1", "2", "3"]),
        ("gaussian:sigma=0.1..0.3/0.1", ["0.1", "0.2", "0.3"]),
        ("gaussian:sigma=3..1/-1", ["3", "2", "1"]),
        ("gaussian:sigma=1..1.9", ["1"]),
    ],
)
def test_a_range_means_a_kernel_for_each_value(reference: str, values: list[str]) -> None:
    made = expand_ranges(reference)
    assert [text.split(":")[1].split("=")[-1] for text in made] == values
    assert len({kernel(text).taps.tobytes() for text in made}) == len(values)


def test_several_ranges_multiply() -> None:
    made = expand_ranges("gabor:theta=0..90/45,sigma=2,wavelength=4..8/4")
    assert len(made) == 6
    assert made[:2] == (
        "gabor:theta=0,sigma=2,wavelength=4",
        "gabor:theta=0,sigma=2,wavelength=8",
    )


@pytest.mark.parametrize("text", ["1,2..3", "kernels/../k.npy", "../x:a..b", "box"])
def test_what_is_no_range_is_left_alone(text: str) -> None:
    assert expand_ranges(text) == (text,)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("gaussian:sigma=1..", "expected first..last/step"),
        ("gaussian:sigma=1..x", "expected first..last/step"),
        ("gaussian:sigma=1..2..3", "expected first..last/step"),
        ("gaussian:sigma=3..1", "has no value; expected a step that leads from first to last"),
        ("gaussian:sigma=1..3/0", "has no value"),
        ("gaussian:sigma=0..1000000000/0.000001", f"expected at most {MAX_KERNELS:,}"),
    ],
)
def test_ranges_that_are_none_are_named(reference: str, message: str) -> None:
    with pytest.raises(KernelError) as caught:
        expand_ranges(reference)
    assert message in str(caught.value)


@pytest.mark.parametrize("cutoff", [0.05, 0.1, 0.31])
def test_bands_are_those_of_the_response(cutoff: float) -> None:
    made = kernel(f"lowpass:{cutoff},taps=101", dims=1)
    (bands,) = kernel_bands(made)
    frequencies, gains = signal.freqz(made.taps, worN=1 << 15, fs=1)
    gains = np.abs(gains) / np.abs(gains).max()
    assert bands.cutoffs[0] == pytest.approx(frequencies[gains < np.sqrt(0.5)][0], rel=5e-3)
    assert bands.half_gains == (pytest.approx(cutoff, rel=5e-3),)
    stopped = gains[frequencies > cutoff + 1.7 / 101]
    assert bands.side_lobe == pytest.approx(20 * np.log10(stopped.max()), abs=0.1)
    passed = gains[frequencies < cutoff - 1.7 / 101]
    assert bands.ripple == pytest.approx(-20 * np.log10(passed.min() / passed.max()), abs=2e-3)
    _, delays = signal.group_delay((made.taps, 1), w=[cutoff / 4, cutoff / 2], fs=1)
    np.testing.assert_allclose(delays, bands.delay, atol=1e-6)
    assert response(made).line.startswith("low-pass")


def test_bands_differ_between_axes_and_kernels() -> None:
    wide, narrow = kernel_bands(kernel("gaussian:sigma=1x3"))
    assert (wide.along, narrow.along) == ("x", "y")
    assert wide.cutoffs < narrow.cutoffs
    (asymmetric,) = kernel_bands(kernel("1,2,3"))
    assert asymmetric.delay is None
    assert kernel_bands(kernel("identity"))[0].cutoffs == ()
    assert kernel_bands(kernel("0,0,0")) == ()
    (slope,) = kernel_bands(kernel("sobel-x"))
    assert (slope.along, slope.delay, slope.side_lobe) == ("x", 1.0, None)
