"""Files and pipes: `load` reads images and arrays by suffix or content, `save` writes them atomically.

::

    data.py      what was read (Data) and what was written (Written)
    formats.py   the one table of formats: suffixes, what is read from each, what each can hold
    fit.py       whether an array fits a format, and the type to write
    recognise.py what first bytes look like
    installed.py which formats this installation has
    images.py    images, through Pillow
    arrays.py    .npy and .npz
    text.py      .csv, .tsv and .txt
    intake.py    pipes and lines that may never end
    integrity.py whether a picture's file is whole
    reading.py   load: open, recognise, decode
    writing.py   check_target and save: encode beside the target, then rename
"""

from convcli.io.arrays import check_mapped, release
from convcli.io.data import Data, Kind, Written
from convcli.io.fit import check_fit, check_settings, holds, output_dtype
from convcli.io.formats import Format, formats, lookup
from convcli.io.installed import available
from convcli.io.reading import load
from convcli.io.writing import (
    Room,
    check_target,
    grows_in_its_file,
    remove_leftovers,
    room,
    save,
    save_text,
    writing_bytes,
)

__all__ = [
    "Data",
    "Format",
    "Kind",
    "Room",
    "Written",
    "available",
    "check_fit",
    "check_mapped",
    "check_settings",
    "check_target",
    "formats",
    "grows_in_its_file",
    "holds",
    "load",
    "lookup",
    "output_dtype",
    "release",
    "remove_leftovers",
    "room",
    "save",
    "save_text",
    "writing_bytes",
]
