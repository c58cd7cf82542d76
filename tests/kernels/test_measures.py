"""Test kernels in units, on inputs whose files say how far apart their samples are."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import soundfile
from PIL import Image
from scipy import ndimage, signal

from convcli.errors import InputError, KernelError
from convcli.io import load
from convcli.io.arrays.ome import OmeImage
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.task import Recipe
from convcli.kernels import kernel
from convcli.kernels.measures import has_units, in_samples
from convcli.shapes.geometry import Geometry
from convcli.shapes.units import parse_measure, parse_spacing

ZOOMS = (1.0, 1.5, 2.5)
SIGMA_PER_FWHM = 1 / np.sqrt(8 * np.log(2))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "value", "quantity"),
    [
        ("0.5mm", 5e-4, "length"),
        (".5 um", 5e-7, "length"),
        ("5\N{MICRO SIGN}m", 5e-6, "length"),
        ("5\N{GREEK SMALL LETTER MU}m", 5e-6, "length"),
        ("1in", 0.0254, "length"),
        ("2e-3s", 2e-3, "time"),
        ("48kHz", 48e3, "frequency"),
    ],
)
def test_measures(text: str, value: float, quantity: str) -> None:
    measure = parse_measure(text)
    assert measure is not None
    assert measure.value == pytest.approx(value)
    assert measure.quantity == quantity


@pytest.mark.parametrize(
    "text", ["", "mm", "5", "5 parsec", "-5mm", "5MM", "5mmx", "5x5mm", "nanmm"]
)
def test_what_is_no_measure(text: str) -> None:
    assert parse_measure(text) is None


@pytest.mark.parametrize("text", ["3", "0mm", "1mm,", "1mm,x", "-1mm", "1e999mm"])
def test_spacings_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="spacing"):
        parse_spacing(text)


@pytest.mark.parametrize(
    ("reference", "spacing", "expected"),
    [
        ("gaussian:fwhm=6mm", "2mm", "gaussian:fwhm=3"),
        ("gaussian:6mm", "2mm", "gaussian:3"),
        ("blur:6mm", "2mm", "blur:3"),
        ("gaussian:fwhm=6mmx3mm", "2mm,1mm", "gaussian:fwhm=3"),
        ("gaussian:fwhm=6x3mm", "2mm", "gaussian:fwhm=3x1.5"),
        ("gaussian:sigma=1cm,truncate=3", "4mm,5mm", "gaussian:sigma=2.5x2,truncate=3"),
        ("box:size=5um", "650nm", "box:size=7"),
        ("box:size=1nm", "1um", "box:size=1"),
        ("bandpass:cutoff=100-200Hz", "1kHz", "bandpass:cutoff=0.1-0.2"),
        ("bandpass:100Hz-0.2kHz,taps=9", "1ms", "bandpass:0.1-0.2,taps=9"),
        ("savgol:window=5ms,order=2", "1kHz", "savgol:window=5,order=2"),
        ("disk:radius=3mm", "1mm,2mm", "disk:radius=3x1.5"),
        ("gaussian:sigma=2", "1mm", "gaussian:sigma=2"),
        ("1,2,3", "1mm", "1,2,3"),
        ("kernel:5mm.csv", "1mm", "kernel:5mm.csv"),
    ],
)
def test_references_in_samples(reference: str, spacing: str, expected: str) -> None:
    converted = in_samples(reference, parse_spacing(spacing), "x")
    assert converted == expected
    assert has_units(reference) == (converted != reference)


@pytest.mark.parametrize(
    ("reference", "spacing", "message"),
    [
        ("gaussian:fwhm=6mm", "1kHz", "fwhm=6mm for x, whose spacing is 1kHz; expected a time"),
        ("lowpass:200Hz", "1mm", "expected a frequency"),
        ("lowpass:200mm", "1mm", "expected a frequency"),
        ("gaussian:truncate=3mm", "1mm", "expected a number without a unit"),
        ("ring:outer=5mm", "1mm,2mm", "whose spacing is 1mm, 2mm; expected one outer for all axes"),
        (
            "gaussian:6mmx3mm",
            "1mm,2mm,3mm",
            "for an input of 3 spatial axes; expected a value for each",
        ),
    ],
)
def test_units_that_do_not_fit_are_named(reference: str, spacing: str, message: str) -> None:
    with pytest.raises(KernelError) as caught:
        in_samples(reference, parse_spacing(spacing), "x")
    assert message in str(caught.value)


def test_without_a_spacing_the_message_says_how_to_give_it() -> None:
    with pytest.raises(KernelError, match="give it, as in --spacing"):
        in_samples("gaussian:fwhm=6mm", (), "x.npy")
    with pytest.raises(KernelError, match="units take an input: use apply"):
        kernel("gaussian:fwhm=6mm")


def test_a_disk_of_several_radii_is_an_ellipse() -> None:
    taps = kernel("disk:radius=2x4").taps
    y, x = np.mgrid[-2:3, -4:5]
    np.testing.assert_array_equal(taps > 0, (y / 2) ** 2 + (x / 4) ** 2 <= 1)
    np.testing.assert_array_equal(kernel("disk:radius=5x5").taps, kernel("disk:radius=5").taps)
    assert kernel("disk:radius=0x2").shape == (1, 5)


def _values(source: str, reference: str, **geometry: object) -> np.ndarray:
    request = ApplyRequest(
        source, (reference,), geometry=Geometry(padding="same", boundary="symmetric", **geometry)
    )
    return run_apply(plan_apply(request)).values


@pytest.mark.parametrize("unit", ["mm", "unknown", "micron"])
def test_a_volume_is_smoothed_in_millimetres(unit: str) -> None:
    volume = np.random.default_rng(1).normal(size=(24, 23, 22)).astype(np.float32)
    image = nibabel.Nifti1Image(volume, np.diag([*ZOOMS, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, "brain.nii")
    sigma = [6 * SIGMA_PER_FWHM / zoom for zoom in ZOOMS]
    wide = "6um" if unit == "micron" else "6mm"
    np.testing.assert_allclose(
        _values("brain.nii", f"gaussian:fwhm={wide}"),
        ndimage.gaussian_filter(volume, sigma, mode="reflect"),
        atol=2e-6,
    )


def test_a_mapped_volume_has_its_spacing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((5, 6, 7), np.float32), np.diag([2, 1, 3, 1])), "x.nii"
    )
    read = load("x.nii")
    monkeypatch.setattr("convcli.io.arrays.nifti.MAP_ABOVE", 0)
    mapped = load("x.nii")
    assert isinstance(mapped.array, np.memmap)
    assert [str(step) for step in mapped.spacing] == ["2mm", "1mm", "3mm"]
    assert mapped.spacing == read.spacing


def test_a_recording_is_filtered_in_hertz() -> None:
    sound = np.random.default_rng(2).normal(size=4000).astype(np.float32)
    soundfile.write("sound.wav", sound, 8000, subtype="FLOAT")
    taps = signal.firwin(81, [300, 3000], pass_zero=False, fs=8000)
    expected = ndimage.correlate1d(sound.astype(np.float64), taps)
    np.testing.assert_allclose(
        _values("sound.wav", "bandpass:cutoff=300-3000Hz,taps=81"), expected, atol=1e-5
    )


def test_a_picture_is_blurred_by_its_density() -> None:
    Image.fromarray(np.eye(60, dtype=np.uint8) * 255).save("scan.png", dpi=(254, 254))
    np.testing.assert_array_equal(
        _values("scan.png", "gaussian:sigma=0.2mm"), _values("scan.png", "gaussian:sigma=2")
    )


def test_a_given_spacing_replaces_that_of_the_file() -> None:
    np.save("x.npy", np.random.default_rng(3).normal(size=50))
    assert np.array_equal(
        _values("x.npy", "lowpass:10Hz", spacing=parse_spacing("100Hz")),
        _values("x.npy", "lowpass:0.1"),
    )


def test_the_report_shows_both() -> None:
    np.save("x.npy", np.zeros(50))
    geometry = Geometry(spacing=parse_spacing("100Hz"))
    plan = plan_apply(ApplyRequest("x.npy", ("lowpass:10Hz",), geometry=geometry))
    assert plan.passes[0].kernel.name == "lowpass:10Hz = lowpass:cutoff=0.1"


def test_a_batch_resolves_units_for_each_input() -> None:
    units = ApplyRequest("", ("highpass:200Hz",))
    assert Recipe.of(units).request.kernels == ("highpass:200Hz",)
    other = ApplyRequest("", ("highpass:300Hz",))
    assert Recipe.of(units).digest != Recipe.of(other).digest
    spaced = ApplyRequest("", units.kernels, geometry=Geometry(spacing=parse_spacing("1kHz")))
    assert Recipe.of(units).digest != Recipe.of(spaced).digest


@pytest.mark.parametrize(
    ("units", "spacing"),
    [
        (("micrometer", "micrometer"), ["0.25um", "0.5um"]),
        (("nanometer", "millimeter"), ["0.25nm", "0.5mm"]),
        (("micrometer", ""), []),
        (("micrometer", "second"), []),
    ],
)
def test_an_image_of_ome_zarr_has_its_scale(units: tuple[str, str], spacing: list[str]) -> None:
    axes = [{"name": name, "unit": unit} for name, unit in zip("yx", units, strict=True)]
    changes = [{"type": "scale", "scale": [0.25, 0.5]}]
    levels = [{"path": "0", "coordinateTransformations": changes}]
    image = OmeImage.of({"multiscales": [{"axes": axes, "datasets": levels}]}, "0")
    assert image is not None
    assert [str(each) for each in image.spacing] == spacing
