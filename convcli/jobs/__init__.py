"""One run of a command: load, plan, execute, save.

::

    requests      groups of options that requests share, and how a command fills them
    operands      the input and the kernel, loaded and resolved
    apply_plan    the request of apply, and its plan
    apply_output  what the output of apply will be, apart from its values
    apply         one input through its kernels
    grad          the gradients of one convolution
    gradcheck     those gradients checked numerically
    colour        alpha and linear light
    chunks        an output computed chunk by chunk
    postprocess   combining, scaling and rounding results
    verify        some outputs computed again by the definition
    memory        the memory that a run needs
    batch/        many inputs through one request
    executors/    the workers that run the calls of a batch
"""
