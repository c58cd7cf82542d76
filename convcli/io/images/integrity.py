"""Check whether a file is whole by the length that it declares, and make the error for one that is
not.

Each format's file has the check that its decoder lacks. Of 100 cut, 100 flipped and 50 spliced
files of each kind, the decoders alone read as whole, or with other values:

====== ============================================== =========================================================
png    cut behind the samples 27 to 81, flipped 0 to 4 the CRC-32 of every chunk, up to IEND
gif    cut 2 to 58, spliced 1 to 17                    every block, up to the trailer
tiff   cut 0 to 47, flipped 0 to 10, spliced 0 to 30   directories and samples within the file, Adler-32 of strips
wav    cut 73 to 95                                    the length of its samples
bmp    cut 0 to 3                                      the length of the samples that its header declares
jpg    last bytes zeroed 0 to 16                       a marker after every scan, up to the end of the image
jp2    cut 0 to 1                                      the end of the codestream
====== ==============================================
=========================================================

WebP files are refused by Pillow alone as often, and netpbm ones; of WebP the chunks tell where a
pipe may end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from convcli.errors import FileError
from convcli.io.streams import BufferedPipe, available_bytes

BLOCK = 2**20
CUT = "it ends too early"


def check(stream: BinaryIO, find_damage: Callable[[BinaryIO], str], *, self_ending: bool) -> str:
    r"""Return what is wrong with a file, in words, or "" if nothing is; the stream is left at its
    start.

    find_damage: the check of its format, which reads from the start. self_ending: the format says
    where a file ends, so that nothing behind it is read of a pipe.

    >>> import io
    >>> check(io.BytesIO(b"RIFF\xff\x00\x00\x00WEBP"), find_riff_damage, self_ending=True)
    'it ends too early: 263 bytes were declared, 12 are there'
    """
    stream.seek(0)
    found = find_damage(stream)
    if self_ending and not found and isinstance(stream, BufferedPipe):
        stream.stop()
    stream.seek(0)
    return found


def damaged(name: str, how: str, kind: str, remedy: str = "copy it anew") -> FileError:
    """Return the error for a file of a kind that is not whole."""
    refusal = f"{remedy}; --allow-truncated reads no part of such a file"
    return FileError(f"{name} is damaged: {how}", f"expected a whole {kind} file", refusal)


def find_riff_damage(stream: BinaryIO) -> str:
    """Return what is wrong with a WAV file by the length in its RIFF header, or ""."""
    return find_shortage(stream, 8 + int.from_bytes(stream.read(8)[4:], "little"))


def find_shortage(stream: BinaryIO, declared: int) -> str:
    """Return that fewer bytes are there than were declared, in words, or ""."""
    held = available_bytes(stream, declared)
    return f"{CUT}: {declared:,} bytes were declared, {held:,} are there" if declared > held else ""
