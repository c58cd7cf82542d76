"""One run of a command: load, plan, execute, save.

::

    operands     the input, the kernel and the options, loaded and resolved
    apply        one input through its kernels
    grad         the gradients of one convolution
    gradcheck    those gradients checked numerically
    colour       alpha and linear light
    chunks       an output computed part by part
    postprocess  combining, scaling and rounding results
    verify       some outputs computed again by the definition
    memory       the memory that a run needs
    batch/       many inputs through one request
"""
