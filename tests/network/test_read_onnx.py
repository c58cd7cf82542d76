"""Test ONNX models: the onnx package's backend tests against its shape inference."""

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
from convcli.network.onnx_readers import READERS
from convcli.network.parser import parse
from convcli.network.read_onnx import load, of_model
from convcli.network.receptive_field import views

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, shape_inference  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

NETWORKS = Path(__file__).parents[2] / "samples" / "networks"
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
KINDS = {
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "LpPool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Gemm",
}


def kinds(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


@pytest.fixture(scope="module")
def models() -> dict[str, onnx.ModelProto]:
    """Return every model of the backend tests that has a convolution, a pool or a Gemm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases divide by zero on purpose
        from onnx.backend.test.case.node import collect_testcases

        found = {
            case.name: case.model for case in collect_testcases(None) if case.model is not None
        }
    for path in DATA.rglob("model.onnx"):
        found[str(path.relative_to(DATA))] = onnx.load(path)
    return {name: model for name, model in found.items() if kinds(model) & KINDS}


def inferred(model: onnx.ModelProto) -> dict[str, list[int]]:
    whole = shape_inference.infer_shapes(model, data_prop=True)
    values = (*whole.graph.value_info, *whole.graph.output)
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }


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
    """Return a model of a convolution, a residual sum, a pool, a Gemm, and perhaps more."""
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
    assert [node.text for node in network.nodes] == [
        "Conv",
        "Relu",
        "Add",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ]
    assert [node.parameters for node in network.nodes] == [84, 0, 0, 0, 0, 40]
    assert network.macs == 81 * 64 + 30
    assert network.nodes[2].inputs == (1, -1)
    assert network.opaque == ()


def model_of(nodes: list[onnx.NodeProto], x: list[int], **weights: list[int]) -> Network:
    """Read a model whose initialisers are zeros of the given shapes."""
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
    assert (
        model_of([node("PRelu", ["x", "slope"], ["y"])], [1, 8, 4, 4], slope=[8, 1, 1]).parameters
        == 8
    )
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
    twice = [
        node("Conv", ["x", "w"], ["h"], pads=[1] * 4),
        node("Conv", ["h", "w"], ["y"], pads=[1] * 4),
    ]
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
    assert (str(network.output), network.parameters, network.opaque) == (
        "6x6x4",
        8 + 144,
        ("GroupNormalization",),
    )


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(small(unknown=True), "small.onnx")
    told = CliRunner().invoke(main, ["shape", "small.onnx"]).stdout
    assert told.startswith("small: 3x8x8 -> 10, 6 layers")
    assert "LpNormalization: the output shapes are those that the file declares" in told
    record = json.loads(CliRunner().invoke(main, ["shape", "small.onnx", "--json"]).stdout)
    assert record["unknown"] == ["LpNormalization"]
    for words in (
        ["9x9x3", "small.onnx"],
        ["small.onnx", "--dims", "2"],
        ["small.onnx", "--at", "0,0"],
    ):
        refused = CliRunner().invoke(main, ["shape", *words])
        assert refused.exit_code == 2
        assert refused.stderr.startswith("Error: ")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no file"):
        load(str(tmp_path / "none.onnx"))
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(FileError, match="not a valid ONNX model"):
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
        "maxpool:2,ceil=yes avgpool:2,p=0:1 batchnorm upsample:2 "
        "upsample:2,mode=linear gap:keep=yes",
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
    """Average along the last axis by the definition: over a window's samples, padding included."""
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
def test_emitted_averages_count_padding_but_not_what_rounding_up_adds(
    n: int, words: str, lo: int, hi: int
) -> None:
    network = Network.of(Tensor((n, n), 2), parse(f"avgpool:{words}"))
    (axis, _) = network.nodes[0].axes
    x = np.random.default_rng(0).random((1, 2, n, n), np.float32)
    rows = means(x, axis.k, axis.stride, lo, hi, axis.out)
    right = means(rows.swapaxes(2, 3), axis.k, axis.stride, lo, hi, axis.out).swapaxes(2, 3)
    (y,) = ReferenceEvaluator(onnx.load_from_string(serialise(network))).run(None, {"x": x})
    np.testing.assert_allclose(y, right, rtol=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        "deconv:2,k=2,s=1,d=3,out_padding=2",
        "deconv:2,k=2,s=2,d=3,out_padding=2,p=1",
        "deconv:2,k=1,d=2,out_padding=1,p=0:1",
    ],
)
def test_emitted_transposed_layers_have_no_output_padding_as_large_as_the_stride(
    words: str,
) -> None:
    network = Network.of(Tensor((5,), 3), parse(words))
    model = onnx.load_from_string(serialise(network))
    written = model.graph.node[-1]
    settings = {item.name: helper.get_attribute_value(item) for item in written.attribute}
    assert settings["output_padding"][0] < settings["strides"][0]
    assert of_model(model).output == network.output
    (y,) = ReferenceEvaluator(model).run(None, {"x": np.ones((1, 3, 5), np.float32)})
    assert y.shape == (1, *network.output.shape("channels_first"))


@pytest.mark.parametrize(("words", "parameters"), [("batchnorm:affine=no", 0), ("batchnorm", 6)])
def test_emitted_batch_norms_are_those_of_a_new_layer(words: str, parameters: int) -> None:
    model = onnx.load_from_string(serialise(Network.of(Tensor((4, 4), 3), parse(words))))
    assert of_model(model).parameters == parameters
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    (y,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(y, 0 if parameters else x / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_what_onnx_has_no_node_for_is_told() -> None:
    with pytest.raises(InputError, match="layer 2 'unfold:k=3' has no counterpart in ONNX"):
        serialise(Network.of(Tensor((9, 9), 3), parse("relu unfold:k=3")))


def test_the_command_writes_a_model() -> None:
    words = ["shape", "8x8x3", "conv:4,k=3", "gap", "--emit", "onnx"]
    assert (
        str(of_model(onnx.load_from_string(CliRunner().invoke(main, words).stdout_bytes)).output)
        == "4"
    )


# What a file does not define is marked as unknown.


def report_of(model: onnx.ModelProto, tmp_path: Path, *options: str) -> str:
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    result = CliRunner().invoke(main, ["shape", str(path), *options])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def graph_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: list[str],
    *weights: onnx.TensorProto,
) -> onnx.ModelProto:
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    return helper.make_model(helper.make_graph(nodes, "made", given, results, list(weights)))


def zeros(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> onnx.TensorProto:
    return helper.make_tensor(name, kind, shape, np.zeros(shape))


def numbers(name: str, values: list[int]) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def known(network: Network) -> list[bool]:
    return [view.known for view in views(network)]


node = helper.make_node
CONV = node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1])
LATER = node("Conv", ["n", "w"], ["y"], pads=[1, 1, 1, 1])


@pytest.mark.parametrize(
    ("middle", "is_known"),
    [
        (node("Relu", ["h"], ["n"]), True),
        (node("Softmax", ["h"], ["n"], axis=1), True),
        (node("Softmax", ["h"], ["n"], axis=3), False),
        (node("LRN", ["h"], ["n"], size=3), True),
        (node("Concat", ["h", "h"], ["m"], axis=3), False),
        (node("Transpose", ["h"], ["n"], perm=[0, 1, 3, 2]), False),
        (node("Transpose", ["h"], ["n"], perm=[0, 1, 2, 3]), True),
        (node("InstanceNormalization", ["h", "c", "c"], ["n"]), False),
        (node("LayerNormalization", ["h", "d"], ["n"]), False),
        (node("MatMul", ["h", "h"], ["n"]), False),
        (node("Slice", ["h", "starts", "ends"], ["n"]), False),
        (node("Einsum", ["h", "h"], ["n"], equation="nchw,nchv->nchw"), False),
        (node("Resize", ["h", "", "scales"], ["n"]), True),
        (node("Resize", ["h", "", "scales"], ["n"], mode="cubic"), False),
        (
            node(
                "Resize", ["h", "", "scales"], ["n"], coordinate_transformation_mode="align_corners"
            ),
            False,
        ),
        (node("Pad", ["h", "pads"], ["n"]), True),
        (node("Pad", ["h", "pads"], ["n"], mode="reflect"), False),
        (node("Mul", ["h", "row"], ["n"]), True),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else str(value),
)
def test_fields_are_known_or_marked_from_there_on(
    middle: onnx.NodeProto, is_known: bool, tmp_path: Path
) -> None:
    nodes = [CONV, middle, LATER]
    if middle.op_type == "Concat":
        nodes.insert(2, node("Relu", ["m"], ["n"]))
    model = graph_of(
        nodes,
        {"x": [1, 3, 8, 8]},
        ["y"],
        *(zeros("w", 3, 3, 3, 3), zeros("c", 3), zeros("d", 8), zeros("row", 1, 8)),
        *(
            numbers("starts", [0, 0, 1, 0]),
            numbers("ends", [1, 3, 8, 8]),
            numbers("pads", [0, 0, 2, 1, 0, 0, 0, 1]),
        ),
        helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 2, 2]),
    )
    network = of_model(model)
    assert known(network)[0]
    assert known(network)[1:] == [is_known] * (len(nodes) - 1)
    record = json.loads(report_of(model, tmp_path, "--json"))
    for key in ("receptive_field", "jump", "effective_padding", "centre"):
        assert (record["layers"][-1][key] is not None) == is_known
    for style in ([], ["--csv"], ["--markdown"]):
        assert ("?" in report_of(model, tmp_path, *style)) == (not is_known)
    if not is_known:
        assert f"what outputs see of the input, first in layer 2 ({middle.op_type})" in report_of(
            model, tmp_path
        )


def test_enlargements_and_padding_have_the_fields_of_our_own() -> None:
    nodes = [
        node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["a", "", "scales"], ["b"]),
        node("Pad", ["b", "pads"], ["c"]),
        node("Conv", ["c", "w"], ["y"]),
    ]
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 2, 2])
    pads = numbers("pads", [0, 0, 1, 1, 0, 0, 1, 1])
    network = of_model(
        graph_of(nodes, {"x": [1, 3, 8, 8]}, ["y"], scales, pads, zeros("w", 4, 3, 3, 3))
    )
    ours = Network.of(Tensor((8, 8), 3), parse("maxpool:2 upsample:2 pad:1 conv:4,k=3,bias=no"))
    assert [view.fields for view in views(network)] == [view.fields for view in views(ours)]
    assert network.opaque == ()


def test_what_an_activation_of_one_position_is_multiplied_with_is_marked() -> None:
    nodes = [
        CONV,
        node("GlobalAveragePool", ["h"], ["g"]),
        node("Sigmoid", ["g"], ["s"]),
        node("Mul", ["h", "s"], ["y"]),
    ]
    assert known(of_model(graph_of(nodes, {"x": [1, 3, 8, 8]}, ["y"], zeros("w", 3, 3, 3, 3)))) == [
        True
    ] * 3 + [False]


def test_reductions_of_all_positions_see_all_of_the_input() -> None:
    for extra, values in ((["axes"], [2, 3]), (["axes"], [1, -2, -1])):
        reduced = node("ReduceMean", ["h", *extra], ["y"])
        network = of_model(
            graph_of(
                [CONV, reduced],
                {"x": [1, 3, 8, 8]},
                ["y"],
                zeros("w", 3, 3, 3, 3),
                numbers("axes", values),
            )
        )
        view = views(network)[-1]
        assert view.known
        assert [field.size for field in view.fields] == [10, 10]


def test_work_that_is_not_known_is_marked(tmp_path: Path) -> None:
    nodes = [
        node("LSTM", ["x", "w", "r"], ["h"], hidden_size=4),
        node("Squeeze", ["h", "one"], ["s"]),
        node("MatMul", ["s", "m"], ["y"]),
    ]
    model = graph_of(
        nodes,
        {"x": [1, 7, 3]},
        ["y"],
        *(zeros("w", 1, 16, 3), zeros("r", 1, 16, 4), numbers("one", [1]), zeros("m", 4, 2)),
    )
    told = report_of(model, tmp_path)
    assert "the work of LSTM" in told
    assert "at least" in told
    record = json.loads(report_of(model, tmp_path, "--json"))
    assert [layer["parameters"] for layer in record["layers"]] == [112, 0, 8]
    assert record["layers"][0]["work"] is None
    assert record["layers"][2]["work"] is not None
    assert {layer["share"] for layer in record["layers"]} == {None}
    assert not record["totals"]["complete"]
    assert "work unknown" in report_of(model, tmp_path, "--csv").splitlines()[1]


def test_quantised_layers_are_counted() -> None:
    byte = TensorProto.INT8
    scale = [zeros(name) for name in ("s1", "s2", "s3")]
    zero = [zeros(name, kind=TensorProto.UINT8) for name in ("z1", "z3")]
    whole = [
        zeros("w", 4, 3, 3, 3, kind=byte),
        zeros("z2", kind=byte),
        zeros("b", 4, kind=TensorProto.INT32),
    ]
    names = ["q", "s1", "z1", "w", "s2", "z2", "s3", "z3", "b"]
    nodes = [node("QuantizeLinear", ["x", "s1", "z1"], ["q"]), node("QLinearConv", names, ["y"])]
    network = of_model(graph_of(nodes, {"x": [1, 3, 8, 8]}, ["y"], *scale, *zero, *whole))
    assert ([each.parameters for each in network.nodes], network.macs) == ([0, 112], 108 * 36)
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("ConvInteger", ["q", "w", "z"], ["y"]),
    ]
    network = of_model(graph_of(nodes, {"x": [1, 3, 8, 8]}, ["y"], *whole))
    assert ([each.parameters for each in network.nodes], network.macs) == ([0, 108], 108 * 36)
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "m", "z"], ["i"]),
        node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    network = of_model(graph_of(nodes, {"x": [1, 8]}, ["y"], zeros("m", 8, 5, kind=byte)))
    assert ([each.parameters for each in network.nodes], network.macs) == ([0, 40, 0], 40)
    nodes = [node("DequantizeLinear", ["w", "s1"], ["f"]), node("Conv", ["x", "f"], ["y"])]
    network = of_model(graph_of(nodes, {"x": [1, 3, 8, 8]}, ["y"], *whole, *scale))
    assert (network.parameters, network.macs) == (108, 108 * 36)
    einsum = node("Einsum", ["x", "m"], ["y"], equation="bld,de->ble")
    network = of_model(graph_of([einsum], {"x": [1, 5, 8]}, ["y"], zeros("m", 8, 4)))
    assert (network.parameters, network.macs, network.nodes[0].step.unknown) == (
        32,
        5 * 8 * 4,
        {"field"},
    )


def test_every_input_and_output_is_followed(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1]),
        node("Conv", ["z", "v"], ["g"]),
        node("Add", ["h", "g"], ["s"]),
        node("Conv", ["s", "w2"], ["y"]),
        node("Conv", ["h", "w3"], ["y2"]),
    ]
    model = graph_of(
        nodes,
        {"x": [1, 3, 8, 8], "z": [1, 2, 8, 8]},
        ["y", "y2"],
        *(
            zeros("w", 3, 3, 3, 3),
            zeros("v", 3, 2, 1, 1),
            zeros("w2", 5, 3, 3, 3),
            zeros("w3", 4, 3, 1, 1),
        ),
    )
    network = of_model(model)
    assert network.parameters == 81 + 6 + 135 + 12
    assert network.macs == 81 * 64 + 6 * 64 + 135 * 36 + 12 * 64
    assert known(network) == [True, False, True, True, True]
    assert [view.fields[0].size for view in views(network)] == [3, 1, 3, 5, 3]
    told = report_of(model, tmp_path)
    assert told.startswith("model: 3x8x8, 2x8x8 -> 5x6x6, 4x8x8, 5 layers")
    assert "in the first input, 3x8x8" in told
    record = json.loads(report_of(model, tmp_path, "--json"))
    assert (record["output"], record["other_inputs"], record["other_outputs"]) == (
        [5, 6, 6],
        [[2, 8, 8]],
        [[4, 8, 8]],
    )


def test_misaligned_fields_are_marked_in_every_form(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node(
            "MaxPool",
            ["x"],
            ["b"],
            kernel_shape=[2, 2],
            strides=[1, 1],
            dilations=[2, 2],
            pads=[0, 0, 0, 0],
        ),
        node("Add", ["a", "b"], ["y"]),
    ]
    model = graph_of(nodes, {"x": [1, 3, 8, 8]}, ["y"], zeros("w", 3, 3, 3, 3))
    assert "misaligned" not in report_of(model, tmp_path)
    nodes[1] = node("MaxPool", ["x"], ["b"], kernel_shape=[3, 3], pads=[1, 1, 0, 0], strides=[1, 1])
    nodes.insert(2, node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2]))
    nodes[3] = node("Add", ["a", "c"], ["y"])
    crooked = graph_of(nodes, {"x": [1, 3, 8, 8]}, ["y"], zeros("w", 3, 3, 3, 3))
    assert "4~" in report_of(crooked, tmp_path)
    assert "~ misaligned" in report_of(crooked, tmp_path)
    assert "4~" in report_of(crooked, tmp_path, "--markdown")
    assert report_of(crooked, tmp_path, "--csv").splitlines()[-1].endswith("misaligned")
    assert not json.loads(report_of(crooked, tmp_path, "--json"))["layers"][-1]["aligned"]
