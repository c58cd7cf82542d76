"""ONNX models: every convolution of the onnx package's own backend tests against its shape inference."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from convcli.cli import main
from convcli.errors import FileError, InputError
from convcli.network.emit_onnx import serialise
from convcli.network.graph import Network
from convcli.network.layers import Tensor
from convcli.network.load import load as network_of
from convcli.network.parser import parse
from convcli.network.read_onnx import READERS, load, of_model

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, shape_inference  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

NETWORKS = Path(__file__).parents[2] / "samples" / "networks"
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
KINDS = {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "Gemm"}


def kinds(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


@pytest.fixture(scope="module")
def models() -> dict[str, onnx.ModelProto]:
    """Every model of the backend tests that has a convolution, a pool or a Gemm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases divide by zero on purpose as they are made
        from onnx.backend.test.case.node import collect_testcases

        found = {case.name: case.model for case in collect_testcases(None) if case.model is not None}
    for path in DATA.rglob("model.onnx"):
        found[str(path.relative_to(DATA))] = onnx.load(path)
    return {name: model for name, model in found.items() if kinds(model) & KINDS}


def inferred(model: onnx.ModelProto) -> dict[str, list[int]]:
    whole = shape_inference.infer_shapes(model, data_prop=True)
    values = (*whole.graph.value_info, *whole.graph.output)
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}


@pytest.mark.slow
def test_sizes_are_those_of_shape_inference(models: dict[str, onnx.ModelProto]) -> None:
    compared = 0
    for name, model in models.items():
        shapes = inferred(model)
        network = of_model(model)
        output = model.graph.output[0]
        assert list(network.output.shape("channels_first")) == shapes[output.name][1:], name
        protos = [node for node in model.graph.node if node.op_type in READERS]
        ours = [node for node in network.nodes if node.text in READERS]
        if len(protos) != len(ours):
            continue  # some of it leads to another output
        for proto, node in zip(protos, ours, strict=True):
            if shape := shapes.get(proto.output[0]):
                assert list(node.output.shape("channels_first")) == shape[1:], (name, proto.name)
                compared += 1
    assert compared >= 100
    assert sum("Conv" in kinds(model) for model in models.values()) >= 30


def small(*, unknown: bool = False) -> onnx.ModelProto:
    """A convolution, a residual sum, a pooling and a fully connected layer; perhaps with a node that is not known."""
    weights = [
        helper.make_tensor("w", TensorProto.FLOAT, [3, 3, 3, 3], [0.0] * 81),
        helper.make_tensor("b", TensorProto.FLOAT, [3], [0.0] * 3),
        helper.make_tensor("m", TensorProto.FLOAT, [10, 3], [0.0] * 30),
        helper.make_tensor("c", TensorProto.FLOAT, [10], [0.0] * 10),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("LpNormalization" if unknown else "Relu", ["y"], ["r"]),
        helper.make_node("Add", ["r", "x"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "m", "c"], ["z"], transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 10])
    return helper.make_model(helper.make_graph(nodes, "small", [x], [z], weights))


def test_parameters_macs_and_fields() -> None:
    network = of_model(small())
    assert [node.text for node in network.nodes] == ["Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"]
    assert [node.parameters for node in network.nodes] == [84, 0, 0, 0, 0, 40]
    assert network.macs == 81 * 64 + 30
    assert network.nodes[2].inputs == (1, -1)
    assert network.opaque == ()


def model_of(nodes: list[onnx.NodeProto], x: list[int], **weights: list[int]) -> Network:
    """Read a model whose initialisers are zeros of the shapes that are given."""
    zeros = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, np.zeros(shape, np.float32))
        for name, shape in weights.items()
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, x)
    result = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    return of_model(helper.make_model(helper.make_graph(nodes, "made", [given], [result], zeros)))


def test_parameters_are_counted_in_whatever_node_reads_them() -> None:
    node = helper.make_node
    dense = [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])]
    assert [each.parameters for each in model_of(dense, [1, 8], w=[8, 4], b=[4]).nodes] == [32, 4]
    conv = [node("Conv", ["x", "w"], ["h"]), node("Add", ["b", "h"], ["y"])]
    assert model_of(conv, [1, 3, 8, 8], w=[4, 3, 3, 3], b=[1, 4, 1, 1]).parameters == 112
    assert model_of([node("PRelu", ["x", "slope"], ["y"])], [1, 8, 4, 4], slope=[8, 1, 1]).parameters == 8
    block = [node("Add", ["x", "position"], ["h"]), node("Mul", ["h", "scale"], ["y"])]
    assert model_of(block, [1, 5, 8], position=[1, 5, 8], scale=[8]).parameters == 48
    assert model_of([node("MatMul", ["w", "x"], ["y"])], [1, 8, 4], w=[5, 8]).parameters == 40
    transposed = [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["y"])]
    assert model_of(transposed, [1, 8], w=[4, 8]).parameters == 32
    norm = node("LayerNormalization", ["x", "scale", "offset"], ["y"])
    assert model_of([norm], [1, 5, 8], scale=[8], offset=[8]).parameters == 16
    clip = node("Clip", ["x", "least", "most"], ["y"])
    assert model_of([clip], [1, 8], least=[], most=[]).parameters == 0


def test_products_of_two_activations_have_no_parameters() -> None:
    node = helper.make_node
    own = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["y"])]
    network = model_of(own, [1, 5, 8])
    assert (network.parameters, network.macs) == (0, 5 * 5 * 8)
    attention = [
        *(node("MatMul", ["x", f"w{part}"], [part]) for part in "qkv"),
        node("Transpose", ["k"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["q", "t"], ["s"]),
        node("Softmax", ["s"], ["p"]),
        node("MatMul", ["p", "v"], ["y"]),
    ]
    assert model_of(attention, [1, 5, 8], wq=[8, 8], wk=[8, 8], wv=[8, 8]).parameters == 192


def test_shared_weights_are_counted_once() -> None:
    node = helper.make_node
    twice = [node("Conv", ["x", "w"], ["h"], pads=[1] * 4), node("Conv", ["h", "w"], ["y"], pads=[1] * 4)]
    network = model_of(twice, [1, 3, 8, 8], w=[3, 3, 3, 3])
    assert (network.parameters, network.macs) == (81, 2 * 81 * 64)
    tied = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("MatMul", ["h", "t"], ["y"]),
    ]
    assert model_of(tied, [1, 8], w=[8, 4]).parameters == 32
    dense = [node("Gemm", ["x", "w", "b"], ["h"]), node("Gemm", ["h", "w", "b"], ["y"])]
    assert model_of(dense, [1, 4], w=[4, 4], b=[4]).parameters == 20


def test_kinds_that_keep_their_shape_pass_it_on() -> None:
    node = helper.make_node
    nodes = [
        node("GroupNormalization", ["x", "scale", "offset"], ["n"], num_groups=2),
        node("Relu", ["n"], ["r"]),
        node("Conv", ["r", "w"], ["y"]),
    ]
    network = model_of(nodes, [1, 4, 8, 8], scale=[4], offset=[4], w=[4, 4, 3, 3])
    assert (str(network.output), network.parameters, network.opaque) == ("6x6x4", 8 + 144, ("GroupNormalization",))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(small(unknown=True), "small.onnx")
    told = CliRunner().invoke(main, ["shape", "small.onnx"]).stdout
    assert told.startswith("small: 3x8x8 -> 10, 6 layers")
    assert "LpNormalization: passed through by the shapes that are declared" in told
    record = json.loads(CliRunner().invoke(main, ["shape", "small.onnx", "--json"]).stdout)
    assert record["unknown"] == ["LpNormalization"]
    for words in (["9x9x3", "small.onnx"], ["small.onnx", "--dims", "2"], ["small.onnx", "--at", "0,0"]):
        refused = CliRunner().invoke(main, ["shape", *words])
        assert refused.exit_code == 2
        assert refused.stderr.startswith("Error: ")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no file"):
        load(str(tmp_path / "none.onnx"))
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(FileError, match="no ONNX model that holds together"):
        load(str(bad))
    open_sizes = small()
    open_sizes.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(InputError, match="has no declared shape"):
        of_model(open_sizes)


# Writing.


@pytest.mark.parametrize("path", sorted(NETWORKS.glob("*.toml")), ids=lambda path: path.stem)
def test_emitted_samples_read_back_the_same(path: Path) -> None:
    network = network_of(str(path))
    again = of_model(onnx.load_from_string(serialise(network)))
    assert again.output == network.output
    assert (again.parameters, again.macs) == (network.parameters, network.macs)


@pytest.mark.parametrize(
    "words",
    [
        "conv:4,k=3,p=same,s=2 depthwise:2,k=3,p=1:2 deconv:4,k=3,s=2,p=1,out_padding=1 pad:1:2x0",
        "maxpool:2,ceil=yes avgpool:2,p=0:1 batchnorm upsample:2 upsample:2,mode=linear gap:keep=yes",
        "relu relu6 leakyrelu elu gelu silu hardswish sigmoid tanh softmax dropout:0.1",
        "residual[conv:3,k=3,p=1] concat[ | relu] flatten linear:4 linear:3,bias=no",
        "gap linear:10",
    ],
)
def test_emitted_models_run(words: str) -> None:
    network = Network.of(Tensor((9, 9), 3), parse(words))
    model = onnx.load_from_string(serialise(network))
    (y,) = ReferenceEvaluator(model).run(None, {"x": np.ones((2, 3, 9, 9), np.float32)})
    assert y.shape == (2, *network.output.shape("channels_first"))


def means(x: np.ndarray, k: int, s: int, lo: int, hi: int, out: int) -> np.ndarray:
    """Average along the last axis by the definition: over the window's samples, padding counted, as far as it goes."""
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(lo, hi)])
    return np.stack([padded[..., i * s : i * s + k].mean(-1) for i in range(out)], -1)


@pytest.mark.parametrize(
    ("n", "words", "lo", "hi"),
    [
        (4, "3,s=1,p=1", 1, 1),
        (6, "3,s=2,p=1,ceil=yes", 1, 1),
        (5, "2,s=2,ceil=yes", 0, 0),
        (2, "3,s=2,ceil=yes", 0, 0),
        (7, "4,s=3,p=2:1,ceil=yes", 2, 1),
        (6, "3,s=2,p=same", 0, 1),
    ],
)
def test_emitted_averages_count_padding_but_not_what_rounding_up_adds(n: int, words: str, lo: int, hi: int) -> None:
    network = Network.of(Tensor((n, n), 2), parse(f"avgpool:{words}"))
    (axis, _) = network.nodes[0].axes
    x = np.random.default_rng(0).random((1, 2, n, n), np.float32)
    rows = means(x, axis.k, axis.stride, lo, hi, axis.out)
    right = means(rows.swapaxes(2, 3), axis.k, axis.stride, lo, hi, axis.out).swapaxes(2, 3)
    (y,) = ReferenceEvaluator(onnx.load_from_string(serialise(network))).run(None, {"x": x})
    np.testing.assert_allclose(y, right, rtol=1e-5)


def test_what_onnx_has_no_node_for_is_told() -> None:
    with pytest.raises(InputError, match="layer 2 'unfold:k=3' has no counterpart in ONNX"):
        serialise(Network.of(Tensor((9, 9), 3), parse("relu unfold:k=3")))


def test_the_command_writes_a_model() -> None:
    words = ["shape", "8x8x3", "conv:4,k=3", "gap", "--emit", "onnx"]
    assert str(of_model(onnx.load_from_string(CliRunner().invoke(main, words).stdout_bytes)).output) == "4"
