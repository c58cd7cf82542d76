"""Files and pipes: `load` reads images and arrays, `save` writes them atomically.

A format is one row of the table in formats.py and one codec in a file of its own; all else asks
these two.

::

    formats.py       the table of formats: names, suffixes, first bytes, and what each reads and holds
    foreign.py       the table of formats that are not read: how each is recognised, and what converts it
    codec.py         what a codec does (read, write, holds), and what is asked of it (ReadRequest, WriteRequest)
    reading.py       load: open, recognise, decode
    writing.py       check_target and save: encode into a temporary file, then publish it
    publishing.py    temporary files beside their targets, and how one takes its target's name
    capabilities.py  whether a format can be asked to write an array, with which settings
    data.py          what was read (Data), what its file says besides (Header, Metadata), and what was written
    streams.py       pipes and gzip as streams that can be read again
    trailing.py      what follows the end of the first picture or array, in words
    arrays/          npy (.npy, .npz), text (.csv, .tsv, .txt), raw, and by extras nifti and wav
    images/          codec (what Pillow reads and writes as it is), png, jpeg, jpeg2000, gif, tiff: the other codecs
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
