"""The bank of named kernels: one table, and how a name with parameters is looked up in it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from convcli.errors import KernelError
from convcli.kernels import edges, laplacian, smoothing
from convcli.kernels.model import Kernel, Taps, limit_taps
from convcli.kernels.parameters import AUTO, COMPASS, Entry, Number, Parameter


def _random(*, dims: int, shape: tuple[int, ...], seed: int) -> Taps:
    """Standard normal taps; the shape is the whole bank's, whatever dims says."""
    limit_taps(shape)
    return np.random.default_rng(seed).standard_normal(math.prod(shape)).reshape(shape)


RANDOM = Entry(
    "random",
    _random,
    "standard normal taps, the same for the same seed",
    "NumPy's default generator, PCG64: O'Neill, 2014",
    (
        Parameter("shape", smoothing.SIZE, "", "of the taps, as in 3x3 or 8x3x3x3", listed=True),
        Parameter("seed", Number(whole=True, least=0), "0", "of the generator"),
    ),
)

BANK: Mapping[str, Entry] = {
    entry.name: entry for entry in (*smoothing.ENTRIES, *laplacian.ENTRIES, *edges.ENTRIES, RANDOM)
}

# Other names in use -> a reference in the bank.
ALIASES: Mapping[str, str] = {
    "laplacian-4": "laplacian:neighbours=4",
    "laplacian-8": "laplacian:neighbours=8",
    "sharpen-8": "sharpen:neighbours=8",
    "mean": "box",
    **{f"compass-{direction}": f"robinson-{direction}" for direction in COMPASS},
}


def listing() -> tuple[Entry, ...]:
    """Every family of the bank, in the order to show it: name, variants, parameters, meaning, source.

    >>> [p.name for p in listing()[1].parameters]
    ['size']
    """
    return tuple(BANK.values())


def names() -> tuple[str, ...]:
    """Every name that `named` knows, aliases included.

    >>> {"sobel-x", "kirsch-ne", "laplacian-8", "box"} <= set(names())
    True
    """
    return (*(name for entry in BANK.values() for name in entry.names), *ALIASES)


def is_named(reference: str) -> bool:
    """Whether the reference begins with a name of the bank, or with a family's."""
    name = _normal(reference.partition(":")[0])
    return name in BANK or name in names()


def fewest_axes(reference: str) -> int | None:
    """The fewest axes of a named kernel that takes as many as it is asked for; None for one with axes of its own.

    >>> [fewest_axes(text) for text in ("gaussian:sigma=2", "sobel-z", "gaussian:sigma=1x2", "kirsch-n", "box.csv")]
    [1, 3, None, None, None]
    """
    if not is_named(reference):
        return None
    entry, name, variant, typed = _looked_up(reference)
    spelled = any(p.per_axis and "x" in _parameters(entry, name, typed).get(p.name, "") for p in entry.parameters)
    own = entry is RANDOM or entry.most_dims is not None or spelled
    return None if own else entry.variants.get(variant, entry.least_dims)


def named(reference: str, dims: int | None = None) -> Kernel:
    """Build `name` or `name:parameter=value,...`; a first value without a name is the first parameter's.

    dims: how many axes, for the kernels that exist in more than one; 2 where neither name nor values say otherwise.
    Raises KernelError for an unknown name, parameter or value, LimitError for more than ten million taps.

    >>> named("Sobel_X").taps[0]
    array([-1.,  0.,  1.])
    >>> named("box:3x5").shape
    (3, 5)
    """
    entry, name, variant, typed = _looked_up(reference)
    return entry.make(variant, _parameters(entry, name, typed), dims)


def _looked_up(reference: str) -> tuple[Entry, str, str, str]:
    """The family, the full name, the variant and the parameters as typed, with an alias's own before them."""
    name, _, typed = reference.partition(":")
    name = _normal(name)
    if name in ALIASES:
        name, _, preset = ALIASES[name].partition(":")
        typed = ",".join(filter(None, (preset, typed)))
    return *_find(name), typed


def _find(name: str) -> tuple[Entry, str, str]:
    """The family, the full name itself, and its variant."""
    if name in BANK:
        if (entry := BANK[name]).variants:
            *most, last = entry.names
            raise KernelError(f"kernel '{name}' without a direction", f"choose {', '.join(most)} or {last}")
        return entry, name, ""
    family, _, variant = name.rpartition("-")
    if family not in BANK or variant not in BANK[family].variants:
        raise KernelError(f"unknown kernel '{name}'")
    return BANK[family], name, variant


def _parameters(entry: Entry, name: str, typed: str) -> dict[str, str]:
    """Part `sigma=2,size=9` into names and values."""
    given: dict[str, str] = {}
    for place, item in enumerate(typed.split(",") if typed.strip() else []):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            if place or not entry.parameters:
                raise KernelError(f"'{item.strip()}' for kernel '{name}'", "expected parameter=value")
            key, value = entry.parameters[0].name, key
        key = _normal(key)
        if key in given:
            raise KernelError(f"parameter '{key}' of kernel '{name}' given twice", "expected it once")
        given[key] = value.lower() if value.lower() == AUTO else value
    return given


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")
