"""Pictures: the codecs of their formats, and what these share.

::

    codec.py      formats that Pillow reads and writes as they are: BMP, WebP, netpbm; the base of the others
    bmp_bitfields.py     BMP whose samples lie in other bit fields than Pillow knows
    png.py        PNG: through Pillow, or 16 bits in several channels; png_chunks and png_encode, which uses all cores
    jpeg.py       JPEG: settings, and its end; jpeg_segments
    jpeg2000.py   JPEG 2000, which is only read: tiles, bits, and its end
    gif.py        GIF: palettes and frames; gif_blocks
    tiff.py       TIFF: through Pillow what that reads right, all else through tifffile
    tiff_directories.py  tags, pages, where the samples are, and whether the file is whole
    tiff_colour.py       samples that are neither gray nor RGB, or have no whole bytes
    tiff_write.py        a TIFF written through tifffile
    read.py       decode a picture, or all of its frames, through Pillow
    animation.py  choose a frame, or stack all frames
    modes.py      how each of Pillow's modes is read
    metadata/     ICC profile, density, EXIF, XMP, IPTC, comment, text and timing: read, carried over, written
    integrity.py  whether a file is whole: lengths that headers declare, and the error for damage
    pillow.py     Pillow's settings and errors
"""
