"""Test animations: their numbers against the engine, their pixels, their limits and messages."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import ROOT, on_terminal, plain, run
from PIL import Image, ImageSequence

from convcli import conv_layer, gradients
from convcli.drawing.canvas import short_number, text_width
from convcli.drawing.palette import THEMES
from convcli.errors import ConvError, FileError, InputError, LimitError, ShapeError
from convcli.learn import animation
from convcli.learn.animation import AnimationRequest, AnimationResult, run_animation
from convcli.learn.animation.layout import Grid, arrange
from convcli.learn.animation.paint import TINTS, Painter, Words
from convcli.learn.animation.scene import (
    CONSTANT,
    COPY,
    EMPTY,
    SAMPLE,
    Scene,
    make_scene,
)
from convcli.learn.animation.text import caption, names
from convcli.learn.explain import ExplainRequest, run_explain
from convcli.learn.page.layer import PageLayer
from convcli.shapes.geometry import Geometry
from convcli.shapes.spec import ConvSpec

DIGIT = str(ROOT / "samples" / "digit.png")
BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")
VIEWS = ("forward", "dx", "dw")

pytestmark = pytest.mark.usefixtures("in_tmp")


def animate(x: str, w: str, output: str = "conv.png", **options: Any) -> AnimationResult:
    options.setdefault("overwrite", True)
    geometry = Geometry(**options.pop("geometry", {}))
    return run_animation(AnimationRequest(x, w, output, geometry=geometry, **options))


def integers(*shape: int, seed: int = 0, name: str = "x.npy") -> str:
    np.save(name, np.random.default_rng(seed).integers(-9, 10, shape))
    return name


def pictures(name: str) -> list[np.ndarray]:
    with Image.open(name) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def drawn(scene: Scene, layer: PageLayer, width: int = 640, **options: Any) -> Painter:
    words = Words("title", names(layer, scene), lambda frame: f"y{list(frame.target)}")
    theme = THEMES[options.pop("theme", "light")]
    layout = arrange(scene, words.names, width, 2)
    return Painter(scene, layout, theme, words, **{"numbers": True, **options})


# The numbers of each frame.


def random_layer(rng: np.random.Generator) -> PageLayer | None:
    """Return a layer of random options, or None if they do not fit."""
    dims, transposed = int(rng.integers(1, 3)), bool(rng.integers(2))
    shared = str(rng.choice(["", "each"] if transposed else ["", "each", "sum"]))
    groups, depth = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    kernels = groups * int(rng.integers(1, 3))
    taps, sides = rng.integers(1, 4, dims), rng.integers(3, 7, dims)
    pads = tuple((int(lo), int(hi)) for lo, hi in rng.integers(0, 3, (dims, 2)))
    spec = ConvSpec.of(
        dims,
        stride=tuple(map(int, rng.integers(1, 4, dims))),
        dilation=tuple(map(int, rng.integers(1, 3, dims))),
        padding=pads if rng.random() < 0.7 else str(rng.choice(["same", "full", "same-lower"])),
        boundary="constant" if transposed else str(rng.choice(BOUNDARIES)),
        cval=0.0 if transposed else 1.5,
        groups=1 if shared else groups,
    )
    w = rng.standard_normal((1, *taps, 1) if shared else (kernels, *taps, depth))
    channels = 2 if shared else (kernels if transposed else groups * depth)
    op = "convolve" if rng.integers(2) else "correlate"
    layer = PageLayer(rng.standard_normal((channels, *sides)), w, spec, op, shared, transposed)
    try:
        return layer if min(layer.output) > 0 else None
    except ShapeError:
        return None


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", range(30))
def test_the_products_of_every_frame_add_up_to_the_engines_value(seed: int, view: str) -> None:
    rng = np.random.default_rng(seed)
    layer = random_layer(rng)
    while layer is None:
        layer = random_layer(rng)
    scene = make_scene(layer, view, dy := rng.standard_normal(layer.output))
    values = layer.values(dy, 0.0, None)
    whole = {"forward": values.y, "dx": values.dx, "dw": values.dw}[view]
    assert scene.frame_count == whole.size == scene.result.size
    for frame in scene.frames:
        terms = [term.product for terms in frame.terms for term in terms]
        assert math.fsum(terms) == pytest.approx(frame.value, abs=1e-12)
        assert sum(part.sum() for part in frame.products) == pytest.approx(frame.value, abs=1e-12)
        assert not any(part[~frame.used].any() for part in frame.products)
        assert frame.value == scene.result[(frame.channel, *frame.target)]


def test_the_values_are_those_of_the_python_interface() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 6, 5, 3)), rng.standard_normal((2, 3, 2, 3))
    options = {"stride": (2, 1), "dilation": (1, 2), "padding": ((1, 0), (2, 1))}
    y = conv_layer(x, w, boundary="edge", **options)
    dy = rng.standard_normal(y.shape)
    dx, dw, _ = gradients(x, w, dy, boundary="edge", **options)
    for name, array in (("x", x), ("w", w), ("dy", dy)):
        np.save(f"{name}.npy", array)
    given = {**options, "padding": ("1:0", "2:1"), "boundary": "edge"}
    shown = animate("x.npy", "w.npy", geometry=given).scene.result
    np.testing.assert_array_equal(shown, np.moveaxis(y[0], -1, 0))
    settings = {"geometry": given, "upstream": "dy.npy"}
    shown = animate("x.npy", "w.npy", backward="dx", **settings).scene.result
    np.testing.assert_array_equal(shown, np.moveaxis(dx[0], -1, 0))
    shown = animate("x.npy", "w.npy", backward="dw", **settings).scene.result
    np.testing.assert_array_equal(shown.reshape(2, 3, 3, 2), np.moveaxis(dw, -1, 1))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_repeated_sample_has_a_window_for_each_copy(boundary: str) -> None:
    spec = ConvSpec.of(1, padding=2, boundary=boundary)
    layer = PageLayer(np.arange(5.0)[None], np.array([[[1.0], [2.0], [4.0]]]), spec, "correlate")
    scene = make_scene(layer, "dx", np.ones(layer.output))
    counts = [len(frame.windows) for frame in scene.frames]
    assert (
        counts
        == {
            "constant": [1, 1, 1, 1, 1],
            "edge": [3, 1, 1, 1, 3],
            "reflect": [1, 2, 3, 2, 1],
            "symmetric": [2, 2, 1, 2, 2],
            "wrap": [2, 2, 1, 2, 2],
        }[boundary]
    )


def test_places_are_samples_padding_or_empty() -> None:
    x, w = np.arange(1.0, 5.0)[None], np.ones((1, 3, 1))
    padded = PageLayer(x, w, ConvSpec.of(1, padding=1, cval=7.0), "correlate")
    scene = make_scene(padded, "forward", np.ones(padded.output))
    assert scene.kinds.tolist() == [CONSTANT, *[SAMPLE] * 4, CONSTANT]
    assert scene.pairs[0][0].values.tolist() == [7, 1, 2, 3, 4, 7]
    copied = PageLayer(x, w, ConvSpec.of(1, padding=1, boundary="wrap"), "correlate")
    scene = make_scene(copied, "forward", np.ones(copied.output))
    assert scene.kinds.tolist() == [COPY, *[SAMPLE] * 4, COPY]
    assert scene.pairs[0][0].values.tolist() == [4, 1, 2, 3, 4, 1]
    strided = PageLayer(x, w, ConvSpec.of(1, stride=2), "correlate", transposed=True)
    scene = make_scene(strided, "forward", np.ones(strided.output))
    assert scene.kinds.tolist() == [*[EMPTY] * 2, *[SAMPLE, EMPTY] * 3, SAMPLE, *[EMPTY] * 2]


# Vincent Dumoulin and Francesco Visin, "A guide to convolution arithmetic for deep learning", 2016:
# the animations of its authors, by input, kernel, options, places that are shown, and output.
KNOWN = {
    "no padding": (4, 3, {}, 4, 2),
    "arbitrary padding": (5, 4, {"padding": 2}, 9, 6),
    "same padding": (5, 3, {"padding": 1}, 7, 5),
    "full padding": (5, 3, {"padding": "full"}, 9, 7),
    "strides": (5, 3, {"stride": 2}, 5, 2),
    "padding and strides": (5, 3, {"stride": 2, "padding": 1}, 7, 3),
    "padding and strides, odd": (6, 3, {"stride": 2, "padding": 1}, 8, 3),
    "dilation": (7, 3, {"dilation": 2}, 7, 3),
    "no padding, transposed": (2, 3, {"transposed": True}, 6, 4),
    "arbitrary padding, transposed": (6, 4, {"padding": 2, "transposed": True}, 8, 5),
    "same padding, transposed": (5, 3, {"padding": 1, "transposed": True}, 7, 5),
    "full padding, transposed": (7, 3, {"padding": "full", "transposed": True}, 7, 5),
    "strides, transposed": (2, 3, {"stride": 2, "transposed": True}, 7, 5),
    "padding and strides, transposed": (
        *(3, 3, {"stride": 2, "padding": 1, "transposed": True}),
        *(7, 5),
    ),
    "padding and strides, transposed, odd": (
        *(3, 3, {"stride": 2, "padding": 1, "output_padding": 1, "transposed": True}),
        *(8, 6),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_well_known_animations_have_their_sizes(name: str) -> None:
    n, k, options, places, out = KNOWN[name]
    own = {name: options[name] for name in ("transposed", "output_padding") if name in options}
    geometry = {name: value for name, value in options.items() if name not in own}
    result = animate(f"{n}x{n}", f"random:{k}x{k}", geometry=geometry, width=320, **own)
    assert result.scene.kinds.shape == (places, places)
    assert (result.scene.kinds == SAMPLE).sum() == n * n
    assert result.scene.result.shape == (1, out, out)
    assert len(pictures("conv.png")) == result.frames == out * out


@pytest.mark.parametrize("view", VIEWS)
def test_odd_and_asymmetric_padding_against_torch(view: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rng = np.random.default_rng(0)
    for stride, dilation, pads in itertools.product((1, 2), (1, 2), ((0, 1, 3, 2), (2, 0, 1, 4))):
        x, w = rng.standard_normal((2, 7, 6)), rng.standard_normal((3, 3, 2, 2))
        top, bottom, left, right = pads
        spec = ConvSpec.of(
            2, stride=stride, dilation=dilation, padding=((top, bottom), (left, right))
        )
        layer = PageLayer(x, w, spec, "correlate")
        dy = rng.standard_normal(layer.output)
        scene = make_scene(layer, view, dy)
        given = torch.tensor(x[None], requires_grad=True)
        kernel = torch.tensor(np.moveaxis(w, -1, 1), requires_grad=True)
        y = torch.nn.functional.conv2d(
            torch.nn.functional.pad(given, (left, right, top, bottom)),
            kernel,
            stride=stride,
            dilation=dilation,
        )
        y.backward(torch.tensor(dy[None]))
        expected = {"forward": y, "dx": given.grad, "dw": kernel.grad}[view].detach().numpy()
        shown = scene.result.reshape(expected.shape)
        np.testing.assert_allclose(shown, expected, atol=1e-12)
        for frame in scene.frames:
            total = math.fsum(term.product for terms in frame.terms for term in terms)
            assert total == pytest.approx(
                shown.reshape(scene.result.shape)[frame.channel][frame.target]
            )


# The pixels.


def probe(picture: np.ndarray, grid: Grid, row: int, column: int) -> tuple[int, ...]:
    """Return the colour of a cell between its outline and its number."""
    left, top, right, _ = grid.box(row, column)
    inset = max(round(0.2 * (right - left)), 1)
    return tuple(picture[top + inset, left + inset].tolist())


def decoded(colour: tuple[int, ...], largest: float, theme: str = "light") -> float:
    """Return the value of a colour, the middle of the step of the scale that it stands for."""
    shares = {THEMES[theme].tint(step / TINTS, TINTS): step for step in range(-TINTS, TINTS + 1)}
    step = shares[colour]
    return (step - 0.5 * np.sign(step)) / TINTS * largest


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_pixels_decode_to_the_values_of_explain(suffix: str, theme: str) -> None:
    x, w = integers(5, 6), integers(3, 3, seed=1, name="w.npy")
    geometry = {"padding": "1:0", "op": "convolve"}
    result = animate(x, w, f"conv.{suffix}", geometry=geometry, theme=theme)
    steps = run_explain(ExplainRequest(x, w, at=None, geometry=Geometry(**geometry))).steps
    y = {step.at: step.value for step in steps}
    assert len(steps) == 20
    frames, layout = pictures(f"conv.{suffix}"), result.layout
    assert len(frames) == len(steps)
    page, largest = THEMES[theme].page, max(map(abs, y.values()))
    for number, (picture, step) in enumerate(zip(frames, steps, strict=True)):
        for earlier, place in enumerate(y):
            colour = probe(picture, layout.results[0], *place)
            if earlier > number:
                assert colour == page, "the output is not filled yet"
            else:
                error = abs(decoded(colour, largest, theme) - y[place])
                assert error <= 0.51 / TINTS * largest
        cells = step.blocks[0].cells
        products = {cell.tap: cell.product for cell in cells}
        scale = max(abs(cell.product) for each in steps for cell in each.blocks[0].cells)
        for index, tap in enumerate(itertools.product(range(3), range(3))):
            flipped = tuple(2 - i for i in tap)
            colour = probe(picture, layout.products[0], *tap)
            assert abs(decoded(colour, scale, theme) - products[flipped]) <= 0.51 / TINTS * scale
            assert cells[index].tap == flipped


@pytest.mark.parametrize("view", ["dx", "dw"])
def test_pixels_decode_to_the_gradients(view: str) -> None:
    x, w = integers(4, 4), integers(2, 2, seed=1, name="w.npy")
    result = animate(x, w, "back.webp", backward=view, numbers=False)
    dx, dw, _ = gradients(
        *(np.load(name)[None, ..., None] for name in (x, w)), np.ones((1, 3, 3, 1))
    )
    expected = {"dx": dx, "dw": dw}[view][0, ..., 0]
    picture, layout = pictures("back.webp")[-1], result.layout
    for place in np.ndindex(expected.shape):
        colour = probe(picture, layout.results[0], *place)
        largest = np.abs(expected).max()
        assert abs(decoded(colour, largest) - expected[place]) <= 0.51 / TINTS * largest


def test_a_signal_s_kernel_is_below_its_window() -> None:
    result = animate(integers(9), "1,-2,1", geometry={"dilation": 2, "stride": 2}, numbers=False)
    layout = result.layout
    for frame, picture in zip(result.scene.frames, pictures("conv.png"), strict=True):
        shown = [
            probe(picture, layout.weights[0], 0, place) != THEMES["light"].page
            for place in range(9)
        ]
        under = range(2 * frame.target[0], 2 * frame.target[0] + 5, 2)
        assert np.flatnonzero(shown).tolist() == list(under)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("shape", ["6x6", "4x4x3"])
def test_a_picture_has_few_enough_colours_for_a_palette(shape: str, theme: str) -> None:
    kernel = "random:3x3" if shape == "6x6" else "random:2x3x3x3"
    animate(shape, kernel, "conv.webp", geometry={"padding": 1, "boundary": "edge"}, theme=theme)
    colours: set[tuple[int, ...]] = set()
    for picture in pictures("conv.webp"):
        found = Image.fromarray(picture).getcolors(1000)
        colours.update(colour for _, colour in found)
    assert len(colours) <= 255


@pytest.mark.parametrize("width", [160, 320, 640, 1280])
def test_numbers_fit_their_cells_and_everything_fits_the_picture(width: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 6, 6)) * 1e4, rng.standard_normal((1, 3, 3, 1)) / 1e3
    layer = PageLayer(x, w, ConvSpec.of(2, padding=1), "correlate")
    painter = drawn(make_scene(layer, "forward", np.ones(layer.output)), layer, width)
    layout, scales = painter.layout, painter.scales
    for kind, values in (("source", x), ("weights", w), ("result", painter.scene.result)):
        _, digits, size = scales[kind]
        if not size:
            assert width <= 320
            continue
        texts = [short_number(value, digits) for value in values.ravel().tolist()]
        assert max(text_width(text, size) for text in texts) <= 0.9 * layout.unit
    for grid in (*layout.sources, *layout.weights, *layout.products, *layout.results.values()):
        left, top, right, bottom = grid.area(0, 0, grid.rows, grid.columns)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= layout.height <= width


def test_frames_are_the_same_in_any_order() -> None:
    layer = PageLayer(
        np.arange(16.0).reshape(1, 4, 4), np.ones((2, 2, 2, 1)), ConvSpec.of(2), "correlate"
    )
    scene = make_scene(layer, "forward", np.ones(layer.output))
    forward = [drawn(scene, layer).paint(number).array() for number in range(scene.frame_count)]
    painter = drawn(scene, layer)
    order = np.random.default_rng(0).permutation(scene.frame_count).tolist()
    for number in order:
        np.testing.assert_array_equal(painter.paint(number).array(), forward[number])


def test_missing_values_are_written_or_crossed() -> None:
    np.save("x.npy", np.array([[1, np.nan, 2], [np.inf, 1, -np.inf], [0, 3, 1]]))
    numbers = animate("x.npy", "1,2;3,4", "a.png", frame=0)
    crossed = animate("x.npy", "1,2;3,4", "b.png", frame=0, numbers=False)
    assert np.isnan(numbers.scene.result[0, 0, 0])
    picture, grid = pictures("b.png")[0], crossed.layout.sources[0]
    lines = [
        len(np.unique(picture[top + 3 : bottom - 3, left + 3 : right - 3].reshape(-1, 3), axis=0))
        for left, top, right, bottom in (grid.box(0, 1), grid.box(2, 1))
    ]
    assert lines[0] > lines[1] == 1


# The sum below.


def evaluated(lines: list[str]) -> tuple[float, float]:
    """Return the value of a caption's sum, and the value after the last equals sign."""
    _, terms, value = " ".join(lines).split(" = ")
    head, more, _ = terms.partition(" more (")
    if more:
        terms = head.rpartition(" ")[0] + " " + terms.rpartition("(")[2].rstrip(")")
    return eval(terms), float(value)


@pytest.mark.parametrize("width", [160, 320, 640])
@pytest.mark.parametrize("whole", [True, False])
def test_the_sum_below_is_right_and_fits(width: int, whole: bool) -> None:
    rng = np.random.default_rng(0)
    draw = (lambda *s: rng.integers(-9, 10, s).astype(float)) if whole else rng.standard_normal
    layer = PageLayer(
        draw(2, 6, 6) if whole else draw((2, 6, 6)),
        rng.standard_normal((1, 3, 3, 2)),
        ConvSpec.of(2),
        "correlate",
    )
    for frame in make_scene(layer, "forward", np.ones(layer.output)).frames:
        lines = caption("y[0,0]", frame, width)
        assert len(lines) <= 2
        total, value = evaluated(lines)
        assert total == pytest.approx(frame.value, rel=1e-4, abs=1e-3)
        assert value == pytest.approx(frame.value, rel=1e-5)


@pytest.mark.parametrize(
    ("x", "w", "options", "expected"),
    [
        ((4, 4), (2, 2), {}, "y[1,0]"),
        ((4, 4, 3), (2, 2, 2, 3), {}, "y[1,0,0]"),
        ((4, 4, 3), (2, 2), {}, "y[1,0,0]"),
        ((2, 4, 4, 3), (2, 2, 2, 3), {}, "y[0,1,0,0]"),
        ((3, 4, 4), (2, 3, 2, 2), {"geometry": {"layout": "channels_first"}}, "y[0,1,0]"),
        ((4, 4, 3), (2, 2, 2, 3), {"backward": "dx"}, "dx[0,3,0]"),
        ((4, 4, 3), (2, 2, 2, 3), {"backward": "dw"}, "dw[0,1,1,0]"),
        ((4, 4), (2, 2), {"backward": "dw"}, "dw[1,1]"),
        ((6,), (2,), {}, "y[3]"),
    ],
)
def test_values_are_named_as_in_the_users_arrays(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], expected: str, monkeypatch: Any
) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "convcli.learn.animation.paint.caption", lambda name, *_: written.append(name) or []
    )
    animate(integers(*x), integers(*w, name="w.npy"), frame=3, **options)
    assert written == [expected]


# The file.


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_plays_at_its_speed_for_ever_and_holds_its_end(suffix: str) -> None:
    animate("4x4", "random:2x2", f"conv.{suffix}", fps=4)
    with Image.open(f"conv.{suffix}") as image:
        assert image.n_frames == 9
        assert image.info["loop"] == 0
        durations = []
        for number in range(9):
            image.seek(number)
            image.load()
            durations.append(image.info["duration"])
    assert durations == [250] * 8 + [1500]


def test_the_default_speed_ends_within_half_a_minute() -> None:
    assert animate("4x4", "random:2x2").fps == 2
    assert animate("14x14", "random:3x3", numbers=False).fps == pytest.approx(144 / 30)


def test_a_frame_is_the_still_of_the_animation() -> None:
    animate("4x4", "random:2x2", "all.png")
    for number in (0, 5, 8):
        result = animate("4x4", "random:2x2", "one.png", frame=number)
        np.testing.assert_array_equal(pictures("one.png")[0], pictures("all.png")[number])
        assert (result.frames, result.fps) == (1, None)


def test_the_same_input_gives_the_same_bytes() -> None:
    for suffix in ("gif", "webp", "png"):
        contents = set()
        for _ in range(2):
            animate("5x5", "random:3x3", f"conv.{suffix}")
            contents.add(Path(f"conv.{suffix}").read_bytes())
        assert len(contents) == 1


def test_files_are_small() -> None:
    x = integers(5, 5)
    for suffix, most in (("gif", 150_000), ("webp", 60_000), ("png", 110_000)):
        result = animate(x, "sobel-x", f"conv.{suffix}", geometry={"padding": 1})
        assert result.written.bytes == Path(f"conv.{suffix}").stat().st_size < most


def test_a_part_is_shown_as_if_it_were_the_whole() -> None:
    x = integers(9, 8)
    np.save("part.npy", np.load(x)[2:6, 1:7])
    animate("part.npy", "sobel-x", "whole.png", geometry={"padding": 1, "boundary": "wrap"})
    result = animate(
        x, "sobel-x", "part.png", geometry={"padding": 1, "boundary": "wrap"}, crop=((2, 6), (1, 7))
    )
    assert result.part == (range(2, 6), range(1, 7))
    for one, other in zip(pictures("whole.png"), pictures("part.png"), strict=True):
        np.testing.assert_array_equal(one[40:], other[40:])  # below the title
    assert animate(x, "sobel-x", crop=(4,)).part == (range(2, 6), range(2, 6))


def test_one_channel_can_be_shown() -> None:
    x, w = integers(4, 4, 2), integers(3, 2, 2, 2, name="w.npy")
    result = animate(x, w, channel=2)
    assert (result.frames, result.scene.channels) == (9, (2,))
    assert animate(x, w).frames == 27


def test_more_channels_than_rows_are_in_the_sum() -> None:
    x, w = integers(3, 3, 9), integers(1, 2, 2, 9, name="w.npy")
    result = animate(x, w)
    assert len(result.layout.sources) == 4
    frame = result.scene.frames[0]
    assert len(frame.terms) == 9
    sums = drawn(result.scene, result.layer)._sums(frame)
    value = sum(part.sum() for part in frame.products[4:])
    assert sums[-1].endswith(f"; 5 more channels {value:g}")
    report = run("animate", x, "-k", w, "-o", "c.gif", "--crop", "3").stdout
    assert "shows      4 of 9 channels that are summed\n" in report


# Limits and messages.

WIDE = {"x": "8x8x64", "w": "random:64x3x3x64"}
VOLUME = {"x": "4x4x4", "w": "random:2x2x2", "geometry": {"dims": 3}}
LOGO = str(ROOT / "samples" / "logo.png")
FEW = animation.Limits.of(10_000_000)
WRONG: dict[str, tuple[dict[str, Any], type[ConvError], str]] = {
    "suffix": ({"output": "conv.jpg"}, FileError, "as .gif, .webp or .png; change the suffix"),
    "no suffix": ({"output": "conv"}, FileError, "has no suffix"),
    "frames": ({"x": "30x30"}, LimitError, "784 values, one frame for each; expected at most 600"),
    "crop it": ({"x": "30x30"}, LimitError, "use --crop 14"),
    "channels": (WIDE, LimitError, "use --channel 0 --crop 7"),
    "taps": ({**WIDE, "backward": "dw"}, LimitError, "use --channel 0"),
    "still": ({"x": "200x200", "frame": 1}, LimitError, "39,204 values; expected at most 10,000"),
    "cells": ({"x": "300", "w": "1,2"}, LimitError, "4 pixels at --size 640; use --crop 106"),
    "volume": (VOLUME, InputError, "an animation shows 1 or 2"),
    "alpha": ({"x": LOGO}, InputError, "has alpha; expected a picture without"),
    "frame": ({"frame": 9}, InputError, "frame 9; there are 9, counted from 0; use 0 to 8"),
    "channel": ({"channel": 1}, InputError, "has 1, counted from 0; leave --channel out"),
    "crop": ({"crop": (6,)}, InputError, "crop 6; the input has 5x5 samples; use a part inside"),
    "crop range": ({"crop": ((3, 3), 2)}, InputError, "crop 3:3; the input has 5x5"),
    "crop axes": ({"crop": (2, 2, 2)}, InputError, "crop with 3 parts; the input has 2 spatial"),
    "kernel": ({"w": "random:7x7"}, ShapeError, "kernel 7x7 exceeds the padded input 5x5"),
    "memory": ({"limits": FEW}, LimitError, "use a smaller --size, or raise --max-memory"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_shown_is_refused_in_one_line(name: str) -> None:
    options, kind, message = WRONG[name]
    given = {"x": "5x5", "w": "random:3x3", "output": "conv.gif", **options}
    with pytest.raises(kind) as caught:
        animate(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(Path().glob("*conv*"))


def test_the_suggested_parts_work() -> None:
    assert animate("30x30", "random:3x3", crop=(14,), numbers=False).frames == 144
    assert animate("300", "1,2", crop=(106,), numbers=False).frames == 105


def test_too_many_bytes_are_refused_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation, "MOST_BYTES", 20_000)
    with pytest.raises(
        LimitError, match=r"has 0\.\d MB; expected at most 0 MB; use --size 320, or"
    ):
        animate("5x5", "random:3x3", "conv.gif")
    assert not Path("conv.gif").exists()
    assert animation.MOST_FRAMES == 600


def test_a_wrong_upstream_is_refused() -> None:
    np.save("dy.npy", np.ones((2, 2)))
    with pytest.raises(ShapeError, match=r"dy.npy is 2x2; the output is 3x3"):
        animate("5x5", "random:3x3", backward="dx", upstream="dy.npy")


# The command.


def test_the_command_reports_what_it_wrote() -> None:
    done = run("animate", DIGIT, "-k", "sobel-x", "--crop", "6", "-o", "c.gif")
    assert "shows      samples 11:17,11:17 of 28x28\n" in done.stdout
    assert "frames     16, one for each output of 4x4; 2 per second\n" in done.stdout
    assert f"({Path('c.gif').stat().st_size:,} bytes)" in done.stdout.replace("pixels, ", "(")
    assert (
        "expected a new file"
        in run("animate", DIGIT, "-k", "sobel-x", "-o", "c.gif", code=2).stderr
    )


def test_the_command_prints_json() -> None:
    arguments = ["animate", "4x4x2", "-k", "random:3x2x2x2", "--channel", "1", "-o", "c.webp"]
    record = json.loads(run(*arguments, "--json").stdout)
    with Image.open("c.webp") as image:
        assert image.size == (record["width"], record["height"])
        assert image.n_frames == record["frames"] == 9
    assert record["view"] == "forward"
    assert record["channels"] == [1]
    assert record["part"] == [[0, 4], [0, 4]]
    assert record["animation"]["path"] == "c.webp"


@pytest.mark.parametrize(("words", "first"), [([], b"GIF89a"), (["--format", "png"], b"\x89PNG")])
def test_the_command_writes_to_a_pipe(words: list[str], first: bytes) -> None:
    done = run("animate", "3x3", "-k", "1,2;3,4", "-o", "-", *words)
    assert done.stdout_bytes.startswith(first)
    assert "standard output" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--upstream", "dy.npy"], "add --backward dx or dw"),
        (["--output-padding", "1"], "add --transposed"),
        (["--frame", "1", "--fps", "2"], "leave one out"),
        (["--format", "gif"], "the suffix says it"),
        (["--fps", "0"], "from 0.1 to 50"),
        (["--fps", "x"], "from 0.1 to 50"),
        (["--crop", "2:"], "start:stop"),
        (["--theme", "drak"], "did you mean 'dark'"),
        (["--size", "9"], "from 160 to 2000"),
        (["--json", "-o", "-"], "both write to stdout"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: list[str], message: str) -> None:
    done = run("animate", "4x4", "-k", "1,2;3,4", "-o", "c.gif", *words, code=2)
    assert message in done.stderr


def test_a_picture_never_goes_to_a_terminal() -> None:
    lines = plain(on_terminal("animate", "3x3", "-k", "1", "-o", "-", code=2))
    assert "standard output is a terminal" in " ".join(lines)
