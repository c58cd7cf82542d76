"""The gradient check passes what is right, fails what is wrong, and says where."""

import numpy as np
import pytest

from convcli import ConvError, gradcheck, gradient_check, gradients
from convcli.gradient_check import GradcheckReport, TensorCheck

rng = np.random.default_rng


def layer(dims: int = 2, groups: int = 1, depth: int = 2):
    x = rng(0).standard_normal((2, *(6, 5, 6)[:dims], groups * depth))
    return x, rng(1).standard_normal((2 * groups, *(3, 2, 3)[:dims], depth))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"dilation": 2},
        {"padding": "same"},
        {"padding": "full", "stride": 3},
        {"padding": 2, "boundary": "edge"},
        {"padding": 2, "boundary": "reflect"},
        {"padding": 2, "boundary": "symmetric"},
        {"padding": 2, "boundary": "wrap", "stride": 2},
        {"padding": 1, "cval": 3.5},
        {"groups": 2, "padding": 1, "dilation": 2, "stride": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_option_passes(dims, options):
    report = gradcheck(*layer(dims, options.get("groups", 1)), samples=60, **options)
    assert report.passed
    assert [(check.name, check.verdict) for check in report.checks] == [("dx", "good"), ("dw", "good"), ("db", "good")]


def test_channels_first_and_an_upstream_gradient_of_ones_own():
    x, w = (np.moveaxis(array, -1, 1) for array in layer())
    report = gradcheck(x, w, dy=np.ones((2, 2, 4, 4)), layout="channels_first")
    assert report.passed
    assert report.output_shape == (2, 2, 4, 4)
    assert report.checks[2].analytic.tolist() == [32, 32]


@pytest.mark.parametrize(
    ("name", "corrupt"),
    [
        ("dx", lambda dx: dx * 1.05),
        ("dx", lambda dx: -dx),
        ("dx", lambda dx: np.where(np.arange(dx.size).reshape(dx.shape) == 17, 0, dx)),
        ("dw", lambda dw: np.flip(dw, axis=(1, 2))),
        ("dw", lambda dw: dw.swapaxes(1, 2)),
        ("dw", lambda dw: np.full_like(dw, np.nan)),
        ("db", lambda db: db + 1),
        ("db", np.zeros_like),
    ],
    ids=["scaled", "negated", "one entry", "flipped", "transposed", "nan", "shifted", "zero"],
)
def test_a_wrong_gradient_fails(monkeypatch, name, corrupt):
    def off(*args, **options):
        right = gradients(*args, **options)
        return right._replace(**{name: corrupt(getattr(right, name))})

    monkeypatch.setattr(gradient_check, "gradients", off)
    report = gradcheck(rng(0).standard_normal((1, 6, 6, 2)), rng(1).standard_normal((2, 3, 3, 2)))
    assert not report.passed
    verdicts = {check.name: check.verdict for check in report.checks}
    assert verdicts == {"dx": "good", "dw": "good", "db": "good", name: "wrong"}


def test_the_worst_entry_is_found(monkeypatch):
    def off(*args, **options):
        g = gradients(*args, **options)
        g.dw[1, 2, 0, 1] *= 1.5
        return g

    monkeypatch.setattr(gradient_check, "gradients", off)
    check = gradcheck(*layer()).checks[1]
    assert check.worst == (1, 2, 0, 1)
    assert check.verdict == "wrong"
    assert check.largest_relative == pytest.approx(1 / 3)
    assert check.largest_absolute == pytest.approx(abs(check.gradient[1, 2, 0, 1]) / 3)


@pytest.mark.parametrize(
    ("error", "verdict", "passed"),
    [
        (0.0, "good", True),
        (0.9e-7, "good", True),
        (1.1e-7, "fair", True),
        (0.9e-4, "fair", True),
        (1.1e-4, "suspect", False),
        (0.9e-2, "suspect", False),
        (1.1e-2, "wrong", False),
        (2.0, "wrong", False),
        (np.nan, "wrong", False),
        (np.inf, "wrong", False),
    ],
)
def test_thresholds(error, verdict, passed):
    numeric = np.array([1.0, -2.0, 4.0])
    with np.errstate(invalid="ignore"):
        check = TensorCheck("dx", (3,), np.arange(3), numeric * [1, 1 - error, 1], numeric, numeric)
        assert (check.verdict, check.passed) == (verdict, passed)
        assert GradcheckReport((check,), 1.0, 0, (1,)).passed == passed


def test_nothing_against_nothing_passes():
    zero = np.zeros(4)
    assert TensorCheck("dx", (4,), np.arange(4), zero, zero, zero).verdict == "good"
    report = gradcheck(*layer(), dy=np.zeros((2, 4, 4, 2)))
    assert report.passed
    assert all(check.largest_absolute == 0 for check in report.checks)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_input_that_is_not_finite_is_wrong_without_a_warning(bad):
    x, w = layer()
    x[0, 2, 2, 0] = bad
    report = gradcheck(x, w, samples=20)
    assert not report.passed
    assert report.checks[1].verdict == "wrong"


def test_a_sample_of_the_entries_is_checked():
    x, w = layer()
    report = gradcheck(x, w, samples=7, seed=3)
    assert [len(check.entries) for check in report.checks] == [7, 7, 2]
    for check in report.checks:
        assert len(set(check.entries.tolist())) == len(check.entries)
        assert check.entries.max() < np.prod(check.shape)
        assert np.array_equal(check.analytic, check.gradient.ravel()[check.entries])
    again, other = gradcheck(x, w, samples=7, seed=3), gradcheck(x, w, samples=7, seed=4)
    assert np.array_equal(again.checks[0].entries, report.checks[0].entries)
    assert not np.array_equal(other.checks[0].entries, report.checks[0].entries)
    assert [len(check.entries) for check in gradcheck(x, w, samples=10_000).checks] == [x.size, w.size, 2]


def test_no_more_than_2000_entries_unless_asked():
    report = gradcheck(rng(0).standard_normal((1, 2100, 1)), np.ones((1, 2, 1)))
    assert [len(check.entries) for check in report.checks] == [gradient_check.MOST, 2, 1]
    assert report.passed


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.5, 100.0])
def test_the_step_is_free_for_a_linear_map(eps):
    report = gradcheck(*layer(), eps=eps)
    assert report.eps == eps
    assert report.passed


def test_a_large_step_is_best():
    errors = [gradcheck(*layer(), eps=eps).checks[0].largest_relative for eps in (1e-9, 1e-6, 1e-3, 1.0)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e5 * errors[-1]


def test_inputs_are_left_alone_and_integers_are_taken():
    x, w = np.arange(25).reshape(1, 5, 5, 1), np.arange(9).reshape(1, 3, 3, 1)
    x.flags.writeable = w.flags.writeable = False
    assert gradcheck(x, w).passed
    assert gradcheck(x.tolist(), w.tolist()).passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0}, "eps 0; expected a positive step; leave it out: 1 is best for a linear map"),
        ({"eps": -1e-5}, "eps -1e-05; expected a positive step"),
        ({"eps": np.nan}, "eps nan; expected a positive step"),
        ({"eps": np.inf}, "eps inf; expected a positive step"),
        ({"eps": "small"}, "eps 'small'; expected a number"),
        ({"samples": 0}, "samples 0; expected 1 or more"),
        ({"samples": 2.5}, "samples 2.5; expected a whole number"),
        ({"dy": np.ones((2, 4, 5, 2))}, "the upstream gradient is 2x4x5x2; the layer's output is 2x4x4x2"),
        ({"dy": np.ones((2, 4, 4, 2)) * 1j}, "the upstream gradient holds complex128 values"),
        ({"x": np.ones((2, 6, 5, 2)) * 1j}, "the input holds complex128 values"),
        ({"w": [["a"]]}, "the kernel holds <U1 values"),
        ({"w": np.ones((2, 3, 2, 3))}, "has 3 channels, the input has 2"),
        ({"x": np.ones((6, 5))}, "expected x (N, *S, C) and w (O, *K, C/groups)"),
    ],
)
def test_messages(options, message):
    x, w = layer()
    with pytest.raises(ConvError) as caught:
        gradcheck(**{"x": x, "w": w, **options})
    assert message in str(caught.value)
