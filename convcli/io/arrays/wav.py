"""Recordings, .wav: one spatial axis of time, and channels.

An array is (frames,) or (frames, channels). PCM of 8 bits is int8, around zero; of 16 int16; of 24
and 32 int32; 24 bits are the upper ones. Needs soundfile, `pip install soundfile`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import import_module
from typing import Any, BinaryIO, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, FileError, InputError, brief, one_line
from convcli.io.codec import PLAIN, Codec, ReadRequest, WriteRequest
from convcli.io.data import Data
from convcli.io.images import integrity
from convcli.io.streams import FirstBytes, available_bytes
from convcli.io.trailing import describe_trailing
from convcli.shapes.units import parse_spacing

SUBTYPES = {
    "PCM_U8": "int8",
    "PCM_16": "int16",
    "PCM_24": "int32",
    "PCM_32": "int32",
    "FLOAT": "float32",
    "DOUBLE": "float64",
}
"""The number type of each kind of samples that is read and written, by libsndfile's name."""

CODED = {"ULAW": "µ-law", "ALAW": "A-law", "IMA_ADPCM": "IMA ADPCM", "MS_ADPCM": "Microsoft ADPCM"}
"""Lossy kinds that are decoded to 16 bits and written as these: encoding again would lose more."""

_DECODED = "PCM_16"

_FORMATS = ("WAV", "WAVEX", "RF64")  # libsndfile's names of what is read
_ORDERS: dict[bytes, Literal["little", "big"]] = {
    b"RIFF": "little",
    b"RF64": "little",
    b"RIFX": "big",
}
_ELSEWHERE = 2**32 - 1  # a length that does not fit; the chunk ds64 has it

BLOCK = 2**16  # frames
_LARGEST = 2**32 - 2**16  # bytes; RIFF counts them in 32 bits
_DAMAGE = (RuntimeError, OSError, ValueError, TypeError, AssertionError)


@dataclass(frozen=True)
class Recording:
    """A recording's sample rate, and how its samples are stored."""

    rate: int
    subtype: str
    formats: ClassVar[tuple[str, ...]] = ("wav",)

    def moved(
        self, starts: Sequence[float], strides: Sequence[int], axes: Sequence[int]
    ) -> Recording:
        """Return the recording at the rate after a stride; raise InputError for a fraction.

        >>> Recording(48000, "PCM_16").moved((0.0,), (2,), (0,)).rate
        24000
        """
        rate = Fraction(self.rate, strides[0])
        if rate.denominator != 1:
            raise InputError(
                f"stride {strides[0]} leaves {float(rate):,.2f} of {self.rate:,} samples a second",
                "expected a whole number, as .wav has them",
                "choose a stride that divides the rate, or write .npy",
            )
        return replace(self, rate=int(rate))


class Wav(Codec):
    """WAV recordings; writing one needs a header with the sample rate."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Decode the samples; raise DtypeError for kinds that libsndfile would convert."""
        soundfile = import_module("soundfile")
        if damage := integrity.check(stream, _find_damage, self_ending=True):
            raise _damaged(request.name, damage)
        cut = integrity.check(stream, _find_cut, self_ending=True)
        warnings = (f"{cut}; its samples are whole",) if cut else ()
        end = _end(stream)
        if end and not cut:
            trailing = describe_trailing(stream, end, "recording")
            warnings = (trailing,) if trailing else ()
            stream = cast("BinaryIO", FirstBytes(stream, end)) if trailing else stream
        stream.seek(0)
        try:
            with soundfile.SoundFile(stream) as sound:
                if sound.format not in _FORMATS:
                    given = f"{request.name} is a {sound.format} file"
                    raise FileError(given, "expected a WAV file", "convert it first")
                return replace(self._read(sound, request), warnings=warnings)
        except _DAMAGE as error:
            if isinstance(error, InputError):
                raise
            said = str(getattr(error, "error_string", ""))  # without the name of Python's stream
            raise _damaged(request.name, said.rstrip(".") or brief(error)) from error

    def _read(self, sound: Any, request: ReadRequest) -> Data:
        subtype = _DECODED if sound.subtype in CODED else sound.subtype
        if subtype not in SUBTYPES:
            known = ", ".join((*SUBTYPES, *CODED))
            given = f"{request.name} holds {sound.subtype} samples"
            raise DtypeError(given, f"expected one of {known}", "convert it first")
        dtype = np.dtype(SUBTYPES[subtype])
        size = sound.frames * sound.channels * dtype.itemsize
        request.limits.check_memory(request.name, size)
        array = _read_samples(sound, dtype)
        notes = [f"{sound.samplerate:,} samples a second"]
        if sound.subtype in CODED:
            notes.append(f"{CODED[sound.subtype]} decoded to 16 bits")
        return self.make_data(
            array[:, 0] if sound.channels == 1 else array,
            request,
            decoding=size,
            notes=tuple(notes),
            dims=1,
            header=Recording(sound.samplerate, subtype),
            spacing=parse_spacing(f"{sound.samplerate}Hz"),
        )

    def holds(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> str:
        if refusal := super().holds(dtype, shape, request):
            return refusal
        if not isinstance(request.header, Recording):
            return one_line(
                "wav needs a sample rate", "the input has none", "begin with a .wav, or write .npy"
            )
        size = math.prod(shape) * dtype.itemsize
        if size > _LARGEST:
            return one_line(
                f"{size:,} bytes of samples", f"wav holds at most {_LARGEST:,}", "write .npy"
            )
        return ""

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        """Encode (frames,) or (frames, channels); int32 as 24 bits if the input had those."""
        assert isinstance(request.header, Recording)
        frames = array.reshape(len(array), -1)
        content = io.BytesIO()  # libsndfile ignores short writes, as on a full disk
        subtype = _subtype(array.dtype, request.header)
        sound = import_module("soundfile").SoundFile(
            content, "w", request.header.rate, frames.shape[1], subtype, format="WAV"
        )
        with sound:
            for start in range(0, len(frames), BLOCK):
                sound.write(_stored(frames[start : start + BLOCK], subtype))
        _forget_the_time(content)
        stream.write(content.getbuffer())

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        """Return the bytes of encoding, with the whole file, which is encoded in memory."""
        return super().encoding_bytes(dtype, shape, request) + self.file_bytes(dtype, shape)


def _damaged(name: str, how: str) -> FileError:
    return integrity.damaged(name, how, ".wav")


def _read_samples(sound: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read the samples (frames, channels); raise ValueError if the file ends too early."""
    array = np.empty((sound.frames, sound.channels), dtype)
    for start in range(0, sound.frames, BLOCK):
        wanted = min(BLOCK, sound.frames - start)
        block = sound.read(wanted, "int16" if dtype == np.int8 else dtype.name, always_2d=True)
        if len(block) < wanted:
            raise ValueError(f"it ends {sound.frames - start - len(block):,} samples too early")
        array[start : start + wanted] = block >> 8 if dtype == np.int8 else block
    return array


def _forget_the_time(content: io.BytesIO) -> None:
    """Clear the time in a PEAK chunk, so that equal samples give equal bytes."""
    head = content.getbuffer()[:256].tobytes()
    if b"PEAK" in head:
        content.seek(head.index(b"PEAK") + 12)
        content.write(bytes(4))


def _subtype(dtype: np.dtype[Any], recording: Recording) -> str:
    if SUBTYPES[recording.subtype] == dtype.name:
        return recording.subtype
    return next(subtype for subtype, name in reversed(SUBTYPES.items()) if name == dtype.name)


def _stored(block: NDArray[Any], subtype: str) -> NDArray[Any]:
    """Return samples as libsndfile expects them: 8 bits as 16, 24 bits rounded from 32."""
    if subtype == "PCM_U8":
        return block.astype(np.int16) << 8
    if subtype == "PCM_24":
        rounded = np.minimum(block.astype(np.int64) + 128, np.iinfo(np.int32).max)
        return (rounded & ~255).astype(np.int32)
    return np.ascontiguousarray(block)


def _find_cut(stream: BinaryIO) -> str:
    """Return a description of how much a file is shorter than it declares, or ""."""
    end = _end(stream)
    return integrity.find_shortage(stream, end) if end else ""


def _end(stream: BinaryIO) -> int:
    """Return the bytes that a file declares to have; 0 for a long one, which declares no number."""
    stream.seek(0)
    order = _ORDERS[stream.read(4)]
    length = int.from_bytes(stream.read(4), order)
    return 0 if length == _ELSEWHERE else 8 + length


def _find_damage(stream: BinaryIO) -> str:
    """Return what is wrong with the chunks of a WAV file up to its samples, or "".

    Sources: IBM and Microsoft, "Multimedia Programming Interface and Data Specifications 1.0",
    1991, chapter 3; EBU, Tech 3306, "RF64", 2009.
    """
    order = _ORDERS[stream.read(4)]
    start, kind, long = 12, b"", 0
    while kind != b"data":
        stream.seek(start)
        kind, length = stream.read(4), int.from_bytes(stream.read(4), order)
        if kind == b"ds64":
            long = int.from_bytes(stream.read(16)[8:], order)
        if kind == b"data" and length == _ELSEWHERE:
            length = long
        if available_bytes(stream, start + 8 + length) < start + 8 + length or len(kind) < 4:
            return integrity.CUT
        start += 8 + length + length % 2
    return ""
