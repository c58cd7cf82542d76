"""Kernels: a bank of named ones, references, files, their separable form, frequency responses."""

from __future__ import annotations

from convcli.kernels.bands import Bands, kernel_bands
from convcli.kernels.bank import fewest_axes, listing, names, references
from convcli.kernels.curves import KernelSection, ResponseCurve, kernel_sections, response_curves
from convcli.kernels.factorize import factorize
from convcli.kernels.files import MAX_TEXT, SUFFIX_FORMS, TEXT_FORMS, TextForm, render
from convcli.kernels.model import Kernel
from convcli.kernels.parameters import KernelFamily, Parameter
from convcli.kernels.resolve import kernel
from convcli.kernels.response import Response, axes_in_words, response

__all__ = [
    "MAX_TEXT",
    "SUFFIX_FORMS",
    "TEXT_FORMS",
    "Bands",
    "Kernel",
    "KernelFamily",
    "KernelSection",
    "Parameter",
    "Response",
    "ResponseCurve",
    "TextForm",
    "axes_in_words",
    "factorize",
    "fewest_axes",
    "kernel",
    "kernel_bands",
    "kernel_sections",
    "listing",
    "names",
    "references",
    "render",
    "response",
    "response_curves",
]
