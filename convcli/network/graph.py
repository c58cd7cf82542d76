"""A network: its layers in order, applied to a tensor, each with its cost.

With residual sums and concatenations it is an acyclic graph, whose nodes are in topological order:
each comes after its inputs. Every pass over a network (receptive fields, memory) is one loop over
that list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from convcli.errors import ChannelError, InputError, LimitError, ShapeError
from convcli.network.layers import KINDS, Op, Step, Tensor, bind, read, unknown
from convcli.network.parser import Branch, Group, Item, TokenError, Word, parse, written
from convcli.options import Layout
from convcli.shapes.axis import Axis
from convcli.shapes.parse import check_countable, show

MOST_LAYERS = 100_000  # limit of a network's layers, so that a huge count ends in an error
MOST_WORDS = 10 * MOST_LAYERS  # limit of the words that are expanded, with those of empty blocks
MOST_CHARACTERS = 10_000_000  # limit of the text of blocks with their parameters
DEEPEST_BLOCK = 20  # limit of blocks within blocks, which stops a block that contains itself
INPUT = -1
"""The index of the network's first input among a node's inputs; other inputs are -2, -3, ..."""


class Instance(NamedTuple):
    """The outermost block, branch or repetition that a layer belongs to.

    number: unique for each time that it is applied. named: whether it is a block with a name.
    """

    number: int
    text: str
    named: bool


class Node(NamedTuple):
    """One layer of the network. `op` is None if branches merge here, as `text` names."""

    text: str
    path: str  # the blocks that it is in, outermost first: "bottleneck:64"
    op: Op | None
    inputs: tuple[int, ...]
    x: Tensor  # the first input
    step: Step
    instance: Instance | None = None

    @property
    def output(self) -> Tensor:
        return self.step.output

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.step.axes

    @property
    def parameters(self) -> int:
        return self.step.weights + self.step.biases

    @property
    def merges(self) -> bool:
        return self.op is None

    @property
    def view(self) -> bool:
        """True if the output is a view of the input."""
        return self.op is not None and self.op.kind.view


@dataclass(frozen=True, slots=True)
class Block:
    """A named part of a file: its parameters (None: must be given), and its layers as text."""

    parameters: Mapping[str, str | None]
    text: str


@dataclass(frozen=True, slots=True)
class Network:
    """Layers applied to an input.

    >>> layers = parse("conv:64,k=7,s=2,p=3 relu maxpool:k=3,s=2,p=1 gap linear:10")
    >>> net = Network.of(Tensor((224, 224), 3), layers)
    >>> str(net.output), net.parameters, net.macs
    ('10', 10122, 118014592)
    """

    x: Tensor
    nodes: tuple[Node, ...]
    layout: Layout = "channels_last"
    name: str = ""
    # Unknown kinds of layers of a file, whose outputs have the shapes that the file declares.
    opaque: tuple[str, ...] = ()
    others: tuple[Tensor, ...] = ()  # inputs besides the first
    ends: tuple[int, ...] = ()  # the output nodes, if they are not only the last node

    @classmethod
    def of(
        cls,
        x: Tensor,
        items: Sequence[Item],
        *,
        blocks: Mapping[str, Block] | None = None,
        layout: Layout = "channels_last",
        name: str = "",
    ) -> Network:
        """Apply every layer to the output of the layer before it.

        Raises InputError, naming the layer that does not fit.
        """
        builder = _Builder(x, blocks or {}, layout)
        builder.chain(items, INPUT, ())
        if not builder.nodes:
            raise InputError(
                "no layers", "expected at least one", "write it as conv:64,k=3,p=1 relu"
            )
        return cls(x, tuple(builder.nodes), layout, name)

    @property
    def output(self) -> Tensor:
        return self.nodes[self.outputs[0]].output

    @property
    def outputs(self) -> tuple[int, ...]:
        """The output nodes, in the order of the outputs."""
        return self.ends or (len(self.nodes) - 1,)

    @property
    def inputs(self) -> dict[int, Tensor]:
        """Every input by its index among nodes' inputs."""
        return {INPUT - number: x for number, x in enumerate((self.x, *self.others))}

    @property
    def parameters(self) -> int:
        return sum(node.parameters for node in self.nodes)

    @property
    def macs(self) -> int:
        """Multiply-adds for one item of a batch."""
        return sum(node.step.macs for node in self.nodes)

    def tensor(self, index: int) -> Tensor:
        """Return a node's output, or an input of the network."""
        return self.inputs[index] if index <= INPUT else self.nodes[index].output

    def show(self, tensor: Tensor) -> str:
        return show(tensor.shape(self.layout))


class _Builder:
    """The nodes of a network while it is built."""

    def __init__(self, x: Tensor, blocks: Mapping[str, Block], layout: Layout) -> None:
        self.x = x
        self.blocks = blocks
        self.layout = layout
        self.nodes: list[Node] = []
        self.instance: Instance | None = None
        self.instances = 0
        self.words = 0
        self.characters = 0
        self.texts: dict[str, tuple[Item, ...]] = {}

    def chain(self, items: Sequence[Item], source: int, path: tuple[str, ...]) -> int:
        """Add items after the node `source`; return the index of the last."""
        for item in items:
            self.words += 1
            if self.words > MOST_WORDS:
                raise LimitError(f"more than {MOST_WORDS:,} words", remedy="use fewer blocks")
            if isinstance(item, Group):
                source = self.group(item, source, path)
            elif isinstance(item, Branch):
                source = self.branch(item, source, path)
            elif item.name in self.blocks:
                source = self.block(item, source, path)
            else:
                source = self.layer(item, source, path)
        return source

    def group(self, group: Group, source: int, path: tuple[str, ...]) -> int:
        for _ in range(group.times):
            before = source
            with self.within_instance(
                group if group.times > 1 and not self.is_block(group) else None
            ):
                source = self.chain(group.items, source, path)
            if source == before:
                break  # an empty group: repeating it adds nothing
        return source

    def is_block(self, group: Group) -> bool:
        """Return whether a group holds one named block and nothing else."""
        first = group.items[0] if len(group.items) == 1 else None
        return isinstance(first, Word) and first.name in self.blocks

    @contextmanager
    def within_instance(self, item: Item | None) -> Iterator[None]:
        """Assign the layers that are added in this context to an item.

        An outer item has precedence.
        """
        if item is None or self.instance is not None:
            yield
            return
        self.instances += 1
        self.instance = Instance(
            self.instances, written(item), isinstance(item, Word) and item.name in self.blocks
        )
        try:
            yield
        finally:
            self.instance = None

    def layer(self, word: Word, source: int, path: tuple[str, ...]) -> int:
        if word.name not in KINDS:
            raise within(unknown(word, tuple(self.blocks)), path)
        try:
            op = read(word)
        except InputError as error:
            raise within(error, path) from None
        x = self.tensor(source)
        try:
            step = op.apply_to(x)
        except InputError as error:
            raise self.refused(word, (x,), path, error) from None
        return self.add(Node(word.text, "/".join(path), op, (source,), x, step))

    def block(self, word: Word, source: int, path: tuple[str, ...]) -> int:
        if len(path) >= DEEPEST_BLOCK:
            given = "blocks are nested too deeply"
            raise within(word.error(given, remedy="check that none contains itself"), path)
        try:
            items = self.parsed(substitute(word, self.blocks[word.name]))
        except InputError as error:
            raise within(error, path) from None
        with self.within_instance(word):
            return self.chain(items, source, (*path, word.text))

    def parsed(self, text: str) -> tuple[Item, ...]:
        if text not in self.texts:
            self.characters += len(text)
            if self.characters > MOST_CHARACTERS:
                raise _too_long()
            self.texts[text] = parse(text)
        return self.texts[text]

    def branch(self, branch: Branch, source: int, path: tuple[str, ...]) -> int:
        word = branch.head
        if word.name not in MERGES or word.arguments:
            hint = "expected residual[body | shortcut] or concat[a | b]"
            raise within(word.error("not a layer that merges branches", hint), path)
        with self.within_instance(branch):
            return self.arms(branch, source, path)

    def arms(self, branch: Branch, source: int, path: tuple[str, ...]) -> int:
        """Add the arms of a branch, and the layer that merges them."""
        word = branch.head
        ends = tuple(
            self.chain(arm, source, (*path, f"{word.name} {n}"))
            for n, arm in enumerate(branch.arms, 1)
        )
        if len(ends) == 1:
            if word.name == "concat":
                remedy = "separate the arms by |, as concat[a | b]"
                raise within(word.error("a single arm", remedy=remedy), path)
            ends = (*ends, source)
        given = tuple(self.tensor(end) for end in ends)
        try:
            output = MERGES[word.name](given)
        except InputError as error:
            raise self.refused(word, given, path, error) from None
        return self.add(Node(word.name, "/".join(path), None, ends, given[0], Step(output)))

    def add(self, node: Node) -> int:
        if len(self.nodes) == MOST_LAYERS:
            raise LimitError(f"more than {MOST_LAYERS:,} layers", remedy="use smaller counts")
        check_countable(math.prod(node.output.shape()))
        self.nodes.append(node._replace(instance=self.instance))
        return len(self.nodes) - 1

    def tensor(self, index: int) -> Tensor:
        return self.x if index == INPUT else self.nodes[index].output

    def refused(
        self, word: Word, given: Sequence[Tensor], path: tuple[str, ...], error: InputError
    ) -> ShapeError:
        """Return an error that names the layer that does not fit, and its input."""
        shapes = " and ".join(show(x.shape(self.layout)) for x in given)
        layer = f"layer {len(self.nodes) + 1} {word.text!r} at {word.place} (input {shapes})"
        message = f"{layer}: {error.given}"
        remedy = error.remedy.replace("--padding same", "p=same")
        kind = ChannelError if isinstance(error, ChannelError) else ShapeError
        return kind(inside(message, path), error.expected, remedy)


def substitute(word: Word, block: Block) -> str:
    """Return a block's layers as text, with the parameters that a word gives.

    >>> twice = Block({"c": None, "s": "1"}, "conv:{c},k=3,s={s} relu")
    >>> substitute(parse("twice:64,s=2")[0], twice)
    'conv:64,k=3,s=2 relu'
    """
    given = bind(word, block.parameters)
    text = block.text
    for key, default in block.parameters.items():
        value = given.get(key, default)
        if value is None:
            raise word.error(
                f"{key}= is missing", f"{word.name} takes {', '.join(block.parameters)}"
            )
        place = f"{{{key}}}"
        if len(text) + text.count(place) * len(value) > MOST_CHARACTERS:
            raise _too_long()
        text = text.replace(place, value)
    return text


def _too_long() -> LimitError:
    return LimitError(
        f"blocks of more than {MOST_CHARACTERS:,} characters with their parameters",
        remedy="use shorter ones",
    )


def inside(message: str, path: Sequence[str]) -> str:
    """Prefix a message with the blocks that its layer is in."""
    return f"in {' / '.join(path)}: {message}" if path else message


def within(error: InputError, path: Sequence[str]) -> TokenError:
    """Return the same error, with the blocks that its layer is in."""
    return TokenError(inside(error.given, path), error.expected, error.remedy)


# Merging branches.


def _add(given: Sequence[Tensor]) -> Tensor:
    first, *others = given
    other = next((x for x in others if x.spatial != first.spatial or x.depth != first.depth), None)
    if other is None:
        return first
    raise ShapeError(
        "a sum of different shapes",
        "expected the same from every arm",
        _residual_remedy(first, other),
    )


def _residual_remedy(body: Tensor, shortcut: Tensor) -> str:
    """Return a remedy that makes the arms of a residual sum fit.

    >>> _residual_remedy(Tensor((220, 220), 64), Tensor((222, 222), 64))
    'give the layers of the body p=same'
    >>> _residual_remedy(Tensor((28, 28), 128), Tensor((56, 56), 64))
    'give the shortcut a conv:128,k=1,s=2: residual[body | conv:128,k=1,s=2]'
    """
    strides = {-(-n // m) for n, m in zip(shortcut.spatial, body.spatial, strict=False)}
    stride = strides.pop() if len(strides) == 1 else 1
    fits = tuple(-(-n // stride) for n in shortcut.spatial) == body.spatial
    if fits:
        layer = f"conv:{body.depth},k=1" + (f",s={stride}" if stride > 1 else "")
        return f"give the shortcut a {layer}: residual[body | {layer}]"
    if len(body.spatial) != len(shortcut.spatial):
        return "let both arms end in the same axes"
    return "give the layers of the body p=same"


def _concatenate(given: Sequence[Tensor]) -> Tensor:
    first = given[0]
    if any(x.spatial != first.spatial for x in given):
        raise ShapeError(
            "a concatenation of different sizes",
            "expected the same spatial sizes from every arm",
            "use the same stride in every arm, and p=same or a pad",
        )
    return Tensor(first.spatial, sum(x.depth for x in given))


MERGES = {"residual": _add, "concat": _concatenate}


def read_input(
    shape: Sequence[int], dims: int | None = None, layout: Layout = "channels_last"
) -> Tensor:
    """Split the shape of an input into spatial axes and channels.

    By default one axis is a signal, two are a picture without channels, three a picture with
    channels, four a volume with channels. dims: the number of spatial axes.

    >>> read_input((224, 224, 3)), read_input((28, 28))
    (Tensor(spatial=(224, 224), channels=3), Tensor(spatial=(28, 28), channels=None))
    >>> read_input((100, 8), dims=1)
    Tensor(spatial=(100,), channels=8)
    """
    count = dims
    if count is None:
        count = len(shape) if len(shape) <= 2 else len(shape) - 1
    if not len(shape) - 1 <= count <= len(shape):
        raise ShapeError(
            f"the input {show(shape)} has {len(shape) - count} axes "
            f"besides its {count} spatial ones"
            if count < len(shape)
            else f"the input {show(shape)} has {len(shape)} axes, and --dims asks for {count}",
            "expected the spatial axes, and at most one of channels",
            "give the batch by --batch" if count < len(shape) else f"use --dims {len(shape)}",
        )
    if count == len(shape):
        return Tensor(tuple(shape))
    if layout == "channels_first":
        return Tensor(tuple(shape[1:]), shape[0])
    return Tensor(tuple(shape[:-1]), shape[-1])
