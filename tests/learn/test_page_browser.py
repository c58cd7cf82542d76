"""Test the interactive page in a real browser: Debian's chromium, driven by playwright.

Skipped where one of the two is missing.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from convcli import conv_layer, conv_transpose, conv_transpose_gradients, gradients
from convcli.errors import InputError
from convcli.grad.toeplitz import toeplitz
from convcli.learn.page import PageRequest, run_page
from convcli.shapes.geometry import Geometry
from convcli.shapes.spec import ConvSpec

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"
)
SAMPLES = Path(__file__).parents[2] / "samples"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, in_tmp: Path) -> Iterator[Open]:
    """Open a page of this test; fail if it asks for anything or reports an error."""
    contexts, trouble = [], []

    def open_page(file: str, fragment: str = "", *, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        address = (in_tmp / file).as_uri()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: _only(address, request.url, trouble))
        page.goto(address + (f"#{fragment}" if fragment else ""))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble


def _only(address: str, url: str, trouble: list[str]) -> None:
    if url.split("#")[0] != address and not url.startswith("data:"):
        trouble.append(f"request of {url}")


def write(
    x: Any, w: Any, page: str = "page.html", geometry: Geometry | None = None, **options: Any
) -> str:
    """Write a page of two arrays; return its name."""
    np.save("x.npy", x)
    np.save("w.npy", w)
    run_page(
        PageRequest(
            "x.npy", "w.npy", page, geometry=geometry or Geometry(), overwrite=True, **options
        )
    )
    return page


def values(page: Any, **state: Any) -> dict[str, np.ndarray]:
    """Return y, dx, dw and db as the page computes them in a state."""
    script = "state => { convcli.set(state); return JSON.stringify(convcli.values); }"
    return {name: np.array(v) for name, v in json.loads(page.evaluate(script, state)).items()}


def until(page: Any, condition: str) -> None:
    """Wait for a condition; playwright's own way to wait needs `eval`, which a page forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


# Numbers.


class Case(NamedTuple):
    """A layer: the user's arrays, how they are read, and the same arrays channels last."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    options: dict[str, Any]
    layer: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, int]]
    fold: Callable[[np.ndarray], np.ndarray] = lambda dw: dw
    """From the gradient of the layer's w to that of the user's kernel, in the page's order."""
    transposed: bool = False


def each(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    return x[None], np.repeat(w[None, ..., None], x.shape[-1], axis=0), x.shape[-1]


CASES = {
    "signal": Case((9,), (3,), {}, lambda x, w: (x[None, :, None], w[None, :, None], 1)),
    "picture": Case(
        (6, 7), (2, 3), {}, lambda x, w: (x[None, ..., None], w[None, ..., None], 1)
    ),
    "volume": Case(
        (4, 5, 6), (2, 3, 2), {"dims": 3}, lambda x, w: (x[None, ..., None], w[None, ..., None], 1)
    ),
    "each channel": Case((5, 6, 3), (3, 2), {"dims": 2}, each, lambda dw: dw.sum(0)),
    "summed": Case((5, 6, 3), (3, 2, 3), {"dims": 2}, lambda x, w: (x[None], w[None], 1)),
    "one for all": Case(
        (5, 6, 3),
        (3, 2),
        {"dims": 2, "channels": "sum"},
        lambda x, w: (x[None], np.repeat(w[None, ..., None], 3, axis=-1), 1),
        lambda dw: dw.sum(-1),
    ),
    "bank": Case((6, 5, 2), (3, 3, 2, 2), {"dims": 2}, lambda x, w: (x[None], w, 1)),
    "groups": Case(
        (6, 5, 4), (6, 3, 2, 2), {"dims": 2, "groups": 2}, lambda x, w: (x[None], w, 2)
    ),
    "depthwise": Case(
        (6, 5, 3),
        (3, 2, 3),
        {"dims": 2, "channels": "each"},
        lambda x, w: (x[None], np.moveaxis(w, -1, 0)[..., None], 3),
    ),
    "channels first": Case(
        (3, 6, 5),
        (2, 3, 2, 3),
        {"dims": 2, "layout": "channels_first"},
        lambda x, w: (np.moveaxis(x, 0, -1)[None], np.moveaxis(w, 1, -1), 1),
    ),
    "batch": Case((2, 6, 3), (4, 3, 3), {"dims": 1}, lambda x, w: (x[:1], w, 1)),
    "transposed": Case(
        (4, 3), (3, 2), {}, lambda x, w: (x[None, ..., None], w[None, ..., None], 1),
        transposed=True,
    ),
    "transposed bank": Case(
        (4, 3, 4), (4, 3, 2, 2), {"dims": 2, "groups": 2}, lambda x, w: (x[None], w, 2),
        transposed=True,
    ),
    "transposed volume": Case(
        (3, 2, 3), (2, 2, 2), {"dims": 3}, lambda x, w: (x[None, ..., None], w[None, ..., None], 1),
        transposed=True,
    ),
}  # fmt: skip
STATES = 6
"""Random states of each case: 84 in all."""


def random_state(rng: np.random.Generator, dims: int, transposed: bool) -> dict[str, Any]:
    def whole(low: int, high: int) -> list[int]:
        return [int(v) for v in rng.integers(low, high + 1, dims)]

    stride, dilation = whole(1, 3), whole(1, 2)
    names = ["valid", "same", "same-lower", "full"]
    pads = [sorted(whole(0, 2)[:1] + whole(0, 2)[:1]) for _ in range(dims)]
    return {
        "op": str(rng.choice(["correlate", "convolve"])),
        "stride": stride,
        "dilation": dilation,
        "padding": pads if rng.random() < 0.4 else str(rng.choice(names)),
        "boundary": str(rng.choice(["constant", "edge", "reflect", "symmetric", "wrap"])),
        "cval": float(rng.choice([0, 1.5])),
        "bias": float(rng.choice([0, -0.5])),
        "activation": str(rng.choice(["", "relu", "leaky-relu", "sigmoid", "tanh"])),
        "extra": [int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True)]
        if transposed
        else [0] * dims,
    }


ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "leaky-relu": (lambda z: np.maximum(z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "tanh": (np.tanh, lambda z: np.cosh(z) ** -2.0),
}


def by_api(case: Case, x: np.ndarray, w: np.ndarray, state: dict[str, Any]) -> dict[str, Any]:
    """Compute a state by the public functions, in the page's order of axes: channels first."""
    x, w, groups = case.layer(x, w)
    spatial = tuple(range(1, w.ndim - 1))
    flipped = np.flip(w, spatial) if state["op"] == "convolve" else w
    options = {name: state[name] for name in ("stride", "dilation", "padding")}
    options["groups"] = groups
    if case.transposed:
        options["output_padding"] = state["extra"]
    else:
        options |= {"boundary": state["boundary"], "cval": state["cval"]}
    forward = conv_transpose if case.transposed else conv_layer
    backward = conv_transpose_gradients if case.transposed else gradients
    outputs = w.shape[-1] * groups if case.transposed else len(w)
    z = forward(x, flipped, np.full(outputs, state["bias"]), **options)
    value, slope = ACTIVATIONS[state["activation"]]
    dx, dw, db = backward(x, flipped, slope(z), **options)
    dw = np.flip(dw, spatial) if state["op"] == "convolve" else dw
    first = {"y": np.moveaxis(value(z)[0], -1, 0), "dx": np.moveaxis(dx[0], -1, 0)}
    return {**first, "dw": case.fold(dw), "db": db}


@pytest.mark.parametrize("name", CASES)
def test_random_states_equal_the_python_api(name: str, opened: Open) -> None:
    case, rng = CASES[name], np.random.default_rng(list(CASES).index(name))
    x, w = rng.standard_normal(case.x), rng.standard_normal(case.w)
    page = opened(write(x, w, geometry=Geometry(**case.options), transposed=case.transposed))
    assert page.locator(".check.good").count() == 1
    done = 0
    while done < STATES:
        state = random_state(rng, case.options.get("dims", x.ndim), case.transposed)
        try:
            expected = by_api(case, x, w, state)
        except InputError:  # no output
            continue
        done += 1
        found = values(page, **state)
        assert found["shape"].tolist() == list(expected["y"].shape), state
        for key, array in expected.items():
            np.testing.assert_allclose(
                found[key], array.ravel(), rtol=1e-11, atol=1e-11, err_msg=f"{key} {state}"
            )
    assert page.locator(".check.live").count() == 1


@pytest.mark.parametrize("view", ["forward", "dx", "dw"])
@pytest.mark.parametrize("name", ["picture", "volume", "each channel", "bank", "transposed bank"])
def test_written_terms_add_up_to_the_value(name: str, view: str, opened: Open) -> None:
    case, rng = CASES[name], np.random.default_rng(5)
    x, w = rng.integers(-4, 5, case.x), rng.integers(-3, 4, case.w)
    geometry = Geometry(**case.options, padding=1, boundary="reflect")
    if case.transposed:
        geometry = Geometry(**case.options, stride=2)
    page = opened(write(x, w, geometry=geometry, transposed=case.transposed))
    for state in ({"t": 0, "m": 0, "k": 0}, {"t": 7, "m": 3, "k": 2, "o": 1}):
        terms, sum_, value = page.evaluate(
            """([view, state]) => {
              convcli.set({ view, ...state });
              const { terms, sum } = convcli.terms;
              const right = terms.every((term) => term.value === term.left * term.right);
              return [right, sum, convcli.chosen];
            }""",
            [view, state],
        )
        assert terms
        assert sum_ == value
    shown = page.locator(".sum .value strong").inner_text().replace("−", "-")
    assert float(shown) == value


def test_matrix_is_the_toeplitz_matrix(opened: Open) -> None:
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((4, 5, 2)), rng.standard_normal((1, 3, 2, 2))
    geometry = Geometry(padding="same", boundary="wrap", stride=(1, 2), dims=2)
    page = opened(write(x, w, geometry=geometry))
    found = np.array(page.evaluate("convcli.matrix")).reshape(-1, 2, 20)
    spec = ConvSpec.of(2, stride=(1, 2), padding="same", boundary="wrap")
    np.testing.assert_allclose(
        np.moveaxis(found, 1, -1).reshape(len(found), -1), toeplitz(w, (4, 5), spec), atol=1e-12
    )


def test_nan_and_infinity_are_where_the_engine_has_them(opened: Open) -> None:
    x = np.arange(30.0).reshape(5, 6)
    x[1, 1], x[3, 4] = np.nan, np.inf
    page = opened(write(x, np.array([[1.0, -1], [0, 2]])))
    assert page.locator(".check.good").count() == 1
    assert "NaN" in page.locator(".panel.right").inner_text()


# What is shown.

X = np.arange(1, 21).reshape(4, 5)
W = np.array([[1, 2], [3, -4]])


def cells(page: Any, panel: str) -> list[str]:
    texts = page.locator(f".panel.{panel} > .host td[role=gridcell]").all_inner_texts()
    return [text.split("\n")[0].replace("−", "-") for text in texts]


def test_text_of_the_first_state(opened: Open) -> None:
    page = opened(write(X, W))
    assert page.title() == "x.npy * w.npy: convcli explain"
    assert "x.npy (4×5) ∗ w.npy (2×2)" in page.locator("h1").inner_text()
    assert cells(page, "left") == [str(v) for v in X.ravel()]
    assert cells(page, "middle") == ["1", "2", "3", "-4"]
    y = conv_layer(X[None, ..., None], W[None, ..., None])[0, ..., 0]
    assert cells(page, "right") == [f"{v:g}" for v in y.ravel()]
    sum_ = page.locator(".sum").inner_text()
    assert "y[1,2] = Σa,b w[a,b] · x[1+a,2+b]" in sum_
    assert "1·8 + 2·9 + 3·13 + (−4)·14" in sum_
    assert "y[1,2] = 8 + 18 + 39 − 56 = 9" in sum_
    sizes = page.locator(".card", has_text="Size of the output").inner_text()
    assert "4 − 2 + 1 = 3" in sizes
    assert "5 − 2 + 1 = 4" in sizes
    weights = page.locator(".card", has_text="dense layer").inner_text()
    assert "4 weights are shared by 12 outputs" in weights
    assert "240" in weights
    assert page.locator(".check").inner_text() == "✓ 37 values equal those of convcli 0.1.0"


def test_gathered_sums_of_both_ways_back(opened: Open) -> None:
    np.save("dy.npy", np.arange(12).reshape(3, 4))
    page = opened(write(X, W, upstream="dy.npy"), "view=dx&m=7")
    sum_ = page.locator(".sum")
    assert "dx[1,2] = Σa,b δ[1−a,2−b] · w[a,b]" in sum_.inner_text()
    assert "δ[0,1] · w[1,1] = 1 · −4 = −4" in sum_.inner_text()
    assert "= −4 + 6 + 10 + 6 = 18" in sum_.inner_text()
    page.get_by_role("button", name="Back to w").click()
    page.evaluate("convcli.set({k: 3})")
    assert "dw[1,1] = Σi,j δ[i,j] · x[1+i,1+j]" in sum_.inner_text()
    assert "δj xi+j−1" in sum_.inner_text()
    assert "δ of each output" in page.locator(".step").inner_text()
    assert page.locator(".check.good").count() == 1


def test_neuron_is_shown_whole(opened: Open) -> None:
    page = opened(write(X, W, bias=-20, activation="relu"), "o=0")
    pipe = page.locator(".pipe").inner_text()
    assert "relu(z)" in pipe
    assert "y[1,2] = 8 + 18 + 39 − 56 − 20 = −11, relu(z) = 0" in page.locator(".sum").inner_text()


@pytest.mark.parametrize("array", ["y", "dx", "dw", "db"])
def test_badge_is_red_if_one_value_differs(array: str, opened: Open, in_tmp: Path) -> None:
    file = in_tmp / write(X + 0.5, W)
    text = file.read_text(encoding="utf-8")
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text)
    assert data
    payload = json.loads(data[1])
    packed = payload["engine"][array]
    kind = np.dtype(packed["type"]).newbyteorder("<")
    changed = np.frombuffer(base64.b64decode(packed["data"]), kind).astype(float)
    changed[-1] += 1e-9
    packed |= {"type": "float64", "data": base64.b64encode(changed.tobytes()).decode()}
    file.write_text(text.replace(data[1], json.dumps(payload)), encoding="utf-8")
    page = opened("page.html")
    assert page.locator(".check.bad").inner_text().startswith(f"✗ {array}[{len(changed) - 1}]")


def test_harmless_names(opened: Open, in_tmp: Path) -> None:
    name = "</script><script>document.title='changed'</script><b>&amp;'\".npy"
    for file in (name, f"w{name}"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    np.save(name, X)
    np.save(f"w{name}", W)
    run_page(PageRequest(name, f"w{name}", "page.html"))
    page = opened("page.html")
    assert page.title().endswith("convcli explain")
    assert "<b>&amp;'\".npy" in page.locator("h1").inner_text()
    assert page.locator(".check.good").count() == 1


# How it is used.


def test_hover_chooses_in_every_view(opened: Open) -> None:
    page = opened(write(X, W))

    def hover(panel: str, index: int) -> None:
        page.locator(f".panel.{panel} > .host td[role=gridcell]").nth(index).hover()

    hover("right", 6)
    assert page.evaluate("convcli.state.t") == 6
    hover("left", 0)  # the output whose window is nearest
    assert page.evaluate("convcli.state.t") == 0
    page.keyboard.press("x")
    hover("left", 8)
    assert "dx[1,3]" in page.locator(".sum .value").inner_text()
    page.keyboard.press("w")
    hover("middle", 2)
    assert "dw[1,0]" in page.locator(".sum .value").inner_text()
    page.locator("canvas.matrix").hover(position={"x": 4, "y": 4})
    assert page.evaluate("convcli.state.k") == 0


def test_a_product_marks_its_factors(opened: Open) -> None:
    page = opened(write(X, W, geometry=Geometry(op="convolve")))
    assert "flipped, as it slides" in page.locator(".panel.weights").inner_text()
    assert cells(page, "weights") == ["-4", "3", "2", "1"]

    def linked(panel: str) -> list[str]:
        found = page.locator(f".panel.{panel} > .host td.linked").all()
        return [str(cell.get_attribute("aria-label")).split(" = ")[0] for cell in found]

    product = page.locator(".factor").nth(2).locator("td[role=gridcell]").nth(1)
    product.hover()
    assert product.get_attribute("aria-label") == "x[1,3] · w[1,0] = 9 · 3 = 27"
    assert (linked("left"), linked("middle"), linked("weights")) == (
        *[["x[1,3]"], ["w[1,0]"], ["w[1,0]"]],
    )
    page.mouse.move(1, 1)
    assert page.locator("td.linked").count() == 0
    page.evaluate("convcli.set({view: 'dx', m: 8, boundary: 'edge'})")
    page.locator(".factor").nth(2).locator("td[role=gridcell]").nth(0).hover()
    assert (linked("right"), linked("middle")) == (["δ[0,2]"], ["w[0,0]"])
    page.evaluate("convcli.set({view: 'dw'})")
    page.locator(".factor").nth(2).locator("td[role=gridcell]").nth(2).hover()
    assert (linked("right"), linked("left")) == (["δ[0,2]"], ["x[1,3]"])


def test_keyboard(opened: Open) -> None:
    page = opened(write(X, W))
    for grid in page.locator("table[role=grid]:visible").all():
        assert grid.get_attribute("aria-label")
        assert grid.locator("[tabindex='0']").count() == 1
    page.locator(".panel.right td[tabindex='0']").focus()
    for key, t in [
        *[("ArrowRight", 7), ("ArrowDown", 11), ("ArrowDown", 11), ("Home", 8)],
        *[("ArrowUp", 4), ("Control+Home", 0), ("Control+End", 11), ("End", 11)],
    ]:
        page.keyboard.press(key)
        assert page.evaluate("convcli.state.t") == t
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("y[2,3] = ")
    assert page.locator(".panel.right [aria-selected=true]").count() == 1
    until(page, "document.querySelector('[aria-live]').textContent.startsWith('y[2,3]')")
    page.keyboard.press("Space")
    assert page.locator("button.primary").get_attribute("aria-pressed") == "true"
    until(page, "convcli.state.t === 1")
    page.keyboard.press("Space")
    assert page.locator("button.primary").get_attribute("aria-pressed") == "false"


def test_kernel_and_delta_are_edited(opened: Open) -> None:
    page = opened(write(X, W))
    cell = page.locator(".panel.middle > .host td[role=gridcell]").nth(3)
    cell.focus()
    page.keyboard.press("Enter")
    page.keyboard.type("0.5")
    page.keyboard.press("Escape")
    assert cell.inner_text() == "−4"
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    assert cell.inner_text() == "5"
    y = conv_layer(X[None, ..., None], np.array([[1, 2], [3, 5]])[None, ..., None])
    np.testing.assert_array_equal(values(page)["y"], y.ravel())
    assert page.locator(".check.live").count() == 1
    page.keyboard.press("x")
    page.locator(".panel.right td[role=gridcell]").nth(2).dblclick()
    page.keyboard.type("-7")
    page.keyboard.press("Enter")
    dy = np.ones((1, 3, 4, 1))
    dy[0, 0, 2, 0] = -7
    dx = gradients(X[None, ..., None], np.array([[1, 2], [3, 5]])[None, ..., None], dy).dx
    np.testing.assert_array_equal(values(page)["dx"], dx.ravel())
    page.get_by_role("button", name="Undo edits").click()
    assert page.locator(".check.good").count() == 1


def test_controls_change_the_state(opened: Open) -> None:
    rng = np.random.default_rng(0)
    page = opened(write(rng.integers(0, 9, (7, 8, 2)), rng.integers(-2, 3, (3, 3, 3, 2))))
    page.get_by_label("Operation").select_option("convolve")
    page.get_by_label("Stride, height").fill("2")
    page.get_by_label("Stride, height").press("Tab")
    page.get_by_label("Padding", exact=True).select_option("same")
    page.get_by_label("Boundary", exact=True).select_option("wrap")
    page.get_by_label("Output channel").select_option("2")
    page.get_by_role("group", name="Channel", exact=True).get_by_role("button", name="1").click()
    page.get_by_label("Activation").select_option("tanh")
    state = page.evaluate("convcli.state")
    assert state["stride"] == [2, 2]
    assert (state["op"], state["padding"], state["boundary"]) == ("convolve", "same", "wrap")
    assert (state["o"], state["c"], state["activation"]) == (2, 1, "tanh")
    assert "⌊(7 + 1 + 1 − 3) / 2⌋ + 1 = 4" in page.locator(".cards").inner_text()
    page.get_by_label("each on its own").check()
    page.get_by_label("Stride, width").fill("1")
    page.get_by_label("Stride, width").press("Tab")
    assert page.evaluate("convcli.state.stride") == [2, 1]
    page.get_by_role("button", name="First state").click()
    assert page.locator(".check.good").count() == 1


def test_kernel_larger_than_the_input_has_no_output(opened: Open) -> None:
    page = opened(write(X, W))
    page.evaluate("convcli.set({dilation: [4, 4]})")
    assert page.get_by_role("alert").inner_text().startswith("The kernel is larger")
    assert page.locator("button.primary").is_disabled()
    for view in ("dx", "dw", "forward"):
        page.evaluate("view => convcli.set({view})", view)
    page.evaluate("convcli.set({dilation: [1, 1]})")
    assert page.locator(".check.good").count() == 1


def test_link_restores_the_state(opened: Open) -> None:
    file = write(X, W)
    page = opened(file)
    change = {
        "view": "dw",
        "op": "convolve",
        "stride": [2, 1],
        "padding": [[0, 1], [2, 0]],
        "boundary": "edge",
        "activation": "leaky-relu",
        "w": {"1": -0.25},
        "k": 2,
        "lang": "ko",
    }
    before = values(page, **change)
    until(page, "location.hash.includes('leaky')")
    state, fragment = page.evaluate("[convcli.state, location.hash.slice(1)]")
    page.reload()
    assert page.evaluate("convcli.state") == state
    again = opened(file, fragment)
    assert again.evaluate("convcli.state") == state
    assert again.locator("html").get_attribute("lang") == "ko"
    for key, array in values(again).items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize(
    "fragment",
    [
        "stride=0,0&dilation=x&padding=9:9&t=99999&m=-1&o=7&view=sideways&w=99:1",
        "w=0:NaN,1:Infinity&boundary=__proto__&constructor=1&lang=xx&part=5,5",
        "padding=1:2&cval=&bias=abc&activation=%&%E0%A4%A=1&dy=:&transposed=1",
        "=&&&#&__proto__=1",
    ],
)
def test_damaged_links_give_a_page(fragment: str, opened: Open) -> None:
    page = opened(write(X, W), fragment)
    assert page.locator(".check.good").count() == 1


def test_table_of_the_step(opened: Open) -> None:
    page = opened(write(X, W))
    page.get_by_text("This step as a table").click()
    table = page.get_by_role("table").filter(has=page.locator("caption"))
    assert table.locator("th[scope=col]").all_inner_texts()[1:] == [
        *["weight", "sample", "x", "w", "product"]
    ]
    assert table.locator("tbody tr").nth(3).inner_text().split("\t")[1:] == [
        *["w[1,1]", "x[2,3]", "14", "−4", "−56"]
    ]


def test_planes_of_a_volume(opened: Open) -> None:
    x = np.arange(60).reshape(3, 4, 5)
    page = opened(write(x, np.ones((2, 2, 2)), geometry=Geometry(dims=3)))
    page.get_by_label("Plane of the output").fill("0")
    page.get_by_label("Plane of the kernel").fill("1")
    assert cells(page, "left") == [str(v) for v in x[1].ravel()]
    page.get_by_label("Plane of the input").fill("2")
    assert cells(page, "left") == [str(v) for v in x[2].ravel()]
    state = page.evaluate("convcli.state")
    assert state["t"] // 12 + state["plane"] == 2
    page.locator(".panel.right td[tabindex='0']").focus()
    page.keyboard.press("PageUp")
    assert page.evaluate("convcli.state.t") // 12 == 0
    page.keyboard.press("x")
    page.get_by_label("Plane of the input").fill("0")
    assert page.evaluate("convcli.state.m") < 20
    page.keyboard.press("w")
    page.get_by_label("Plane of the kernel").fill("0")
    assert page.evaluate("convcli.state.k") < 4


def test_part_of_a_large_input(opened: Open) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.integers(0, 256, (60, 50)), rng.integers(-3, 4, (3, 3))
    page = opened(write(x, w, at=(40, 10)))
    assert "24…55 × 0…31 of 60×50" not in page.locator(".cut").inner_text()
    start = page.evaluate("convcli.state.part")

    def expected(row: int, column: int) -> np.ndarray:
        part = x[row : row + 32, column : column + 32]
        return conv_layer(part[None, ..., None], w[None, ..., None]).ravel()

    np.testing.assert_array_equal(values(page)["y"], expected(*start))
    assert page.locator(".check.good").count() == 1
    page.locator("canvas.thumb").click(position={"x": 5, "y": 5})
    assert page.evaluate("convcli.state.part") == [0, 0]
    np.testing.assert_array_equal(values(page)["y"], expected(0, 0))
    page.get_by_label("First of width").fill("18")
    page.get_by_label("First of width").press("Tab")
    np.testing.assert_array_equal(values(page)["y"], expected(0, 18))


# How it looks.


PAGES: dict[str, Callable[[], str]] = {
    "signal": lambda: write(np.arange(12), np.array([1, 2, 3])),
    "picture": lambda: write(np.arange(900).reshape(30, 30), np.ones((3, 3))),
    "bank": lambda: write(np.ones((6, 7, 3)) * 0.123456, np.full((16, 3, 3, 3), -0.98765)),
    "large": lambda: write(np.ones((90, 80)), np.ones((9, 9)), geometry=Geometry(padding=9)),
    "volume": lambda: write(np.ones((6, 5, 5)), np.ones((3, 3, 3)), geometry=Geometry(dims=3)),
}


REACH = """
() => Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll('.app *')]
  .filter((e) => !e.closest('.scroll, .hidden') && e.getClientRects().length)
  .map((e) => e.getBoundingClientRect().right))
"""
"""The right end of what is drawn, besides what scrolls in its own box."""

COLOURS = """
() => [...document.querySelectorAll('td[role=gridcell], .sum b, .sentence, .label')].map((e) => {
  const clear = (e) => getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)';
  let back = e;
  while (clear(back)) back = back.parentElement;
  return [getComputedStyle(e).color, getComputedStyle(back).backgroundColor];
})
"""
"""The colours of texts and of what is behind them."""


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_no_horizontal_overflow(name: str, width: int, opened: Open) -> None:
    file = PAGES[name]()
    for language in ("en", "ko"):
        page = opened(file, f"lang={language}", width=width)
        page.locator("summary").click()
        for view in ("forward", "dx", "dw"):
            page.evaluate("view => convcli.set({view})", view)
            reach = page.evaluate(REACH)
            assert reach <= width + 0.5, view


def luminance(colour: str) -> float:
    parts = [float(v) for v in re.findall(r"[\d.]+", colour)][:3]
    scaled = [v if colour.startswith("color(") else v / 255 for v in parts]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in scaled]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_stand_out_in_both_schemes(scheme: str, opened: Open) -> None:
    page = opened(write(X - 10, W, geometry=Geometry(padding=1)), color_scheme=scheme)
    colours = page.evaluate(COLOURS)
    for ink, paper in colours:
        low, high = sorted((luminance(ink), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)
    dark = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.1
    assert dark == (scheme == "dark")


def test_reduced_motion_has_no_transitions(opened: Open) -> None:
    page = opened(write(X, W), reduced_motion="reduce")
    frame = page.locator(".panel.left .frame")
    assert frame.evaluate("e => getComputedStyle(e).transitionDuration") == "0s"
    moving = opened("page.html").locator(".panel.left .frame")
    assert moving.evaluate("e => getComputedStyle(e).transitionDuration") != "0s"


def test_korean(opened: Open) -> None:
    page = opened(write(X, W, language="ko"))
    assert page.locator("html").get_attribute("lang") == "ko"
    assert "순전파" in page.locator(".views").inner_text()
    page.get_by_role("button", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
    assert "Forward" in page.locator(".views").inner_text()
