"""Write a network as an SVG picture: a box per layer with its output shape, and edges between."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from convcli.errors import printable
from convcli.network.diagram import Box, Edge, Sizes, place_boxes
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import PARAMETERS, WORK
from convcli.network.summary import formulas

LETTER = 7.3
"""Width of a letter in a box, in pixels: 0.6 of the font's size, as monospaced fonts have it."""

LONGEST = 44
"""Maximum length of a line in a box, in letters; a longer one ends in an ellipsis."""

MARGIN = 16
HEADING = 28
BOX_HEIGHT = 44

COLOURS = {
    "input": ("#eceff1", "#37474f", "#2b3236"),
    "weights": ("#d7e8fb", "#1565c0", "#14304f"),
    "window": ("#d9f0e3", "#1b7f4b", "#143826"),
    "each": ("#f6f1dc", "#8a6d00", "#3a3315"),
    "merge": ("#f3def3", "#8e24aa", "#3f1d47"),
}
"""Fill, border and fill in dark mode, by what a layer does: it has weights, slides a window, acts
on each value, or merges branches."""

STYLE = """
svg { background: #fff; color: #1a1a1a; }
text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: currentColor;
  text-anchor: middle; }
.heading { font-weight: bold; text-anchor: start; }
.layer { font-weight: bold; }
path { fill: none; stroke: #78828a; stroke-width: 1.4; }
marker path { fill: #78828a; stroke: none; }
"""


def svg(network: Network) -> str:
    """Return a network as the text of an SVG file.

    A box names its layer and output shape; its tooltip has the number, the blocks that it is in,
    the formula and the cost. Raises LimitError for a network of too many layers.

    >>> import re
    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> text = svg(Network.of(Tensor((8, 8), 1), parse("conv:4,k=3 relu"), name="a < b"))
    >>> re.findall("<(?:rect|text) .*", text)[-2:]
    ['<text class="layer" x="92.6" y="211">relu</text>', '<text x="92.6" y="227">6x6x4</text>']
    >>> re.search("<title>(.*)</title>", text)[1]
    'a &lt; b'
    """
    lines = {box: _lines(network, box) for box in (*network.inputs, *range(len(network.nodes)))}
    heading = _heading(network)
    letters = max(map(_letters, chain.from_iterable(lines.values())))
    placed = place_boxes(network, Sizes(letters * LETTER + 20, BOX_HEIGHT))
    width = max(placed.width, _letters(heading) * LETTER) + 2 * MARGIN
    height = placed.height + HEADING + 2 * MARGIN
    shift = (width - placed.width) / 2, MARGIN + HEADING
    body = [
        *(_edge(edge, shift) for edge in placed.edges),
        *chain.from_iterable(_box(network, box, lines[box.node], shift) for box in placed.boxes),
    ]
    size = f"{_number(width)} {_number(height)}"
    return "\n".join([*_head(network, heading, size), *body, "</svg>", ""])


def _head(network: Network, heading: str, size: str) -> Iterator[str]:
    """Yield the lines before the drawing: the size, a title, the style and the heading."""
    width, height = size.split()
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {size}" role="img">'
    )
    yield f"<title>{escape(printable(network.name or 'network'))}</title>"
    dark = "".join(f"  .{name} {{ fill: {fill}; }}\n" for name, (_, _, fill) in COLOURS.items())
    light = "".join(
        f".{name} {{ fill: {fill}; stroke: {border}; }}\n"
        for name, (fill, border, _) in COLOURS.items()
    )
    yield f"<style>{STYLE}{light}@media (prefers-color-scheme: dark) {{"
    yield f"  svg {{ background: #15191c; color: #e8eaec; }}\n{dark}}}</style>"
    yield (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    )
    yield f'<text class="heading" x="{MARGIN}" y="{MARGIN + 12}">{escape(heading)}</text>'


def _heading(network: Network) -> str:
    """Return the name of the network, its input and its output."""
    sizes = f"{network.show(network.x)} -> {network.show(network.output)}"
    return printable(f"{network.name}: {sizes}" if network.name else sizes)


def _lines(network: Network, box: int) -> tuple[str, str]:
    """Return the two lines of a box: the layer and its output shape."""
    name = "input" if box == INPUT else f"input {INPUT - box + 1}"
    name = name if box <= INPUT else network.nodes[box].text
    shape = network.show(network.tensor(box)) or "scalar"
    return _shortened(printable(name)), shape


def _shortened(text: str) -> str:
    """Return a text of at most LONGEST letters.

    >>> len(_shortened("x" * 100)), _shortened("relu")
    (44, 'relu')
    """
    if _letters(text) <= LONGEST:
        return text
    while _letters(text) >= LONGEST:
        text = text[:-1]
    return f"{text}…"


def _letters(text: str) -> int:
    """Return the width of a text in letters; those of Chinese, Japanese and Korean count two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _edge(edge: Edge, shift: tuple[float, float]) -> str:
    """Return an edge as a path: a curve between two rows, a line along each that it passes."""
    points = [(x + shift[0], y + shift[1]) for x, y in edge.points]
    (x, y), *rest = points
    parts = [f"M{_number(x)} {_number(y)}"]
    for number, (next_x, next_y) in enumerate(rest):
        if number % 2 or next_x == x:
            parts.append(f"L{_number(next_x)} {_number(next_y)}")
        else:
            middle = _number((y + next_y) / 2)
            parts.append(
                f"C{_number(x)} {middle} {_number(next_x)} {middle} "
                f"{_number(next_x)} {_number(next_y)}"
            )
        x, y = next_x, next_y
    return f'<path d="{" ".join(parts)}" marker-end="url(#arrow)"/>'


def _box(
    network: Network, box: Box, lines: tuple[str, str], shift: tuple[float, float]
) -> Iterator[str]:
    """Yield a box with its tooltip and its two lines of text."""
    node = network.nodes[box.node] if box.node > INPUT else None
    x, y = box.x + shift[0], box.y + shift[1]
    told = "input" if node is None else _told(box.node + 1, node)
    yield (
        f'<rect class="{_colour(node)}" x="{_number(x)}" y="{_number(y)}" '
        f'width="{_number(box.width)}" height="{_number(box.height)}" rx="6">'
        f"<title>{escape(printable(told))}</title></rect>"
    )
    middle = _number(x + box.width / 2)
    for style, line, at in zip((' class="layer"', ""), lines, (19, 35), strict=True):
        yield f'<text{style} x="{middle}" y="{_number(y + at)}">{escape(line)}</text>'


def _colour(node: Node | None) -> str:
    """Return which of COLOURS a layer has; None is an input."""
    if node is None:
        return "input"
    if node.merges:
        return "merge"
    if node.parameters and (node.axes or node.step.macs):
        return "weights"
    return "window" if node.axes else "each"


def _told(number: int, node: Node) -> str:
    """Return a layer's number, its text, the blocks that it is in, its formula and its cost."""
    step = node.step
    parts = [f"{number}: {node.text}", node.path and f"in {node.path}", formulas(node)]
    if PARAMETERS not in step.unknown and node.parameters:
        parts.append(f"{node.parameters:,} parameters")
    if WORK not in step.unknown and step.macs:
        parts.append(f"{step.macs:,} multiply-adds")
    return "; ".join(filter(None, parts))


def _number(value: float) -> str:
    """Return a coordinate with at most one decimal.

    >>> _number(12.0), _number(7.25), _number(-0.01)
    ('12', '7.2', '0')
    """
    return f"{round(value, 1) + 0.0:g}" if abs(value) < 1e5 else f"{value:.1f}"
