"""What a format holds without loss of bits, and the type to write where none was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from convcli.errors import DtypeError, FileError, InputError, ShapeError
from convcli.io.data import Header, Kind
from convcli.io.formats import NONE, Format, all_formats, check_beyond, has, listed, lookup

_RESCALE = "use --dtype uint8 with --range rescale, or write"


def holds(format: str, dtype: DTypeLike, channels: int = 1) -> bool:
    """Whether a format keeps every bit of that number type, with that many channels for an image format.

    >>> holds("png", "uint16"), holds("jpg", "uint16"), holds("tiff", "float32"), holds("npy", "float64")
    (True, False, True, True)
    """
    form, kind = lookup(format), np.dtype(dtype)
    if form.kind == "image":
        return channels in form.channels.get(kind.name, ()) or _beyond(form, kind, channels)
    if form.dtypes:
        return kind.name in form.dtypes
    return kind.kind in form.kinds and (not form.separator or kind.itemsize <= 8)


def _beyond(form: Format, kind: np.dtype[Any], channels: int) -> bool:
    """Whether an image format holds that by an extra that is installed."""
    return channels in form.beyond.get(kind.name, ()) and has(form.beyond_extra)


def takes_extra(form: Format, shape: tuple[int, ...], dtype: np.dtype[Any], settings: Mapping[str, int] = NONE) -> bool:
    """Whether such a picture, with such settings, is for the format's extra to encode, and not for Pillow."""
    if form.kind != "image":
        return False
    return channel_count(shape) not in form.channels.get(dtype.name, ()) or any(map(settings.get, form.beyond_settings))


def check_fit(
    format: str,
    dtype: DTypeLike,
    shape: tuple[int, ...],
    *,
    alpha: bool = False,
    frames: bool = False,
    volume: bool = False,
) -> None:
    """Raise unless the format holds such an array without loss: ShapeError for its axes, DtypeError for its numbers.

    shape: (H, W) or (H, W, C) for an image format; `alpha` says that the last channel is alpha, `frames` that the
    first axis is of frames, `volume` that it is of pages.

    >>> check_fit("png", "uint8", (480, 640, 3))
    >>> check_fit("png", "float32", (480, 640))
    Traceback (most recent call last):
        ...
    convcli.errors.DtypeError: png cannot hold float32; it holds uint8 (1, 2, 3 or 4 channels), uint16 (1, 2, \
3 or 4 channels) and bool (1 channel); use --dtype uint8 with --range rescale, or write .tiff or .npy
    """
    form, kind = lookup(format), np.dtype(dtype)
    check_writable(form)
    if 0 in shape:
        raise ShapeError(f"shape {_shown(shape)} has no values", "expected at least one", "use --padding same")
    if form.kind == "array":
        _check_array(form, kind, shape)
    elif volume and form.stacks:
        _check_image(form, kind, shape[1:], alpha, stacked=True)
    else:
        if frames:
            _check_frames(form, kind, shape[0])
        _check_image(form, kind, shape[1:] if frames else shape, alpha)


def check_writable(form: Format) -> None:
    """Raise FileError for a format that is only read."""
    if not form.writable:
        raise FileError(f"{form.name} is read but not written", "", "write .png, .tiff or .npy")


def _check_array(form: Format, kind: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if not holds(form.name, kind):
        held = form.contents if form.dtypes else "real numbers"
        remedy = f"use --dtype {form.dtypes[1]}, or write .npy" if form.dtypes else "convert them first"
        raise DtypeError(f"{form.name} cannot hold {kind}", f"it holds {held}", remedy)
    if not 1 <= len(shape) <= form.max_ndim:
        given = f"{form.name} cannot hold {len(shape)} axes, {_shown(shape)}"
        raise ShapeError(given, f"it holds 1 to {form.max_ndim}", "write .npy")
    if max(shape) > form.max_side:
        raise ShapeError(
            f"{form.name} cannot hold {_shown(shape)}", f"it holds at most {form.max_side} a side", "write .npy"
        )


def _check_image(
    form: Format,
    kind: np.dtype[Any],
    shape: tuple[int, ...],
    alpha: bool,
    *,
    stacked: bool = False,
) -> None:
    if len(shape) not in (2, 3):
        given = f"{form.name} cannot hold {len(shape)} axes, {_shown(shape)}"
        raise ShapeError(given, "an image is HxW or HxWxC", "write .npy")
    channels = channel_count(shape)
    if alpha and channels not in (2, 4):
        raise ShapeError(f"{channels} channels cannot end in alpha", "expected 2 or 4", "write .npy")
    beyond = channels in form.beyond.get(kind.name, ())
    if beyond and (stacked or channels not in form.channels.get(kind.name, ())):
        check_beyond(form, f"the {form.name} would hold {_samples(kind, channels, stacked)}")
    elif kind.name not in form.channels:
        raise DtypeError(f"{form.name} cannot hold {kind}", f"it holds {form.contents}", _way_out(form, kind, channels))
    elif channels not in form.channels[kind.name]:
        what = f"alpha ({channels} channels)" if alpha else _samples(kind, channels)
        raise ShapeError(f"{form.name} cannot hold {what}", f"it holds {form.contents}", _way_out(form, kind, channels))
    if max(shape[:2]) > form.max_side:
        given = f"{form.name} cannot hold {_shown(shape[:2])}"
        raise ShapeError(given, f"it holds at most {form.max_side} pixels a side", "write .png or .tiff")


def _check_frames(form: Format, kind: np.dtype[Any], count: int) -> None:
    if kind.name not in form.frames:
        given = f"{form.name} cannot hold {count:,} frames of {kind}"
        able = _able(other.name for other in all_formats() if kind.name in other.frames)
        raise ShapeError(given, able, "write such a file, or choose one frame with --frames N")


def _samples(kind: np.dtype[Any], channels: int, stacked: bool = False) -> str:
    pages = " on several pages" if stacked else ""
    return f"{kind} with {channels} channel{'s' * (channels != 1)}{pages}"


def check_header(format: str, header: Header | None) -> None:
    """Raise InputError where a format must say what nobody has told.

    >>> check_header("wav", None)
    Traceback (most recent call last):
        ...
    convcli.errors.InputError: wav needs a sample rate; the input has none; begin with a .wav, or write .npy
    """
    form = lookup(format)
    if form.needs_header and (header is None or form.name not in header.formats):
        given = f"{form.name} needs {form.needs_header}"
        raise InputError(given, "the input has none", f"begin with a {form.suffixes[0]}, or write .npy")


def check_settings(format: str, settings: Mapping[str, int]) -> None:
    """Raise InputError for an encoder's setting that the format has no notion of; it would be ignored.

    DtypeError names the extra that one takes, where it is not installed.

    >>> check_settings("png", {"compress_level": 9})
    >>> check_settings("jpg", {"compress_level": 9})
    Traceback (most recent call last):
        ...
    convcli.errors.InputError: jpg takes no compress level; png and tiff do; leave it out
    """
    chosen = lookup(format)
    for name, value in settings.items():
        words = name.replace("_", " ")
        if name not in chosen.settings:
            given = f"{format} takes no {words}"
            able = _able(form.name for form in all_formats() if name in form.settings)
            raise InputError(given, able, "leave it out")
        if value and name in chosen.beyond_settings:
            check_beyond(chosen, f"{format} with a {words}", "take")


def _able(names: Iterable[str]) -> str:
    """Which formats can what one cannot.

    >>> _able(["png"]), _able(["png", "webp"])
    ('png does', 'png and webp do')
    """
    able = listed(names, "and")
    return f"{able} {'do' if ' and ' in able else 'does'}"


def channel_count(shape: tuple[int, ...]) -> int:
    """Channels of an image's shape.

    >>> channel_count((480, 640)), channel_count((480, 640, 3))
    (1, 3)
    """
    return shape[2] if len(shape) == 3 else 1


def _way_out(form: Format, kind: np.dtype[Any], channels: int | None = None) -> str:
    """Other formats that hold the same numbers; or uint8, where the format holds that in as many channels, if known."""
    able = [name for name in ("png", "tiff") if holds(name, kind, channels or 1)]
    named = listed((f".{name}" for name in (*able, "npy")), "or")
    bytes_held = form.channels.get("uint8", ())
    helps = kind != np.uint8 and (channels in bytes_held if channels else bytes_held)
    return f"{_RESCALE} {named}" if helps else f"write {named}"


def output_dtype(dtype: DTypeLike, kind: Kind, format: str) -> np.dtype[Any] | None:
    """The number type to write where none was asked for; None means the computed floats as they are.

    dtype, kind: of the input. An input keeps its type where a format with types of its own holds it; where an image
    format does not, floats, and integers that float32 holds exactly, become float32. Raises DtypeError where the
    format has neither.

    >>> output_dtype("uint8", "image", "png"), output_dtype("float64", "array", "tiff")
    (dtype('uint8'), dtype('float32'))
    >>> print(output_dtype("uint8", "image", "npy"), output_dtype("int16", "array", "nii"))
    None int16
    """
    form, given = lookup(format), np.dtype(dtype)
    check_writable(form)
    if form.kind == "array":
        return _kept(form, given)
    if given.kind in "iu" and given.name in form.channels:
        return given
    if "float32" in form.channels and (given.kind == "f" or np.can_cast(given, np.float32)):
        return np.dtype(np.float32)
    if given.kind in "iu" and given.name in form.beyond:
        return given
    wanted, given = (f"the input {kind}", given) if given.kind != "b" else ("the result", np.dtype(np.float32))
    raise DtypeError(
        f"{wanted} is {given}, which {form.name} cannot hold", f"it holds {form.contents}", _way_out(form, given)
    )


def _kept(form: Format, given: np.dtype[Any]) -> np.dtype[Any] | None:
    """The type that an array format with types of its own gives to the result of an input of that type."""
    if not form.dtypes or given.name in form.dtypes:
        return given.newbyteorder("=") if form.dtypes else None
    if given.kind in "bf" and np.can_cast(given, np.float32):
        return np.dtype(np.float32)
    remedy = f"use --dtype {form.dtypes[1]}, or write .npy"
    raise DtypeError(f"the input is {given}, which {form.name} cannot hold", f"it holds {form.contents}", remedy)


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"
