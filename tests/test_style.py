"""Check rules of style that the linter does not have."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "convcli"


def nested_conditionals(tree: ast.AST) -> Iterator[ast.IfExp]:
    """Yield the conditional expressions that contain another one."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.IfExp)
            and sum(isinstance(part, ast.IfExp) for part in ast.walk(node)) > 1
        ):
            yield node


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a if b else c", 0),
        ("a if b else c if d else e", 1),
        ("f(a if b else c) if d else e", 1),
        ("(a if b else c)", 0),
    ],
)
def test_nested_conditionals_are_found(text: str, count: int) -> None:
    assert len(list(nested_conditionals(ast.parse(text)))) == count


def test_no_conditional_expression_holds_another() -> None:
    """Three cases are three statements, or a table."""
    found = [
        f"{path.relative_to(HOUSE.parent)}:{node.lineno}"
        for path in sorted(HOUSE.rglob("*.py"))
        for node in nested_conditionals(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found
