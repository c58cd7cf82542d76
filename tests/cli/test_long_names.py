"""Names that the system cannot have are files that are missing, not faults of convcli's own."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from convcli.cli import main

LONG = "x" * 300
DIGITS = "1" * 300

pytestmark = pytest.mark.usefixtures("in_tmp")


@pytest.mark.parametrize(
    "words",
    [
        ["apply", f"{LONG}.npy", "-k", "box"],
        ["apply", f"{LONG}/a.npy", "-k", "box"],
        ["apply", "good.npy", "-k", LONG],
        ["apply", "good.npy", "-k", f"{LONG}.csv"],
        ["apply", "good.npy", "-k", f"{LONG}/a.csv"],
        ["apply", "good.npy", "-k", f"{LONG}:a=1/2"],
        ["apply", "good.npy", "-k", "box", "-o", f"{LONG}.npy"],
        ["apply", "good.npy", "-k", "box", "-o", f"{LONG}/a.npy"],
        ["apply", DIGITS, "-k", "box"],
        ["explain", DIGITS, "-k", "3"],
        ["shape", f"{LONG}.onnx"],
        ["shape", f"{LONG}/a.onnx"],
        ["shape", f"{LONG}.toml"],
        ["shape", f"{LONG}/a.toml"],
        ["shape", DIGITS, "-k", "3"],
        ["batch", LONG, "-k", "box", "-o", "d"],
        ["batch", f"{LONG}/*.npy", "-k", "box", "-o", "d"],
        ["batch", "good.npy", "-k", "box", "-o", LONG],
        ["batch", "good.npy", "-k", "box", "-o", f"{LONG}/d"],
    ],
)
def test_a_name_that_is_too_long_is_refused(words: list[str]) -> None:
    np.save("good.npy", np.arange(99.0).reshape(9, 11))
    ended = CliRunner().invoke(main, words)
    assert ended.exit_code in (1, 2, 3, 4)
    assert "fault of convcli" not in ended.stderr
    assert "Error: " in ended.stderr
