"""Plan a convolution: choose its method, tiles, threads and memory.

::

    facts      facts about the arrays, the contract's error bound, and the type of the sums
    tiles      rules for cutting an output into tiles that fit a core's cache
    blocking   the matrix products of a layer
    costs      costs that several methods share
    memory     working memory of a plan
    plan       the plan: the method, its tile, threads, memory and the reason
    choose     compare the methods' costs: make_plan
"""
