"""A network's layers as aligned lines, JSON, CSV or Markdown; and the answers to questions about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from convcli.cli.report.text import axis_json, axis_names, columns, formula, reading
from convcli.errors import printable
from convcli.limits import show_bytes
from convcli.shapes.layer import Layer
from convcli.shapes.parse import show

if TYPE_CHECKING:
    from convcli.network.graph import Network
    from convcli.network.inverse import Chain, Need
    from convcli.network.receptive_field import Box
    from convcli.network.summary import Rival, Row, Summary


class Column(NamedTuple):
    """One column of the table: its head, how a cell reads, and the plain value behind it."""

    head: str
    text: Callable[[Row], str]
    value: Callable[[Row], Any]
    left: bool = False


def _per_axis(values: Sequence[float]) -> str:
    """Format one number if all axes agree, else one per axis: `11`, `3x5`; empty for no axes."""
    shown = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
    return shown[0] if len(set(shown)) == 1 else "x".join(shown)


def _dropped(row: Row) -> str:
    if not any(row.dropped):
        return ""
    return _per_axis(row.dropped) + "*" * row.lost


def _indented(row: Row) -> str:
    return "  " * (row.path.count("/") + 1 if row.path else 0) + row.layer


def _table(summary: Summary, formula: bool) -> list[Column]:
    unit = summary.count.unit
    found = [
        Column("#", lambda row: str(row.number), lambda row: row.number),
        Column("layer", _indented, lambda row: row.layer, left=True),
        Column("output", lambda row: row.output, lambda row: row.output, left=True),
        Column("parameters", lambda row: f"{row.parameters:,}", lambda row: row.parameters),
        Column(unit, lambda row: f"{row.work:,}", lambda row: row.work),
        Column("share", lambda row: f"{row.share:.1%}", lambda row: row.share),
        Column("memory", lambda row: show_bytes(row.memory, short=True), lambda row: row.memory),
        Column("field", lambda row: _per_axis(row.field), lambda row: _per_axis(row.field)),
        Column("jump", lambda row: _per_axis(row.jump), lambda row: _per_axis(row.jump)),
        Column("pad", lambda row: _per_axis(row.padding), lambda row: _per_axis(row.padding)),
        Column("centre", lambda row: _per_axis(row.centre), lambda row: _per_axis(row.centre)),
        Column("dropped", _dropped, lambda row: _per_axis(row.dropped or (0,))),
    ]
    if formula:
        found.append(Column("formula", lambda row: row.formula, lambda row: row.formula, left=True))
    for index, rival in enumerate(summary.rivals):
        found.append(_rival_column(index, rival.name))
    return found


def _rival_column(index: int, name: str) -> Column:
    def parameters(row: Row) -> int | None:
        return row.rivals[index].parameters if row.rivals else None

    return Column(name, lambda row: f"{parameters(row):,}" if row.rivals else "", parameters)


# The report.


def summary_lines(summary: Summary, *, formula: bool = False) -> list[str]:
    """Describe a network: input and output, the table, the totals with their conventions, and the marks."""
    return [headline(summary.network), *_aligned(_table(summary, formula), summary.rows), *columns(_totals(summary))]


def summary_markdown(summary: Summary, *, formula: bool = False) -> list[str]:
    table = _table(summary, formula)
    rows = [[column.text(row).strip() for column in table] for row in summary.rows]
    return [
        headline(summary.network),
        "",
        _piped(column.head for column in table),
        _piped("---" if column.left else "---:" for column in table),
        *map(_piped, rows),
        "",
        *(f"- {label}: {text}" for label, text in _totals(summary)),
    ]


def summary_csv(summary: Summary, *, formula: bool = False) -> list[str]:
    """Return one line for each layer, in plain numbers; work and memory are for the whole batch."""
    import csv
    import io

    table = [*_table(summary, formula), Column("path", lambda row: row.path, lambda row: row.path)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.head for column in table])
    writer.writerows([column.value(row) for column in table] for row in summary.rows)
    return text.getvalue().splitlines()


def summary_json(summary: Summary, *, formula: bool = False) -> dict[str, Any]:
    network = summary.network
    count = summary.count
    return {
        "name": network.name,
        "input": list(network.x.shape(network.layout)),
        "output": list(network.output.shape(network.layout)),
        "layout": network.layout,
        "unknown": list(network.opaque),
        "count": count.unit,
        "with_bias": count.with_bias,
        "convention": count.convention,
        "batch": count.batch,
        "dtype": summary.dtype,
        "layers": [_row_json(row, formula, bool(summary.versus)) for row in summary.rows],
        "totals": {
            "parameters": summary.parameters,
            "work": summary.work,
            "activation_bytes": summary.activations,
            "parameter_bytes": summary.weights,
            "inference_peak_bytes": summary.inference,
            "training_peak_bytes": summary.training,
            **({"versus": _rivals_json(summary.rivals)} if summary.versus else {}),
        },
    }


def headline(network: Network) -> str:
    named = f"{printable(network.name)}: " if network.name else ""
    layers = "1 layer" if len(network.nodes) == 1 else f"{len(network.nodes):,} layers"
    return f"{named}{network.show(network.x)} -> {network.show(network.output)}, {layers}"


def _totals(summary: Summary) -> list[tuple[str, str]]:
    count = summary.count
    size = partial(show_bytes, short=True)
    batch = f"a batch of {count.batch}" if count.batch > 1 else "one item"
    rows = [
        ("parameters", f"{summary.parameters:,} ({size(summary.weights)} of {summary.dtype})"),
        (count.unit, f"{summary.work:,} for {batch}; {count.convention}"),
        ("activations", f"{size(summary.activations)} of {summary.dtype} for {batch}"),
        (
            "alive at once",
            f"{size(summary.inference)} while it runs, {size(summary.training)} while it trains",
        ),
    ]
    rows += [(rival.name, _against(rival, summary)) for rival in summary.rivals]
    if summary.versus and not summary.rivals:
        rows.append((summary.versus, "no layer of these has a counterpart to compare with"))
    if summary.network.opaque:
        rows.append(("unknown", f"{', '.join(summary.network.opaque)}: passed through by the shapes that are declared"))
    if any(row.lost for row in summary.rows):
        rows.append(("*", "the floor drops samples of the input, not of its padding alone"))
    if crooked := [row for row in summary.rows if not row.aligned]:
        rule = "their centres or jumps differ; the field is what all see, or with unlike jumps the widest"
        rows.append(("misaligned", f"paths that meet in layer {crooked[0].number}: {rule}"))
    return rows


def _against(rival: Rival, summary: Summary) -> str:
    times = rival.parameters / summary.parameters if summary.parameters else 0
    digits = 0 if times >= 10 else 2
    work = summary.count.of(rival.macs)
    return f"{rival.parameters:,} parameters, {times:,.{digits}f} times as many; {work:,} {summary.count.unit}"


def _row_json(row: Row, formula: bool, versus: bool) -> dict[str, Any]:
    record = {
        "layer": row.layer,
        "path": row.path,
        "output": row.output,
        "parameters": row.parameters,
        "work": row.work,
        "share": row.share,
        "bytes": row.memory,
        "receptive_field": row.field,
        "jump": row.jump,
        "effective_padding": row.padding,
        "centre": row.centre,
        "dropped": row.dropped,
        "lost": row.lost,
        "aligned": row.aligned,
    }
    extra = {"formula": row.formula} if formula else {}
    return {**record, **extra, **({"versus": _rivals_json(row.rivals)} if versus else {})}


def _rivals_json(rivals: Iterable[Rival]) -> list[dict[str, Any]]:
    return [{"name": rival.name, "parameters": rival.parameters, "macs": rival.macs} for rival in rivals]


def _aligned(table: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Align cells in columns; columns without any entry are left out."""
    filled = []
    for column in table:
        cells = [column.text(row) for row in rows]
        if any(cells):
            width = max(len(column.head), max(map(len, cells)))
            filled.append([f"{cell:<{width}}" if column.left else f"{cell:>{width}}" for cell in (column.head, *cells)])
    return ["  ".join(line).rstrip() for line in zip(*filled, strict=True)]


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# The answers.


def at_lines(network: Network, at: Sequence[int], sees: Box, reaches: Box | None) -> list[str]:
    """Describe what an output depends on, and what the input at its index reaches."""
    where = ",".join(map(str, at))
    rows = [("sees", f"output {where} of {show(network.output.spatial)} sees {_box(sees)} of the input")]
    if reaches is not None:
        rows.append(("reaches", f"input {where} of {show(network.x.spatial)} reaches {_box(reaches)} of the output"))
    return [headline(network), *columns(rows)]


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
    spans = " and ".join(f"{name} {a} to {b}" for name, (a, b) in zip(names, box.spans, strict=True))
    size = f" ({show(len(axis) for axis in box.axes)})"
    return spans + (size if box.gapless else f"{size}, with holes between")


def needs_lines(wanted: Sequence[int], needs: Sequence[Need]) -> list[str]:
    """Return the smallest input on a line of its own, for scripts, then what each axis allows."""
    return [show(need.smallest for need in needs), *columns(_needs(wanted, needs))]


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
    return str(need.smallest) if need.smallest == need.largest else f"every size from {need.smallest} to {need.largest}"


def needs_json(wanted: Sequence[int], needs: Sequence[Need]) -> dict[str, Any]:
    return {
        "output": list(wanted),
        "needs": [{"least": n.smallest, "most": n.largest, "sizes": list(n.sizes) or None} for n in needs],
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
    heads = ("macs", "field", "sizes", "layers")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        f"{macs:>{widths[0]}}  {field:>{widths[1]}}  {sizes:<{widths[2]}}  {layers}"
        for macs, field, sizes, layers in (heads, *rows)
    ]


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


def layer_lines(layer: Layer) -> list[str]:
    """Return the output shape on a line of its own, then where every number comes from."""
    a = layer.conv_layout
    counted = ""
    if layer.biases:
        counted = " and a bias each" if layer.biases > 1 else " and a bias"
    rows = [(name, formula(axis)) for name, axis in zip(axis_names(a.dims), layer.axes, strict=True)]
    rows += [
        ("channels", reading(a, transposed=layer.axes[0].transposed)),
        ("weights", f"{'*'.join(map(str, a.kernel))}{counted} = {layer.parameters:,}"),
        ("work", f"{layer.macs:,} multiply-adds"),
        ("dense", _dense(layer)),
    ]
    return [show(layer.output), *columns(rows)]


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


def _dense(layer: Layer) -> str:
    times = layer.dense_parameters / layer.parameters
    return (
        f"a fully connected layer of the same shapes has {layer.dense_parameters:,} parameters, "
        f"{times:,.{0 if times >= 10 else 1}f} times as many"
    )
