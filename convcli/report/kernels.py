"""The bank and single kernels, as tables, pictures and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from convcli.io import Written
from convcli.kernels import Entry, Kernel, factorize, listing, response
from convcli.report.text import columns, make_console
from convcli.shapes import show


def kernels_json() -> dict[str, Any]:

    return {
        "kernels": [
            {
                "names": list(entry.names),
                "parameters": {p.name: {"default": p.default, "meaning": p.meaning} for p in entry.parameters},
                "meaning": entry.describe(),
                "source": entry.source,
            }
            for entry in listing()
        ]
    }


def print_kernels() -> None:
    """One row for each family of the bank."""
    table = Table(box=None, pad_edge=False)
    table.add_column("kernel", style="bold", overflow="fold")
    table.add_column("parameters", overflow="fold")
    table.add_column("meaning", overflow="fold")
    for entry in listing():
        given = ", ".join(f"{p.name}={p.default}" for p in entry.parameters)
        table.add_row(_family(entry), given, entry.describe())
    make_console().print(table)


def print_kernel(kernel: Kernel) -> None:
    """Taps, numbers and meaning, and the picture: one coloured cell a tap."""
    told = response(kernel)
    terms = kernel.terms or factorize(kernel.taps)
    rank = f"{len(terms)}: " + " + ".join(_term(term) for term in terms[:2]) + (" + ..." if len(terms) > 2 else "")
    rows = [
        ("size", show(kernel.shape)),
        ("sum", f"{kernel.sum:.6g}"),
        ("gain at zero frequency", f"{told.flat:.6g}"),
        ("separable rank", rank),
        ("response", told.line),
        ("meaning", kernel.meaning),
        ("source", kernel.source),
    ]
    console = make_console()
    console.print(kernel.name, style="bold", highlight=False)
    console.print("\n".join(columns([(label, text) for label, text in rows if text])), highlight=False, markup=False)
    console.print(_taps(kernel), highlight=False, markup=False)
    for picture in _pictures(kernel, console.width):
        console.print(picture)


def kernel_json(kernel: Kernel) -> dict[str, Any]:

    terms = kernel.terms or factorize(kernel.taps)
    return {
        "name": kernel.name,
        "shape": list(kernel.shape),
        "taps": kernel.taps.tolist(),
        "sum": kernel.sum,
        "gain": kernel.gain,
        "rank": len(terms),
        "terms": [[factor.tolist() for factor in term] for term in terms],
        "response": vars(response(kernel)),
        "meaning": kernel.meaning,
        "source": kernel.source,
    }


def export_line(kernel: Kernel, written: Written) -> str:
    return f"{kernel.name} {show(kernel.shape)} -> {written.path} ({written.format}, {written.bytes:,} bytes)"


def export_json(kernel: Kernel, written: Written) -> dict[str, Any]:
    return {"name": kernel.name, "shape": list(kernel.shape), "written": vars(written)}


def _family(entry: Entry) -> str:
    variants = list(entry.variants)
    return f"{entry.name}-{{{','.join(variants)}}}" if variants else entry.name


def _term(term: Sequence[NDArray[Any]]) -> str:
    """A product of 1-D factors, in numbers while they are few."""
    if sum(len(factor) for factor in term) > 16:
        return " x ".join(f"({len(factor)} taps)" for factor in term)
    return " x ".join("(" + " ".join(f"{tap:.4g}" for tap in factor) + ")" for factor in term)


def _taps(kernel: Kernel) -> str:
    with np.printoptions(precision=4, suppress=True, threshold=200, edgeitems=4, linewidth=100):
        return str(kernel.taps)


def _pictures(kernel: Kernel, width: int) -> Iterator[Text]:
    """Each 2-D slice as two characters a tap: + or - on red or blue, by sign and magnitude."""
    largest = float(abs(kernel.taps).max()) or 1.0
    lines = kernel.taps.reshape(-1, *kernel.shape[-2:]) if kernel.taps.ndim > 1 else kernel.taps.reshape(1, 1, -1)
    step = -(-2 * lines.shape[-1] // width)
    for plane in lines[:8]:
        picture = Text()
        for count, row in enumerate(plane[::step]):
            picture.append("\n" if count else "")
            for tap in row[::step]:
                strength = round(255 * abs(float(tap)) / largest)
                colour = (
                    f"rgb({strength},40,40)" if tap > 0 else f"rgb(40,40,{strength})" if tap < 0 else "rgb(40,40,40)"
                )
                picture.append("+ " if tap > 0 else "- " if tap < 0 else "  ", style=f"bright_white on {colour}")
        yield picture
