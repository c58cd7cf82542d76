"""Test that the terms of an entry of a gradient add up to it, and that its formulas are right."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from convcli.cli import main
from convcli.errors import InputError
from convcli.jobs.grad import GradRequest, run_grad
from convcli.jobs.requests import from_options
from convcli.learn.formulas import gradient_formula
from convcli.learn.gathered import LARGEST, GatheredRequest, GatheredResult, run_gathered

pytestmark = pytest.mark.usefixtures("in_tmp")

NAMES = ("dx", "dw", "db")
BORDERS = ("constant", "edge", "reflect", "symmetric", "wrap")
GEOMETRY: list[dict[str, Any]] = [
    {},
    {"padding": "full", "cval": 2.5},
    {"padding": 2, "stride": 2},
    {"dilation": 2, "padding": "same-lower", "stride": 3},
    *({"padding": "full", "boundary": boundary, "stride": 2} for boundary in BORDERS),
    {"op": "convolve"},
    {"op": "convolve", "padding": 3, "boundary": "symmetric", "dilation": 2},
    {"op": "convolve", "padding": "1:2", "stride": 2},
]
READINGS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((7,), (3,), {}),
    ((5, 6), (2, 3), {}),
    ((4, 5, 4), (3, 2, 2), {"dims": 3}),
    ((5, 4, 3), (3, 2), {"dims": 2}),
    ((5, 4, 3), (3, 2, 3), {"dims": 2}),
    ((5, 4, 2), (3, 2, 2), {"dims": 2, "channels": "each"}),
    ((5, 4, 2), (3, 2), {"dims": 2, "channels": "sum"}),
    ((5, 4, 4), (2, 3, 2, 2), {"dims": 2, "groups": 2}),
    ((3, 5, 4), (2, 3, 3, 2), {"dims": 2, "layout": "channels_first"}),
    ((2, 6, 3), (2, 3, 3), {"dims": 1}),
    ((2, 6, 3), (3,), {"dims": 1}),
]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def saved(values: np.ndarray, name: str) -> str:
    np.save(name, values)
    return name


def gathered(
    shape: tuple[int, ...], kernel: tuple[int, ...], entry: Any, options: dict[str, Any]
) -> tuple[GatheredResult, dict[str, np.ndarray]]:
    """Return an entry with all of its terms, and the arrays, with the engine's gradients."""
    arrays = {"x": normal(*shape), "w": normal(*kernel, seed=1)}
    x, w = (saved(values, f"{name}.npy") for name, values in arrays.items())
    y = run_grad(from_options(GradRequest, x, w, **options)).dy.values.shape
    arrays["dy"] = normal(*y, seed=2)
    upstream = saved(arrays["dy"], "dy.npy")
    grad = run_grad(from_options(GradRequest, x, w, upstream=upstream, **options))
    arrays |= {slope.name: slope.values for slope in grad.slopes}
    request = from_options(GatheredRequest, x, w, entry, upstream=upstream, **options)
    return run_gathered(request, every=True), arrays


def some_entries(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the first, the last and a middle index of a shape."""
    last = tuple(n - 1 for n in shape)
    return list(dict.fromkeys([(0,) * len(shape), tuple(n // 2 for n in shape), last]))


def gradient_shape(name: str, shape: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of dx or dw; of db, one axis, for only its first entry is looked at."""
    return {"dx": shape, "dw": kernel, "db": (1,)}[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize(("shape", "kernel", "reading"), READINGS, ids=str)
def test_terms_add_up_to_the_engines_gradient(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    reading: dict[str, Any],
    geometry: dict[str, Any],
    name: str,
) -> None:
    options = {**reading, **geometry}
    for index in some_entries(gradient_shape(name, shape, kernel)):
        result, arrays = gathered(shape, kernel, (name, index), options)
        assert result.value == pytest.approx(arrays[name][index], rel=1e-9, abs=1e-9)
        assert result.count == len(result.listed)
        total = sum(term.product for term in result.listed)
        assert total == pytest.approx(result.value, rel=1e-9, abs=1e-9)
        for term in result.listed:
            assert term.delta == arrays["dy"][term.output]
            if name == "db":
                assert (term.source, term.factor) == (None, 1)
            elif term.source is None:
                assert (name, term.padded, term.factor) == ("dw", True, options.get("cval", 0.0))
            else:
                assert term.factor == arrays["x" if name == "dw" else "w"][term.source]


# Formulas.


def evaluate(formula: str, first: int, arrays: dict[str, np.ndarray], index: tuple[int, ...],
             sizes: dict[str, int], depth: int, share: int) -> float:  # fmt: skip
    """Compute the right side of a formula whose indices count from `first`."""
    left, right = formula.split(" = ")
    names = re.findall(r"[a-z]'?|\d+", left[2:])
    at = {letter: value + first for letter, value in zip(names, index, strict=True)}
    over, product = right.removeprefix("sum_").split(" ", 1)
    letters = re.findall(r"[a-z]", over)
    factors = re.findall(r"(delta|x~|x|w)(?:\[([^\]]*)\]|_\((.*?)\)(?= |$)|_(\w))", product)
    total = 0.0
    for values in itertools.product(*(range(first, sizes[letter] + first) for letter in letters)):
        known = at | dict(zip(letters, values, strict=True))
        if "c'" in known and "c" not in known:  # dx: a channel of the input names its group
            group, inside = divmod(known["c'"] - first, depth)
            if (known["o"] - first) // share != group:
                continue
            known["c"] = inside + first
        elif "o" in known and "c" in known:
            known["c'"] = known["c"] + (known["o"] - first) // share * depth
        term = 1.0
        for name, *texts in factors:
            place = []
            for part in next(filter(None, texts)).split(","):
                code = re.sub(r"(\d)([a-z])", r"\1*\2", part).replace("c'", "c_")
                place.append(eval(code, {}, {k.replace("'", "_"): v for k, v in known.items()}))
            array = arrays[name]
            inside_all = all(
                float(p).is_integer() and first <= p < n + first
                for p, n in zip(place, array.shape, strict=True)
            )
            term *= array[tuple(int(p) - first for p in place)] if inside_all else 0.0
        total += term
    return total


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "geometry",
    [options for options in GEOMETRY if "boundary" not in options],
    ids=str,
)
@pytest.mark.parametrize(("shape", "kernel", "reading"), READINGS, ids=str)
def test_both_formulas_compute_the_gradient(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    reading: dict[str, Any],
    geometry: dict[str, Any],
    name: str,
) -> None:
    """The texts themselves are evaluated, with indices from 0 and from 1."""
    options = {**reading, **geometry}
    entries = some_entries(gradient_shape(name, shape, kernel))
    index = entries[1 % len(entries)]
    result, arrays = gathered(shape, kernel, (name, index), options)
    a, axes = result.operands.conv_layout, result.neuron.axes
    pads = [(0, 0)] * len(shape)
    for axis, own in zip(axes, a.spatial_axes, strict=True):
        pads[own] = (axis.lo, axis.hi)
    padded = np.pad(arrays["x"], pads, constant_values=geometry.get("cval", 0.0))
    values = {"delta": arrays["dy"], "x": arrays["x"], "x~": padded, "w": arrays["w"]}
    sums = "j" if a.dims == 1 else "pqr"
    sizes = {letter: axis.out for letter, axis in zip(sums, axes, strict=False)}
    sizes |= {"n": shape[0], "c": a.channels, "o": a.filters}
    form = result.neuron.form
    formula = gradient_formula(name, a, axes, result.neuron.op)
    for first, text in enumerate(formula):
        found = evaluate(text, first, values, index, sizes, form.w.shape[-1],
                         len(form.w) // form.groups)  # fmt: skip
        assert found == pytest.approx(result.value, rel=1e-9, abs=1e-9), text


# The command.


def shown(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["explain", *map(str, words)])
    assert result.exit_code == code, result.stderr
    return result.stderr if code else result.stdout


SIGNAL = [1.0, 2.0, 4.0, 8.0, 16.0]


def signal(*words: str, code: int = 0) -> str:
    x, dy = saved(np.array(SIGNAL), "x.npy"), saved(np.array([1.0, 10.0, 100.0]), "dy.npy")
    return shown(x, "-k", "1,2,3", "--upstream", dy, *words, code=code)


def test_the_sum_of_the_textbooks() -> None:
    told = signal("--gradient", "dw[0]")
    assert "formula    dw[i] = sum_j delta[j] * x[i+j], counted from 0\n" in told
    assert "textbooks  dw_i = sum_j delta_j x_(i+j-1), counted from 1\n" in told
    assert "\ndw[0] = 1*1 + 10*2 + 100*4 = 421\n" in told
    assert "\n  delta[1] * x[1]  = 10 * 2 = 20\n" in told
    assert "\ndx[2] = 1*3 + 10*2 + 100*1 = 123\n" in signal("--gradient", "dx:2")
    assert "\ndb[0] = 1 + 10 + 100 = 111\n" in signal("--gradient", "db")
    assert signal("--gradient", "dw[-1]", "-q") == "1684\n"


def test_folded_terms_are_marked() -> None:
    x = saved(np.array(SIGNAL), "x.npy")
    words = (x, "-k", "1,2,3", "--padding", "1", "--boundary", "edge")
    told = shown(*words, "--gradient", "dw[0]")
    assert "dw[0] = (1*1) + 1*1 + 1*2 + 1*4 + 1*8 = 16" in told
    assert " (delta[0] * x[0]) = 1 * 1 = 1\n" in told
    assert "(...) is of a place outside the input: boundary edge" in told
    assert "x~ is x with padding 1:1, boundary edge" in told
    told = shown(*words, "--gradient", "dx[0]")
    assert "dx[0] = (1*1) + 1*2 + 1*1 = 4" in told
    assert "a place outside adds its own sum" in told
    told = shown(x, "-k", "1,2,3", "--padding", 1, "--cval", 7, "--gradient", "dw[0]")
    assert "dw[0] = (1*7) + 1*1" in told
    assert "(delta[0] * constant)" in told


def test_of_a_long_sum_the_largest_terms_are_listed() -> None:
    x = saved(normal(9, 9), "x.npy")
    words = (x, "-k", "1,2;3,4", "--gradient", "dw[0,1]")
    told = shown(*words)
    products = np.sort(np.abs(normal(9, 9)[:8, 1:]).ravel())[::-1]
    rows = re.findall(r"^  delta\[.*= (\S+)$", told, re.MULTILINE)
    assert len(rows) == LARGEST == 24
    np.testing.assert_allclose(sorted(map(abs, map(float, rows)))[::-1], products[:24], rtol=1e-5)
    total = normal(9, 9)[:8, 1:].sum()
    rest = total - sum(map(float, rows))
    assert f"dw[0,1] = the sum of 64 terms = {total:.6g}\n" in told
    more = re.search(r"and 40 more terms, (\S+) in all; these are the largest, -v lists all", told)
    assert more is not None
    assert float(more[1]) == pytest.approx(rest, abs=1e-4)
    assert len(re.findall(r"^  delta\[", shown(*words, "-v"), re.MULTILINE)) == 64
    record = json.loads(shown(*words, "--json"))
    assert (record["gradient"], record["index"], record["count"]) == ("dw", [0, 1], 64)
    assert (len(record["terms"]), record["more"]["count"]) == (24, 40)
    assert sum(term["product"] for term in record["terms"]) + record["more"]["total"] == (
        pytest.approx(record["value"])
    )
    assert record["formula"]["from_0"] == "dw[a,b] = sum_(p,q) delta[p,q] * x[a+p,b+q]"


def test_delta_goes_through_the_activation() -> None:
    x = saved(np.array([1.0, -2.0, 4.0]), "x.npy")
    words = (x, "-k", "1,1", "--bias", "-1.5", "--activation", "relu", "--gradient")
    told = shown(*words, "dw[1]")
    assert "delta      dy (ones) * relu'(z), with z = conv(x) + bias" in told
    assert "dw[1] = 0*-2 + 1*4 = 4" in told
    assert "db[0] = 0 + 1 = 1" in shown(*words, "db")


def test_a_sample_that_no_output_sees() -> None:
    words = (saved(np.array(SIGNAL), "x.npy"), "-k", "1,2", "--stride", "3", "--gradient")
    assert "\ndx[2] = 0: no output sees this sample\n" in shown(*words, "dx[2]")


def test_values_that_are_not_finite_are_told() -> None:
    x = saved(np.array([1.0, np.nan, 4.0]), "x.npy")
    assert "dw[0] = 1*1 + 1*nan = nan" in shown(x, "-k", "1,1", "--gradient", "dw[0]")
    record = json.loads(shown(x, "-k", "1,1", "--gradient", "dw[0]", "--json"))
    assert record["value"] is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["dw[3]"], "--gradient dw[3] is outside dw, 3; valid are 0..2; negative indices"),
        (["dw[0,1]"], "--gradient dw[0,1] has 2 entries; dw is 3, with 1 axis; write"),
        (["dx"], "--gradient dx without an index; dx is 5; write --gradient 'dx[2]'"),
        (["dz[0]"], "'dz[0]'; expected dx, dw or db with an index, such as 'dw[0]' or dw:0"),
        (["dw[a]"], "expected a whole number"),
        (["dw[0]", "--at", "1"], "--at and --gradient"),
        (["dw[0]", "--all"], "leave --all out"),
        (["dw[0]", "--html", "p.html"], "--html and --gradient"),
        (["dw[0]", "--backward"], "leave --backward out"),
        (["dw[0]", "--lang", "ko"], "add --html FILE"),
    ],
)
def test_bad_words(words: list[str], told: str) -> None:
    assert told in signal("--gradient", *words, code=2)


def test_alpha_has_no_gradient() -> None:
    from PIL import Image

    Image.fromarray(np.full((4, 4, 4), 100, np.uint8)).save("x.png")
    request = from_options(GatheredRequest, "x.png", "box:size=3", ("db", None))
    with pytest.raises(InputError, match="has alpha, and --gradient"):
        run_gathered(request)
