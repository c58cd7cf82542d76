"""Test that the gradient check accepts right gradients and locates errors in wrong ones."""

import numpy as np
import pytest

from convcli import ConvError, gradcheck
from convcli.engine import layer_form
from convcli.grad import GradcheckReport, check_layout_gradients, layouts, subject
from convcli.grad.check import ENTRIES
from convcli.grad.records import AdjointTest, PathTest, TensorCheck
from convcli.shapes.layout import infer_layout
from convcli.shapes.spec import ConvSpec

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
    assert [(check.name, check.verdict) for check in report.checks] == [
        ("dx", "good"),
        ("dw", "good"),
        ("db", "good"),
    ]


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
        right = layouts.layout_gradients(*args, **options)
        return right._replace(**{name: corrupt(getattr(right, name))})

    monkeypatch.setattr(subject, "layout_gradients", off)
    report = gradcheck(rng(0).standard_normal((1, 6, 6, 2)), rng(1).standard_normal((2, 3, 3, 2)))
    assert not report.passed
    verdicts = {check.name: check.verdict for check in report.checks}
    assert verdicts == {"dx": "good", "dw": "good", "db": "good", name: "wrong"}


def test_the_worst_entry_is_found(monkeypatch):
    def off(*args, **options):
        g = layouts.layout_gradients(*args, **options)
        g.dw[1, 2, 0, 1] *= 1.5
        return g

    monkeypatch.setattr(subject, "layout_gradients", off)
    dw = gradcheck(*layer()).checks[1]
    assert dw.worst[0].index == (1, 2, 0, 1)
    assert dw.verdict == "wrong"
    assert dw.largest_relative == dw.worst[0].relative == pytest.approx(1 / 3)
    assert dw.largest_absolute == pytest.approx(abs(dw.gradient[1, 2, 0, 1]) / 3)


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
        dx = TensorCheck("dx", (3,), np.arange(3), numeric * [1, 1 - error, 1], numeric, numeric)
        assert (dx.verdict, dx.passed) == (verdict, passed)
        assert GradcheckReport((dx,), 1.0, 0, (1,)).passed == passed


def test_nothing_against_nothing_passes():
    zero = np.zeros(4)
    assert TensorCheck("dx", (4,), np.arange(4), zero, zero, zero).verdict == "good"
    report = gradcheck(*layer(), dy=np.zeros((2, 4, 4, 2)))
    assert report.passed
    assert all(row.largest_absolute == 0 and row.cosine == 1 for row in report.checks)


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
    assert [len(check.entries) for check in gradcheck(x, w, samples=10_000).checks] == [
        x.size,
        w.size,
        2,
    ]


def test_no_more_than_2000_entries_unless_asked():
    report = gradcheck(rng(0).standard_normal((1, 2100, 1)), np.ones((1, 2, 1)))
    assert [len(check.entries) for check in report.checks] == [ENTRIES, 2, 1]
    assert report.passed


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.5, 100.0])
def test_the_step_is_free_for_a_linear_map(eps):
    report = gradcheck(*layer(), eps=eps)
    assert report.eps == eps
    assert report.passed


@pytest.mark.parametrize("eps", [1e-320, 1e-30, 1e-18])
@pytest.mark.parametrize("scale", [1.0, 1e12])
def test_a_step_lost_in_round_off_is_blamed_not_the_gradient(eps, scale):
    x, w = layer()
    report = gradcheck(scale * x, w, eps=eps)
    assert not report.passed
    assert [check.verdict for check in report.checks] == ["drowned"] * 3
    assert report.mismatches == ()
    (told,) = report.failures
    assert told == f"the step {eps:g} drowns in round-off and cannot check dx, dw and db"
    assert all(row.passed for row in (*report.adjoint, *report.paths))


@pytest.mark.parametrize("eps", [1e-30, 1e-9, 1e-4, 1.0, 1e8])
@pytest.mark.parametrize("name", ["dx", "dw", "db"])
def test_a_wrong_gradient_is_blamed_at_every_step(name, eps):
    report = gradcheck(*layer(), eps=eps, broken=name)
    assert [told.split()[0] for told in report.mismatches] == [name]
    assert ("central differences" in report.mismatches[0]) == (eps > 1e-30)


@pytest.mark.parametrize("eps", [1e-9, 1e-5, 1.0, 1e5])
def test_round_off_stays_within_its_bound(eps):
    for check in gradcheck(*layer(), eps=eps).checks:
        assert check.largest_absolute <= check.round_off


def test_a_large_step_is_best():
    errors = [
        gradcheck(*layer(), eps=eps).checks[0].largest_relative for eps in (1e-9, 1e-6, 1e-3, 1.0)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e5 * errors[-1]


def test_the_sweep_is_a_slope_and_a_curved_loss_has_a_v():
    """The linear loss has only round-off; the curved loss also has a quadratic error."""
    sweep = gradcheck(*layer(), sweep=True).sweep
    assert sweep.slope == pytest.approx(-1, abs=0.1)
    steps = [row.eps for row in sweep.rows]
    assert steps == sorted(steps)
    by_step = {round(np.log10(row.eps)): row for row in sweep.rows}
    for name in ("dx", "dw", "db"):
        errors = [getattr(by_step[power], name) for power in (-10, -7, -4, 0)]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 1e-14
    assert by_step[-10].curved > by_step[-5].curved < by_step[0].curved
    assert by_step[0].curved / by_step[-1].curved == pytest.approx(100, rel=1e-3)
    assert gradcheck(*layer()).sweep is None


def test_a_sweep_of_nothing_has_no_slope():
    sweep = gradcheck(*layer(), dy=np.zeros((2, 4, 4, 2)), sweep=True).sweep
    assert sweep.slope is None
    assert all(row.dx == row.dw == row.db == 0 for row in sweep.rows)


@pytest.mark.parametrize("name", ["dx", "dw", "db"])
@pytest.mark.parametrize("samples", [None, 1], ids=["all", "one"])
def test_a_gradient_broken_on_purpose_is_found_by_every_test(name, samples):
    """A wrong entry fails its own difference; if not checked, it fails the other tests."""
    x, w = layer()
    report = gradcheck(x, w, broken=name, samples=samples, seed=5)
    assert report.broken == name
    assert not report.passed
    assert [failure.split()[0] for failure in report.failures] == [name]
    for rows in (report.adjoint, report.paths):
        assert {row.name: row.passed for row in rows} == {
            "dx": True,
            "dw": True,
            "db": True,
            name: False,
        }
    if samples is None:
        assert {row.name: row.passed for row in report.checks} == {
            "dx": True,
            "dw": True,
            "db": True,
            name: False,
        }
        broken = next(row for row in report.checks if row.name == name)
        assert broken.verdict == "wrong"
        assert (
            np.ravel_multi_index(broken.worst[0].index, broken.shape) == broken.gradient.size // 2
        )
        assert broken.worst[1].relative < 1e-7
        assert broken.cosine < 0.999
        assert (
            "the central differences and the adjoint test and the transposed matrix"
            in report.failures[0]
        )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 2, "boundary": "reflect"},
        {"padding": 1, "cval": 2.5, "stride": 2},
        {"dilation": 2},
    ],
    ids=str,
)
def test_both_analytic_paths_and_both_sides_agree(options, groups):
    report = gradcheck(*layer(groups=groups), samples=1, groups=groups, **options)
    assert (
        [row.name for row in report.adjoint]
        == [row.name for row in report.paths]
        == ["dx", "dw", "db"]
    )
    assert max(row.gap for row in (*report.adjoint, *report.paths)) < 1e-13
    for row, path in zip(report.checks, report.paths, strict=True):
        np.testing.assert_allclose(row.gradient, path.gradient, rtol=1e-9, atol=1e-12)


def test_large_matrices_are_not_built():
    report = gradcheck(rng(0).standard_normal((1, 64, 64, 2)), np.ones((1, 3, 3, 2)), samples=1)
    assert report.paths == ()
    assert report.passed


def test_quantiles_and_cosine():
    numeric = np.ones(100)
    row = TensorCheck(
        "dx", (100,), np.arange(100), numeric * (1 - np.arange(100) / 1e4), numeric, numeric
    )
    assert row.quantiles == pytest.approx((0.0050, 0.0090, 0.0099), abs=2e-4)
    assert (
        TensorCheck(
            "dx", (2,), np.arange(2), np.array([1.0, 0]), np.array([0, 1.0]), numeric
        ).cosine
        == 0
    )
    assert (
        TensorCheck(
            "dx", (2,), np.arange(2), np.array([0.0, 0]), np.array([0, 1.0]), numeric
        ).cosine
        == 0
    )
    assert TensorCheck(
        "dx", (2,), np.arange(2), np.array([1.0, 2]), np.array([-1, -2.0]), numeric
    ).cosine == pytest.approx(-1)


@pytest.mark.parametrize(
    ("row", "passed"),
    [
        (AdjointTest("dx", 1.0, 1.0 + 5e-11, 1.0), True),
        (AdjointTest("dx", 1.0, 1.0 + 5e-10, 1.0), False),
        (AdjointTest("dx", 0.0, 0.0, 0.0), True),
        (AdjointTest("dx", 0.0, 1.0, 0.0), False),
        (AdjointTest("dx", np.nan, 1.0, 1.0), False),
        (PathTest("dx", (1, 1), np.ones(1), 0.9e-10), True),
        (PathTest("dx", (1, 1), np.ones(1), 1.1e-10), False),
        (PathTest("dx", (1, 1), np.ones(1), np.nan), False),
    ],
)
def test_thresholds_of_the_analytic_tests(row, passed):
    assert row.passed == passed


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"padding": 1, "dilation": 2, "stride": 2},
        {"padding": (2, 3), "boundary": "reflect"},
        {"padding": 2, "boundary": "wrap", "stride": 3},
        {"stride": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("op", ["correlate", "convolve"])
def test_what_the_worst_entries_touch(options, op):
    """The reported outputs are those that depend on an entry of dx; the samples, those of dw."""
    x, w = rng(0).standard_normal((9, 8)), rng(1).standard_normal((3, 2))
    conv_layout, spec = infer_layout(x.shape, w.shape), ConvSpec.of(2, **options)
    report = check_layout_gradients(x, w, conv_layout, spec, op=op)
    ones = np.ones((3, 2))
    for entry in report.checks[0].worst:
        spike = np.zeros(x.shape)
        spike[entry.index] = 1
        moved = np.argwhere(layer_form.forward(spike, ones, conv_layout, spec))
        if not len(moved):
            assert entry.outputs is entry.window is None
            continue
        assert entry.outputs == tuple(zip(moved.min(axis=0), moved.max(axis=0) + 1, strict=True))
        axes = spec.axes(x.shape, w.shape)
        for (first, stop), (start, end), axis in zip(
            entry.outputs, entry.window, axes, strict=True
        ):
            assert start == first * axis.stride - axis.lo
            assert end == (stop - 1) * axis.stride - axis.lo + axis.reach
    for entry in report.checks[1].worst:
        tap = np.zeros(w.shape)
        tap[entry.index] = 1
        for at, (axis, (start, end)) in enumerate(
            zip(spec.axes(x.shape, w.shape), entry.window, strict=True)
        ):
            inside = np.arange(start, end, axis.stride)
            inside = inside[(inside >= 0) & (inside < axis.n)]
            ramp = np.broadcast_to(np.expand_dims(np.arange(1.0, axis.n + 1), 1 - at), x.shape)
            still = ConvSpec.of(2, **{**options, "boundary": "constant"})
            seen = np.unique(layer_form.forward(ramp, tap, conv_layout, still, op=op))
            assert seen[seen > 0].tolist() == (inside + 1.0).tolist()
    assert report.checks[2].worst[0].outputs == tuple((0, n) for n in report.output_shape)


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
        ({"broken": "dz"}, "broken 'dz'; expected dx, dw or db"),
        ({"samples": 2.5}, "samples 2.5; expected a whole number"),
        ({"dy": np.ones((2, 4, 5, 2))}, "the upstream gradient is 2x4x5x2; the output is 2x4x4x2"),
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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("x_scale", [5e-324, 1e-310, 1e-200, 1.0, 1e18, 1e100])
@pytest.mark.parametrize("w_scale", [5e-324, 1e-310, 1e-200, 1.0, 1e12, 1e100])
def test_gradients_of_every_scale_pass(x_scale, w_scale):
    rng = np.random.default_rng(0)
    x = rng.integers(1, 9, (1, 8, 8, 1)) * x_scale
    w = rng.integers(1, 9, (1, 2, 2, 1)) * w_scale
    report = gradcheck(x, w)
    assert report.passed, report.failures
    assert not gradcheck(x, w, broken="dw").passed


def test_the_largest_integers_pass():
    assert gradcheck(np.full((1, 8, 8, 1), 2**64 - 1, np.uint64), np.ones((1, 2, 2, 1))).passed
    assert gradcheck(np.ones((1, 8, 8, 1)), np.ones((1, 3, 3, 1)), padding=1, cval=1e18).passed
