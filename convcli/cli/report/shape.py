"""The reports of `convcli shape` for one kernel, and for questions about sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convcli.cli.report.network import headline
from convcli.cli.report.table import Column, table
from convcli.cli.report.terminal import labelled
from convcli.cli.report.text import axis_json, axis_names, formula, reading
from convcli.limits import show_bytes
from convcli.shapes.layer import Layer
from convcli.shapes.parse import counted, show

if TYPE_CHECKING:
    from convcli.network.graph import Network
    from convcli.network.inverse import Chain, Need
    from convcli.network.receptive_field import Box


def at_lines(network: Network, at: Sequence[int], sees: Box, reaches: Box | None) -> list[str]:
    """Describe what an output depends on, and what the input at its index reaches."""
    where = ",".join(map(str, at))
    rows = [
        ("sees", f"output {where} of {show(network.output.spatial)} sees {_box(sees)} of the input")
    ]
    if reaches is not None:
        rows.append(
            (
                "reaches",
                f"input {where} of {show(network.x.spatial)} reaches {_box(reaches)} of the output",
            )
        )
    return [headline(network), *labelled(rows)]


def at_json(network: Network, at: Sequence[int], sees: Box, reaches: Box | None) -> dict[str, Any]:
    return {
        "input": list(network.x.shape(network.layout)),
        "output": list(network.output.shape(network.layout)),
        "at": list(at),
        "sees": [list(axis) for axis in sees.axes],
        "reaches": None if reaches is None else [list(axis) for axis in reaches.axes],
    }


def _box(box: Box) -> str:
    if box.empty:
        return "nothing"
    names = axis_names(len(box.axes))
    spans = " and ".join(
        f"{name} {a} to {b}" for name, (a, b) in zip(names, box.spans, strict=True)
    )
    size = f" ({show(len(axis) for axis in box.axes)})"
    return spans + (size if box.gapless else f"{size}, with gaps")


def needs_lines(wanted: Sequence[int], needs: Sequence[Need]) -> list[str]:
    """Return the smallest input on the first line, for scripts, then what each axis allows."""
    return [show(need.smallest for need in needs), *labelled(_needs(wanted, needs))]


def _needs(wanted: Sequence[int], needs: Sequence[Need]) -> list[tuple[str, str]]:
    return [
        (name, f"{_need(need)} gives {size}")
        for name, size, need in zip(axis_names(len(needs)), wanted, needs, strict=True)
    ]


def _need(need: Need) -> str:
    if need.sizes:
        shown = ", ".join(map(str, need.sizes[:10])) + (", ..." if len(need.sizes) > 10 else "")
        return f"each of {shown}" if len(need.sizes) > 1 else shown
    if need.largest is None:
        return f"{need.smallest} and every larger size"
    return (
        str(need.smallest)
        if need.smallest == need.largest
        else f"every size from {need.smallest} to {need.largest}"
    )


def needs_json(wanted: Sequence[int], needs: Sequence[Need]) -> dict[str, Any]:
    return {
        "output": list(wanted),
        "needs": [
            {"least": n.smallest, "most": n.largest, "sizes": list(n.sizes) or None} for n in needs
        ],
    }


def chains_lines(chains: Sequence[Chain]) -> list[str]:
    """Return each chain on a line: cost, receptive field, sizes and layers."""
    rows = [
        (
            f"{chain.macs:,}",
            str(chain.field),
            " -> ".join(map(show, chain.sizes)),
            " ".join(link.token for link in chain.links),
        )
        for chain in chains
    ]
    macs, fields, sizes, layers = zip(*rows, strict=True)
    return table(
        [
            Column("macs", macs),
            Column("field", fields, worth=1),
            Column("sizes", sizes, left=True, worth=2),
            Column("layers", layers, left=True, least=24),
        ]
    )


def chains_json(chains: Sequence[Chain]) -> dict[str, Any]:
    return {
        "chains": [
            {
                "macs": chain.macs,
                "receptive_field": chain.field,
                "sizes": [list(sizes) for sizes in chain.sizes],
                "layers": [
                    {
                        "token": link.token,
                        "k": link.k,
                        "s": link.s,
                        "p": link.p,
                        "d": link.d,
                        "output_padding": link.output_padding,
                        "transposed": link.transposed,
                    }
                    for link in chain.links
                ],
            }
            for chain in chains
        ]
    }


def layer_lines(layer: Layer, *, verbose: bool = False) -> list[str]:
    """Return the output shape on the first line, then the origin of every number.

    verbose: the memory too.
    """
    a = layer.conv_layout
    counted = ""
    if layer.biases:
        counted = " and a bias each" if layer.biases > 1 else " and a bias"
    rows = [
        (name, formula(axis)) for name, axis in zip(axis_names(a.dims), layer.axes, strict=True)
    ]
    rows += [
        ("channels", reading(a, transposed=layer.axes[0].transposed)),
        ("weights", f"{'*'.join(map(str, a.kernel))}{counted} = {layer.parameters:,}"),
        ("work", f"{layer.macs:,} multiply-adds"),
        ("dense", _dense(layer)),
    ]
    if verbose:
        rows += [("input", _values(a.shape)), ("output", _values(layer.output))]
    return [show(layer.output), *labelled(rows)]


def layer_json(layer: Layer) -> dict[str, Any]:
    a = layer.conv_layout
    return {
        "input": list(a.shape),
        "kernel": list(a.kernel),
        "output": list(layer.output),
        "dims": a.dims,
        "reading": a.channel_mode,
        "groups": a.groups,
        "layout": a.layout,
        "transposed": layer.axes[0].transposed,
        "axes": [axis_json(axis) for axis in layer.axes],
        "parameters": layer.parameters,
        "bias_counted": layer.bias,
        "macs": layer.macs,
        "dense_parameters": layer.dense_parameters,
    }


def _values(shape: Sequence[int]) -> str:
    """Describe the number of values, and their memory."""
    count = math.prod(shape)
    return f"{counted(count, 'value')}, {show_bytes(4 * count, short=True)} of float32"


def _dense(layer: Layer) -> str:
    times = layer.dense_parameters / layer.parameters
    return (
        f"a fully connected layer of the same shapes has {layer.dense_parameters:,} parameters, "
        f"{times:,.{0 if times >= 10 else 1}f} times as many"
    )
