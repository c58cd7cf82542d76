"""A network's layers as a table, JSON, CSV or Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from convcli.cli.report.table import Column, pick, table
from convcli.cli.report.terminal import labelled
from convcli.cli.report.text import human
from convcli.errors import printable
from convcli.limits import show_bytes
from convcli.network.folding import fold
from convcli.network.layers import FIELD, PARAMETERS, WORK
from convcli.shapes.parse import show

if TYPE_CHECKING:
    from convcli.network.graph import Network
    from convcli.network.layers import Tensor
    from convcli.network.summary import Rival, Row, Summary


class Style(NamedTuple):
    """How a table is shown.

    formula: with formulas. columns: None for all that fit. verbose: every layer, exact numbers.
    """

    formula: bool = False
    columns: Sequence[str] | None = None
    verbose: bool = False


class Fact(NamedTuple):
    """One column of the table: its head, its cells as text and as values, and its worth.

    worth: 0 for a fact that is always shown; others are hidden if space is short, lowest first.
    """

    head: str
    text: Callable[[Row], str]
    value: Callable[[Row], Any]
    worth: int = 0
    left: bool = False


def _per_axis(values: Sequence[float]) -> str:
    """Format one number if all axes agree, else one per axis: `11`, `3x5`; empty for no axes."""
    shown = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
    return shown[0] if len(set(shown)) == 1 else "x".join(shown)


UNKNOWN = "?"
"""Printed for a number that the file does not define."""


def _known(row: Row, what: str, value: Any) -> Any:
    return UNKNOWN if what in row.unknown else value


def _seen(name: str) -> Callable[[Row], str]:
    """Return a function that formats one number of a layer's field."""
    return lambda row: _known(row, FIELD, _per_axis(getattr(row, name)))


def _marked_field(row: Row) -> str:
    return _seen("field")(row) + "~" * (not row.aligned)


def _share(row: Row) -> str:
    return UNKNOWN if row.share is None else f"{row.share:.1%}"


def _dropped(row: Row) -> str:
    if not any(row.dropped):
        return ""
    return _per_axis(row.dropped) + "*" * row.lost


def _indented(row: Row) -> str:
    return "  " * (row.path.count("/") + 1 if row.path else 0) + row.layer


def _facts(summary: Summary, style: Style) -> list[Fact]:
    """Return all columns that the table can have."""
    unit = summary.count.unit
    exact = style.verbose
    found = [
        Fact("#", _number, lambda row: row.number),
        Fact("layer", _indented, lambda row: row.layer, left=True),
        Fact("output", lambda row: show(row.output), lambda row: show(row.output), left=True),
        Fact(
            "parameters",
            lambda row: _known(row, PARAMETERS, f"{row.parameters:,}"),
            lambda row: _known(row, PARAMETERS, row.parameters),
            worth=11,
        ),
        Fact(
            unit,
            lambda row: _known(row, WORK, f"{row.work:,}" if exact else human(row.work)),
            lambda row: _known(row, WORK, row.work),
        ),
        Fact("share", _share, lambda row: UNKNOWN if row.share is None else row.share, worth=7),
        Fact(
            "memory",
            lambda row: show_bytes(row.memory, short=True),
            lambda row: row.memory,
            worth=6,
        ),
        Fact("field", _marked_field, _seen("field"), worth=8),
        Fact("jump", _seen("jump"), _seen("jump"), worth=4),
        Fact("pad", _seen("padding"), _seen("padding"), worth=2),
        Fact("centre", _seen("centre"), _seen("centre"), worth=1),
        Fact("dropped", _dropped, lambda row: _per_axis(row.dropped or (0,)), worth=5),
    ]
    if style.formula:
        found.append(
            Fact("formula", lambda row: row.formula, lambda row: row.formula, worth=9, left=True)
        )
    for index, rival in enumerate(summary.rivals):
        found.append(_rival_fact(index, rival.name))
    return found


def _rival_fact(index: int, name: str) -> Fact:
    def parameters(row: Row) -> int | None:
        return row.rivals[index].parameters if row.rivals else None

    return Fact(
        name, lambda row: f"{parameters(row):,}" if row.rivals else "", parameters, worth=10
    )


def _number(row: Row) -> str:
    return str(row.number) if row.last == row.number else f"{row.number}-{row.last}"


# The report.


def summary_lines(summary: Summary, style: Style) -> list[str]:
    """Describe a network: input and output, the table, the totals, and the marks."""
    rows = list(summary.rows) if style.verbose else fold(summary.rows)
    notes = _totals(summary)
    if len(rows) < len(summary.rows):
        notes.append(
            (
                "folded",
                f"named and repeated blocks; -v shows each of the {len(summary.rows):,} layers",
            )
        )
    return [
        headline(summary.network),
        *table(_columns(_facts(summary, style), rows, style), chosen=style.columns),
        *labelled(notes),
    ]


LEAST = {"layer": 36, "formula": 24}
"""The widths down to which these columns wrap."""


def _columns(facts: Sequence[Fact], rows: Sequence[Row], style: Style) -> list[Column]:
    """Return the columns of the facts that any row has, and of those that were chosen."""
    found = []
    for fact in facts:
        cells = [fact.text(row) for row in rows]
        if any(cells) or style.columns is not None:
            found.append(Column(fact.head, cells, fact.left, fact.worth, LEAST.get(fact.head, 0)))
    return found


def summary_markdown(summary: Summary, style: Style) -> list[str]:
    facts = _chosen(_facts(summary, style._replace(verbose=True)), style)
    return [
        headline(summary.network),
        "",
        _piped(fact.head for fact in facts),
        _piped("---" if fact.left else "---:" for fact in facts),
        *(_piped(fact.text(row).strip() for fact in facts) for row in summary.rows),
        "",
        *(f"- {label}: {text}" for label, text in _totals(summary)),
    ]


def _marks(row: Row) -> str:
    """Return the marks of a row in words: misaligned, lost, unknown."""
    marks = ["misaligned"] * (not row.aligned) + ["lost"] * row.lost
    return "; ".join([*marks, *(f"{what} unknown" for what in sorted(row.unknown))])


def _chosen(facts: Sequence[Fact], style: Style) -> list[Fact]:
    return list(facts) if style.columns is None else pick(facts, style.columns)


def summary_csv(summary: Summary, style: Style) -> list[str]:
    """Return one line for each layer, in plain numbers; work and memory are for the whole batch."""
    import csv
    import io

    more = [Fact("path", lambda row: row.path, lambda row: row.path), Fact("marks", _marks, _marks)]
    facts = _chosen([*_facts(summary, style), *more], style)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([fact.head for fact in facts])
    writer.writerows([fact.value(row) for fact in facts] for row in summary.rows)
    return text.getvalue().splitlines()


def summary_json(summary: Summary, *, formula: bool = False) -> dict[str, Any]:
    network = summary.network
    count = summary.count
    return {
        "name": network.name,
        "input": list(network.x.shape(network.layout)),
        "output": list(network.output.shape(network.layout)),
        "other_inputs": [list(x.shape(network.layout)) for x in network.others],
        "other_outputs": [list(y.shape(network.layout)) for y in _other_outputs(network)],
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
            "complete": summary.complete,
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
    inputs = ", ".join(map(network.show, (network.x, *network.others)))
    outputs = ", ".join(map(network.show, (network.output, *_other_outputs(network))))
    return f"{named}{inputs} -> {outputs}, {layers}"


def _other_outputs(network: Network) -> list[Tensor]:
    return [network.tensor(end) for end in network.outputs[1:]]


def _totals(summary: Summary) -> list[tuple[str, str]]:
    count = summary.count
    network = summary.network
    size = partial(show_bytes, short=True)
    batch = f"a batch of {count.batch}" if count.batch > 1 else "one item"
    least = "" if summary.complete else "at least "
    rows = [
        (
            "parameters",
            f"{least}{summary.parameters:,} ({size(summary.weights)} of {summary.dtype})",
        ),
        (
            count.unit,
            f"{least}{human(summary.work)}: {summary.work:,} for {batch}; {count.convention}",
        ),
        ("activations", f"{size(summary.activations)} of {summary.dtype} for {batch}"),
        (
            "memory needed",
            f"{size(summary.inference)} for inference, {size(summary.training)} for training",
        ),
    ]
    rows += [(rival.name, _against(rival, summary)) for rival in summary.rivals]
    if summary.versus and not summary.rivals:
        rows.append((summary.versus, "no layer has a counterpart to compare with"))
    if summary.network.opaque:
        kinds = ", ".join(network.opaque)
        rows.append(("unknown", f"{kinds}: the output shapes are those that the file declares"))
    if any(row.unknown for row in summary.rows):
        rows.append((UNKNOWN, f"not known: {'; '.join(_gaps(summary.rows))}"))
    if network.others:
        rows.append(("fields", f"in the first input, {network.show(network.x)}"))
    if any(row.lost for row in summary.rows):
        rows.append(("*", "rounding down drops samples of the input, not only of its padding"))
    if crooked := [row for row in summary.rows if not row.aligned]:
        rule = (
            "their centres or jumps differ; the field is their union, or if jumps differ the widest"
        )
        rows.append(("~ misaligned", f"paths that meet in layer {crooked[0].number}: {rule}"))
    return rows


def _gaps(rows: Iterable[Row]) -> list[str]:
    """Return in words what is unknown: the first missing field, and kinds without counts."""
    first = next((row for row in rows if FIELD in row.unknown), None)
    gaps = (
        []
        if first is None
        else [f"what outputs see of the input, first in layer {first.number} ({first.layer})"]
    )
    kinds = {
        what: dict.fromkeys(row.layer for row in rows if what in row.unknown)
        for what in (WORK, PARAMETERS)
    }
    return [
        *gaps,
        *(f"the {what} of {', '.join(layers)}" for what, layers in kinds.items() if layers),
    ]


def _against(rival: Rival, summary: Summary) -> str:
    times = rival.parameters / summary.parameters if summary.parameters else 0
    digits = 0 if times >= 10 else 2
    work = summary.count.of(rival.macs)
    parameters = f"{rival.parameters:,} parameters, {times:,.{digits}f} times as many"
    return f"{parameters}; {work:,} {summary.count.unit}"


def _row_json(row: Row, formula: bool, versus: bool) -> dict[str, Any]:
    def known(what: str, value: Any) -> Any:
        return None if what in row.unknown else value

    record = {
        "layer": row.layer,
        "path": row.path,
        "output": list(row.output),
        "parameters": known(PARAMETERS, row.parameters),
        "work": known(WORK, row.work),
        "share": row.share,
        "bytes": row.memory,
        "receptive_field": known(FIELD, row.field),
        "jump": known(FIELD, row.jump),
        "effective_padding": known(FIELD, row.padding),
        "centre": known(FIELD, row.centre),
        "dropped": row.dropped,
        "lost": row.lost,
        "aligned": row.aligned,
    }
    extra = {"formula": row.formula} if formula else {}
    return {**record, **extra, **({"versus": _rivals_json(row.rivals)} if versus else {})}


def _rivals_json(rivals: Iterable[Rival]) -> list[dict[str, Any]]:
    return [
        {"name": rival.name, "parameters": rival.parameters, "macs": rival.macs} for rival in rivals
    ]


def _piped(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
