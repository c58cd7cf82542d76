"""Check what is drawn by the pixels of the picture."""

import numpy as np
import pytest

from convcli.drawing.canvas import Canvas, fitting_size, printable, short_number, text_width

WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (200, 0, 0)


def drawn(canvas: Canvas) -> tuple[int, int, int, int]:
    """Return the box of the pixels that are not white."""
    rows, columns = np.nonzero((canvas.array() != 255).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def colours(canvas: Canvas) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in canvas.array().reshape(-1, 3).tolist()}


def test_a_rectangle_fills_its_box_exactly():
    canvas = Canvas(20, 10, WHITE)
    canvas.rectangle((3, 2, 9, 8), RED)
    assert drawn(canvas) == (3, 2, 9, 8)
    assert (canvas.array()[2:8, 3:9] == RED).all()


def test_an_outline_is_inside_and_an_empty_box_draws_nothing():
    canvas = Canvas(20, 10, WHITE)
    canvas.rectangle((3, 2, 13, 10), outline=BLACK, width=2)
    assert (canvas.array()[4:8, 5:11] == WHITE).all()
    assert drawn(canvas) == (3, 2, 13, 10)
    empty = Canvas(20, 10, WHITE)
    empty.rectangle((5, 5, 5, 8), RED, BLACK)
    empty.hatch((5, 5, 5, 8), RED)
    empty.dots((5, 5, 9, 5), RED)
    assert colours(empty) == {WHITE}


@pytest.mark.parametrize("text", ["7", "-12.5", "1.2e-4", "nan"])
def test_a_cell_s_number_stays_inside_and_leaves_the_corners(text):
    canvas = Canvas(60, 60, WHITE)
    canvas.cell((10, 10, 50, 50), WHITE, text, BLACK)
    left, top, right, bottom = drawn(canvas)
    assert left > 11
    assert top > 11
    assert right < 49
    assert bottom < 49
    assert abs(left + right - 60) <= 3, "it is in the middle"


def test_a_number_that_is_too_small_to_read_is_left_out():
    canvas = Canvas(60, 60, WHITE)
    canvas.cell((10, 10, 22, 22), RED, "0.000123", BLACK)
    assert colours(canvas) == {WHITE, RED}


def test_smoothed_text_and_lines_have_few_colours():
    canvas = Canvas(200, 90, WHITE)
    canvas.text((100, 20), "y[1,2] = 1*0 + 2*1", 17, BLACK)
    canvas.line([(3, 50), (90, 33), (190, 58)], BLACK, 1.5)
    canvas.polygon([(10, 70), (150, 61), (30, 88)], BLACK)
    assert colours(canvas) == {(level,) * 3 for level in (0, 64, 127, 191, 255)}


def test_an_arrow_points_at_its_end():
    canvas = Canvas(60, 20, WHITE)
    canvas.arrow((5, 10), (50, 10), BLACK)
    columns = (canvas.array() != 255).any(axis=2).sum(axis=0)
    assert columns.argmax() > 40
    assert drawn(canvas)[2] in (50, 51)
    canvas.arrow((5, 10), (5, 10), RED)
    assert RED not in colours(canvas)


def test_hatching_of_neighbouring_boxes_meets():
    whole, parts = Canvas(40, 20, WHITE), Canvas(40, 20, WHITE)
    whole.hatch((0, 0, 40, 20), RED)
    parts.hatch((0, 0, 17, 20), RED)
    parts.hatch((17, 0, 40, 20), RED)
    assert (whole.array() == parts.array()).all()
    assert 0.1 < (whole.array() == RED).all(axis=2).mean() < 0.25


def test_text_is_placed_by_its_anchor():
    for anchor, edge in (("lm", 0), ("rm", 2)):
        canvas = Canvas(100, 30, WHITE)
        canvas.text((50, 15), "ooo", 14, BLACK, anchor=anchor)
        assert abs(drawn(canvas)[edge] - 50) <= 2


def test_a_copy_is_independent():
    canvas = Canvas(4, 4, WHITE)
    other = canvas.copy()
    other.rectangle((0, 0, 2, 2), RED)
    assert colours(canvas) == {WHITE}
    assert colours(other) == {WHITE, RED}


@pytest.mark.parametrize("size", [8, 13.5, 40])
def test_a_fitting_size_fits(size):
    fitting = fitting_size(["12.5", "-100"], 60, 30, size)
    assert 0 < fitting <= size
    assert text_width("-100", fitting) <= 61


def test_characters_outside_the_font_are_replaced():
    assert printable("3\N{MULTIPLICATION SIGN}3") == "3x3"
    assert text_width("é", 20) == text_width("?", 20)


@pytest.mark.parametrize("value", [*np.geomspace(1e-12, 1e12, 49), 9999, 999.6, 99999.9])
def test_short_numbers_are_short_and_close(value):
    for signed in (value, -value):
        text = short_number(signed)
        assert len(text.removeprefix("-")) <= 8
        read = float(text.replace("k", "e3"))
        assert abs(read - signed) <= 0.006 * abs(signed)
