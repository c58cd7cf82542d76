"""A request holds the options that commands share in groups, and `from_options` fills them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from convcli.bench.run import BenchRequest
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.grad import GradRequest
from convcli.jobs.gradcheck import GradcheckRequest
from convcli.jobs.requests import GROUPS, flat_options, from_options
from convcli.learn.explain import ExplainRequest
from convcli.learn.laws import LawsRequest
from convcli.limits import Limits
from convcli.shapes.geometry import Geometry

REQUESTS: dict[Any, tuple[Any, ...]] = {
    ApplyRequest: ("x.npy", ("box",)),
    GradRequest: ("8x8", "box"),
    GradcheckRequest: ("8x8", "box"),
    LawsRequest: ("8x8", "box"),
    ExplainRequest: ("8x8", "box", (0, 0)),
    BenchRequest: ((8, 8), "box"),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_request_has_the_geometry_as_one_field(kind):
    assert kind(*REQUESTS[kind]).geometry == Geometry()


@pytest.mark.parametrize("kind", REQUESTS)
def test_no_request_copies_a_field_of_its_groups(kind):
    own = {field.name for field in fields(kind)}
    for name in own & GROUPS.keys():
        assert not own & {field.name for field in fields(GROUPS[name])}  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", REQUESTS)
def test_options_find_their_groups_and_back(kind):
    options = {"stride": (2, 1), "padding": "same", "op": "convolve", "dims": 2}
    request = from_options(kind, *REQUESTS[kind], **options)
    assert request.geometry == Geometry(**options)
    flat = flat_options(request)
    assert {name: flat[name] for name in options} == options
    del flat["limits"]
    assert from_options(kind, **flat) == request


def test_limits_come_of_both_options():
    request = from_options(GradRequest, "8x8", "box", max_memory=4000, max_pixels=5)
    assert request.limits == Limits(4000, 5)


def test_an_option_of_no_group_is_refused():
    with pytest.raises(TypeError, match="combine"):
        from_options(GradRequest, "8x8", "box", combine="max")
