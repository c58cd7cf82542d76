"""Define how each of Pillow's modes is read."""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """How a mode is read: the modes it is converted to, the dtype, and a note.

    opaque, transparent: the mode for a file without and with transparency; "" converts nothing.
    """

    opaque: str
    transparent: str
    dtype: str = "uint8"
    note: str = ""

    @property
    def words(self) -> tuple[str, str, str]:
        """Describe the samples without and with transparency, and the conversion.

        >>> MODES["P"].words
        ('RGB uint8', 'RGBA uint8', 'palette expanded')
        """
        opaque, transparent = (
            f"{_SAMPLES.get(mode, mode)} {self.dtype}" for mode in (self.opaque, self.transparent)
        )
        return opaque, transparent, self.note


_SAMPLES = {"": "gray", "L": "gray", "I": "gray", "F": "gray", "LA": "gray and alpha"}


def _to_rgb(what: str) -> Reading:
    return Reading("RGB", "RGBA", note=f"{what} converted to RGB")


MODES = {
    "1": Reading("L", "LA", note="bits expanded to 0 and 255"),
    "L": Reading("L", "LA"),
    "LA": Reading("LA", "LA"),
    "La": Reading("LA", "LA", note="alpha unpremultiplied"),
    "P": Reading("RGB", "RGBA", note="palette expanded"),
    "PA": Reading("RGBA", "RGBA", note="palette expanded"),
    "RGB": Reading("RGB", "RGBA"),
    "RGBX": Reading("RGB", "RGB", note="unused fourth channel dropped"),
    "RGBA": Reading("RGBA", "RGBA"),
    "RGBa": Reading("RGBA", "RGBA", note="alpha unpremultiplied"),
    "CMYK": _to_rgb("CMYK"),
    "YCbCr": _to_rgb("YCbCr"),
    "LAB": _to_rgb("LAB"),
    "HSV": _to_rgb("HSV"),
    "I": Reading("I", "I", "int32"),
    "F": Reading("F", "F", "float32"),
    **{f"I;16{order}": Reading("", "", "uint16") for order in ("", "L", "B", "N")},
}
