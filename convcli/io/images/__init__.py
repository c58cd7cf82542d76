"""Read and write pictures: one codec per format, and the modules that the codecs share.

::

    codec.py             base class of the codecs, and WebP
    bmp.py               BMP
    bmp_bitfields.py     BMP with bit fields that Pillow does not read
    netpbm.py            PBM, PGM, PPM and PFM
    png.py               PNG: through Pillow, or 16 bits in several channels
    png_chunks.py        PNG: find and check chunks
    png_encode.py        PNG: compress on all cores
    jpeg.py              JPEG
    jpeg_segments.py     JPEG: find segments
    jpeg_tables.py       JPEG: quantisation tables and subsampling
    jpeg2000.py          JPEG 2000 (read only)
    jpeg2000_header.py   JPEG 2000: components, channels, palette
    gif.py               GIF: palettes and frames
    gif_blocks.py        GIF: find and check blocks
    tiff.py              TIFF: through Pillow what that reads right, all else through tifffile
    directory.py         read and write directories of tags of a TIFF or an EXIF block
    tiff_directories.py  TIFF: pages, their tags, and where the samples are
    tiff_survey.py       TIFF: check offsets and lengths
    tiff_pages.py        TIFF: read the samples of pages through tifffile
    tiff_colour.py       TIFF: samples that are neither gray nor RGB, or not of whole bytes
    tiff_write.py        TIFF: write through tifffile
    read.py              decode a picture, or all of its frames, through Pillow
    animation.py         choose a frame, compose frames on a canvas, or stack all frames
    modes.py             how each of Pillow's modes is read
    metadata/            read, convert and write metadata, one module per format or kind
    integrity.py         compare a file with the length that it declares; the error for damage
    pillow.py            Pillow's settings and errors
"""
