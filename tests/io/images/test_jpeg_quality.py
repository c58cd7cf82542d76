"""Keep the quantisation tables and the chroma subsampling of a JPEG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, JpegImagePlugin

from convcli.cli import main
from convcli.io import load

pytestmark = pytest.mark.usefixtures("in_tmp")


def picture(name: str = "in.jpg", mode: str = "RGB", **options: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (40, 56, 3), np.uint8)
    Image.fromarray(values).convert(mode).save(name, **options)


def facts(name: str) -> tuple[list[list[int]], int]:
    """Return the tables as read by Pillow, and its number of the subsampling, -1 for gray."""
    with Image.open(name) as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        return [list(table) for table in image.quantization.values()], JpegImagePlugin.get_sampling(
            image
        )


def apply(*words: str) -> Any:
    done = CliRunner().invoke(main, ["apply", "in.jpg", "-k", "identity", *words])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [1, 10, 24, 25, 49, 50, 75, 80, 92, 95, 99, 100])
def test_tables_and_subsampling_are_kept(quality: int, subsampling: int) -> None:
    picture(quality=quality, subsampling=subsampling)
    encoding = load("in.jpg").encoding
    assert encoding is not None
    assert (
        encoding.words
        == f"the input's quality {quality}, {('4:4:4', '4:2:2', '4:2:0')[subsampling]}"
    )
    apply("-o", "y.jpg")
    assert facts("y.jpg") == facts("in.jpg")


@pytest.mark.parametrize("progressive", [False, True])
def test_gray_and_progressive(progressive: bool) -> None:
    picture(mode="L", quality=70, progressive=progressive)
    told = apply("-o", "y.jpg").stderr
    assert "the input's quality 70" in told
    assert "4:" not in told.split("quality 70")[1]
    assert facts("y.jpg") == facts("in.jpg")


@pytest.mark.parametrize("preset", ["web_low", "web_high", "maximum"])
def test_tables_that_are_not_of_libjpegs_scale_are_passed_on(preset: str) -> None:
    picture(quality=preset)
    told = apply("-o", "y.jpg").stderr
    assert "the input's quantisation tables, 4:" in told
    assert facts("y.jpg") == facts("in.jpg")


def test_a_file_stays_about_as_large() -> None:
    picture(quality=60, subsampling=2)
    apply("-o", "y.jpg")
    before, after = Path("in.jpg").stat().st_size, Path("y.jpg").stat().st_size
    assert 0.8 < after / before < 1.1


def test_a_quality_that_is_given_wins() -> None:
    picture(quality=60, subsampling=2)
    told = apply("-o", "y.jpg", "--quality", "90").stderr
    assert "the input's" not in told
    picture("in90.jpg", quality=90, subsampling=0)
    assert facts("y.jpg") == facts("in90.jpg")


def test_other_inputs_and_outputs_have_the_default() -> None:
    picture("in.jpg", quality=60)
    record = json.loads(apply("-o", "y.png", "--json").stdout)
    assert record["output"]["encoding"] is None
    done = CliRunner().invoke(main, ["apply", "y.png", "-k", "identity", "-o", "z.jpg"])
    assert done.exit_code == 0
    picture("in95.jpg", quality=95, subsampling=0)
    assert facts("z.jpg") == facts("in95.jpg")


def test_gray_of_colour_and_colour_of_gray() -> None:
    picture(quality=60, subsampling=2)
    record = json.loads(
        apply("-o", "y.jpg", "--channels", "sum", "--scale", "0.3", "--json").stdout
    )
    assert record["output"]["encoding"] == "the input's quality 60, 4:2:0"
    assert facts("y.jpg")[0] == facts("in.jpg")[0][:1]


def test_batch_keeps_it_too() -> None:
    picture("in.jpg", quality=60, subsampling=2)
    before = facts("in.jpg")
    words = ["batch", "in.jpg", "-k", "box", "--padding", "same", "-q"]
    assert CliRunner().invoke(main, [*words, "--out", "out"]).exit_code == 0
    assert facts("out/in.jpg") == before
    assert CliRunner().invoke(main, [*words, "--in-place"]).exit_code == 0
    assert facts("in.jpg") == before


@pytest.mark.parametrize("at", range(0, 620, 31))
def test_a_header_that_is_garbage_only_loses_the_quality(at: int) -> None:
    picture(quality=60)
    content = bytearray(Path("in.jpg").read_bytes())
    content[at] ^= 0xFF
    Path("in.jpg").write_bytes(content)
    done = CliRunner().invoke(main, ["apply", "in.jpg", "-k", "identity", "-o", "y.jpg"])
    assert done.exit_code in (0, 2)
    assert "fault of convcli" not in done.stderr
