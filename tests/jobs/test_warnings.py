"""Warnings of apply and batch, and runs that have none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from convcli import io
from convcli.cli import main

RAMP = np.repeat(np.linspace(0, 255, 24).round().astype(np.uint8)[None], 16, axis=0)
NOISE = np.random.default_rng(5).integers(0, 256, (16, 24), dtype=np.uint8)


def run(*words: str) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.stderr
    return result


def warnings(*words: str) -> list[str]:
    """Return the warnings of a run of apply, the same in --json and on stderr."""
    result = run("apply", *words, "--json")
    listed: list[str] = json.loads(result.stdout)["warnings"]
    assert result.stderr == "".join(f"warning: {warning}\n" for warning in listed)
    return listed


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        (
            ("-k", "sobel-x"),
            " % of the values are below 0 and lost, sobel-x sums to 0; use --range offset",
        ),
        (("-k", "1,2,3;4,5,6;7,8,9"), " % of the values do not fit uint8; use --normalize"),
        (
            ("-k", "box", "--bias", "255"),
            "100 % of the values do not fit uint8; use --range rescale",
        ),
        (("-k", "box", "--scale", "0.05"), "; use --range rescale"),
        (
            ("-k", "box", "--scale", "0.05", "--bias", "235"),
            "nearly white: no value is below 237 of 255;",
        ),
        (
            ("-k", "sobel-x", "--scale", "0.01"),
            "below 0 and lost, sobel-x sums to 0; use --range rescale",
        ),
    ],
)
def test_a_picture_that_shows_nothing(in_tmp: Path, words: tuple[str, ...], warning: str) -> None:
    io.save("x.png", NOISE)
    (told,) = warnings("x.png", *words, "-o", "y.png")
    assert warning in told


def test_the_share_that_is_lost(in_tmp: Path) -> None:
    io.save("x.png", np.where(RAMP < 128, 255, 0).astype(np.uint8))
    (told,) = warnings("x.png", "-k", "sobel-x")  # the windows of 2 of 22 columns cover both sides
    assert told == "9.1 % of the values are below 0 and lost, sobel-x sums to 0; use --range offset"


@pytest.mark.parametrize(
    "words",
    [
        ("-k", "box"),
        ("-k", "sharpen"),
        ("-k", "sobel-x", "--range", "offset"),
        ("-k", "sobel-x", "--range", "abs"),
        ("-k", "sobel-x", "--bias", "128"),
        ("-k", "sobel-x", "--dtype", "int16"),
        ("-k", "sobel-x", "--dtype", "float32"),
        ("-k", "sobel-x", "-k", "sobel-y", "--combine", "magnitude"),
        ("-k", "1,2,3;4,5,6;7,8,9", "--normalize"),
    ],
)
def test_what_is_as_expected_is_not_told(in_tmp: Path, words: tuple[str, ...]) -> None:
    io.save("x.png", RAMP)
    assert warnings("x.png", *words) == []


def test_a_black_picture_may_stay_black(in_tmp: Path) -> None:
    io.save("x.png", NOISE // 10)
    assert warnings("x.png", "-k", "box") == []


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (np.column_stack([np.arange(9) * 0.1, NOISE[:9, 0]]), True),
        (np.column_stack([np.arange(9) ** 2, NOISE[:9, :3]]), True),
        (NOISE[:9, :4], False),
        (np.arange(36).reshape(9, 4), False),
        (np.column_stack([np.arange(5), NOISE[:5, 0]]), False),
    ],
)
def test_a_column_of_times(in_tmp: Path, table: np.ndarray, told: bool) -> None:
    np.savetxt("x.csv", table, delimiter=",")
    found = warnings("x.csv", "-k", "box", "--padding", "same")
    expected = [
        "the first column of x.csv counts up, as times do, and is filtered as well; remove it first"
    ]
    assert [warning.partition(", such as")[0] for warning in found] == expected * told


def test_metadata_that_the_output_cannot_hold(in_tmp: Path) -> None:
    Image.fromarray(NOISE).save("x.png", dpi=(300, 300))
    assert warnings("x.png", "-k", "box", "-o", "y.pgm") == ["not kept: density: pgm holds none"]


def test_a_batch_groups_what_one_option_helps(in_tmp: Path) -> None:
    for name in "abc":
        io.save(f"{name}.png", NOISE)
    told = run("batch", ".", "-k", "sobel-x", "--padding", "same", "--out", "out").stdout
    assert told.count("use --range offset") == 1
    assert "sobel-x sums to 0; use --range offset (and 2 more like it)\n" in told


def test_quiet_prints_warnings_alone(in_tmp: Path) -> None:
    io.save("x.png", NOISE)
    result = run("apply", "x.png", "-k", "sobel-x", "-q")
    assert result.stdout == ""
    assert [line[:8] for line in result.stderr.splitlines()] == ["warning:"]
