"""Layers and networks by their shapes alone: sizes, weights, work, memory, what an output sees.

Standard library only, except for ONNX files. Records that every run makes by the thousand are named
tuples, which are quicker to define and to make than dataclasses. Read it in this order::

    parser           text -> words, groups and branches, with the position of each
    layers           one table of layer kinds: their arguments, and what each does to a tensor
    graph            words -> Network: every layer in order, with its shapes and costs
    load             a TOML file -> Network
    read_onnx        an ONNX file -> Network
    receptive_field  receptive field, jump and centre of every layer; what one output sees
    summary          a row for each layer, totals, work and memory; comparisons with other layers
    inverse          the input size that an output size needs; layers that lead from size to size
    emit_torch       a network as PyTorch code
    emit_keras       a network as Keras code
    emit_onnx        a network as an ONNX file
    diagram          boxes for the layers in rows, without overlaps, and the edges between them
    svg              the boxes and edges as an SVG picture
"""
