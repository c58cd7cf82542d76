"""The progress that a run of apply reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import from_options


@pytest.mark.parametrize("policy", ["clip", "rescale"])
@pytest.mark.parametrize("values", [1 << 23, 1000])
def test_it_grows_to_the_end(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, values: int, policy: str
) -> None:
    monkeypatch.setattr("convcli.jobs.chunks.CHUNK_VALUES", values)
    np.save("x.npy", np.random.default_rng(0).random((300, 200), np.float32))
    shares: list[float] = []
    run_apply(
        plan_apply(from_options(ApplyRequest, "x.npy", ("sobel-x", "box"), range=policy)),
        shares.append,
    )
    assert shares[-1] == 1
    assert all(0 < share <= 1 for share in shares)
    assert len(shares) >= 2
