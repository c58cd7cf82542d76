"""What a picture's file says besides its samples: read for the upright picture, and written as far
as the output holds.

The orientation is reset, densities are swapped with the axes, an embedded thumbnail is dropped.

::

    carry.py           what an output's format holds of it, and what is told to be lost
    exif.py            EXIF blocks, and a TIFF's tags that describe the picture
    upright.py         axes and density of the upright picture
    found.py           what is gathered of a file's own blocks, and what of them is left out
    png.py, jpeg.py, gif.py, webp.py  chunks, segments, blocks: read and written
    photoshop.py       image resources, and IPTC among them
    xmp.py             packets of XMP, and their extensions
    through_pillow.py  read and written by way of Pillow
"""
