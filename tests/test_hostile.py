"""Small files made to take long or much memory are refused, or read as the small files they are.

Each takes minutes or gigabytes without its limit.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.command import run
from tests.measured import measured

MiB = 2**20
ROOM = 300 * MiB
"""The most memory that a command may take beyond its limit."""

PICTURE = Image.new("RGB", (8, 8))


def unclosed_xmp() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "<xmp:Thumbnails " * 16_000, zip=True)
    return saved("PNG", pnginfo=info)


def saved(form: str, **options: object) -> bytes:
    stream = BytesIO()
    PICTURE.save(stream, form, **options)
    return stream.getvalue()


def pages(description: str) -> bytes:
    return saved("TIFF", tiffinfo={270: description}, save_all=True, append_images=[PICTURE])


def npy(array: np.ndarray) -> bytes:
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def member(method: int) -> bytes:
    """A .npz with 4x4 bytes, and 384 MiB of zeros after them."""
    stream = BytesIO()
    with (
        zipfile.ZipFile(stream, "w", method) as archive,
        archive.open("a.npy", "w", force_zip64=True) as file,
    ):
        file.write(npy(np.ones((4, 4), np.uint8)))
        for _ in range(24):
            file.write(bytes(16 * MiB))
    return stream.getvalue()


def header_of(length: int, follows: int = 0) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", length) + b" " * follows


def declaring(shape: str) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape})}}".encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header + bytes(64)


def header_in_member() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header_of(400 * MiB, 400 * MiB))
    return stream.getvalue()


def directory(entries: Sequence[tuple[int, int, int, int]], following: int = 0) -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def shared_strips(count: int = 3000, strips: int = 200_000) -> bytes:
    """A TIFF whose pages have one array of strips."""
    size = len(directory([(0, 0, 0, 0)] * 9))
    array = 8 + count * size
    out = b"II*\0" + struct.pack("<I", 8)
    for page in range(count):
        out += directory(
            [
                *((256, 4, 1, 1), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1)),
                *((262, 3, 1, 1), (273, 4, strips, array), (277, 3, 1, 1), (278, 4, 1, 1)),
                (279, 4, strips, array + 4 * strips),
            ],
            0 if page == count - 1 else len(out) + size,
        )
    data = array + 8 * strips
    return out + struct.pack("<I", data) * strips + struct.pack("<I", 1) * strips + b"\7"


def huge_tile(bits: int) -> bytes:
    """An 8x8 TIFF with one tile of 16384x16384."""
    side = 16_384
    content = zlib.compress(bytes(side * side * bits // 8), 9)
    entries = [
        *((256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, bits), (259, 3, 1, 8), (262, 3, 1, 1)),
        *((277, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 134)),
        (325, 4, 1, len(content)),
    ]
    return b"II*\0" + struct.pack("<I", 8) + directory(entries) + content


def many_scans() -> bytes:
    content = saved("JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + scan * 300 + content[-2:]


def blank_webp() -> bytes:
    """A lossless WebP of 16383x16383 pixels of one colour."""
    size = struct.pack("<I", 16_382 | 16_382 << 14)
    chunk = b"VP8L" + struct.pack("<I", 9) + b"\x2f" + size + bytes([0x88, 0x88, 8, 0]) + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def empty_blocks() -> bytes:
    blocks = [
        f'[blocks.b{n}]\nlayers = "{" ".join([f"b{n - 1}"] * 20) if n else ""}"' for n in range(11)
    ]
    return "\n".join(['input = "8x8x3"', 'layers = "relu b10"', *blocks]).encode()


def growing_blocks() -> bytes:
    blocks = [
        f'[blocks.b{n}]\nparameters = "c"\nlayers = "{f"b{n - 1}:" if n else "conv:"}'
        f'{"{c}" * (50 if n else 1)}"'
        for n in range(10)
    ]
    return "\n".join(['input = "8x8x3"', 'layers = "b9:1"', *blocks]).encode()


def network(layers: str) -> bytes:
    return f'input = "8x8x1"\nlayers = "{layers}"'.encode()


def model(make: Callable[..., None]) -> bytes:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", kind, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    built = helper.make_model(graph, opset_imports=opsets)
    make(built, helper)
    return built.SerializeToString()


def concatenated_sizes(model, helper) -> None:
    node = helper.make_node
    model.graph.node.append(node("Shape", ["x"], ["s0"]))
    for n in range(40):
        model.graph.node.append(node("Concat", [f"s{n}", f"s{n}"], [f"s{n + 1}"], axis=0))
    model.graph.node.append(node("ConstantOfShape", ["s40"], ["y"]))


def concatenating_functions(model, helper) -> None:
    node = helper.make_node
    twice = [node("Concat", ["a", "a"], ["c"], axis=0)]
    model.functions.append(
        helper.make_function("f", "Twice", ["a"], ["c"], twice, [helper.make_opsetid("", 17)])
    )
    model.graph.node.append(node("Shape", ["x"], ["s0"]))
    for n in range(40):
        model.graph.node.append(node("Twice", [f"s{n}"], [f"s{n + 1}"], domain="f"))
    model.graph.node.append(node("ConstantOfShape", ["s40"], ["y"]))


def doubling_functions(model, helper, calls_itself: bool = False) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    for n in range(30):
        inner = f"F{n if calls_itself else n + 1}"
        body = [
            helper.make_node(inner, ["a"], ["b"], domain="f"),
            helper.make_node(inner, ["b"], ["c"], domain="f"),
        ]
        if n == 29 and not calls_itself:
            body = [helper.make_node("Relu", ["a"], ["c"])]
        model.functions.append(helper.make_function("f", f"F{n}", ["a"], ["c"], body, opsets))
    model.graph.node.append(helper.make_node("F0", ["x"], ["y"], domain="f"))


def endless_function(model, helper) -> None:
    doubling_functions(model, helper, calls_itself=True)


class Bomb(NamedTuple):
    """A file's name and content, the command that reads it, its exit code and words of it."""

    name: str
    make: Callable[[], bytes]
    words: tuple[str, ...]
    code: int
    told: str

    def __str__(self) -> str:
        return f"{self.name}, {self.told[:30]}"


APPLY = ("apply", "{}", "-k", "box", "--max-memory", "100M", "-o", "out.npy")
SHOW = ("kernels", "show", "{}")
SHAPE = ("shape", "{}")
HEADER = "a header of .* bytes"
METHOD = "compressed by method 1[24]; expected one that is stored or deflated"
BOMBS = [
    Bomb("xmp.png", unclosed_xmp, APPLY, 0, "8x8 -> 6x6"),
    Bomb("ome.tif", lambda: pages("<OME " * 200_000), APPLY, 0, "8x8 -> 6x6"),
    Bomb("imagej.tif", lambda: pages("ImageJ=\n" * 120_000), APPLY, 0, "8x8 -> 6x6"),
    Bomb("blanks.csv", lambda: b"1" + b" " * 100_000 + b"2\n", SHOW, 0, "1x2|2 taps|^"),
    Bomb("magick.csv", lambda: b"3x3" + b" " * 30_000 + b"2", SHOW, 2, "is not a number"),
    Bomb("words.csv", lambda: b"1 " + b"x/ " * 100_000, SHOW, 2, "is not a number"),
    Bomb("draw.svg", lambda: b"<?xml " * 100, APPLY, 2, "XML or HTML"),
    Bomb("bzip2.npz", lambda: member(zipfile.ZIP_BZIP2), APPLY, 2, METHOD),
    Bomb("lzma.npz", lambda: member(zipfile.ZIP_LZMA), APPLY, 2, METHOD),
    Bomb("bzip2.npz", lambda: member(zipfile.ZIP_BZIP2), SHOW, 2, METHOD),
    Bomb("deflate.npz", lambda: member(zipfile.ZIP_DEFLATED), APPLY, 0, "402,653,184 bytes after"),
    Bomb("deflate.npz", lambda: member(zipfile.ZIP_DEFLATED), SHOW, 0, "4x4"),
    Bomb("header.npy", lambda: header_of(2**31 - 1, 2**20), APPLY, 2, HEADER),
    Bomb("header.npy", lambda: header_of(2**31 - 1, 2**20), SHOW, 2, HEADER),
    Bomb("header.npz", header_in_member, APPLY, 2, HEADER),
    Bomb("header.npz", header_in_member, SHOW, 2, HEADER),
    Bomb("axes.npy", lambda: declaring("1, " * 65), APPLY, 2, "declares the shape"),
    Bomb("axes.npy", lambda: declaring("1, " * 65), SHOW, 2, "declares the shape"),
    Bomb("true.npy", lambda: declaring("True, 8"), APPLY, 2, "declares the shape"),
    Bomb("true.npy", lambda: declaring("True, 8"), SHOW, 2, "declares the shape"),
    Bomb("word.toml", lambda: network("a" * 5_000_000), SHAPE, 2, "^.{3900,4500}$"),
    Bomb("blank.webp", blank_webp, APPLY[:4], 4, "of 30 bytes takes .* set --max-memory"),
    Bomb("strips.tif", shared_strips, APPLY, 2, "its pages overlap"),
    Bomb("tile.tif", lambda: huge_tile(8), APPLY, 4, "the limit is 100"),
    Bomb("tile.tif", lambda: huge_tile(16), APPLY, 4, "the limit is 100"),
    Bomb("scans.jpg", many_scans, APPLY, 2, "it has 310 scans, of which at most 100"),
    Bomb("empty.toml", empty_blocks, SHAPE, 4, "more than 1,000,000 words"),
    Bomb("growing.toml", growing_blocks, SHAPE, 4, "more than 10,000,000 characters"),
    Bomb("key.toml", lambda: b".".join([b"a"] * 20_000) + b"=1", SHAPE, 2, "more than 100 parts"),
    Bomb("key.toml", lambda: b"[" + b".".join([b"a"] * 20_000) + b"]", SHAPE, 2, "100 parts"),
    Bomb("number.toml", lambda: b"dims = " + b"9" * 5000, SHAPE, 2, "is not TOML"),
    Bomb("sizes.toml", lambda: network("upsample:2 " * 99), SHAPE, 4, "memory can hold"),
    Bomb("arms.toml", lambda: network("concat[relu | relu] " * 9999), SHAPE, 4, "memory can hold"),
    Bomb("sizes.onnx", lambda: model(concatenated_sizes), SHAPE, 2, "no node"),
    Bomb("twice.onnx", lambda: model(concatenating_functions), SHAPE, 2, "no node"),
    Bomb("calls.onnx", lambda: model(doubling_functions), SHAPE, 4, "more than 100,000 nodes"),
    Bomb("endless.onnx", lambda: model(endless_function), SHAPE, 2, "calls itself"),
    Bomb("x", bytes, ("shape", "8x8x1", "deconv:1,k=3,s=2", "x99999"), 4, "memory can hold"),
    Bomb("x", bytes, ("shape", "--solve", "1000x777", "13x17", "--max-layers", "4"), 4, "tries"),
    Bomb("x", bytes, ("laws", "x".join(["8"] * 3000), "-k", "1"), 2, "3,000 axes"),
    Bomb("x", bytes, ("kernels", "show", "9" * 5000 + ": 1"), 2, "is not a number"),
]


@pytest.mark.parametrize("bomb", BOMBS, ids=str)
def test_a_small_file_takes_little_time_and_memory(tmp_path: Path, bomb: Bomb) -> None:
    (tmp_path / bomb.name).write_bytes(bomb.make())
    result = measured([word.format(bomb.name) for word in bomb.words], tmp_path)
    assert result.code == bomb.code, result.stderr
    assert re.search(bomb.told, result.stderr + result.stdout)
    assert "fault" not in result.stderr
    assert result.growth < ROOM


CODES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\x85"
"""Escape sequences, with controls beyond ASCII, and a mark that reverses text."""


def strange_operator(model, helper) -> None:
    model.graph.node.append(helper.make_node(f"Ev{CODES}", ["x"], ["y"], f"n{CODES}", domain="d"))
    model.graph.output[0].type.tensor_type.shape.dim.extend(
        model.graph.input[0].type.tensor_type.shape.dim
    )


@pytest.mark.usefixtures("in_tmp")
class TestNothingReachesTheTerminalRaw:
    """Of what a file holds, in its name, its texts or its errors."""

    def check(self, *words: str) -> None:
        for option in ((), ("--debug",), ("--json",)):
            result = run(*words, *option, code=None)
            for text in (result.stdout, result.stderr):
                assert text.replace("\n", "").isprintable(), (words, text)

    @pytest.mark.parametrize("option", ["", "--csv", "--markdown", "--verbose", "--emit=torch"])
    def test_of_networks(self, option: str) -> None:
        Path("a.onnx").write_bytes(model(strange_operator))
        escaped = CODES.encode("unicode_escape").decode()
        blocks = '[blocks.b]\nparameters = "c"\nlayers = "relu"'
        Path("a.toml").write_text(f'name = "{escaped}"\ninput = "8x8x1"\nlayers = "relu"')
        Path("b.toml").write_text(f'input = "8x8x1"\nlayers = "b:x\x9b"\n{blocks}', "utf-8")
        Path("c.toml").write_text(f'input = "8x8x1"\nlayers = "{escaped}"', "utf-8")
        for name in ("a.onnx", "a.toml", "b.toml", "c.toml"):
            self.check("shape", name, *filter(None, [option]))

    def test_of_names(self) -> None:
        name = f"k{CODES}".replace("/", "")
        Path(f"{name}.csv").write_text("1,2,1\n")
        np.save(f"{name}.npy", np.eye(4))
        np.savez("a.npz", **{name: np.eye(3), "other": np.eye(3)})
        for words in (
            ("kernels", "show", f"{name}.csv"),
            ("kernels", "export", f"{name}.csv", "-o", f"o{name}.json"),
            ("kernels", "show", "a.npz"),
            ("kernels", "show", f"a.npz:{name}"),
            ("apply", f"{name}.npy", "-k", f"{name}.csv", "-o", f"p{name}.npy"),
            ("apply", f"{name}.npy", "-k", "1,2", "--dry-run"),
            ("apply", "a.npz", "-k", "box"),
            ("explain", f"{name}.npy", "-k", f"{name}.csv"),
            ("grad", f"{name}.npy", "-k", "box"),
            ("gradcheck", f"{name}.npy", "-k", "box"),
            ("laws", f"{name}.npy", "-k", "box"),
            ("batch", f"{name}.npy", "-k", "box", "--out", f"d{name}"),
            ("shape", f"{name}.toml"),
            ("guide", name),
            ("formats", name),
            (name,),
        ):
            self.check(*words)

    def test_of_pictures(self) -> None:
        info = PngImagePlugin.PngInfo()
        info.add_text(f"key{CODES}".replace("\u202e", ""), f"text{CODES}", zip=False)
        PICTURE.save("a.png", pnginfo=info, icc_profile=b"junk" * 40)
        PICTURE.save("a.tif", tiffinfo={270: CODES.replace("\u202e", ""), 305: "\x1b[2J"})
        PICTURE.save("a.jpg", comment=CODES.encode("utf-8"))
        Path("a.csv").write_text(f"1,2\n3,{CODES}\n", "utf-8")
        for name in ("a.png", "a.tif", "a.jpg", "a.csv"):
            self.check("apply", name, "-k", "box", "-o", "out.bmp", "--overwrite")
            self.check("apply", name, "-k", "box", "--dry-run")
