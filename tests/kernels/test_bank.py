"""Test every kernel against its author's matrix, its meaning, and scipy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage import morphology
from skimage.filters import gabor_kernel

from convcli.errors import KernelError, LimitError
from convcli.kernels import Kernel, kernel, listing, names, response
from convcli.kernels.model import outer

EVERY = [f"{name}:3x4" if name == "random" else name for name in names()]
AVERAGING = [
    "box",
    "gaussian",
    "binomial",
    "disk",
    "ring",
    "motion",
    "motion:angle=33,length=6.5",
    "gaussian:size=4",
]
KEEPING = [*AVERAGING, "identity", "sharpen", "sharpen-8", "unsharp", "emboss"]
SILENT = [
    *("laplacian", "laplacian-8", "log", "dog", "derivative-y:order=2", "roberts-x", "roberts-y"),
    *(
        name
        for name in names()
        if name.startswith(("sobel", "scharr", "prewitt", "derivative", "kirsch", "robinson"))
    ),
    *(f"frei-chen-{mask}" for mask in range(1, 9)),
]

DRAWN = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "identity:1": [[1]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "sharpen:neighbours=8": [[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "laplacian-8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "sobel-x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "sobel-y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "scharr-x": [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]],
    "prewitt-y": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "derivative-x": [[-0.5, 0, 0.5]],
    "derivative-y:order=2": [[1], [-2], [1]],
    "roberts-x": [[1, 0], [0, -1]],
    "roberts-y": [[0, 1], [-1, 0]],
    "kirsch-n": [[5, 5, 5], [-3, 0, -3], [-3, -3, -3]],
    "kirsch-ne": [[-3, 5, 5], [-3, 0, 5], [-3, -3, -3]],
    "kirsch-w": [[5, -3, -3], [5, 0, -3], [5, -3, -3]],
    "robinson-se": [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]],
    "compass-s": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "emboss:direction=S": [[1, 2, 1], [0, 1, 0], [-1, -2, -1]],
    "binomial:size=1x5": [[1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16]],
    "motion:length=3": [[1 / 3, 1 / 3, 1 / 3]],
    "motion:length=2,angle=90": [[0.25], [0.5], [0.25]],
    "disk:radius=1": [[0, 0.2, 0], [0.2, 0.2, 0.2], [0, 0.2, 0]],
    "ring:inner=1,outer=1": [[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]],
    "frei-chen-7": [[1 / 6, -2 / 6, 1 / 6], [-2 / 6, 4 / 6, -2 / 6], [1 / 6, -2 / 6, 1 / 6]],
}


@pytest.mark.parametrize("reference", DRAWN)
def test_equals_the_matrix_as_drawn(reference: str) -> None:
    np.testing.assert_allclose(kernel(reference).taps, DRAWN[reference], atol=1e-15)


@pytest.mark.parametrize("reference", EVERY)
def test_every_kernel_is_whole(reference: str) -> None:
    k = kernel(reference)
    assert k.taps.dtype == np.float64
    assert not k.taps.flags.writeable
    assert k.meaning
    assert k.source
    assert "{" not in k.meaning
    assert "\n" not in k.meaning + k.source
    np.testing.assert_array_equal(
        kernel(k.name, dims=k.taps.ndim).taps, k.taps, "its name makes it again"
    )
    if k.terms:
        assert all(len(term) == k.taps.ndim for term in k.terms)
        np.testing.assert_array_equal(outer(k.terms), k.taps)
    assert response(k).line


@pytest.mark.parametrize("reference", KEEPING)
def test_keeps_flat_areas(reference: str) -> None:
    assert kernel(reference).gain == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("reference", AVERAGING)
def test_averages_weigh_nothing_negatively_and_alike_on_both_sides(reference: str) -> None:
    taps = kernel(reference).taps
    assert (taps >= 0).all()
    np.testing.assert_allclose(np.flip(taps), taps, atol=1e-15)


@pytest.mark.parametrize("reference", SILENT)
def test_is_silent_on_flat_areas(reference: str) -> None:
    assert kernel(reference).gain == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("name", ["sobel", "scharr", "prewitt", "derivative"])
@pytest.mark.parametrize("dims", [2, 3, 4])
def test_slopes_answer_to_their_own_axis_alone(name: str, dims: int) -> None:
    ramp = np.arange(7.0)
    for place, letter in enumerate("xyz"[:dims], 1):
        taps = kernel(f"{name}-{letter}", dims=dims).taps
        for axis in range(dims):
            slope = np.broadcast_to(
                ramp.reshape([-1 if a == axis else 1 for a in range(dims)]), (7,) * dims
            )
            answer = ndimage.correlate(slope, taps)[(3,) * dims]
            assert (answer > 0) == (axis == dims - place)
            assert answer >= 0


def test_a_horizontal_edge_is_silent_in_sobel_x() -> None:
    edge = np.zeros((8, 8))
    edge[4:] = 255
    assert not ndimage.correlate(edge, kernel("sobel-x").taps).any()
    assert ndimage.correlate(edge, kernel("sobel-y").taps).max() == 4 * 255


def test_compass_masks_turn_and_answer_most_to_their_own_direction() -> None:
    compass = ("n", "ne", "e", "se", "s", "sw", "w", "nw")
    rows, columns = np.mgrid[-2:3, -2:3]
    north, east = (compass.index(d) * np.pi / 4 for d in ("n", "e"))
    for name in ("kirsch", "robinson"):
        for place, direction in enumerate(compass):
            bearing = place * np.pi / 4
            ramp = -rows * np.cos(bearing - north) + columns * np.cos(bearing - east)
            answers = [ndimage.correlate(ramp, kernel(f"{name}-{d}").taps)[2, 2] for d in compass]
            assert int(np.argmax(answers)) == place, direction


def test_frei_chen_is_an_orthonormal_basis() -> None:
    basis = np.array([kernel(f"frei-chen-{mask}").taps.ravel() for mask in range(1, 10)])
    np.testing.assert_allclose(basis @ basis.T, np.eye(9), atol=1e-15)


@pytest.mark.parametrize("sigma", [(0.7, 0.7), (1, 2), (2.5, 2.5), (1, 2, 0.5)])
def test_gaussian_as_scipy(sigma: tuple[float, ...]) -> None:
    k = kernel(f"gaussian:sigma={'x'.join(map(str, sigma))}")
    assert k.shape == tuple(2 * int(4 * s + 0.5) + 1 for s in sigma)
    delta = np.zeros(k.shape)
    delta[tuple(n // 2 for n in k.shape)] = 1
    np.testing.assert_allclose(
        k.taps, ndimage.gaussian_filter(delta, sigma, mode="constant"), atol=1e-15
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", ["sobel", "prewitt"])
def test_slopes_as_scipy(name: str, dims: int) -> None:
    data = np.random.default_rng(1).normal(size=(6, 7, 8)[:dims])
    for place, letter in enumerate("xyz"[:dims], 1):
        ours = ndimage.correlate(data, kernel(f"{name}-{letter}", dims=dims).taps)
        np.testing.assert_allclose(
            ours, getattr(ndimage, name)(data, axis=dims - place), atol=1e-12
        )


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_laplacians_as_scipy(dims: int) -> None:
    data = np.random.default_rng(2).normal(size=(20, 21, 22)[:dims])
    ours = ndimage.correlate(data, kernel("laplacian", dims=dims).taps)
    np.testing.assert_allclose(ours, ndimage.laplace(data), atol=1e-12)
    ours = ndimage.correlate(data, kernel("log:sigma=1.5", dims=dims).taps)
    np.testing.assert_allclose(ours, ndimage.gaussian_laplace(data, 1.5), atol=2e-3)


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
def test_disk_as_scikit_image(radius: int) -> None:
    for dims, footprint in ((2, morphology.disk(radius)), (3, morphology.ball(radius))):
        np.testing.assert_array_equal(kernel(f"disk:{radius}", dims=dims).taps > 0, footprint > 0)


@pytest.mark.parametrize("theta", [0, 30, 90, 135])
def test_gabor_as_scikit_image(theta: float) -> None:
    ours = kernel(f"gabor:theta={theta},sigma=2,wavelength=5,psi=40,gamma=0.5").taps
    theirs = gabor_kernel(
        1 / 5, theta=np.radians(-theta), sigma_x=2, sigma_y=4, offset=np.radians(40)
    ).real
    np.testing.assert_allclose(ours, theirs, atol=1e-15)


def test_unsharp_is_the_input_and_the_detail_its_blur_leaves_out() -> None:
    data = np.random.default_rng(3).normal(size=(20, 20))
    ours = ndimage.correlate(data, kernel("unsharp:amount=0.6,sigma=1.2").taps)
    np.testing.assert_allclose(
        ours, data + 0.6 * (data - ndimage.gaussian_filter(data, 1.2)), atol=1e-12
    )


def test_motion_follows_its_angle_counter_clockwise() -> None:
    taps = kernel("motion:length=9,angle=45").taps
    assert taps[0, -1] > 0
    assert taps[0, 0] == 0
    np.testing.assert_allclose(taps, kernel("motion:length=9,angle=225").taps, atol=1e-12)


def test_random_is_the_same_for_the_same_seed_and_keeps_its_shape() -> None:
    np.testing.assert_array_equal(
        kernel("random:3x4,seed=7").taps, np.random.default_rng(7).standard_normal((3, 4))
    )
    np.testing.assert_array_equal(kernel("random:5").taps, kernel("random:5,seed=0").taps)
    assert kernel("random:8x3x3x3", dims=2).shape == (8, 3, 3, 3)


@pytest.mark.parametrize("dims", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "entry", [e for e in listing() if e.most_dims is None and e.name != "random"]
)
def test_the_others_exist_for_any_number_of_axes(entry: object, dims: int) -> None:
    for name in entry.names:  # type: ignore[attr-defined]
        if dims == 4 and name in ("dog", "gaussian", "log", "unsharp"):
            name += ":size=3"
        if dims >= {"y": 2, "z": 3}.get(name.rpartition("-")[2], 1):
            assert kernel(name, dims=dims).taps.ndim == dims


def test_names_are_read_in_any_spelling() -> None:
    for spelling in (" Sobel_X ", "SOBEL-X", "sobel_x:"):
        np.testing.assert_array_equal(kernel(spelling).taps, kernel("sobel-x").taps)
    assert kernel("Gaussian: Sigma = 2 , SIZE = 9").name == "gaussian:sigma=2,size=9"
    assert kernel("gaussian:2,size=auto").shape == (17, 17)
    assert kernel("sobel-z").shape == (3, 3, 3)
    assert kernel("box:size=3x5x7").shape == (3, 5, 7)


def test_a_kernel_is_an_array_to_numpy_and_resolves_to_itself() -> None:
    k = kernel("sobel-x")
    assert kernel(k) is k
    assert (np.asarray(k, dtype=np.float32) == k.taps).all()
    assert (k.shape, k.sum, k.gain, k.rank) == ((3, 3), 0, 0, 1)
    assert kernel("disk").rank is None
    assert isinstance(k, Kernel)


@pytest.mark.parametrize("entry", listing())
def test_the_listing_tells_what_each_kernel_takes(entry: object) -> None:
    for parameter in entry.parameters:  # type: ignore[attr-defined]
        assert parameter.meaning
        assert parameter.expected
        if parameter.default:
            parameter.parse(parameter.default)


@pytest.mark.parametrize(
    ("reference", "dims", "message"),
    [
        ("sobel", None, "kernel 'sobel' without a direction; choose sobel-x, sobel-y or sobel-z"),
        (
            "sobl-x",
            None,
            "unknown kernel 'sobl-x'; expected a name, taps or a file; did you mean 'sobel-x'?",
        ),
        (
            "Gausian:sigma=2",
            None,
            "unknown kernel 'Gausian'; expected a name, taps or a file; did you mean 'gaussian'?",
        ),
        (
            "qqqq",
            None,
            "unknown kernel 'qqqq'; expected a name, taps or a file; see: convcli kernels list",
        ),
        ("gabor:wavelenght=3", None, "did you mean 'wavelength'?"),
        ("sobel-x:size=3", None, "unknown parameter 'size' of kernel 'sobel-x'; it takes none"),
        ("sobel-x:3", None, "'3' for kernel 'sobel-x'; expected parameter=value"),
        ("box:3,5", None, "'5' for kernel 'box'; expected parameter=value"),
        ("box:3,size=5", None, "parameter 'size' of kernel 'box' given twice"),
        (
            "gaussian:sigma=0",
            None,
            "sigma=0 for kernel 'gaussian'; expected a number of at least 0.001, or one for each",
        ),
        ("gaussian:sigma=-2", None, "sigma=-2"),
        ("gaussian:sigma=nan", None, "sigma=nan"),
        ("gaussian:sigma=two", None, "sigma=two"),
        ("gaussian:sigma=", None, "no sigma for kernel 'gaussian'"),
        ("gaussian:truncate=0", None, "expected a number above 0 and of at most 100"),
        ("box:size=0", None, "size=0 for kernel 'box'; expected a whole number of at least 1"),
        ("box:size=2.5", None, "size=2.5"),
        ("box:size=auto", None, "size=auto"),
        ("unsharp:size=4", None, "expected an odd whole number of at least 1"),
        (
            "emboss:direction=up",
            None,
            "direction=up for kernel 'emboss'; expected one of nw, n, ne",
        ),
        (
            "dog:sigma1=2,sigma2=2",
            None,
            "sigma1=2 and sigma2=2 for kernel 'dog'; expected two that differ",
        ),
        ("ring:inner=5,outer=4", None, "inner=5 above outer=4"),
        ("ring:inner=0.2,outer=0.8", None, "no sample from 0.2 to 0.8"),
        ("laplacian:neighbours=5", None, "neighbours=5 in 2-D; expected 4 or 8"),
        ("laplacian-8", 3, "neighbours=8 in 3-D; expected 6 or 26"),
        (
            "gaussian:sigma=1x2",
            3,
            "sigma=1.0x2.0 for kernel 'gaussian' with dims 3; expected 1 or 3 values",
        ),
        ("box:size=3x5x7,dims=3", None, "unknown parameter 'dims'"),
        ("sobel-z", 2, "kernel 'sobel-z' with dims 2; it needs at least 3; use dims 3"),
        ("box", 0, "kernel 'box' with dims 0; it needs at least 1 and at most 32"),
        ("random", None, "no shape for kernel 'random'"),
        (
            "random:3x0",
            None,
            "shape=3x0 for kernel 'random'; expected a whole number of at least 1 for each axis",
        ),
        *(
            (name, dims, "it exists in 2-D only")
            for name in ("kirsch-n", "gabor", "emboss", "motion")
            for dims in (1, 3)
        ),
        *(
            (name, dims, "it exists in 2-D only")
            for name in ("roberts-x", "frei-chen-1", "robinson-e")
            for dims in (1, 3)
        ),
    ],
)
def test_mistakes_are_named(reference: str, dims: int | None, message: str) -> None:
    with pytest.raises(KernelError) as caught:
        kernel(reference, dims=dims)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "dims"),
    [
        ("box:size=99999999999999999999", None),
        ("gaussian:sigma=1e50", None),
        ("binomial:size=1000", 3),
        ("identity:size=10001", None),
        ("disk:radius=1e30", None),
        ("motion:length=1e9,angle=45", None),
        ("gabor:sigma=1e6", None),
        ("random:100000x100000", None),
        ("sobel-x", 30),
        ("laplacian", 30),
        ("sharpen", 30),
        ("99999x99999: 1", None),
    ],
)
def test_absurd_sizes_are_refused_before_they_are_made(reference: str, dims: int | None) -> None:
    with pytest.raises(LimitError, match="expected at most 10000000 taps"):
        kernel(reference, dims=dims)


KEEPS = "keeps flat areas (gain 1)"
SILENTLY = "silent on flat areas, strongest"


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ("box", f"low-pass: {KEEPS}, suppresses fine detail (gain 0.33 at the Nyquist frequency)"),
        (
            "motion",
            f"low-pass along x: {KEEPS}, "
            "suppresses fine detail (gain 0.11 at the Nyquist frequency)",
        ),
        (
            "0.1 0.8 0.1;",
            f"low-pass along x: {KEEPS}, "
            "suppresses fine detail (gain 0.60 at the Nyquist frequency)",
        ),
        ("0.05 0.9 0.05;", f"low-pass, slight: {KEEPS}, lowest gain 0.80"),
        (
            "sobel-y",
            f"band-pass, a derivative along y: {SILENTLY} (gain 8) at 0.25 cycles a sample along y",
        ),
        ("laplacian", f"high-pass: {SILENTLY} (gain 8) at 0.5 cycles a sample along x and y"),
        (
            "sharpen",
            f"high-boost: {KEEPS}, "
            "amplifies detail most (gain 9) at 0.5 cycles a sample along x and y",
        ),
        ("identity", f"all-pass: {KEEPS}, and every other frequency equally"),
        ("0.5 0 0.5", f"band-stop: {KEEPS}, suppresses 0.25 cycles a sample along x (gain 0.00)"),
        ("0 0 0", "silent: every output is zero"),
    ],
)
def test_the_response_in_words(reference: str, line: str) -> None:
    assert response(kernel(reference)).line == line


def test_the_response_in_numbers() -> None:
    mean = response(kernel("box", dims=1))
    assert mean.flat == mean.peak == pytest.approx(1)
    assert (mean.lowest, mean.lowest_at) == (0, (pytest.approx(1 / 3),))
    assert mean.nyquist == (pytest.approx(1 / 3),)
    wave = response(kernel("gabor:wavelength=4,sigma=3,theta=90"))
    assert wave.peak_at == (pytest.approx(0.25), 0)
