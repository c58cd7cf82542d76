"""Zarr arrays, version 2 and 3, and OME-Zarr images: the zarr package reads and writes chunks.

An array is a folder of chunks with its metadata. While an output is written, its metadata is kept
under UNFINISHED, where no reader looks for it: an array that is not finished cannot be opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, FileError, brief
from convcli.io.arrays.ome import OmeImage, ZarrHeader, multiscales
from convcli.io.arrays.zarr_folder import zarr_folder
from convcli.io.codec import Codec
from convcli.io.data import Data
from convcli.io.formats import NUMBERS, by_suffix
from convcli.io.parts import Index, placeholder
from convcli.stores import is_url, location

UNFINISHED = ".convcli"
"""The folder in an output that holds its metadata and the list of its regions until it is whole."""

MANIFEST = "regions.json"
METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


class Zarr(Codec):
    """A folder with an array, or with a group of arrays of which one is read."""

    def open_store(self, path: str, name: str) -> Data:
        """Return an array's shape, type and metadata; its values are read part by part.

        path: of the array, or of a group, whose first array is taken. Raises FileError for what is
        no array, is not finished, or is compressed by a codec that is not installed.
        """
        root, inner = split_store(path)
        folder = zarr_folder(root)
        if folder.has(f"{UNFINISHED}/{MANIFEST}"):
            raise FileError(
                f"{root} is not finished", "expected a whole array", "finish it with --resume"
            )
        if not zarr_folder(path).exists:
            raise FileError(f"{path} does not exist", "expected a zarr array")
        with _translated(path):
            import zarr

            node: Any = zarr.open(folder.open(), path=inner or None, mode="r")
        notes: tuple[str, ...] = ()
        image = None
        array: Any = node
        if isinstance(node, zarr.Group):
            key = _first_array(node, name)
            keys = sorted(node.array_keys())
            notes = (f"array {key}" + (f" of {', '.join(keys)}" if len(keys) > 1 else ""),)
            image = OmeImage.of(node.attrs.asdict(), key)
            path, array = f"{path}/{key}", node[key]
        elif inner:
            image = _image_around(root, inner)
        parts = ZarrParts(path, array, path)
        if parts.dtype.kind not in NUMBERS or parts.dtype.itemsize > 8:
            raise DtypeError(f"{name} holds {parts.dtype} values", "expected real numbers")
        header = ZarrHeader(
            version=array.metadata.zarr_format,
            chunks=tuple(array.chunks),
            shards=array.shards,
            compressors=tuple(array.compressors),
            attributes=array.attrs.asdict(),
            image=image,
        )
        empty = placeholder(parts.shape, parts.dtype)
        return Data(
            empty,
            "array",
            "zarr",
            name,
            notes=notes,
            header=header,
            spacing=() if image is None else image.spacing,
            parts=parts,
        )


def split_store(path: str) -> tuple[str, str]:
    """Split the path or the URL of an array into that of its store and its name there.

    >>> split_store("scans/big.zarr/labels/0"), split_store("big.zarr")
    (('scans/big.zarr', 'labels/0'), ('big.zarr', ''))
    >>> split_store("s3://bucket/big.zarr/0")
    ('s3://bucket/big.zarr', '0')
    """
    parts = (path if is_url(path) else PurePath(path).as_posix()).rstrip("/").split("/")
    for place in range(len(parts), 0, -1):
        form = by_suffix(parts[place - 1])
        if form is not None and form.name == "zarr":
            return "/".join(parts[:place]), "/".join(parts[place:])
    return path, ""


@contextmanager
def _translated(path: str) -> Iterator[None]:
    place = location(path)
    try:
        with nullcontext() if isinstance(place, Path) else place.translated():
            yield
    except FileError:
        raise
    except (KeyError, ValueError, TypeError, RuntimeError, FileNotFoundError) as error:
        words = brief(error)
        if type(error).__name__ == "UnknownCodecError":
            codec = words.split(":")[-1].strip(" '\"") or words
            given = f"{path} is compressed by the codec '{codec}'"
            raise FileError(given, "which is not installed", f"install {codec}") from error
        raise FileError(f"{path} is no zarr array", words) from error


def _first_array(group: Any, name: str) -> str:
    """Return the first dataset of an image, or the first array of a group."""
    images = multiscales(group.attrs.asdict())
    if images:
        return str(images[0]["datasets"][0]["path"])
    keys = sorted(group.array_keys())
    if not keys:
        raise FileError(f"{name} is a zarr group without arrays", "expected one")
    return str(keys[0])


def _image_around(root: str, inner: str) -> OmeImage | None:
    """Return the image that an array of a group is a level of, if there is one."""
    import zarr

    try:
        group = zarr.open_group(zarr_folder(root).open(), mode="r")
    except (OSError, KeyError, ValueError):
        return None
    return OmeImage.of(group.attrs.asdict(), inner)


@dataclass(frozen=True, eq=False)
class ZarrParts:
    """The array of a store, opened anew where it is unpickled."""

    path: str
    array: Any = field(repr=False)
    name: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        given: np.dtype[Any] = np.dtype(self.array.dtype)
        return given.newbyteorder("=")

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(self.array.chunks)

    @property
    def identity(self) -> str:
        folder = zarr_folder(self.path)
        found = [folder.read(name) for name in METADATA if folder.has(name)]
        return f"{self.path} {hashlib.sha256(b''.join(found)).hexdigest()}"

    def read(self, index: Index) -> NDArray[Any]:
        """Return a part; chunks that are missing have the fill value."""
        try:
            values = self.array[index]
        except Exception as error:  # a codec may raise anything
            raise self._damage(index, error) from error
        return np.asarray(values, self.dtype)

    def _damage(self, index: Index, error: Exception) -> FileError:
        """Return the error for a part that cannot be read, with the name of the first bad chunk."""
        steps = [
            range(part.start // size, -(-part.stop // size))
            for part, size in zip(index, self.chunks, strict=True)
        ]
        for chunk in product(*steps):
            box = tuple(
                slice(at * size, min((at + 1) * size, n))
                for at, size, n in zip(chunk, self.chunks, self.shape, strict=True)
            )
            try:
                self.array[box]
            except Exception as bad:  # a codec may raise anything
                key = self.array.metadata.encode_chunk_key(chunk)
                return FileError(f"chunk {key} of {self.name} is damaged", brief(bad))
        return FileError(f"{self.name} cannot be read", brief(error))

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_parts, (zarr_folder(self.path).absolute, self.name)


def _open_parts(path: str, name: str) -> ZarrParts:
    import zarr

    root, inner = split_store(path)
    return ZarrParts(path, zarr.open_array(zarr_folder(root).open(), path=inner, mode="r"), name)
