"""The transfer curve between a picture's samples and light, by its file: by default sRGB's.

Sources: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 4.3 and 11.3.2; ITU-T
H.273, table 3; ICC.1:2022, 10.6 and 10.18.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.io import Data


@dataclass(frozen=True)
class Curve:
    """Light from 0 to 1 for codes from 0 to 1: a power, with a line for the darkest codes.

    The power is ((code + offset) / (1 + offset)) ** gamma, the line code / slope up to the code
    `dark`, 0 without a line. name: in messages, after "by".
    """

    name: str
    gamma: float
    offset: float = 0.0
    slope: float = 1.0
    dark: float = 0.0

    def decode(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the light of codes; the curve continues above 1 and, mirrored, below 0.

        >>> SRGB.decode(np.array([0, 0.5, 1])).round(4).tolist()
        [0.0, 0.214, 1.0]
        """
        magnitudes = np.abs(codes)
        bent = ((magnitudes + self.offset) / (1 + self.offset)) ** self.gamma
        return np.copysign(np.where(magnitudes <= self.dark, magnitudes / self.slope, bent), codes)

    @property
    def dark_light(self) -> float:
        """The light of the last code of the line."""
        return self.dark / self.slope

    @property
    def is_usable(self) -> bool:
        """Whether the parameters are plausible; those of a damaged file may be any numbers."""
        powers = 0.1 <= self.gamma <= 10 and 0 <= self.offset <= 1
        return powers and 0.01 <= self.slope <= 1000 and 0 <= self.dark < 1


def _power(gamma: float, source: str) -> Curve:
    """Return a curve without a line; a gamma of 1 is linear."""
    return Curve(f"{source}: " + ("linear" if gamma == 1 else f"a power of {gamma:.4g}"), gamma)


SRGB = Curve("the sRGB curve", 2.4, 0.055, 12.92, 0.04045)
_BT709 = Curve(
    "its cICP: the BT.709 curve", 1 / 0.45, 0.099296826809442, 4.5, 4.5 * 0.018053968510807
)
_TRANSFERS = {
    **dict.fromkeys((1, 6, 11, 14, 15), _BT709),
    4: _power(2.2, "its cICP"),
    5: _power(2.8, "its cICP"),
    8: _power(1, "its cICP"),
    13: SRGB,
}
"""Transfer characteristics of H.273."""
_UNKNOWN_TRANSFERS = {
    7: "SMPTE 240M",
    9: "log 100:1",
    10: "log 316:1",
    12: "BT.1361",
    16: "PQ",
    17: "ST 428",
    18: "HLG",
}
_UNSPECIFIED = 2
_NEAR = 1 / 512
"""Largest distance at which a profile's curve counts as sRGB's: half a level of 8 bits."""


class Light(NamedTuple):
    """The curve that decodes a picture, and warnings about what its file declares otherwise."""

    curve: Curve
    warnings: tuple[str, ...] = ()


def light_of(data: Data) -> Light:
    """Return a picture's curve: by its cICP, ICC profile, sRGB or gAMA, in that order.

    The default is sRGB's.
    """
    chunks = {part.kind[:4]: part.content for part in data.metadata.parts if part.form == "png"}
    warnings = []
    if cicp := chunks.get(b"cICP"):
        curve, refused = _by_cicp(cicp)
        if curve:
            return Light(curve)
        if refused:
            warnings.append(f"{data.called} says by cICP that its samples are {refused}")
    found = None
    if data.metadata.icc:
        found = _by_profile(data.metadata.icc)
        if not found:
            warnings.append(f"{data.called} has an ICC profile with another curve than sRGB")
    elif b"sRGB" not in chunks and (gamma := int.from_bytes(chunks.get(b"gAMA", b""), "big")):
        found = _power(100_000 / gamma, "its gAMA")
        if not found.is_usable:
            meaning = found.name.removeprefix("its gAMA: ")
            warnings.append(f"{data.called} says by gAMA that its samples are {meaning}")
            found = None
    curve = found or SRGB
    return Light(
        curve,
        tuple(f"{each}, which --linear does not decode: it uses {curve.name}" for each in warnings),
    )


def _by_cicp(content: bytes) -> tuple[Curve | None, str]:
    """Return the curve of cICP code points, or why there is none: "" if it is unspecified."""
    _, transfer, _, full_range = content
    if transfer == _UNSPECIFIED:
        return None, ""
    if transfer not in _TRANSFERS:
        return None, _UNKNOWN_TRANSFERS.get(transfer, f"of transfer characteristic {transfer}")
    return (_TRANSFERS[transfer], "") if full_range else (None, "of narrow range")


def _by_profile(icc: bytes) -> Curve | None:
    """Return the curve of a gray profile, or the common one of red, green and blue, else None."""
    try:
        tags = _read_tags(icc)
        names = (b"kTRC",) if b"kTRC" in tags else (b"rTRC", b"gTRC", b"bTRC")
        first, *others = {tags[name] for name in names}
        curve = None if others else _read_curve(first)
    except (ValueError, LookupError, struct.error, ArithmeticError):
        return None
    return curve if curve and curve.is_usable else None


def _read_tags(icc: bytes) -> dict[bytes, bytes]:
    count = int.from_bytes(icc[128:132], "big")
    entries = struct.iter_unpack(">4sII", icc[132 : 132 + 12 * count])
    return {name: icc[start : start + size] for name, start, size in entries}


def _read_curve(content: bytes) -> Curve | None:
    """Return the curve of a tag, SRGB if it is close to that.

    Returns None for a table that is not close. Raises ValueError and struct.error for a damaged
    tag.
    """
    codes = np.linspace(0, 1, 256)
    curve = None
    if content[:4] == b"curv":
        (count,) = struct.unpack(">I", content[8:12])
        values = np.frombuffer(content[12 : 12 + 2 * count], ">u2")
        if count < 2:
            curve = _power(float(values[0]) / 256 if count else 1, "its ICC profile")
            light = curve.decode(codes)
        else:
            light = np.interp(codes, np.linspace(0, 1, count), values / 65535)
    else:
        curve = _read_parameters(content)
        light = curve.decode(codes)
    return SRGB if np.abs(light - SRGB.decode(codes)).max() <= _NEAR else curve


def _read_parameters(content: bytes) -> Curve:
    """Return a parametric curve, a power with or without a line; raise ValueError for others."""
    kind, function = struct.unpack(">4s4xH", content[:10])
    count = (len(content) - 12) // 4
    fixed = struct.iter_unpack(">i", content[12 : 12 + 4 * count])
    values = [value / 65536 for (value,) in fixed]
    if kind != b"para" or function not in (0, 3):
        raise ValueError("no such curve")
    if function == 0:
        return _power(values[0], "its ICC profile")
    gamma, scale, shift, slope, dark = values[:5]
    if abs(scale + shift - 1) > _NEAR:
        raise ValueError("its white is not 1")
    return Curve("its ICC profile", gamma, shift / scale, 1 / slope, dark)
