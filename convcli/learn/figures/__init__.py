"""Figures of what convcli computes, for picture files: each module returns (H, W, 3) uint8.

kernel.py        a kernel's taps, sections and frequency response
panels.py        the input and the output of a run of `apply`, prepared for drawing
comparison.py    these two as pictures side by side, or as signals
pictures.py      a picture file, or a drawn sample, to filter or to draw on
gallery.py       what many kernels do to one picture
field.py         the receptive field of an output over a picture
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convcli import io
from convcli.errors import FileError
from convcli.io import OutputTarget

__all__ = ["check_figure"]


def check_figure(
    name: str, *, overwrite: bool = False, others: Sequence[str | None] = ()
) -> OutputTarget:
    """Check the file of a figure, and return it; write nothing.

    others: the run's input and output, which a figure never replaces. Raises FileError for one of
    them, for standard output, a file that exists, and a suffix of another kind of file; FormatError
    for a picture format without colour.

    >>> check_figure("kernel.webp").form.name
    'webp'
    """
    if name == "-":
        given = "standard output, which has the report"
        raise FileError(given, "expected a file for the picture", "name one, such as plot.png")
    if any(_is_same(name, other) for other in others if other is not None):
        given = f"{name} is the input or the output"
        raise FileError(given, "expected another file for the picture", "name one")
    target = io.check_target(name, overwrite=overwrite)
    if target is None or target.form.kind != "image":
        raise FileError(
            f"{name} is not the name of a picture file",
            "expected a suffix such as .png or .webp",
            "see 'convcli formats'",
        )
    target.check(np.dtype(np.uint8), (1, 1, 3))
    return target


def _is_same(one: str, other: str) -> bool:
    """Return whether two names are of one file, which need not exist."""
    return Path(one).resolve() == Path(other).resolve() or (
        Path(one).exists() and Path(other).exists() and Path(one).samefile(other)
    )
