"""An output that is written region by region equals the one that is computed in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from convcli.errors import FileError, InputError, LimitError
from convcli.io import load
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.regions.plan import RegionOptions, RegionPlan, plan_regions
from convcli.jobs.regions.run import InProcess, RegionResult, run_regions
from convcli.jobs.requests import from_options
from convcli.options import BOUNDARIES

zarr = pytest.importorskip("zarr")

RANDOM = np.random.default_rng(7)
VOLUME = RANDOM.integers(0, 256, (96, 96, 96)).astype(np.uint8)
BOUND = {"float32": 1e-6, "float64": 1e-14}


def store(
    path: Path, values: np.ndarray[Any, Any], chunks: tuple[int, ...], **options: Any
) -> Path:
    array = zarr.create_array(
        str(path), shape=values.shape, dtype=values.dtype, chunks=chunks, **options
    )
    array[:] = values
    return path


def planned(source: Path, target: Path, **options: Any) -> RegionPlan:
    own = {"block", "chunks", "codec", "resume", "jobs"} & options.keys()
    chosen = RegionOptions(**{"jobs": 1, **{name: options.pop(name) for name in own}})
    request = from_options(ApplyRequest, str(source), output=str(target), **options)
    return plan_regions(request, chosen)


def run(source: Path, target: Path, **options: Any) -> RegionResult:
    return run_regions(planned(source, target, **options), lambda **_: InProcess())


def in_memory(values: np.ndarray[Any, Any], folder: Path, **options: Any) -> Any:
    """Return what `apply` computes of a .npy, with its ledger."""
    np.save(folder / "whole.npy", values)
    for name in ("block", "chunks", "codec"):
        options.pop(name, None)
    return run_apply(plan_apply(from_options(ApplyRequest, str(folder / "whole.npy"), **options)))


def compare(folder: Path, values: np.ndarray[Any, Any], stored: tuple[int, ...], **o: Any) -> None:
    """Assert that both ways give the same values, bytes and ledger."""
    whole = in_memory(values, folder, **o)
    source, target = folder / "in.zarr", folder / "out.zarr"
    if not source.exists():
        store(source, values, stored)
    result = run(source, target, overwrite=True, **o)
    made = zarr.open_array(str(target), mode="r")[:]
    assert result.is_whole
    assert made.dtype == whole.values.dtype
    if whole.values.dtype.kind in "iu" or o.get("method") == "direct":
        np.testing.assert_array_equal(made, whole.values)
        assert result.ledger == whole.ledger
        return
    finite = np.isfinite(whole.values)
    np.testing.assert_array_equal(np.isfinite(made), finite)
    np.testing.assert_array_equal(np.isnan(made), np.isnan(whole.values))
    weight = sum(float(np.abs(each.taps).sum()) for each in whole.plan.passes)
    largest = max(float(np.abs(values[np.isfinite(values)]).max()), 1)
    bound = 20 * BOUND[made.dtype.name] * weight * largest
    assert np.abs(made[finite].astype(float) - whole.values[finite]).max() <= bound


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_volume_is_the_same_with_every_boundary_and_stride(
    boundary: str, stride: int, tmp_path: Path
) -> None:
    options = {"boundary": boundary, "stride": stride, "dims": 3, "block": (64, 32, 32)}
    kernel = {"kernels": ("gaussian:sigma=1",), "padding": "same"}
    compare(tmp_path, VOLUME, (32, 32, 32), **options, **kernel, dtype="uint8")
    small = VOLUME[:70, :40, :50].astype(np.float32)
    (tmp_path / "floats").mkdir()
    options |= {"chunks": (16, 8, 16), "block": (16, 16, 16), "method": "direct"}
    compare(tmp_path / "floats", small, (16, 16, 16), **options, kernels=("random:4x3x3",))


CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "dilated": ((40, 50), (16, 16), {"kernels": ("random:3x3",), "dilation": 3, "padding": "same"}),
    "full": ((40, 50), (16, 16), {"kernels": ("random:5x4",), "padding": "full"}),
    "valid": ((40, 50), (16, 16), {"kernels": ("random:5x4",), "op": "convolve"}),
    "far padding": ((9, 20), (4, 8), {"kernels": ("random:3x3",), "padding": "31:18x0:40"}),
    "far padding, shifted": (
        (9, 20),
        (4, 8),
        {"kernels": ("gaussian:sigma=1",), "padding": 30, "cval": 0.5, "stride": 2, "dims": 2},
    ),
    "far wrap": (
        (9, 20),
        (4, 8),
        {"kernels": ("random:3x3",), "padding": 25, "boundary": "wrap", "stride": 3},
    ),
    "signal": ((1000,), (100,), {"kernels": ("gaussian:sigma=3",), "boundary": "reflect"}),
    "channels": ((30, 40, 3), (16, 16, 3), {"kernels": ("sobel-x",), "padding": "same"}),
    "sum": ((30, 40, 3), (16, 16, 1), {"kernels": ("random:3x3x3",), "padding": "same"}),
    "bank": ((30, 40, 3), (16, 16, 3), {"kernels": ("random:5x3x3x3",), "padding": 1}),
    "several": (
        (30, 40),
        (16, 16),
        {"kernels": ("random:3x3", "gaussian:sigma=2"), "boundary": "symmetric", "dims": 2},
    ),
    "stack of channels": (
        (30, 40, 3),
        (16, 16, 1),
        {"kernels": ("sobel-x", "sobel-y"), "padding": "same", "dims": 2},
    ),
    "magnitude": ((30, 40), (8, 16), {"kernels": ("edges",), "boundary": "edge"}),
    "channels first": (
        (2, 3, 20, 24),
        (1, 1, 8, 8),
        {"kernels": ("random:3x3",), "layout": "channels_first", "dims": 2, "padding": "same"},
    ),
    "batch": (
        (4, 20, 24, 3),
        (1, 8, 8, 3),
        {"kernels": ("random:6x3x3x3",), "dims": 2, "stride": 2, "padding": "same"},
    ),
    "scaled": (
        (30, 40),
        (8, 8),
        {"kernels": ("random:3x3",), "scale": 2.5, "bias": -3, "normalize": True, "verify": True},
    ),
    "rescaled": ((30, 40), (8, 8), {"kernels": ("sobel-x",), "range": "rescale", "dtype": "uint8"}),
    "offset": ((30, 40), (8, 8), {"kernels": ("sobel-x",), "range": "offset", "dtype": "uint8"}),
    "far and rescaled": (
        (9, 20),
        (4, 8),
        {"kernels": ("random:3x3",), "padding": 20, "range": "rescale", "dtype": "uint16"},
    ),
    "fft": ((60, 70), (32, 32), {"kernels": ("random:9x9",), "method": "fft", "padding": "same"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_every_option_that_works_in_parts(case: str, kind: str, tmp_path: Path) -> None:
    shape, chunks, options = CASES[case]
    values = np.random.default_rng(3).integers(0, 256, shape).astype(kind)
    if kind != "uint8" and case not in ("fft", "rescaled", "offset", "far and rescaled"):
        options = {"method": "direct", **options}
    compare(tmp_path, values, chunks, **options)


@pytest.mark.parametrize("method", ["direct", "auto"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_nan_and_infinity_at_a_seam_stay_where_they_are(
    boundary: str, method: str, tmp_path: Path
) -> None:
    values = RANDOM.standard_normal((64, 64)).astype(np.float32)
    values[15, 16], values[0, 63], values[32, 31], values[48, 48] = np.nan, np.inf, -np.inf, np.nan
    options = {"boundary": boundary, "method": method, "padding": "same", "block": (16, 16)}
    compare(tmp_path, values, (16, 16), kernels=("gaussian:sigma=1,size=5",), dims=2, **options)


@pytest.mark.parametrize(("name", "mode"), [("symmetric", "reflect"), ("edge", "nearest")])
def test_scipy_agrees(name: str, mode: str, tmp_path: Path) -> None:
    source = store(tmp_path / "in.zarr", VOLUME, (32, 32, 32))
    options = {"boundary": name, "dims": 3, "block": (32, 64, 64)}
    run(source, tmp_path / "out.zarr", kernels=("gaussian:sigma=2",), **options)
    made = zarr.open_array(str(tmp_path / "out.zarr"), mode="r")[:]
    expected = ndimage.gaussian_filter(VOLUME.astype(float), 2, mode=mode, radius=8)
    np.testing.assert_allclose(made, expected, atol=1e-3)


@pytest.mark.parametrize("version", [2, 3])
def test_the_output_is_stored_as_the_input(version: int, tmp_path: Path) -> None:
    values = VOLUME[:40, :40, 0]
    source = store(
        tmp_path / "in.zarr", values, (8, 8), zarr_format=version, attributes={"unit": "m"}
    )
    options = {"kernels": ("box",), "dims": 2, "padding": "same", "dtype": "uint8"}
    run(source, tmp_path / "out.zarr", **options, block=(16, 16))
    made = zarr.open_array(str(tmp_path / "out.zarr"), mode="r")
    given = zarr.open_array(str(source), mode="r")
    assert made.metadata.zarr_format == version
    assert (made.chunks, made.compressors) == (given.chunks, given.compressors)
    assert made.attrs.asdict() == {"unit": "m"}
    np.testing.assert_array_equal(made[:], in_memory(values, tmp_path, **options).values)
    run(source, tmp_path / "other.zarr", **options, chunks=(10, 20), codec="gzip", strip=True)
    other = zarr.open_array(str(tmp_path / "other.zarr"), mode="r")
    assert (other.chunks, other.attrs.asdict()) == ((10, 20), {})
    assert "gzip" in repr(other.compressors).lower()
    np.testing.assert_array_equal(other[:], made[:])


def test_a_task_writes_whole_shards(tmp_path: Path) -> None:
    source = store(tmp_path / "in.zarr", VOLUME[:64, :64, 0], (8, 8), shards=(32, 32))
    options = {"kernels": ("box",), "dims": 2, "padding": "same", "dtype": "uint8"}
    with pytest.raises(InputError, match=r"no multiple of .* 32x32; use --block 32x32"):
        planned(source, tmp_path / "out.zarr", block=(40, 40), **options)
    run(source, tmp_path / "out.zarr", block=(32,), **options)
    made = zarr.open_array(str(tmp_path / "out.zarr"), mode="r")
    assert (made.chunks, made.shards) == ((8, 8), (32, 32))
    expected = in_memory(VOLUME[:64, :64, 0], tmp_path, **options).values
    np.testing.assert_array_equal(made[:], expected)


def image(path: Path, version: str) -> Path:
    """Write an OME-Zarr image of two levels, with a channel axis."""
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space"} for a in "yx")]
    levels = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0, 0.5 * 2**level, 0.25 * 2**level]},
                {"type": "translation", "translation": [0.0, 10.0, 20.0]},
            ],
        }
        for level in range(2)
    ]
    multiscales = [{"axes": axes, "datasets": levels, "name": "cells"}]
    attributes: dict[str, Any] = {"multiscales": [{**multiscales[0], "version": "0.4"}]}
    if version == "0.5":
        attributes = {"ome": {"version": "0.5", "multiscales": multiscales}}
    form = 2 if version == "0.4" else 3
    group = zarr.create_group(str(path), zarr_format=form, attributes=attributes)
    for level in range(2):
        values = VOLUME[:2, : 40 >> level, : 60 >> level]
        made = group.create_array(str(level), shape=values.shape, dtype="u1", chunks=(1, 16, 16))
        made[:] = values
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_scale_and_the_translation_of_an_image_follow_the_filter(
    version: str, tmp_path: Path
) -> None:
    source = image(tmp_path / "in.zarr", version)
    options = {"kernels": ("box:size=3",), "dims": 2, "layout": "channels_first", "stride": 2}
    result = run(source, tmp_path / "out.zarr", **options)
    assert result.plan.plan.data.notes == ("array 0 of 0, 1",)
    group = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    attributes = group.attrs.asdict()
    (shown,) = attributes.get("ome", attributes)["multiscales"]
    assert [axis["name"] for axis in shown["axes"]] == ["c", "y", "x"]
    scale, shift = shown["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [1.0, 1.0, 0.5]
    assert shift["translation"] == [0.0, 10.5, 20.25]  # the first window's centre is at sample 1
    np.testing.assert_array_equal(
        group["0"][:], in_memory(VOLUME[:2, :40, :60], tmp_path, **options).values
    )
    level = run(source / "1", tmp_path / "level.zarr", **options)
    assert level.plan.plan.output_shape == (2, 9, 14)
    assert load(tmp_path / "level.zarr").array.shape == (2, 9, 14)


def test_a_missing_chunk_has_the_fill_value_and_a_damaged_one_fails_alone(tmp_path: Path) -> None:
    source = store(tmp_path / "in.zarr", VOLUME[:64, :64, 0], (16, 16), fill_value=7)
    (source / "c" / "0" / "0").unlink()
    options = {"kernels": ("box:size=3",), "dims": 2, "padding": "same", "block": (16, 16)}
    target = tmp_path / "out.zarr"
    run(source, target, **options, overwrite=True)
    assert zarr.open_array(str(target), mode="r")[5, 5] == 7
    whole = (source / "c" / "3" / "3").read_bytes()
    (source / "c" / "3" / "3").write_bytes(b"damaged")
    result = run(source, target, **options, overwrite=True)
    assert [number for number, _ in result.failed] == [10, 11, 14, 15]
    assert result.done == 12
    assert all("chunk c/3/3" in reason for _, reason in result.failed)
    with pytest.raises(FileError, match="is not finished"):
        load(target)
    with pytest.raises((OSError, KeyError, ValueError)):
        zarr.open_array(str(target), mode="r")
    (source / "c" / "3" / "3").write_bytes(whole)
    resumed = run(source, target, **options, resume=True)
    assert (resumed.done, resumed.failed, resumed.is_whole) == (4, [], True)
    assert resumed.ledger is not None
    assert resumed.ledger.total == 64 * 64
    run(source, tmp_path / "again.zarr", **options)
    first, second = (
        zarr.open_array(str(tmp_path / n), mode="r") for n in ("out.zarr", "again.zarr")
    )
    np.testing.assert_array_equal(first[:], second[:])


def unfinished(folder: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Return an input and an output of which some regions failed, with the options."""
    source = store(folder / "in.zarr", VOLUME[:64, :64, 0], (16, 16))
    whole = (source / "c" / "0" / "0").read_bytes()
    (source / "c" / "0" / "0").write_bytes(b"damaged")
    options: dict[str, Any] = {"kernels": ("box",), "dims": 2, "block": (16, 16)}
    run(source, folder / "out.zarr", **options)
    (source / "c" / "0" / "0").write_bytes(whole)
    return source, folder / "out.zarr", options


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"kernels": ("gaussian:sigma=1",)}, "another input, kernel or option"),
        ({"padding": "same"}, "another input, kernel or option"),
        ({"codec": "gzip"}, "another input, kernel or option"),
        ({"block": (32, 32)}, "was begun with 16x16; leave --block out"),
        ({"resume": False}, "is not finished; expected a new store; pass --resume or --overwrite"),
    ],
)
def test_what_is_resumed_must_be_the_same(
    changed: dict[str, Any], found: str, tmp_path: Path
) -> None:
    source, target, options = unfinished(tmp_path)
    with pytest.raises(FileError, match=found):
        planned(source, target, **{"resume": True, **options, **changed})
    assert run(source, target, **{**options, "block": None}, resume=True).is_whole
    with pytest.raises(FileError, match="is finished"):
        planned(source, target, **options, resume=True)


def test_another_input_is_not_resumed(tmp_path: Path) -> None:
    source, target, options = unfinished(tmp_path)
    metadata = json.loads((source / "zarr.json").read_text())
    (source / "zarr.json").write_text(json.dumps({**metadata, "attributes": {"changed": True}}))
    with pytest.raises(FileError, match="another input"):
        planned(source, target, **options, resume=True)


def test_blocks_fit_the_memory_and_have_four_chunks_a_side(tmp_path: Path) -> None:
    source = store(tmp_path / "in.zarr", VOLUME, (8, 8, 8))
    options = {"kernels": ("box:size=3",), "dims": 3, "padding": "same"}
    wide = planned(source, tmp_path / "out.zarr", jobs=4, **options)
    assert min(wide.grid.block) >= 32
    narrow = planned(source, tmp_path / "out.zarr", max_memory=9 << 20, **options)
    assert narrow.task <= 9 << 20
    assert len(narrow.grid) > len(wide.grid)
    assert narrow.halo > wide.halo > 0
    with pytest.raises(LimitError, match="a task may have"):
        planned(source, tmp_path / "out.zarr", max_memory=8 << 20, **options)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"linear": True}, "linear light"),
        ({"block": (10, 10)}, "no multiple of .* chunks 16x16; use --block 16x16"),
        ({"block": (16, 16, 16)}, "the output 64x64 has 2 axes"),
        ({"chunks": (4,)}, "--chunks 4 has 1 entries"),
        ({"dtype": "int64", "kernels": ("random:3x3",)}, None),
    ],
)
def test_what_cannot_be_done_in_parts_is_named(
    options: dict[str, Any], found: str | None, tmp_path: Path
) -> None:
    source = store(tmp_path / "in.zarr", VOLUME[:64, :64, 0], (16, 16))
    merged = {"kernels": ("box",), "dims": 2, "padding": "same", **options}
    if found is None:
        planned(source, tmp_path / "out.zarr", **merged)
        return
    with pytest.raises(InputError, match=found):
        planned(source, tmp_path / "out.zarr", **merged)


def test_integers_whose_precision_depends_on_the_values_are_refused(tmp_path: Path) -> None:
    source = store(tmp_path / "in.zarr", VOLUME[:8, :8, 0].astype(np.int64), (8, 8))
    with pytest.raises(InputError, match=r"2\*\*52.*--dtype float64"):
        planned(source, tmp_path / "out.zarr", kernels=("sobel-x",), dtype="int64")
