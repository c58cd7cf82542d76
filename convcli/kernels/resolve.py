"""Resolve a kernel reference, a name, a literal or a file, to a Kernel."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convcli.errors import ConvError, KernelError, did_you_mean, nearest
from convcli.kernels import bank, files, parse
from convcli.kernels.model import Kernel

if TYPE_CHECKING:
    from convcli.stores import StorePath

_LONGEST_NAME = 60


def kernel(reference: Any, *, dims: int | None = None) -> Kernel:
    """Resolve a kernel reference.

    reference: a Kernel (returned as it is), an array or nested list, a path, or text, which is read
    as the first of these that it matches:
        - taps written out: `0,-1,0; -1,5,-1; 0,-1,0`, a JSON list, or ImageMagick's form
          `3x3: 0,-1,0 -1,5,-1 0,-1,0`
        - a name of the bank: `sobel-x`, `gaussian:sigma=2,size=9`, `random:3x3x3,seed=0`;
          case does not matter
        - a file or a URL: .npy, .npz (or `file.npz:key`), .csv, .txt, .json, or .mat, vips's
          matrix
    dims: the number of axes of a named kernel; by default what the reference implies, else 2. It
    does not change other kernels.
    Raises KernelError for an unknown or invalid reference, FileError for a file that cannot be
    read, LimitError for more than ten million taps.

    >>> kernel("sobel-x").taps
    array([[-1.,  0.,  1.],
           [-2.,  0.,  2.],
           [-1.,  0.,  1.]])
    >>> kernel("1,0,-1").shape, kernel("laplacian", dims=3).shape
    ((3,), (3, 3, 3))
    >>> kernel("gausian:sigma=2")
    Traceback (most recent call last):
    convcli.errors.KernelError: unknown kernel 'gausian'; expected a name, taps or a file; \
did you mean 'gaussian'?
    """
    if isinstance(reference, Kernel):
        return reference
    if isinstance(reference, str):
        return _from_text(reference.strip(), dims)
    if isinstance(reference, os.PathLike):
        return _from_file(Path(reference), "")
    if isinstance(reference, list | tuple):
        return Kernel.of_taps("list", parse.from_nested(reference), "taps given as a list")
    return Kernel.of_taps("array", reference, "taps given as an array")


def _from_text(text: str, dims: int | None) -> Kernel:
    if not text:
        raise KernelError(
            "an empty kernel",
            "expected a name, taps or a file",
            "choose one of: convcli kernels list",
        )
    if parse.is_literal(text):
        return _from_literal(text)
    if bank.is_named(text):
        return bank.named(text, dims)
    if text.lower() == bank.EDGES:
        raise KernelError(
            "edges are several kernels, sobel-x and sobel-y, and their magnitude",
            "expected one kernel",
            "choose sobel-x or sobel-y, or use it in apply or batch",
        )
    if found := files.locate(text):
        return _from_file(*found)
    if parse.resembles_literal(text) and not files.looks_like_file(text):
        return _from_literal(text)
    raise _unknown(text)


def _from_literal(text: str) -> Kernel:
    taps = parse.parse_text(text)
    line = " ".join(text.split())
    name = line if len(line) <= _LONGEST_NAME else f"{'x'.join(map(str, taps.shape))} taps"
    return Kernel.of_taps(name, taps, "taps written out")


def _from_file(path: Path | StorePath, key: str) -> Kernel:
    name = f"{path}:{key}" if key else str(path)
    return Kernel.of_taps(name, files.load(path, key), "taps read from a file", name)


def _unknown(text: str) -> ConvError:
    if files.looks_like_file(text):
        return files.missing(text)
    name, colon, _ = text.partition(":")
    if re.fullmatch(r"\d+([xX×]\d+)*", text):
        return KernelError(
            f"a kernel of size {text} without taps",
            "expected a name, taps or a file",
            f"write random:{text} for random taps, or box:size={text.lower()} for a mean",
        )
    hint = (
        did_you_mean(name.lower().replace("_", "-"), bank.references()) if colon else _nearest(name)
    )
    return KernelError(
        f"unknown kernel '{name[:80]}'",
        "expected a name, taps or a file",
        hint or "see: convcli kernels list",
    )


def _nearest(text: str) -> str:
    """Return a suggestion of a name, with the colon before its parameters if that is missing.

    >>> _nearest("gaussian,sigma=2"), _nearest("sobl-x")
    ("did you mean 'gaussian:sigma=2'?", "did you mean 'sobel-x'?")
    """
    name, *rest = re.split(r"[,\s]+", text, maxsplit=1)
    known = bank.references()
    name = name.lower().replace("_", "-")
    near = nearest(name, known)
    meant = f"{near}:{rest[0]}" if near and rest else ""
    return f"did you mean '{meant}'?" if meant and _resolves(meant) else did_you_mean(name, known)


def _resolves(text: str) -> bool:
    try:
        bank.named(text, None)
    except ConvError:
        return False
    return True
