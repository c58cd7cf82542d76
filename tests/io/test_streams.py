"""Buffered pipes: they are read no further than their reader does, and within the limits."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest

from convcli.errors import FileError, LimitError
from convcli.io import load, streams
from convcli.io.streams import BLOCK, BufferedPipe, available_bytes, open_gzip
from convcli.limits import Limits

CONTENT = np.random.default_rng(0).bytes(3 * BLOCK)
ROOMY = Limits(2**30)


def pipe(content: bytes = CONTENT, limits: Limits = ROOMY) -> BufferedPipe:
    return BufferedPipe(io.BytesIO(content), "the pipe", limits)


@pytest.mark.parametrize("spooled", [0, BLOCK, 10 * BLOCK])
def test_it_reads_like_a_file(monkeypatch: pytest.MonkeyPatch, spooled: int) -> None:
    monkeypatch.setattr(streams, "SPOOLED", spooled)
    file = io.BytesIO(CONTENT)
    with pipe() as stream:
        for act in (
            lambda s: s.read(10),
            lambda s: s.seek(2 * BLOCK - 3),
            lambda s: s.read(7),
            lambda s: s.seek(-9, 1),
            lambda s: s.read(4),
            lambda s: s.seek(-5, 2),
            lambda s: s.read(100),
            lambda s: s.read(1),
            lambda s: s.seek(0),
            lambda s: s.readinto(bytearray(20)),
            lambda s: s.tell(),
            lambda s: s.seek(4 * BLOCK),
            lambda s: s.read(),
            lambda s: s.seek(BLOCK),
            lambda s: s.read(),
        ):
            assert act(stream) == act(file)
        assert stream.held <= max(spooled, 0)


def test_no_more_is_taken_in_than_is_read() -> None:
    with pipe() as stream:
        stream.read(5)
        assert stream.taken == BLOCK
        assert available_bytes(stream, BLOCK + 1) == BLOCK + 1
        assert stream.taken == 2 * BLOCK
        stream.stop()
        assert stream.seek(0, io.SEEK_END) == 2 * BLOCK
        assert available_bytes(stream, 3 * BLOCK) == 2 * BLOCK


def test_what_is_there_is_counted() -> None:
    with pipe(b"123") as stream:
        assert (available_bytes(stream, 2), available_bytes(stream, 9)) == (2, 3)
    assert available_bytes(io.BytesIO(b"123"), 2) == 3


def test_the_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe(limits=Limits(2 * BLOCK)) as stream:
        assert len(stream.read(2 * BLOCK)) == 2 * BLOCK
        with pytest.raises(LimitError, match=r"the pipe is longer than 512.00 KiB; .* name a file"):
            stream.read()
        with pytest.raises(LimitError, match=r"the pipe takes 1.00 TiB of memory"):
            stream.available(2**40)
    monkeypatch.setattr(streams, "UNDECLARED", BLOCK)
    with pipe() as stream:
        with pytest.raises(LimitError, match=r"the pipe is longer than 256.00 KiB"):
            stream.read()
        assert available_bytes(stream, 2 * BLOCK) == 2 * BLOCK  # as a header declares


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def __init__(self, size: int) -> None:
            super().__init__()

        def write(self, content: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", Full)
    monkeypatch.setattr("convcli.io.reading._is_regular", lambda stream: False)
    with pytest.raises(
        FileError, match=r"cannot be kept in a temporary file; No space left on device; .*TMPDIR"
    ):
        load(__file__)


PACKED = gzip.compress(CONTENT, 1, mtime=0)


@pytest.mark.parametrize(
    "behind", [b"", bytes(9), bytes(2 * BLOCK), bytes(5) + PACKED, PACKED + bytes(5)]
)
def test_members_are_unpacked_one_behind_the_other(behind: bytes) -> None:
    stream = open_gzip(io.BytesIO(PACKED + behind))
    assert stream.read() == CONTENT * (2 if PACKED in behind else 1)
    assert stream.seek(BLOCK) == BLOCK
    assert stream.read(4) == CONTENT[BLOCK : BLOCK + 4]
    assert stream.seek(2) == 2
    assert stream.read(4) == CONTENT[2:6]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (PACKED[:-1], EOFError),
        (PACKED[:100], EOFError),
        (PACKED[:-8] + bytes(8), gzip.BadGzipFile),
        (PACKED + b"more", gzip.BadGzipFile),
        (PACKED + bytes(3) + PACKED[:50], EOFError),
    ],
    ids=["a byte short", "cut", "another checksum", "something behind", "a cut one behind"],
)
def test_damage_is_seen(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        open_gzip(io.BytesIO(content)).read()


def test_zeros_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PADDING", BLOCK)
    with pytest.raises(ValueError, match="zeros without an end"):
        open_gzip(io.BytesIO(PACKED + bytes(3 * BLOCK))).read()
