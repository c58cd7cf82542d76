"""Prepare the standard streams: any text can be printed on them, and closed ones stay closed.

File names, error messages, bars and heat maps hold characters that a stream of ASCII, Latin-1 or
Windows-1252 cannot encode, and file names may hold bytes that are not text. Characters that an
encoding lacks are written in ASCII.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys

_ERRORS = "convcli-ascii"
_CODEC = "convcli_ascii"
_ASCII = {"…": "...", "×": "x", "µ": "u", "→": "->", "─": "-", "│": "|", "└": "`", "├": "|"} | {
    **dict.fromkeys("█▉▊▋▌▓", "#"),
    **dict.fromkeys("▍▎▏", "-"),
    "▒": "+",
    "░": ".",
    "┤": "|",
    "≡": "%",
    "·": "'",
    **{chr(braille): "*" for braille in range(0x2801, 0x2900)},
}
"""Replacements for characters of convcli's output; others become Python's escapes."""


def prepare_standard_streams() -> None:
    """Replace what stdout and stderr cannot encode, and occupy closed descriptors."""
    _occupy_closed_descriptors()
    codecs.register_error(_ERRORS, _replace)
    codecs.register(_ascii_codec)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_CODEC if is_ascii else None, errors=_ERRORS)


def _occupy_closed_descriptors() -> None:
    """Open the null device for each of 0, 1 and 2 that is closed.

    Otherwise the next opened file gets that number, and a library that writes to stderr writes
    into it. Python's own streams stay None.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement of text that cannot be encoded, and where that text ends."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(
        _ASCII.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in text
    ), error.end


def _ascii_codec(name: str) -> codecs.CodecInfo | None:
    """Return ASCII under another name: click writes UTF-8 to a stream named "ascii"."""
    if name != _CODEC:
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        plain.encode,
        plain.decode,
        plain.streamreader,
        plain.streamwriter,
        plain.incrementalencoder,
        plain.incrementaldecoder,
        name,
    )
