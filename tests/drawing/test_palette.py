"""Check that pictures have the interactive page's colours, and that text is readable on them."""

import itertools
import re
from pathlib import Path

import pytest

import convcli
from convcli.drawing.palette import DARK, LIGHT, THEMES, parse_colour
from convcli.options import THEMES as NAMES

CSS = (Path(convcli.__file__).parent / "learn/page/page.css").read_text(encoding="utf-8")
SHARED = (
    *("page", "card", "cell", "text", "quiet", "line", "grid", "accent"),
    *("above", "below", "above_text", "below_text"),
)


def css_colours(number: int) -> dict[str, tuple[int, int, int]]:
    """Return the colours of the page's light (0) or dark (1) theme."""
    block = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[number]
    return {
        name: parse_colour(colour)
        for name, colour in re.findall(r"--([\w-]+): (#[0-9a-f]+);", block)
    }


def luminance(colour: tuple[int, int, int]) -> float:
    """Return the relative luminance. Source: W3C, "Web Content Accessibility Guidelines 2.1"."""
    linear = [
        level / 12.92 if level <= 0.03928 else ((level + 0.055) / 1.055) ** 2.4
        for level in (part / 255 for part in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_every_theme_has_a_name():
    assert tuple(THEMES) == NAMES


@pytest.mark.parametrize("number", [0, 1], ids=NAMES)
@pytest.mark.parametrize("name", SHARED)
def test_colours_are_those_of_the_page(number, name):
    theme = THEMES[NAMES[number]]
    assert getattr(theme, name) == css_colours(number)[name.replace("_", "-")]


def test_tints_are_mixed_as_the_page_mixes_them():
    script = (Path(convcli.__file__).parent / "learn/page/page.js").read_text(encoding="utf-8")
    assert "Math.round(18 + 67 * Math.min(Math.abs(spec.tone), 1))" in script
    assert LIGHT.tint(0.5) == LIGHT.tint(0.5, 20)
    assert LIGHT.tint(0.5)[0] == round(0.515 * 241 + 0.485 * 255)


@pytest.mark.parametrize("theme", THEMES.values(), ids=NAMES)
def test_text_is_readable_on_every_tint(theme):
    for share in (step / 20 for step in range(-20, 21)):
        assert contrast(theme.text, theme.tint(share)) > 4.5
    for colour in (theme.text, theme.quiet, theme.above_text, theme.below_text):
        assert contrast(colour, theme.page) > 4.5
    for colour in (theme.input, theme.output, theme.accent):
        assert contrast(colour, theme.page) > 3


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=NAMES)
def test_tints_grow_in_steps_and_differ(theme):
    tints = [theme.tint(step / 20, 20) for step in range(-20, 21)]
    assert len(set(tints)) == 41
    assert all(one != other for one, other in itertools.pairwise(tints))
    assert theme.tint(0.01, 20) == theme.tint(0.05, 20) != theme.cell
    assert theme.tint(7) == theme.tint(1)
    assert theme.tint(float("nan")) == theme.cell
