"""What explain takes apart, put together again, is what the engine gives: the outputs, and both gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convcli import ShapeError, gradients
from convcli.errors import ChannelError, InputError, LimitError
from convcli.explain import Explanation, Question, explain
from convcli.job import Job, perform, prepare

SAMPLES = Path(__file__).parent.parent / "samples"
BORDERS = ("constant", "edge", "reflect", "symmetric", "wrap")


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def saved(values: np.ndarray, name: str = "x.npy") -> str:
    np.save(name, values)
    return name


def applied(name: str, reference: str, **options: Any) -> np.ndarray:
    return perform(prepare(Job(name, (reference,), dtype="float64", **options))).values


def filled(explanation: Explanation) -> np.ndarray:
    """Every step's value, in the output's shape."""
    values = np.array([step.value for step in explanation.steps])
    return values.reshape(explanation.output)


GEOMETRY: list[dict[str, Any]] = [
    {},
    {"padding": "same"},
    {"padding": "full", "cval": 2.5},
    {"padding": 2, "stride": 2},
    {"dilation": 2, "padding": "same-lower"},
    *({"padding": "full", "boundary": boundary, "stride": 2} for boundary in BORDERS),
    {"op": "convolve"},
    {"op": "convolve", "padding": 3, "boundary": "symmetric", "dilation": 2},
]
READINGS: list[tuple[tuple[int, ...], str, dict[str, Any]]] = [
    ((7,), "random:3", {}),
    ((5, 6), "random:2x3", {}),
    ((4, 5, 4), "random:3x2x2", {"dims": 3}),
    ((5, 4, 3), "random:3x2", {"dims": 2}),
    ((5, 4, 3), "random:3x2x3", {"dims": 2}),
    ((5, 4, 2), "random:3x2x2", {"dims": 2, "channels": "each"}),
    ((5, 4, 2), "random:3x2", {"dims": 2, "channels": "sum"}),
    ((5, 4, 4), "random:2x3x2x2", {"dims": 2, "groups": 2}),
    ((3, 5, 4), "random:2x3x3x2", {"dims": 2, "layout": "channels_first"}),
    ((2, 6, 3), "random:2x3x3", {"dims": 1}),
]


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize(("shape", "reference", "reading"), READINGS, ids=str)
def test_totals_are_the_values_of_apply(
    shape: tuple[int, ...], reference: str, reading: dict[str, Any], geometry: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("convcli.explain.STEPS", 10_000)
    options = {**reading, **geometry}
    name = saved(normal(*shape))
    explained = explain(Question(name, reference, at=None, **options))
    np.testing.assert_allclose(filled(explained), applied(name, reference, **options), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize(("shape", "reference", "reading"), READINGS, ids=str)
def test_cells_name_the_sample_and_the_tap_they_hold(
    shape: tuple[int, ...], reference: str, reading: dict[str, Any], geometry: dict[str, Any]
) -> None:
    x = normal(*shape)
    taps = np.random.default_rng(0).standard_normal(tuple(map(int, reference.split(":")[1].split("x"))))
    at = tuple([1] * reading.get("dims", len(shape)))
    step = explain(Question(saved(x), saved(taps, "w.npy"), at=at, **reading, **geometry)).steps[0]
    for block in step.blocks:
        for cell in block.cells:
            assert cell.w == taps[cell.tap]
            assert cell.x == (geometry.get("cval", 0.0) if cell.source is None else x[cell.source])
            assert cell.padded == (cell.source is None) or geometry["boundary"] != "constant"


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize(("shape", "reference", "reading"), READINGS, ids=str)
def test_shares_of_all_outputs_add_up_to_the_gradients(
    shape: tuple[int, ...], reference: str, reading: dict[str, Any], geometry: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("convcli.explain.STEPS", 10_000)
    name, options = saved(normal(*shape)), {**reading, **geometry}
    dy = normal(*explain(Question(name, reference, at=None, **options)).output, seed=1)
    explained = explain(Question(name, reference, at=None, backward=True, upstream=saved(dy, "dy.npy"), **options))
    dx: dict[Any, float] = {}
    dw: dict[Any, float] = {}
    cells = [cell for step in explained.steps for block in step.blocks for cell in block.cells]
    for cell in cells:
        assert cell.flow is not None
        assert (cell.flow.dx is None) == (cell.source is None)
        dw[cell.tap] = dw.get(cell.tap, 0) + cell.flow.dw
        if cell.flow.dx is not None:
            dx[cell.source] = dx.get(cell.source, 0) + cell.flow.dx
    for cell in cells:
        assert cell.flow is not None
        assert cell.flow.dw_sum == pytest.approx(dw[cell.tap], rel=1e-9, abs=1e-11)
        if cell.flow.dx is not None:
            assert cell.flow.dx_sum == pytest.approx(dx[cell.source], rel=1e-9, abs=1e-11)
    assert [step.delta for step in explained.steps] == dy.ravel().tolist()


def test_without_an_upstream_delta_is_one_and_the_sums_are_the_gradients_of_the_sum() -> None:
    x, w = normal(6, 6), normal(3, 3, seed=2)
    step = explain(Question(saved(x), saved(w, "w.npy"), at=(1, 2), backward=True)).steps[0]
    assert step.delta == 1
    dx, dw, _ = gradients(x[None, ..., None], w[None, ..., None], np.ones((1, 4, 4, 1)))
    for cell in step.blocks[0].cells:
        assert cell.flow is not None
        assert cell.flow.dw == cell.x
        assert cell.flow.dx == cell.w
        assert cell.flow.dw_sum == pytest.approx(dw[(0, *cell.tap, 0)])
        assert cell.flow.dx_sum == pytest.approx(dx[(0, *cell.place, 0)])


def test_a_batch_and_its_channels_may_be_left_out() -> None:
    x = normal(2, 6, 5, 3)
    name = saved(x)
    first = explain(Question(name, "random:4x3x3x3", at=(1, 1))).steps[0]
    assert first.at == (0, 1, 1, 0)
    assert explain(Question(name, "random:4x3x3x3", at=(1, 1, 2))).steps[0].at == (0, 1, 1, 2)
    assert explain(Question(name, "random:4x3x3x3", at=(1, 1, 1, 2))).steps[0].at == (1, 1, 1, 2)
    y = applied(name, "random:4x3x3x3")
    assert explain(Question(name, "random:4x3x3x3", at=(1, 2, 0, 3))).steps[0].value == pytest.approx(y[1, 2, 0, 3])


@pytest.mark.parametrize(("op", "boundary"), [("correlate", "constant"), ("convolve", "reflect")])
@pytest.mark.parametrize("reference", ["gaussian:sigma=1", "sobel-x", "random:3x3x3"])
def test_a_picture_with_alpha_is_divided_by_its_coverage(reference: str, op: Any, boundary: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 10, 4), np.uint8)
    pixels[:4, :4, 3] = 0
    Image.fromarray(pixels).save("x.png")
    options: dict[str, Any] = {"op": op, "padding": "same", "boundary": boundary}
    y = applied("x.png", reference, **options)
    for at in ((0, 0, 0), (4, 4, 0), (8, 9, 0)):
        step = explain(Question("x.png", reference, at=at, **options)).steps[0]
        assert step.coverage is not None
        np.testing.assert_allclose(step.value, y[at], rtol=1e-4, atol=1e-3)
    with pytest.raises(InputError, match="alpha"):
        explain(Question("x.png", reference, at=(0, 0), backward=True))


def test_values_that_are_not_finite_pass_through() -> None:
    x = normal(5, 5)
    x[2, 2] = np.nan
    assert np.isnan(explain(Question(saved(x), "box:size=3", at=(1, 1))).steps[0].value)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"at": (26, 3)}, InputError, r"at 26,3 lies outside the output 26x26; valid are 0\.\.25,0\.\.25"),
        ({"at": (-1, 3)}, InputError, r"at -1,3 lies outside"),
        ({"at": (1,)}, InputError, "at 1 has 1 entry; the output 26x26 has 2 axes"),
        ({"at": (1, 2, 0)}, InputError, "3 entries"),
        ({"at": None}, LimitError, "676 steps; expected at most 256"),
        ({"at": (1, 1), "padding": 1, "stride": 0}, InputError, "stride 0"),
        ({"at": (1, 1), "reference": "random:3x3x4"}, ShapeError, "kernel 3x3x4"),
        ({"at": (1, 1), "reference": "random:40x40"}, ShapeError, "exceeds the padded input"),
        ({"at": (1, 1), "input": "28x28x3", "reference": "random:3x3x4"}, ChannelError, "4 channels"),
        ({"at": (1, 1), "input": "28x0"}, ShapeError, "an axis of 0"),
        ({"at": (1, 1), "input": "nothere.png"}, InputError, "nothere.png"),
        ({"at": (1, 1), "input": str(SAMPLES / "digit.png"), "seed": 3}, InputError, "nothing random"),
    ],
    ids=str,
)
def test_refusals(options: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        explain(Question(**{"input": "28x28", "reference": "box:size=3", **options}))


def test_an_upstream_of_another_shape_names_both() -> None:
    upstream = saved(np.ones((5, 6)), "dy.npy")
    with pytest.raises(ShapeError, match=r"dy\.npy is 5x6; the output is 6x6"):
        explain(Question("8x8", "box:size=3", at=(1, 1), backward=True, upstream=upstream))
