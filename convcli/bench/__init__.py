"""Time the methods against each other, and against the peers that are installed.

::

    run      the cases, and one run over them
    timing   interleaved timing and its statistics
    peers    OpenCV, scipy, PyTorch and numpy on the same work
"""
