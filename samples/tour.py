"""Draw the pictures of README and of the guide from the sample photo.

    python samples/tour.py [FOLDER]

tour.jpg     the photo, a blur, its edges and an emboss, side by side
borders.jpg  the photo at half its size, blurred with each boundary

Needs convcli installed; writes into FOLDER, by default the folder of this script.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from convcli import correlate, kernel
from convcli.options import BOUNDARIES

HERE = Path(__file__).resolve().parent
GAP = 8
CAPTION = 20


def filtered(
    image: NDArray[np.uint8], reference: str, boundary: str = "reflect"
) -> NDArray[np.float32]:
    taps = kernel(reference).taps
    return correlate(image, taps, axes=(0, 1), padding="same", boundary=boundary, dtype=np.float32)


def filters(photo: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Return the panels of tour.jpg: each caption with its picture, (H, W, 3)."""
    edges = np.hypot(filtered(photo, "sobel-x"), filtered(photo, "sobel-y"))
    return {
        "the input": photo,
        "gaussian:sigma=3": filtered(photo, "gaussian:sigma=3"),
        "sobel-x and sobel-y, magnitude": edges,
        "emboss": filtered(photo, "emboss"),
    }


def borders(photo: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Return the panels of borders.jpg, in the same form."""
    small = photo[::2, ::2]
    blurred = {
        f"--boundary {name}": filtered(small, "gaussian:sigma=10", name) for name in BOUNDARIES
    }
    return {"the input": small, **blurred}


def sheet(panels: dict[str, NDArray[Any]], columns: int) -> Image.Image:
    """Arrange panels of one size in rows, each with its caption below."""
    height, width = next(iter(panels.values())).shape[:2]
    rows = -(-len(panels) // columns)
    across = width + GAP
    down = height + CAPTION + GAP
    made = Image.new("RGB", (columns * across + GAP, rows * down), "white")
    draw = ImageDraw.Draw(made)
    for place, (caption, pixels) in enumerate(panels.items()):
        left = GAP + place % columns * across
        top = GAP + place // columns * down
        made.paste(Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)), (left, top))
        draw.text((left + 2, top + height + 4), caption, fill="black")
    return made


def main(folder: Path) -> None:
    with Image.open(HERE / "photo.png") as opened:
        photo = np.asarray(opened)
    sheet(filters(photo), 2).save(folder / "tour.jpg", quality=88)
    sheet(borders(photo), 3).save(folder / "borders.jpg", quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
