"""The report of one entry of a gradient: its formula, its sum, and the terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convcli.cli.report.explain import boundary, head_rows, input_json
from convcli.cli.report.explain_tables import indexed, number
from convcli.cli.report.terminal import bold, dim, labelled, width, wrapped
from convcli.cli.report.text import axis_json, finite
from convcli.learn.formulas import Formula, gradient_formula
from convcli.learn.gathered import GatheredResult, Term

LISTED = 24
"""Maximum number of terms that are written out as one sum."""

MEANING = {
    ("dw", "correlate"): "the gradient of the kernel is the correlation of x with delta",
    ("dw", "convolve"): "the gradient of the kernel is the correlation of x with delta, flipped",
    ("dx", "correlate"): "the gradient of the input is the full convolution of delta with w",
    ("dx", "convolve"): "the gradient of the input is the full correlation of delta with w",
    ("db", "correlate"): "the gradient of the bias is the sum of delta",
    ("db", "convolve"): "the gradient of the bias is the sum of delta",
}
"""What each gradient is, by the operation of the forward pass."""


def gathered_lines(result: GatheredResult) -> list[str]:
    """Describe the convolution, the formula of the gradient, the sum and its terms."""
    name = f"{result.name}{indexed(result.index)}"
    formula = _formula(result)
    rows = [
        *head_rows(result.neuron),
        ("delta", _delta(result)),
        ("formula", f"{formula.from_0}, counted from 0"),
        ("textbooks", f"{formula.from_1}, counted from 1"),
        *(("where", text) for text in _where(result)),
        ("meaning", MEANING[result.name, result.neuron.op]),
    ]
    lines = [*labelled(rows, indent=""), ""]
    lines += map(bold, wrapped(f"{name} = {_sum(result)}", width(), "    "))
    lines += _terms(result)
    if any(term.padded for term in result.listed):
        text = f"(...) is of a place outside the input: boundary {boundary(result.neuron)}"
        lines += map(dim, wrapped(text, width()))
    return lines


def _formula(result: GatheredResult) -> Formula:
    neuron = result.neuron
    return gradient_formula(result.name, result.operands.conv_layout, neuron.axes, neuron.op)


def _delta(result: GatheredResult) -> str:
    """Return where delta is from."""
    neuron = result.neuron
    source = "" if neuron.backward is None else neuron.backward.source
    dy = f"dy ({source})"
    if neuron.activation is None:
        return f"{dy}, the gradient of the loss in y"
    z = "conv(x) + bias" if neuron.bias else "conv(x)"
    return f"{dy} * {neuron.activation}'(z), with z = {z}"


def _where(result: GatheredResult) -> Iterator[str]:
    """Yield the meaning of symbols that the formula has beyond the textbooks' one."""
    axes = result.neuron.axes
    padding = any(axis.lo or axis.hi for axis in axes)
    a = result.operands.conv_layout
    if result.name == "dw" and padding:
        ends = " x ".join(f"{axis.lo}:{axis.hi}" for axis in axes)
        yield f"x~ is x with padding {ends}, boundary {boundary(result.neuron)}"
    if result.name == "dx":
        yield "w counts where its index is a whole number and inside the kernel"
        if padding and result.operands.spec.boundary != "constant":
            yield "a place outside adds its own sum to the sample that it repeats"
    if a.channel_mode == "bank" and a.groups > 1 and result.name != "db":
        yield f"c' is channel c of the group, and o one of its {a.filters // a.groups} kernels"


def _sum(result: GatheredResult) -> str:
    """Write the sum with its numbers, and its value."""
    value = number(result.value)
    if not result.count:
        return f"{value}: no output sees this sample"
    if result.count > LISTED:
        return f"the sum of {result.count:,} terms = {value}"
    parts = [_product(term, result.name) for term in result.listed]
    return f"{' + '.join(parts).replace('+ -', '- ')} = {value}"


def _product(term: Term, name: str) -> str:
    if name == "db":
        return number(term.delta)
    product = f"{number(term.delta)}*{number(term.factor)}"
    return f"({product})" if term.padded else product


def _terms(result: GatheredResult) -> list[str]:
    """Return a line for each listed term, and one for the others."""
    factor = {"dw": "x", "dx": "w"}.get(result.name, "")
    rows = []
    for term in result.listed:
        left = f"delta{indexed(term.output)}"
        values = number(term.delta)
        if factor:
            source = "constant" if term.source is None else f"{factor}{indexed(term.source)}"
            left += f" * {source}"
            values += f" * {number(term.factor)} = {number(term.product)}"
        rows.append((f"({left})" if term.padded else f" {left} ", values))
    widest = max((len(left) for left, _ in rows), default=0)
    lines = [f" {left:<{widest}} = {values}" for left, values in rows]
    shown = [part for line in lines for part in wrapped(line, width(), "      ")]
    if result.more:
        text = f"  and {result.more:,} more terms, {number(result.rest)} in all; these are the "
        shown += wrapped(f"{text}largest, -v lists all", width(), "  ")
    return shown


def gathered_json(result: GatheredResult) -> dict[str, Any]:
    formula = _formula(result)
    neuron = result.neuron
    spec = result.operands.spec
    return {
        **input_json(neuron),
        "axes": [axis_json(axis) for axis in neuron.axes],
        "boundary": spec.boundary,
        "cval": finite(spec.cval),
        "upstream": None if neuron.backward is None else neuron.backward.source,
        "bias": neuron.bias,
        "activation": neuron.activation,
        "gradient": result.name,
        "index": list(result.index),
        "value": finite(result.value),
        "formula": formula._asdict(),
        "count": result.count,
        "terms": [_term_json(term) for term in result.listed],
        "more": {"count": result.more, "total": finite(result.rest)},
    }


def _term_json(term: Term) -> dict[str, Any]:
    return {
        "output": list(term.output),
        "source": None if term.source is None else list(term.source),
        "padded": term.padded,
        "delta": finite(term.delta),
        "factor": finite(term.factor),
        "product": finite(term.product),
    }
