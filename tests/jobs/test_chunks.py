"""A result that is computed chunk by chunk equals the whole one, and needs a chunk's memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcli.engine.planning.plan import Plan
from convcli.errors import ConvError
from convcli.io import writing
from convcli.io.arrays import npy
from convcli.jobs import apply as jobs
from convcli.jobs import chunks
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import from_options

RNG = np.random.default_rng(0)
INPUTS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "gray": ((97, 13), {"kernels": ("sobel-x",)}),
    "several kernels": ((97, 13), {"kernels": ("sobel-x", "sobel-y"), "combine": "magnitude"}),
    "stacked": ((97, 13), {"kernels": ("sobel-x", "sobel-y", "box:size=3")}),
    "signal": ((997,), {"kernels": ("1,2,3",), "dims": 1}),
    "volume": ((40, 9, 11), {"kernels": ("random:3x3x3",), "dims": 3}),
    "strided": (
        (97, 13),
        {"kernels": ("random:3x3",), "stride": 3, "boundary": "wrap", "padding": "full"},
    ),
    "a channel each": ((97, 13, 3), {"kernels": ("random:3x3",)}),
    "a bank": ((97, 13, 3), {"kernels": ("random:4x3x3x3",), "dims": 2}),
    "channels first": (
        (3, 97, 13),
        {"kernels": ("random:4x3x3x3",), "dims": 2, "layout": "channels_first"},
    ),
    "each, channels first": (
        (3, 97, 13),
        {"kernels": ("random:3x3",), "dims": 2, "layout": "channels_first"},
    ),
    "a batch": ((5, 31, 13, 3), {"kernels": ("random:4x3x3x3",), "dims": 2}),
    "a batch, each": ((5, 31, 13, 3), {"kernels": ("random:3x3",), "dims": 2}),
    "a batch, channels first": (
        (5, 3, 31, 13),
        {"kernels": ("random:2x3x3x3",), "dims": 2, "layout": "channels_first"},
    ),
}


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Provide a function that runs apply on an array of whole numbers, whose sums are exact."""

    def make(shape: tuple[int, ...], **options: Any) -> jobs.ApplyResult:
        np.save(
            tmp_path / "x.npy", np.random.default_rng(1).integers(-9, 9, shape).astype(np.float64)
        )
        whole = {
            "padding": "same",
            "boundary": "reflect",
            "verify": True,
            "dtype": "float64",
        } | options
        return run_apply(plan_apply(from_options(ApplyRequest, str(tmp_path / "x.npy"), **whole)))

    return make


def in_small_parts(monkeypatch: pytest.MonkeyPatch, rows: int = 5) -> None:
    """Cut results into chunks of a few rows, independently of the engine's tiles."""
    monkeypatch.setattr(chunks, "CHUNK_VALUES", 1)
    monkeypatch.setattr(chunks, "whole_tiles", lambda wanted, tile, most: min(rows, most))


@pytest.mark.parametrize(("shape", "options"), INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("policy", ["clip", "rescale", "abs"])
def test_parts_make_the_whole(shape, options, policy, made, monkeypatch):
    whole = made(shape, range=policy, **options)
    in_small_parts(monkeypatch)
    lead = whole.plan.passes[0]
    cut = list(chunks.chunks(lead.conv_layout, lead.plan))
    assert len(cut) > 1
    assert chunks.last_chunk(lead.conv_layout, lead.plan) == cut[-1]
    pieced = made(shape, range=policy, **options)
    np.testing.assert_allclose(pieced.values, whole.values, rtol=1e-13, atol=1e-13)
    assert pieced.verified
    assert [proof.checked for proof in pieced.verifications] == [
        proof.checked for proof in whole.verifications
    ]
    assert (pieced.ledger.total, pieced.ledger.low, pieced.ledger.high) == pytest.approx(
        (whole.ledger.total, whole.ledger.low, whole.ledger.high), abs=1e-12
    )


def test_parts_begin_where_tiles_do(made, monkeypatch):
    run = made((1000, 20), kernels=("box:size=3",), method="direct").plan.passes[0]
    monkeypatch.setattr(chunks, "CHUNK_VALUES", 1)
    monkeypatch.setattr(chunks, "whole", lambda plan: chunks.Chunk((0, 1), (0, 10 * plan.tile[1])))
    cut = [part.rows for part in chunks.chunks(run.conv_layout, run.plan)]
    assert cut == [(at * run.plan.tile[1], (at + 1) * run.plan.tile[1]) for at in range(10)]


def test_the_ledger_counts_over_all_parts(made, monkeypatch):
    options = {"kernels": ("random:3x3",), "dtype": "uint8", "verify": False, "scale": 20.0}
    whole = made((97, 13), **options)
    in_small_parts(monkeypatch)
    pieced = made((97, 13), **options)
    assert whole.ledger.below > 0
    assert whole.ledger.above > 0
    assert pieced.ledger == whole.ledger
    assert (pieced.values == whole.values).all()


def test_what_does_not_fit_is_counted_over_all_parts(made, monkeypatch):
    in_small_parts(monkeypatch)
    with pytest.raises(ConvError, match=r"of 1,261 would be clipped"):
        made(
            (97, 13),
            kernels=("random:3x3",),
            dtype="uint8",
            verify=False,
            range="error",
            scale=99.0,
        )


def test_a_wrong_part_is_found_wherever_it_is(made, monkeypatch):
    from convcli.engine.problem import Problem

    in_small_parts(monkeypatch)
    run_part = Problem.run_part

    def broken(self: Problem, plan: Plan, part: Any, progress: Any) -> Any:
        y = run_part(self, plan, part, progress)
        return y + 1 if part.rows[0] == 50 else y

    monkeypatch.setattr(Problem, "run_part", broken)
    outcome = made((97, 13), kernels=("box:size=3",))
    assert not outcome.verified
    assert 50 <= outcome.verifications[0].worst[0] < 55


class TestMapped:
    """A large .npy output is mapped from its own file."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(npy, "MAP_ABOVE", 1000)
        monkeypatch.setattr(writing, "MAP_ABOVE", 1000)

    def test_it_is_the_file_that_would_have_been_written(self, made, tmp_path):
        outcome = made((97, 13), kernels=("box:size=3",), output=str(tmp_path / "y.npy"))
        assert isinstance(outcome.values, np.memmap)
        expected = tmp_path / "expected.npy"
        np.save(expected, np.array(outcome.values))
        assert (tmp_path / "y.npy").read_bytes() == expected.read_bytes()
        assert outcome.written is not None
        assert outcome.written.bytes == expected.stat().st_size

    def test_a_failing_proof_leaves_nothing(self, made, tmp_path, monkeypatch):
        from convcli.engine.problem import Problem

        run_part = Problem.run_part
        monkeypatch.setattr(Problem, "run_part", lambda *given: run_part(*given) + 1)
        outcome = made((97, 13), kernels=("box:size=3",), output=str(tmp_path / "y.npy"))
        assert outcome.written is None
        assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]

    def test_an_error_leaves_the_old_file(self, made, tmp_path):
        (tmp_path / "y.npy").write_bytes(b"old")
        with pytest.raises(ConvError, match="would be clipped"):
            made(
                (97, 13),
                kernels=("random:3x3",),
                dtype="int8",
                scale=1e3,
                range="error",
                verify=False,
                output=str(tmp_path / "y.npy"),
                overwrite=True,
            )
        assert (tmp_path / "y.npy").read_bytes() == b"old"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]

    def test_a_disk_without_room_is_told(self, made, tmp_path, monkeypatch):
        import errno
        import os

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(ConvError, match=r"y\.npy cannot be written; No space left"):
            made((97, 13), kernels=("box:size=3",), output=str(tmp_path / "y.npy"))
        assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


PEAK = """
import json, resource, sys
from convcli.jobs.apply import ApplyRequest, plan_apply, run_apply
from convcli.jobs.requests import from_options
options = {"padding": "same", "verify": True}
small = from_options(ApplyRequest, "small.npy", ("sobel-x",), output="s.npy", **options)
run_apply(plan_apply(small))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
options["range"] = "rescale"
big = from_options(ApplyRequest, "big.npy", ("sobel-x",), output="y.npy", **options)
outcome = run_apply(plan_apply(big))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([after - before, outcome.verified, outcome.ledger.high]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux alone"
)
def test_a_file_larger_than_what_is_held(tmp_path):
    big = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.float32, (16384, 6144))
    big[::1000] = 1
    np.save(tmp_path / "small.npy", np.ones((300, 300), np.float32))
    del big
    done = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    grown, verified, high = json.loads(done.stdout)
    assert verified
    assert high == 1
    assert grown < 330 * 1024, f"{grown:,} KiB, for an input and an output of 384 MiB each"
