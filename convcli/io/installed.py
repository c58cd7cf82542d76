"""What this installation has: the packages of convcli's extras, and the codecs that Pillow was built with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from convcli.errors import DtypeError, FileError
from convcli.io.formats import Format

EXTRAS = {"nifti": "nibabel", "wav": "soundfile", "tiff": "tifffile", "png16": "imagecodecs"}
"""The package that each extra brings, which reads and writes."""


def has(extra: str) -> bool:
    """Whether an extra's package is there; it is not imported."""
    return find_spec(EXTRAS[extra]) is not None


def available(form: Format) -> bool:
    """Whether everything is there that the format needs.

    >>> from convcli.io.formats import lookup
    >>> available(lookup("npy"))
    True
    """
    if form.extra:
        return has(form.extra)
    if not form.codec:
        return True
    from PIL import features

    return bool(features.check(form.codec))


@contextmanager
def muted(logger_name: str) -> Iterator[None]:
    """Keep a package from telling stderr, through its logger, what it passes over or mends, until the block ends."""
    logger = logging.getLogger(logger_name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def check_extra(form: Format, name: str) -> None:
    """Raise FileError, naming the extra, where the format of the file `name` takes one that is not installed."""
    if form.extra and not has(form.extra):
        given = f"{name} is of the format {form.name}"
        raise FileError(given, f"which takes the {EXTRAS[form.extra]} package", f"pip install 'convcli[{form.extra}]'")


def check_beyond(form: Format, given: str, does_not: str = "keep whole") -> None:
    """Raise DtypeError, naming the extra, where what was given takes one of the picture's that is not installed.

    does_not: what Pillow, in its place, cannot do with it.
    """
    if not has(form.beyond_extra):
        package, extra = EXTRAS[form.beyond_extra], form.beyond_extra
        expected = f"which Pillow does not {does_not} and the {package} package does"
        raise DtypeError(given, expected, f"pip install 'convcli[{extra}]'")
