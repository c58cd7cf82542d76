"""The numpy engine: a problem, its plan, and the methods that execute it.

::

    operations    the public functions: correlate, convolve, conv_layer and plan
    calls         calls that are planned once and run again
    problem       one convolution in the engine's form, with checked arrays
    memory_order  a problem's axes in the order of its samples in memory
    analysis      properties of the values that a plan depends on: sizes of sums, factors
    planning/     the plan of a convolution: method, cost, tiles and memory
    methods/      the methods that compute a convolution, one per file
    execute       run a plan, tile by tile, on several threads
    tiling        the tiles that cover an output
    padding       the padded input under a tile
    rounding      conversion of float results to other types
    exact         exact sums of whole numbers beyond float64's precision
    layer_form    an input and a kernel of any layout as those of a layer
    buffers       memory that is reused from run to run
    threads       the thread pool
    blas          the number of threads of OpenBLAS

This package imports nothing, so the names of the methods are available without numpy.
"""
