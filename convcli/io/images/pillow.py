"""Control Pillow's process-wide settings, and list the errors that it raises for damaged files."""

from __future__ import annotations

import ctypes
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, BinaryIO

from convcli.io.streams import count_bytes

DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AssertionError,
    OverflowError,
    struct.error,
    zlib.error,
)
"""What Pillow raises for a damaged file, as found by fuzzing."""

DIRECTORY_ERRORS = (*DECODING_ERRORS, AttributeError, ZeroDivisionError)
"""What Pillow raises for damaged directories of a TIFF or of EXIF, and for wrong values in them."""

# Pillow loads these on demand by importing all its plugins; importing the needed one is faster.
_PLUGINS = {"WEBP": "WebPImagePlugin", "TIFF": "TiffImagePlugin", "JPEG2000": "Jpeg2KImagePlugin"}
_held = threading.RLock()
_SILENCE = logging.NullHandler()  # without a handler, Pillow's logger writes to stderr


@contextmanager
def lenient() -> Iterator[None]:
    """Let Pillow decode truncated files, leaving missing samples blank, until the block ends.

    The setting is global to the process, and held by one thread at a time.
    """
    from PIL import ImageFile

    with _held:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


@contextmanager
def unguarded(pixels: int | None = None) -> Iterator[None]:
    """Replace Pillow's pixel limit and mute its warnings until the block ends.

    pixels: the number above which Pillow raises DecompressionBombError; None for no limit. Both
    settings are global to the process, and held by one thread at a time.
    """
    from PIL import Image

    with _held, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        halved = None if pixels is None else pixels // 2  # Pillow raises above twice its setting
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, halved
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def load_plugin(pillow: str) -> None:
    from PIL import Image

    Image.preinit()
    logging.getLogger("PIL").addHandler(_SILENCE)
    if pillow in _PLUGINS:
        import_module(f"PIL.{_PLUGINS[pillow]}")
    if pillow == "TIFF":
        _listen_to_libtiff()


@cache
def _listen_to_libtiff() -> None:
    """Keep Pillow's libtiff from writing errors to stderr, which Pillow raises as exceptions too.

    Errors that Pillow does not raise are kept for `listening`: fax decoding continues after an
    invalid code.
    """
    try:
        library = ctypes.CDLL(import_module("PIL._imaging").__file__)
    except (OSError, TypeError):  # it is linked into the interpreter
        return
    for name, handler in (("TIFFSetErrorHandler", _KEEP), ("TIFFSetWarningHandler", None)):
        if (put := getattr(library, name, None)) is not None:
            put(handler)


def _keep(module: bytes | None, text: bytes | None, arguments: int | None) -> None:
    if text and text.startswith(_UNRAISED):
        getattr(_heard, "damage", []).append("a line of its samples cannot be decoded")


_KEEP = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_keep)
"""The handler, which must live as long as libtiff may call it."""
_UNRAISED = (b"Bad code word", b"Uncompressed data")
_heard = threading.local()


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect libtiff's errors in this thread that Pillow does not raise, until the block ends."""
    _heard.damage = []
    try:
        yield _heard.damage
    finally:
        del _heard.damage


class Bounded:
    """A file whose reads are limited to its size, as Python allocates all bytes that are requested.

    Pillow requests as many bytes as a header declares, or as there are between two strips.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = count_bytes(stream)

    def read(self, count: int = -1) -> bytes:
        left = max(self._size - self._stream.tell(), 0)
        return self._stream.read(left if count < 0 else min(count, left))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Whole:
    """A stream without a file descriptor, whose writes are complete or raise.

    Given a descriptor, Pillow's encoders write to it themselves, and do not notice a partial write,
    such as on a full disk.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.read, self.write = stream.read, stream.write
        self.seek, self.tell, self.flush = stream.seek, stream.tell, stream.flush
