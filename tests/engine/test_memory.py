"""Test the memory of a plan: at most 64 MiB on any number of threads, at least that of its run."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import convcli
from convcli.engine.planning.choose import make_plan
from convcli.engine.planning.facts import Facts, Work
from convcli.engine.planning.memory import BUDGET, Memory
from convcli.engine.planning.plan import Plan
from convcli.engine.problem import Problem, layer_problem, spatial_problem
from convcli.engine.tiling import tiles, whole
from convcli.options import BOUNDARIES
from convcli.shapes.spec import ConvSpec

TYPES = ("uint8", "float32", "float64")
SIZES = ((256, 256), (1000, 4096), (4096, 1000), (2048, 16384), (16384, 16384), (16384, 20))
KERNELS = (3, 4, 5, 7, 11, 15, 31, 63, 101)
SAME = {"padding": "same"}

rng = np.random.default_rng


@pytest.fixture(params=[1, 2, 4, 8])
def count(request: pytest.FixtureRequest, set_threads: Callable[[int], None]) -> int:
    """Set the number of threads."""
    threads: int = request.param
    set_threads(threads)
    return threads


def filtered(
    spatial: tuple[int, ...], channels: int, k: int, dtype: str, terms: int | None, **options: Any
) -> Plan:
    """Return the plan for one kernel that is a sum of `terms` products of 1-D factors."""
    facts = Facts((), spatial, channels, (k,) * len(spatial), None, dtype, terms=terms)
    return make_plan(Work.of(facts, ConvSpec.of(len(spatial), **SAME, **options), dtype))


class TestStated:
    """Test plans only: the arrays are too large to compute."""

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", TYPES)
    @pytest.mark.parametrize("boundary", BOUNDARIES)
    def test_no_picture_takes_more_than_64_mib(self, count: int, dtype: str, boundary: str) -> None:
        used = set()
        for spatial in SIZES:
            for k in KERNELS:
                for channels in (1, 3, 4):
                    for terms in (None, 1, 2, 4):
                        for stride, dilation in ((1, 1), (2, 1), (3, 2), (1, 3 if k < 86 else 1)):
                            plan = filtered(
                                spatial,
                                channels,
                                k,
                                dtype,
                                terms,
                                stride=stride,
                                dilation=dilation,
                                boundary=boundary,
                            )
                            assert plan.memory <= BUDGET, plan
                            assert 1 <= plan.threads <= count
                            used.add(plan.method)
        assert used >= {"gemm", "separable", "fft"}

    @pytest.mark.parametrize("dtype", TYPES)
    def test_no_bank_over_a_picture_takes_more_than_64_mib(self, count: int, dtype: str) -> None:
        for spatial in SIZES:
            for k in (1, 3, 7, 11):
                for filters, channels, groups in (
                    (8, 3, 1),
                    (64, 3, 1),
                    (64, 64, 1),
                    (64, 64, 4),
                    (64, 64, 64),
                ):
                    for stride in (1, 2):
                        facts = Facts((1,), spatial, channels, (k, k), filters, dtype)
                        spec = ConvSpec.of(2, stride=stride, groups=groups, **SAME)
                        plan = make_plan(Work.of(facts, spec))
                        assert plan.memory <= BUDGET, plan

    def test_two_threads_are_kept_where_speed_is_promised(
        self, set_threads: Callable[[int], None]
    ) -> None:
        set_threads(2)
        plans = [
            filtered((4096, 4096), channels, k, dtype, terms)
            for k in KERNELS
            for channels in (1, 3)
            for dtype in TYPES
            for terms in (None, 1)
        ]
        assert {plan.threads for plan in plans} == {2}

    def test_what_one_transform_needs_is_stated_though_it_is_more(self, count: int) -> None:
        plan = filtered((16384, 16384), 4, 701, "float64", None)
        assert (plan.method, plan.threads) == ("fft", 1)
        assert plan.memory > BUDGET

    def test_threads_are_given_up_before_memory(self) -> None:
        working = Memory(shared=4 << 20, per_thread=15 << 20)
        assert [working.threads(most) for most in (1, 2, 4, 8)] == [1, 2, 4, 4]
        assert working.total(4) == BUDGET
        assert Memory(shared=0, per_thread=BUDGET + 1).threads(8) == 1

    def test_no_more_threads_than_tiles(self, set_threads: Callable[[int], None]) -> None:
        set_threads(64)
        for x, w in (
            (np.zeros(10_000_000, np.uint8), np.ones(65)),
            (np.zeros((600, 3000)), np.ones((3, 3))),
        ):
            plan = convcli.plan(x, w)
            assert 1 < plan.threads <= len(list(tiles(plan, whole(plan)))) + 2

    def test_a_small_convolution_is_one_thread_s(self, count: int) -> None:
        plan = convcli.plan(np.zeros((50, 50)), np.ones((3, 3)))
        assert plan.threads == 1
        assert plan.memory < 1 << 20
        assert "bytes of working memory on 1 thread;" in str(plan)

    def test_the_plan_follows_the_threads(self, set_threads: Callable[[int], None]) -> None:
        x, w = np.zeros((2000, 2000), np.float32), np.ones((5, 5))
        taken = []
        for threads in (1, 2, 3):
            set_threads(threads)
            taken.append(convcli.plan(x, w).memory)
        assert taken[0] < taken[1] < taken[2]
        assert taken[2] - taken[1] == taken[1] - taken[0]


def growth(problem: Problem, plan: Plan) -> int:
    """Return the most bytes that a run allocates besides its input and output."""
    out = np.zeros(problem.part_shape(plan, whole(plan)), plan.dtype)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        problem.fill(plan, out, whole(plan))
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def picture(dtype: str, *shape: int) -> np.ndarray:
    return (rng(0).random(shape) * 255).astype(dtype)


def window(k: int, terms: int) -> np.ndarray:
    """Return a kernel of a rank, or of full rank if it is 0."""
    if not terms:
        return rng(1).standard_normal((k, k))
    return sum(np.outer(rng(at).random(k), rng(at + 9).random(k)) for at in range(terms))


def pictures() -> Iterator[tuple[str, Problem, str]]:
    for dtype in TYPES:
        for method, k, terms in (
            *(
                ("direct", 3, 0),
                ("direct", 5, 0),
                ("gemm", 3, 0),
                ("gemm", 5, 0),
                ("gemm", 15, 0),
                ("gemm", 31, 0),
            ),
            *(
                ("separable", 3, 1),
                ("separable", 15, 2),
                ("separable", 101, 1),
                ("fft", 31, 0),
                ("fft", 101, 0),
            ),
        ):
            for shape, axes in (
                ((1100, 1300), (0, 1)),
                ((700, 640, 3), (0, 1)),
                ((3, 640, 700), (1, 2)),
            ):
                x = picture(dtype, *shape)
                problem = spatial_problem(
                    x, window(k, terms), axes=axes, boundary="reflect", **SAME
                )
                yield f"{method} {k}x{k} {dtype} {shape}", problem, method


def others() -> Iterator[tuple[str, Problem, str]]:
    gray, rgb = picture("float32", 1100, 1300), picture("float32", 512, 512, 3)
    for name, options in {
        "stride": {"stride": 2},
        "dilation": {"dilation": 3},
        "valid": {},
    }.items():
        for method, terms in (("direct", 0), ("gemm", 0), ("separable", 1), ("fft", 0)):
            yield (
                f"{name} {method}",
                spatial_problem(gray, window(5, terms), axes=None, **options),
                method,
            )
    sound = gray.ravel()
    for method, k in (
        ("direct", 3),
        ("gemm", 9),
        ("separable", 65),
        ("separable", 1025),
        ("fft", 1025),
    ):
        yield (
            f"signal {method} {k}",
            spatial_problem(sound, rng(1).standard_normal(k), axes=None),
            method,
        )
    turned = gray.T[::-1, ::2]
    for method, terms in (("direct", 0), ("gemm", 0), ("separable", 1), ("fft", 0)):
        yield (
            f"a turned view, {method}",
            spatial_problem(turned, window(7, terms), axes=None),
            method,
        )
    for method, w in (
        ("gemm", rng(1).random((5, 5, 5))),
        ("separable", np.ones((5, 5, 5))),
        ("fft", np.eye(5)[None]),
    ):
        yield (
            f"volume {method}",
            spatial_problem(picture("float32", 96, 96, 96), w, axes=None),
            method,
        )
    cut, w = picture("int16", 20, 200, 100), np.multiply.outer(window(3, 1), rng(3).random(3))
    yield "tiles between others", spatial_problem(cut, w, axes=None, **SAME), "separable"
    for filters, k, stride in ((8, 3, 1), (8, 3, 2), (16, 7, 1), (16, 7, 2)):
        w = rng(1).standard_normal((filters, k, k, 3)).astype(np.float32)
        for method in ("gemm", "direct")[: 2 if k == 3 else 1]:
            yield (
                f"bank {w.shape} stride {stride} {method}",
                layer(rgb[None], w, stride=stride, **SAME),
                method,
            )
    maps = picture("float32", 4, 56, 56, 64)
    for groups, stride, dilation in (
        (1, 1, 1),
        (1, 2, 1),
        (4, 1, 1),
        (64, 1, 1),
        (64, 2, 1),
        (1, 1, 2),
    ):
        w = rng(1).standard_normal((64, 3, 3, 64 // groups)).astype(np.float32)
        problem = layer(maps, w, stride=stride, dilation=dilation, groups=groups)
        yield f"layer of {groups} groups, stride {stride}, dilation {dilation}", problem, "gemm"
    few = rng(1).standard_normal((8, 7, 7, 64))
    yield (
        "few kernels, stride 2",
        layer(picture("float64", 2, 200, 202, 64), few, stride=2, **SAME),
        "gemm",
    )
    wide = rng(1).standard_normal((384, 3, 3, 256)).astype(np.float32)
    yield "few places", layer(picture("float32", 4, 7, 9, 256), wide), "gemm"
    deep = rng(1).standard_normal((256, 3, 3, 256))
    yield "deep layer", layer(picture("float64", 4, 14, 14, 256), deep), "gemm"
    yield (
        "channels first",
        layer(np.moveaxis(maps, -1, 1), np.ones((8, 64, 3, 3)), layout="channels_first"),
        "gemm",
    )


def layer(
    x: np.ndarray, w: np.ndarray, *, groups: int = 1, layout: str = "channels_last", **options: Any
) -> Problem:
    return layer_problem(x, w, None, groups=groups, layout=layout, **options)


class TestTaken:
    """Measure all that numpy allocates while a plan runs, except the pages of pools."""

    @pytest.fixture(autouse=True)
    def _on_the_heap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("threads", "methods.summation"):
            monkeypatch.setattr(f"convcli.engine.{module}.scratch_buffer", np.empty)

    @pytest.mark.slow
    @pytest.mark.parametrize("cases", [pictures, others])
    def test_no_run_takes_more_than_is_stated(
        self, set_threads: Callable[[int], None], cases: Any
    ) -> None:
        worst = []
        for name, problem, method in cases():
            for count in (1, 3):
                set_threads(count)
                plan = problem.plan(None, method)
                taken = growth(problem, plan)
                assert taken <= plan.memory, (name, taken, plan)
                worst.append(taken / plan.memory)
        assert max(worst) > 0.6, "the statement is far too high for all of them"

    @pytest.mark.parametrize(
        ("dtype", "to"),
        [("float32", "int64"), ("uint8", "uint8"), ("int32", "int64"), ("float64", "uint16")],
    )
    @pytest.mark.parametrize("method", ["direct", "gemm", "separable", "fft"])
    def test_nor_where_results_are_rounded(self, method: str, dtype: str, to: str) -> None:
        problem = spatial_problem(picture(dtype, 900, 800), window(7, 1), axes=None, **SAME)
        plan = problem.plan(to, method)
        assert growth(problem, plan) <= plan.memory

    @pytest.mark.parametrize("method", ["direct", "gemm", "separable", "fft"])
    def test_nor_where_integers_keep_sums_exact(self, method: str) -> None:
        x = rng(0).integers(-(2**60), 2**60, (900, 800))
        problem = spatial_problem(x, rng(1).integers(-9, 9, (7, 7)), axes=None, **SAME)
        plan = problem.plan("int64", method)
        assert plan.facts.exact
        assert growth(problem, plan) <= plan.memory

    @pytest.mark.slow
    @pytest.mark.parametrize("boundary", BOUNDARIES)
    @pytest.mark.parametrize(
        ("method", "k"), [("gemm", 5), ("gemm", 31), ("separable", 31), ("fft", 41)]
    )
    def test_nor_where_nan_makes_it_compute_twice(self, method: str, k: int, boundary: str) -> None:
        x = picture("float32", 500, 700)
        x[::150, ::160] = np.nan
        problem = spatial_problem(x, window(k, 1), axes=None, boundary=boundary, **SAME)
        plan = problem.plan(None, method)
        assert growth(problem, plan) <= plan.memory
