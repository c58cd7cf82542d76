"""What would run, at what cost, and why.

::

    facts      what is known of the arrays; the contract's bound, and what follows for the sums
    tiles      rules by which methods cut an output into tiles that a core's cache holds
    blocking   a layer cut into matrix products
    costs      costs that methods have in common
    memory     the memory that a plan works in
    plan       what was decided: the method, its tile, threads, memory and the reason
    choose     ask the methods and compare: make_plan
"""
