"""Borders: the boundary and padding of a run, the outside of a picture with alpha, the hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from convcli import io
from convcli.cli import main
from convcli.errors import InputError
from convcli.options import BOUNDARIES
from convcli.shapes.geometry import Border, Geometry

RNG = np.random.default_rng(7)
GRAY = RNG.integers(60, 200, (9, 11), dtype=np.uint8)


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.stderr
    return result


def boxed(x: NDArray[Any], mode: str, **options: Any) -> NDArray[Any]:
    """Return the 3x3 means by numpy alone, after numpy.pad."""
    padded = np.pad(x.astype(float), 1, mode=mode, **options)  # type: ignore[call-overload]
    parts = [padded[a : a + x.shape[0], b : b + x.shape[1]] for a in range(3) for b in range(3)]
    return np.asarray(sum(parts) / 9)


@pytest.mark.parametrize(
    ("given", "picture", "border"),
    [
        ({}, True, ("valid", "reflect", 0.0)),
        ({}, False, ("valid", "constant", 0.0)),
        ({"padding": "same"}, True, ("same", "reflect", 0.0)),
        ({"padding": 2}, False, (2, "constant", 0.0)),
        ({"boundary": "wrap"}, True, ("same", "wrap", 0.0)),
        ({"boundary": "constant"}, False, ("same", "constant", 0.0)),
        ({"boundary": "edge", "padding": "full"}, False, ("full", "edge", 0.0)),
        ({"boundary": "edge", "padding": "valid"}, True, ("valid", "edge", 0.0)),
        ({"cval": 3.0}, True, ("same", "constant", 3.0)),
        ({"cval": 3.0, "padding": 1}, True, (1, "constant", 3.0)),
        ({"cval": 0.0, "boundary": "constant"}, True, ("same", "constant", 0.0)),
    ],
)
def test_what_is_chosen(given: dict[str, Any], picture: bool, border: tuple[Any, ...]) -> None:
    assert Geometry(**given).border(picture=picture) == Border(*border)


def test_a_value_that_the_boundary_does_not_use_is_refused() -> None:
    with pytest.raises(InputError, match="cval 3 with boundary wrap; expected boundary constant"):
        Geometry(cval=3, boundary="wrap").border(picture=False)


@pytest.mark.parametrize("suffix", ["png", "npy"])
@pytest.mark.parametrize("boundary", [None, *BOUNDARIES])
def test_apply_pads_as_numpy_does(in_tmp: Path, suffix: str, boundary: str | None) -> None:
    io.save(f"x.{suffix}", GRAY)
    words = ["--padding", "same"] if boundary is None else ["--boundary", boundary]
    told = run(
        "apply", f"x.{suffix}", "-k", "box", *words, "-o", "y.npy", "--dtype", "float32", "--json"
    ).stdout
    used = boundary or ("reflect" if suffix == "png" else "constant")
    assert json.loads(told)["boundary"] == used
    np.testing.assert_allclose(np.load("y.npy"), boxed(GRAY, used), rtol=1e-5)


@pytest.mark.parametrize("command", ["explain", "grad"])
def test_every_command_takes_the_border_of_apply(in_tmp: Path, command: str) -> None:
    io.save("x.png", GRAY)
    np.save("x.npy", GRAY)
    at = ("--at", "0,0") if command == "explain" else ()
    for name, boundary in (("x.png", "reflect"), ("x.npy", "constant")):
        record = json.loads(
            run(command, name, "-k", "box", "--padding", "same", *at, "--json").stdout
        )
        assert record["boundary"] == boundary
    record = json.loads(
        run("explain", "x.npy", "-k", "box", "--boundary", "edge", "--at", "0,0", "--json").stdout
    )
    assert record["output"] == [9, 11]


@pytest.mark.parametrize(("cval", "opaque"), [(None, 0.0), (255, 1.0)])
def test_outside_a_picture_with_alpha_is_transparent_unless_its_value_is_given(
    in_tmp: Path, cval: int | None, opaque: float
) -> None:
    gray = np.full((5, 5), 100, np.uint8)
    io.save("x.png", np.dstack([gray, np.full_like(gray, 255)]), alpha=True)
    words = ["x.png", "-k", "box", "--boundary", "constant"] + (
        [] if cval is None else ["--cval", str(cval)]
    )
    run("apply", *words, "-o", "y.png")
    alpha = boxed(np.ones((5, 5)), "constant", constant_values=opaque)
    colour = boxed(gray, "constant", constant_values=cval or 0)
    written = np.dstack([np.rint(colour / alpha), np.rint(255 * alpha)])
    np.testing.assert_array_equal(io.load("y.png").array, written)
    record = json.loads(run("explain", *words, "--at", "0,0", "--json").stdout)
    assert record["steps"][0]["coverage"] == pytest.approx(alpha[0, 0])


def test_a_boundary_wider_than_the_picture_is_mirrored_again(in_tmp: Path) -> None:
    io.save("x.png", GRAY[:2, :3])
    run(
        "apply",
        "x.png",
        "-k",
        "box:size=11",
        "--boundary",
        "reflect",
        "-o",
        "y.npy",
        "--dtype",
        "float32",
    )
    padded = np.pad(GRAY[:2, :3].astype(float), 5, mode="reflect")
    expected = [[padded[a : a + 11, b : b + 11].mean() for b in range(3)] for a in range(2)]
    np.testing.assert_allclose(np.load("y.npy"), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("x.png", (), True),
        ("x.png", ("--dry-run",), True),
        ("x.png", ("--padding", "valid"), False),
        ("x.png", ("--padding", "same"), False),
        ("x.png", ("--boundary", "edge"), False),
        ("x.png", ("--stride", "2"), False),
        ("x.npy", (), False),
    ],
)
def test_a_picture_that_becomes_smaller_is_told_how_to_keep_its_size(
    in_tmp: Path, name: str, words: tuple[str, ...], told: bool
) -> None:
    io.save(name, GRAY)
    said = run("apply", name, "-k", "box", "-o", "y.npy", *words).stderr
    assert ("hint: 9x11 -> 7x9; --padding same keeps the size\n" in said) is told


def test_a_batch_tells_it_once(in_tmp: Path) -> None:
    for name in "abc":
        io.save(f"{name}.png", GRAY)
    hint = "hint: 3 pictures became smaller; --padding same keeps the size\n"
    assert hint in run("batch", ".", "-k", "box", "--out", "out").stderr
    assert "hint" not in run("batch", ".", "-k", "box", "--padding", "same", "--out", "kept").stderr
