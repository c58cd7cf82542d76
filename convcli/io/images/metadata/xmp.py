"""Convert XMP packets for the upright picture, and split and join their extensions in JPEG.

Source: ISO 16684-1; Adobe, "XMP Specification", part 3, 1.1.3.1.
"""

from __future__ import annotations

import re

from convcli.io.images.metadata.xml import find_elements, remove_elements

_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))([2-8])""")
_THUMBNAILS = rb"(?:xmp|xap):Thumbnails"
_NAMESPACE = re.compile(rb"""\bxmlns:([\w.-]+)\s*=\s*("[^"]*"|'[^']*')""")
_POINTER = re.compile(
    rb"""\s?\bxmpNote:HasExtendedXMP\s*=\s*["'](\w*)["']"""
    rb"""|<xmpNote:HasExtendedXMP>\s*+(\w*+)\s*+</xmpNote:HasExtendedXMP>"""
)
_RDF = re.compile(rb"<rdf:RDF\b[^<>]*(?<!/)>")
_RDF_END = b"</rdf:RDF>"
_POINTING = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
    b' xmpNote:HasExtendedXMP="%b"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def upright_xmp(packet: bytes) -> bytes:
    r"""Reset the orientation in a packet, and remove thumbnails.

    >>> upright_xmp(b'<rdf:Description tiff:Orientation="6"><xmp:Thumbnails>...</xmp:Thumbnails>')
    b'<rdf:Description tiff:Orientation="1">'
    """
    return remove_elements(_ORIENTATION.sub(rb"\g<1>1", packet), _THUMBNAILS)[0]


def xmp_orientation(packet: bytes) -> int:
    """Return the orientation in a packet, 1 for none.

    >>> xmp_orientation(b'<rdf:Description tiff:Orientation="6">')
    6
    """
    found = _ORIENTATION.search(packet)
    return int(found[2]) if found else 1


def has_thumbnails(packet: bytes) -> bool:
    """Return whether a packet has thumbnails, which `upright_xmp` removes."""
    return any(find_elements(packet, _THUMBNAILS))


def extension_of(packet: bytes) -> bytes:
    """Return the identifier of the extension that a packet points to, b"" for none.

    >>> extension_of(b'<rdf:Description xmpNote:HasExtendedXMP="0123ABCD"/>')
    b'0123ABCD'
    """
    found = _POINTER.search(packet)
    return (found[1] or found[2] or b"") if found else b""


def without_pointer(packet: bytes) -> bytes:
    """Remove the pointer to an extension from a packet.

    >>> without_pointer(b'<rdf:Description xmpNote:HasExtendedXMP="0123ABCD"/>')
    b'<rdf:Description/>'
    """
    return _POINTER.sub(b"", packet)


def join_extension(packet: bytes, extension: bytes) -> bytes:
    """Join a packet and its extension into one packet. Raises ValueError if they conflict."""
    main = without_pointer(packet)
    head, added = _RDF.search(main), _RDF.search(extension)
    end, added_end = main.rfind(_RDF_END), extension.rfind(_RDF_END)
    if not head or not added or end < head.end() or added_end < added.end():
        raise ValueError("as it cannot be read")

    # Namespaces declared outside the extension's descriptions move to the packet's own tag.
    given: dict[bytes, bytes] = dict(_NAMESPACE.findall(main[: head.end()]))
    wanted: dict[bytes, bytes] = dict(_NAMESPACE.findall(extension[: added.end()]))
    if any(given.get(prefix, uri)[1:-1] != uri[1:-1] for prefix, uri in wanted.items()):
        raise ValueError("as it names namespaces otherwise")
    declared = b"".join(b" xmlns:%b=%b" % item for item in wanted.items() if item[0] not in given)
    opening = main[: head.end() - 1] + declared + b">"
    return opening + main[head.end() : end] + extension[added.end() : added_end] + main[end:]


def split_extension(packet: bytes) -> tuple[bytes, bytes]:
    """Return a packet that points to `packet` as its extension, and the extension's identifier."""
    import hashlib

    identifier = hashlib.md5(packet, usedforsecurity=False).hexdigest().upper().encode()
    return _POINTING % identifier, identifier
