"""A layer's sizes and costs, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from convcli.cli.report.text import axis_json, axis_names, columns, formula, reading
from convcli.shapes.layer import Layer
from convcli.shapes.spec import show


def layer_lines(layer: Layer) -> list[str]:
    """The output shape on a line of its own, then where every number comes from."""
    a = layer.arrangement
    counted = " and a bias each" if layer.biases > 1 else " and a bias" if layer.biases else ""
    rows = [(name, formula(axis)) for name, axis in zip(axis_names(a.dims), layer.axes, strict=True)]
    rows += [
        ("channels", reading(a, transposed=layer.axes[0].transposed)),
        ("weights", f"{'*'.join(map(str, a.kernel))}{counted} = {layer.parameters:,}"),
        ("work", f"{layer.macs:,} multiply-adds"),
        ("dense", _dense(layer)),
    ]
    return [show(layer.output), *columns(rows)]


def layer_json(layer: Layer) -> dict[str, Any]:
    a = layer.arrangement
    return {
        "input": list(a.shape),
        "kernel": list(a.kernel),
        "output": list(layer.output),
        "dims": a.dims,
        "reading": a.reading,
        "groups": a.groups,
        "layout": a.layout,
        "transposed": layer.axes[0].transposed,
        "axes": [axis_json(axis) for axis in layer.axes],
        "parameters": layer.parameters,
        "bias_counted": layer.bias,
        "macs": layer.macs,
        "dense_parameters": layer.dense_parameters,
    }


def _dense(layer: Layer) -> str:
    times = layer.dense_parameters / layer.parameters
    return (
        f"a fully connected layer of the same shapes has {layer.dense_parameters:,} parameters, "
        f"{times:,.{0 if times >= 10 else 1}f} times as many"
    )
