"""The numpy engine: a problem, its plan, and the methods that execute it.

::

    operations    correlate, convolve, conv_layer and plan, as people call them
    problem       one convolution in the engine's form, with checked arrays
    analysis      what a plan asks of the values: how large sums get, how a kernel factors
    planning/     what would run, at what cost, and why
    methods/      the methods that compute a convolution, one in each file
    execute       run a plan, tile by tile, over the threads
    tiling        the tiles that cover an output
    padding       the padded input under a tile
    rounding      float results into other types
    layer_form    an input and a kernel of any layout as those of a layer
    buffers       memory that goes from run to run
    threads       tiles over the cores

The package imports nothing, so that the names of the methods cost no numpy.
"""
