"""Compare a file with the length that it declares, and make the error for a damaged file.

Each format's module has the check that its decoder lacks. Of 100 cut, 100 flipped and 50 spliced
files of each format, the decoders alone read this many as whole, or with other values:

====== ============================================== ==========================================
Format Read in spite of damage                        Check
====== ============================================== ==========================================
png    cut after the samples 27 to 81, flipped 0 to 4 the CRC-32 of every chunk, up to IEND
gif    cut 2 to 58, spliced 1 to 17                   every block, up to the trailer
tiff   cut 0 to 47, flipped 0 to 10, spliced 0 to 30  offsets and lengths, Adler-32 of strips
wav    cut 73 to 95                                   the declared length of the samples
bmp    cut 0 to 3                                     the declared length of the samples
jpg    last bytes zeroed 0 to 16                      a marker after every scan, up to the end
jp2    cut 0 to 1                                     the end of the codestream
====== ============================================== ==========================================

For WebP and netpbm files Pillow alone detects the same damage; WebP's chunks are checked only to
find where a file in a pipe ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from convcli.errors import FileError
from convcli.io.streams import BufferedPipe, available_bytes

BLOCK = 2**20
CUT = "it ends too early"


def check(stream: BinaryIO, find_damage: Callable[[BinaryIO], str], *, self_ending: bool) -> str:
    r"""Return a description of a file's damage, or "". Leaves the stream at its start.

    find_damage: the check of its format, which reads from the start. self_ending: the format
    declares where a file ends, so that nothing after it is read from a pipe.

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
    """Return the error for a damaged file; how: the damage, kind: the format."""
    refusal = f"{remedy}; --allow-truncated reads no part of such a file"
    return FileError(f"{name} is damaged: {how}", f"expected a whole {kind} file", refusal)


def find_riff_damage(stream: BinaryIO) -> str:
    """Describe how a WAV file is shorter than its RIFF header declares, or return ""."""
    return find_shortage(stream, 8 + int.from_bytes(stream.read(8)[4:], "little"))


def find_shortage(stream: BinaryIO, declared: int) -> str:
    """Describe how a file is shorter than declared, or return ""."""
    held = available_bytes(stream, declared)
    return f"{CUT}: {declared:,} bytes were declared, {held:,} are there" if declared > held else ""
