"""Check that every regular expression takes time in proportion to its text."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from convcli.io import formats
from convcli.io.foreign import FOREIGN
from convcli.io.images import animation
from tests.matching import LIMIT, Matcher, StepsError, adversaries

ROOT = Path(__file__).parent.parent
CALLS = ("compile", "search", "match", "fullmatch", "sub", "subn", "findall", "finditer", "split")
ANCHORED = ("match", "fullmatch")

LOCALS: dict[str, list[Any]] = {
    "pattern": [pattern for each in formats._TABLE for pattern in each.signatures],
    "program": list(animation._VOLUMES),
    "slices": list(animation._VOLUMES.values()),
    "names": [rb"GPano:\w+", rb"Item(?= name=\"STATISTICS_)", rb"tiff:[XY]Resolution|exif:Size"],
    "name": ["spacing"],
    "owner": ["0123abcd"],
    "separator": [",", ";", "\t"],
    "row": [row for row in FOREIGN if row.signature],
}
"""Values of the variables in patterns."""


class Call(NamedTuple):
    """A call of `re`: the module, the pattern as written, its method, and the flags."""

    path: str
    pattern: str | bytes
    method: str
    flags: int


def calls() -> Iterator[Call]:
    for path in sorted((ROOT / "convcli").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names = {
            node.value: target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        methods: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                methods.setdefault(node.value.id, set()).add(node.attr)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.func.attr in CALLS
            ):
                used = {node.func.attr}
                if node.func.attr == "compile":
                    used = methods.get(names.get(node, ""), set()) & set(CALLS) or {"match"}
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                for pattern, flags in values(node, vars(import_module(module))):
                    yield from (Call(place, pattern, method, flags) for method in sorted(used))


def values(node: ast.Call, names: dict[str, Any]) -> Iterator[tuple[str | bytes, int]]:
    """Evaluate the pattern and the flags of a call, for every value of its variables."""
    given = {each.id for each in ast.walk(node.args[0]) if isinstance(each, ast.Name)}
    unknown = next((name for name in given if name not in names and name in LOCALS), "")
    flags = 0
    for part in (*node.args[1:], *(keyword.value for keyword in node.keywords)):
        text = ast.unparse(part)
        if re.fullmatch(r"(re\.[A-Z]+( \| )?)+", text):
            flags |= int(eval(text))
    for value in LOCALS.get(unknown, [None]):
        code = compile(ast.Expression(node.args[0]), "pattern", "eval")
        yield eval(code, {**names, unknown: value}), flags


EVERY = list(calls())


def steps(call: Call, length: int) -> list[int]:
    """Count the steps for each adversary of a length."""
    found = []
    for text in adversaries(Matcher(call.pattern, call.flags), length):
        matcher = Matcher(call.pattern, call.flags)
        try:
            if call.method in ANCHORED:
                matcher.match(text, whole=call.method == "fullmatch")
            else:
                matcher.scan(text)
        except StepsError:
            pass
        found.append(matcher.steps)
    return found


@pytest.mark.parametrize("call", EVERY, ids=lambda call: f"{call.path} {call.method}")
def test_the_steps_grow_as_the_text(call: Call) -> None:
    short, long = steps(call, 30), steps(call, 240)
    for few, many in zip(short, long, strict=True):
        assert many <= min(14 * (few + 30), LIMIT)


SLOW = [
    rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>",
    r"[ \t]*(?:;\s*|\n\s*)",
    r"\s*([<>@]*)\s*:",
    rb"P([456f])(?:(?:\s|#.*)+(\d+)){2}",
    rb"\s*(<\?xml.*?|<!--.*?)*<svg",
    r"[+-]?\d+\.?\d*,",
    r"<OME\b[\s\S]*?<Pixels\b([^>]*)",
    r"^ImageJ=[\s\S]*^slices=(?!1\b)\d",
    r"\s*[x,]\s*",
]


@pytest.mark.parametrize("pattern", SLOW)
def test_steps_that_grow_faster_are_found(pattern: str | bytes) -> None:
    call = Call("", pattern, "search", re.MULTILINE | re.DOTALL * isinstance(pattern, bytes))
    with pytest.raises(AssertionError):
        test_the_steps_grow_as_the_text(call)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"\s*,\s*|\s+", "1 , 2 3"),
        (r"(a|b)+?c\1?", "abcbx"),
        (r"(?<!x)y|\bz(?=!)", "xy y z z!"),
        (r"(?m)^(\d{2,3})$", "12\n3456\n789"),
        (r"\s*+(\w*+)\s*+<", "  ab  <"),
        (r"(?:\s|#.*+)++(\d+)", " #1\n 23"),
    ],
)
def test_the_matcher_finds_what_re_finds(pattern: str, text: str) -> None:
    for start in range(len(text)):
        expected = re.compile(pattern).match(text, start)
        assert Matcher(pattern).match(text, start) == (expected and expected.end())
