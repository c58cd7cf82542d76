"""Draw the picture of the interactive page for README.

    python samples/page.py [FOLDER]

explain.png  the page of `convcli explain samples/digit.png -k sobel-x --html`, at its first state

Needs convcli and playwright installed, and chromium; writes into FOLDER, by default pages/
beside this script.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from convcli.learn.page import PageRequest, run_page

HERE = Path(__file__).resolve().parent
PAGES = HERE / "pages"
WIDTH, HEIGHT = 1180, 1244
COLOURS = 200


def photographed(page: Path) -> Image.Image:
    """Return the upper part of a page as chromium shows it."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        view = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", locale="en"
        )
        view.goto(page.as_uri() + "#t=248")
        view.add_style_tag(content=".timeline { position: static !important; }")
        content = view.screenshot(
            clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}, full_page=True
        )
        browser.close()
    return Image.open(io.BytesIO(content)).convert("RGB")


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "page.html"
        run_page(PageRequest(str(HERE / "digit.png"), "sobel-x", str(page)))
        picture = photographed(page)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(folder / "explain.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES)
