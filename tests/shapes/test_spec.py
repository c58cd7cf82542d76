"""Test output sizes: golden values, the rules of padding, and windows counted one by one."""

import numpy as np
import pytest
import reference
from cases import examples
from hypothesis import given
from hypothesis import strategies as st

import convcli
from convcli import ConvError, ShapeError, output_shape
from convcli.shapes.axis import Axis
from convcli.shapes.parse import parse_padding, parse_per_axis, parse_shape, show
from convcli.shapes.spec import ConvSpec

sizes = st.integers(1, 30)
steps = st.integers(1, 5)
names = st.sampled_from(("valid", "same", "same-lower", "full"))


# Known values.


@pytest.mark.parametrize(
    ("i", "k", "s", "p", "d", "o"),
    [
        (4, 3, 1, 0, 1, 2),
        (5, 4, 1, 2, 1, 6),
        (5, 3, 1, 1, 1, 5),
        (5, 3, 1, 2, 1, 7),
        (5, 3, 2, 0, 1, 2),
        (5, 3, 2, 1, 1, 3),
        (6, 3, 2, 1, 1, 3),
        (7, 3, 1, 0, 2, 3),
    ],
)
def test_the_guide_to_convolution_arithmetic(i, k, s, p, d, o):
    """Check every figure of Dumoulin and Visin's guide, and its transpose if the stride fits."""
    assert output_shape((i, i), (k, k), stride=s, padding=p, dilation=d) == (o, o)
    spec = ConvSpec.of(
        1, stride=s, padding=p, dilation=d, output_padding=(i + 2 * p - d * (k - 1) - 1) % s
    )
    assert spec.transposed_axes((o,), (k,))[0].out == i


def test_the_first_example_of_everyone():
    assert output_shape((28, 28), (3, 3)) == (26, 26)
    assert output_shape((28, 28), (3, 3), padding="same") == (28, 28)
    assert output_shape((28, 28), (3, 3), padding="full") == (30, 30)
    assert output_shape((224, 224), (7, 7), stride=2, padding=3) == (112, 112)
    assert output_shape((227, 227), (11, 11), stride=4) == (55, 55)


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "upper", "lower"),
    [
        (5, 3, 1, 1, (1, 1), (1, 1)),
        (5, 2, 1, 1, (0, 1), (1, 0)),
        (5, 3, 2, 1, (1, 1), (1, 1)),
        (6, 3, 2, 1, (0, 1), (1, 0)),
        (224, 7, 2, 1, (2, 3), (3, 2)),
        (224, 3, 2, 1, (0, 1), (1, 0)),
        (7, 3, 1, 3, (3, 3), (3, 3)),
        (10, 1, 3, 1, (0, 0), (0, 0)),
        (10, 2, 5, 1, (0, 0), (0, 0)),
        (1, 4, 1, 1, (1, 2), (2, 1)),
    ],
)
def test_same_is_tensorflows(n, k, s, d, upper, lower):
    """Test ceil(n / stride) outputs, the odd sample at the end, or at the start for SAME_LOWER."""
    for padding, pads in (("same", upper), ("same-lower", lower)):
        axis = ConvSpec.of(1, stride=s, dilation=d, padding=padding).axes((n,), (k,))[0]
        assert (axis.lo, axis.hi) == pads
        assert axis.out == -(-n // s)


# Counted windows.


@given(
    n=sizes,
    k=sizes,
    stride=steps,
    dilation=steps,
    padding=names | st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
@examples(500)
def test_output_shape_is_the_number_of_windows(n, k, stride, dilation, padding):
    given_padding = padding if isinstance(padding, str) else [padding]
    counted = reference.count(
        n, k, stride, dilation, *reference.pads(n, k, stride, dilation, padding)
    )
    options = {"stride": stride, "dilation": dilation, "padding": given_padding}
    if counted:
        assert output_shape((n,), (k,), **options) == (counted,)
    else:
        with pytest.raises(ShapeError, match="exceeds the padded input"):
            output_shape((n,), (k,), **options)


@given(st.data())
@examples(100)
def test_axes_do_not_know_of_each_other(data):
    count = data.draw(st.integers(1, 4))
    per_axis = st.lists(steps, min_size=count, max_size=count)
    shape, kernel = data.draw(st.lists(sizes, min_size=count, max_size=count)), data.draw(per_axis)
    stride, dilation, padding = (
        data.draw(per_axis),
        data.draw(per_axis),
        data.draw(names.filter("valid".__ne__)),
    )
    each = [
        output_shape((n,), (k,), stride=s, dilation=d, padding=padding)[0]
        for n, k, s, d in zip(shape, kernel, stride, dilation, strict=True)
    ]
    assert output_shape(shape, kernel, stride=stride, dilation=dilation, padding=padding) == tuple(
        each
    )


@given(n=sizes, k=sizes, stride=steps, dilation=steps, lo=st.integers(0, 4), hi=st.integers(0, 4))
@examples(300)
def test_the_transposed_size_undoes_the_size(n, k, stride, dilation, lo, hi):
    """output_padding restores the samples that the stride skipped."""
    padding = [(lo, hi)]
    if reference.count(n, k, stride, dilation, lo, hi) == 0:
        return
    forward = ConvSpec.of(1, stride=stride, dilation=dilation, padding=padding).axes((n,), (k,))[0]
    assert 0 <= forward.unused < stride
    back = ConvSpec.of(
        1, stride=stride, dilation=dilation, padding=padding, output_padding=forward.unused
    )
    assert back.transposed_axes((forward.out,), (k,))[0].out == n


@given(
    n=sizes, k=sizes, stride=steps, dilation=steps, padding=st.sampled_from(("same", "same-lower"))
)
@examples(100)
def test_transposed_same_is_n_times_the_stride(n, k, stride, dilation, padding):
    spec = ConvSpec.of(1, stride=stride, dilation=dilation, padding=padding)
    assert spec.transposed_axes((n,), (k,))[0].out == n * stride


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ({}, 6),
        ({"stride": 2}, 9),
        ({"stride": 2, "padding": 1}, 7),
        ({"stride": 2, "padding": 1, "output_padding": 1}, 8),
        ({"dilation": 2}, 8),
        ({"padding": "full"}, 2),
        ({"padding": [(0, 1)]}, 5),
        ({"stride": 5, "padding": "same"}, 20),
    ],
)
def test_transposed_sizes(options, out):
    assert ConvSpec.of(1, **options).transposed_axes((4,), (3,))[0].out == out


# Formulas.


@pytest.mark.parametrize(
    ("axis", "formula"),
    [
        (Axis(28, 3), "28 - 3 + 1 = 26"),
        (Axis(28, 3, lo=1, hi=1), "28 + 1 + 1 - 3 + 1 = 28"),
        (Axis(28, 3, lo=0, hi=1), "28 + 0 + 1 - 3 + 1 = 27"),
        (Axis(28, 3, dilation=2), "28 - (2*(3 - 1) + 1) + 1 = 24"),
        (Axis(224, 7, stride=2, lo=2, hi=3), "floor((224 + 2 + 3 - 7) / 2) + 1 = 112"),
        (Axis(9, 2, stride=3, dilation=4), "floor((9 - (4*(2 - 1) + 1)) / 3) + 1 = 2"),
        (Axis(4, 3, transposed=True), "1*(4 - 1) + 3 = 6"),
        (Axis(4, 3, 2, 1, 1, 1, 1, transposed=True), "2*(4 - 1) + 1 + 3 - 1 - 1 = 8"),
        (Axis(4, 3, 2, 2, transposed=True), "2*(4 - 1) + (2*(3 - 1) + 1) = 11"),
    ],
)
def test_formulas(axis, formula):
    assert axis.formula == formula


@given(
    n=sizes,
    k=sizes,
    stride=steps,
    dilation=steps,
    lo=st.integers(0, 9),
    hi=st.integers(0, 9),
    back=st.booleans(),
)
@examples(200)
def test_a_formula_is_true(n, k, stride, dilation, lo, hi, back):
    axis = Axis(n, k, stride, dilation, lo, hi, transposed=back)
    left, right = axis.formula.split(" = ")
    assert eval(left.replace("/", "//"), {"floor": int}) == int(right) == axis.out


# Text.


def test_parse_shape():
    assert [parse_shape(text) for text in ("5", "28x28", " 224 x 224X3 ", "2,3", "4×4")] == [
        (5,),
        (28, 28),
        (224, 224, 3),
        (2, 3),
        (4, 4),
    ]
    assert show((224, 224, 3)) == "224x224x3"
    assert show(()) == "()"


def test_parse_per_axis():
    assert [parse_per_axis(text) for text in ("2", "2x1", "2, 1", "-3")] == [2, (2, 1), (2, 1), -3]


@pytest.mark.parametrize(
    ("text", "pads"),
    [
        ("valid", ((0, 0), (0, 0))),
        ("full", ((2, 2), (4, 4))),
        ("1", ((1, 1), (1, 1))),
        ("1x2", ((1, 1), (2, 2))),
        ("1:2", ((1, 2), (1, 2))),
        ("0:1,2:3", ((0, 1), (2, 3))),
        ("0:1x2", ((0, 1), (2, 2))),
    ],
)
def test_padding_in_text_and_parsed(text, pads):
    for padding in (text, parse_padding(text)):
        axes = ConvSpec.of(2, padding=padding).axes((9, 9), (3, 5))
        assert tuple((axis.lo, axis.hi) for axis in axes) == pads


@pytest.mark.parametrize("blank", [" ", "\t", "\x1d", "\x1e", "\x85"], ids=ascii)
def test_blanks_around_numbers_are_left_out(blank):
    """Python splits at some control characters that int() refuses."""
    assert parse_padding(f"{blank}2{blank}") == parse_per_axis(f"2{blank}") == 2
    assert parse_shape(f"{blank}2{blank}x3{blank}") == (2, 3)


def test_paddings_of_every_kind():
    kinds = (2, [2, 2], [(2, 2), (2, 2)], ["2", "2:2"], "2", "2x2", [2, "2:2"])
    assert {output_shape((5, 5), (3, 3), padding=padding) for padding in kinds} == {(7, 7)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: output_shape((5, 5), (7, 7)),
            "kernel 7x7 exceeds the padded input 5x5; use --padding same",
        ),
        (
            lambda: output_shape((5, 5), (3, 3), dilation=(1, 3)),
            "kernel 3x3 (dilated to 3x7) exceeds the padded input",
        ),
        (
            lambda: output_shape((3,), (9,), padding=1),
            "the padded input 5; use a smaller kernel or more padding",
        ),
        (
            lambda: output_shape((5, 5), (3,)),
            "kernel 3 slides along 1 axes, the input 5x5 has 2; expected the same",
        ),
        (
            lambda: output_shape((5, 0), (3, 3)),
            "the input 5x0 is empty; expected sizes of 1 or more",
        ),
        (lambda: output_shape((5, 5), (3, 0)), "the kernel 3x0 is empty"),
        (lambda: output_shape((5, 5.5), (3, 3)), "a size 5.5; expected a whole number"),
        (lambda: output_shape((5, -5), (3, 3)), "a size -5; expected 0 or more"),
        (lambda: output_shape((5,), (3,), stride=0), "stride 0; expected 1 or more"),
        (lambda: output_shape((5,), (3,), stride=1.5), "stride 1.5; expected a whole number"),
        (lambda: output_shape((5,), (3,), dilation="2"), "dilation '2'; expected a whole number"),
        (
            lambda: output_shape((5,), (3,), stride=(1, 2)),
            "stride has 2 entries; the kernel slides along 1 axis; give",
        ),
        (lambda: output_shape((5,), (3,), padding=-1), "padding -1; expected 0 or more"),
        (lambda: output_shape((5,), (3,), padding="-1"), "padding -1; expected 0 or more"),
        (lambda: output_shape((5,), (3,), padding="smae"), "did you mean 'same'?"),
        (
            lambda: output_shape((5,), (3,), padding=[1, 2]),
            "padding has 2 entries; the kernel slides along 1 axis",
        ),
        (
            lambda: output_shape((5,), (3,), padding=[(1, 2, 3)]),
            "padding (1, 2, 3); expected a pair (lo, hi)",
        ),
        (
            lambda: output_shape((5,), (3,), padding=["same"]),
            "padding 'same' for one axis; expected an amount, or lo",
        ),
        (
            lambda: output_shape((5,), (3,), padding=["1:2:3"]),
            "padding '1:2:3' for one axis; expected an amount",
        ),
        (lambda: output_shape((5,), (3,), padding=None), "padding None; expected a whole number"),
        (lambda: ConvSpec.of(1, output_padding=-1), "output_padding -1; expected 0 or more"),
        (
            lambda: ConvSpec.of(1, output_padding=2).transposed_axes((5,), (3,)),
            "output_padding 2; expected less than",
        ),
        (
            lambda: ConvSpec.of(1, padding=4).transposed_axes((3,), (3,)),
            "padding takes away all of the transposed",
        ),
        (lambda: ConvSpec.of(1, cval=None), "cval None; expected a number"),
        (
            lambda: parse_shape("28x"),
            "'28x' is not a shape; expected whole numbers joined by x; write it as 28x28",
        ),
        (lambda: parse_shape("28x0"), "shape 28x0 has an axis of 0"),
        (lambda: parse_shape("-3x3"), "'-3x3' is not a shape"),
        (lambda: parse_shape("9" * 400), "a number of 400 digits; expected at most 20"),
        (lambda: parse_per_axis("2x"), "'2x'; expected a whole number, or one per axis"),
        (lambda: parse_per_axis(""), "''; expected a whole number"),
        (lambda: parse_padding("1:2:3"), "padding '1:2:3'; expected valid, same, same-lower, full"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ConvError) as caught:
        call()
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert isinstance(caught.value, ValueError)


# Arrays of these sizes.


def test_a_transposed_layer_has_the_size_it_says_and_goes_back():
    for n in (5, 6, 7):
        spec = ConvSpec.of(2, stride=(2, 3), dilation=(1, 2), padding=[(1, 0), (2, 1)])
        axes = spec.axes((n, 9), (3, 2))
        x = np.ones((1, *(axis.out for axis in axes), 4))
        options = {"stride": spec.stride, "dilation": spec.dilation, "padding": spec.padding}
        back = [axis.unused for axis in axes]
        y = convcli.conv_transpose(x, np.ones((4, 3, 2, 5)), output_padding=back, **options)
        assert y.shape == (1, n, 9, 5)
        assert convcli.conv_layer(y, np.ones((4, 3, 2, 5)), **options).shape == x.shape
