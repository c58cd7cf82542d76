"""Draw README's picture: the sample photo, a blur, its edges and an emboss, side by side.

    python samples/tour.py [FOLDER]

Needs convcli installed; writes tour.jpg into FOLDER, by default the folder of this script.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from convcli import correlate, kernel

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, GAP, CAPTION = 384, 256, 8, 20


def filtered(image: NDArray[np.uint8], reference: str) -> NDArray[np.float32]:
    taps = kernel(reference).taps
    return correlate(image, taps, axes=(0, 1), padding="same", boundary="reflect", dtype=np.float32)


def panels(photo: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Each caption with its picture, (H, W, 3)."""
    edges = np.hypot(filtered(photo, "sobel-x"), filtered(photo, "sobel-y"))
    return {
        "the input": photo,
        "gaussian:sigma=3": filtered(photo, "gaussian:sigma=3"),
        "sobel-x and sobel-y, magnitude": edges,
        "emboss": filtered(photo, "emboss"),
    }


def tour(photo: NDArray[np.uint8]) -> Image.Image:
    sheet = Image.new("RGB", (2 * WIDTH + 3 * GAP, 2 * (HEIGHT + CAPTION) + 2 * GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (caption, pixels) in enumerate(panels(photo).items()):
        left = GAP + place % 2 * (WIDTH + GAP)
        top = GAP + place // 2 * (HEIGHT + CAPTION + GAP)
        sheet.paste(Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)), (left, top))
        draw.text((left + 2, top + HEIGHT + 4), caption, fill="black")
    return sheet


def main(folder: Path) -> None:
    with Image.open(HERE / "photo.png") as opened:
        photo = np.asarray(opened)
    tour(photo).save(folder / "tour.jpg", quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
