"""Test that a dump of gradcheck is enough to redo the check: this file uses numpy alone for it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run

import convcli

pytestmark = pytest.mark.usefixtures("in_tmp")

Dump = dict[str, Any]


def read_json(name: str) -> Dump:
    """Return a JSON dump under the names that a .npz dump has."""
    record = json.loads(Path(name).read_text())
    record |= {key: np.array(values) for key, values in record.pop("arrays").items()}
    record["y"] = np.array(record["y"])
    for check in record["checks"]:
        record[check["name"]] = np.array(check["gradient"])
        for part in ("entries", "analytic", "numeric", "step"):
            record[f"{check['name']}_{part}"] = np.array(check[part])
    for test in record["adjoint"]:
        record[f"{test['name']}_v"] = np.array(test["v"])
        record[f"{test['name']}_adjoint"] = np.array([test["left"], test["right"]])
    return record


def read_npz(name: str) -> Dump:
    with np.load(name) as loaded:
        arrays = dict(loaded)
    return {key: values.item() if values.size == 1 else values for key, values in arrays.items()}


def forward(dump: Dump, x: np.ndarray, w: np.ndarray, bias: np.ndarray, cval: float) -> np.ndarray:
    """Compute the output by the definition, in the dumped arrays' axes."""
    dims, first = dump["dims"], dump["layout"] == "channels_first"
    batch, axis = int(dump["batch_axes"]), (1 if first else -1)
    x = x if batch else x[None]
    has_channels = x.ndim == dims + 2
    x = np.moveaxis(x, axis, 1) if has_channels else x[:, None]
    depth = x.shape[1]
    w = np.flip(w, window_axes(dump, w)) if dump["op"] == "convolve" else w
    groups = dump["groups"]
    if w.ndim == dims:  # one window for every channel
        if dump["reading"] == "each":
            w, groups = np.broadcast_to(w, (depth, 1, *w.shape)), depth
        else:
            w = np.broadcast_to(w, (1, depth, *w.shape))
    elif w.ndim == dims + 1:
        w = w if first else np.moveaxis(w, -1, 0)
        depthwise = dump["reading"] == "depthwise"
        w, groups = (w[:, None], depth) if depthwise else (w[None], 1)
    else:
        w = w if first else np.moveaxis(w, -1, 1)
    pads = [(0, 0), (0, 0), *np.reshape(dump["padding"], (dims, 2)).tolist()]
    fill = {"constant_values": cval} if dump["boundary"] == "constant" else {}
    padded = np.pad(x, pads, mode=dump["boundary"], **fill)
    strides, dilations = np.atleast_1d(dump["stride"]), np.atleast_1d(dump["dilation"])
    spatial = dump["y"].shape[(2 if first and has_channels else 1) - (not batch) :][:dims]
    if first and not has_channels:
        spatial = dump["y"].shape[-dims:]
    y = np.zeros((len(x), len(w), *spatial))
    for tap in np.ndindex(*w.shape[2:]):
        where = [
            slice(d * t, d * t + s * (p - 1) + 1, s)
            for d, t, s, p in zip(dilations, tap, strides, spatial, strict=True)
        ]
        seen = padded[(slice(None), slice(None), *where)].reshape(len(x), groups, -1, *spatial)
        each = w[(..., *tap)].reshape(groups, -1, w.shape[1])
        y += np.einsum("ngc...,goc->ngo...", seen, each).reshape(y.shape)
    y = y + (bias.reshape(-1, *[1] * dims) if bias.size > 1 else bias)
    single = not has_channels and dump["reading"] == "each"
    y = y[:, 0] if single else np.moveaxis(y, 1, axis)
    return y if batch else y[0]


def window_axes(dump: Dump, w: np.ndarray) -> tuple[int, ...]:
    extra = w.ndim - dump["dims"]
    bank = int(extra == 2)
    start = extra if dump["layout"] == "channels_first" else bank
    return tuple(range(start, start + dump["dims"]))


def check_again(dump: Dump) -> None:
    """Redo the central differences and the adjoint test with what the dump holds."""
    tensors = {"dx": dump["x"], "dw": dump["w"], "db": np.zeros(np.shape(dump["db"]) or 1)}
    dy, cval = dump["dy"], dump["cval"]

    def output(moved: dict[str, np.ndarray], outside: float = cval) -> np.ndarray:
        return forward(dump, *(tensors | moved).values(), outside)

    np.testing.assert_allclose(output({}), dump["y"], rtol=1e-12, atol=1e-12)
    for name, tensor in tensors.items():
        step = np.asarray(dump[f"{name}_step"]).item()
        entries = np.atleast_1d(dump[f"{name}_entries"])
        numeric = []
        for entry in entries:
            at = np.zeros(tensor.size)
            at[entry] = step
            ends = [output({name: tensor + s * at.reshape(tensor.shape)}) for s in (1, -1)]
            numeric.append(np.vdot(ends[0] - ends[1], dy) / (2 * step))
        close = partial(np.testing.assert_allclose, rtol=1e-7, atol=1e-10)
        close(numeric, np.atleast_1d(dump[f"{name}_numeric"]))
        close(numeric, np.atleast_1d(dump[f"{name}_analytic"]))
        close(np.ravel(dump[name])[entries], np.atleast_1d(dump[f"{name}_analytic"]))
        v = np.reshape(dump[f"{name}_v"], tensor.shape)
        other = {"db": {"dx": np.zeros_like(tensors["dx"])}}.get(name, {})
        moved = output({name: v} | other, cval if name == "dw" else 0.0)
        close([np.vdot(moved, dy), np.vdot(v, dump[name])], dump[f"{name}_adjoint"])


CASES = [
    "7x6x2 -k random:3x3x2x2 --stride 2 --padding 1:0,2:1 --cval 0.5 --op convolve",
    "9x8 -k random:3x2 --dilation 2 --padding same --boundary reflect",
    "8x7x3 -k random:2x2 --op convolve --boundary edge --padding full",
    "6x6x3 -k random:3x3x3 --channels each --boundary symmetric --padding 2",
    "6x6x3 -k random:3x3 --channels sum --stride 2x1",
    "12x4 -k random:6x3x2 --groups 2 --dims 1 --boundary wrap --padding 1:2",
    "2x5x4x3 -k random:2x2x2x3 --dims 2 --op convolve",
    "4x6x5 -k random:2x2x3x3 --groups 2 --layout channels_first",
    "5x5x5 -k random:2x2x2 --dims 3",
    "9 -k 1,2,4 --padding 2",
]


@pytest.mark.parametrize("words", CASES)
@pytest.mark.parametrize(("name", "read"), [("g.json", read_json), ("g.npz", read_npz)])
def test_the_check_can_be_redone_from_the_dump_alone(words: str, name: str, read: Any) -> None:
    run("gradcheck", *words.split(), "--samples", "12", "--dump", name)
    dump = read(name)
    check_again(dump)
    source, _, reference, *_ = words.split()
    assert (dump["command"], dump["convcli"]) == ("gradcheck", convcli.__version__)
    assert dump["schema"] == 2
    assert (dump["input"], dump["kernel"]) == (source, reference)


def test_a_changed_number_in_a_dump_is_noticed() -> None:
    run("gradcheck", *CASES[0].split(), "--dump", "g.json")
    for key in ("x", "w", "dy", "y", "dx", "dw_numeric", "db_adjoint"):
        dump = read_json("g.json")
        dump[key] = dump[key] + 0.01
        with pytest.raises(AssertionError):
            check_again(dump)
    changes = {"op": "correlate", "cval": 0.0, "stride": [1, 2], "boundary": "edge"}
    for key, value in changes.items():
        with pytest.raises((AssertionError, ValueError)):
            check_again({**read_json("g.json"), key: value})
