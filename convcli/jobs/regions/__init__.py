"""An array that is filtered region by region, from one store to another.

::

    geometry.py   which samples the windows of a region cover: pure arithmetic
    blocks.py     the size of regions: multiples of chunks that fit the memory
    plan.py       a run of apply cut into regions, decided before anything is written
    task.py       one region: read its samples, compute it, write its chunks
    manifest.py   the regions that are finished, recorded in the output's store
    run.py        all regions, on any workers
"""
