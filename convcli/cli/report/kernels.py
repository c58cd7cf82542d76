"""The bank and single kernels, as tables, pictures and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from convcli.cli.report.text import columns, make_console, place, written_json
from convcli.errors import KernelError
from convcli.io import Written
from convcli.kernels import Kernel, KernelFamily, factorize, listing, response
from convcli.shapes.parse import show

SHADES = " ░▒▓█"
SLICES = 8
"""Planes of a kernel of three axes or more that are drawn."""


def kernels_json(pattern: str | None = None) -> dict[str, Any]:
    """Return the families of the bank, or those that match `pattern`."""
    return {
        "kernels": [
            {
                "names": list(entry.names),
                "parameters": {p.name: {"default": p.default, "meaning": p.meaning} for p in entry.parameters},
                "meaning": entry.describe(),
                "source": entry.source,
            }
            for entry in _matching(pattern)
        ]
    }


def print_kernels(pattern: str | None = None) -> None:
    """Print one row for each family of the bank, or for each that matches `pattern`."""
    table = Table(box=None, pad_edge=False)
    table.add_column("kernel", style="bold", overflow="fold")
    table.add_column("parameters", overflow="fold")
    table.add_column("meaning", overflow="fold")
    for entry in _matching(pattern):
        given = ", ".join(f"{p.name}={p.default}" for p in entry.parameters)
        table.add_row(_family(entry), given, entry.describe())
    make_console().print(table)


def _matching(pattern: str | None) -> list[KernelFamily]:
    """Return the families whose names or meaning contain the pattern. Raises KernelError if there are none."""
    wanted = (pattern or "").lower()
    found = [
        family for family in listing() if wanted in " ".join((family.name, *family.names, family.describe())).lower()
    ]
    if not found:
        raise KernelError(f"no kernel matches {pattern!r}", remedy="see all with 'convcli kernels list'")
    return found


def print_kernel(kernel: Kernel) -> None:
    """Print taps, numbers and meaning, and the picture: one coloured cell per tap."""
    gains = response(kernel)
    terms = kernel.terms or factorize(kernel.taps)
    rank = f"{len(terms)}: " + " + ".join(_term(term) for term in terms[:2]) + (" + ..." if len(terms) > 2 else "")
    rows = [
        ("size", show(kernel.shape)),
        ("sum", f"{gains.flat:.6g}"),
        ("gain at zero frequency", f"{gains.flat:.6g}"),
        ("separable rank", rank),
        ("response", gains.line),
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
    return f"{kernel.name} {show(kernel.shape)} -> {place(written)} ({written.format}, {written.bytes:,} bytes)"


def export_json(kernel: Kernel, written: Written) -> dict[str, Any]:
    return {"name": kernel.name, "shape": list(kernel.shape), "written": written_json(written)}


def _family(entry: KernelFamily) -> str:
    variants = list(entry.variants)
    return f"{entry.name}-{{{','.join(variants)}}}" if variants else entry.name


def _term(term: Sequence[NDArray[Any]]) -> str:
    """Format a product of 1-D factors, in numbers if they are few."""
    if sum(len(factor) for factor in term) > 16:
        return " x ".join(f"({len(factor)} taps)" for factor in term)
    return " x ".join("(" + " ".join(f"{tap:.4g}" for tap in factor) + ")" for factor in term)


def _taps(kernel: Kernel) -> str:
    hidden = 0 < np.abs(kernel.taps).max() < 1e-3  # four decimals would show such taps as 0
    with np.printoptions(precision=4, suppress=not hidden, threshold=200, edgeitems=4, linewidth=100):
        return str(kernel.taps)


def _pictures(kernel: Kernel, width: int) -> Iterator[Text]:
    """Yield each 2-D slice, two characters per tap, red if positive and blue if negative."""
    largest = float(np.abs(kernel.taps).max()) or 1.0
    planes = kernel.taps.reshape(-1, *(kernel.shape[-2:] if kernel.taps.ndim > 1 else (1, kernel.taps.size)))
    step = -(-2 * planes.shape[-1] // width)
    for plane in planes[:SLICES]:
        picture = Text()
        for count, row in enumerate(plane[::step]):
            picture.append("\n" if count else "")
            for tap in row[::step]:
                picture.append(*_cell(float(tap) / largest))
        yield picture
    if len(planes) > SLICES:
        yield Text(f"... and {len(planes) - SLICES} slices more")


def _cell(share: float) -> tuple[str, str]:
    """Return a tap's two characters and their style; share: of the largest magnitude."""
    shade = SHADES[round(abs(share) * (len(SHADES) - 1))]
    strength = 40 + round(215 * abs(share))
    if share > 0:
        return f"+{shade}", f"bright_white on rgb({strength},40,40)"
    sign = "-" if share < 0 else " "
    return f"{sign}{shade}", f"bright_white on rgb(40,40,{strength})"
