"""The bank of named kernels: one table, and the lookup of a name with parameters.

Other packages add families through the entry points `convcli.kernels`, which are loaded for a name
that is not in the bank.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from convcli.errors import KernelError
from convcli.kernels import edges, laplacian, signals, smoothing
from convcli.kernels.model import Kernel, Taps, limit_taps
from convcli.kernels.parameters import AUTO, COMPASS, KernelFamily, Number, Parameter
from convcli.plugins import load_plugins


def _random(*, dims: int, shape: tuple[int, ...], seed: int) -> Taps:
    """Return standard normal taps of `shape`; dims is ignored."""
    limit_taps(shape)
    return np.random.default_rng(seed).standard_normal(math.prod(shape)).reshape(shape)


RANDOM = KernelFamily(
    "random",
    _random,
    "standard normal taps, the same for the same seed",
    "NumPy's default generator, PCG64: O'Neill, 2014",
    (
        Parameter("shape", smoothing.SIZE, "", "of the taps, as in 3x3 or 8x3x3x3", listed=True),
        Parameter("seed", Number(integer=True, minimum=0), "0", "of the generator"),
    ),
)

BANK: Mapping[str, KernelFamily] = {
    family.name: family
    for family in (
        *smoothing.FAMILIES,
        *laplacian.FAMILIES,
        *edges.FAMILIES,
        *signals.FAMILIES,
        RANDOM,
    )
}

# Other common names, each with its reference in the bank.
ALIASES: Mapping[str, str] = {
    "laplacian-4": "laplacian:neighbours=4",
    "laplacian-8": "laplacian:neighbours=8",
    "sharpen-8": "sharpen:neighbours=8",
    "mean": "box",
    "blur": "gaussian",
    "smooth": "binomial",
    **{f"compass-{direction}": f"robinson-{direction}" for direction in COMPASS},
}


EDGES = "edges"
"""The name of several kernels: the slopes along every axis, combined by their magnitude."""


def edge_kernels(dims: int | None) -> tuple[str, ...]:
    """Return the kernels that `edges` means; by default, those of a picture's two axes.

    >>> edge_kernels(None), edge_kernels(3)
    (('sobel-x', 'sobel-y'), ('sobel-x', 'sobel-y', 'sobel-z'))
    """
    return tuple(f"sobel-{axis}" for axis in "xyz"[: 2 if dims is None else dims])


_OWN_NAMES = frozenset(
    (*BANK, *(name for family in BANK.values() for name in family.names), *ALIASES)
)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@cache
def plugin_families() -> Mapping[str, KernelFamily]:
    """Return the families of other packages by name, loaded once.

    The bank's own names cannot be replaced.
    """
    families = load_plugins("convcli.kernels", KernelFamily, _names_of, _OWN_NAMES)
    return {family.name: family for _, family in families}


def _names_of(family: KernelFamily) -> set[str]:
    if not _NAME.fullmatch(family.name):
        raise ValueError(
            f"kernel {family.name!r}: expected a name of small letters, digits and hyphens"
        )
    return {family.name, *family.names}


def listing() -> tuple[KernelFamily, ...]:
    """Return every kernel family, in display order.

    >>> [p.name for p in listing()[1].parameters]
    ['size']
    """
    return (*BANK.values(), *plugin_families().values())


def names() -> tuple[str, ...]:
    """Return every name that `named` accepts, aliases included.

    >>> {"sobel-x", "kirsch-ne", "laplacian-8", "box"} <= set(names())
    True
    """
    return (*(name for family in listing() for name in family.names), *ALIASES)


def references() -> tuple[str, ...]:
    """Return every name that a reference of `apply` can begin with, `edges` included."""
    return (*names(), EDGES)


def is_named(reference: str) -> bool:
    """Return whether a reference begins with the name of a kernel or of a family."""
    name = _normal(reference.partition(":")[0])
    if name in _OWN_NAMES:
        return True
    return _NAME.fullmatch(name) is not None and any(
        name in _names_of(family) for family in plugin_families().values()
    )


def fewest_axes(reference: str) -> int | None:
    """Return the minimum dims of a named kernel, or None if its dims are fixed.

    >>> names = ("gaussian:sigma=2", "sobel-z", "gaussian:sigma=1x2", "kirsch-n", "box.csv")
    >>> [fewest_axes(text) for text in names]
    [1, 3, None, None, None]
    """
    if not is_named(reference):
        return None
    family, name, variant, typed = _look_up(reference)
    spelled = any(
        p.per_axis and "x" in _parameters(family, name, typed).get(p.name, "")
        for p in family.parameters
    )
    own = family is RANDOM or family.most_dims is not None or spelled
    return None if own else family.variants.get(variant, family.least_dims)


def named(reference: str, dims: int | None = None) -> Kernel:
    """Build `name` or `name:parameter=value,...`.

    A first value without a name is the first parameter's.

    dims: the number of axes; by default what name and values imply, else 2.
    Raises KernelError for an unknown name, parameter or value, LimitError for more than ten million
    taps.

    >>> named("Sobel_X").taps[0]
    array([-1.,  0.,  1.])
    >>> named("box:3x5").shape
    (3, 5)
    """
    family, name, variant, typed = _look_up(reference)
    return family.make(variant, _parameters(family, name, typed), dims)


def find_family(reference: str) -> KernelFamily:
    """Return the family of a reference that `is_named`. Raises KernelError like `named`."""
    return _look_up(reference)[0]


def _look_up(reference: str) -> tuple[KernelFamily, str, str, str]:
    """Return the family, full name, variant and parameter text; an alias's presets come first."""
    name, _, typed = reference.partition(":")
    name = _normal(name)
    if name in ALIASES:
        name, _, preset = ALIASES[name].partition(":")
        typed = ",".join(filter(None, (preset, typed)))
    return *_find(name), typed


def _find(name: str) -> tuple[KernelFamily, str, str]:
    """Return the family of a full name, the name, and its variant."""
    families = BANK if name in _OWN_NAMES else plugin_families()
    if name in families:
        if (family := families[name]).variants:
            *most, last = family.names
            raise KernelError(
                f"kernel '{name}' without a direction", f"choose {', '.join(most)} or {last}"
            )
        return family, name, ""
    stem, _, variant = name.rpartition("-")
    if stem not in families or variant not in families[stem].variants:
        raise KernelError(f"unknown kernel '{name}'")
    return families[stem], name, variant


def _parameters(family: KernelFamily, name: str, typed: str) -> dict[str, str]:
    """Split `sigma=2,size=9` into names and values."""
    given: dict[str, str] = {}
    for place, item in enumerate(typed.split(",") if typed.strip() else []):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            if place or not family.parameters:
                raise KernelError(
                    f"'{item.strip()}' for kernel '{name}'", "expected parameter=value"
                )
            value = key
            key = family.parameters[0].name
        key = _normal(key)
        if key in given:
            raise KernelError(
                f"parameter '{key}' of kernel '{name}' given twice", "expected it once"
            )
        given[key] = value.lower() if value.lower() == AUTO else value
    return given


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")
