"""Find and remove the elements of XML by name, in time proportional to the text's length."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

_CLOSING = re.compile(rb"</([\w.:-]+)>")


def find_elements(text: bytes, names: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each element whose name matches a pattern.

    An element within another one of these is part of it. An element ends at the first closing tag
    of its name; one without a closing tag is left out.

    >>> list(find_elements(b"<a><b/></a> <b>2</b>", b"b"))
    [(3, 7), (12, 20)]
    """
    closings: dict[bytes, list[int]] = {}
    for found in _CLOSING.finditer(text):
        closings.setdefault(found[1], []).append(found.end())
    end = 0
    for found in re.finditer(rb"<(%s)(?![\w.:-])([^<>]*)>" % names, text):
        if found.start() < end:
            continue
        if found[2].endswith(b"/"):
            end = found.end()
        else:
            ends = closings.get(found[1], [])
            at = bisect_left(ends, found.end())
            if at == len(ends):
                continue
            end = ends[at]
        yield found.start(), end


def remove_elements(text: bytes, names: bytes) -> tuple[bytes, int]:
    r"""Remove the elements whose name matches, with the blanks before each, and count them.

    >>> remove_elements(b"<a> <b>1</b>\n <b/></a>", b"b")
    (b'<a></a>', 2)
    """
    kept, last = [], 0
    for start, end in find_elements(text, names):
        kept.append(text[last:start].rstrip())
        last = end
    return b"".join([*kept, text[last:]]), len(kept)
