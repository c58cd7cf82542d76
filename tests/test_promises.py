"""Check that each promise of the guide names tests, and that they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "convcli" / "guide" / "promises.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!promise|-)(.+?) \| (`tests/.+`) \|$", SECTION, re.MULTILINE)


def names_in(path: Path) -> set[str]:
    """Return the tests of a file, by pytest's names without parameters."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        inner = (
            [(f"{node.name}::", part) for part in node.body]
            if isinstance(node, ast.ClassDef)
            else [("", node)]
        )
        found |= {
            f"{before}{part.name}" for before, part in inner if isinstance(part, ast.FunctionDef)
        }
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}


def test_every_row_is_read() -> None:
    assert len(ROWS) == SECTION.count("\n| ") - 1 > 20


@pytest.mark.parametrize(("promise", "tests"), ROWS, ids=[promise for promise, _ in ROWS])
def test_a_promise_is_held_by_tests_that_exist(promise: str, tests: str) -> None:
    named = re.findall(r"`([^`:]+)::([^`]+)`", tests)
    assert len(named) == tests.count("`") // 2 > 0
    for path, name in named:
        assert name in names_in(ROOT / path), f"{promise}: {path} has no {name}"
