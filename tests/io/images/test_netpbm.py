"""Keep the comments of netpbm files, also in other formats that hold comments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiffs import filtered

from convcli.errors import FileError
from convcli.io import load, save

pytestmark = pytest.mark.usefixtures("in_tmp")

FILES = {
    "x.pbm": b"P4\n# by Ann\n8 2\n\xf0\x0f",
    "x.pgm": b"P5 # by Ann\n2 2 255\n\1\2\3\4",
    "x.ppm": b"P6\n# by Ann\n1 2\n255\n\1\2\3\4\5\6",
    "plain.pbm": b"P1\n# by Ann\n2 2\n1 0\n0 1\n",
    "plain.pgm": b"P2\n2 2\n# by Ann\n255\n1 2\n3 4\n",
    "plain.ppm": b"P3\n1 # by Ann\n1\n255\n1 2 3\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_comment_is_kept_where_a_format_holds_one(name: str) -> None:
    Path(name).write_bytes(FILES[name])
    data = load(name)
    assert data.metadata.comments == (b"by Ann",)
    targets = (
        ["y.pgm", "y.png", "y.gif", "y.jpg"]
        if data.array.ndim == 2
        else ["y.ppm", "y.png", "y.gif", "y.jpg"]
    )
    for target in targets:
        assert filtered(name, target).plan.dropped == ()
        assert load(target).metadata.comments == (b"by Ann",)
    np.testing.assert_array_equal(load(targets[0]).array, data.array)
    assert filtered(name, "y.bmp").plan.dropped == ("comment: bmp holds none",)


def test_lines_of_a_comment_are_comments() -> None:
    content = b"P5\n#one\n# two \n2\n#\n2\n255\n#\x00\x01\x02"
    Path("x.pgm").write_bytes(content)
    data = load("x.pgm")
    assert data.metadata.comments == (b"one\ntwo\n",)
    assert data.array.tolist() == [[35, 0], [1, 2]]
    filtered("x.pgm", "y.pgm")
    assert load("y.pgm").metadata.comments == (b"one\ntwo\n",)


def test_a_comment_comes_from_other_formats() -> None:
    Path("x.pgm").write_bytes(FILES["x.pgm"])
    filtered("x.pgm", "x.jpg")
    filtered("x.jpg", "y.pgm")
    assert Path("y.pgm").read_bytes().startswith(b"P5\n# by Ann\n2 2\n255\n")


def test_a_file_without_one_is_as_before() -> None:
    Path("x.ppm").write_bytes(b"P6\n1 2\n255\n\1\2\3\4\5\6")
    filtered("x.ppm", "y.ppm")
    assert Path("y.ppm").read_bytes() == Path("x.ppm").read_bytes()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1), (3, 1, 3)])
def test_bytes_are_those_of_pillow(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    name = "x.pgm" if len(shape) == 2 else "x.ppm"
    Image.fromarray(picture).save(name)
    save(f"y{name}", picture)
    assert Path(f"y{name}").read_bytes() == Path(name).read_bytes()
    np.testing.assert_array_equal(load(name).array, picture)


def test_a_cut_file_is_read_as_far_as_it_goes() -> None:
    Path("x.ppm").write_bytes(b"P6\n2 2\n255\n" + bytes(range(1, 9)))
    with pytest.raises(FileError, match="is damaged"):
        load("x.ppm")
    assert load("x.ppm", allow_truncated=True).array[0].tolist() == [[1, 2, 3], [4, 5, 6]]
