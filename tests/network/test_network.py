"""Test networks against published tables, the engine's outputs, brute force and worked sums."""

from __future__ import annotations

import contextlib
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcli import conv_layer, conv_transpose
from convcli.errors import FileError, InputError, LimitError, ShapeError
from convcli.network.graph import Network, read_input
from convcli.network.inverse import Need, input_for, solve
from convcli.network.layers import KINDS, Tensor
from convcli.network.load import build, load
from convcli.network.parser import parse
from convcli.network.receptive_field import reaches, sees, views
from convcli.network.summary import (
    Count,
    inference_peak,
    rivals,
    rivals_in_all,
    summarise,
    training_peak,
)
from convcli.options import itemsize
from convcli.shapes.parse import parse_shape

NETWORKS = Path(__file__).parents[2] / "samples" / "networks"


def net(shape: str, layers: str, **options: object) -> Network:
    return Network.of(read_input(parse_shape(shape), **options), parse(layers))


def refusal(shape: str, layers: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        net(shape, layers, **options)
    return str(caught.value)


# Published numbers.

PUBLISHED = {  # parameters and MACs from torchvision, MobileNet's from its authors
    "alexnet": (61_100_840, 714_188_480),
    "vgg16": (138_357_544, 15_470_264_320),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "googlenet": (6_624_904, 1_498_376_192),
    "mobilenet_v1": (4_231_976, 568_740_352),
}
SHAPES = {"unet": "512x512x2", "c3d": "487"}


def test_every_sample_is_tested() -> None:
    assert {path.stem for path in NETWORKS.glob("*.toml")} == {*PUBLISHED, *SHAPES}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs_of_the_samples(name: str) -> None:
    network = load(str(NETWORKS / f"{name}.toml"))
    assert (network.parameters, network.macs) == PUBLISHED[name]
    assert str(network.output) == "1000"


@pytest.mark.parametrize("name", SHAPES)
def test_outputs_of_the_other_samples(name: str) -> None:
    assert str(load(str(NETWORKS / f"{name}.toml")).output) == SHAPES[name]


def test_conventions_of_vgg16() -> None:
    vgg = load(str(NETWORKS / "vgg16.toml"))
    assert Count().total(vgg) == 15_470_264_320
    assert Count("flops").total(vgg) == 30_940_528_640
    assert f"{Count(with_bias=True).total(vgg) / 1e9:.2f}" == "15.48"
    features = [node for node in vgg.nodes if node.output.spatial]
    assert sum(node.step.macs for node in features) == 15_346_630_656
    assert Count(batch=3).total(vgg) == 3 * 15_470_264_320


ALEXNET_V2 = """
conv:64,k=11,s=4 maxpool:3,s=2
conv:192,k=5,p=same maxpool:3,s=2
conv:384,k=3,p=same conv:384,k=3,p=same conv:256,k=3,p=same maxpool:3,s=2
"""
VGG16 = (
    "[conv:8,k=3,p=1]x2 maxpool:2 [conv:8,k=3,p=1]x2 maxpool:2"
    + " [conv:8,k=3,p=1]x3 maxpool:2" * 3
)


def told(network: Network) -> list[tuple[float, ...]]:
    found = []
    for view in views(network):
        field = view.fields[0]
        found.append((field.size, field.jump, field.padding))
    return found


def test_receptive_fields_of_alexnet_v2() -> None:
    conv1, pool1, conv2, _, conv3, conv4, conv5, pool5 = told(net("224x224x3", ALEXNET_V2))
    assert [conv1, pool1, conv2] == [(11, 4, 0), (19, 8, 0), (51, 8, 16)]
    assert [conv3, conv4, conv5, pool5] == [
        (99, 16, 32),
        (131, 16, 48),
        (163, 16, 64),
        (195, 32, 64),
    ]


def test_receptive_fields_of_vgg16() -> None:
    network = net("224x224x3", VGG16)
    pools = [
        field
        for node, field in zip(network.nodes, told(network), strict=True)
        if node.text == "maxpool:2"
    ]
    assert pools == [(6, 2, 2), (16, 4, 6), (44, 8, 18), (100, 16, 42), (212, 32, 90)]


def test_torchvision_pads_alexnet_more() -> None:
    network = load(str(NETWORKS / "alexnet.toml"))
    at = [node.text for node in network.nodes].index("flatten") - 1
    assert told(network)[at] == (195, 32, 66)


def test_the_centre_of_the_first_output() -> None:
    for view in views(net("224x224x3", ALEXNET_V2)):
        for field in view.fields:
            assert field.centre == -field.padding + (field.size - 1) / 2


def test_weights_shared_and_unshared() -> None:
    """Check the first layer of AlexNet on 227, as in CS231n."""
    network = net("227x227x3", "conv:96,k=11,s=4")
    unshared, dense = rivals(network.nodes[0], "dense")
    assert network.parameters == 34_944
    assert unshared.parameters == 105_705_600 == 290_400 * 364
    assert dense.parameters == (227 * 227 * 3 + 1) * 290_400
    assert dense.macs == 227 * 227 * 3 * 290_400


def test_a_convolution_against_a_separable_one() -> None:
    network = net("14x14x512", "conv:512,k=3,p=1,bias=no relu")
    (rival,) = rivals(network.nodes[0], "separable")
    apart = net("14x14x512", "depthwise:k=3,p=1,bias=no conv:512,k=1,bias=no")
    assert (rival.parameters, rival.macs) == (apart.parameters, apart.macs)
    assert rivals(network.nodes[1], "separable") == ()
    assert rivals(apart.nodes[0], "separable") == ()


def test_totals_of_a_comparison_keep_the_layers_that_have_no_rival() -> None:
    network = net("8x8x3", "conv:4,k=3 batchnorm flatten linear:10")
    (rival,) = rivals_in_all(network, "separable")
    assert rival.parameters == (3 * 9 + 3 * 4 + 3 + 4) + 8 + (6 * 6 * 4 * 10 + 10)


# Sizes.


@pytest.mark.parametrize(
    ("shape", "layers", "output"),
    [
        ("28x28x3", "conv:8,k=3", "26x26x8"),
        ("28x28", "conv:8,k=3", "26x26x8"),
        ("100", "conv:8,k=5", "96x8"),
        ("16x32x32x3", "conv:8,k=3x5x5", "14x28x28x8"),
        ("28x28x3", "conv:8,k=3x5", "26x24x8"),
        ("28x28x3", "conv:8,k=3,p=same,s=2", "14x14x8"),
        ("28x28x3", "conv:8,k=3,p=same-lower,s=2", "14x14x8"),
        ("28x28x3", "conv:8,k=3,p=full", "30x30x8"),
        ("28x28x3", "conv:8,k=3,p=valid", "26x26x8"),
        ("28x28x3", "conv:8,k=3,p=1:2", "29x29x8"),
        ("28x28x3", "conv:8,k=3,p=1:2x0:0", "29x26x8"),
        ("28x28x4", "conv:8,k=3,g=4,d=2,bias=no", "24x24x8"),
        ("28x28x4", "depthwise:2,k=3", "26x26x8"),
        ("14x14x8", "deconv:4,k=4,s=2,p=1", "28x28x4"),
        ("14x14x8", "deconv:4,k=3,s=2,p=1,out_padding=1", "28x28x4"),
        ("112x112x8", "maxpool:3,s=2", "55x55x8"),
        ("112x112x8", "maxpool:3,s=2,ceil=yes", "56x56x8"),
        ("112x112x8", "avgpool:2", "56x56x8"),
        ("7x7x8", "gap", "8"),
        ("7x7x8", "gap:keep=yes", "1x1x8"),
        ("7x7x8", "pad:1 pad:1:2x0", "12x9x8"),
        ("7x7x8", "upsample:2 upsample:3x1,mode=linear", "42x14x8"),
        ("7x7x8", "flatten linear:10 relu dropout:0.2 softmax", "10"),
        ("7x7x8", "unfold:k=3", "5x5x72"),
        ("7x7x8", "layernorm batchnorm gelu", "7x7x8"),
        ("784", "linear:10", "10"),
        ("28x28x3", "[conv:8,k=3 relu]x3 maxpool:2 x2", "5x5x8"),
        ("28x28x8", "residual[conv:8,k=3,p=1] relu", "28x28x8"),
        ("28x28x8", "residual[conv:16,k=3,s=2,p=1 | conv:16,k=1,s=2]", "14x14x16"),
        ("28x28x8", "concat[ | conv:16,k=1 | maxpool:3,s=1,p=1 ]", "28x28x32"),
        ("28x28x8", "conv:4,kernel=3,stride=2,padding=1", "14x14x4"),
        ("28x28x8", "# a comment\nrelu # another\nconv:4,k=1", "28x28x4"),
        ("1x1x8", "[ ]x999999999 relu [[ ]x999999999]x999999999", "1x1x8"),
    ],
)
def test_outputs(shape: str, layers: str, output: str) -> None:
    assert str(net(shape, layers).output) == output


def pooled(n: int, k: int, s: int, p: int) -> int:
    """Count the windows that start on a sample or before, by trying each start."""
    fit = [start for start in range(0, n + 2 * p, s) if start + k <= n + 2 * p]
    more = [start for start in range(0, n + p, s) if start + k < n + 2 * p + s]
    return max(len(fit), len(more))


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
def test_pools_that_round_up_may_reach_beyond_the_padded_input(kind: str) -> None:
    for n, k, s in ((n, k, s) for n in range(1, 9) for k in range(1, 8) for s in range(1, 6)):
        for p in range(k // 2 + 1):
            layer = f"{kind}:{k},s={s},p={p},ceil=yes"
            if out := pooled(n, k, s, p):
                assert str(net(f"{n}x{n}x1", layer).output) == f"{out}x{out}x1"
            else:
                assert "exceeds the padded input" in refusal(f"{n}x{n}x1", layer)


def test_the_least_input_of_a_pool_that_rounds_up() -> None:
    chain = parse("maxpool:3,s=2,ceil=yes")
    assert input_for(lambda x: Network.of(x, chain), None, (1,)) == (Need(2, 3),)


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
def test_pools_are_padded_by_half_of_their_window_at_most(kind: str) -> None:
    assert str(net("8x8x1", f"{kind}:3,s=1,p=1").output) == "8x8x1"
    assert "expected at most half of its window, 1" in refusal("8x8x1", f"{kind}:3,s=1,p=2")
    assert "expected at most half of its window, 1" in refusal("8x8x1", f"{kind}:2,s=1,p=0:2")
    assert "expected at most half of its window, 1" in refusal("8x8x1", f"{kind}:3,s=1,p=full")
    assert "expected at most half of its window, 1" in refusal("8x8x1", "maxpool:3,s=1,d=2,p=2")


def test_layouts_and_dims_say_how_an_input_is_read() -> None:
    first = Network.of(
        read_input((3, 28, 28), layout="channels_first"),
        parse("conv:8,k=3"),
        layout="channels_first",
    )
    assert first.show(first.output) == "8x26x26"
    assert first.macs == net("28x28x3", "conv:8,k=3").macs
    assert str(net("100x8", "conv:4,k=5", dims=1).output) == "96x4"
    assert str(net("8x8x8", "conv:4,k=3", dims=3).output) == "6x6x6x4"


def arithmetic(rng: random.Random) -> tuple[str, dict[str, int]]:
    """A random layer in one dimension, as a word and as the engine's options."""
    k, s, d = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 3)
    lo, hi = rng.randint(0, 3), rng.randint(0, 3)
    return f"k={k},s={s},d={d},p={lo}:{hi}", {"k": k, "s": s, "d": d, "lo": lo, "hi": hi}


@pytest.mark.parametrize("seed", range(200))
def test_sizes_are_those_that_the_engine_gives(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        words, o = arithmetic(rng)
        n, groups = rng.randint(1, 12), rng.randint(1, 2)
        channels, filters = 2 * groups, 3 * groups
        options = {
            "stride": o["s"],
            "dilation": o["d"],
            "padding": [(o["lo"], o["hi"])],
            "groups": groups,
        }
        x, w = np.ones((1, n, channels)), np.ones((filters, o["k"], channels // groups))
        try:
            step = (
                net(f"{n}x{channels}", f"conv:{filters},{words},g={groups}", dims=1).nodes[0].step
            )
        except ShapeError:
            with pytest.raises(ShapeError):
                conv_layer(x, w, **options)
        else:
            assert conv_layer(x, w, **options).shape[1:] == step.output.shape()
            assert step.weights == w.size
        w = np.ones((channels, o["k"], filters // groups))
        try:
            step = (
                net(f"{n}x{channels}", f"deconv:{filters},{words},g={groups}", dims=1).nodes[0].step
            )
        except ShapeError:
            continue
        assert conv_transpose(x, w, **options).shape[1:] == step.output.shape()
        assert step.weights == w.size


# Work and memory.


def test_work_and_parameters_of_each_kind() -> None:
    layers = "conv:8,k=3,p=1 depthwise:k=3,p=1 deconv:4,k=2,s=2 "
    layers += "batchnorm layernorm maxpool:2 gap linear:10"
    network = net("6x6x3", layers)
    assert [node.parameters for node in network.nodes] == [224, 80, 132, 8, 8, 0, 0, 50]
    assert [node.step.macs for node in network.nodes] == [
        216 * 36,
        72 * 36,
        128 * 36,
        0,
        0,
        0,
        0,
        40,
    ]


def test_memory_of_a_chain() -> None:
    network = net("10x1", "conv:4,k=1 relu flatten linear:2", dims=1)
    assert inference_peak(network) == 80  # conv and relu: 40 in, 40 out
    # After the forward pass: 10 + 40 + 40 + 2. The backward pass of linear adds gradients, 2 + 40,
    # then frees 2 + 2; that of relu adds 40.
    assert training_peak(network) == 10 + 40 + 40 + 40 + 40


def test_memory_keeps_what_a_branch_still_needs() -> None:
    chain = net("10x4", "relu relu", dims=1)
    branch = net("10x4", "residual[relu relu]", dims=1)
    assert inference_peak(chain) == 80
    assert inference_peak(branch) == 120  # the input is in memory until the sum
    summary = summarise(branch, Count(batch=2), dtype="float16")
    assert summary.inference == 2 * 2 * 120
    assert summary.activations == 2 * 2 * 120
    assert [row.memory for row in summary.rows] == [160, 160, 160]


@pytest.mark.parametrize(
    ("dtype", "size"), [("int8", 1), ("float16", 2), ("bfloat16", 2), ("float64", 8)]
)
def test_memory_goes_by_dtype(dtype: str, size: int) -> None:
    assert itemsize(dtype) == size
    assert summarise(net("10x4", "relu", dims=1), dtype=dtype).activations == 40 * size


def test_shares_add_up() -> None:
    rows = summarise(load(str(NETWORKS / "resnet18.toml"))).rows
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert all(row.share == 0 for row in summarise(net("8x8x3", "relu")).rows)


def test_samples_that_the_floor_drops_are_flagged() -> None:
    padded, lost = summarise(net("224x224x3", "conv:8,k=7,s=2,p=3 maxpool:3,s=4")).rows
    assert (padded.dropped, padded.lost) == ((1, 1), False)
    assert (lost.dropped, lost.lost) == ((1, 1), True)


def test_misaligned_paths_are_told_and_the_widest_counts() -> None:
    aligned = views(net("9x9x1", "concat[conv:1,k=3,p=1 | conv:1,k=5,p=2]"))[-1]
    crooked = views(net("9x9x1", "concat[conv:1,k=3,p=1 | conv:1,k=5,p=1:3] relu"))[-1]
    assert aligned.aligned
    assert aligned.fields[0].size == 5
    assert not crooked.aligned
    assert crooked.fields[0].size == 5


# Receptive fields.


def dependence(n: int, steps: list[tuple[str, dict[str, int]]]) -> np.ndarray:
    """Return which input affects which output, by sending every unit impulse through the engine."""
    x = np.eye(n)[..., None]
    for name, o in steps:
        run = conv_layer if name == "conv" else conv_transpose
        options = {"stride": o["s"], "dilation": o["d"], "padding": [(o["lo"], o["hi"])]}
        x = run(x, np.ones((1, o["k"], 1)), **options)
    return x[..., 0] != 0


@pytest.mark.parametrize("seed", range(60))
def test_boxes_and_fields_are_what_impulses_show(seed: int) -> None:
    rng = random.Random(seed)
    n = rng.randint(8, 24)
    while True:
        drawn = [
            (rng.choice(["conv", "conv", "deconv"]), *arithmetic(rng))
            for _ in range(rng.randint(1, 4))
        ]
        try:
            network = net(str(n), " ".join(f"{name}:1,{words}" for name, words, _ in drawn))
        except ShapeError:
            continue
        break
    touched = dependence(n, [(name, options) for name, _, options in drawn])
    (field,) = views(network)[-1].fields
    for at in range(network.output.spatial[0]):
        seen = np.flatnonzero(touched[:, at])
        assert list(sees(network, (at,)).axes[0]) == list(seen)
        if seen.size:
            first, last = field.window(at)
            assert first <= seen[0] <= seen[-1] <= last < first + field.size
    for at in range(n):
        assert list(reaches(network, (at,)).axes[0]) == list(np.flatnonzero(touched[at]))


@pytest.mark.parametrize("seed", range(20))
def test_fields_are_the_widest_that_an_output_far_from_the_ends_sees(seed: int) -> None:
    rng = random.Random(seed)
    words = [
        "conv:1,k=3,p=1",
        "maxpool:2",
        "conv:1,k=3,s=2,p=1",
        "upsample:2",
        "upsample:3,mode=linear",
    ]
    words += [
        "deconv:1,k=2,s=2",
        "deconv:1,k=5,s=3,d=2",
        "concat[ | maxpool:2 conv:1,k=3,p=1 upsample:2 ]",
    ]
    network = net("288x1", " ".join(rng.choices(words, k=rng.randint(1, 5))), dims=1)
    (field,) = views(network)[-1].fields
    (n,) = network.output.spatial
    middle = range(max(n // 2 - 60, 0), min(n // 2 + 60, n))
    spans = [sees(network, (at,)).spans for at in middle]
    assert max(last - first + 1 for ((first, last),) in filter(None, spans)) == field.size
    assert all(
        ((field.window(at)),) == span for at, span in zip(middle, spans, strict=True) if span
    )


@pytest.mark.parametrize(
    ("shape", "layers", "size", "padding", "centre"),
    [
        ("28x28x1", "maxpool:2 upsample:2", 2, 0, 0.5),
        ("28x28x1", "maxpool:2 deconv:1,k=2,s=2", 2, 0, 0.5),
        ("40x40x1", "maxpool:4 upsample:4", 4, 0, 1.5),
        ("28x28x1", "conv:1,k=3,s=2 deconv:1,k=2,s=2", 3, 0, 1),
        ("9x9x1", "upsample:2 conv:1,k=1,s=2", 1, 0, 0),
        ("9x9x1", "deconv:1,k=1,s=2,out_padding=1", 1, 0, 0),
    ],
)
def test_fields_behind_enlarging_layers(
    shape: str, layers: str, size: int, padding: float, centre: float
) -> None:
    field = views(net(shape, layers))[-1].fields[0]
    assert (field.size, field.padding, field.centre) == (size, padding, centre)


def test_the_field_of_unet() -> None:
    last = views(load(str(NETWORKS / "unet.toml")))[-1]
    assert (last.fields[0].size, last.aligned) == (204, True)


def test_paths_that_pick_every_other_sample_of_an_enlarged_input_are_aligned() -> None:
    last = views(net("9x9x1", "residual[upsample:2 conv:1,k=1,s=2]"))[-1]
    assert (last.fields[0].size, last.aligned) == (1, True)


def test_enlarging_without_end_is_refused() -> None:
    with pytest.raises(LimitError, match=r"fields are followed up to 65,536"):
        views(net("2x2x1", "[upsample:64]x3"))


def test_boxes_of_branches_are_unions() -> None:
    network = net("20x20x1", "concat[conv:1,k=3,p=1 | conv:1,k=5,p=2]")
    assert sees(network, (10, 0)).spans == ((8, 12), (0, 2))
    assert reaches(network, (10, 0)).spans == ((8, 12), (0, 2))


def test_boxes_refuse_what_is_not_there() -> None:
    with pytest.raises(InputError, match="outside the output 5x5"):
        sees(net("5x5x1", "relu"), (5, 0))
    with pytest.raises(InputError, match="2 spatial axes"):
        sees(net("5x5x1", "relu"), (5,))
    with pytest.raises(InputError, match="flat"):
        sees(net("5x5x1", "gap"), (0, 0))
    with pytest.raises(InputError, match="flat"):
        reaches(net("5x5x1", "gap"), (0, 0))


# The inverse.


@pytest.mark.parametrize("seed", range(30))
def test_input_sizes_are_all_that_give_the_output(seed: int) -> None:
    rng = random.Random(seed)
    words = [
        "conv:1,k=3,s=2,p=1",
        "maxpool:3,s=2,ceil=yes",
        "conv:1,k=5",
        "conv:1,k=4,s=3,p=same",
        "upsample:2",
    ]
    layers = parse(" ".join(rng.choice(words) for _ in range(rng.randint(1, 3))))

    def out(n: int) -> int:
        try:
            return Network.of(Tensor((n,), 1), layers).output.spatial[0]
        except ShapeError:
            return 0

    sizes = [out(n) for n in range(1, 200)]
    wanted = rng.choice([size for size in sizes[:60] if size])
    (need,) = input_for(lambda x: Network.of(x, layers), None, (wanted,), 1)
    assert need == Need(sizes.index(wanted) + 1, len(sizes) - sizes[::-1].index(wanted))


def test_input_sizes_of_branches_must_fit_them_all() -> None:
    unet = "concat[ | maxpool:2 conv:8,k=3,p=1 deconv:4,k=2,s=2 ]"
    assert input_for(lambda x: Network.of(x, parse(unet)), None, (8,)) == (Need(8, 8),)
    with pytest.raises(ShapeError, match="never gives 9"):
        input_for(lambda x: Network.of(x, parse(unet)), None, (9,))


def test_an_output_that_nothing_gives_names_the_layer() -> None:
    with pytest.raises(
        ShapeError, match=r"layer 2 'upsample:2' never gives 7: 3 gives 6 and 4 gives 8"
    ):
        input_for(lambda x: Network.of(x, parse("conv:1,k=3 upsample:2")), None, (7,))


def test_a_global_pooling_takes_every_size() -> None:
    assert input_for(lambda x: Network.of(x, parse("gap:keep=yes")), None, (1,)) == (Need(1, None),)


@pytest.mark.parametrize(
    ("start", "goal", "rf", "layers"),
    [
        ((224, 224), (56, 56), 31, 3),
        ((14, 14), (28, 28), None, 2),
        ((28,), (24,), None, 2),
        ((16, 8), (8, 4), 5, 2),
    ],
)
def test_solved_chains_lead_there(
    start: tuple[int, ...], goal: tuple[int, ...], rf: int | None, layers: int
) -> None:
    chains = solve(start, goal, rf=rf, max_layers=layers)
    assert list(chains) == sorted(chains, key=lambda chain: chain.macs)
    assert len(set(chains)) == len(chains)
    for chain in chains:
        network = Network.of(Tensor(start, 1), parse(" ".join(link.token for link in chain.links)))
        assert network.output.spatial == goal
        assert network.macs == chain.macs
        assert len(chain.links) <= layers
        assert views(network)[-1].fields[0].size == chain.field
        assert rf in (None, chain.field)


def test_the_cheapest_single_layers_are_found() -> None:
    found = {chain.macs for chain in solve((32,), (16,), max_layers=1)}
    cheapest = sorted(
        k * 16
        for k in range(1, 12)
        for s in range(1, k + 1)
        for d in (range(1, 5) if s == 1 and k > 1 else [1])
        for p in range((d * (k - 1) + 1) // 2 + 1)
        if s <= 8 and (32 + 2 * p - d * (k - 1) - 1) // s + 1 == 16 and k * s > 1
    )[:10]
    assert found == set(cheapest)


def every_layer(n: int, *, transposed: bool) -> list[tuple[int, int]]:
    """Yield the output and the cost of every layer of one filter on a signal of n samples."""
    found = []
    for k, s, d in itertools.product(range(1, 12), range(1, 9), range(1, 5)):
        if s > k or k * s == 1 or (d > 1 and (s > 1 or k == 1)):
            continue
        reach = d * (k - 1) + 1
        for p in range(reach // 2 + 1 if k > 1 else 1):
            for extra in range(s if transposed else 1):
                if transposed:
                    out = s * (n - 1) + extra + reach - 2 * p
                else:
                    out = (n + 2 * p - reach) // s + 1 if n + 2 * p >= reach else 0
                if out > 0:
                    found.append((out, k * (n if transposed else out)))
    return found


@pytest.mark.parametrize("sizes", [(1, 4), (1, 9), (4, 7), (20, 19), (11, 11), (7, 3), (5, 12)])
def test_solved_chains_are_the_cheapest_of_all(sizes: tuple[int, int]) -> None:
    start, goal = sizes
    transposed = goal > start
    first = every_layer(start, transposed=transposed)
    one = [cost for out, cost in first if out == goal]
    ends = {
        out: [c for o, c in every_layer(out, transposed=transposed) if o == goal]
        for out in {o for o, _ in first}
    }
    two = [cost + last for out, cost in first for last in ends[out]]
    assert [chain.macs for chain in solve((start,), (goal,), max_layers=1)] == sorted(one)[:10]
    assert [chain.macs for chain in solve((start,), (goal,))] == sorted(one + two)[:10]


def test_what_cannot_be_solved_is_told() -> None:
    with pytest.raises(InputError, match="receptive field of 2"):
        solve((224,), (7,), rf=2)
    with pytest.raises(InputError, match="the same number of axes"):
        solve((224,), (7, 7))


# Errors.


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ("relu konv:3", "'konv:3' at character 6: no layer 'konv'; did you mean 'conv'?"),
        (
            "relu\n  dense:3",
            "'dense:3' at line 2, character 3: no layer 'dense'; did you mean 'linear'?",
        ),
        ("conv:8", "k= is missing; write it as conv:FILTERS,k=K"),
        ("conv:k=3", "filters= is missing"),
        ("conv:8,k=3,q=1", "no argument 'q'; conv takes filters, k, s, p, d, g, bias"),
        ("conv:8,k=3,k=3", "k= is given twice"),
        ("conv:8,k=3,strid=3", "no argument 'strid'"),
        ("conv:8,k=0", "'conv:8,k=0' at character 1: k: a size or step 0; expected 1 or more"),
        ("conv:8,k=3,p=sam", "p: padding 'sam'; expected valid, same"),
        ("conv:8,k=3,p=sam", "did you mean 'same'?"),
        ("conv:8,k=3,p=-1", "padding -1"),
        ("conv:8,k=3,bias=maybe", "bias: 'maybe'; expected yes or no"),
        ("conv:8,k=", "the argument 'k=' is incomplete"),
        ("conv:8,,k=3", "the argument '' is incomplete"),
        ("conv:", "the argument '' is incomplete"),
        ("relu:3", "the argument '3' is one too many; expected none"),
        ("dropout:1", "rate: '1'; expected a share from 0 to below 1"),
        (
            "conv:8,k=3,s=2x2x2",
            "layer 1 'conv:8,k=3,s=2x2x2' at character 1 (input 9x9x3): stride has 3 entries",
        ),
        ("conv:8,k=3x3x3", "k=3x3x3 has 3 entries, the input 9x9x3 has 2 spatial axes"),
        ("3x3", "'3x3' at character 1: not a layer"),
        ("x3 relu", "'x3' at character 1: there is nothing before it to repeat"),
        ("relu x0", "'x0' at character 6: a count of 0"),
        ("[relu", "'[' at character 1: the group is never closed"),
        ("relu]", "']' at character 5: there is no '[' before it"),
        ("relu | relu", "'|' at character 6: there are no arms to separate here"),
        ("[relu | relu]", "'|' at character 7: a group has no arms; write it as concat[a | b]"),
        (
            "add[relu | relu]",
            "not a layer that merges branches; expected residual[body | shortcut] or concat[a | b]",
        ),
        ("concat[relu]", "a single arm"),
        ("residual", "residual without a body; expected layers in brackets"),
        ("[" * 60 + "]" * 60, "more than 50 groups within each other"),
        ("", "no layers"),
        # Shapes that do not fit.
        (
            "relu conv:8,k=11",
            "layer 2 'conv:8,k=11' at character 6 (input 9x9x3): kernel 11x11 exceeds the padded",
        ),
        ("relu conv:8,k=11", "use p=same, or a smaller kernel"),
        (
            "linear:10",
            "layer 1 'linear:10' at character 1 (input 9x9x3): "
            "a fully connected layer takes a flat input",
        ),
        ("linear:10", "put flatten or gap before it"),
        ("gap conv:8,k=3", "layer 2 'conv:8,k=3' at character 5 (input 3): the input 3 is flat"),
        ("conv:8,k=3,g=2", "2 groups do not divide the 3 channels of the input; use g=1"),
        ("residual[conv:8,k=3,p=1]", "(input 9x9x8 and 9x9x3): a sum of different shapes"),
        ("residual[conv:8,k=3,p=1]", "give the shortcut a conv:8,k=1: residual[body | conv:8,k=1]"),
        (
            "concat[conv:8,k=3 | conv:8,k=1]",
            "layer 3 'concat' at character 1 (input 7x7x8 and 9x9x8): a concatenation",
        ),
        ("deconv:8,k=3,out_padding=1", "output_padding 1; expected less than the stride 1"),
        ("concat[relu | conv:8,k=11]", "in concat 2: layer 2 'conv:8,k=11'"),
    ],
)
def test_mistakes_are_told_with_their_place(layers: str, says: str) -> None:
    assert says in refusal("9x9x3", layers)


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(LimitError, match="more than 100,000 layers"):
        net("9x9x3", "[relu x1000]x1000")


def test_inputs_with_axes_to_spare_are_refused() -> None:
    with pytest.raises(ShapeError, match="give the batch by --batch"):
        read_input((8, 224, 224, 3), 2)
    with pytest.raises(ShapeError, match="use --dims 2"):
        read_input((8, 8), 3)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*KINDS, "[", "]", "|", "x2", "residual[", "concat[", ":", "3", ",k=3", " ", "="]
        )
    )
)
def test_any_text_is_read_or_refused(pieces: list[str]) -> None:
    with contextlib.suppress(InputError, LimitError):
        summarise(net("9x9x3", "".join(pieces)))


# Files.


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({}, "no layers"),
        ({"layers": "relu"}, "no input"),
        ({"input": "8x8x3", "layers": 3}, "layers is 3"),
        ({"input": "8x8x3", "layers": ["relu", 3]}, "layers has an entry that is not text"),
        ({"input": "8x8x3", "layer": "relu"}, "unknown field 'layer'; did you mean 'layers'?"),
        (
            {"input": "8x8x3", "layers": "relu", "blocks": {"conv": {"layers": "relu"}}},
            "the name of a layer",
        ),
        ({"input": "8x8x3", "layers": "relu", "blocks": {"b": "relu"}}, "blocks.b is not a table"),
        ({"input": "8x8x3", "layers": "relu", "blocks": {"b": {}}}, "blocks.b has no layers"),
        (
            {"input": "8x8x3", "layers": "b", "blocks": {"b": {"layers": "b"}}},
            "check that none contains itself",
        ),
        (
            {
                "input": "8x8x3",
                "layers": "b",
                "blocks": {"b": {"parameters": "c", "layers": "relu"}},
            },
            "c= is missing",
        ),
        (
            {"input": "8x8x3", "layers": "b:q=1", "blocks": {"b": {"layers": "relu"}}},
            "no argument 'q'",
        ),
        (
            {"input": "8x8x3", "layers": "bb", "blocks": {"b": {"layers": "relu"}}},
            "did you mean 'b'?",
        ),
        (
            {"input": "8x8x3", "layers": "b", "blocks": {"b": {"layers": "konv"}}},
            "in b: 'konv' at character 1",
        ),
        ({"input": "8x8x3", "layers": "relu", "layout": "nchw"}, "layout 'nchw'"),
        ({"input": "8x8x3", "layers": "relu", "dims": 0}, "dims 0"),
    ],
)
def test_mistakes_in_files(record: dict[str, object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        build(record)
    assert says in str(caught.value)


def test_a_missing_file_gets_the_nearest_path(tmp_path: Path) -> None:
    (tmp_path / "resnet18.toml").touch()
    with pytest.raises(FileError) as caught:
        load(str(tmp_path / "resnet8.toml"))
    assert str(caught.value).endswith(f"; did you mean '{tmp_path / 'resnet18.toml'}'?")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        load(str(tmp_path / "none.toml"))
    bad = tmp_path / "bad.toml"
    bad.write_text("layers = ")
    with pytest.raises(FileError, match="is not TOML"):
        load(str(bad))
    bad.write_text('input = "8x8"\nlayers = "konv"')
    with pytest.raises(InputError, match=r"bad\.toml: 'konv' at character 1"):
        load(str(bad))


def test_parameters_of_blocks_fill_in_by_place_by_name_and_by_default() -> None:
    blocks = {"b": {"parameters": "c,k=3,s=1", "layers": ["conv:{c},k={k},s={s}", "relu"]}}
    network = build({"input": "32x32x3", "layers": "b:8 b:8,5 b:s=2,c=4", "blocks": blocks})
    assert [str(node.output) for node in network.nodes[::2]] == ["30x30x8", "26x26x8", "12x12x4"]
    assert [node.path for node in network.nodes[::2]] == ["b:8", "b:8,5", "b:s=2,c=4"]


@pytest.mark.parametrize(
    "layer", ["conv:4,k==3", "maxpool:2,s==k", "conv:4,k=3,s==", "conv:4,k=3,g==filters"]
)
def test_only_a_default_may_name_another_argument(layer: str) -> None:
    with pytest.raises(InputError, match=r"'=.*'"):
        Network.of(Tensor((9, 9), 4), parse(layer))
