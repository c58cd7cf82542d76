"""Test the interactive page's file: its data, its limits, its texts, and the command's options."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import ROOT, on_terminal, run

from convcli import conv_layer, correlate, gradients
from convcli.errors import ChannelError, FileError, InputError, ShapeError
from convcli.learn.page import MOST_BYTES, PageRequest, PageResult, run_page
from convcli.options import LANGUAGES
from convcli.shapes.geometry import Geometry

ASSETS = ROOT / "convcli" / "learn" / "page"
PHOTO = str(ROOT / "samples" / "photo.png")

pytestmark = pytest.mark.usefixtures("in_tmp")


def page(*arguments: str, **options: Any) -> PageResult:
    options.setdefault("overwrite", True)
    geometry = Geometry(**options.pop("geometry", {}))
    return run_page(PageRequest(*arguments, "page.html", geometry=geometry, **options))


def data(file: str = "page.html") -> dict[str, Any]:
    text = Path(file).read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    kind = np.dtype(packed["type"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(packed["data"]), kind).reshape(packed["shape"])


def engine(file: str = "page.html") -> dict[str, np.ndarray]:
    return {name: unpacked(array) for name, array in data(file)["engine"].items()}


# The file.


def test_it_holds_the_engines_values() -> None:
    x, w = np.random.default_rng(0).standard_normal((2, 6, 5, 3)), np.ones((2, 3, 3, 3))
    np.save("x.npy", x)
    np.save("w.npy", w)
    page("x.npy", "w.npy", at=(1, 0, 0, 1), geometry={"stride": 2, "padding": "same"}, bias=0.5)
    options = {"stride": 2, "padding": "same"}
    y = conv_layer(x[1:], w, np.full(2, 0.5), **options)
    dx, dw, db = gradients(x[1:], w, np.ones_like(y), **options)
    found = engine()
    np.testing.assert_array_equal(found["y"], np.moveaxis(y[0], -1, 0))
    np.testing.assert_array_equal(found["dx"], np.moveaxis(dx[0], -1, 0))
    np.testing.assert_array_equal(found["dw"], dw)
    np.testing.assert_array_equal(found["db"], db)
    state = data()["state"]
    assert (state["filter"], state["output"], data()["batch"]) == (1, 0, 2)


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (("9", "random:3"), (1, 7)),
        (("5x6x3", "random:3x2"), (3, 3, 5)),
        (("5x6x7", "random:2x2x2", "--dims", "3"), (1, 4, 5, 6)),
        (("3x5x6", "random:4x3x2x2", "--layout", "channels_first"), (4, 4, 5)),
        (("4x4x6", "random:6x3x3x2", "--groups", "2", "--transposed"), (4, 6, 6)),
    ],
)
def test_output_of_each_kind(words: tuple[str, ...], shape: tuple[int, ...]) -> None:
    source, kernel, *options = words
    run("explain", source, "-k", kernel, "--html", "page.html", *options)
    assert engine()["y"].shape == shape


def test_same_input_same_bytes() -> None:
    contents = set()
    for name in ("a.html", "b.html"):
        run("explain", PHOTO, "-k", "random:4x3x3x3", "--html", name)
        contents.add(Path(name).read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("source", "kernel", "options"),
    [
        (PHOTO, "sobel-x", {}),
        (PHOTO, "random:64x7x7x3", {"padding": "full"}),
        ("300x300x40", "random:40x3x3x40", {"dims": 2}),
        ("40x40x40x16", "random:16x5x5x5x16", {"padding": "full", "dims": 3}),
        ("100000", "random:31", {}),
    ],
)
def test_a_page_is_small(source: str, kernel: str, options: dict[str, Any]) -> None:
    page(source, kernel, geometry=options)
    assert Path("page.html").stat().st_size <= MOST_BYTES


def test_it_asks_for_nothing() -> None:
    page(PHOTO, "sobel-x")
    text = Path("page.html").read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'" in text
    assert not re.search(r"https?://|@import|\bfetch\(|XMLHttpRequest|\beval\(|url\(", text)


def test_names_cannot_end_the_script() -> None:
    name = "</script><img src=x onerror=1>.npy"
    Path(name).parent.mkdir()
    np.save(name, np.ones((4, 4)))
    page(name, "box")
    text = Path("page.html").read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert "<img" not in text


def test_the_package_data_holds_the_assets() -> None:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        patterns = tomllib.load(stream)["tool"]["setuptools"]["package-data"]["convcli"]
    package = ROOT / "convcli"
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    assets = {path for path in ASSETS.iterdir() if path.suffix in (".js", ".css", ".json")}
    assert {path.name for path in assets} == {"page.js", "page.css", "en.json", "ko.json"}
    assert assets <= packed


# Parts.


def test_a_part_of_a_large_input() -> None:
    x = np.random.default_rng(2).integers(0, 256, (90, 40), np.uint8)
    np.save("x.npy", x)
    result = page("x.npy", "sobel-x", at=(80, 3))
    assert result.shown == (32, 32)
    stored = data()
    row, column = (
        begin + part for begin, part in zip(stored["area"], stored["state"]["part"], strict=True)
    )
    assert row <= 81 < row + 32
    part = x[row : row + 32, column : column + 32].astype(float)
    taps = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1.0]])
    np.testing.assert_array_equal(engine()["y"][0], correlate(part, taps))
    y, place = engine()["y"][0], stored["state"]["output"]
    assert y.ravel()[place] == correlate(x, taps)[80, 3]


@pytest.mark.parametrize(
    ("source", "kernel", "options", "at", "channels", "filters"),
    [
        ("8x8x64", "random:32x3x3x64", {}, (2, 2, 20), range(16), range(12, 28)),
        ("8x8x64", "random:64x3x3x16", {"groups": 4}, (2, 2, 40), range(32, 48), range(32, 48)),
        ("8x8x64", "random:64x3x3x2", {"groups": 32}, (2, 2, 40), range(32, 48), range(32, 48)),
        ("8x8x40", "box", {"dims": 2}, (2, 2, 39), range(24, 40), range(24, 40)),
        ("8x8x40", "random:3x3x40", {"dims": 2}, (2, 2, 0), range(16), range(1)),
    ],
)
def test_few_of_many_channels(
    source: str,
    kernel: str,
    options: dict[str, Any],
    at: tuple[int, ...],
    channels: range,
    filters: range,
) -> None:
    result = page(source, kernel, at=at, geometry=options)
    assert (result.channels, result.filters) == (channels, filters)
    assert filters[data()["state"]["filter"]] == at[-1]
    assert len(unpacked(data()["x"])) == len(channels)
    assert engine()["y"].shape[0] == len(filters)


# Texts.


def texts(language: str) -> dict[str, str]:
    return json.loads((ASSETS / f"{language}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_complete(language: str) -> None:
    english, other = texts("en"), texts(language)
    assert list(other) == list(english)
    for key, text in other.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english[key])), key
        assert sorted(re.findall(r"<\w+>", text)) == sorted(re.findall(r"<\w+>", english[key])), key


def test_every_text_of_the_script_is_there() -> None:
    script = (ASSETS / "page.js").read_text(encoding="utf-8")
    used = set(re.findall(r'\bt\("([^"]+)"', script))
    assert used <= texts("en").keys()
    assert len(used) > 60


# The command.


def test_report() -> None:
    lines = run("explain", PHOTO, "-k", "sobel-x", "--html", "page.html").stdout.splitlines()
    assert lines[0].startswith(f"page   {PHOTO} 256x384x3 uint8 with sobel-x (3x3)")
    assert lines[1] == "shows  32x32 of 256x384; choose another part there"
    assert re.fullmatch(r"wrote  page.html \([\d,]+ bytes\); open it in a browser", lines[2])
    assert run("explain", "5x5", "-k", "box", "--html", "q.html", "-q").stdout == ""


def test_json() -> None:
    record = json.loads(
        run("explain", "40x9x20", "-k", "random:3x3x20", "--html", "p.html", "--json").stdout
    )
    assert record["command"] == "explain page"
    assert record["shown"] == {
        "shape": [32, 9],
        "channels": list(range(16)),
        "output_channels": [0],
    }
    assert record["page"]["bytes"] == Path("p.html").stat().st_size


def test_a_pipe_gets_the_page_and_stderr_the_report() -> None:
    result = run("explain", "5x5", "-k", "box", "--html", "-")
    assert result.stdout.startswith("<!doctype html>")
    assert "wrote  standard output" in result.stderr


def test_a_terminal_gets_no_page() -> None:
    lines = on_terminal("explain", "5x5", "-k", "box", "--html", "-", columns=200, code=2)
    assert "standard output is a terminal" in "".join(lines)


def test_an_existing_page_is_kept() -> None:
    Path("page.html").write_text("mine")
    assert (
        "page.html exists" in run("explain", "5", "-k", "1,2", "--html", "page.html", code=2).stderr
    )
    assert Path("page.html").read_text() == "mine"
    run("explain", "5", "-k", "1,2", "--html", "page.html", "-f")
    assert Path("page.html").read_text() != "mine"
    assert [path.name for path in Path().iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--lang ko", "--lang belongs to the interactive page; add --html FILE"),
        ("--transposed", "--transposed belongs to the interactive page; add --html FILE"),
        ("-f", "--overwrite belongs to the interactive page"),
        ("--html p.html --all", "the page shows every output, leave --all out"),
        ("--html p.html --output-padding 1", "add --transposed"),
        ("--html - --json", "both write to stdout"),
        ("--html p.txt", "expected a name that ends in .html or .htm"),
        ("--html p.html --lang kr", "expected one of en, ko"),
        ("--html p.html --at 9,9", "is outside the output"),
        ("--html p.html --padding 40", "the page shows up to 32 at each end"),
        ("--html no/p.html", "is not a folder"),
    ],
)
def test_refused_options(words: str, message: str) -> None:
    assert message in run("explain", "5x5", "-k", "1,2;3,4", *words.split(), code=2).stderr
    assert not Path("p.html").exists()


def test_refused_operands() -> None:
    np.save("dy.npy", np.ones((3, 4)))
    with pytest.raises(ShapeError, match="is 3x4; the output is 4x4"):
        page("5x5", "1,2;3,4", upstream="dy.npy")
    np.save("dy.npy", np.ones((39, 39)))
    with pytest.raises(ShapeError, match="the page shows 32x32 of it"):
        page("40x40", "1,2;3,4", upstream="dy.npy")
    with pytest.raises(InputError, match="has alpha"):
        page(str(ROOT / "samples" / "logo.png"), "box")
    with pytest.raises(InputError, match="4 spatial axes"):
        page("3x3x3x3", "random:2x2x2x2", geometry={"dims": 4})
    with pytest.raises(ShapeError, match="kernels of up to 32x32"):
        page("50x50", "random:33x3")
    with pytest.raises(ShapeError, match="reaches over 41 samples"):
        page("50x50", "random:3x3", geometry={"dilation": 20})
    with pytest.raises(ChannelError, match="the transposed kernel"):
        page("5x5x3", "random:4x2x2x3", transposed=True)
    with pytest.raises(InputError, match="--channels with --transposed"):
        page("5x5x3", "box", transposed=True, geometry={"channels": "sum", "dims": 2})
    with pytest.raises(InputError, match="nothing random"):
        page(PHOTO, "box", seed=1)
    Path("page.html").write_text("")
    with pytest.raises(FileError, match="exists"):
        page("5x5", "box", overwrite=False)
