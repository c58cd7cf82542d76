"""The command line: properties of every command, then each command's own behaviour."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from convcli import convolve, correlate, gradients, kernel, limits
from convcli.cli import COMMANDS, main
from convcli.engine import threads

SAMPLES = Path(__file__).parents[2] / "samples"
GUIDE = SAMPLES.parent / "convcli" / "guide"
PHOTO = str(SAMPLES / "photo.png")
NETWORK = str(SAMPLES / "networks" / "vgg16.toml")


@pytest.fixture(autouse=True)
def _wide(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def run(*words: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def ok(*words: object, stdin: bytes | None = None) -> Result:
    result = run(*words, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result


def refused(*words: object, code: int = 2, stdin: bytes | None = None) -> str:
    """The one line on stderr with which a command refuses; nothing may stand on stdout."""
    result = run(*words, stdin=stdin)
    assert result.exit_code == code, (result.exit_code, result.stderr)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    if "--json" in words:
        return str(json.loads(result.stderr)["error"])
    assert result.stderr.startswith("Error: ")
    return result.stderr


def image(values: object, name: str = "in.png") -> str:
    Image.fromarray(np.asarray(values, np.uint8)).save(name)
    return name


def array(values: object, name: str = "in.npy") -> str:
    np.save(name, np.asarray(values))
    return name


def pixels(name: str) -> np.ndarray:
    with Image.open(name) as opened:
        return np.asarray(opened)


# One working call of every command; a row here is held to all the properties below.
CALLS = {
    "apply": ["apply", PHOTO, "-k", "box:size=3"],
    "batch": ["batch", PHOTO, "-k", "box:size=3", "--out", "out", "--overwrite"],
    "formats": ["formats"],
    "shape": ["shape", "28x28", "-k", "3x3"],
    "shape network": ["shape", "28x28x3", "conv:8,k=3", "relu"],
    "shape at": ["shape", "28x28x3", "conv:8,k=3", "--at", "0,0"],
    "shape input-for": ["shape", "--input-for", "27x27", "conv:8,k=3"],
    "shape solve": ["shape", "--solve", "28x28", "14x14"],
    "kernels list": ["kernels", "list"],
    "kernels show": ["kernels", "show", "sobel-x"],
    "kernels export": ["kernels", "export", "sobel-x", "-o", "-", "--format", "csv"],
    "explain": ["explain", "5x5", "-k", "1,2;3,4", "--at", "1,2"],
    "explain gradient": ["explain", "5x5", "-k", "1,2;3,4", "--gradient", "dw[0,1]"],
    "explain page": ["explain", "5x5", "-k", "1,2;3,4", "--html", "page.html", "-f"],
    "animate": ["animate", "5x5", "-k", "1,2;3,4", "-o", "conv.gif", "-f"],
    "grad": ["grad", "6x5x2", "-k", "random:3x2x2x2"],
    "gradcheck": ["gradcheck", "5x5", "-k", "random:3x3"],
    "laws": ["laws", "8x8", "-k", "sobel-x"],
    "bench": ["bench", "16x16", "-k", "sobel-x", "--runs", "1"],
    "lesson": ["lesson", "3"],
    "lesson list": ["lesson", "--list"],
    "guide": ["guide", "kernels"],
    "guide list": ["guide"],
    "completion": ["completion", "bash"],
    "help": ["help", "apply"],
}
ids = list(CALLS)


def test_every_command_has_a_row() -> None:
    assert {name.split()[0] for name in CALLS} == set(COMMANDS)


@pytest.mark.parametrize("bias", ["nan", "inf", "-inf"])
def test_a_bias_is_finite(bias: str) -> None:
    for command in (
        ["explain", "5x5", "-k", "2x2", "--bias"],
        ["apply", "x.csv", "-k", "1", "--bias"],
    ):
        assert f"{bias}; expected a finite number" in refused(*command, bias)


@pytest.mark.parametrize("call", CALLS.values(), ids=ids)
class TestEveryCommand:
    def test_works(self, call: list[str]) -> None:
        assert ok(*call).stdout

    @pytest.mark.parametrize("flag", ["-h", "--help"])
    def test_help_has_an_example(self, call: list[str], flag: str) -> None:
        words = call[:2] if call[0] == "kernels" else call[:1]
        helped = ok(*words, flag).stdout
        assert f"convcli {words[0]}" in helped.split("Examples:")[1]

    def test_an_unknown_option_is_refused(self, call: list[str]) -> None:
        assert "--nonsense" in refused(*call, "--nonsense")

    def test_an_error_under_json_is_one_object(self, call: list[str]) -> None:
        result = run(*call, "--nonsense", "--json")
        assert (result.exit_code, result.stdout) == (2, "")
        record = json.loads(result.stderr)
        assert list(record) == ["convcli", "schema", "command", *documented_fields()["error"]]
        assert (record["command"], record["code"]) == ("error", 2)
        assert "--nonsense" in record["error"]
        assert record["error"].endswith(record["hint"])

    def test_json_is_one_versioned_object(self, call: list[str]) -> None:
        """One a line: a batch prints them as they come."""
        if "export" in call:
            call = [*call[:-4], "-o", "out.csv"]
        lines = ok(*call, "--json").stdout.splitlines()
        assert len(lines) == 1 + (call[0] == "batch")
        for record in map(json.loads, lines):
            assert record["schema"] == 2
            assert record["convcli"]
            assert record["command"].split()[0] == call[0]

    def test_debug_is_taken(self, call: list[str]) -> None:
        ok(*call, "--debug")


def documented_fields() -> dict[str, list[str]]:
    """The guide's JSON table: each command's fields, without what stands in brackets behind one."""
    section = (GUIDE / "json.md").read_text().split("\n## JSON\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z -]+)` \| (.*) \|$", section, re.MULTILINE)
    return {
        command: re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", fields))
        for command, fields in rows
    }


@pytest.mark.parametrize("name", CALLS)
def test_every_field_of_json_is_documented(name: str) -> None:
    call = [*CALLS[name][:-4], "-o", "out.csv"] if "export" in name else CALLS[name]
    for record in map(json.loads, ok(*call, "--json").stdout.splitlines()):
        assert list(record) == [
            "convcli",
            "schema",
            "command",
            "warnings",
            *documented_fields()[record["command"]],
        ]


class TestTheGroup:
    def test_help_lists_every_command_with_the_line_of_its_own_help(self) -> None:
        told = ok("--help").stdout
        for name, line in COMMANDS.items():
            assert name in told
            assert line in told

    def test_a_mistyped_command_is_guessed(self) -> None:
        assert "did you mean 'apply'?" in refused("aply", PHOTO)

    def test_without_words_it_shows_its_help(self) -> None:
        assert "Commands:" in ok().output

    def test_version(self) -> None:
        assert ok("--version").stdout.startswith("convcli")

    def test_a_fault_of_its_own_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("convcli.jobs.apply.plan_apply", lambda job: 1 / 0)
        assert "fault of convcli's own" in refused("apply", PHOTO, "-k", "box", code=1)
        debugged = run("apply", PHOTO, "-k", "box", "--debug")
        assert debugged.exit_code == 1
        assert "Traceback" in debugged.stderr

    def test_memory_that_runs_out_is_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def exhausted(job: object) -> None:
            raise MemoryError

        monkeypatch.setattr("convcli.jobs.apply.plan_apply", exhausted)
        assert "memory" in refused("apply", PHOTO, "-k", "box", code=4)

    def test_an_interrupt_ends_with_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(job: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("convcli.jobs.apply.plan_apply", interrupted)
        refused("apply", PHOTO, "-k", "box", code=130)


class TestShape:
    def test_valid(self) -> None:
        lines = ok("shape", "28x28", "-k", "3x3").stdout.splitlines()
        assert lines[0] == "26x26"
        assert "28 - 3 + 1 = 26" in lines[1]

    def test_a_bank_with_stride_and_padding(self) -> None:
        told = ok("shape", "224x224x3", "-k", "64x7x7x3", "--stride", "2", "--padding", "3").stdout
        assert told.startswith("112x112x64\n")
        assert "floor((224 + 3 + 3 - 7) / 2) + 1 = 112" in told
        assert "9,408" in told
        assert "118,013,952" in told

    @pytest.mark.parametrize(
        ("words", "shape"),
        [
            (["28x28x3", "-k", "3x3x3"], "26x26x1"),
            (["28x28x3", "-k", "3x3"], "26x26x3"),
            (["28x28", "-k", "3x3", "--padding", "same"], "28x28"),
            (["28x28", "-k", "3x3", "--padding", "full"], "30x30"),
            (["28x28", "-k", "3x3", "--padding", "1:2,0:0"], "29x26"),
            (["28x28", "-k", "3x3", "--stride", "2x1", "--dilation", "2"], "12x24"),
            (["100", "-k", "5"], "96"),
            (["100x8", "-k", "16x5x8"], "96x16"),
            (["32x64x64", "-k", "3x3x3"], "30x62x62"),
            (["8x224x224x3", "-k", "64x7x7x3", "--stride", "2"], "8x109x109x64"),
            (["3x224x224", "-k", "64x3x7x7", "--layout", "channels_first"], "64x218x218"),
            (
                [
                    "14x14x256",
                    "-k",
                    "256x4x4x128",
                    "--transposed",
                    "--stride",
                    "2",
                    "--padding",
                    "1",
                ],
                "28x28x128",
            ),
            (["28x28x8", "-k", "16x3x3x4", "--groups", "2"], "26x26x16"),
            (["28x28x3", "-k", "3x3x3", "--channels", "each"], "26x26x3"),
            (["28x28x3", "-k", "3x3", "--channels", "sum"], "26x26x1"),
            (["100x100", "-k", "gaussian:sigma=2"], "84x84"),
        ],
    )
    def test_sizes(self, words: list[str], shape: str) -> None:
        assert ok("shape", *words, "-q").stdout == shape + "\n"

    def test_parameters_against_a_dense_layer(self) -> None:
        record = json.loads(ok("shape", "28x28", "-k", "3x3", "--bias", "--json").stdout)
        assert record["parameters"] == 10
        assert record["dense_parameters"] == 784 * 676 + 676

    def test_refusals(self) -> None:
        assert "kernel 7x7 exceeds the padded input 5x5; use --padding same" in refused(
            "shape", "5x5", "-k", "7x7"
        )
        assert "4 channels" in refused("shape", "28x28x3", "-k", "3x3x4")
        assert "stride 0" in refused("shape", "28x28", "-k", "3x3", "--stride", "0")
        assert "dilation -1" in refused("shape", "28x28", "-k", "3x3", "--dilation", "-1")
        assert "did you mean 'same'?" in refused("shape", "28x28", "-k", "3x3", "--padding", "sam")
        assert "not a shape" in refused("shape", "28by28", "-k", "3x3")
        assert "--transposed" in refused("shape", "28x28", "-k", "3x3", "--output-padding", "1")


class TestNetworks:
    CHAIN = ("224x224x3", "conv:64,k=7,s=2,p=3", "relu", "maxpool:3,s=2,p=1", "gap", "linear:1000")

    def test_a_chain_in_one_line(self) -> None:
        lines = ok("shape", *self.CHAIN).stdout.splitlines()
        assert lines[0] == "224x224x3 -> 1000, 5 layers"
        assert lines[1].split() == [
            "#",
            *[
                "layer",
                "output",
                "parameters",
                "macs",
                "share",
                "memory",
                "field",
                "jump",
                "pad",
                "centre",
                "dropped",
            ],
        ]
        assert lines[2].split()[:6] == [
            "1",
            "conv:64,k=7,s=2,p=3",
            "112x112x64",
            "9,472",
            "118",
            "M",
        ]
        exact = ok("shape", *self.CHAIN, "-v").stdout.splitlines()
        assert exact[2].split()[:5] == [
            "1",
            "conv:64,k=7,s=2,p=3",
            "112x112x64",
            "9,472",
            "118,013,952",
        ]
        assert ok("shape", *self.CHAIN, "-q").stdout == "1000\n"

    def test_a_file_and_another_input_for_it(self) -> None:
        path = SAMPLES / "networks" / "resnet18.toml"
        assert "11,689,512" in ok("shape", path).stdout
        assert ok("shape", "256x256x3", path).stdout.startswith("ResNet18: 256x256x3 -> 1000")

    def test_the_convention_is_printed_and_chosen(self) -> None:
        vgg = SAMPLES / "networks" / "vgg16.toml"
        assert (
            "15,470,264,320 for one item; 1 mac is one multiply-add of a weight"
            in ok("shape", vgg).stdout
        )
        assert (
            "30,940,528,640 for one item; 1 flop is" in ok("shape", vgg, "--count", "flops").stdout
        )
        told = ok("shape", vgg, "--with-bias", "--batch", "2").stdout
        assert "30,967,642,064 for a batch of 2" in told
        assert "additions of biases included" in told

    def test_formulas(self) -> None:
        told = ok("shape", "28x28x1", "conv:8,k=3", "flatten", "--formula").stdout
        assert "28 - 3 + 1 = 26" in told
        assert "26*26*8 = 5408" in told

    def test_versus(self) -> None:
        told = ok("shape", "227x227x3", "conv:96,k=11,s=4", "--versus", "dense").stdout
        assert "locally connected  105,705,600 parameters, 3,025 times as many" in told
        assert (
            "no layer has a counterpart"
            in ok("shape", "8x8x3", "relu", "--versus", "separable").stdout
        )
        record = json.loads(
            ok("shape", "8x8x3", "conv:4,k=3", "--versus", "separable", "--json").stdout
        )
        assert record["layers"][0]["versus"] == [
            {"name": "depthwise separable", "parameters": 46, "macs": 39 * 36}
        ]

    def test_json_csv_and_markdown_agree(self) -> None:
        record = json.loads(ok("shape", *self.CHAIN, "--json").stdout)
        rows = list(csv.DictReader(ok("shape", *self.CHAIN, "--csv").stdout.splitlines()))
        marks = ok("shape", *self.CHAIN, "--markdown").stdout.splitlines()
        assert (
            [row["layer"] for row in rows]
            == [row["layer"] for row in record["layers"]]
            == list(self.CHAIN[1:])
        )
        assert [int(row["macs"]) for row in rows] == [row["work"] for row in record["layers"]]
        assert (
            record["totals"]["parameters"] == sum(int(row["parameters"]) for row in rows) == 74_472
        )
        assert [line.split(" | ")[1] for line in marks if line.startswith("| ")][2:] == list(
            self.CHAIN[1:]
        )

    def test_layout_and_dtype(self) -> None:
        options = ["--layout", "channels_first", "--dtype", "float16", "--json"]
        record = json.loads(ok("shape", "3x28x28", "conv:8,k=3", *options).stdout)
        assert record["output"] == [8, 26, 26]
        assert record["totals"]["activation_bytes"] == 2 * 8 * 26 * 26

    def test_marks_are_explained(self) -> None:
        assert (
            "rounding down drops samples of the input"
            in ok("shape", "224x224x3", "maxpool:3,s=4").stdout
        )
        arms = "concat[conv:1,k=3,p=1 | conv:1,k=5,p=1:3]"
        assert "paths that meet in layer 3" in ok("shape", "9x9x1", arms).stdout

    def test_questions(self) -> None:
        told = ok("shape", "9x9x1", "conv:1,k=3,p=1", "conv:1,k=3,s=2,p=1", "--at", "0,2").stdout
        assert "output 0,2 of 5x5 sees height 0 to 2 and width 2 to 6 (3x5) of the input" in told
        assert "input 0,2 of 9x9 reaches height 0 to 1 and width 0 to 2 (2x3) of the output" in told
        assert "reaches nothing" in ok("shape", "4x4x1", "conv:1,k=1,s=2", "--at", "1,1").stdout
        chain = ["conv:64,k=11,s=4", "maxpool:3,s=2"]
        assert ok("shape", "--input-for", "27x27", *chain, "-q").stdout == "227x227\n"
        assert (
            "512 gives 512"
            in ok("shape", "--input-for", "512x512", SAMPLES / "networks" / "unet.toml").stdout
        )
        solved = ok("shape", "--solve", "14x14", "28x28").stdout.splitlines()
        assert solved[1].split() == ["784", "1", "14x14", "->", "28x28", "deconv:1,k=2,s=2"]

    def test_emitted_toml_is_the_same_network(self) -> None:
        words = ["28x28x3", "conv:8,k=3", "residual[conv:8,k=3,p=1]x2", "gap"]
        Path("net.toml").write_text(ok("shape", *words, "--emit", "toml").stdout)
        assert ok("shape", "net.toml", "--csv").stdout == ok("shape", *words, "--csv").stdout
        assert "is a network's file; expected layers" in refused(
            "shape", "net.toml", "--emit", "toml"
        )

    def test_emitted_torch_is_python(self) -> None:
        code = ok("shape", NETWORK, "--emit", "torch").stdout
        compile(code, "emitted", "exec")
        assert "nn.Conv2d(3, 64, kernel_size=(3, 3,), stride=(1, 1,), padding=(1, 1,)" in code

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (
                ["32x32x3", "konv:3"],
                "'konv:3' at character 1: no layer 'konv'; did you mean 'conv'?",
            ),
            (
                ["32x32x3", "conv:3,k=3", "linear:9"],
                "layer 2 'linear:9' at character 12 (input 30x30x3)",
            ),
            (["32x32x3", "Conv2d:3,k=3"], "no layer 'Conv2d'; did you mean 'conv'?"),
            (["32x32x3", "maxpooling2d:2"], "no layer 'maxpooling2d'; did you mean 'maxpool'?"),
            (["28x28"], "28x28 alone; expected a kernel or layers"),
            ([], "no shape; expected SHAPE and layers"),
            (["28by28", "relu"], "Invalid value for 'SHAPE'"),
            (["none.toml"], "none.toml does not exist"),
            ([NETWORK, "relu"], "'relu' after"),
            ([NETWORK, "--dims", "2"], "--dims and --layout are read from the file"),
            ([NETWORK, "--csv", "--json"], "--csv and --json cannot be combined"),
            (
                [NETWORK, "--stride", "2"],
                "--stride does not apply to the report of a network; write it in the layer",
            ),
            ([NETWORK, "--rf", "3"], "--rf does not apply to the report of a network"),
            ([NETWORK, "--at", "0", "--formula"], "--formula does not apply to --at"),
            ([NETWORK, "--at", "0,0"], "the output is flat"),
            (["--solve", "8x8", "4x4", "--csv"], "--csv does not apply to --solve"),
            (["relu", "--solve", "8x8", "4x4"], "'relu' together with --solve"),
            (["--input-for", "8x8"], "--input-for alone"),
            (["28x28", "-k", "3x3", "--batch", "2"], "--batch does not apply to a single kernel"),
            (["28x28", "relu", "-k", "3x3"], "'relu' together with -k"),
            (["28x28x1", "relu", "--count", "mac"], "did you mean 'macs'?"),
        ],
        ids=lambda value: " ".join(map(str, value))[-40:] if isinstance(value, list) else "",
    )
    def test_refusals(self, words: list[str], says: str) -> None:
        assert says in refused("shape", *words)

    def test_a_chain_of_ten_thousand_layers_is_told(self) -> None:
        told = ok("shape", "32x32x3", "[conv:8,k=3,p=1 relu]x5000").stdout
        assert told.startswith("32x32x3 -> 32x32x8, 10,000 layers")


class TestApply:
    def test_the_main_job(self) -> None:
        options = ["--padding", "same", "--boundary", "reflect"]
        result = ok("apply", PHOTO, "-k", "gaussian:sigma=3", *options, "-o", "s.png", "-v")
        assert result.stdout == ""
        assert "range      11.0147 to 254.49\n" in result.stderr
        assert "256 + 12 + 12 - 25 + 1 = 256" in result.stderr
        taps = kernel("gaussian:sigma=3").taps
        expected = correlate(pixels(PHOTO), taps, axes=(0, 1), padding="same", boundary="reflect")
        np.testing.assert_array_equal(pixels("s.png"), np.rint(expected))

    def test_threads_share_the_work_and_change_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        share_out = threads.share_out

        def seen(*arguments: Any, **options: Any) -> None:
            asked.append(limits.threads())
            share_out(*arguments, **options)

        monkeypatch.setattr("convcli.engine.execute.share_out", seen)
        before = limits.threads()
        for count in (1, 2, 3, 5):
            ok("apply", PHOTO, "-k", "gaussian:sigma=3", "--threads", count, "-o", f"{count}.npy")
        monkeypatch.setenv("CONVCLI_THREADS", "7")
        ok("apply", PHOTO, "-k", "box", "-o", "env.npy")
        assert asked == [1, 2, 3, 5, 7]
        assert len({Path(f"{count}.npy").read_bytes() for count in (1, 2, 3, 5)}) == 1
        monkeypatch.delenv("CONVCLI_THREADS")
        assert limits.threads() == before
        assert "'0'; expected a whole number from 1" in refused(
            "apply", PHOTO, "-k", "box", "--threads", "0"
        )
        monkeypatch.setenv("CONVCLI_THREADS", "x")
        told = refused("apply", PHOTO, "-k", "box")
        assert "(env var: 'CONVCLI_THREADS'): 'x'; expected a whole number from 1" in told

    @pytest.mark.parametrize(("op", "call"), [("correlate", correlate), ("convolve", convolve)])
    def test_op(self, op: str, call: object) -> None:
        x, w = np.arange(30.0).reshape(5, 6), np.arange(6.0).reshape(2, 3)
        ok("apply", array(x), "-k", array(w, "w.npy"), "--op", op, "-o", "y.npy")
        np.testing.assert_array_equal(np.load("y.npy"), call(x, w))  # type: ignore[operator]

    def test_geometry_and_border_options_reach_the_engine(self) -> None:
        x = np.random.default_rng(0).random((9, 10))
        options = ["--stride", "2x1", "--dilation", "1,2", "--padding", "1:2,3", "--cval", "7"]
        ok("apply", array(x), "-k", "1,2;3,4", *options, "-o", "y.npy")
        expected = correlate(
            x,
            [[1, 2], [3, 4]],
            stride=(2, 1),
            dilation=(1, 2),
            padding=[(1, 2), 3],
            boundary="constant",
            cval=7,
        )
        np.testing.assert_allclose(np.load("y.npy"), expected, rtol=1e-14)

    def test_readings_of_a_picture(self) -> None:
        x = np.random.default_rng(0).integers(0, 255, (8, 9, 3), np.uint8)
        name = image(x)
        ok("apply", name, "-k", "1,1;1,1", "-o", "each.npy")
        ok("apply", name, "-k", "random:2x2x3", "-o", "sum.npy")
        ok("apply", name, "-k", "random:5x2x2x3", "-o", "bank.npy")
        ok("apply", name, "-k", "1,1;1,1", "--channels", "sum", "-o", "spread.npy")
        shapes = [np.load(f"{name}.npy").shape for name in ("each", "sum", "bank", "spread")]
        assert shapes == [(7, 8, 3), (7, 8, 1), (7, 8, 5), (7, 8, 1)]
        np.testing.assert_allclose(np.load("spread.npy")[..., 0], np.load("each.npy").sum(axis=-1))

    def test_channel_counts_that_differ_name_both(self) -> None:
        told = refused("apply", PHOTO, "-k", "random:3x3x4", "-o", "y.png")
        assert "4 channels" in told
        assert "input has 3" in told

    @pytest.mark.parametrize(
        ("how", "expected"),
        [("magnitude", 5.0), ("sum", 7.0), ("max", 4.0), ("mean", 3.5), ("stack", [3.0, 4.0])],
    )
    def test_combine(self, how: str, expected: object) -> None:
        ok("apply", array(np.ones(4)), "-k", "1,2", "-k", "4,0", "--combine", how, "-o", "y.npy")
        np.testing.assert_allclose(
            np.load("y.npy"), np.broadcast_to(expected, np.load("y.npy").shape)
        )
        assert np.load("y.npy").shape[0] == 3

    def test_range_policies(self) -> None:
        x = np.zeros((4, 6), np.uint8)
        x[:, 3:] = 200
        name = image(x)
        written = {}
        for policy in ("clip", "rescale", "offset", "abs"):
            ok("apply", name, "-k", "1,-1; 1,-1", "--range", policy, "-o", f"{policy}.png")
            written[policy] = pixels(f"{policy}.png")[0].tolist()
        assert written["clip"] == [0, 0, 0, 0, 0]
        assert written["rescale"] == [255, 255, 0, 255, 255]
        assert written["offset"] == [128, 128, 0, 128, 128]
        assert written["abs"] == [0, 0, 255, 0, 0]
        told = refused("apply", name, "-k", "1,-1; 1,-1", "--range", "error", "-o", "e.png", code=1)
        assert "-400" in told
        assert not Path("e.png").exists()

    def test_the_ledger_counts_what_was_clipped(self) -> None:
        name = image([[0, 200, 0, 200]] * 2)
        record = json.loads(ok("apply", name, "-k", "-1,2;0,0", "-o", "y.png", "--json").stdout)
        assert record["ledger"] == {
            "policy": "clip",
            "dtype": "uint8",
            "low": -200.0,
            "high": 400.0,
            "below": 1,
            "above": 2,
            "not_finite": 0,
            "nan": 0,
            "total": 3,
            "low_before": -200.0,
            "high_before": 400.0,
        }

    def test_normalize_scale_and_bias(self) -> None:
        name = array(np.full((3, 3), 10.0))
        ok(
            "apply",
            name,
            "-k",
            "1,1;1,1",
            "--normalize",
            "--scale",
            "2",
            "--bias",
            "-5",
            "-o",
            "y.npy",
        )
        np.testing.assert_array_equal(np.load("y.npy"), np.full((2, 2), 15.0))

    @pytest.mark.parametrize(
        ("shape", "kernel", "options", "values"),
        [
            ((3, 3, 3), np.ones((2, 3, 3, 3)), (), [90, 90]),
            ((3, 3, 3), np.ones((2, 3, 3, 3)) * [[[[1]]], [[[3]]]], (), [90, 90]),
            ((3, 3, 1), np.ones((2, 3, 3, 1)) * [[[[1]]], [[[-1]]]], ("--dims", "2"), [90, 90]),
            ((3, 3, 3), np.ones((3, 3, 3)), ("--channels", "each"), [90, 90, 90]),
            ((3, 3, 3), np.ones((3, 3, 3)) * [1, 2, 3], ("--channels", "each"), [90, 90, 90]),
            ((3, 3, 3), np.ones((3, 3, 3)), (), [90]),
        ],
    )
    def test_each_kernel_is_normalized_by_its_own_sum(
        self,
        shape: tuple[int, ...],
        kernel: np.ndarray,
        options: tuple[str, ...],
        values: list[float],
    ) -> None:
        name = array(np.full(shape, 90.0))
        np.save("several.npy", kernel)
        ok("apply", name, "-k", "several.npy", "--normalize", *options, "-o", "y.npy")
        np.testing.assert_allclose(np.load("y.npy").ravel(), values)

    def test_depthwise_kernels_with_channels_first_are_normalized_one_by_one(self) -> None:
        name = array(np.full((3, 5, 5), 90.0))
        np.save("several.npy", np.ones((3, 3, 3)) * [[[1]], [[2]], [[3]]])
        layout = ("--channels", "each", "--layout", "channels_first")
        ok("apply", name, "-k", "several.npy", "--normalize", *layout, "-o", "y.npy")
        np.testing.assert_allclose(np.load("y.npy"), np.full((3, 3, 3), 90.0))

    def test_whole_numbers_are_exact_in_integer_types(self) -> None:
        name = array(np.array([2**53 + 1, -(2**62), 3]))
        options = ("--dims", "1", "-o", "y.npy", "--overwrite", "--verify", "--dtype")
        told = ok("apply", name, "-k", "1", *options, "int64").stderr
        assert "recomputed, error 0.0e+00, bound 0.0e+00" in told
        assert np.load("y.npy").tolist() == [2**53 + 1, -(2**62), 3]
        ok("apply", name, "-k", "1", "--range", "abs", *options, "uint64")
        assert np.load("y.npy").tolist() == [2**53 + 1, 2**62, 3]
        told = ok(
            "apply",
            name,
            "-k",
            "1",
            "-k",
            "-1",
            "--combine",
            "sum",
            "--bias",
            "7",
            *options,
            "uint8",
        ).stderr
        assert "clipped" not in told
        assert np.load("y.npy").tolist() == [7, 7, 7]
        ok("apply", name, "-k", "1", "-k", "0", "--combine", "mean", *options, "int64")
        assert np.load("y.npy").tolist() == [2**52, -(2**61), 2]
        told = ok(
            "apply", name, "-k", "1", "-k", "-1", "--combine", "max", *options, "int32"
        ).stderr
        assert "clipped 66.7 %: 2 above 2147483647" in told
        assert np.load("y.npy").tolist() == [2**31 - 1, 2**31 - 1, 3]
        Path("x.csv").write_text("9007199254740993\n1\n")
        ok("apply", "x.csv", "-k", "1", "-o", "y.csv", "--dtype", "int64")
        assert Path("y.csv").read_text() == "9007199254740993\n1\n"

    def test_whole_numbers_that_no_64_bits_hold_on_the_way_are_refused(self) -> None:
        name = array(np.array([2**53 + 1, -(2**62), 3]))
        options = ("--dims", "1", "--dtype", "int64", "-o", "y.npy")
        assert "expected at most 64 bits" in refused("apply", name, "-k", "9", *options)
        assert "expected at most 2**53" in refused(
            "apply", name, "-k", "1", "--scale", "0.5", *options
        )
        assert "write 9007199254740992" in refused(
            "apply", name, "-k", "1", "--bias", "9007199254740993", *options
        )
        assert not Path("y.npy").exists()
        ok("apply", array(np.array([2**53 + 1, 1])), "-k", "1", "--scale", "0.5", *options)

    def test_results_outside_float32_are_scaled_back(self) -> None:
        name = array(np.array([1e-30, 2e-30, 4e-30], np.float32))
        for taps, scale in (
            ("1e-50,1e-50", "1e50"),
            ("1e-20,1e-20", "1e20"),
            ("1e39,1e39", "1e-39"),
        ):
            ok(
                "apply",
                name,
                "-k",
                taps,
                "--dims",
                "1",
                "--scale",
                scale,
                "-o",
                "y.npy",
                "--overwrite",
                "--verify",
            )
            y = np.load("y.npy")
            assert y.dtype == np.float32
            np.testing.assert_allclose(y, [3e-30, 6e-30], rtol=1e-6)

    def test_sums_of_results_are_exact_beyond_the_mantissa_of_float32(self) -> None:
        name = array(np.array([65535, 65535], np.uint16))
        kernels = ("-k", "257,256", "-k", "-257,-255", "--combine", "sum")
        ok("apply", name, *kernels, "--dims", "1", "--dtype", "uint16", "-o", "y.npy")
        assert np.load("y.npy").tolist() == [65535]

    def test_verify_proves_and_a_broken_engine_is_found(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = ok(
            "apply", PHOTO, "-k", "gaussian:sigma=1", "--padding", "same", "--verify", "-o", "y.png"
        )
        assert "verify  holds: 4,809 outputs recomputed, " in result.stderr

        from convcli.engine.methods.direct import Direct

        def broken(block: np.ndarray, out: np.ndarray) -> None:
            out[...] = 1

        monkeypatch.setattr(Direct, "prepare", lambda self, w, plan: broken)
        failed = run(
            "apply", PHOTO, "-k", "1,2;3,4", "--method", "direct", "--verify", "-o", "z.png"
        )
        assert failed.exit_code == 1
        assert "BROKEN" in failed.stderr
        assert not Path("z.png").exists()

    def test_dry_run_writes_nothing_and_shows_the_plan(self) -> None:
        told = ok("apply", PHOTO, "-k", "sharpen", "-o", "y.png", "--dry-run").stdout
        assert not Path("y.png").exists()
        for part in ("254x382x3", "256 - 3 + 1 = 254", "gemm", "bytes"):
            assert part in told

    def test_without_an_output_it_reports_on_stdout(self) -> None:
        told = ok("apply", PHOTO, "-k", "sharpen").stdout
        assert re.match(
            r".*photo\.png 256x384 RGB -> 254x382 RGB, \S+ s; not saved, use -o FILE to save it\n",
            told,
        )

    def test_alpha_is_no_colour(self) -> None:
        x = np.zeros((9, 9, 4), np.uint8)
        x[:, :4] = (255, 0, 0, 255)
        x[:, 4:] = (0, 255, 0, 0)
        ok(
            "apply",
            image(x),
            "-k",
            "box:size=3",
            "--padding",
            "same",
            "--boundary",
            "edge",
            "-o",
            "y.png",
        )
        y = pixels("y.png")
        assert (y[:, :5, 0] == 255).all()
        assert (y[..., 1] == 0).all()
        assert y[0, :, 3].tolist() == [255, 255, 255, 170, 85, 0, 0, 0, 0]

    @pytest.mark.parametrize("reference", ["gaussian:sigma=1", "sobel-x", "sharpen"])
    def test_an_opaque_picture_is_filtered_as_if_it_had_no_alpha(self, reference: str) -> None:
        rgb = np.random.default_rng(1).integers(0, 255, (12, 13, 3), np.uint8)
        rgba = np.dstack([rgb, np.full((12, 13), 255, np.uint8)])
        for name, x in (("rgb", rgb), ("rgba", rgba)):
            ok(
                "apply",
                image(x, f"{name}.png"),
                "-k",
                reference,
                "--padding",
                "same",
                "-o",
                f"{name}-y.png",
            )
        y = pixels("rgba-y.png")
        np.testing.assert_allclose(y[..., :3].astype(int), pixels("rgb-y.png").astype(int), atol=1)
        assert (y[..., 3] == 255).all()

    def test_stdin_to_stdout(self) -> None:
        piped = ok(
            *["apply", "-", "-k", "1,0,-1", "--op", "convolve", "-o", "-", "--input-format", "csv"],
            stdin=b"1\n2\n4\n8\n",
        )
        assert [float(value) for value in piped.stdout_bytes.split()] == [3, 6]

    def test_an_array_of_three_axes_must_be_told(self) -> None:
        told = refused("apply", SAMPLES / "volume.npy", "-k", "gaussian:sigma=1", "-o", "y.npy")
        assert "--dims 3" in told
        ok("apply", SAMPLES / "volume.npy", "-k", "gaussian:sigma=1", "--dims", "3", "-o", "y.npy")
        assert np.load("y.npy").shape == (16, 16, 16)

    def test_a_kernel_of_any_number_of_axes_follows_the_layout(self) -> None:
        x = np.random.default_rng(0).random((3, 8, 9))
        ok("apply", array(x), "-k", "box", "--layout", "channels_first", "-o", "y.npy")
        assert np.load("y.npy").shape == (3, 6, 7)
        told = refused(
            "apply", array(np.zeros((8, 8, 9))), "-k", "box", "--layout", "channels_first"
        )
        assert "the first axis is channels" in told

    def test_output_types_are_never_cut(self) -> None:
        told = refused(
            "apply", array(np.random.default_rng(0).random((5, 5))), "-k", "box", "-o", "y.png"
        )
        assert "--dtype uint8" in told
        assert "16" in refused(
            "apply", image(np.zeros((5, 5))), "-k", "box", "--dtype", "uint16", "-o", "y.jpg"
        )

    def test_the_output_is_not_replaced_unasked(self) -> None:
        Path("y.png").write_bytes(b"mine")
        assert "--overwrite" in refused("apply", PHOTO, "-k", "box", "-o", "y.png")
        assert Path("y.png").read_bytes() == b"mine"
        ok("apply", PHOTO, "-k", "box", "-o", "y.png", "--overwrite")
        assert pixels("y.png").shape == (254, 382, 3)

    def test_the_input_may_be_replaced_when_asked(self) -> None:
        name = image(np.full((5, 5), 9))
        ok("apply", name, "-k", "identity", "-o", name, "--overwrite")
        assert (pixels(name) == 9).all()


class TestEncoding:
    @pytest.mark.parametrize(
        ("suffix", "less", "more"),
        [
            ("png", ["--compress-level", "9"], ["--compress-level", "0"]),
            ("jpg", ["--quality", "30"], []),
            ("webp", ["--quality", "30"], []),
        ],
    )
    def test_settings_reach_the_encoder(
        self, suffix: str, less: list[str], more: list[str]
    ) -> None:
        for name, words in (("less", less), ("more", more)):
            ok(
                "apply",
                PHOTO,
                "-k",
                "identity",
                "--padding",
                "same",
                *words,
                "-o",
                f"{name}.{suffix}",
            )
        assert Path(f"less.{suffix}").stat().st_size < Path(f"more.{suffix}").stat().st_size
        if suffix != "jpg":
            np.testing.assert_array_equal(pixels(f"more.{suffix}"), pixels(PHOTO))


class TestRefusals:
    """Bad input: one line that says what to do, and the documented exit code."""

    def test_missing_file_is_guessed(self) -> None:
        image(np.zeros((4, 4)), "photo.png")
        told = refused("apply", "foto.png", "-k", "box", "-o", "y.png")
        assert "did you mean" in told
        assert "photo.png" in told

    def test_directory_as_input(self) -> None:
        Path("pictures.png").mkdir()
        assert "is a folder" in refused("apply", "pictures.png", "-k", "box", "-o", "y.png")

    def test_empty_file(self) -> None:
        Path("empty.png").touch()
        assert "empty" in refused("apply", "empty.png", "-k", "box", "-o", "y.png")

    def test_text_named_png(self) -> None:
        Path("text.png").write_text("hello, world\n" * 10)
        assert "text.png" in refused("apply", "text.png", "-k", "box", "-o", "y.png")

    def test_truncated_png(self) -> None:
        Path("cut.png").write_bytes(Path(PHOTO).read_bytes()[:5000])
        assert "cut.png" in refused("apply", "cut.png", "-k", "box", "-o", "y.png")
        assert not Path("y.png").exists()

    def test_kernel_larger_than_the_input(self) -> None:
        told = refused("apply", image(np.zeros((4, 4))), "-k", "random:9x9", "-o", "y.png")
        assert "kernel 9x9 exceeds the padded input 4x4; use --padding same" in told

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--stride", "0"], "stride 0; expected 1 or more"),
            (["--dilation", "-2"], "dilation -2; expected 1 or more"),
            (["--padding", "-1"], "padding -1; expected 0 or more"),
            (["--stride", "1x2x3"], "stride has 3 entries"),
            (["--boundary", "mirror"], "expected one of constant"),
            (["--combine", "stak"], "did you mean 'stack'?"),
            (["--groups", "2"], "groups 2"),
            (["--json", "-o", "-"], "both write to stdout"),
            (["--format", "png"], "--format belongs to an output"),
            (["--overwrite"], "--overwrite belongs to an output"),
            (["--compress-level", "0"], "--compress-level belongs to an output"),
            (
                ["--compress-level", "9", "-o", "y.jpg"],
                "jpg takes no compress level; png, tiff and zarr do",
            ),
            (["--quality", "80", "-o", "y.npy"], "npy takes no quality; jpg and webp do"),
            (["--quality", "0", "-o", "y.jpg"], "'0'; expected a whole number from 1 to 100"),
            (["--format", "npy", "-o", "y.png"], "y.png is named as png"),
        ],
    )
    def test_options(self, words: list[str], told: str) -> None:
        assert told in refused("apply", PHOTO, "-k", "box", *words)

    @pytest.mark.parametrize(
        ("reference", "told"),
        [
            ("1,2;3", "row 2"),
            ("1,nan;3,4", "nan"),
            ("gausian:sigma=2", "did you mean 'gaussian'?"),
            ("gaussian:sgma=2", "did you mean 'sigma'?"),
            ("gaussian:sigma=-1", "sigma"),
            ("nothere.npy", "nothere.npy"),
        ],
    )
    def test_kernels(self, reference: str, told: str) -> None:
        assert told in refused("apply", PHOTO, "-k", reference, "-o", "y.png")

    def test_unwritable_outputs(self) -> None:
        assert "folder" in refused("apply", PHOTO, "-k", "box", "-o", "nowhere/y.png")
        Path("file").touch()
        refused("apply", PHOTO, "-k", "box", "-o", "file/y.png")
        assert ".png" in refused("apply", PHOTO, "-k", "box", "-o", "y.pgn")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_disk_full(self) -> None:
        told = refused("apply", PHOTO, "-k", "box", "-o", "/dev/full", "--format", "png", code=1)
        assert "No space left" in told


def started(
    *words: object, script: str = "from convcli.cli import main; main()"
) -> subprocess.Popen[bytes]:
    """A process of its own that runs the command line, `script` having prepared it."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)},
    )


STOPS_BEFORE_THE_RENAME = """
import signal, sys, time
from convcli.cli import main
from convcli.io import destinations

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs

def stop(*_, **__):
    print("ready", file=sys.stderr, flush=True)
    time.sleep(60)

destinations.publish = stop
main()
"""


class TestProcesses:
    def test_a_closed_pipe_ends_silently(self) -> None:
        array(np.random.default_rng(0).random((400, 400)))
        with started("apply", "in.npy", "-k", "box", "-o", "-", "--format", "csv") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(100)
            process.stdout.close()
            complaints = process.stderr.read()
        assert process.returncode == 0
        for word in (b"Error", b"Traceback", b"Exception"):
            assert word not in complaints

    @pytest.mark.parametrize(
        ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
    )
    def test_a_signal_leaves_nothing_behind(self, sent: signal.Signals, code: int) -> None:
        words = ("apply", array(np.zeros((9, 9))), "-k", "box", "-o", "y.npy")
        with started(*words, script=STOPS_BEFORE_THE_RENAME) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == b"ready\n"
            assert len(list(Path().iterdir())) == 2
            process.send_signal(sent)
            process.stderr.read()
        assert process.returncode == code
        assert [path.name for path in Path().iterdir()] == ["in.npy"]

    def test_the_module_runs_as_the_command_does(self) -> None:
        words = [sys.executable, "-m", "convcli", "shape", "28x28", "-k", "3x3", "-q"]
        here = {**os.environ, "PYTHONPATH": str(SAMPLES.parent)}
        assert subprocess.run(words, check=True, capture_output=True, env=here).stdout.split() == [
            b"26x26"
        ]


class TestGrad:
    def test_arrays_in_the_shapes_of_the_users_own(self) -> None:
        told = ok("grad", PHOTO, "-k", "random:2x3x3x3", "--stride", "2", "-o", "g.npz").stderr
        for part in ("dx  ", "256x384x3", "dw  ", "2x3x3x3", "L2", "max |.|", "loss", "sum(y)"):
            assert part in told
        x, w = pixels(PHOTO)[None], kernel("random:2x3x3x3").taps
        expected = gradients(x, w, np.ones((1, 127, 191, 2)), stride=2)
        with np.load("g.npz") as found:
            assert sorted(found) == ["db", "dw", "dx"]
            np.testing.assert_allclose(found["dx"], expected.dx[0], rtol=1e-6, atol=1e-5)
            np.testing.assert_allclose(found["dw"], expected.dw, rtol=1e-5)
            np.testing.assert_array_equal(found["db"], expected.db)

    @pytest.mark.parametrize("op", ["correlate", "convolve"])
    @pytest.mark.parametrize(
        ("words", "loss"),
        [
            ([], lambda y: y.sum()),
            (["--loss", "sum"], lambda y: y.sum()),
            (["--loss", "mean"], lambda y: y.mean()),
            (["--loss", "mse:t.npy"], lambda y: np.square(y - np.load("t.npy")).mean()),
            (["--upstream", "t.npy"], lambda y: (y * np.load("t.npy")).sum()),
        ],
        ids=["none", "sum", "mean", "mse", "upstream"],
    )
    def test_losses_and_their_gradients(self, op: str, words: list[str], loss: object) -> None:
        """The loss is told, and moving x and w a little changes it as dx and dw say."""
        rng = np.random.default_rng(0)
        x, w = rng.standard_normal((7, 6)), rng.standard_normal((3, 2))
        array(x, "x.npy"), array(w, "w.npy"), array(rng.standard_normal((5, 5)), "t.npy")
        record = json.loads(
            ok("grad", "x.npy", "-k", "w.npy", "--op", op, *words, "-o", "g.npz", "--json").stdout
        )
        call = {"correlate": correlate, "convolve": convolve}[op]
        assert record["loss"]["value"] == pytest.approx(loss(call(x, w)))  # type: ignore[operator]
        with np.load("g.npz") as found:
            for name, v in (("dx", x), ("dw", w)):
                step = 1e-6 * rng.standard_normal(v.shape)
                ends = [(x + s * step, w) if v is x else (x, w + s * step) for s in (1, -1)]
                above, below = (loss(call(*end)) for end in ends)  # type: ignore[operator]
                assert np.vdot(found[name], 2 * step) == pytest.approx(
                    above - below, rel=1e-6, abs=1e-12
                )
        by_name = {row["name"]: row for row in record["gradients"]}
        assert by_name["dx"]["shape"] == [7, 6]
        assert by_name["db"]["l2"] == pytest.approx(by_name["db"]["largest"])

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--upstream", "t.npy"], "the upstream gradient t.npy is 4x5; the output is 5x5"),
            (["--loss", "mse:t.npy"], "the target t.npy is 4x5; the output is 5x5"),
            (["--loss", "mse"], "expected mse:FILE"),
            (["--loss", "mean:t.npy"], "loss mean:t.npy; expected mean"),
            (["--loss", "men"], "expected one of sum, mean, mse:FILE; did you mean 'mean'?"),
            (["--loss", "upstream:t.npy"], "expected one of sum, mean, mse:FILE"),
            (["--loss", "sum", "--upstream", "t.npy"], "leave --loss or --upstream out"),
            (["--upstream", "c.npy"], "c.npy holds complex numbers (complex128)"),
            (["--upstream", "u.npy"], "u.npy does not exist"),
            (["-o", "g.txt"], "g.txt holds three arrays; expected a name that ends in .npz"),
            (["-o", "g.npy"], "g.npy holds one array, and there are three gradients"),
            (["-o", "g.npy"], "choose one with --gradient dx, dw or db"),
            (["-o", "g.csv", "--gradient", "dw"], "expected a name that ends in .npy or .npz"),
            (["--gradient", "dz"], "'dz'; expected one of dx, dw, db"),
            (["-o", "nowhere/g.npz"], "nowhere"),
            (["--overwrite"], "--overwrite belongs to an output"),
            (["--json", "-o", "-"], "both write to stdout"),
        ],
    )
    def test_refusals(self, words: list[str], told: str) -> None:
        (
            array(np.ones((7, 7)), "x.npy"),
            array(np.ones((4, 5)), "t.npy"),
            array(np.ones((5, 5)) * 1j, "c.npy"),
        )
        assert told in refused("grad", "x.npy", "-k", "random:3x3", *words)

    def test_a_file_in_the_way_stays(self) -> None:
        Path("g.npz").write_bytes(b"mine")
        assert "--overwrite" in refused("grad", "5x5", "-k", "box", "-o", "g.npz")
        assert Path("g.npz").read_bytes() == b"mine"
        ok("grad", "5x5", "-k", "box", "-o", "g.npz", "--overwrite")

    @pytest.mark.parametrize("name", ["dx", "dw", "db"])
    def test_one_gradient_is_written_and_shown(self, name: str) -> None:
        """To a .npy, a .npz or a pipe, the values that Python computes."""
        rng = np.random.default_rng(0)
        x, w = rng.standard_normal((7, 6, 2)), rng.standard_normal((3, 3, 2, 2))
        array(x, "x.npy"), array(w, "w.npy")
        expected = getattr(gradients(x[None], w, np.ones((1, 5, 5, 3))), name)
        expected = expected[0] if name == "dx" else expected
        words = ("grad", "x.npy", "-k", "w.npy", "--gradient", name)
        assert f"g.npy ({name}; npy" in ok(*words, "-o", "g.npy").stderr
        ok(*words, "-o", "g.npz")
        with np.load("g.npz") as found:
            assert list(found) == [name]
            np.testing.assert_allclose(found[name], expected)
        np.testing.assert_allclose(np.load("g.npy"), expected)
        piped = ok(*words, "-o", "-", "-q").stdout_bytes
        np.testing.assert_allclose(np.load(io.BytesIO(piped)), expected)
        shown = re.findall(r"[-.\d]+", ok(*words, "--show", "-q").stdout)
        np.testing.assert_allclose(np.array(shown, float), expected.ravel(), atol=1e-4)

    def test_shown_values_are_whole_or_summarised(self) -> None:
        x = np.arange(1600.0).reshape(40, 40)
        words = ("grad", array(x, "x.npy"), "-k", array(np.eye(2), "w.npy"))
        ones = np.ones((1, 39, 39, 1))
        dx, dw, _ = gradients(x[None, ..., None], np.eye(2)[None, ..., None], ones)
        told = ok(*words, "--show").stdout
        summary = f"from 0 to 2, mean {dx.mean():.6g}; 2 of 1,600 values are 0"
        assert (dx == 0).sum() == 2
        assert f"dx 40x40\n{summary}\n[[1., 1., " in told
        assert f"dw 2x2\n[[{dw[0, 0, 0, 0]:.0f}., " in told
        assert "dx 40x40" not in ok(*words).stdout
        dx_row, dw_row, db_row = json.loads(ok(*words, "--show", "--json").stdout)["gradients"]
        assert (dx_row["values"], dx_row["zeros"], dx_row["high"]) == (None, 2, 2.0)
        assert dx_row["mean"] == pytest.approx(dx.mean())
        np.testing.assert_allclose(dw_row["values"], dw[0, ..., 0])
        assert db_row["values"] == [1521.0]
        assert "values" not in json.loads(ok(*words, "--json").stdout)["gradients"][0]

    def test_shown_values_stay_on_stdout_beside_a_file(self) -> None:
        words = ("grad", array([1.0, 2.0, 4.0], "x.npy"), "-k", "1,2", "--show")
        assert "dw 2\n[3., 6.]" in ok(*words, "-o", "g.npz").stdout
        assert "dw 2\n[3., 6.]" in ok(*words, "-o", "-").stderr

    def test_to_a_pipe(self) -> None:
        piped = ok("grad", "5x5", "-k", "box", "-o", "-").stdout_bytes
        with np.load(io.BytesIO(piped)) as found:
            assert found["dx"].shape == (5, 5)

    def test_colours_are_weighed_with_their_alpha(self) -> None:
        x = np.full((4, 4, 4), 255, np.uint8)
        x[..., 3] = 51
        assert "colours times alpha" in ok("grad", image(x), "-k", "identity", "-o", "g.npz").stderr
        with np.load("g.npz") as found:
            assert found["dx"].shape == (4, 4, 3)
            assert found["dw"][1, 1] == pytest.approx(3 * 4 * 51)

    def test_numbers_that_are_not(self) -> None:
        record = json.loads(ok("grad", array([1.0, np.nan, 2.0]), "-k", "1,1", "--json").stdout)
        assert record["loss"]["value"] is None
        assert record["gradients"][1]["l2"] is None


class TestGradcheck:
    def test_what_is_not_finite_has_no_gradient_to_check(self) -> None:
        assert "not finite" in refused("gradcheck", array([1.0, np.nan, 3.0, 4.0]), "-k", "1,2")

    def test_it_passes_and_shows_both_columns(self) -> None:
        told = ok("gradcheck", "8x8x3", "-k", "random:4x3x3x3").stdout
        for part in ("analytic", "numeric", "dx", "dw", "db", "passed", "192 of 192", "108 of 108"):
            assert part in told

    def test_a_wrong_gradient_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from convcli.grad import layouts
        from convcli.grad.backward import Gradients

        def wrong(*given: object, **options: object) -> Gradients:
            dx, dw, db = layouts.layout_gradients(*given, **options)  # type: ignore[arg-type]
            return Gradients(dx, dw * 1.01, db)

        monkeypatch.setattr("convcli.grad.subject.layout_gradients", wrong)
        result = run("gradcheck", "8x8x3", "-k", "random:4x3x3x3")
        assert result.exit_code == 1
        assert "FAILED" in result.stdout
        assert result.stderr.startswith(
            "Error: dw disagrees with the central differences and the adjoint test"
        )

    @pytest.mark.parametrize("name", ["dx", "dw", "db"])
    def test_break_shows_what_a_failure_looks_like(self, name: str) -> None:
        result = run("gradcheck", "6x5x2", "-k", "random:3x2x2x2", "--break", name)
        assert result.exit_code == 1
        assert f"one entry of {name} was corrupted on purpose" in result.stdout
        verdicts = re.search(
            r"^central differences +(\w+) +(\w+) +(\w+)$", result.stdout, re.MULTILINE
        )
        assert verdicts is not None
        assert list(verdicts.groups()) == [
            "wrong" if row == name else "good" for row in ("dx", "dw", "db")
        ]
        for word in ("FAILED", "BROKEN", "DISAGREE"):
            assert result.stdout.count(word) == 1
        assert result.stderr.startswith(f"Error: {name} disagrees with")
        assert result.stderr.count("\n") == 1
        record = json.loads(
            run("gradcheck", "6x5x2", "-k", "random:3x2x2x2", "--break", name, "--json").stdout
        )
        assert record["passed"] is False
        assert record["broken"] == name
        assert [row["name"] for row in record["checks"] if not row["passed"]] == [name]
        assert len(record["failures"]) == 1

    def test_a_step_that_drowns_is_told_with_the_way_out(self) -> None:
        words = ("gradcheck", "6x5x2", "-k", "random:3x2x2x2", "--eps", "1e-30")
        result = run(*words)
        told = "the step 1e-30 drowns in round-off and cannot check dx, dw and db"
        assert result.exit_code == 1
        assert result.stdout.startswith(f"FAILED: {told}\n")
        assert "look at" not in result.stdout
        assert result.stderr == (
            f"Error: {told}; use a larger --eps, or leave it out for the best one\n"
        )
        record = json.loads(run(*words, "--json").stdout)
        assert record["failures"] == [told]
        assert {check["verdict"] for check in record["checks"]} == {"drowned"}
        assert "passed" in ok(*words[:-2]).stdout

    def test_the_worst_entries_are_told_with_their_windows(self) -> None:
        told = ok("gradcheck", "6x5x2", "-k", "random:3x2x2x2", "--padding", "1", "-v").stdout
        for part in (
            "dx: the 10 worst entries",
            "dw: the 10 worst entries",
            "db: the 3 worst entries",
        ):
            assert part in told
        assert re.search(
            r"^\[\d,\d,\d\] .* \[-?\d:\d, -?\d:\d\] +\[\d:\d, \d:\d\]", told, re.MULTILINE
        )
        for word in (
            "50% of entries within",
            "99% of entries within",
            "cosine similarity",
            "<A v, dy>",
            "<v, A' dy>",
            "126x60",
        ):
            assert word in told

    def test_the_sweep_is_a_table_and_a_plot(self) -> None:
        told = ok("gradcheck", "6x5x2", "-k", "random:3x2x2x2", "--eps-sweep").stdout
        bars = [
            line.split()[4].count("█")
            for line in told.splitlines()
            if re.match(r"^ ?1e[-+]\d\d ", line)
        ]
        assert len(bars) == 15
        assert bars[0] > bars[4] > bars[8] > bars[-1]
        assert "slope of dx up to step 1, on logarithmic axes: -" in told
        assert "a large step is best" in told

    def test_sums_that_overflow_fail_in_one_line_and_as_null(self) -> None:
        words = ["gradcheck", array([[1e200, 2, 3], [4, 5, 6], [7, 8, 9]]), "-k", "1e200,2;3,4"]
        result = run(*words, "--eps-sweep")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: d")
        assert result.stderr.count("\n") == 1
        run(*words, "--dump", "g.json")
        record = json.loads(Path("g.json").read_text())
        assert any(None in check["numeric"] for check in record["checks"])

    def test_dump(self) -> None:
        ok("gradcheck", "6x6x2", "-k", "random:3x3x3x2", "--dump", "g.npz")
        with np.load("g.npz") as arrays:
            assert arrays["dx"].shape == (6, 6, 2)
            assert arrays["dw"].shape == (3, 3, 3, 2)
            np.testing.assert_allclose(arrays["dw_numeric"], arrays["dw_analytic"], rtol=1e-9)
            np.testing.assert_allclose(arrays["dx_matrix"], arrays["dx"], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(*arrays["db_adjoint"])
            assert arrays["x"].shape == (6, 6, 2)
            assert arrays["dy"].shape == (4, 4, 3)
            assert "sweep" not in arrays
        ok("gradcheck", "6x6x2", "-k", "random:3x3x3x2", "--dump", "g.json")
        record = json.loads(Path("g.json").read_text())
        assert record["passed"] is True
        assert len(record["checks"][0]["numeric"]) == 72
        assert (
            np.shape(record["checks"][1]["gradient"])
            == np.shape(record["paths"][1]["gradient"])
            == (3, 3, 3, 2)
        )
        assert {name: np.shape(values) for name, values in record["arrays"].items()} == {
            "x": (6, 6, 2),
            "w": (3, 3, 3, 2),
            "dy": (4, 4, 3),
        }
        ok("gradcheck", "6x6x2", "-k", "random:3x3x3x2", "--eps-sweep", "--dump", "s.npz")
        with np.load("s.npz") as arrays:
            assert arrays["sweep"].shape == (15, 5)
        assert "--overwrite belongs to a dump" in refused(
            "gradcheck", "6x6", "-k", "box", "--overwrite"
        )
        assert "expected one of dx, dw, db" in refused(
            "gradcheck", "6x6", "-k", "box", "--break", "dz"
        )
        assert "--overwrite" in refused("gradcheck", "6x6", "-k", "box", "--dump", "g.json")
        assert ".npz" in refused("gradcheck", "6x6", "-k", "box", "--dump", "g.txt")

    @pytest.mark.parametrize(
        "words",
        [
            ["9x9", "-k", "sobel-x", "--padding", "same", "--boundary", "reflect"],
            ["9x9x2", "-k", "box", "--stride", "2"],
            ["9x9x2", "-k", "1,2;3,4", "--op", "convolve"],
            ["12x4", "-k", "random:6x3x2", "--groups", "2", "--dims", "1"],
            ["5x5x5", "-k", "random:2x2x2", "--boundary", "wrap", "--padding", "full"],
            ["2x6x6", "-k", "random:3x2x3x3", "--layout", "channels_first"],
            ["6x6x3", "-k", "random:3x3x3", "--channels", "each"],
            [PHOTO, "-k", "random:2x3x3x3", "--samples", "5"],
        ],
    )
    def test_options(self, words: list[str]) -> None:
        assert json.loads(ok("gradcheck", *words, "--json").stdout)["passed"] is True
