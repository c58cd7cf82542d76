"""Compare the speed of the methods, and of other packages that are installed.

::

    run      the standard cases, and the measurement of one case
    timing   interleaved timing and its statistics
    peers    the same convolution by OpenCV, scipy, PyTorch and numpy
"""
