"""The lesson's steps: their facts are right, and their texts say nothing that is not computed."""

from __future__ import annotations

import re
import shlex
import string
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import record, run

from convcli.errors import CheckError
from convcli.learn.lesson import CLAIMS, Source, Step, fill, parse_steps, read_lesson, value_at
from convcli.learn.lesson.answers import is_right

STEPS = read_lesson()
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
SAID = {"0", "1", "2"}
"""Numbers that a text may contain because they are words: `2-D`, rank 1, a sum of 0."""

X = np.array([3.0, 1, 4, 1, 5])
DY = np.array([1.0, 10, 100])
F, G, H = np.array([1.0, 2]), np.array([3.0, 5]), np.array([4.0, 0])
W = np.array([1.0, 2, 3])


def correlated(f: np.ndarray, g: np.ndarray, mode: str = "valid") -> list[float]:
    return np.correlate(f, g, mode).tolist()


M = np.array([[1.0, 2, 4, 0, 0], [0, 1, 2, 4, 0], [0, 0, 1, 2, 4]])
FACTS = {
    1: {"parameters": 784 * 676 + 676},
    2: {"weights": 9, "dense": 784 * 676},
    3: {"y": correlated(X, W)},
    4: {"height": 94, "width": 76},
    5: {"same": 2, "length": 28, "kept": 28, "full": 4, "more": 32},
    6: {"reflect": np.pad(X, 1, "reflect")[:3] @ W, "constant": np.pad(X, 1)[:3] @ W},
    7: {"output": [13, 13], "unused": 1},
    8: {"outputs": 1, "y": X[::2] @ W},
    9: {"convolved": np.convolve(X, W, "valid")[0], "correlated": X[:3] @ W},
    10: {"flipped": X[:3] @ W[::-1], "symmetric": X[:3] @ [1, 2, 1]},
    11: {
        "fg": np.convolve(F, G).tolist(),
        "cfg": correlated(F, G, "full"),
        "cgf": correlated(G, F, "full"),
        "cfh": correlated(F, H, "full"),
    },
    12: {"sum": 1.0, "gain": 1.0},
    13: {"y": [0.0, 36.0, 36.0, 0.0]},
    14: {"rank": 1},
    15: {"channels": 3, "sums": [4.0, 13.0, 8.0], "total": 25.0, "output": [1, 1, 1]},
    16: {"inputs": 3, "outputs": 8, "weights": 8 * 27},
    17: {"small": 8 * 27 + 8},
    18: {"first": 3, "jump": 2, "last": 8},
    19: {"row": M[0][:3].tolist()},
    20: {"column": M.T[:, 0].tolist(), "output": [7, 7, 1]},
    21: {"dx": np.convolve(DY, W).tolist()},
    22: {"first": X[:3] @ DY, "dw": correlated(X, DY)},
    23: {"dx": 192, "dw": 108, "db": 4},
}
"""Facts of each step, computed by numpy."""

ANSWERS: dict[int, Any] = {
    1: 1010,
    2: 25,
    3: -1,
    4: (26, 26),
    5: 3,
    6: 12,
    7: (112, 112),
    8: (20, 20),
    9: 3,
    10: 9,
    11: (8, 4, 0),
    12: 1,
    13: 0,
    14: 2,
    15: (28, 28, 1),
    16: (24, 24, 32),
    17: 64 * 147 + 64,
    18: (5, 5),
    19: 6,
    20: (28, 28, 1),
    21: 2,
    22: 7,
    23: 2,
    24: (8, 8, 3),
}


@pytest.fixture(autouse=True)
def _with_files(in_tmp: Path) -> None:
    for name, content in STEPS[0].files.items():
        (in_tmp / name).write_text(content)


@cache
def record_of(line: str) -> dict[str, Any]:
    return record(line)


def measured(step: Step) -> dict[str, Any]:
    return step.measure(record_of)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"step {step.number}")
class TestEveryStep:
    def test_facts_are_those_of_numpy(self, step: Step) -> None:
        facts = measured(step)
        for name, value in FACTS.get(step.number, {}).items():
            assert facts[name] == pytest.approx(value), name

    def test_answer_is_right(self, step: Step) -> None:
        expected = step.answer.value(record_of)
        assert expected == pytest.approx(
            ANSWERS[step.number] if isinstance(expected, int | float) else [*ANSWERS[step.number]]
        )
        assert is_right(fill("{answer}", {"answer": expected}), expected)

    def test_numbers_in_texts_are_computed_or_typed(self, step: Step) -> None:
        """Every number in a text is one that a command of the step has, or a fact."""
        typed = " ".join([*step.runs, step.answer.run])
        known = {*re.findall(r"-?\d+", " ".join([typed, *step.files_of(typed).values()])), *SAID}
        for text in (step.title, step.idea, step.notice, step.ask):
            plain = "".join(literal for literal, *_ in string.Formatter().parse(text))
            assert {*re.findall(r"(?<!\w)-?\d+", plain)} <= known, text

    def test_what_a_notice_names_is_in_the_output(self, step: Step) -> None:
        facts = measured(step)
        output = " ".join(run(*shlex.split(line)).stdout for line in step.runs)
        found = {float(number.replace(",", "")) for number in NUMBER.findall(output)}
        for _, name, _, _ in string.Formatter().parse(step.notice):
            if name and step.facts[name].run.split(" -q")[0] in step.runs:
                values = np.ravel(facts[name])
                assert {float(value) for value in values} <= found, name

    def test_every_fact_is_used(self, step: Step) -> None:
        texts = step.notice + step.ask
        claimed = {word for claim in step.claims for word in claim.split()}
        unused = [n for n in step.facts if n not in claimed and f"{{{n}" not in texts]
        assert unused == []

    def test_claims_name_facts(self, step: Step) -> None:
        for claim in step.claims:
            left, relation, right = claim.split()
            assert {left, right} <= {*step.facts}
            assert relation in CLAIMS

    def test_is_short(self, step: Step) -> None:
        assert len(step.idea) <= 320
        assert 1 <= len(re.findall(r"[.](?= |$)", step.idea)) <= 4
        assert step.ask.endswith("?")

    def test_commands_fit_a_terminal(self, step: Step) -> None:
        assert [line for line in step.runs if len(f"$ convcli {line}") > 80] == []


def test_the_files_are_all_used() -> None:
    lines = [line for step in STEPS for line in (*step.runs, step.answer.run)]
    assert {name for line in lines for name in STEPS[0].files_of(line)} == {*STEPS[0].files}


def test_numbers_follow_the_order() -> None:
    assert [step.number for step in STEPS] == list(range(1, len(STEPS) + 1))
    assert {*FACTS} | {24} == {*ANSWERS} == {step.number for step in STEPS}


def test_the_matrices_of_both_steps_are_transposed() -> None:
    forward = np.loadtxt(run(*shlex.split(STEPS[18].runs[0])).stdout.splitlines(), delimiter=",")
    back = np.loadtxt(run(*shlex.split(STEPS[19].runs[0])).stdout.splitlines(), delimiter=",")
    assert np.array_equal(forward, M)
    assert np.array_equal(back, M.T)


def test_a_false_claim_is_an_error() -> None:
    source = Source("", "value")
    step = STEPS[1]
    false = type(step)(**{**vars(step), "facts": {"a": source, "b": source}, "claims": ("a < b",)})
    with pytest.raises(CheckError, match="step 2 claims a < b; computed 7 and 7; please report"):
        false.measure(lambda line: {"value": 7})


@pytest.mark.parametrize("text", ["0", "25", "3-2", "x", "", "-3", "3-25", "1.5", "９", "9" * 30])
def test_steps_that_do_not_exist(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number from 1 to 24"):
        parse_steps(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.0", 1),
        ("a.-1", 3),
        ("a.*", [1, 2, 3]),
        ("a.::2", [1, 3]),
        ("b.c", "d"),
        ("a.1:3", [2, 3]),
    ],
)
def test_paths(path: str, value: Any) -> None:
    assert value_at({"a": [1, 2, 3], "b": {"c": "d"}}, path) == value


class TestAnswers:
    @pytest.mark.parametrize(
        "text",
        [
            *("26x26", "26, 26", "26 26", "(26,26)", "(26, 26, 1)", "[26 26 1]", "26", "26×26x1"),
            *("26X26", "26 by 26", "26 * 26", " 26;26 ", "output = 26x26", "26.0, 26", "{26, 26}"),
            "shape=(26, 26, 1, 1)",
        ],
    )
    def test_a_shape(self, text: str) -> None:
        assert is_right(text, [26, 26])
        assert is_right(text, [26, 26, 1])

    @pytest.mark.parametrize("text", ["27", "26x27", "26x26x2", "26x26x26", "2626", "nan", "inf"])
    def test_another_shape(self, text: str) -> None:
        assert is_right(text, [26, 26]) is False

    @pytest.mark.parametrize(
        "text", ["9472", "9,472", "9 472", "9_472", "9'472", "9472.", "w = 9,472", "9.472e3"]
    )
    def test_a_count(self, text: str) -> None:
        assert is_right(text, 9472)

    @pytest.mark.parametrize("text", ["9471", "9,47", "9472, 1", "94.72", "-9472"])
    def test_another_count(self, text: str) -> None:
        assert is_right(text, 9472) is False

    @pytest.mark.parametrize("text", ["8, 4, 0", "[8 4 0]", "8;4;0", "8.,4.,-0", "8 4 0.0"])
    def test_values(self, text: str) -> None:
        assert is_right(text, [8.0, 4.0, 0.0])

    @pytest.mark.parametrize("text", ["8", "8, 4", "0, 4, 8", "840", "8, 4, 0, 0"])
    def test_other_values(self, text: str) -> None:
        assert is_right(text, [8.0, 4.0, 0.0]) is False

    def test_a_value_is_not_read_as_thousands_in_a_list(self) -> None:
        assert is_right("1,100", [1.0, 100.0])
        assert is_right("1,100", 1100)

    @pytest.mark.parametrize("text", ["-1", "−1", "y[0] = -1", "-2/2", "-1.0"])
    def test_a_negative_value(self, text: str) -> None:
        assert is_right(text, -1.0)

    @pytest.mark.parametrize(
        "text",
        ["", " ", "?", "abc", "1/0", "1//2", "26x", "x26", "26 pixels", "=", "()", "\0", "1e"],
    )
    def test_no_answer(self, text: str) -> None:
        assert is_right(text, 26) is None

    def test_a_long_line_is_read_at_once(self) -> None:
        assert is_right("1e999999999", 26) is False
        assert is_right("9" * 100_000, 26) is False
        assert is_right("1 " * 50_000, 26) is False
