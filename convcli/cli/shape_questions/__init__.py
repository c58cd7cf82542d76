"""The questions of `convcli shape`, one per module: each parses, computes and prints.

::

    layer        -k: one kernel on one input
    network      layers, or a file: the report
    pixel        --at: the input that one output depends on, and the outputs that one input reaches
    input_for    --input-for: the input size that gives an output size
    solve        --solve: layers that lead from one size to another
    emit         --emit: the network as code or as a model
    diagram      --diagram: the network as an SVG picture
    words        shapes and networks from the command's words
"""
