"""A matcher of regular expressions that counts its steps, and strings on which they may be slow.

It backtracks as Python's `re` does, so that its steps grow as the time of `re` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

LIMIT = 60_000
AT_START = ("AT_BEGINNING", "AT_BEGINNING_STRING")
REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
SINGLE = ("LITERAL", "NOT_LITERAL", "ANY", "IN")
ALPHABET = [" ", "\n", "a", "1", "<", '"', ":", "=", "#", ",", "-", "!", "x", "S", "."]


class StepsError(Exception):
    """The steps exceed the limit."""


class Matcher:
    """A compiled pattern whose steps are counted, at most `limit`."""

    def __init__(self, pattern: str | bytes, flags: int = 0, limit: int = LIMIT) -> None:
        text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
        self._flags = flags | (re.ASCII if isinstance(pattern, bytes) else 0)
        self.tree = re._parser.parse(text, self._flags)  # type: ignore[attr-defined]
        self._flags = self.tree.state.flags
        self._limit, self.steps = limit, 0
        self._known: dict[tuple[str, str], bool] = {}

    def match(self, text: str, start: int = 0, *, whole: bool = False) -> int | None:
        """Return the end of the match at `start`, or None."""
        for end, _ in self._sequence(list(self.tree), 0, text, start, {}):
            if not whole or end == len(text):
                return end
        return None

    def scan(self, text: str) -> None:
        """Find every match, as `finditer`, `sub` and `split` do; as `search`, if there is none."""
        start = 0
        while start <= len(text):
            end = self.match(text, start)
            start = start + 1 if end is None else max(end, start + 1)

    def accepts(self, node: Any, letter: str) -> bool:
        """Return whether a node for one character matches a letter."""
        key = repr(node), letter
        if key not in self._known:
            single = re._parser.SubPattern(self.tree.state, [node])  # type: ignore[attr-defined]
            compiled = re._compiler.compile(single, self._flags)  # type: ignore[attr-defined]
            self._known[key] = compiled.fullmatch(letter) is not None
        return self._known[key]

    def _sequence(
        self, nodes: list[Any], at: int, text: str, pos: int, groups: dict[int, str]
    ) -> Iterator[tuple[int, dict[int, str]]]:
        """Yield each end of the nodes from `at` on, in the order in which `re` tries them."""
        pending = [iter([(pos, groups)])]
        while pending:  # one iterator for each node so far
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
            elif len(pending) > len(nodes) - at:
                yield found
            else:
                pending.append(self._node(nodes[at + len(pending) - 1], text, *found))

    def _node(
        self, node: Any, text: str, pos: int, groups: dict[int, str]
    ) -> Iterator[tuple[int, dict[int, str]]]:
        self._step()
        kind, value = str(node[0]), node[1]
        if kind in SINGLE:
            if pos < len(text) and self.accepts(node, text[pos]):
                yield pos + 1, groups
        elif kind in REPEATS:
            low, high, body = value
            ends = self._repeated(list(body), low, int(high), kind, text, pos, groups)
            yield from ends if kind != "POSSESSIVE_REPEAT" else _first(ends)
        elif kind == "SUBPATTERN":
            for end, inner in self._sequence(list(value[3]), 0, text, pos, groups):
                yield end, {**inner, value[0]: text[pos:end]}
        elif kind == "BRANCH":
            for option in value[1]:
                yield from self._sequence(list(option), 0, text, pos, groups)
        elif kind == "ATOMIC_GROUP":
            yield from _first(self._sequence(list(value), 0, text, pos, groups))
        elif kind in ("ASSERT", "ASSERT_NOT"):
            back = value[1].getwidth()[0] if value[0] < 0 else 0
            there = pos >= back and any(self._sequence(list(value[1]), 0, text, pos - back, groups))
            if there == (kind == "ASSERT"):
                yield pos, groups
        elif kind == "GROUPREF":
            if text.startswith(groups.get(value, "\0\0"), pos):
                yield pos + len(groups[value]), groups
        elif kind == "AT":
            if _is_at(str(value), text, pos, self._flags):
                yield pos, groups
        else:
            raise NotImplementedError(kind)

    def _repeated(
        self,
        body: list[Any],
        low: int,
        high: int,
        kind: str,
        text: str,
        pos: int,
        groups: dict[int, str],
    ) -> Iterator[tuple[int, dict[int, str]]]:
        """Yield the ends of the body repeated: the longest first, unless it is lazy."""
        lazy = kind == "MIN_REPEAT"
        stack = [(pos, groups, 0, self._sequence(body, 0, text, pos, groups))]
        if lazy and not low:
            yield pos, groups
        while stack:
            here, inner, count, tries = stack[-1]
            found = next(tries, None) if count < high else None
            self._step()
            if found is None:
                stack.pop()
                if not lazy and count >= low:
                    yield here, inner
            elif found[0] > here or count < low:
                end, inner = found
                if lazy and count + 1 >= low:
                    yield end, inner
                stack.append((end, inner, count + 1, self._sequence(body, 0, text, end, inner)))

    def _step(self) -> None:
        self.steps += 1
        if self.steps > self._limit:
            raise StepsError


def _first(found: Iterator[Any]) -> Iterator[Any]:
    for each in found:
        yield each
        return


def _is_at(kind: str, text: str, pos: int, flags: int) -> bool:
    if kind in AT_START:
        lines = kind == "AT_BEGINNING" and flags & re.MULTILINE
        return pos == 0 or bool(lines and text[pos - 1] == "\n")
    if kind in ("AT_END", "AT_END_STRING"):
        lines = kind == "AT_END" and flags & re.MULTILINE
        return pos == len(text) or bool(lines and text[pos] == "\n")
    around = [
        bool(re.match(r"\w", each))
        for each in (text[pos - 1 : pos] if pos else "", text[pos : pos + 1])
    ]
    return (around[0] != around[1]) == (kind == "AT_BOUNDARY")


def samples(matcher: Matcher, nodes: Any) -> list[str]:
    """Return a few short texts that nodes match, as far as that can be told from each alone."""
    texts = [""]
    for node in nodes:
        kind, value = str(node[0]), node[1]
        if kind == "LITERAL":
            own = [chr(value)]
        elif kind in SINGLE:
            own = [each for each in ALPHABET if matcher.accepts(node, each)][:3]
            own = own or [each for each in map(chr, range(256)) if matcher.accepts(node, each)][:1]
        elif kind in REPEATS:
            own = [each * max(value[0], 1) for each in samples(matcher, value[2])]
        elif kind == "SUBPATTERN":
            own = samples(matcher, value[3])
        elif kind == "BRANCH":
            own = [each for option in value[1] for each in samples(matcher, option)]
        elif kind == "ATOMIC_GROUP":
            own = samples(matcher, value)
        elif kind == "ASSERT" and value[0] > 0:
            own = samples(matcher, value[1])[:1]
        else:
            own = [""]
        texts = [text + each for text in texts[:3] for each in own[:4]]
    return texts[:4]


def repeats(matcher: Matcher, nodes: Any, before: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield what precedes each long repetition, and texts that it repeats."""
    for at, node in enumerate(nodes):
        kind, value = str(node[0]), node[1]
        lead = before + samples(matcher, nodes[:at])[0]
        if kind in REPEATS:
            if int(value[1]) > 1000:
                yield lead, samples(matcher, value[2])
            yield from repeats(matcher, value[2], lead)
        elif kind == "SUBPATTERN":
            yield from repeats(matcher, value[3], lead)
        elif kind == "BRANCH":
            for option in value[1]:
                yield from repeats(matcher, option, lead)
        elif kind == "ATOMIC_GROUP":
            yield from repeats(matcher, value, lead)


def adversaries(matcher: Matcher, length: int) -> Iterator[str]:
    """Yield texts of about a length, of repetitions that fail late or begin many times."""
    for before, bodies in repeats(matcher, matcher.tree):
        for body in bodies:
            for unit, lead in ((body, before), (before + body, ""), (before + body + body, "")):
                if unit:
                    text = lead + unit * (length // len(unit))
                    yield text
                    yield text + "\0"
                    yield text + "!\n"
