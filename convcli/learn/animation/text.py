"""The words and numbers of an animation: its title, the names of its parts, and its sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from convcli.drawing.canvas import text_width
from convcli.learn.animation.layout import Names, margin, text_size
from convcli.learn.animation.scene import Frame, Scene, Term
from convcli.learn.page.layer import PageLayer

CAPTION_LINES = 2
"""The most lines of text for the sum."""

DIGITS = 6
"""Significant digits of the numbers of a sum."""


def number(value: float, digits: int = DIGITS) -> str:
    """Format a number of a sum; whole numbers below a million are exact.

    >>> number(3.0), number(-0.25), number(1 / 3), number(1e9), number(-0.0)
    ('3', '-0.25', '0.333333', '1e9', '0')
    """
    text = f"{value + 0.0:.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def product(term: Term) -> str:
    """Format a product without its sign.

    >>> product(Term(-2, 3)), product(Term(2, -0.5))
    ('2*3', '2*(-0.5)')
    """
    weight = number(term.w)
    return f"{number(abs(term.x))}*{f'({weight})' if term.w < 0 else weight}"


def caption(name: str, frame: Frame, width: int) -> list[str]:
    """Return the text below a frame on a picture of that width: its value as a sum of products."""
    size, room = text_size(width), width - 2 * margin(width)
    return sum_lines(name, frame, room, CAPTION_LINES, lambda text: text_width(text, size))


def sum_lines(
    name: str, frame: Frame, width: float, lines: int, measure: Callable[[str], float] = len
) -> list[str]:
    """Write a frame's value as a sum of products, in lines of at most this width.

    name: of the value. measure: returns the width of a text. If the sum does not fit, its last
    products are replaced by their number and sum.

    >>> frame = Frame(0, (1,), (), (), None, ((Term(1, 0), Term(-2, 3)),), -6.0)
    >>> sum_lines("y[1]", frame, 80, 1)
    ['y[1] = 1*0 - 2*3 = -6']
    >>> frame = Frame(0, (1,), (), (), None, ((Term(1, 5),) * 9,), 45.0)
    >>> sum_lines("y[1]", frame, 40, 1)
    ['y[1] = 1*5 + 1*5 + 7 more (35) = 45']
    >>> sum_lines("y[1]", frame, 25, 2)
    ['y[1] = 1*5 + 1*5 + 1*5', '+ 1*5 + 5 more (25) = 45']
    """
    terms = list(chain.from_iterable(frame.terms))
    most = min(len(terms), int(width * lines / measure("+ 1*1 ")) + 1)
    for shown in range(most, -1, -1):
        words = [f"{name} =", *_sum(terms[:shown])]
        if rest := terms[shown:]:
            words.append(f"{'+ ' if shown else ''}{len(rest)} more ({number(_total(rest))})")
        words.append(f"{'' if terms else '0 '}= {number(frame.value)}")
        wrapped = _wrap(words, width, measure)
        if len(wrapped) <= lines:
            break
    return wrapped[:lines]


def _sum(terms: Sequence[Term]) -> Iterator[str]:
    for place, term in enumerate(terms):
        sign = "-" if term.x < 0 else "+"
        yield f"{sign} {product(term)}" if place else f"{sign}{product(term)}".removeprefix("+")


def _total(terms: Sequence[Term]) -> float:
    values = [term.product for term in terms]
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def _wrap(words: Sequence[str], width: float, measure: Callable[[str], float]) -> list[str]:
    """Wrap words into lines; the width of a line is that of its words and of the spaces between."""
    space = measure(" ")
    lines: list[list[str]] = [[]]
    used = 0.0
    for word in words:
        own = measure(word)
        if lines[-1] and used + space + own > width:
            lines.append([])
            used = 0.0
        used += own + (space if lines[-1] else 0)
        lines[-1].append(word)
    return [" ".join(line) for line in lines]


def names(layer: PageLayer, scene: Scene) -> Names:
    """Return what the grids of a scene are called."""
    words = {"x": "input x", "y": "output y", "dy": "upstream dy", "w": "kernel w"}
    turned = ", flipped" if scene.flipped else ""
    result = words["y"] if scene.view == "forward" else scene.view
    return Names(words[scene.source], words[scene.weights] + turned, result)


def title(layer: PageLayer, scene: Scene, subject: str) -> str:
    """Describe the convolution and what is computed, without options that do nothing.

    subject: the names of input and kernel.

    >>> import numpy as np
    >>> from convcli.learn.animation.scene import make_scene
    >>> from convcli.shapes.spec import ConvSpec
    >>> spec = ConvSpec.of(1, stride=2, padding="same", boundary="edge")
    >>> layer = PageLayer(np.ones((1, 4)), np.ones((1, 3, 1)), spec, "correlate")
    >>> title(layer, make_scene(layer, "dx", np.ones((1, 2))), "x.csv with w.csv")
    'x.csv with w.csv: correlate, stride 2, padding 0:1 edge; gradient of the input'
    """
    spec = layer.spec
    parts: list[str] = [layer.op]
    if layer.transposed:
        turned = " of the flipped kernel" if layer.op == "convolve" else ""
        parts = [f"transposed convolution{turned}"]
    for word, values in (("stride", spec.stride), ("dilation", spec.dilation)):
        if any(value != 1 for value in values):
            parts.append(f"{word} {_per_axis(values)}")
    if any(axis.lo or axis.hi for axis in layer.axes):
        pads = [f"{axis.lo}:{axis.hi}" if axis.lo != axis.hi else axis.lo for axis in layer.axes]
        parts.append(f"padding {_per_axis(pads)}{_filling(layer)}")
    if any(spec.output_padding):
        parts.append(f"output padding {_per_axis(spec.output_padding)}")
    if spec.groups > 1:
        parts.append(f"{spec.groups} groups")
    ends = {"forward": "", "dx": "; gradient of the input", "dw": "; gradient of the kernel"}
    return f"{subject}: {', '.join(parts)}{ends[scene.view]}"


def _filling(layer: PageLayer) -> str:
    """Return how padding is filled, if not with zeros."""
    if layer.transposed or (layer.spec.boundary == "constant" and layer.spec.cval == 0):
        return ""
    if layer.spec.boundary == "constant":
        return f" of {number(layer.spec.cval)}"
    return f" {layer.spec.boundary}"


def _per_axis(values: Sequence[object]) -> str:
    return str(values[0]) if len(set(values)) == 1 else ",".join(map(str, values))
