"""Test that the cells of explain add up to the engine's outputs and gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from convcli import ShapeError, gradients
from convcli.cli import main
from convcli.errors import ChannelError, InputError, LimitError
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import from_options
from convcli.learn.explain import ExplainRequest, ExplainResult, run_explain
from convcli.learn.indices import MIDDLE
from convcli.options import ACTIVATIONS

SAMPLES = Path(__file__).parents[2] / "samples"
BORDERS = ("constant", "edge", "reflect", "symmetric", "wrap")


pytestmark = pytest.mark.usefixtures("in_tmp")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def saved(values: np.ndarray, name: str = "x.npy") -> str:
    np.save(name, values)
    return name


def applied(name: str, reference: str, **options: Any) -> np.ndarray:
    return run_apply(
        plan_apply(from_options(ApplyRequest, name, (reference,), dtype="float64", **options))
    ).values


def explain(*arguments: Any, **options: Any) -> ExplainResult:
    return run_explain(from_options(ExplainRequest, *arguments, **options))


def filled(explanation: ExplainResult) -> np.ndarray:
    """Return every step's value, in the output's shape."""
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
    shape: tuple[int, ...],
    reference: str,
    reading: dict[str, Any],
    geometry: dict[str, Any],
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("convcli.learn.explain.STEPS", 10_000)
    options = {**reading, **geometry}
    name = saved(normal(*shape))
    explained = explain(name, reference, at=None, **options)
    np.testing.assert_allclose(
        filled(explained), applied(name, reference, **options), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize(("shape", "reference", "reading"), READINGS, ids=str)
def test_cells_name_the_sample_and_the_tap_they_hold(
    shape: tuple[int, ...], reference: str, reading: dict[str, Any], geometry: dict[str, Any]
) -> None:
    x = normal(*shape)
    taps = np.random.default_rng(0).standard_normal(
        tuple(map(int, reference.split(":")[1].split("x")))
    )
    at = tuple([1] * reading.get("dims", len(shape)))
    step = explain(saved(x), saved(taps, "w.npy"), at=at, **reading, **geometry).steps[0]
    for block in step.blocks:
        for cell in block.cells:
            assert cell.w == taps[cell.tap]
            assert cell.x == (geometry.get("cval", 0.0) if cell.source is None else x[cell.source])
            assert cell.padded == (cell.source is None) or geometry["boundary"] != "constant"


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize(("shape", "reference", "reading"), READINGS, ids=str)
def test_shares_of_all_outputs_add_up_to_the_gradients(
    shape: tuple[int, ...],
    reference: str,
    reading: dict[str, Any],
    geometry: dict[str, Any],
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("convcli.learn.explain.STEPS", 10_000)
    name, options = saved(normal(*shape)), {**reading, **geometry}
    dy = normal(*explain(name, reference, at=None, **options).output, seed=1)
    explained = explain(
        name, reference, at=None, backward=True, upstream=saved(dy, "dy.npy"), **options
    )
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
    flows = [step.flow for step in explained.steps]
    assert [flow.delta for flow in flows if flow] == dy.ravel().tolist()


def test_without_an_upstream_delta_is_one_and_the_sums_are_the_gradients_of_the_sum() -> None:
    x, w = normal(6, 6), normal(3, 3, seed=2)
    step = explain(saved(x), saved(w, "w.npy"), at=(1, 2), backward=True).steps[0]
    assert step.flow is not None
    assert (step.flow.dy, step.flow.slope, step.flow.delta, step.flow.db_sum) == (1, 1, 1, 16)
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
    first = explain(name, "random:4x3x3x3", at=(1, 1)).steps[0]
    assert first.at == (0, 1, 1, 0)
    assert explain(name, "random:4x3x3x3", at=(1, 1, 2)).steps[0].at == (0, 1, 1, 2)
    assert explain(name, "random:4x3x3x3", at=(1, 1, 1, 2)).steps[0].at == (
        1,
        1,
        1,
        2,
    )
    y = applied(name, "random:4x3x3x3")
    assert explain(name, "random:4x3x3x3", at=(1, 2, 0, 3)).steps[0].value == pytest.approx(
        y[1, 2, 0, 3]
    )


@pytest.mark.parametrize(("op", "boundary"), [("correlate", "constant"), ("convolve", "reflect")])
@pytest.mark.parametrize("reference", ["gaussian:sigma=1", "sobel-x", "random:3x3x3"])
def test_a_picture_with_alpha_is_divided_by_its_coverage(
    reference: str, op: Any, boundary: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 10, 4), np.uint8)
    pixels[:4, :4, 3] = 0
    Image.fromarray(pixels).save("x.png")
    options: dict[str, Any] = {"op": op, "padding": "same", "boundary": boundary}
    y = applied("x.png", reference, **options)
    for at in ((0, 0, 0), (4, 4, 0), (8, 9, 0)):
        step = explain("x.png", reference, at=at, **options).steps[0]
        assert step.coverage is not None
        np.testing.assert_allclose(step.value, y[at], rtol=1e-4, atol=1e-3)
    with pytest.raises(InputError, match="alpha"):
        explain("x.png", reference, at=(0, 0), backward=True)


def test_values_that_are_not_finite_pass_through() -> None:
    x = normal(5, 5)
    x[2, 2] = np.nan
    assert np.isnan(explain(saved(x), "box:size=3", at=(1, 1)).steps[0].value)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        (
            {"at": (26, 3)},
            InputError,
            r"at 26,3 is outside the output 26x26; valid are 0\.\.25,0\.\.25",
        ),
        (
            {"at": (-27, 3)},
            InputError,
            r"--at -27,3 is outside .*; negative indices count from the end",
        ),
        ({"at": (1,)}, InputError, "at 1 has 1 entry; the output 26x26 has 2 axes"),
        ({"at": (1, 2, 0)}, InputError, "3 entries"),
        ({"at": None}, LimitError, "676 steps; expected at most 256"),
        ({"at": (1, 1), "padding": 1, "stride": 0}, InputError, "stride 0"),
        ({"at": (1, 1), "reference": "random:3x3x4"}, ShapeError, "kernel 3x3x4"),
        ({"at": (1, 1), "reference": "random:40x40"}, ShapeError, "exceeds the padded input"),
        (
            {"at": (1, 1), "input": "28x28x3", "reference": "random:3x3x4"},
            ChannelError,
            "4 channels",
        ),
        ({"at": (1, 1), "input": "28x0"}, ShapeError, "an axis of 0"),
        ({"at": (1, 1), "input": "nothere.png"}, InputError, "nothere.png"),
        (
            {"at": (1, 1), "input": str(SAMPLES / "digit.png"), "seed": 3},
            InputError,
            "nothing random",
        ),
    ],
    ids=str,
)
def test_refusals(options: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        explain(**{"input": "28x28", "reference": "box:size=3", **options})


def test_an_upstream_of_another_shape_names_both() -> None:
    upstream = saved(np.ones((5, 6)), "dy.npy")
    with pytest.raises(ShapeError, match=r"dy\.npy is 5x6; the output is 6x6"):
        explain("8x8", "box:size=3", at=(1, 1), backward=True, upstream=upstream)


# The command.


def shown(*words: object, code: int = 0) -> str:
    """Return what `convcli explain` prints: stdout, or the line on stderr if it fails."""
    result = CliRunner().invoke(main, ["explain", *map(str, words)], env={"COLUMNS": "100"})
    assert result.exit_code == code, result.stderr
    assert (result.stdout == "") == (code != 0)
    return result.stderr if code else result.stdout


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_patch_kernel_and_product_stand_side_by_side() -> None:
    told = shown(saved(np.arange(9.0).reshape(3, 3)), "-k", "1,2;3,-4", "--at", "1,0")
    rows = table(told)
    assert ["3", "4", "1", "2", "3", "8"] in rows
    assert ["6", "7", "*", "3", "-4", "=", "18", "-28"] in rows
    assert "y[1,0] = sum of w[a,b] * x[1+a,0+b]" in told
    assert "y[1,0] = 3 + 8 + 18 - 28 = 1" in told
    assert "outside" not in told


def test_nothing_times_a_negative_tap_is_plain_zero() -> None:
    told = shown(saved(np.array([0.0, 5.0])), "-k", "-2,1", "--at", "0")
    assert "y[0] = 0 + 5 = 5" in told
    assert "-0" not in told


def test_a_convolution_shows_its_flip() -> None:
    told = shown(saved(np.arange(4.0)), "-k", "1,2,3", "--at", "0", "--op", "convolve")
    assert "y[0] = sum of w[a] * x[2-a]" in told
    assert ["0", "1", "2", "1", "2", "3", "*", "3", "2", "1", "=", "0", "2", "2"] in table(told)


@pytest.mark.parametrize(
    ("boundary", "value"), [("constant", "(7)"), ("edge", "(1)"), ("wrap", "(3)")]
)
def test_padded_cells_are_marked(boundary: str, value: str) -> None:
    words = [saved(np.array([1.0, 2.0, 3.0])), "-k", "1,1", "--at", "0", "--padding", "1:0"]
    told = shown(*words, "--boundary", boundary, *(["--cval", 7] if boundary == "constant" else []))
    assert value in told
    assert f"(v) is outside the input: boundary {boundary}" in told


def test_the_way_back_names_every_term_and_its_sum() -> None:
    dy = saved(np.array([2.0, 3.0]), "dy.npy")
    words = [saved(np.array([5.0, 6.0, 7.0])), "-k", "1,4", "--at", "1", "--backward"]
    told = [" ".join(row) for row in table(shown(*words, "--upstream", dy))]
    assert "backward, delta = dy[1] = 3 (dy: dy.npy)" in told
    assert "dw[0] += delta * x[1] = 3 * 6 = 18 of 28 over all outputs" in told
    assert "dw[1] += delta * x[2] = 3 * 7 = 21 of 33 over all outputs" in told
    assert "dx[1] += delta * w[0] = 3 * 1 = 3 of 11 over all outputs" in told
    assert "dx[2] += delta * w[1] = 3 * 4 = 12 of 12 over all outputs" in told


def test_the_constant_outside_takes_no_gradient() -> None:
    told = shown(saved(np.ones(3)), "-k", "1,1,1", "--at", "0", "--padding", "same", "--backward")
    assert "is outside the input, and dropped" in told
    assert "delta * the constant outside" in told


def test_the_neuron_is_shown_whole() -> None:
    """Sum, bias and activation, and dy through them."""
    name = saved(np.array([5.0, 6.0, 7.0]))
    words = [name, "-k", "1,-4", "--at", "1", "--bias", "2.5", "--activation", "leaky-relu"]
    told = [" ".join(row) for row in table(shown(*words, "--backward"))]
    assert "y[1] = leaky-relu(sum of w[a] * x[1+a] + bias)" in told
    assert "sum = 6 - 28 = -22" in told
    assert "y[1] = leaky-relu(-22 + 2.5) = leaky-relu(-19.5) = -0.195" in told
    assert "backward, delta = dy[1] * leaky-relu'(-19.5) = 1 * 0.01 = 0.01 (dy: ones)" in told
    assert "db[0] += delta = 0.01 of 0.02 over all outputs" in told
    assert "dw[0] += delta * x[1] = 0.01 * 6 = 0.06 of 0.11 over all outputs" in told
    assert shown(*words, "-q") == "-0.195\n"
    (step,) = json.loads(shown(*words, "--backward", "--json"))["steps"]
    assert (step["total"], step["z"], step["value"]) == (-22, -19.5, -0.195)
    assert step["flow"] == {"dy": 1, "slope": 0.01, "delta": 0.01, "db": 0, "db_sum": 0.02}
    biased = shown(name, "-k", "1,-4", "--at", "1", "--bias", "-1")
    assert "y[1] = sum of w[a] * x[1+a] + bias" in biased
    assert "y[1] = sum + bias = -22 - 1 = -23" in biased


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize(("shape", "reference", "reading"), READINGS, ids=str)
def test_gradients_go_through_bias_and_activation(
    shape: tuple[int, ...], reference: str, reading: dict[str, Any], activation: Any
) -> None:
    """dx, dw and db are those of sum(dy * f(conv(x) + b)), by central differences."""
    functions: dict[Any, Any] = {
        None: lambda z: z,
        "relu": lambda z: np.maximum(z, 0),
        "leaky-relu": lambda z: np.where(z > 0, z, 0.01 * z),
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
    }
    x, bias = normal(*shape), 0.3
    w = normal(*map(int, reference.split(":")[1].split("x")), seed=5)
    options = {**reading, "padding": 1, "op": "convolve"}

    def output(x: np.ndarray, w: np.ndarray, bias: float) -> np.ndarray:
        y = applied(saved(x), saved(w, "w.npy"), **options)
        return np.asarray(functions[activation](y + bias))

    y = output(x, w, bias)
    dy = normal(*y.shape, seed=1)
    found = explain(
        saved(x), saved(w, "w.npy"), at=MIDDLE, backward=True, bias=bias, activation=activation,
        upstream=saved(dy, "dy.npy"), **options,
    )  # fmt: skip
    step = found.steps[0]
    assert step.value == pytest.approx(y[step.at])
    dx, dw, db = found.neuron.gradients()
    rng, h = np.random.default_rng(2), 1e-6
    vx, vw = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    ends = [np.vdot(dy, output(x + s * vx, w + s * vw, bias + s)) for s in (h, -h)]
    slope = np.vdot(dx, vx) + np.vdot(dw, vw) + db.sum()
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "rule", "title"),
    [
        (["8x8x3", "-k", "random:4x3x3x3", "--at", "2,2,1"],
         "sum of w[1,a,b,c] * x[2+a,2+b,c], over the channels c", "channel 2: w[1,a,b,2]"),
        (["8x8x4", "-k", "random:4x3x3x2", "--groups", "2", "--at", "1,2,3"],
         "sum of w[3,a,b,c] * x[1+a,2+b,2+c], over the channels c", "channel 3: w[3,a,b,1]"),
        (["2x9x8", "-k", "random:5x2x3x3", "--layout", "channels_first", "--at", "4,1,1"],
         "sum of w[4,c,a,b] * x[c,1+a,1+b], over the channels c", "channel 1: w[4,1,a,b]"),
        (["8x8x3", "-k", "random:3x3x3", "--channels", "each", "--at", "1,1,2"],
         "sum of w[a,b,2] * x[1+a,1+b,2]", "channel 2"),
        (["8x8x3", "-k", "random:3x3", "--at", "1,1,2"],
         "sum of w[a,b] * x[1+a,1+b,2]", "channel 2"),
        (["2x8x8x3", "-k", "random:4x3x3x3", "--at", "1,2,2,0", "--op", "convolve"],
         "sum of w[0,a,b,c] * x[1,4-a,4-b,c], over the channels c", "channel 0: w[0,a,b,0]"),
        (["6x6x6x2", "-k", "random:2x3x3x3x2", "--dims", "3", "--at", "1,1,1,1"],
         "sum of w[1,a,b,d,c] * x[1+a,1+b,1+d,c], over the channels c", "channel 1: w[1,a,b,d,1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_formulas_name_the_kernel_and_the_channel(words: list[str], rule: str, title: str) -> None:
    lines = shown(*words).splitlines()
    at = words[words.index("--at") + 1]
    (formula,) = [line for line in lines if "sum of w" in line]
    assert formula.endswith(f"] = {rule}")
    assert at in formula
    assert title in lines


def test_all_walks_every_step() -> None:
    told = shown("4x4", "-k", "box:size=3", "--all")
    assert [line for line in told.splitlines() if "sum of w" in line] == [
        f"y[{i},{j}] = sum of w[a,b] * x[{i}+a,{j}+b]" for i in (0, 1) for j in (0, 1)
    ]


def test_without_an_index_the_middle_is_explained() -> None:
    told = shown("8x8x3", "-k", "random:2x3x3x3")
    assert "3,3,0, the middle of the output; choose another with --at, or --all" in told
    assert json.loads(shown("8x8x3", "-k", "random:2x3x3x3", "--json"))["steps"][0]["at"] == [
        3,
        3,
        0,
    ]
    assert "the middle" not in shown("8x8", "-k", "box:size=3", "--at", "3,3")
    assert explain("3x9x8", "random:2x3x3x3", layout="channels_first", at="middle").steps[0].at == (
        0,
        3,
        3,
    )


def test_negative_indices_count_from_the_end() -> None:
    assert explain("8x8x3", "random:2x3x3x3", at=(-1, -6, -1)).steps[0].at == (5, 0, 1)
    assert "y[5,5] = " in shown("8x8", "-k", "box:size=3", "--at", "-1,-1")


def test_quiet_prints_the_values_alone() -> None:
    name = saved(np.array([1.0, 2.0, 4.0]))
    assert shown(name, "-k", "1,-1", "--at", "0", "-q") == "-1\n"
    assert shown(name, "-k", "1,-1", "--all", "-q") == "-1\n-2\n"


@pytest.mark.parametrize(
    ("taps", "span"),
    [
        (np.outer(*[np.exp(-np.square(np.arange(-9, 10)) / 8)] * 2), "x[15..23,15..23]"),
        (np.pad(np.ones((3, 3)), ((0, 16), (16, 0))), "x[10..18,20..28]"),
    ],
    ids=["in the middle", "in a corner"],
)
def test_large_windows_show_the_taps_with_the_most_weight(taps: np.ndarray, span: str) -> None:
    told = shown("40x40", "-k", saved(taps, "w.npy"), "--at", "10,10")
    assert span in told
    assert "the 9x9 taps with the most weight of 19x19; --json lists all" in told
    assert "= the sum of 361 products = " in told
    x = explain("40x40", "w.npy", at=(10, 10)).operands.x
    products = x[10:29, 10:29] * taps
    largest = np.argsort(-np.abs(products), axis=None)[:6]
    listed = told.split("the largest products of all:\n")[1].splitlines()[:6]
    for line, flat in zip(listed, largest, strict=True):
        i, j = (int(k) for k in np.unravel_index(flat, taps.shape))
        assert line.startswith(f"  w[{i},{j}] * x[{10 + i},{10 + j}] = ")
        assert float(line.split(" = ")[-1]) == pytest.approx(products[i, j], rel=1e-5)


def test_verbose_shows_every_term_and_channel() -> None:
    words = ["30x30x12", "-k", "random:12x6x6x12", "--dims", "2", "--at", "3,3", "--backward"]
    told = shown(*words, "-v")
    assert "list all" not in told
    assert "channel 11" in told
    assert told.count("+= delta") == 1 + 2 * 6 * 6 * 12


def test_large_windows_and_json_holds_them_whole() -> None:
    words = ["30x30x12", "-k", "random:12x12x12x12", "--dims", "2", "--at", "3,3", "--backward"]
    told = shown(*words)
    assert "..." in told
    assert "3 more channels; --json lists all" in told
    assert "1696 more terms; these are the largest, -v and --json list all" in told
    (step,) = json.loads(shown(*words, "--json"))["steps"]
    assert [len(block["cells"]) for block in step["blocks"]] == [144] * 12
    total = sum(cell["product"] for block in step["blocks"] for cell in block["cells"])
    assert step["value"] == pytest.approx(total)


def test_planes_of_a_volume_stand_one_below_another() -> None:
    told = shown("4x4x4", "-k", "random:3x2x2", "--dims", "3", "--at", "1,2,0")
    for plane in (1, 2, 3):
        assert f"x[{plane},2..3,0..1]" in told


def test_alpha_is_divided_in_the_last_line() -> None:
    pixels = np.full((3, 3, 4), 100, np.uint8)
    pixels[0, ..., 3] = 0
    pixels[1:, ..., 3] = 255
    Image.fromarray(pixels).save("x.png")
    assert "over its coverage 0.666667 = 100" in shown("x.png", "-k", "box:size=3", "--at", "0,0")


def test_null_stands_for_nan_in_json() -> None:
    name = saved(np.array([np.nan, 1, 2]))
    assert json.loads(shown(name, "-k", "1,1", "--at", "0", "--json"))["steps"][0]["value"] is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--at", "26,0"], "valid are 0..25,0..25"),
        (["--at", "x"], "expected a whole number"),
        (["--at", "1,1", "--all"], "exactly one of them"),
        (["--at", "1,1", "--upstream", "dy.npy"], "add --backward"),
        (["--at", "1,1", "--backward", "--upstream", "nothere.npy"], "nothere.npy"),
        (["--at", "1,1", "--boundary", "mirror"], "expected one of constant"),
    ],
)
def test_bad_words(words: list[str], told: str) -> None:
    assert told in shown("28x28", "-k", "box:size=3", *words, code=2)


def test_too_many_steps_are_a_limit() -> None:
    assert "676 steps" in shown("28x28", "-k", "box:size=3", "--all", code=4)
