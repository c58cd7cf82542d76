"""Time some four hundred small and medium convolutions before and after a change of the engine.

Run `python tests/benchmarks/sweep.py --save before.json`, make the change, and run it with
`--against before.json`: that prints the ratios of the times, the worst first, and their geometric
mean. Single ratios vary by a fifth; with `--turns` each time is the least of several sweeps.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from convcli import conv_layer, correlate, gradients

SHAPES: dict[tuple[int, ...], int] = {
    (1000, 1500): 2,
    (3000, 37): 2,
    (64, 20000): 2,
    (512, 513, 3): 2,
    (700, 900, 4): 2,
    (300, 300, 32): 2,
    (64, 64, 64): 3,
    (30, 200, 300): 3,
    (100, 100, 40): 3,
    (2_000_000,): 1,
    (300, 10_000): 1,
}
"""Shapes of inputs, and the number of axes, from the first on, that the kernel slides along."""

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"padding": "same", "boundary": "reflect"},
    {"stride": 2},
    {"dilation": 2},
)

LAYERS: tuple[tuple[int, int, int, int, int, dict[str, Any]], ...] = (
    (4, 32, 16, 32, 3, {}),
    (4, 32, 16, 32, 3, {"stride": 2}),
    (4, 32, 48, 32, 3, {"dilation": 2}),
    (2, 64, 8, 8, 5, {"padding": "same"}),
    (16, 16, 64, 64, 1, {}),
    (1, 10, 512, 512, 3, {"padding": "same"}),
    (4, 64, 12, 24, 3, {"groups": 4}),
    (1, 128, 3, 16, 3, {"padding": "same", "stride": 2}),
    (64, 8, 32, 64, 3, {}),
    (2, 200, 24, 24, 3, {}),
    (32, 28, 1, 6, 5, {}),
)
"""Items, side of an item, channels, kernels, side of a kernel, and other options."""

RUNS = 4
"""Timed runs of each case."""


def cases(rng: np.random.Generator) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield every case with its name."""
    for (shape, dims), dtype in product(SHAPES.items(), ("float32", "uint8", "float64")):
        x = (rng.random(shape) * 200).astype(dtype)
        for k, options in product((3, 6) if dims == 3 else (3, 6, 12), OPTIONS):
            w = rng.standard_normal((k,) * dims)
            yield (
                f"{shape} {dtype} k{k} {options}",
                partial(correlate, x, w, axes=range(dims), **options),
            )
    for (items, side, channels, filters, k, options), dtype in product(
        LAYERS, ("float32", "float64")
    ):
        x = rng.standard_normal((items, side, side, channels)).astype(dtype)
        w = rng.standard_normal((filters, k, k, channels // options.get("groups", 1))).astype(dtype)
        name = f"{x.shape} {w.shape} {dtype} {options}"
        yield f"layer {name}", partial(conv_layer, x, w, **options)
        yield f"gradients {name}", partial(gradients, x, w, conv_layer(x, w, **options), **options)


def milliseconds(call: Callable[[], object]) -> float:
    """Return the least time of RUNS runs, after a warm-up run."""
    call()
    taken = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--save", type=Path, help="write the times to this file")
    parser.add_argument("--against", type=Path, help="compare with times that --save wrote")
    parser.add_argument("--turns", type=int, default=1, help="number of sweeps [default: 1]")
    given = parser.parse_args()
    times: dict[str, float] = {}
    for _ in range(given.turns):
        for name, call in cases(np.random.default_rng(5)):
            times[name] = min(milliseconds(call), times.get(name, math.inf))
    if given.save:
        given.save.write_text(json.dumps(times, indent=1))
    if given.against:
        before = json.loads(given.against.read_text())
        ratios = {name: times[name] / before[name] for name in times if name in before}
        for name in sorted(ratios, key=ratios.__getitem__, reverse=True):
            print(f"{ratios[name]:.2f}  {before[name]:8.2f} -> {times[name]:8.2f} ms  {name}")
        mean = math.exp(np.mean([math.log(ratio) for ratio in ratios.values()]))
        print(f"{len(ratios)} cases, geometric mean {mean:.3f}")


if __name__ == "__main__":
    main()
