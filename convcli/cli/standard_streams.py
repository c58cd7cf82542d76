"""Prepare the standard streams: any text can be printed on them, and closed ones stay closed.

File names, error messages, bars and heat maps hold characters that a stream of ASCII, Latin-1 or
Windows-1252 cannot encode, and file names hold bytes that are no text at all. What an encoding does
not have is written in ASCII.
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
}
"""How characters of convcli's own output are written; all others as Python writes them in strings.
"""


def prepare_standard_streams() -> None:
    """Have stdout and stderr write in ASCII what they cannot encode, and occupy what the shell
    closed.
    """
    _occupy_closed_descriptors()
    codecs.register_error(_ERRORS, _replace)
    codecs.register(_ascii_codec)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_CODEC if is_ascii else None, errors=_ERRORS)


def _occupy_closed_descriptors() -> None:
    """Open the null device for each of 0, 1 and 2 that is closed, so that no file of ours takes its
    number.

    A library that writes to stderr would write into that file. Python's own streams stay None.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Return what is written in place of text that cannot be encoded, and where it ends."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(
        _ASCII.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in text
    ), error.end


def _ascii_codec(name: str) -> codecs.CodecInfo | None:
    """Return ASCII by another name: Click writes UTF-8 to a stream that says "ascii", as if that
    were a mistake.
    """
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
