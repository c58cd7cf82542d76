"""Files and pipes: `load` reads images and arrays, `save` writes them atomically.

A format is one row of the table in formats.py and one codec in a file of its own.

::

    formats.py       the table of formats: names, suffixes, first bytes, supported dtypes
    foreign.py       the table of formats that are not read, with a converter for each
    codec.py         Codec (read, write, holds), ReadRequest and WriteRequest
    reading.py       load: open, recognise, decode
    writing.py       check_target and save: encode into a temporary file, then publish it
    publishing.py    create temporary files, and rename one to its target
    capabilities.py  whether a format can write an array, with which settings
    data.py          what was read: Data, Header and Metadata; and what was written
    streams.py       pipes and gzip as streams that can be read again
    trailing.py      bytes that follow the end of the first picture or array
    arrays/          npy (.npy, .npz), text (.csv, .tsv, .txt), raw, and by extras nifti and wav
    images/          codec, png, jpeg, jpeg2000, gif, tiff, ...: one codec each
                     read, animation, modes, metadata, pillow, integrity: what these share
"""

from convcli.io.arrays.npy import check_mapped, held, release, split_key
from convcli.io.codec import PLAIN, Codec, ReadRequest, WriteRequest
from convcli.io.data import (
    NO_METADATA,
    Data,
    Encoding,
    Header,
    Kind,
    Metadata,
    Part,
    RawLayout,
    Text,
    Written,
)
from convcli.io.formats import Extension, Format, all_formats, available, has, lookup
from convcli.io.images.metadata.carry import carry_over, kinds
from convcli.io.images.metadata.moved import Place, Places, move_metadata
from convcli.io.publishing import create_temporary, exists_error, publish, remove_temporaries
from convcli.io.reading import load
from convcli.io.writing import (
    OutputBuffer,
    OutputTarget,
    check_name,
    check_target,
    output_buffer,
    save,
    save_bytes,
    save_text,
)

__all__ = [
    "NO_METADATA",
    "PLAIN",
    "Codec",
    "Data",
    "Encoding",
    "Extension",
    "Format",
    "Header",
    "Kind",
    "Metadata",
    "OutputBuffer",
    "OutputTarget",
    "Part",
    "Place",
    "Places",
    "RawLayout",
    "ReadRequest",
    "Text",
    "WriteRequest",
    "Written",
    "all_formats",
    "available",
    "carry_over",
    "check_mapped",
    "check_name",
    "check_target",
    "create_temporary",
    "exists_error",
    "has",
    "held",
    "kinds",
    "load",
    "lookup",
    "move_metadata",
    "output_buffer",
    "publish",
    "release",
    "remove_temporaries",
    "save",
    "save_bytes",
    "save_text",
    "split_key",
]
