"""Test that a registered method is planned, run, checked, shown and timed as the built-in ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from command import run
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import convcli
from convcli.engine.methods import BUILT_IN, methods, names, register, unregister
from convcli.engine.methods.base import CostEstimate, Method, Needs, TileFunction
from convcli.engine.methods.windows import windows
from convcli.engine.planning.facts import Work
from convcli.engine.planning.plan import Plan

rng = np.random.default_rng


class Toy(Method):
    """A method that computes every output in a loop."""

    name = "toy"

    def __init__(self, nanoseconds: float = 1e12) -> None:
        self.nanoseconds = nanoseconds

    def refusal(self, work: Work) -> str:
        return "" if work.facts.filters is None else "a toy has one kernel"

    def cost(self, work: Work) -> CostEstimate:
        return CostEstimate(self.nanoseconds, "a loop over the outputs")

    def tile(self, work: Work) -> tuple[int, ...]:
        return (1, 4, *work.sizes[1:])

    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        return Needs(work.taps * self.itemsize(work), 0)

    def prepare(self, w: NDArray[Any], plan: Plan) -> TileFunction:
        w = w.astype(plan.accumulator)

        def tile(block: NDArray[Any], out: NDArray[Any]) -> None:
            seen = windows(block, plan.axes, out.shape[-1 - len(plan.axes) : -1])
            for place in np.ndindex(*out.shape[:-1]):
                for channel in range(out.shape[-1]):
                    out[(*place, channel)] = (seen[place][..., channel] * w).sum()

        return tile


@pytest.fixture
def toy(request: pytest.FixtureRequest) -> Iterator[Toy]:
    method = Toy(**getattr(request, "param", {}))
    register(method)
    yield method
    unregister(method)


@pytest.mark.parametrize("file", BUILT_IN)
def test_each_file_has_the_method_that_the_table_names(file: str) -> None:
    method = import_module(f"convcli.engine.methods.{file}").METHOD
    assert isinstance(method, Method)
    assert method.name == BUILT_IN[file]
    assert method in methods()


def test_the_table_is_as_it_was() -> None:
    assert names() == ("direct", "gemm", "separable", "fft")


def test_it_is_planned_and_run_as_asked(toy: Toy) -> None:
    assert names()[-1] == "toy"
    for x, w, axes in (
        (rng(0).random((23, 19)), rng(1).random((3, 4)), None),
        (rng(2).random((2, 11, 12, 3), np.float32), rng(3).random((2, 3)), (1, 2)),
        (rng(4).integers(-9, 9, 50), np.array([1, 2, 3]), None),
    ):
        plan = convcli.plan(x, w, axes=axes, padding="same", method="toy")
        assert (plan.method, plan.implementation, plan.reason) == ("toy", toy, "as asked")
        y = convcli.correlate(x, w, axes=axes, padding="same", method="toy")
        assert_allclose(
            y, convcli.correlate(x, w, axes=axes, padding="same", method="direct"), rtol=1e-6
        )


def test_it_is_weighed_by_its_cost(toy: Toy) -> None:
    x, w = np.zeros((30, 30)), np.ones((3, 3))
    plan = convcli.plan(x, w)
    assert plan.method != "toy"
    assert dict(plan.rejected)["toy"].startswith("a loop over the outputs: ")
    toy.nanoseconds = 1.0
    assert convcli.plan(x[1:], w).method == "toy"
    assert convcli.plan(x[1:], w).reason == "a loop over the outputs"


def test_it_refuses_what_it_cannot_do(toy: Toy) -> None:
    x, w = np.zeros((1, 9, 9, 2)), np.ones((4, 3, 3, 2))
    with pytest.raises(convcli.ConvError, match="method toy; a toy has one kernel"):
        convcli.conv_layer(x, w, method="toy")
    assert dict(convcli.plan(x, w).rejected)["toy"] == "a toy has one kernel"


@pytest.mark.parametrize("toy", [{"nanoseconds": 1.0}], indirect=True)
def test_auto_chooses_it_if_it_is_the_fastest(toy: Toy) -> None:
    x, w = rng(0).random((23, 19)), rng(1).random((3, 4))
    assert convcli.plan(x, w).method == "toy"
    assert_allclose(convcli.correlate(x, w), convcli.correlate(x, w, method="direct"))


@pytest.fixture
def picture(tmp_path: Any) -> str:
    np.save(tmp_path / "x.npy", rng(0).random((24, 20)))
    return str(tmp_path / "x.npy")


def test_the_command_line_knows_it(toy: Toy, picture: str) -> None:
    assert "toy" in run("apply", "--help").stdout
    shown = run("apply", picture, "-k", "sobel-x", "--method", "toy", "--dry-run").stdout
    assert "toy: as asked" in shown
    rejected = run("apply", picture, "-k", "sobel-x", "--dry-run").stdout
    assert "toy: a loop over the outputs" in rejected
    checked = run("apply", picture, "-k", "sobel-x", "--method", "toy", "--verify", "--json").stdout
    assert json.loads(checked)["plan"][0]["method"] == "toy"


def test_bench_measures_it(toy: Toy) -> None:
    toy.nanoseconds = 1e6
    shown = json.loads(run("bench", "24x20", "-k", "sobel-x", "--runs", "1", "--json").stdout)
    rows = {row["name"] for case in shown["cases"] for row in case["rows"]}
    assert {"direct", "toy"} <= rows


def test_the_command_line_forgets_it(picture: str) -> None:
    assert (
        "'toy'; expected one of auto, direct, gemm, separable, fft"
        in run("apply", picture, "-k", "sobel-x", "--method", "toy", code=2).stderr
    )
