"""Test diagrams by the boxes and paths of their SVG."""

from __future__ import annotations

import random
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from convcli.errors import LimitError
from convcli.network import diagram
from convcli.network.graph import Network, Node
from convcli.network.layers import Step, Tensor
from convcli.network.load import build, load
from convcli.network.parser import parse
from convcli.network.svg import svg

SVG = "{http://www.w3.org/2000/svg}"
SAMPLES = Path(__file__).parents[2] / "samples" / "networks"
Point = tuple[float, float]


class Rectangle(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def crosses(self, other: Rectangle) -> bool:
        return not (
            self.right <= other.left
            or other.right <= self.left
            or self.bottom <= other.top
            or other.bottom <= self.top
        )

    def holds(self, point: Point, within: float = 0.2) -> bool:
        """Return whether a point is inside, further than this from the border."""
        return (
            self.left + within < point[0] < self.right - within
            and self.top + within < point[1] < self.bottom - within
        )


def rectangle(element: ElementTree.Element) -> Rectangle:
    x, y, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
    return Rectangle(x, y, x + width, y + height)


def points(path: str) -> Iterator[Point]:
    """Yield the corners of a path, and ten points along each of its curves."""
    last = (0.0, 0.0)
    for letter, text in re.findall("([MLC])([^MLC]*)", path):
        numbers = list(map(float, text.split()))
        ends = list(zip(numbers[::2], numbers[1::2], strict=True))
        if letter == "C":
            for step in range(1, 10):
                t = step / 10
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
                x, y = (
                    sum(w * p[axis] for w, p in zip(weights, (last, *ends), strict=True))
                    for axis in (0, 1)
                )
                yield x, y
        last = ends[-1]
        yield last


def check(network: Network) -> ElementTree.Element:
    """Check the picture of a network: its boxes, their texts and its edges; return its root."""
    root = ElementTree.fromstring(svg(network))
    boxes = [rectangle(element) for element in root.findall(f"{SVG}rect")]
    nodes = [*network.inputs, *range(len(network.nodes))]
    assert len(boxes) == len(nodes)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    assert all(
        left <= box.left < box.right <= left + width and top <= box.top < box.bottom <= top + height
        for box in boxes
    )
    rows: dict[float, list[Rectangle]] = {}
    for box in boxes:
        rows.setdefault(box.top, []).append(box)
    for row in rows.values():
        assert not any(one.crosses(two) for one, two in combinations(row, 2))
    assert all(max(b.bottom for b in rows[one]) <= two for one, two in pairwise(sorted(rows))), (
        "rows overlap"
    )
    texts = [element for element in root.findall(f"{SVG}text") if element.get("class") != "heading"]
    shapes = [texts[number].text for number in range(1, len(texts), 2)]
    assert shapes == [network.show(network.tensor(node)) or "scalar" for node in nodes]
    for text, box in zip(texts, [box for box in boxes for _ in range(2)], strict=True):
        assert box.holds((float(text.attrib["x"]), float(text.attrib["y"])))
    found: Counter[tuple[int, int]] = Counter()
    for path in root.findall(f"{SVG}path"):
        run = list(points(path.attrib["d"]))
        assert not any(box.holds(point) for point in run for box in boxes)
        source, target = (
            next(
                node
                for node, box in zip(nodes, boxes, strict=True)
                if box.left < x < box.right and abs(y - border(box)) < 0.11
            )
            for (x, y), border in ((run[0], lambda b: b.bottom), (run[-1], lambda b: b.top))
        )
        found[source, target] += 1
    wanted = Counter((s, t) for t, node in enumerate(network.nodes) for s in node.inputs)
    assert found == wanted
    return root


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_samples(path: Path) -> None:
    root = check(load(str(path)))
    assert root.find(f"{SVG}title") is not None


def test_no_edges_of_the_samples_cross() -> None:
    for path in SAMPLES.glob("*.toml"):
        placed = diagram._Rows(load(str(path)), diagram.Sizes(100, 40))
        placed.order_cells()
        assert placed.crossings() == 0, path


def test_arms_without_boxes_leave_the_others_in_one_line() -> None:
    network = Network.of(Tensor((8, 8), 4), parse("relu [residual[conv:4,k=3,p=1 relu]]x3 relu"))
    boxes = diagram.place_boxes(network, diagram.Sizes(100, 40)).boxes
    middles = [box.x for box in boxes]
    assert max(middles) - min(middles) < 1


def test_equal_arms_are_side_by_side_around_the_middle() -> None:
    network = Network.of(Tensor((8, 8), 4), parse("concat[conv:4,k=1 | conv:8,k=1] relu"))
    by_node = {box.node: box for box in diagram.place_boxes(network, diagram.Sizes(100, 40)).boxes}
    assert by_node[0].y == by_node[1].y
    assert by_node[0].x < by_node[-1].x == by_node[2].x < by_node[1].x


@pytest.mark.parametrize("seed", range(12))
def test_any_acyclic_network(seed: int) -> None:
    random_ = random.Random(seed)
    x = Tensor((4, 4), 2)
    others = (x,) * random_.randrange(3)
    nodes = []
    for number in range(random_.randrange(1, 60)):
        sources = [random_.randrange(-1 - len(others), number) for _ in range(random_.randrange(4))]
        nodes.append(Node(f"n{number}", "", None, tuple(sources), x, Step(x)))
    check(Network(x, tuple(nodes), others=others))


def test_names_are_escaped_and_long_ones_shortened() -> None:
    network = build(
        {
            "name": '<b> & "c" \x07 größer 망',
            "input": "8",
            "layers": "conv:4,k=1 " + "b" * 60 + ":4",
            "blocks": {"b" * 60: {"parameters": "c", "layers": "conv:{c},k=1"}},
        }
    )
    x = Tensor((), 3)
    texts = ["<&>", "x" * 99, "망" * 60, "\x1b[2J"]
    nodes = tuple(Node(text, "", None, (-1,), x, Step(x)) for text in texts)
    title = check(network).findtext(f"{SVG}title")
    assert title == '<b> & "c" \\x07 größer 망'
    labels = [
        element.text
        for element in check(Network(x, nodes)).findall(f"{SVG}text")
        if element.get("class") == "layer"
    ]
    assert labels == ["input", "<&>", "x" * 43 + "…", "망" * 21 + "…", "\\x1b[2J"]


def test_the_tooltip_has_formula_and_cost() -> None:
    network = Network.of(Tensor((8, 8), 3), parse("conv:4,k=3 relu"))
    told = [title.text for title in check(network).iterfind(f"{SVG}rect/{SVG}title")]
    assert told == [
        "input",
        "1: conv:4,k=3; 8 - 3 + 1 = 6; 112 parameters; 3,888 multiply-adds",
        "2: relu",
    ]


def test_too_many_layers_are_refused() -> None:
    network = Network.of(Tensor((8,), 1), parse(f"[relu]x{diagram.MOST_CELLS}"))
    with pytest.raises(LimitError, match="a diagram of too many layers; expected at most 20,000"):
        svg(network)


@pytest.mark.slow
def test_models_of_the_onnx_package() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.backend.test.case.node import collect_testcases

    from convcli.errors import InputError
    from convcli.network.read_onnx import of_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases divide by zero on purpose
        found = [case.model for case in collect_testcases(None) if case.model is not None]
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    found += [onnx.load(path) for path in data.rglob("model.onnx")]
    drawn = 0
    for model in found:
        try:
            network = of_model(model)
        except InputError:  # it has no layers, or inputs without shapes
            continue
        check(network)
        drawn += 1
    assert drawn > 300
