"""Select the metadata that an output's format holds, and report the rest."""

from __future__ import annotations

from dataclasses import replace

from convcli.io.data import NO_METADATA, Metadata
from convcli.io.formats import Format

WORDS = {
    "icc": "ICC profile",
    "density": "density",
    "aspect": "pixel aspect",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "photoshop": "Photoshop resources",
    "comments": "comment",
    "text": "text",
    "timing": "timing",
}
"""The fields of Metadata, and their names in messages; a format's own parts have names."""

_STALE = {
    "samples": "it goes with the input's samples alone",
    "colours": "it describes the colours or the number type of the input",
    "size": "it describes a picture of the input's size",
    "pages": "it describes the input's pages",
    "stack": "it describes the input's pages, their size and number type",
}
"""Why a part is dropped, by what it describes."""

_COLOURS = {b"GRAY": "gray", b"RGB ": "RGB", b"CMYK": "CMYK", b"Lab ": "LAB"}  # ICC.1:2022, 7.2.6


def carry_over(
    metadata: Metadata,
    form: Format,
    channels: int,
    *,
    same_type: bool,
    same_colours: bool = True,
    same_size: bool = True,
    same_pages: bool = True,
    frames: int = 1,
) -> tuple[Metadata, tuple[str, ...]]:
    """Return the metadata that an output holds, and messages about what is dropped, and why.

    form, channels, frames: of the output. same_type: whether it has the input's dtype, which a
    profile describes. same_colours: whether both are gray or both are in colour. same_size: whether
    it has the input's samples at the same positions. same_pages: whether it has the input's numbers
    of pages and channels.

    >>> from convcli.io.formats import lookup
    >>> given = Metadata(comments=(b"a cat",), density=(300, 300))
    >>> left, lost = carry_over(given, lookup("bmp"), 3, same_type=True)
    >>> left == Metadata(density=(300, 300)), lost
    (True, ('comment: bmp holds none',))
    """
    refusals = {kind: _refusal(metadata, kind, form) for kind in WORDS if getattr(metadata, kind)}
    dropped = {kind: why for kind, why in refusals.items() if why}
    mismatch = _profile_mismatch(metadata.icc, form, channels, same_type) if metadata.icc else ""
    if mismatch and "icc" not in dropped:
        dropped["icc"] = mismatch
    timed = len(metadata.timing.durations) if metadata.timing else frames
    if timed != frames and "timing" not in dropped:
        dropped["timing"] = f"it is of {timed} frames, the output has {frames}"
    left = replace(metadata, **{kind: getattr(NO_METADATA, kind) for kind in dropped})
    lost = [f"{WORDS[kind]}: {why}" for kind, why in dropped.items()]

    # A part is written to its own format if it still describes the output.
    changed = {"samples": True, "colours": not (same_colours and same_type), "size": not same_size}
    changed |= {"pages": not same_pages, "stack": not (same_pages and same_size and same_type)}
    kept = []
    for part in metadata.parts:
        if part.form != form.name and part.describes != "samples":
            lost.append(f"{part.name}: {form.name} holds none")
        elif part.page and not same_pages:
            lost.append(f"{part.name}: {_STALE['pages']}")
        elif part.describes and changed[part.describes]:
            lost.append(f"{part.name}: {_STALE[part.describes]}")
        else:
            kept.append(part)
    lost += [f"{name}: not carried over" for name in metadata.unheld]
    return replace(left, parts=tuple(kept), unheld=()), tuple(dict.fromkeys(lost))


def kinds(metadata: Metadata) -> list[str]:
    """Return the names of the metadata that a picture has.

    >>> kinds(Metadata(xmp=b"<x/>", density=(72, 72)))
    ['density', 'XMP']
    """
    held = [word for kind, word in WORDS.items() if getattr(metadata, kind)]
    return [*held, *dict.fromkeys(part.name for part in metadata.parts)]


def _refusal(metadata: Metadata, kind: str, form: Format) -> str:
    """Return the reason why a format does not hold a field of the metadata, or ""."""
    limit = form.metadata_limits.get(kind, 0)
    if not limit:
        return f"{form.name} holds none"
    if kind == "aspect" and metadata.aspect:
        ratio = max(metadata.aspect) / min(metadata.aspect)
        return f"{form.name} holds a ratio of at most {limit}" if ratio > limit else ""
    value = getattr(metadata, kind)
    contents = value if kind == "comments" else [value]
    too_long = any(isinstance(content, bytes) and len(content) > limit for content in contents)
    return f"{form.name} holds at most {limit:,} bytes" if too_long else ""


def _profile_mismatch(profile: bytes, form: Format, channels: int, same_type: bool) -> str:
    """Return the reason why a profile does not describe an output's samples, or ""."""
    described = _COLOURS.get(profile[16:20], "other")
    colours = "gray" if channels < 3 and form.gray else "RGB"
    if described != colours:
        return f"it describes {described} samples, the output is {colours}"
    return "" if same_type else "it describes samples of the input's number type"
