"""Files and pipes: `load` reads images and arrays by suffix or content, `save` writes them atomically.

::

    data.py      what was read (Data) and what was written (Written)
    formats.py   the one table of formats: suffixes, what each can hold, how each is recognised
    images.py    images, through Pillow
    arrays.py    .npy and .npz
    text.py      .csv, .tsv and .txt
    reading.py   load: open, recognise, decode
    writing.py   check_target and save: encode beside the target, then rename
"""

from convcli.io.arrays import release
from convcli.io.data import Data, Kind, Written
from convcli.io.formats import Format, check_fit, formats, holds, output_dtype
from convcli.io.images import PIXEL_LIMIT
from convcli.io.reading import load
from convcli.io.writing import Room, check_target, room, save, save_text

__all__ = [
    "PIXEL_LIMIT",
    "Data",
    "Format",
    "Kind",
    "Room",
    "Written",
    "check_fit",
    "check_target",
    "formats",
    "holds",
    "load",
    "output_dtype",
    "release",
    "room",
    "save",
    "save_text",
]
