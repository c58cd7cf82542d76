"""Layers and whole networks by their shapes alone: sizes, weights, work, memory, and what each output sees.

Standard library only. Records that every run makes by the thousand are named tuples, which are quicker to
define and to make than dataclasses. Read it in this order::

    single    one kernel laid on one input, or its transpose
    tokens    text -> words, groups and branches, with the place of each
    kinds     one table of layer kinds: their arguments, and what each does to a tensor
    graph     words -> Network: every layer in order, with its shapes and costs
    files     a TOML file -> Network
    field     receptive field, jump and centre of every layer
    memory    bytes alive while the network runs, and while it trains
    costs     what is counted as work, and comparisons with other layers
    summary   a row for each layer, and the totals
    box       the input samples that one output sees, and the outputs that one sample reaches
    inverse   the input size that an output size needs
    solve     the layers that lead from one size to another
    emit      a network as code
"""
