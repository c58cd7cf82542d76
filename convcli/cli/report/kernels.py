"""The bank and single kernels, as tables, pictures and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from convcli.cli.report.kernel_picture import kernel_lines
from convcli.cli.report.matrix import WIDE, heaviest_part
from convcli.cli.report.picture import print_lines
from convcli.cli.report.table import Column, table
from convcli.cli.report.terminal import bold, labelled, width, wrapped
from convcli.cli.report.text import PLAIN_WIDTH, make_console, place, written_json
from convcli.errors import KernelError, printable
from convcli.io import Written
from convcli.kernels import Bands, Kernel, KernelFamily, factorize, kernel_bands, listing, response
from convcli.kernels.bank import ALIASES, BANK, EDGES, edge_kernels
from convcli.shapes.parse import counted, show

if TYPE_CHECKING:
    from convcli.learn.figures.gallery import GalleryResult

SLICES = 8
"""Maximum number of planes of a kernel that are drawn."""


def kernels_json(pattern: str | None = None) -> dict[str, Any]:
    """Return the families of the bank, or those that match `pattern`."""
    return {
        "kernels": [
            {
                "names": list(entry.names),
                "parameters": {
                    p.name: {"default": p.default, "meaning": p.meaning} for p in entry.parameters
                },
                "meaning": entry.describe(),
                "source": entry.source,
            }
            for entry in _matching(pattern)
        ]
    }


def kernels_lines(
    pattern: str | None, chosen: Sequence[str] | None, *, verbose: bool = False
) -> list[str]:
    """Return a table with a row for each family of the bank, or for each that matches `pattern`."""
    found = _matching(pattern)
    columns = [
        Column("kernel", [bold(_family(entry)) for entry in found], left=True),
        Column("parameters", [_parameters(entry) for entry in found], left=True, worth=1, least=14),
        Column("meaning", [entry.describe() for entry in found], left=True, least=24),
    ]
    if verbose or chosen:
        columns.append(Column("source", [entry.source for entry in found], left=True, least=20))
    lines = table(columns, chosen=chosen)
    return lines if pattern else [*lines, *wrapped(_other_names(), width(), "  ")]


def _other_names() -> str:
    """Return the names of kernels under which others know them, except those of directions."""
    named = [f"{name} = {known}" for name, known in ALIASES.items() if known in BANK]
    edges = f"{EDGES} = the magnitude of {' and '.join(edge_kernels(2))}, in apply and batch"
    return f"other names: {', '.join((*named, edges))}"


def kernel_names(pattern: str | None) -> list[str]:
    """Return the name of every kernel of the bank, or of those that match `pattern`."""
    return [name for entry in _matching(pattern) for name in entry.names]


def _parameters(entry: KernelFamily) -> str:
    return ", ".join(f"{parameter.name}={parameter.default}" for parameter in entry.parameters)


def _matching(pattern: str | None) -> list[KernelFamily]:
    """Return the families whose names match the pattern, or whose names or meaning contain it.

    Raises KernelError if there are none.
    """
    wanted = (pattern or "").lower()
    found = [family for family in listing() if _matches(family, wanted)]
    if not found:
        raise KernelError(
            f"no kernel matches {pattern!r}", remedy="see all with 'convcli kernels list'"
        )
    return found


def _matches(family: KernelFamily, wanted: str) -> bool:
    names = (family.name, *family.names)
    if any(letter in wanted for letter in "*?["):
        return any(fnmatchcase(name.lower(), wanted) for name in names)
    return wanted in " ".join((*names, family.describe())).lower()


def print_kernel(kernel: Kernel, *, verbose: bool = False) -> None:
    """Print taps, numbers and meaning, and a picture with one coloured cell per tap.

    verbose: print every tap and slice.
    """
    gains = response(kernel)
    terms = kernel.terms or factorize(kernel.taps)
    rank = (
        f"{len(terms)}: "
        + " + ".join(_term(term) for term in terms[:2])
        + (" + ..." if len(terms) > 2 else "")
    )
    rows = [
        ("size", show(kernel.shape)),
        ("sum", f"{gains.flat:.6g}"),
        ("gain at zero frequency", f"{gains.flat:.6g}"),
        ("separable rank", rank),
        ("response", gains.line),
        *_bands_rows(kernel),
        ("meaning", kernel.meaning),
        ("source", kernel.source),
    ]
    console = make_console()
    console.print(printable(kernel.name), style="bold", highlight=False)
    lines = [
        *labelled([(label, text) for label, text in rows if text]),
        *taps_lines(kernel, verbose=verbose),
    ]
    console.print("\n".join(lines), highlight=False, markup=False)
    planes = kernel.taps.size if verbose else SLICES
    print_lines(console, [Text(), *kernel_lines(kernel, console, planes)])


def _bands_rows(kernel: Kernel) -> list[tuple[str, str]]:
    """Return rows with cutoff, ripple, side lobes and group delay, for each axis that differs."""
    found = kernel_bands(kernel)
    rows = [
        ("cutoff", _cutoffs),
        ("ripple", lambda bands: f"{bands.ripple:.3g} dB" if bands.ripple else ""),
        (
            "side lobes",
            lambda bands: "" if bands.side_lobe is None else f"at most {bands.side_lobe:g} dB",
        ),
        ("group delay", _delay),
    ]
    return [
        (
            label,
            "; ".join(
                text if len(found) == 1 else f"{text} along {bands.along}"
                for bands in found
                if (text := words(bands))
            ),
        )
        for label, words in rows
    ]


def _cutoffs(bands: Bands) -> str:
    at = [
        f"{', '.join(f'{each:g}' for each in frequencies)} ({level} dB)"
        for level, frequencies in ((-3, bands.cutoffs), (-6, bands.half_gains))
        if frequencies
    ]
    return f"{', '.join(at)} cycles a sample" if at else ""


def _delay(bands: Bands) -> str:
    if bands.delay is None:
        return "differs between frequencies"
    unit = "sample" if bands.delay == 1 else "samples"
    return f"{bands.delay:g} {unit} from the first tap, at every frequency"


SIDES = (13, 11, 9, 7, 5, 3)
"""Maximum number of taps of an axis that are printed: the first that fits the terminal."""


def taps_lines(kernel: Kernel, *, verbose: bool = False) -> list[str]:
    """Return the taps; of a large kernel those with the most weight, unless verbose."""
    if verbose:
        return _printed(kernel.taps, width() or WIDE)
    room = width() or PLAIN_WIDTH
    lines: list[str] = []
    for side in SIDES:
        sides = (min(side, SLICES),) * max(kernel.taps.ndim - 2, 0) + (side,) * min(
            kernel.taps.ndim, 2
        )
        part = tuple(heaviest_part(kernel.taps, size)[axis] for axis, size in enumerate(sides))
        lines = _printed(kernel.taps[np.ix_(*part)], room if kernel.taps.ndim == 1 else WIDE)
        if kernel.taps.ndim == 1 or max(map(len, lines)) <= room:
            break
    if any(len(run) < size for run, size in zip(part, kernel.shape, strict=True)):
        taps = f"the {show(map(len, part))} taps with the most weight"
        indices = ", ".join(f"{run.start}..{run.stop - 1}" for run in part)
        lines += wrapped(f"{taps}, [{indices}] of {show(kernel.shape)}; -v shows all", room)
    return lines


def _printed(taps: NDArray[Any], columns: int) -> list[str]:
    """Return taps as numpy prints them, in lines of at most this many columns."""
    hidden = 0 < np.abs(taps).max() < 1e-3  # four decimals would show such taps as 0
    shown = taps if hidden else np.round(taps, 4)
    options: Any = {"precision": 4, "suppress": not hidden, "threshold": taps.size + 1}
    with np.printoptions(linewidth=columns, **options):
        text = str(shown + 0.0)  # adding 0 removes the sign of -0
    return [line.rstrip() for line in text.splitlines()]


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
        "bands": [vars(bands) for bands in kernel_bands(kernel)],
        "meaning": kernel.meaning,
        "source": kernel.source,
    }


def export_line(kernel: Kernel, written: Written) -> str:
    file = f"{place(written)} ({written.format}, {written.bytes:,} bytes)"
    return printable(f"{kernel.name} {show(kernel.shape)} -> {file}")


def export_json(kernel: Kernel, written: Written) -> dict[str, Any]:
    return {"name": kernel.name, "shape": list(kernel.shape), "written": written_json(written)}


def gallery_line(result: GalleryResult, picture: str | None) -> str:
    """Describe what a gallery shows, and where it was written."""
    written = result.written
    shown = f"{counted(len(result.kernels), 'kernel')} on {printable(picture or 'the sample')}"
    file = f"{place(written)} ({written.format}, {written.bytes:,} bytes)"
    return f"{shown}, {show(result.shape)} -> {file}"


def gallery_json(result: GalleryResult, picture: str | None) -> dict[str, Any]:
    return {
        "input": picture,
        "shape": list(result.shape),
        "kernels": [each.name for each in result.kernels],
        "written": written_json(result.written),
    }


def _family(entry: KernelFamily) -> str:
    variants = list(entry.variants)
    return f"{entry.name}-{{{','.join(variants)}}}" if variants else entry.name


def _term(term: Sequence[NDArray[Any]]) -> str:
    """Format a product of 1-D factors, in numbers if they are few."""
    if sum(len(factor) for factor in term) > 16:
        return " x ".join(f"({len(factor)} taps)" for factor in term)
    return " x ".join("(" + " ".join(f"{tap:.4g}" for tap in factor) + ")" for factor in term)
