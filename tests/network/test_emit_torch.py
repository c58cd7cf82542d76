"""Compare layers with PyTorch, if it is installed: sizes, parameters and work."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from convcli.errors import InputError
from convcli.network import emit_torch
from convcli.network.graph import Network
from convcli.network.layers import Tensor
from convcli.network.load import load
from convcli.network.parser import parse

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

NETWORKS = Path(__file__).parents[2] / "samples" / "networks"
pytestmark = pytest.mark.slow
LAYERS_A_SEED = 250
SEEDS = 40  # 10,000 layers in all


def draw(rng: random.Random) -> tuple[str, Tensor, Callable[[], torch.nn.Module]]:
    """A random layer as a word, its input, and the function that creates PyTorch's."""
    dims = rng.randint(1, 3)
    k, s, p, d = (
        [rng.randint(low, high) for _ in range(dims)]
        for low, high in ((1, 4), (1, 3), (0, 2), (1, 2))
    )
    groups = rng.choice([1, 1, 2, 3])
    channels, filters = groups * rng.randint(1, 3), groups * rng.randint(1, 3)
    bias, ceil = rng.random() < 0.5, rng.random() < 0.5
    half = [min(amount, taps // 2) for amount, taps in zip(p, k, strict=True)]
    extra = [rng.randint(0, max(steps) - 1) for steps in zip(s, d, strict=True)]
    x = Tensor(tuple(rng.randint(1, 9) for _ in range(dims)), channels)
    no_bias = "" if bias else ",bias=no"
    window = f"k={joined(k)},s={joined(s)},d={joined(d)},p={joined(p)}{no_bias}"
    pool = f"k={joined(k)},s={joined(s)},p={joined(half)}{',ceil=yes' * ceil}"
    slides = {"stride": s, "padding": p, "dilation": d, "bias": bias}

    def torch_layer(name: str, *values: object, **options: object) -> Callable[[], torch.nn.Module]:
        return lambda: getattr(torch.nn, f"{name}{dims}d")(*values, **options)

    match rng.choice(
        [
            "conv",
            "conv",
            "depthwise",
            "deconv",
            "deconv",
            "maxpool",
            "avgpool",
            "linear",
            "batchnorm",
        ]
    ):
        case "conv":
            make = torch_layer("Conv", channels, filters, k, groups=groups, **slides)
            return f"conv:{filters},g={groups},{window}", x, make
        case "depthwise":
            return (
                f"depthwise:2,{window}",
                x,
                torch_layer("Conv", channels, 2 * channels, k, groups=channels, **slides),
            )
        case "deconv":
            make = torch_layer(
                "ConvTranspose", channels, filters, k, groups=groups, output_padding=extra, **slides
            )
            return f"deconv:{filters},g={groups},out_padding={joined(extra)},{window}", x, make
        case "maxpool":
            return (
                f"maxpool:{pool},d={joined(d)}",
                x,
                torch_layer("MaxPool", k, s, half, d, ceil_mode=ceil),
            )
        case "avgpool":
            return f"avgpool:{pool}", x, torch_layer("AvgPool", k, s, half, ceil_mode=ceil)
        case "linear":
            flat = partial(torch.nn.Linear, x.size, filters, bias=bias)
            return (
                f"flatten linear:{filters}{no_bias}",
                x,
                lambda: torch.nn.Sequential(torch.nn.Flatten(), flat()),
            )
        case _:
            return "batchnorm", x, torch_layer("BatchNorm", channels)


def joined(values: list[int]) -> str:
    return "x".join(map(str, values))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_layers(seed: int) -> None:
    rng, compared = random.Random(seed), 0
    while compared < LAYERS_A_SEED:
        words, x, make = draw(rng)
        try:
            network = Network.of(x, parse(words))
        except InputError:
            network = None
        try:
            with torch.device("meta"), FlopCounterMode(display=False) as flops, torch.no_grad():
                layer = make().eval()
                shape = tuple(layer(torch.zeros(1, x.depth, *x.spatial)).shape[1:])
        except RuntimeError as error:
            # PyTorch's AvgPool3d checks the size of the input without its padding.
            unpadded = "smaller than kernel size" in str(error)
            assert network is None or unpadded, (words, x)
            continue
        if network is None:
            # convcli refuses empty outputs, and a ceiled window that is larger than the input.
            assert 0 in shape or "ceil=yes" in words, (words, x)
            continue
        compared += 1
        assert shape == network.output.shape("channels_first"), (words, x)
        assert sum(weights.numel() for weights in layer.parameters()) == network.parameters
        assert flops.get_total_flops() == 2 * network.macs, (words, x)


# Code that runs.


def run(network: Network) -> tuple[tuple[int, ...], int]:
    """Return the shape and the number of parameters of the module in emitted code."""
    names: dict[str, object] = {"__name__": "emitted"}
    exec(emit_torch.torch(network), names)
    with torch.device("meta"):
        module = names["Network"]().eval()  # type: ignore[operator]
        shape = tuple(module(torch.zeros(1, network.x.depth, *network.x.spatial)).shape[1:])
    return shape, sum(weights.numel() for weights in module.parameters())


@pytest.mark.parametrize("path", sorted(NETWORKS.glob("*.toml")), ids=lambda path: path.stem)
def test_emitted_samples_run(path: Path) -> None:
    network = load(str(path))
    assert run(network) == (network.output.shape("channels_first"), network.parameters)


@pytest.mark.parametrize("seed", range(4))
def test_emitted_random_layers_run(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        words, x, _ = draw(rng)
        try:
            network = Network.of(x, parse(words))
        except InputError:
            continue
        assert run(network) == (network.output.shape("channels_first"), network.parameters), words


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (
            (9, 9),
            "conv:4,k=3,s=2,p=same conv:4,k=2,p=same-lower maxpool:2,s=2,p=same avgpool:2,p=0:1",
        ),
        ((9, 9), "deconv:4,k=3,s=2,p=same deconv:4,k=4,p=0:1 deconv:4,k=4,p=2:1"),
        (
            (9, 9),
            "layernorm batchnorm:affine=no pad:1:2x0 upsample:2 upsample:2x3,mode=linear "
            "unfold:k=3,p=1",
        ),
        (
            (9,),
            "conv:4,k=3 upsample:2,mode=linear residual[conv:4,k=3,p=1] concat[ | relu] "
            "gap:keep=yes",
        ),
        (
            (5, 6, 7),
            "conv:4,k=3 maxpool:2,ceil=yes gap linear:3,bias=no dropout:0.1 layernorm batchnorm",
        ),
        ((9, 9), " ".join(emit_torch.ACTIVATIONS)),
        ((9, 9), "flatten linear:4 residual[linear:4] concat[ | relu]"),
    ],
)
def test_emitted_layers_of_every_kind_run(shape: tuple[int, ...], words: str) -> None:
    network = Network.of(Tensor(shape, 4), parse(words))
    assert run(network) == (network.output.shape("channels_first"), network.parameters)


def test_what_cannot_be_emitted_is_told() -> None:
    with pytest.raises(InputError, match="slides along 1 axes"):
        emit_torch.torch(Network.of(Tensor((9,), 4), parse("unfold:k=3")))


@pytest.mark.parametrize("seed", range(20))
def test_emitted_averages_are_pytorchs(seed: int) -> None:
    rng = random.Random(seed)
    while True:
        n, k, s, p = rng.randint(1, 9), rng.randint(1, 5), rng.randint(1, 4), rng.randint(0, 2)
        try:
            network = Network.of(Tensor((n, n), 2), parse(f"avgpool:{k},s={s},p={p},ceil=yes"))
        except InputError:
            continue
        break
    names: dict[str, object] = {"__name__": "emitted"}
    exec(emit_torch.torch(network), names)
    x = torch.rand(2, 2, n, n)
    right = torch.nn.AvgPool2d(k, s, p, ceil_mode=True)(x)
    torch.testing.assert_close(names["Network"]()(x), right)  # type: ignore[operator]
