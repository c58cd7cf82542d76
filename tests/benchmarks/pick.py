"""Check whether the planner chooses the fastest method.

`python tests/benchmarks/pick.py [--only TEXT]` measures all methods of every case in interleaved
runs, as `convcli bench` does. It prints the ratio of the chosen method's time to the fastest one's;
the exit code is 1 if a ratio exceeds WORST.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from convcli.bench import peers
from convcli.bench.run import BenchRequest, run_bench
from convcli.jobs.requests import from_options
from convcli.shapes.parse import show

WORST = 1.25
"""Largest allowed ratio: measurements of the same method vary by some tenths."""

SAME = {"padding": "same", "boundary": "symmetric"}
CASES = (
    *(BenchRequest((4096, 4096), f"random:{k}x{k}") for k in (3, 5, 7, 9, 11, 15, 21, 31)),
    *(
        from_options(BenchRequest, (4096, 4096), f"gaussian:sigma={sigma}", **SAME)
        for sigma in (1, 2, 5, 10)
    ),
    BenchRequest((4096, 4096), "sobel-x"),
    BenchRequest((4096, 4096), "laplacian"),
    BenchRequest((4096, 4096), "gabor:sigma=3"),
    from_options(BenchRequest, (4096, 4096), "random:5x5", stride=2),
    from_options(BenchRequest, (4096, 4096), "random:5x5", dilation=2),
    *(
        from_options(BenchRequest, (2048, 2048, 3), f"random:{k}x{k}", dtype="uint8", **SAME)
        for k in (3, 5, 7, 15)
    ),
    from_options(BenchRequest, (2048, 2048, 3), "gaussian:sigma=2", dtype="uint8", **SAME),
    from_options(BenchRequest, (2048, 2048, 3), "sharpen", dtype="uint8", **SAME),
    *(
        from_options(BenchRequest, (2048, 2048, 3), f"box:size={k}", dtype="uint8", **SAME)
        for k in (3, 9, 51)
    ),
    BenchRequest((256, 256), "random:3x3"),
    from_options(BenchRequest, (256, 256), "gaussian:sigma=2", **SAME),
    *(BenchRequest((10_000_000,), f"random:{k}") for k in (3, 9, 65, 257, 1025)),
    from_options(BenchRequest, (10_000_000,), "random:65", stride=4),
    *(BenchRequest((192, 192, 192), f"random:{k}x{k}x{k}") for k in (3, 5)),
    from_options(BenchRequest, (192, 192, 192), "gaussian:sigma=1", dims=3),
    BenchRequest((8, 56, 56, 64), "random:64x3x3x64"),
    BenchRequest((8, 28, 28, 128), "random:128x3x3x128"),
    BenchRequest((8, 7, 7, 512), "random:512x3x3x512"),
    from_options(BenchRequest, (8, 224, 224, 3), "random:64x7x7x3", stride=2),
    from_options(BenchRequest, (8, 56, 56, 64), "random:64x3x3x64", stride=2),
    from_options(BenchRequest, (8, 56, 56, 64), "random:64x3x3x64", dilation=2),
    BenchRequest((8, 56, 56, 256), "random:64x1x1x256"),
    from_options(BenchRequest, (8, 56, 56, 64), "random:64x3x3x16", groups=4),
    from_options(BenchRequest, (8, 56, 56, 64), "random:64x3x3x1", groups=64),
    from_options(BenchRequest, (8, 112, 112, 32), "random:32x5x5x1", groups=32, stride=2),
)


def title(case: BenchRequest) -> str:
    more = [
        f"{name} {value}"
        for name, value in vars(case).items()
        if name in ("stride", "dilation") and value != 1
    ]
    return " ".join([show(case.shape), case.dtype, case.reference, *more])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only cases whose title contains it"
    )
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    peers.OFFERS.clear()  # compare only our methods
    ratios = []
    for case in CASES:
        if asked.only not in title(case):
            continue
        report = run_bench(replace(case, runs=asked.runs, limit=1.0))
        ratios.append(report.pick.seconds / report.rows[0].seconds)
        times = "  ".join(f"{row.name} {1e3 * row.seconds:.1f}" for row in report.rows)
        slow = "" if ratios[-1] <= WORST else "   <- not the fastest"
        expected = f"{1e3 * report.plan.seconds:.1f} ms on one core expected"
        choice = f"{title(case):48s} {report.pick.name:9s} {ratios[-1]:5.2f}"
        print(f"{choice}  {times}  ({expected}){slow}", flush=True)
    if not ratios:
        print(f"no case has {asked.only!r} in its title", file=sys.stderr)
        return 2
    worst = f"the worst choice takes {max(ratios):.2f} times the best"
    print(f"{len(ratios)} cases, {worst}; {WORST} is allowed")
    return int(max(ratios) > WORST)


if __name__ == "__main__":
    sys.exit(main())
