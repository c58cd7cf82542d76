"""Draw the animations of the sliding kernel for README and the guide.

    python samples/animation.py [FOLDER]

forward.gif   a kernel slides over a padded 5x5 input
transposed.png   one frame of a transposed convolution with stride 2, dark

Needs convcli installed; writes into FOLDER, by default pages/ beside this script.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from convcli.learn.animation import AnimationRequest, run_animation
from convcli.shapes.geometry import Geometry

PAGES = Path(__file__).resolve().parent / "pages"
INPUT = "3,1,0,2,4\n0,5,2,1,3\n2,1,4,0,1\n1,0,3,5,2\n4,2,1,0,3\n"


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        x = str(Path(scratch) / "x.csv")
        Path(x).write_text(INPUT, encoding="utf-8")
        run_animation(
            AnimationRequest(
                x, "sobel-x", str(folder / "forward.gif"), Geometry(padding=1), overwrite=True
            )
        )
        run_animation(
            AnimationRequest(
                x,
                "1,2,1;2,4,2;1,2,1",
                str(folder / "transposed.png"),
                Geometry(stride=2, padding=1),
                transposed=True,
                crop=(3,),
                frame=12,
                theme="dark",
                overwrite=True,
            )
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES)
