"""Test emitted Keras code: its text everywhere, and its run if Keras is installed."""

from __future__ import annotations

import importlib.util
import os
import random
from pathlib import Path

import pytest

from convcli.errors import InputError
from convcli.network.emit_keras import ACTIVATIONS, keras
from convcli.network.graph import Network
from convcli.network.layers import Tensor
from convcli.network.load import load
from convcli.network.parser import parse

NETWORKS = Path(__file__).parents[2] / "samples" / "networks"
EVERY_KIND = [
    (
        (9, 9),
        "conv:4,k=3,s=2,p=same conv:4,k=2,p=same-lower,d=2 maxpool:2,s=2,p=same avgpool:2,p=0:1",
    ),
    (
        (9, 9),
        "depthwise:k=3 conv:8,k=1,g=4,bias=no deconv:4,k=3,s=2,p=same deconv:4,k=4,p=0:1 "
        "deconv:4,k=2,s=3",
    ),
    ((9, 9), "layernorm batchnorm:affine=no pad:1:2x0 upsample:2 upsample:2x3,mode=linear"),
    ((9,), "conv:4,k=3 upsample:2 residual[conv:4,k=3,p=1] concat[ | relu] gap:keep=yes"),
    (
        (5, 6, 7),
        "conv:4,k=3 maxpool:2,ceil=yes avgpool:2,ceil=yes gap linear:3,bias=no dropout:0.1 "
        "layernorm batchnorm",
    ),
    ((9, 9), " ".join([*ACTIVATIONS, "leakyrelu"])),
    ((9, 9), "flatten linear:4 residual[linear:4] concat[ | relu]"),
]


def test_a_chain_reads_as_keras() -> None:
    lines = keras(
        Network.of(Tensor((28, 28), 1), parse("conv:8,k=3,p=same relu gap linear:10"))
    ).splitlines()
    assert lines[3] == "x0 = keras.Input((28, 28, 1))"
    assert lines[4].startswith("x1 = layers.Conv2D(8, (3, 3), strides=(1, 1)")
    assert lines[4].endswith(
        "(layers.ZeroPadding2D(((1, 1), (1, 1)))(x0))  # conv:8,k=3,p=same -> 28x28x8"
    )
    assert lines[-4] == "model = keras.Model(x0, x4)"


def emitted(shape: tuple[int, ...], words: str) -> str:
    return keras(Network.of(Tensor(shape, 1), parse(words)))


def test_slopes_and_epsilons_are_those_of_the_other_frameworks() -> None:
    assert "layers.LeakyReLU(negative_slope=0.01)(x0)" in emitted((4,), "leakyrelu")
    assert "layers.LayerNormalization(center=True, scale=True, epsilon=1e-5)(x0)" in emitted(
        (4,), "layernorm"
    )
    assert "layers.BatchNormalization(center=False, scale=False, epsilon=1e-5)" in emitted(
        (4,), "batchnorm:affine=no"
    )


def test_averages_leave_out_what_rounding_up_adds() -> None:
    ones = "keras.ops.pad(keras.ops.ones_like(x0), ((0, 0), (1, 1), (0, 0)), constant_values=1)"
    pool = "layers.AveragePooling1D((3,), (2,))"
    counts = f"{pool}(keras.ops.pad({ones}, ((0, 0), (0, 1), (0, 0))))"
    mean = f"{pool}(layers.ZeroPadding1D((1, 2))(x0)) / {counts}"
    assert mean in emitted((6,), "avgpool:3,s=2,p=1,ceil=yes")
    assert " / " not in emitted((5,), "avgpool:3,s=2,p=1,ceil=yes")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("unfold:k=3", "unfold:k=3"),
        ("conv:4,k=3,s=2,d=2", "stride with dilation"),
        ("maxpool:3,s=1,d=2", "dilation"),
        ("deconv:4,k=3,g=2", "groups"),
    ],
)
def test_what_keras_has_no_layer_for_is_told(words: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        keras(Network.of(Tensor((9, 9), 4), parse(words)))


def run(network: Network) -> tuple[tuple[int, ...], int]:
    """Return the shape and the number of trainable parameters of the model in emitted code."""
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("torch") is None:
        pytest.skip("needs keras and torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    names: dict[str, object] = {"__name__": "emitted"}
    exec(keras(network), names)
    model = names["model"]
    parameters = sum(weights.numpy().size for weights in model.trainable_weights)  # type: ignore[attr-defined]
    return tuple(model.output_shape[1:]), parameters  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("shape", "words"), EVERY_KIND)
def test_emitted_layers_of_every_kind_run(shape: tuple[int, ...], words: str) -> None:
    network = Network.of(Tensor(shape, 4), parse(words))
    assert run(network) == (network.output.shape("channels_last"), network.parameters)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v1", "unet"])
def test_emitted_samples_run(name: str) -> None:
    network = load(str(NETWORKS / f"{name}.toml"))
    assert run(network) == (network.output.shape("channels_last"), network.parameters)


@pytest.mark.filterwarnings("ignore")
def test_emitted_random_convolutions_run() -> None:
    rng = random.Random(0)
    for _ in range(60):
        k, s = rng.randint(1, 5), rng.randint(1, 3)
        padding = rng.choice(["valid", "same", "same-lower", "1", "2:0"])
        words = f"{rng.choice(['conv', 'deconv'])}:3,k={k},s={s},p={padding}"
        try:
            network = Network.of(Tensor((rng.randint(5, 9), rng.randint(5, 9)), 2), parse(words))
            keras(network)
        except InputError:
            continue
        assert run(network) == (network.output.shape("channels_last"), network.parameters), words
