"""Read and write the comments in the headers of PBM, PGM and PPM.

Source: Netpbm's manual pages ppm(5), pgm(5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import BinaryIO

from convcli.io.images.metadata.found import Found

_LONGEST = 2**20
"""The most bytes of a header that are read."""

_PART = re.compile(rb"\s*(?:#([^\r\n]*)[\r\n]|(\d+))")
_NUMBERS = {b"P1": 2, b"P4": 2}  # numbers in the header; others have a third, the largest value


def find_metadata(stream: BinaryIO) -> Found:
    """Read the comments before the samples."""
    found = Found("ppm")
    stream.seek(0)
    front = stream.read(_LONGEST)
    at, numbers = 2, _NUMBERS.get(front[:2], 3)
    lines: list[bytes] = []
    while numbers and (part := _PART.match(front, at)):
        at = part.end()
        if part[1] is None:
            numbers -= 1
        else:
            lines.append(part[1].strip())
    if any(lines):
        found.comments.append(b"\n".join(lines))
    if end := _end(front):
        found.note_rest(stream, end)
    return found


_HEAD = re.compile(rb"P([456f])" + 2 * rb"(?:\s|#.*+)++(\d+)" + rb"(?:(?:\s|#.*+)++(-?[\d.]+))?")


def _end(front: bytes) -> int:
    """Return the end of a file's first picture, 0 if it is unknown, such as for plain text."""
    head = _HEAD.match(front)
    if head is None:
        return 0
    kind, width, height = head[1], int(head[2]), int(head[3])
    if kind == b"4":
        return head.end(3) + 1 + (width + 7) // 8 * height
    largest = re.match(rb"\d*", head[4] or b"")
    size = 1 + (largest is not None and int(largest[0] or 0) > 255)
    if kind == b"f":
        size = 4
    return head.end() + 1 + width * height * size * (3 if kind == b"6" else 1)


def with_comments(content: bytes, comments: Sequence[bytes]) -> bytes:
    r"""Insert comments after the first two bytes of a file, one per line of text.

    >>> with_comments(b"P5\n1 1\n255\n\0", [b"a cat\nand a dog"])
    b'P5\n# a cat\n# and a dog\n1 1\n255\n\x00'
    """
    lines = [line for comment in comments for line in re.split(rb"\r\n|\r|\n", comment)]
    return content[:2] + b"".join(b"\n# " + line for line in lines) + content[2:]
