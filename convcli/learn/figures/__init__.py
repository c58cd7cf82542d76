"""Figures of what convcli computes, for picture files: each module returns (H, W, 3) uint8.

kernel.py        a kernel's taps, sections and frequency response
"""

from __future__ import annotations

import numpy as np

from convcli import io
from convcli.errors import FileError
from convcli.io import OutputTarget

__all__ = ["check_figure"]


def check_figure(name: str, *, overwrite: bool = False) -> OutputTarget:
    """Check the file of a figure, and return it; write nothing.

    Raises FileError for standard output, a file that exists, and a suffix of another kind of file;
    FormatError for a picture format without colour.

    >>> check_figure("kernel.webp").form.name
    'webp'
    """
    if name == "-":
        given = "standard output, which has the report"
        raise FileError(given, "expected a file for the picture", "name one, such as plot.png")
    target = io.check_target(name, overwrite=overwrite)
    if target is None or target.form.kind != "image":
        raise FileError(
            f"{name} is not the name of a picture file",
            "expected a suffix such as .png or .webp",
            "see 'convcli formats'",
        )
    target.check(np.dtype(np.uint8), (1, 1, 3))
    return target
