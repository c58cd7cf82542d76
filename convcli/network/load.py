"""Load a network from a TOML file: its input, its layers in the command line's language, blocks.

::

    name = "a small residual network"
    input = "32x32x3"              # "dims" and "layout" may define how it is read
    layers = "conv:16,k=3,p=1 stage:16 stage:32,s=2 gap linear:10"

    [blocks.stage]
    parameters = "c,s=1"           # c is required, s is 1 by default
    layers = "residual[conv:{c},k=3,s={s},p=1 relu conv:{c},k=3,p=1 | conv:{c},k=1,s={s}] relu"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convcli.errors import FileError, InputError, did_you_mean, is_there, nearest_file, printable
from convcli.network.graph import Block, Network, read_input
from convcli.network.layers import KINDS, Tensor
from convcli.network.parser import parse, parse_arguments
from convcli.options import Layout
from convcli.shapes.layout import check_layout
from convcli.shapes.parse import check_whole, parse_shape
from convcli.stores import is_url, location

if TYPE_CHECKING:
    from convcli.stores import StorePath

LARGEST = 10_000_000  # bytes of a file: more is no description of a network
FIELDS = {
    "name": str,
    "input": str,
    "dims": int,
    "layout": str,
    "layers": (str, list),
    "blocks": dict,
}
BLOCK_FIELDS = {"parameters": str, "layers": (str, list)}
MOST_PARTS = 100  # limit of a key's parts, of which tomllib takes quadratic time and memory
EXAMPLE = 'layers = "conv:64,k=3,p=1 relu"'


def is_network_file(word: str) -> bool:
    """Return whether a word has the suffix of a network's file.

    >>> is_network_file("net.toml"), is_network_file("https://host/net.onnx?key=x")
    (True, True)
    """
    name = str(location(word)) if is_url(word) else word
    return name.endswith((".toml", ".onnx"))


def check_network_suffix(word: str) -> None:
    """Raise FileError for a word that looks like a file, but not like a network's.

    It has another suffix, or names an existing file.

    >>> check_network_suffix("28x28")
    """
    path = Path(word)
    if not is_network_file(word) and (path.suffix[1:].isalpha() or is_there(path, Path.is_file)):
        raise FileError(
            f"{word} is not the name of a network's file",
            "expected a name that ends in .toml or .onnx",
            nearest_file(path.with_suffix(".toml")) or "rename it if it holds a network",
        )


def network_builder(layers: Sequence[str], layout: Layout) -> Callable[[Tensor | None], Network]:
    """Return a function that applies the layers, or those of the file that they name, to an input.

    The function's argument is the input; None means the file's own.
    """
    if len(layers) == 1 and location(layers[0]).suffix == ".onnx":
        from convcli.network import read_onnx

        return lambda x: read_onnx.load(layers[0])
    if len(layers) == 1 and is_network_file(layers[0]):
        return lambda x: load(layers[0], x)
    items = parse(" ".join(layers))

    def build_on(x: Tensor | None) -> Network:
        assert x is not None
        return Network.of(x, items, layout=layout)

    return build_on


def load(path: str, x: Tensor | None = None) -> Network:
    """Read a network and apply it to the file's input, or to `x`.

    Raises FileError for a file that cannot be read, and InputError, naming file and field, for
    invalid content.
    """
    place = location(path)
    try:
        return build(_read(place), x, place.stem)
    except FileError:
        raise
    except InputError as error:
        raise type(error)(f"{place}: {error.given}", error.expected, error.remedy) from None


def build(record: Mapping[str, Any], x: Tensor | None = None, name: str = "") -> Network:
    """Build a network from the content of a file.

    >>> net = build({"input": "8x8x3", "layers": "twice:4", "blocks": {"twice": {"parameters": "c",
    ...              "layers": "[conv:{c},k=3]x2"}}})
    >>> str(net.output), [node.path for node in net.nodes]
    ('4x4x4', ['twice:4', 'twice:4'])
    """
    _check(record, FIELDS, "the file")
    if "layers" not in record:
        raise InputError("no layers", f"expected {EXAMPLE}")
    layout = check_layout(record.get("layout", "channels_last"))
    if x is None:
        if "input" not in record:
            raise InputError(
                "no input", 'expected input = "224x224x3"', "or give a shape before the file"
            )
        dims = check_whole(record["dims"], "dims", least=1) if "dims" in record else None
        x = read_input(parse_shape(record["input"]), dims, layout)
    blocks = {key: _block(key, value) for key, value in record.get("blocks", {}).items()}
    items = parse(_text(record["layers"]))
    shown = printable(record.get("name", name))
    return Network.of(x, items, blocks=blocks, layout=layout, name=shown)


def _read(path: Path | StorePath) -> dict[str, Any]:
    import tomllib

    content = _content(path)
    keys = (part for part in re.split(rb"[\n=]", content) if not part.lstrip().startswith(b"#"))
    if any(key.count(b".") > MOST_PARTS for key in keys):
        given = f"{path} has a key of more than {MOST_PARTS} parts"
        raise FileError(given, f"expected {EXAMPLE}")
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:  # also for a number of thousands of digits
        raise FileError(f"{path} is not TOML: {error}", f"expected {EXAMPLE}") from None
    except RecursionError:
        raise FileError(f"{path} is nested too deeply", f"expected {EXAMPLE}") from None


def _content(path: Path | StorePath) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        near = nearest_file(Path(str(path)))
        raise FileError(f"{path} does not exist", remedy=near or "check its name") from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise FileError(
            f"{path} is larger than {LARGEST:,} bytes", "expected a network's description"
        )
    return content


def _block(name: str, record: Any) -> Block:
    if not isinstance(record, dict):
        raise InputError(f"blocks.{name} is not a table", f"expected [blocks.{name}] with layers")
    if name in KINDS or name in ("residual", "concat"):
        raise InputError(f"blocks.{name} has the name of a layer", remedy="choose another name")
    _check(record, BLOCK_FIELDS, f"blocks.{name}")
    if "layers" not in record:
        raise InputError(f"blocks.{name} has no layers", f"expected {EXAMPLE}")
    written = record.get("parameters", "")
    pairs = parse_arguments(written) if written else ()
    return Block(
        {key or value: value if key else None for key, value in pairs}, _text(record["layers"])
    )


def _text(layers: str | list[Any]) -> str:
    if isinstance(layers, str):
        return layers
    if not all(isinstance(line, str) for line in layers):
        raise InputError("layers has an entry that is not text", f"expected {EXAMPLE}")
    return "\n".join(layers)


def _check(record: Mapping[str, Any], fields: Mapping[str, Any], where: str) -> None:
    for key, value in record.items():
        if key not in fields:
            hint = did_you_mean(key, fields) or f"expected {', '.join(fields)}"
            raise InputError(f"{where} has an unknown field {key!r}", remedy=hint)
        if not isinstance(value, fields[key]) or isinstance(value, bool):
            raise InputError(
                f"{where}: {key} is {value!r}", f"expected {EXAMPLE if key == 'layers' else 'text'}"
            )
