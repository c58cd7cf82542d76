"""OME-Zarr: the axes of an image and the positions of its samples, versions 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from convcli.shapes.units import Measure, spacing_of

_UNITS = {
    "nanometer": "nm",
    "micrometer": "um",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "kilometer": "km",
}
"""Units of length by the names that the specification recommends."""


def multiscales(attributes: dict[str, Any]) -> list[Any]:
    """Return the images that the attributes of a group describe."""
    ome = attributes.get("ome", attributes)
    found = ome.get("multiscales", []) if isinstance(ome, dict) else []
    return found if isinstance(found, list) else []


@dataclass(frozen=True, eq=False)
class OmeImage:
    """The axes of an OME-Zarr image, and the positions of one level's samples.

    Source: the specification of OME-Zarr, versions 0.4 and 0.5, "multiscales" metadata.
    """

    version: str
    axes: tuple[dict[str, Any], ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    name: str = ""

    @classmethod
    def of(cls, attributes: dict[str, Any], key: str) -> OmeImage | None:
        """Return the image of a group's attributes for one of its arrays; None if there is none."""
        for image in multiscales(attributes):
            for level in image.get("datasets", ()):
                if str(level.get("path")).strip("/") != key.strip("/"):
                    continue
                axes = tuple(image.get("axes", ()))
                scale, shift = np.ones(len(axes)), np.zeros(len(axes))
                for change in (
                    *level.get("coordinateTransformations", ()),
                    *image.get("coordinateTransformations", ()),
                ):
                    factor = np.array(change.get("scale", 1.0), float)
                    scale, shift = scale * factor, shift * factor
                    shift = shift + np.array(change.get("translation", 0.0), float)
                version = "0.5" if "ome" in attributes else "0.4"
                facts = tuple(map(float, scale)), tuple(map(float, shift))
                return cls(version, axes, *facts, str(image.get("name", "")))
        return None

    def moved(
        self, starts: Sequence[float], strides: Sequence[int], axes: Sequence[int]
    ) -> OmeImage:
        scale, shift = list(self.scale), list(self.translation)
        for start, stride, axis in zip(starts, strides, axes, strict=True):
            shift[axis] += start * scale[axis]
            scale[axis] *= stride
        return replace(self, scale=tuple(scale), translation=tuple(shift))

    @property
    def spacing(self) -> tuple[Measure, ...]:
        """The distance of samples along each axis; () unless all axes are of space, with units."""
        return spacing_of(self.scale, [_UNITS.get(axis.get("unit", ""), "") for axis in self.axes])

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of a group with this image as its only level, "0"."""
        changes = [
            {"type": "scale", "scale": list(self.scale)},
            {"type": "translation", "translation": list(self.translation)},
        ]
        level = {"path": "0", "coordinateTransformations": changes}
        image: dict[str, Any] = {"axes": list(self.axes), "datasets": [level]}
        if self.name:
            image["name"] = self.name
        if self.version == "0.4":
            return {"multiscales": [{**image, "version": "0.4"}]}
        return {"ome": {"version": self.version, "multiscales": [image]}}


@dataclass(frozen=True, eq=False)
class ZarrHeader:
    """How an array is stored, which an output of the same format keeps, and its attributes."""

    version: int = 3
    chunks: tuple[int, ...] = ()
    shards: tuple[int, ...] | None = None
    compressors: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    image: OmeImage | None = None
    formats: ClassVar[tuple[str, ...]] = ("zarr",)

    def moved(
        self, starts: Sequence[float], strides: Sequence[int], axes: Sequence[int]
    ) -> ZarrHeader:
        image = None if self.image is None else self.image.moved(starts, strides, axes)
        return replace(self, image=image)
