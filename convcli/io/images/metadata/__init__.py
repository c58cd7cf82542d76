"""Read the metadata of pictures, convert it for the output, and write what its format holds.

For the upright picture, the orientation is reset, densities are swapped with the axes, and embedded
thumbnails are dropped.

::

    bmp.py, gif.py, jp2.py, jpeg.py, netpbm.py, png.py, webp.py  one format each
    tiff_tags.py       tags of a TIFF
    exif.py            EXIF blocks
    photoshop.py       Photoshop's image resources, which include IPTC
    xmp.py             XMP packets and their extensions
    through_pillow.py  metadata that Pillow reads or writes
    found.py           collect what a file holds, and report what is left out
    upright.py         orientation, and density of the upright picture
    moved.py           adjust positions and densities to the output's samples
    carry.py           select what the output's format holds, and report what is dropped
"""
