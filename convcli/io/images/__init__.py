"""Pictures: the codecs of their formats, and what these share.

::

    codec.py      formats that Pillow reads and writes as they are: WebP; the base of the others
    bmp.py        BMP: its colours, and how long its samples are
    bmp_bitfields.py     BMP whose samples lie in other bit fields than Pillow knows
    netpbm.py     PBM, PGM, PPM and PFM: their comments
    png.py        PNG: through Pillow, or 16 bits in several channels; png_chunks and png_encode, which uses all cores
    jpeg.py       JPEG: settings, and its end; jpeg_segments, and jpeg_tables: how it is quantised
    jpeg2000.py   JPEG 2000, which is only read: tiles, bits, and its end
    gif.py        GIF: palettes and frames; gif_blocks
    tiff.py       TIFF: through Pillow what that reads right, all else through tifffile
    directory.py         directories of tags, of a TIFF or an EXIF block, read and written
    tiff_directories.py  pages, their tags, and where the samples are
    tiff_survey.py       whether the file is whole, and what beside the samples leads nowhere
    tiff_pages.py        the samples of pages read through tifffile
    tiff_colour.py       samples that are neither gray nor RGB, or have no whole bytes
    tiff_write.py        a TIFF written through tifffile
    read.py       decode a picture, or all of its frames, through Pillow
    animation.py  choose a frame, or stack all frames
    modes.py      how each of Pillow's modes is read
    metadata/     ICC profile, density, EXIF, XMP, IPTC, comment, text and timing: read, carried over, written
    integrity.py  whether a file is whole: lengths that headers declare, and the error for damage
    pillow.py     Pillow's settings and errors
"""
