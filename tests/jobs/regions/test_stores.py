"""Arrays in object stores are read and written region by region, as those in folders are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcli.errors import FileError
from convcli.io import load
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.executors import open_executor
from convcli.jobs.regions.plan import RegionOptions, RegionPlan, plan_regions
from convcli.jobs.regions.run import InProcess, run_regions
from convcli.jobs.requests import from_options
from convcli.stores import location

zarr = pytest.importorskip("zarr")
fsspec = pytest.importorskip("fsspec")

VALUES = np.random.default_rng(3).integers(0, 256, (20, 30, 40)).astype(np.uint8)
OPTIONS: dict[str, Any] = {
    "kernels": ("gaussian:sigma=1",),
    "dims": 3,
    "padding": "same",
    "dtype": "uint8",
}
CHUNKS = (8, 16, 16)


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def expected(tmp_path: Path) -> np.ndarray[Any, Any]:
    np.save(tmp_path / "x.npy", VALUES)
    request = from_options(ApplyRequest, str(tmp_path / "x.npy"), **OPTIONS)
    return run_apply(plan_apply(request)).values


def planned(source: Path | str, target: str, *, resume: bool = False, **options: Any) -> RegionPlan:
    request = from_options(ApplyRequest, str(source), output=target, **{**OPTIONS, **options})
    return plan_regions(request, RegionOptions(chunks=CHUNKS, block=CHUNKS, resume=resume, jobs=1))


def run(plan: RegionPlan) -> Any:
    return run_regions(plan, lambda **_: InProcess())


def test_an_array_goes_to_a_store_and_comes_back(tmp_path: Path, expected: Any) -> None:
    result = run(planned(tmp_path / "x.npy", "memory://bucket/soft.zarr"))
    assert result.is_whole
    assert result.bytes > 0
    np.testing.assert_array_equal(load("memory://bucket/soft.zarr").array, expected)
    assert not location("memory://bucket/soft.zarr/.convcli").is_dir()
    identity = {"kernels": ("identity",)}
    run(planned("memory://bucket/soft.zarr", str(tmp_path / "back.zarr"), **identity))
    np.testing.assert_array_equal(load(tmp_path / "back.zarr").array, expected)


def test_a_store_in_the_way_is_replaced_only_with_overwrite(tmp_path: Path, expected: Any) -> None:
    target = "memory://bucket/y.zarr"
    run(planned(tmp_path / "x.npy", target, kernels=("box",)))
    with pytest.raises(FileError, match="exists"):
        planned(tmp_path / "x.npy", target)
    with pytest.raises(FileError, match="is finished; nothing is left to resume"):
        planned(tmp_path / "x.npy", target, resume=True)
    run(planned(tmp_path / "x.npy", target, overwrite=True))
    np.testing.assert_array_equal(load(target).array, expected)


def test_what_was_begun_is_not_opened_and_can_be_resumed(
    tmp_path: Path, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "memory://bucket/y.zarr"
    plan = planned(tmp_path / "x.npy", target)
    plan.begin()
    with pytest.raises(FileError, match="is not finished; expected a whole array"):
        load(target)
    with pytest.raises(FileError, match=r"is not finished; .* pass --resume or --overwrite"):
        planned(tmp_path / "x.npy", target)
    result = run(planned(tmp_path / "x.npy", target, resume=True))
    assert result.is_whole
    np.testing.assert_array_equal(load(target).array, expected)


@pytest.mark.parametrize("source", ["x.npy", "memory://bucket/none.zarr"])
def test_names_that_do_not_fit_are_refused(tmp_path: Path, expected: Any, source: str) -> None:
    if source == "x.npy":
        location("memory://bucket/file.zarr").put(b"a file")
        with pytest.raises(FileError, match="exists and is no zarr array"):
            planned(tmp_path / source, "memory://bucket/file.zarr")
        with pytest.raises(FileError, match="is only read"):
            planned(tmp_path / source, "https://host/y.zarr")
        return
    with pytest.raises(FileError, match="does not exist; expected a zarr array"):
        planned(source, str(tmp_path / "y.zarr"))


def test_worker_processes_do_not_see_objects_in_memory(tmp_path: Path, expected: Any) -> None:
    plan = planned(tmp_path / "x.npy", "memory://bucket/y.zarr")
    with pytest.raises(FileError, match="exists in one process only"):
        run_regions(plan, lambda **options: open_executor(None, 2, **options))
