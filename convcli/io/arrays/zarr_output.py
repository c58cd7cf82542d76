"""Write a zarr array region by region, so that no reader finds it before it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, OutputError, reason
from convcli.io.arrays.ome import ZarrHeader
from convcli.io.arrays.zarr import MANIFEST, METADATA, UNFINISHED, split_store
from convcli.io.arrays.zarr_folder import ZarrFolder, zarr_folder
from convcli.io.parts import Index
from convcli.io.publishing import exists_error
from convcli.shapes.parse import show

CHUNK = 1 << 20
"""Values in a chunk of an output whose input has no chunks."""


@dataclass(frozen=True)
class ZarrOutput:
    """An array that is written region by region into a store of its own.

    metadata: the files that describe it, by their names in the store. key: of the array there.
    """

    path: str
    key: str
    metadata: dict[str, bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    """Of the parts that one task writes alone: chunks, or whole shards."""

    @property
    def folder(self) -> ZarrFolder:
        return zarr_folder(self.path)

    def begin(self) -> None:
        """Create the store without metadata that a reader would find. Raises OutputError."""
        for name, content in self.metadata.items():
            self.folder.write(f"{UNFINISHED}/{name}", content)

    def write(self, index: Index, values: NDArray[Any]) -> None:
        """Write a part that covers whole chunks. Raises OutputError."""
        try:
            self._array[index] = values
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written", reason(error)) from error

    @cached_property
    def _array(self) -> Any:
        import zarr
        from zarr.storage import StorePath

        store = self.folder.open()
        described = zarr.open_array(store, path=f"{UNFINISHED}/{self.key}", mode="r").metadata
        return zarr.Array(zarr.AsyncArray(described, StorePath(store, self.key)))

    def finish(self) -> None:
        """Publish the metadata, that of the array before that of its group."""
        for name in sorted(self.metadata, key=lambda name: (-name.count("/"), name)):
            self.folder.write(name, self.metadata[name])
        self.folder.remove(UNFINISHED)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_array"}
        return {**state, "path": self.folder.absolute}


def check_output(path: str, *, overwrite: bool, resume: bool) -> None:
    """Raise FileError if a store is in the way, or if there is something else.

    overwrite, resume: whether one may be replaced, or continued.
    """
    root, inner = split_store(path)
    if inner:
        raise FileError(f"{path} is in the store {root}", "expected a store", f"write {root}")
    folder = zarr_folder(path)
    folder.check_parent()
    if not folder.exists:
        return
    is_ours = has_begun(folder) or any(folder.has(name) for name in METADATA)
    if not (folder.is_empty or is_ours):
        raise FileError(f"{path} exists and is no zarr array", "expected a new name")
    if folder.has(f"{UNFINISHED}/{MANIFEST}") and not (overwrite or resume):
        raise FileError(
            f"{path} is not finished", "expected a new store", "pass --resume or --overwrite"
        )
    if is_ours and not (overwrite or resume):
        raise exists_error(path)


def has_begun(folder: ZarrFolder) -> bool:
    """Return whether a folder holds an output that is not finished."""
    return zarr_folder(f"{folder.absolute}/{UNFINISHED}").exists


def default_chunks(shape: Sequence[int]) -> tuple[int, ...]:
    """Return chunks of about CHUNK values, equally long along all axes.

    >>> default_chunks((1000, 1000, 1000)), default_chunks((10**6, 3))
    ((102, 101, 101), (349525, 3))
    """
    chunks = list(shape)
    left, values = len(shape), CHUNK
    for axis in sorted(range(len(shape)), key=shape.__getitem__):
        side = max(round(values ** (1 / left)), 1) if left > 1 else values
        chunks[axis] = min(shape[axis], max(side, 1))
        values = max(values // chunks[axis], 1)
        left -= 1
    return tuple(chunks)


def plan_output(
    path: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    header: ZarrHeader | None,
    *,
    chunks: tuple[int, ...] | None,
    codec: str | None,
    level: int | None,
    strip: bool,
) -> ZarrOutput:
    """Decide chunks, compression and metadata of an output; nothing is written to its path.

    By default they are those of a zarr input. Raises FileError for chunks of other axes.
    """
    import zarr
    from zarr.storage import MemoryStore

    header = header or ZarrHeader()
    kept = len(header.chunks) == len(shape) and chunks is None
    if chunks is not None and len(chunks) != len(shape):
        given = f"--chunks {show(chunks)} has {len(chunks)} entries"
        raise FileError(given, f"the output {show(shape)} has {len(shape)} axes")
    given_chunks = header.chunks if kept else chunks or default_chunks(shape)
    sizes = tuple(min(size, n) for size, n in zip(given_chunks, shape, strict=True))
    shards = header.shards if kept and sizes == header.chunks else None
    image = header.image if header.image and len(header.image.axes) == len(shape) else None
    attributes = {} if strip else header.attributes
    options: dict[str, Any] = {
        "shape": shape,
        "dtype": dtype,
        "chunks": sizes,
        "shards": shards,
        "zarr_format": header.version,
        "attributes": attributes,
    }
    if codec is not None or level is not None:
        options["compressors"] = _compressors(codec or "zstd", level, header.version)
    elif header.chunks:
        options["compressors"] = header.compressors or None
    store, key = MemoryStore(), "" if strip or image is None else "0"
    if key and image is not None:
        version: Any = header.version
        zarr.create_group(store, zarr_format=version, attributes=image.attributes)
    array = zarr.create_array(store, name=key or None, **options)
    metadata = _files(store)
    return ZarrOutput(path, key, metadata, shape, dtype, tuple(array.shards or array.chunks))


def _files(store: Any) -> dict[str, bytes]:
    """Return the metadata files of a store in memory."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    async def collect() -> dict[str, bytes]:
        names = [name async for name in store.list()]
        prototype = default_buffer_prototype()
        return {name: (await store.get(name, prototype)).to_bytes() for name in names}

    return dict(sync(collect()))


def _compressors(codec: str, level: int | None, version: int) -> Any:
    """Return the compressors of a name in CODECS."""
    if codec == "none":
        return None
    if version == 2:
        import numcodecs

        makers = {
            "zstd": lambda: numcodecs.Zstd(level=level or 0),
            "gzip": lambda: numcodecs.GZip(level=5 if level is None else level),
            "blosc": lambda: numcodecs.Blosc(clevel=5 if level is None else level),
            "lz4": lambda: numcodecs.Blosc(cname="lz4", clevel=5 if level is None else level),
        }
        return makers[codec]()
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    more: dict[str, Any] = {
        "zstd": lambda: ZstdCodec(level=level or 0),
        "gzip": lambda: GzipCodec(level=5 if level is None else level),
        "blosc": lambda: BloscCodec(clevel=5 if level is None else level),
        "lz4": lambda: BloscCodec(cname="lz4", clevel=5 if level is None else level),
    }
    return more[codec]()
