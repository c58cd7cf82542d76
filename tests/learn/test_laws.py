"""Test that the laws hold for the engine over its options, and fail for a broken engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import convcli
from convcli.cli import main
from convcli.engine.calls import RememberedCalls
from convcli.engine.methods import methods
from convcli.errors import InputError, LimitError, ShapeError
from convcli.grad.toeplitz import toeplitz
from convcli.jobs.requests import from_options
from convcli.learn.laws import LAWS, Finding, Law, LawsRequest, LawsResult, Row, run_laws
from convcli.learn.laws.mistakes import MISTAKES
from convcli.learn.laws.products import SIGMAS
from convcli.learn.laws.setup import OPERATIONS, make_setting, ranges
from convcli.shapes.spec import ConvSpec

SAMPLES = Path(__file__).parents[2] / "samples"
PHOTO = str(SAMPLES / "photo.png")
BORDERS = ("constant", "edge", "reflect", "symmetric", "wrap")


pytestmark = pytest.mark.usefixtures("in_tmp")


def saved(values: np.ndarray, name: str = "x.npy") -> str:
    np.save(name, values)
    return name


def measure(*arguments: Any, **options: Any) -> LawsResult:
    return run_laws(from_options(LawsRequest, *arguments, **{"op": "convolve", **options}))


def found(report: LawsResult, name: str) -> Finding:
    return next(finding for finding in report.findings if finding.law.name == name)


def row(report: LawsResult, statement: str) -> Row:
    return next(
        row
        for finding in report.findings
        for row in finding.rows
        if row.statement.startswith(statement)
    )


INPUTS = [
    ("14", "random:3,seed=2", 1),
    ("9x8", "random:3x2,seed=2", 2),
    ("6x5x6", "random:2x3x2,seed=2", 3),
    ("7x8x3", "random:2x3x3x3,seed=2", 2),
    ("7x8x3", "random:3x3,seed=2", 2),
    ("2x9x3", "random:3x3,seed=2", 1),
    ("9x8x4", "random:6x3x2x2,seed=2", 2),
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"stride": 2},
    {"padding": "same", "stride": 3},
    {"padding": "1:2", "stride": 2},
    *({"padding": "full", "boundary": boundary} for boundary in BORDERS),
    {"padding": "same", "boundary": "wrap", "stride": 2},
    {"op": "correlate", "padding": 1},
    {"dilation": 2, "padding": 2},
    {"dilation": 2, "stride": 3, "padding": "full", "boundary": "reflect", "op": "correlate"},
    {"cval": 2.5, "padding": "same"},
    {"cval": -1, "padding": "1:2", "stride": 2, "dilation": 2, "op": "correlate"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("shape", "reference", "dims"), INPUTS, ids=str)
def test_every_law_holds(shape: str, reference: str, dims: int, options: dict[str, Any]) -> None:
    groups = 2 if reference.startswith("random:6") else 1
    report = measure(shape, reference, dims=dims, groups=groups, **options)
    assert report.failed == ()
    assert [finding.law for finding in report.findings] == list(LAWS)
    assert all(finding.rows for finding in report.findings)
    for finding in report.findings:
        for told in finding.rows:
            assert told.verdict == ("holds" if told.expected == "equal" else "differs"), told


@pytest.mark.parametrize("seed", range(5))
def test_other_seeds_make_other_numbers_and_the_laws_stand(seed: int) -> None:
    report = measure("8x8", "sobel-x", seed=seed)
    assert report.failed == ()
    assert (
        report.setting.x.ravel()[0] != measure("8x8", "sobel-x", seed=seed + 1).setting.x.ravel()[0]
    )


# A broken engine.

Break = Callable[[np.ndarray], np.ndarray]


def broken(monkeypatch: pytest.MonkeyPatch, change: Break) -> None:
    """Apply `change` to the tiles of every strategy, (..., *P, lanes) to the same shape."""

    def spoil(prepare: Any) -> Any:
        def prepared(w: np.ndarray, plan: Any) -> Any:
            tile = prepare(w, plan)

            def fill(block: np.ndarray, out: np.ndarray) -> None:
                tile(block, out)
                out[...] = change(out)

            return fill

        return prepared

    monkeypatch.setattr("convcli.engine.calls.calls", RememberedCalls())
    for method in methods():
        monkeypatch.setattr(method, "prepare", spoil(method.prepare))


@pytest.mark.parametrize(
    ("change", "laws"),
    [
        (lambda y: y + 1, {"linear", "associative", "derivative", "backward"}),
        (lambda y: np.abs(y), {"linear", "associative", "derivative", "backward"}),
        (lambda y: np.roll(y, 1, axis=-2), {"linear", "commutative", "local", "backward"}),
        (lambda y: y * 1.0001, {"linear", "local", "backward"}),
        (
            lambda y: np.where(np.arange(y.shape[-2])[:, None] == 3, 0, y),
            {"linear", "equivariant", "local"},
        ),
        (lambda y: y * np.nan, {law.name for law in LAWS} - {"local", "gaussian"}),
        (lambda y: y.astype(np.float32), {"linear", "associative", "backward"}),
    ],
    ids=["offset", "not linear", "one aside", "scaled", "one column", "nan", "less precise"],
)
@pytest.mark.parametrize(
    ("shape", "reference"), [("9x8", "random:3x2"), ("9x8x2", "random:2x3x2x2")]
)
def test_a_broken_engine_makes_laws_fail(
    change: Break, laws: set[str], shape: str, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, change)
    assert laws <= set(measure(shape, reference).failed)


def use(monkeypatch: pytest.MonkeyPatch, **wrong: Any) -> None:
    """Measure all laws with wrong operations."""

    def make(request: LawsRequest) -> Any:
        operands, setting = make_setting(request)
        return operands, replace(setting, operations=OPERATIONS._replace(**wrong))

    monkeypatch.setattr("convcli.learn.laws.make_setting", make)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize(
    ("shape", "options"), [("9x8", {}), ("20", {"padding": "same"}), ("7x8x2", {"stride": 2})]
)
def test_a_law_broken_on_purpose_fails_and_no_other(
    law: Law, shape: str, options: dict[str, Any]
) -> None:
    reference = {1: "random:3", 2: "random:3x2", 3: "random:2x3x2x2"}[len(shape.split("x"))]
    report = measure(shape, reference, broken=law.name, **options)
    assert report.failed == (law.name,)
    assert report.broken == law.name


def test_a_convolution_that_forgets_its_flip_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, convolve=convcli.correlate)
    assert {"flip", "commutative", "associative"} <= set(measure("9x8", "random:3x2").failed)


@pytest.mark.parametrize("name", ["dx", "dw"])
def test_a_wrong_gradient_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(*given: Any, **options: Any) -> Any:
        right = convcli.gradients(*given, **options)
        return right._replace(**{name: -getattr(right, name)})

    use(monkeypatch, gradients=off)
    assert measure("9x8", "random:3x2").failed == ("backward",)


# The content of the rows.


def test_a_constant_outside_makes_a_layer_affine() -> None:
    padded = {"padding": 1, "cval": 2.5}
    law = found(measure("8x8", "random:3x3", **padded), "linear")
    assert [told.verdict for told in law.rows] == ["differs", "holds", "holds"]
    assert law.rows[2].statement == "conv(x) = M vec(x) + conv(0)"
    assert len(found(measure("8x8", "random:3x3", cval=2.5, padding=0), "linear").rows) == 2


def test_a_bias_is_affine_and_relu_is_not_linear() -> None:
    report = measure("8x8", "random:3x3")
    law = found(report, "affine")
    assert [told.verdict for told in law.rows] == ["differs", "holds", "differs"]
    s = report.setting
    b = np.abs(s.conv(s.x)).max()
    assert law.rows[0].difference == pytest.approx(2 * b)  # b on the left, -b on the right
    assert f"b = {b:.4g}" in law.rows[0].note


def test_sampled_gaussians_approach_the_continuous_law() -> None:
    """Each pair of kernels is compared with numpy's own samples."""

    def bell(sigma: float, size: int) -> np.ndarray:
        i = np.arange(size) - (size - 1) / 2
        taps = np.exp(-0.5 * (i / sigma) ** 2)
        return taps / taps.sum()

    rows = found(measure("8", "1,2"), "gaussian").rows
    assert rows[-1].statement == "G(3) * G(4) = G(5)"
    assert [told.verdict for told in rows] == ["differs"] * 3 + ["holds"]
    for told, (one, other) in zip(rows, SIGMAS, strict=True):
        g, h = (
            bell(one, 2 * int(np.ceil(8 * one)) + 1),
            bell(other, 2 * int(np.ceil(8 * other)) + 1),
        )
        both = np.convolve(g, h)
        apart = np.abs(both - bell(np.hypot(one, other), len(both))).max()
        assert told.difference == pytest.approx(apart, abs=1e-15)
    differences = [told.difference for told in rows]
    assert differences == sorted(differences, reverse=True)


def test_the_derivative_is_the_one_that_the_report_defines() -> None:
    f = np.random.default_rng(0).standard_normal(9)
    derived = np.convolve(f, np.flip(convcli.kernel("derivative-x", dims=1).taps), "valid")
    np.testing.assert_allclose(derived, (f[2:] - f[:-2]) / 2)
    assert "f'[i] = (f[i+1] - f[i-1]) / 2" in shown("8x8", "-k", "sobel-x")
    assert "f': the derivative (f[i+1] - f[i-1]) / 2" in shown("8x8", "-k", "sobel-x", "-v")


def test_the_layer_correlates_if_asked() -> None:
    name = saved(np.arange(5.0))
    shown(name, "-k", "1,2,4", "--op", "correlate", "--matrix", "m.csv")
    assert np.loadtxt("m.csv", delimiter=",")[0].tolist() == [1, 2, 4, 0, 0]
    shown(name, "-k", "1,2,4", "--matrix", "n.csv")
    assert np.loadtxt("n.csv", delimiter=",")[0].tolist() == [4, 2, 1, 0, 0]
    shown("8x4", "-k", "random:6x3x2", "--groups", 2, "--dims", 1, "--matrix", "g.npy")
    matrix = np.load("g.npy")
    assert matrix.shape == (36, 32)
    assert not matrix.reshape(6, 6, 8, 4)[:, :3, :, 2:].any()
    record = json.loads(shown("8x8", "-k", "1,2;3,4", "--dilation", "2", "--cval", 3, "--json"))
    assert (record["op"], record["cval"], record["groups"]) == ("convolve", 3.0, 1)
    assert [axis["dilation"] for axis in record["axes"]] == [2, 2]


def test_convolution_and_correlation_agree_for_a_symmetric_kernel() -> None:
    assert row(measure("8x8", "gaussian:sigma=0.5"), "f * g = correlate(f, g)").expected == "equal"
    assert row(measure("8x8", "sobel-x"), "f * g = correlate(f, g)").verdict == "differs"


def test_a_counter_example_may_find_nothing_on_plain_data() -> None:
    report = measure(saved(np.ones((9, 9))), "box:size=3")
    assert report.failed == ()
    assert row(report, "correlate(f, g) = correlate(g, f)").verdict == "agrees"
    assert measure(saved(np.zeros((9, 9))), "random:3x3").failed == ()


@pytest.mark.parametrize("boundary", BORDERS)
def test_shifts_break_at_the_border_by_the_boundary(boundary: str) -> None:
    told = row(measure("12x12", "random:5x5"), f"the same to the border, boundary {boundary}")
    if boundary == "wrap":
        assert told.note == "no output differs"
    else:
        assert told.verdict == "differs"
        assert told.note.endswith("the farthest 2 from the edge")


def test_the_interior_is_named_and_what_breaks_around_it_counted() -> None:
    told = row(measure("12", "random:3", padding="same"), "shift, then conv")
    assert told.note == "by one stride, in the interior 2..10; 3 of the 3 outputs around it differ"
    wrapped = row(measure("12", "random:3", padding="same", boundary="wrap"), "shift, then conv")
    assert wrapped.note.endswith("0 of the 3 outputs around it differ")


def test_phases_of_a_stride_are_other_samplings() -> None:
    statements = [
        told.statement for told in found(measure("20", "random:3", stride=3), "equivariant").rows
    ]
    assert [text for text in statements if text.startswith("stride")] == [
        "stride 3: shift by 1, then conv = conv",
        "stride 3: shift by 2, then conv = conv",
    ]


@pytest.mark.parametrize(
    ("options", "centre", "corner"),
    [
        ({}, "3 of 8 outputs move: 3..5", "1 of 8 outputs move: 0"),
        ({"stride": 2}, "1 of 4 outputs move: 2", "1 of 4 outputs move: 0"),
        ({"padding": "same"}, "3 of 10 outputs move: 4..6", "2 of 10 outputs move: 0..1"),
        (
            {"padding": 1, "boundary": "wrap"},
            "3 of 10 outputs move: 4..6",
            "3 of 10 outputs move: 0..1,9",
        ),
    ],
    ids=str,
)
def test_a_sample_moves_the_outputs_that_see_it(
    options: dict[str, Any], centre: str, corner: str
) -> None:
    notes = [told.note for told in found(measure("10", "1,2,4", **options), "local").rows]
    assert notes == [centre, corner]


def test_indices_are_told_as_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([4, 3, 7]) == "3..4,7"


# The matrix.


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": "same"},
        {"dilation": 2, "padding": 2},
        *({"padding": "full", "boundary": boundary} for boundary in BORDERS),
        {"groups": 2, "padding": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_matrix_is_the_layer(dims: int, options: dict[str, Any]) -> None:
    rng, groups = np.random.default_rng(0), options.get("groups", 1)
    spatial, window = (6, 5, 4)[:dims], (3, 2, 2)[:dims]
    x, w = (
        rng.standard_normal((1, *spatial, 2 * groups)),
        rng.standard_normal((2 * groups, *window, 2)),
    )
    matrix = toeplitz(w, spatial, ConvSpec.of(dims, **options))
    y = convcli.conv_layer(x, w, **options)
    np.testing.assert_allclose((matrix @ x.ravel()).reshape(y.shape), y, rtol=1e-12, atol=1e-12)


def test_the_matrix_shares_few_values_among_many_places() -> None:
    facts = measure("28x28", "random:3x3").matrix
    assert facts.shape == (676, 784)
    assert facts.distinct == 9
    assert facts.density == 9 / 784
    assert facts.dense_parameters == 529_984


def test_a_large_input_has_its_matrix_on_a_part() -> None:
    report = measure("16x16x16", "random:3x3x3", dims=3, size=16)
    assert report.setting.spatial == (16, 16, 16)
    assert report.matrix.dense_parameters <= 1 << 22
    assert report.failed == ()


# The command.


def shown(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["laws", *map(str, words)], env={"COLUMNS": "100"})
    assert result.exit_code == code, result.stderr
    return result.stderr if code else result.stdout


def test_a_file_is_cropped_and_the_report_says_so() -> None:
    told = shown(PHOTO, "-k", "sobel-x")
    assert "samples/photo.png 256x384x3 uint8 with sobel-x (3x3)" in told
    assert "to the middle 32x32 of 256x384" in told
    assert "to the middle 10x10 of 256x384" in shown(PHOTO, "-k", "sobel-x", "--size", 10)
    assert "cropped" not in shown("8x8", "-k", "sobel-x")


@pytest.mark.parametrize(
    "reference", ["gaussian:sigma=3", "identity", "laplacian", "random:3x3x3", "random:2x3x3x3"]
)
def test_a_photograph_obeys(reference: str) -> None:
    assert "all 10 laws hold" in shown(PHOTO, "-k", reference)


def test_volumes_and_signals_obey() -> None:
    assert "all 10 laws hold" in shown(SAMPLES / "volume.npy", "-k", "random:3x3x3", "--dims", 3)
    assert "all 10 laws hold" in shown(SAMPLES / "signal.csv", "-k", "1,0,-1")


@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_the_matrix_is_written(suffix: str) -> None:
    words = [saved(np.arange(5.0)), "-k", "1,2", "--matrix", f"m.{suffix}"]
    assert f"wrote     m.{suffix} ({suffix}, " in shown(*words)
    matrix = np.load("m.npy") if suffix == "npy" else np.loadtxt("m.csv", delimiter=",")
    np.testing.assert_array_equal(matrix, 2 * np.eye(4, 5) + np.eye(4, 5, 1))
    assert "--overwrite" in shown(*words, code=2)
    assert json.loads(shown(*words, "--overwrite", "--json"))["written"]["format"] == suffix


def test_a_break_is_announced_and_fails() -> None:
    result = CliRunner().invoke(main, ["laws", "8x8", "-k", "sobel-x", "--break", "flip"])
    assert result.exit_code == 1
    assert result.stdout.startswith("FAILED: flip;")
    assert "broken    flip: the convolution does not flip its kernel, on purpose\n" in result.stdout
    assert result.stderr.endswith("flip was broken on purpose by --break; leave it out\n")
    assert "please report" not in result.stderr
    words = ("8x8", "-k", "box:size=3", "--break", "flip")
    assert shown(*words).startswith(
        "passed: the mistake in flip changes nothing on this input and kernel; try random:3x3\n"
    )
    assert json.loads(shown(*words, "--json"))["broken"] == "flip"
    assert "did you mean 'local'?" in shown("8x8", "-k", "box", "--break", "locl", code=2)


def test_every_law_has_a_name_and_a_mistake() -> None:
    from convcli import options

    names = tuple(law.name for law in LAWS)
    assert names == options.LAWS
    assert set(names) == set(MISTAKES)


def test_a_failed_law_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, lambda y: y + 1)
    result = CliRunner().invoke(main, ["laws", "9x8", "-k", "random:3x2"])
    assert result.exit_code == 1
    assert "FAILED: linear" in result.stdout
    assert "largest difference at [" in result.stdout
    assert result.stderr.startswith("Error: linear")
    broken(monkeypatch, lambda y: y * np.nan)
    record = json.loads(
        CliRunner().invoke(main, ["laws", "9x8", "-k", "random:3x2", "--json"]).stdout
    )
    assert record["passed"] is False
    assert record["laws"][0]["rows"][0]["left"] is None


def test_refusals() -> None:
    holed = np.ones((5, 5))
    holed[2, 2] = np.nan
    with pytest.raises(InputError, match="NaN or infinite values"):
        measure(saved(holed), "box:size=3")
    with pytest.raises(
        InputError, match=r"has a value of magnitude 1e\+308; expected at most 1e\+100"
    ):
        measure(saved(np.full((5, 5), -1e308)), "box:size=3")
    with pytest.raises(InputError, match=r"1e200,1 has a value of magnitude 1e\+200"):
        measure("5", "1e200,1")
    with pytest.raises(InputError, match=r"--cval has a value of magnitude 1e\+300"):
        measure("5", "1,2", padding="same", cval=-1e300)
    with pytest.raises(ShapeError, match="kernel 9x9 exceeds the padded input 5x5"):
        measure("5x5", "random:9x9")
    with pytest.raises(LimitError, match="laws on 500x500 samples"):
        measure("500x500", "random:3x3", size=500)
    with pytest.raises(LimitError, match="the matrix of kernel"):
        measure("2x2x1000", "random:1500x2x2x1000", dims=2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--matrix", "m.txt"], "ends in .npy or .csv"),
        (["--matrix", "nowhere/m.npy"], "is not a folder"),
        (["--overwrite"], "--overwrite applies to --matrix"),
        (["--size", "0"], "--size"),
        (["--boundary", "mirror"], "expected one of constant"),
        (["--stride", "0"], "stride 0"),
    ],
)
def test_bad_words(words: list[str], told: str) -> None:
    assert told in shown("8x8", "-k", "box:size=3", *words, code=2)
