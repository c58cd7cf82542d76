"""Measure the laws of convolution on given data, by computing both sides of each statement.

::

    setup.py      the cropped input and kernel (Setting), and one measured statement (Row)
    layers.py     the laws of a layer, each a generator of rows
    products.py   the laws of the product `*`
    backward.py   the law of the gradients
    mistakes.py   what breaks a law on purpose

x and w are the input and the kernel with all channels, f and g one plane of each, `*` is
convolution. A bound is the engine's contract: 1e-13 of sum|w| * max|x| for each result involved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from convcli import io
from convcli.io import Written
from convcli.jobs.operands import Operands
from convcli.jobs.requests import check_suffix
from convcli.learn.laws import layers, products
from convcli.learn.laws.backward import backward
from convcli.learn.laws.mistakes import MISTAKES
from convcli.learn.laws.setup import LawsRequest, Row, Setting, make_setting
from convcli.options import LawName
from convcli.progress import Progress, silent

__all__ = [
    "LAWS",
    "Finding",
    "Law",
    "LawsRequest",
    "LawsResult",
    "MatrixFacts",
    "Row",
    "check_matrix",
    "run_laws",
    "save_matrix",
]


@dataclass(frozen=True)
class Law:
    """A law: its name, its meaning in a line, why it matters, and the function that measures it."""

    name: LawName
    meaning: str
    why: str
    measure: Callable[[Setting], Iterator[Row]]


LAWS = (
    Law(
        "linear",
        "sums and factors go through, so a convolution is a matrix",
        "An input can be split into parts that are filtered one by one and added up again.",
        layers.linear,
    ),
    Law(
        "affine",
        "a bias makes it affine, and relu after it ends linearity",
        "Layers are more than one matrix only because of what is between them.",
        layers.affine,
    ),
    Law(
        "flip",
        "convolution is correlation with the kernel flipped",
        "CNN layers and OpenCV correlate, signal processing convolves: "
        "a kernel must be flipped between them.",
        products.flip,
    ),
    Law(
        "commutative",
        "input and kernel may change places; under correlation they may not",
        "Filters can be applied in any order.",
        products.commutative,
    ),
    Law(
        "associative",
        "two kernels one after the other are one kernel",
        "Two filters can be merged into one beforehand, "
        "and a large one split into cheap small ones.",
        products.associative,
    ),
    Law(
        "derivative",
        "the derivative f'[i] = (f[i+1] - f[i-1]) / 2 may be taken of either factor",
        "Smoothing and an edge filter are one pass, with the derivative of the smoothing kernel.",
        products.derivative,
    ),
    Law(
        "gaussian",
        "Gaussians of sigma 3 and 4 in a row are one of sigma 5, if sampled finely enough",
        "The continuous convolution is approached: repeated small blurs are one large blur.",
        products.gaussian,
    ),
    Law(
        "equivariant",
        "a shifted input gives a shifted output, away from the border",
        "A pattern is found wherever it is; padding and stride are what breaks this.",
        layers.equivariant,
    ),
    Law(
        "local",
        "a sample moves only the outputs whose window covers it",
        "Parts of an output can be computed independently, and in parallel.",
        layers.local,
    ),
    Law(
        "backward",
        "its gradients are convolutions; "
        "`convcli gradcheck` compares them with central differences",
        "Training a layer takes no operation besides convolution.",
        backward,
    ),
)


@dataclass(frozen=True)
class Finding:
    """A law with its measured statements."""

    law: Law
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class MatrixFacts:
    """The explicit matrix: its shape, its share of nonzero entries, and their distinct values."""

    shape: tuple[int, int]
    density: float
    distinct: int
    """The number of distinct values other than zero."""

    @property
    def dense_parameters(self) -> int:
        """The weights of a fully connected layer of the same shapes."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True, eq=False)
class LawsResult:
    """Every law on one input and kernel."""

    operands: Operands
    setting: Setting
    findings: tuple[Finding, ...]
    matrix: MatrixFacts
    broken: LawName | None = None
    """The law that was broken on purpose."""

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the laws that have a failed statement."""
        return tuple(
            found.law.name for found in self.findings if not all(row.passed for row in found.rows)
        )


def run_laws(request: LawsRequest, progress: Progress = silent) -> LawsResult:
    """Measure every law, one of them with a mistake if the request breaks it.

    Raises the errors of `apply`.

    >>> result = run_laws(LawsRequest("12", "1,2,3"))
    >>> result.failed, result.matrix.shape, result.matrix.distinct
    ((), (10, 12), 3)
    """
    operands, setting = make_setting(request)
    matrix = setting.small.matrix
    taken = matrix[matrix != 0]
    facts = MatrixFacts(
        (matrix.shape[0], matrix.shape[1]), taken.size / matrix.size, len(np.unique(taken))
    )
    findings = []
    for number, law in enumerate(LAWS, 1):
        used = _mistaken(setting, law) if law.name == request.broken else setting
        findings.append(Finding(law, tuple(law.measure(used))))
        progress(number / len(LAWS))
    return LawsResult(operands, setting, tuple(findings), facts, request.broken)


def _mistaken(setting: Setting, law: Law) -> Setting:
    """Return a setting in which the law's operation has its mistake."""
    return replace(setting, operations=MISTAKES[law.name].apply(setting.operations))


def check_matrix(target: str, *, overwrite: bool) -> None:
    """Check the path of a matrix file before any work.

    Raises the InputError that `save_matrix` would raise.
    """
    check_suffix(target, ".npy or .csv", f"matrix {target}")
    io.check_target(target, overwrite=overwrite)


def save_matrix(result: LawsResult, target: str, *, overwrite: bool) -> Written:
    """Write M of conv(x) = M vec(x) as .npy or .csv."""
    return io.save(target, result.setting.small.matrix, overwrite=overwrite)
