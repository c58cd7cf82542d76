"""Files and pipes: `load` reads images and arrays by suffix or content, `save` writes them atomically.

::

    data.py      what was read (Data), what its file says besides (Header), and what was written (Written)
    formats.py   the one table of formats: suffixes, what is read from each, what each can hold
    fit.py       whether an array fits a format, and the type to write
    recognise.py what first bytes look like
    installed.py which extras and codecs are there
    images.py    images, decoded through Pillow
    decoding.py  what decoding a picture takes in memory
    frames.py    several frames as one array
    modes.py     the one table of Pillow's modes: how each is read
    kept.py      what a picture's file says besides its samples
    encoding.py  images, encoded through Pillow
    png.py       large PNG, encoded by all cores
    gif.py       GIF, each frame in a palette
    palette.py   coloured pictures in palettes
    pillow.py    Pillow's own settings
    arrays.py    .npy and .npz
    text.py      .csv, .tsv and .txt
    raw.py       .raw, .bin and .dat
    png16.py     .png of 16 bits and several channels, read by an extra
    tiff.py      .tiff beyond Pillow, and stacks, by an extra
    nifti.py     .nii and .nii.gz, by an extra
    sound.py     .wav, by an extra
    inflow.py    pipes, kept while they are read
    gunzip.py    gzip, unpacked while it is read
    intake.py    text whose lines may never end
    integrity.py whether a picture's file is whole
    reading.py   load: open, recognise, decode
    writing.py   check_target and save: encode beside the target, then rename
"""

from convcli.io.arrays.npy import check_mapped, held, release
from convcli.io.arrays.raw import RawLayout
from convcli.io.capabilities import check_fit, check_header, check_settings, holds, output_dtype
from convcli.io.data import NO_METADATA, Data, Header, Kind, Metadata, Written
from convcli.io.formats import Format, all_formats, available, check_extra, has, lookup
from convcli.io.images.metadata import carry_over, kinds
from convcli.io.reading import load
from convcli.io.writing import (
    OutputBuffer,
    check_name,
    check_target,
    grows_in_its_file,
    output_buffer,
    remove_leftovers,
    save,
    save_text,
    writing_bytes,
)

__all__ = [
    "NO_METADATA",
    "Data",
    "Format",
    "Header",
    "Kind",
    "Metadata",
    "OutputBuffer",
    "RawLayout",
    "Written",
    "all_formats",
    "available",
    "carry_over",
    "check_extra",
    "check_fit",
    "check_header",
    "check_mapped",
    "check_name",
    "check_settings",
    "check_target",
    "grows_in_its_file",
    "has",
    "held",
    "holds",
    "kinds",
    "load",
    "lookup",
    "output_buffer",
    "output_dtype",
    "release",
    "remove_leftovers",
    "save",
    "save_text",
    "writing_bytes",
]
