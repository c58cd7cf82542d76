"""Parse the language of layers.

`conv:64,k=3,p=1 relu [conv:64 relu]x2 residual[conv:64 | ] gap linear:10`

::

    chain    = { item [ "x" count ] }              a count repeats the word or group before it
    item     = word | "[" chain "]" | name "[" chain { "|" chain } "]"
    word     = name [ ":" argument { "," argument } ]
    argument = value | key "=" value

`#` begins a comment, to the end of the line. The names of layers are checked in `layers`, not here.
Every piece has its place in the text, for error messages.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from convcli.errors import InputError

PIECE = re.compile(r"#[^\n]*|[\[\]|]|[^\s\[\]|#]+")
TIMES = re.compile(r"[x×][0-9]{1,9}")
WORD = re.compile(r"[A-Za-z][\w-]*(:.*)?", re.DOTALL)
DEEPEST = 50  # limit of groups within groups, below Python's limit of recursion


class TokenError(InputError):
    """A word that cannot be parsed; the message has its place."""


class Word(NamedTuple):
    """One layer, or a block's name, as written: `conv:64,k=3` at its place in the text."""

    name: str
    arguments: tuple[tuple[str, str], ...]  # (key, value); an empty key for a value without one
    text: str
    place: str

    def error(self, given: str, expected: str = "", remedy: str = "") -> TokenError:
        return TokenError(f"{self.text!r} at {self.place}: {given}", expected, remedy)


class Group(NamedTuple):
    """The items in brackets, or the word before a count, repeated `times` times."""

    items: tuple[Item, ...]
    times: int


class Branch(NamedTuple):
    """Arms that start from the same tensor and merge again: `concat[a | b]`."""

    head: Word
    arms: tuple[tuple[Item, ...], ...]


Item: TypeAlias = Word | Group | Branch


def written(item: Item) -> str:
    """Return an item as text that `parse` reads.

    >>> written(parse("[conv:8,k=3 relu]x2")[0]), written(parse("residual[relu|gap]")[0])
    ('[conv:8,k=3 relu]', 'residual[relu | gap]')
    """
    if isinstance(item, Word):
        return item.text
    if isinstance(item, Branch):
        return f"{item.head.text}[{' | '.join(' '.join(map(written, arm)) for arm in item.arms)}]"
    inside = " ".join(map(written, item.items))
    return inside if len(item.items) == 1 else f"[{inside}]"


def parse(text: str) -> tuple[Item, ...]:
    """Read a chain of layers. Raises TokenError with the place of the mistake and a suggestion.

    >>> [item.text for item in parse("conv:64,k=3 relu")]
    ['conv:64,k=3', 'relu']
    >>> parse("[conv:64 relu]x3")[0].times
    3
    >>> parse("conv:64 relu]")
    Traceback (most recent call last):
    ...
    convcli.network.parser.TokenError: ']' at character 13: there is no '[' before it; \
remove it, or open the group
    """
    return _Reader(text).chain_to_the_end()


def parse_arguments(text: str, error: Word | None = None) -> tuple[tuple[str, str], ...]:
    """Read `64,k=3` as pairs of a key and a value.

    >>> parse_arguments("64,k=3")
    (('', '64'), ('k', '3'))
    """
    pairs = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            key = ""
            value = part
        if not value.strip() or (equals and not key.strip()):
            message = f"the argument {part!r} is incomplete"
            refused = error.error if error else TokenError
            raise refused(message, "expected a value, or key=value", "write it as conv:64,k=3,s=2")
        pairs.append((key.strip(), value.strip()))
    return tuple(pairs)


class _Reader:
    """A cursor over the pieces of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pieces = [m for m in PIECE.finditer(text) if not m.group().startswith("#")]
        self.at = 0
        self.depth = 0
        self.lined = "\n" in text.strip()

    def chain_to_the_end(self) -> tuple[Item, ...]:
        items = self.chain()
        if self.next is None:
            return items
        if self.next == "]":
            raise self.error("there is no '[' before it", remedy="remove it, or open the group")
        raise self.error("there are no arms to separate here", remedy="write it as concat[a | b]")

    def chain(self) -> tuple[Item, ...]:
        """Read up to the end, the next `|` or the next `]`."""
        items: list[Item] = []
        while self.next is not None and self.next not in "]|":
            items.append(self.item())
        return tuple(items)

    def item(self) -> Item:
        piece = self.pieces[self.at]
        if piece.group() == "[":
            (items,) = self.arms(limit=1)
            return Group(items, self.times())
        if TIMES.fullmatch(piece.group()):
            raise self.error(
                "there is nothing before it to repeat",
                remedy="write it after a layer or a group, as [conv:64,k=3 relu]x3",
            )
        word = self.word()
        item: Item = word
        if self.next == "[" and self.pieces[self.at].start() == piece.end():
            item = Branch(word, self.arms())
        times = self.times()
        return item if times == 1 else Group((item,), times)

    def arms(self, limit: int | None = None) -> tuple[tuple[Item, ...], ...]:
        """Read from a `[` past its `]`: the chains that `|` separates."""
        opening = self.at
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"more than {DEEPEST} groups within each other")
        self.at += 1
        found = [self.chain()]
        while self.next == "|":
            if limit == len(found):
                raise self.error(
                    "a group has no arms", remedy="write it as concat[a | b] or residual[a | b]"
                )
            self.at += 1
            found.append(self.chain())
        if self.next is None:
            self.at = opening
            raise self.error("the group is never closed", remedy="close it with ']'")
        self.at += 1
        self.depth -= 1
        return tuple(found)

    def times(self) -> int:
        """Read an optional count: `x3`; 1 if there is none."""
        if self.next is None or not TIMES.fullmatch(self.next):
            return 1
        count = int(self.next[1:])
        if count == 0:
            raise self.error("a count of 0", "expected 1 or more")
        self.at += 1
        return count

    def word(self) -> Word:
        piece = self.pieces[self.at]
        if not WORD.fullmatch(piece.group()):
            raise self.error(
                "not a layer", "expected a name, then its arguments", "write it as conv:64,k=3,s=2"
            )
        self.at += 1
        return self.word_of(piece)

    def word_of(self, piece: re.Match[str]) -> Word:
        text = piece.group()
        if not text.isprintable():
            raise self.refusal(piece, "a control character in it", remedy="remove it")
        place = self.place(piece)
        name, colon, rest = text.partition(":")
        bare = Word(name, (), text, place)
        return Word(name, parse_arguments(rest, bare), text, place) if colon else bare

    @property
    def next(self) -> str | None:
        return self.pieces[self.at].group() if self.at < len(self.pieces) else None

    def error(self, given: str, expected: str = "", remedy: str = "") -> TokenError:
        return self.refusal(self.pieces[self.at], given, expected, remedy)

    def refusal(
        self, piece: re.Match[str], given: str, expected: str = "", remedy: str = ""
    ) -> TokenError:
        return TokenError(f"{piece.group()!r} at {self.place(piece)}: {given}", expected, remedy)

    def place(self, piece: re.Match[str]) -> str:
        if not self.lined:
            return f"character {piece.start() + 1}"
        before = self.text[: piece.start()]
        return f"line {before.count(chr(10)) + 1}, character {len(before) - before.rfind(chr(10))}"
