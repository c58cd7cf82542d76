"""Linear light: the curve, the round trip of every level, and filters in linear light."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from convcli import io
from convcli.cli import main
from convcli.errors import InputError, LimitError
from convcli.jobs import colour
from convcli.jobs.apply import ApplyResult, plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.task import Recipe
from convcli.jobs.requests import from_options

RNG = np.random.default_rng(3)


def srgb(light_: float) -> float:
    """Return the light of one value from 0 to 1, by the standard's formula."""
    return 12.92 * light_ if light_ <= 0.0031308 else 1.055 * light_ ** (1 / 2.4) - 0.055


def linear(code: float) -> float:
    return code / 12.92 if code <= 0.04045 else ((code + 0.055) / 1.055) ** 2.4


def filtered(
    path: Path, array: NDArray[Any], *kernels: str, suffix: str = "png", **options: Any
) -> ApplyResult:
    io.save(
        path / f"x.{suffix}",
        array,
        alpha=array.ndim == 3 and array.shape[2] in (2, 4),
        overwrite=True,
    )
    return run_apply(
        plan_apply(
            from_options(ApplyRequest, str(path / f"x.{suffix}"), kernels, linear=True, **options)
        )
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("floats", [np.float32, np.float64])
def test_every_level_comes_back(dtype: str, floats: Any) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    back = colour.encode(colour.decode(levels).astype(floats), dtype)
    assert back.dtype == floats
    np.testing.assert_array_equal(np.rint(back).astype(dtype), levels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_curve_is_that_of_the_standard(dtype: str) -> None:
    top = colour.white(dtype)
    codes = (np.linspace(0, 1, 256) * top).astype(dtype)
    expected = [top * linear(float(code) / top) for code in codes]
    np.testing.assert_allclose(colour.decode(codes), expected, rtol=1e-6)
    np.testing.assert_allclose(
        colour.encode(np.linspace(0, top), dtype), [top * srgb(v) for v in np.linspace(0, 1)]
    )
    assert colour.decode_level(0.5 * top, dtype) == pytest.approx(top * linear(0.5))


def test_what_lies_beyond_goes_on_along_the_curve() -> None:
    values = np.array([-2.0, -0.001, 0.0, 2.0, np.inf, np.nan])
    codes = colour.encode(values, np.float32)
    np.testing.assert_allclose(codes[:4], [-srgb(2), -srgb(0.001), 0, srgb(2)])
    assert np.isposinf(codes[4])
    assert np.isnan(codes[5])
    np.testing.assert_allclose(colour.decode(codes[:4].astype(np.float32)), values[:4], rtol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_black_and_white_mix_to_half_the_light(tmp_path: Path, suffix: str) -> None:
    board = np.indices((16, 16)).sum(axis=0) % 2 * np.uint8(255)
    outcome = filtered(
        tmp_path, board.astype(np.uint8).repeat(8, 0).repeat(8, 1), "box:size=16x16", suffix=suffix
    )
    assert set(outcome.values.ravel().tolist()) <= (
        {188} if suffix == "png" else {186, 187, 188, 189, 190}
    )


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((9, 8), "uint8"), ((9, 8, 3), "uint8"), ((9, 8), "uint16"), ((9, 8), "float32")],
)
def test_filters_weigh_light(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    top = colour.white(dtype)
    array = (RNG.random(shape) * top).astype(dtype)
    values = filtered(
        tmp_path,
        array,
        "binomial:size=3",
        suffix="tiff",
        padding="same",
        cval=0.5 * top,
        bias=0.1 * top,
    )
    window = np.outer([1, 2, 1], [1, 2, 1]) / 16
    padded = np.pad(
        array / top, [(1, 1), (1, 1)] + [(0, 0)] * (array.ndim - 2), constant_values=0.5
    )
    decoded = np.vectorize(linear)(padded)
    mixed = (
        sum(window[a, b] * decoded[a : a + 9, b : b + 8] for a in range(3) for b in range(3)) + 0.1
    )
    exact = np.vectorize(srgb)(mixed) * top
    exact = exact if dtype == "float32" else np.clip(exact, 0, top)
    assert np.abs(values.values - exact).max() <= 2e-6 * top + (0 if dtype == "float32" else 0.5)
    assert values.ledger.total == array.size


def test_alpha_is_no_light(tmp_path: Path) -> None:
    """Half opaque white next to transparent black stays white, and alpha is averaged."""
    array = np.array([[[255, 255, 255, 128], [0, 0, 0, 0]]], np.uint8)
    values = filtered(tmp_path, array, "1,1;", normalize=True).values
    assert values.tolist() == [[[255, 255, 255, 64]]]
    both = np.array([[[255, 255, 255, 255], [0, 0, 0, 255]]], np.uint8)
    assert filtered(tmp_path, both, "1,1;", normalize=True).values.tolist() == [
        [[188, 188, 188, 255]]
    ]
    gray = np.array([[[255, 255], [0, 255]]], np.uint8)
    assert filtered(tmp_path, gray, "1,1;", normalize=True).values.tolist() == [[[188, 255]]]


@pytest.mark.parametrize("channels", [3, 4])
def test_the_identity_changes_nothing(tmp_path: Path, channels: int) -> None:
    array = RNG.integers(0, 256, (20, 30, channels), dtype=np.uint8)
    array[..., -1] |= 128  # eight bits of alpha are imprecise for nearly transparent pixels
    outcome = filtered(tmp_path, array, "identity", padding="same", verify=True)
    np.testing.assert_array_equal(outcome.values, array)
    assert outcome.verified


def test_the_ledger_tells_codes(tmp_path: Path) -> None:
    array = np.array([[0, 255, 0, 255]], np.uint8)
    ledger = filtered(tmp_path, array, "-1,1;").ledger
    assert (ledger.low, ledger.high) == pytest.approx((-255, 255))
    assert (ledger.below, ledger.above) == (1, 0)
    values = filtered(tmp_path, array, "-1,1;", range="rescale").values
    assert values.tolist() == [[255, 0, 255]]


def test_parts_and_kernels_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = RNG.integers(0, 256, (64, 40, 3), dtype=np.uint8)
    options: dict[str, Any] = {"combine": "magnitude", "range": "rescale", "padding": "same"}
    whole = filtered(tmp_path, array, "sobel-x", "sobel-y", **options).values
    monkeypatch.setattr("convcli.jobs.chunks.CHUNK_VALUES", 1)
    np.testing.assert_array_equal(
        filtered(tmp_path, array, "sobel-x", "sobel-y", **options).values, whole
    )


def test_arrays_and_types_without_a_white_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((4, 4)))
    with pytest.raises(
        InputError, match=r"x\.npy is an array, and only a picture has it; leave --linear out"
    ):
        plan_apply(from_options(ApplyRequest, str(tmp_path / "x.npy"), ("box",), linear=True))
    with pytest.raises(InputError, match="linear light in int32"):
        filtered(tmp_path, np.ones((4, 4), np.int32), "box", suffix="tiff")


def test_light_is_held_against_the_limit_before_it_is_decoded(tmp_path: Path) -> None:
    io.save(tmp_path / "x.png", np.zeros((1000, 1000), np.uint8))
    plan_apply(
        from_options(
            ApplyRequest, str(tmp_path / "x.png"), ("identity",), linear=True, max_memory=50 * 10**6
        )
    )
    with pytest.raises(LimitError, match=r"x\.png takes 4\.77 MiB"):
        plan_apply(
            from_options(
                ApplyRequest,
                str(tmp_path / "x.png"),
                ("identity",),
                linear=True,
                max_memory=4 * 10**6,
            )
        )


def test_the_command_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    words = ["apply", str(tmp_path / "x.png"), "-k", "box", "--linear"]
    told = CliRunner().invoke(main, [*words, "-v"]).stdout
    assert "light      filtered in linear light, by the sRGB curve\n" in told
    assert json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)["linear"] is True
    assert (
        Recipe.of(ApplyRequest("", ("box",))).digest
        != Recipe.of(ApplyRequest("", ("box",), linear=True)).digest
    )
