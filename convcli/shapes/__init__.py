"""The sizes of convolutions, by the standard library only.

::

    parse    shapes, paddings and numbers as people write them
    axis     the size formula along one axis
    spec     the options of a convolution (ConvSpec), and output_shape
    layout   which axes of a kernel meet which axes of an input
    layer    one layer's output, weights and work
"""
