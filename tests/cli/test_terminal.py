"""What commands print on a terminal and into a pipe: widths, columns, styles, and no binary."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import ROOT, on_terminal, plain, run

pytest.importorskip("pty")

NETWORKS = ROOT / "samples" / "networks"
PHOTO = str(ROOT / "samples" / "photo.png")
RESNET = str(NETWORKS / "resnet18.toml")
TABLES = {
    "shape": ["shape", "224x224x3", "-k", "64x7x7x3", "--stride", "2", "--padding", "3"],
    "shape network": ["shape", RESNET],
    "shape network -v": ["shape", RESNET, "-v"],
    "shape formula": ["shape", RESNET, "--formula", "--versus", "dense"],
    "shape at": ["shape", "224x224x3", "conv:64,k=7,s=2,p=3", "maxpool:3,s=2,p=1", "--at", "20,0"],
    "explain": ["explain", PHOTO, "-k", "gaussian:sigma=2"],
    "explain volume": ["explain", "9x9x9", "-k", "random:3x3x3", "--dims", "3", "--op", "convolve"],
    "explain backward": ["explain", "40x40", "-k", "random:7x7", "--backward", "-v"],
    "animate": ["animate", "9x9x3", "-k", "random:2x3x3x3", "--crop", "5", "-o", "c.gif", "-f"],
    "grad": ["grad", "7x9x3", "-k", "random:2x3x3x3", "-v"],
    "gradcheck": ["gradcheck", "8x8x3", "-k", "random:4x3x3x3"],
    "gradcheck -v": [
        "gradcheck",
        "8x8x8",
        "-k",
        "random:3x3x3",
        "-v",
        "--eps-sweep",
        "--samples",
        "20",
    ],
    "laws": ["laws", PHOTO, "-k", "sobel-x"],
    "laws -v": ["laws", PHOTO, "-k", "sobel-x", "-v"],
    "apply --verify": ["apply", PHOTO, "-k", "box", "--verify"],
    "bench": ["bench", "40x40", "-k", "box:size=3", "--runs", "1", "-v"],
    "formats": ["formats"],
    "formats -v": ["formats", "-v"],
    "kernels list": ["kernels", "list"],
    "kernels list -v": ["kernels", "list", "-v"],
    "kernels show": ["kernels", "show", "gaussian:sigma=2"],
    "kernels show volume": ["kernels", "show", "random:3x12x12"],
    "kernels show signal": ["kernels", "show", "random:41"],
    "lesson": ["lesson", "3"],
    "lesson list": ["lesson", "--list"],
    "shape solve": ["shape", "--solve", "224x224", "56x56", "--rf", "31", "--max-layers", "3"],
}


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", TABLES.values(), ids=list(TABLES))
def test_no_line_is_wider_than_the_terminal(words: list[str], columns: int) -> None:
    lines = plain(on_terminal(*words, columns=columns))
    assert len(lines) > 1
    assert [line for line in lines if len(line) > columns] == []


@pytest.mark.parametrize("name", ["kernels show", "laws", "lesson list", "shape", "apply --verify"])
def test_labels_and_texts_fit_a_narrow_terminal(name: str) -> None:
    lines = plain(on_terminal(*TABLES[name], columns=40))
    assert [line for line in lines if len(line) > 40] == []


@pytest.mark.parametrize("words", TABLES.values(), ids=list(TABLES))
def test_a_pipe_gets_whole_rows_without_blanks_or_styles(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = run(*words).stdout
    assert [line for line in out.splitlines() if line != line.rstrip()] == []
    assert "\x1b" not in out
    assert "hidden at this width" not in out


class TestNetworkTable:
    def test_columns_are_hidden_in_the_order_of_their_worth_and_named(self) -> None:
        lines = plain(on_terminal("shape", RESNET))
        assert lines[1].split() == ["#", "layer", "output", "parameters", "macs", "share", "field"]
        told = " ".join(lines)
        assert "hidden at this width: memory, jump, pad, centre, dropped; use --columns" in told
        assert "hidden" not in " ".join(on_terminal("shape", RESNET, columns=200))

    def test_columns_are_chosen(self) -> None:
        words = ("shape", RESNET, "--columns", "layer,macs,centre")
        for lines in (run(*words).stdout.splitlines(), plain(on_terminal(*words, columns=30))):
            assert lines[1].split() == ["layer", "macs", "centre"]
        assert run("shape", RESNET, "--columns", "all").stdout == run("shape", RESNET).stdout
        assert run("shape", RESNET, "--columns", "layer,output", "--csv").stdout.splitlines()[
            :2
        ] == [
            "layer,output",
            '"conv:64,k=7,s=2,p=3,bias=no",112x112x64',
        ]
        assert "did you mean 'macs'?" in run("shape", RESNET, "--columns", "mac", code=2).stderr

    def test_the_head_is_bold_on_a_terminal_alone(self) -> None:
        lines = on_terminal("shape", RESNET)
        assert lines[1].startswith("\x1b[1m")
        assert not any("\x1b" in line for line in on_terminal("shape", RESNET, NO_COLOR="1"))

    def test_blocks_are_one_row_unless_verbose(self) -> None:
        rows = run("shape", RESNET).stdout.splitlines()
        assert rows[6].split()[:4] == ["5-18", "basic:64", "x2", "56x56x64"]
        assert "462 M" in rows[6]
        assert "1.81 G: 1,814,073,344 for one item" in "\n".join(rows)
        verbose = run("shape", RESNET, "-v").stdout
        assert len(verbose.splitlines()) == 1 + 1 + 68 + 5
        assert "folded" not in verbose
        assert "115,605,504" in verbose

    def test_repetitions_fold_where_layers_and_costs_are_the_same(self) -> None:
        rows = run("shape", "9x9x3", "[conv:4,k=3,p=1 relu]x4", "relu", "relu").stdout.splitlines()
        layers = [row.split("  ")[1].strip() or row for row in rows[2:7]]
        assert [row.split()[0] for row in rows[2:7]] == ["1", "2", "3-8", "9", "10"]
        assert "[conv:4,k=3,p=1 relu] x3" in rows[4]
        assert layers
        assert (
            "residual[conv:3,k=3,p=1] x2"
            in run("shape", "9x9x3", "residual[conv:3,k=3,p=1]x2").stdout
        )


class TestBinary:
    def test_a_model_is_never_written_to_a_terminal(self) -> None:
        pytest.importorskip("onnx")
        (line,) = plain(
            on_terminal("shape", "9x9x1", "conv:2,k=3", "--emit", "onnx", code=2, columns=200)
        )
        assert line == (
            "Error: onnx is binary, and standard output is a terminal; expected a file or a pipe; "
            "name a file with -o, or add > FILE"
        )

    @pytest.mark.parametrize(
        "words",
        [
            ["grad", "5x5", "-k", "box", "-o", "-"],
            ["apply", str(ROOT / "samples" / "photo.png"), "-k", "box", "-o", "-"],
            [
                "apply",
                str(ROOT / "samples" / "photo.png"),
                "-k",
                "box",
                "-o",
                "-",
                "--format",
                "npy",
            ],
            ["kernels", "export", "box", "-o", "-", "--format", "npy"],
        ],
        ids=" ".join,
    )
    def test_results_neither(self, words: list[str]) -> None:
        (line,) = plain(on_terminal(*words, code=2, columns=200))
        assert "is binary, and standard output is a terminal" in line

    def test_text_is(self) -> None:
        lines = on_terminal("kernels", "export", "box", "-o", "-", "--format", "csv", columns=200)
        assert lines[0].count(",") == 2
        assert on_terminal("shape", "9x9x1", "conv:2,k=3", "--emit", "torch")[0] == "import torch"


class TestMessages:
    WORDS = ("shape", "28x28x1", "-k", "32x1x3x3")

    def test_errors_are_red_and_wrap_at_words_on_a_terminal(self) -> None:
        lines = on_terminal(*self.WORDS, code=2)
        assert lines[0].startswith("\x1b[31mError:\x1b[0m kernel 32x1x3x3")
        assert len(lines) > 1
        assert all(len(line) <= 80 for line in plain(lines))
        assert (
            " ".join(line.strip() for line in plain(lines)) + "\n"
            == run(*self.WORDS, code=2).stderr
        )
        assert not any("\x1b" in line for line in on_terminal(*self.WORDS, code=2, NO_COLOR="1"))

    def test_long_names_are_not_broken(self) -> None:
        name = "x" * 100 + ".toml"
        assert name in " ".join(plain(on_terminal("shape", name, code=2)))

    def test_warnings_too(self) -> None:
        lines = on_terminal("shape", "28x28", "-k", "3", "-q")
        assert lines[0].startswith("\x1b[33mwarning:\x1b[0m 28x28 is read as")
        assert len(lines) > 2


class TestEmit:
    def test_to_a_file(self) -> None:
        words = ("shape", "9x9x1", "conv:2,k=3", "relu", "--emit", "torch")
        assert run(*words, "-o", "net.py").stderr == "wrote net.py (torch, 552 bytes)\n"
        assert Path("net.py").read_text() == run(*words).stdout
        assert "net.py exists" in run(*words, "-o", "net.py", code=2).stderr
        run(*words, "-o", "net.py", "-f")
        assert "--overwrite belongs to an output" in run(*words, "-f", code=2).stderr

    def test_a_model_to_a_file(self) -> None:
        pytest.importorskip("onnx")
        run("shape", "9x9x1", "conv:2,k=3", "--emit", "onnx", "-o", "net.onnx")
        assert run("shape", "net.onnx", "-q").stdout == "7x7x2\n" or Path("net.onnx").stat().st_size


class TestDiagram:
    WORDS = ("shape", "9x9x1", "conv:2,k=3", "relu")

    def test_to_a_file_and_to_a_pipe(self) -> None:
        done = run(*self.WORDS, "--diagram", "net.svg")
        text = Path("net.svg").read_text()
        assert text == run(*self.WORDS, "--diagram", "-").stdout
        assert done.stderr == f"wrote net.svg (svg, {len(text):,} bytes)\n"
        assert done.stdout == ""
        assert "net.svg exists" in run(*self.WORDS, "--diagram", "net.svg", code=2).stderr
        assert run(*self.WORDS, "--diagram", "net.svg", "-f", "-q").output == ""
        record = json.loads(run(*self.WORDS, "--diagram", "net.svg", "-f", "--json").stdout)
        assert record["diagram"] == {
            "path": "net.svg",
            "format": "svg",
            "bytes": len(text),
            "lost": [],
        }

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--diagram", "net.png"], "net.png is not the name of an SVG file"),
            (["--diagram", "net.svg", "-o", "a.svg"], "--output does not apply to --diagram"),
            (["--diagram", "-", "--json"], "--json and -o - both write to stdout"),
            (["--diagram", "no/net.svg"], "no is not a folder"),
        ],
    )
    def test_what_does_not_fit(self, words: list[str], message: str) -> None:
        assert message in run(*self.WORDS, *words, code=2).stderr

    def test_a_model(self) -> None:
        pytest.importorskip("onnx")
        run(*self.WORDS, "--emit", "onnx", "-o", "net.onnx")
        run("shape", "net.onnx", "--diagram", "net.svg")
        assert ">Conv</text>" in Path("net.svg").read_text()


class TestFieldOverPicture:
    DIGIT = str(ROOT / "samples" / "digit.png")
    WORDS = ("shape", "28x28", "conv:4,k=3", "maxpool:2", "--at", "3,4")

    def test_the_report_stays_and_the_picture_is_written(self) -> None:
        done = run(*self.WORDS, "--plot", self.DIGIT, "-o", "field.png")
        assert done.stdout == run(*self.WORDS).stdout
        size = Path("field.png").stat().st_size
        assert done.stderr == f"wrote field.png (png, {size:,} bytes)\n"
        words = (*self.WORDS, "--plot", self.DIGIT, "-o", "field.png")
        assert "field.png exists" in run(*words, code=2).stderr
        record = json.loads(run(*words, "-f", "--json").stdout)
        assert record["plot"]["bytes"] == size
        assert json.loads(run(*self.WORDS, "--json").stdout)["plot"] is None

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--plot", "x.png"], "--plot reads x.png and leaves it as it is; name the picture"),
            (["-o", "y.png"], "-o belongs to a picture of the field; add --plot PICTURE"),
            (["-f"], "--overwrite belongs to a picture of the field; add --plot PICTURE -o FILE"),
            (["--plot", "x.png", "-o", "x.png", "-f"], "x.png is the input or the output"),
            (["--plot", "x.png", "-o", "y.txt"], "y.txt"),
            (["--plot", "none.png", "-o", "y.png"], "none.png does not exist"),
        ],
    )
    def test_the_picture_is_never_overwritten(self, words: list[str], message: str) -> None:
        Path("x.png").write_bytes(Path(self.DIGIT).read_bytes())
        assert message in run(*self.WORDS, *words, code=2).stderr
        assert Path("x.png").read_bytes() == Path(self.DIGIT).read_bytes()
        assert not Path("y.png").exists()

    def test_without_an_output_to_look_at(self) -> None:
        message = run(*self.WORDS[:-2], "--plot", self.DIGIT, "-o", "y.png", code=2).stderr
        assert "add --at I,J" in message


class TestHints:
    @pytest.mark.parametrize(
        ("words", "warning"),
        [
            (
                ["3x224x224", "conv:4,k=3"],
                "add --layout channels_first if the first axis is channels",
            ),
            (
                ["3x224x224", "-k", "3x3"],
                "add --layout channels_first if the first axis is channels",
            ),
            (
                ["1x3x224x224", "conv:4,k=3", "--layout", "channels_first"],
                "give one picture as 3x224x224",
            ),
            (["28x28", "-k", "3"], "give -k 3x3 for a picture, or --dims 1 for a signal"),
        ],
    )
    def test_shapes_that_are_meant_otherwise(self, words: list[str], warning: str) -> None:
        result = run("shape", *words)
        assert result.stderr.startswith("warning: ")
        assert warning in result.stderr
        assert result.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        "words",
        [
            ["224x224x3", "conv:4,k=3"],
            ["3x224x224", "conv:4,k=3", "--layout", "channels_first"],
            ["3x224x224", "conv:4,k=3", "--dims", "2"],
            ["32x64x64", "-k", "3x3x3"],
            ["100x3", "-k", "5"],
            ["28x28", "-k", "3", "--dims", "1"],
            ["16x112x112x3", "conv:4,k=3"],
        ],
    )
    def test_shapes_that_are_read_as_meant(self, words: list[str]) -> None:
        assert run("shape", *words).stderr == ""

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["resnet18.tml"], "expected a name that ends in .toml or .onnx"),
            (["9x9x3", "resnet18.tml"], "expected a name that ends in .toml or .onnx"),
            (["--solve", "224"], "write --solve 224x224 56x56"),
            ([RESNET, "64x64x3"], f"try: 64x64x3 {RESNET}"),
            (["9x9x3", "conv:4,k=3", "residual"], "residual[conv:64,k=3,p=1 relu]"),
            (["9x9x3", "conv:4,k=3", "residual[conv:4,k=3]"], "give the layers of the body p=same"),
            (["8x8x3", "residual[conv:4,k=3,s=2,p=1]"], "residual[body | conv:4,k=1,s=2]"),
            (["8x8x3", "residual[conv:4,k=3,p=1]"], "residual[body | conv:4,k=1]"),
            (["28x28x3", "-k", "3"], "such as 3x3"),
        ],
    )
    def test_mistakes_get_the_way_out(self, words: list[str], told: str) -> None:
        assert told in run("shape", *words, code=2).stderr


class TestVerdicts:
    def test_gradcheck_begins_with_passed_and_has_details_with_verbose(self) -> None:
        words = ("gradcheck", "6x5x2", "-k", "random:3x2x2x2")
        told = run(*words).stdout
        assert told.splitlines()[0] == "passed: dx, dw and db pass every test"
        assert "10 worst entries" not in told
        assert "<A v, dy>" not in told
        assert "-v shows the quantiles" in told
        assert "dw: the 10 worst entries" in run(*words, "-v").stdout

    def test_gradcheck_begins_with_what_failed_and_where_to_look(self) -> None:
        first, *rest = run(
            "gradcheck", "6x6", "-k", "box", "--break", "dw", code=1
        ).stdout.splitlines()
        assert first.startswith(
            "FAILED: dw disagrees with the central differences and the adjoint test and the"
        )
        assert "look at dw[1,1]: analytic " in first
        assert "dw: the 9 worst entries" in rest

    def test_laws_begin_with_passed_and_say_why_each_matters(self) -> None:
        from convcli.learn.laws import LAWS

        told = run("laws", "9x9", "-k", "sobel-x").stdout
        assert told.splitlines()[0] == (
            "passed: all 10 laws hold up to rounding; 12 differ, as they must"
        )
        for law in LAWS:
            assert law.why.endswith(".")
            assert f"  {law.why}\n" in told
        assert "bound" not in told

    def test_what_must_differ_is_shown_as_such_and_dim(self) -> None:
        lines = on_terminal("laws", "9x9", "-k", "sobel-x", "-v", columns=140)
        differing = [line for line in lines if "differs, as it must" in line]
        assert len(differing) == 12
        assert all("\x1b[2mdiffers, as it must\x1b[0m" in line for line in differing)
        assert any("\x1b[32mholds\x1b[0m" in line for line in lines)

    def test_columns_of_the_laws_are_chosen(self) -> None:
        told = run("laws", "9x9", "-k", "sobel-x", "--columns", "statement,bound").stdout
        assert re.search(r"^statement +bound$", told, re.MULTILINE)

    def test_small_gradients_are_printed(self) -> None:
        Path("x.csv").write_text("1,2,3\n4,5,6\n7,8,9\n")
        told = run("grad", "x.csv", "-k", "1,0;0,1").stdout
        assert "dx 3x3\n[[1., 1., 0.],\n [1., 2., 1.],\n [0., 1., 1.]]" in told
        assert "dw 2x2\n[[12., 16.],\n [24., 28.]]" in told
        assert "db 1\n[4.]" in told
        large = run("grad", "30x30", "-k", "1,0;0,1").stdout
        assert "dx 30x30" not in large
        assert "dw 2x2" in large
        assert "dx 30x30" in run("grad", "30x30", "-k", "1,0;0,1", "-v").stdout


class TestQuiet:
    @pytest.mark.parametrize(
        "words",
        [
            ["gradcheck", "6x6", "-k", "box"],
            ["laws", "9x9", "-k", "box"],
            ["grad", "6x6", "-k", "box"],
            ["grad", "6x6", "-k", "box", "-o", "g.npz"],
            ["kernels", "export", "box", "-o", "box.csv"],
        ],
        ids=" ".join,
    )
    def test_nothing_is_printed(self, words: list[str]) -> None:
        assert run(*words, "-q").output == ""

    def test_a_failure_is(self) -> None:
        result = run("gradcheck", "6x6", "-k", "box", "--break", "dx", "-q", code=1)
        assert result.stdout == ""
        assert result.stderr.startswith("Error: dx disagrees")

    def test_what_is_asked_for_is(self) -> None:
        assert "sobel-x" in run("kernels", "list", "-q").stdout.splitlines()
        assert "png" in run("formats", "-q").stdout.splitlines()
        assert run("kernels", "show", "1,2,3", "-q").stdout == "[1. 2. 3.]\n"
        assert run("bench", "20x20", "-k", "box:size=3", "--runs", "1", "-q").stdout.startswith(
            "method"
        )


class TestShapeWords:
    def test_quiet_answers_alone(self) -> None:
        assert run("shape", "--solve", "224", "56", "-q").stdout == "conv:1,k=4,s=4\n"
        told = run("shape", "9x9x1", "conv:1,k=3", "--at", "0,0", "-q").stdout
        assert told.startswith("  sees     output 0,0 of 7x7")
        assert (
            run("shape", "9x9x1", "conv:2,k=3", "--emit", "torch", "-o", "net.py", "-q").output
            == ""
        )

    def test_verbose_tells_the_memory_of_one_layer(self) -> None:
        told = run("shape", "28x28", "-k", "3x3", "-v").stdout
        assert "  input     784 values, 3.06 KiB of float32\n" in told
        assert "  output    676 values, 2.64 KiB of float32\n" in told

    def test_negative_indices_count_from_the_end_of_the_output(self) -> None:
        assert "output 6,0 of 7x7" in run("shape", "9x9x1", "conv:1,k=3", "--at", "-1,-7").stdout
        assert (
            "outside the output 7x7"
            in run("shape", "9x9x1", "conv:1,k=3", "--at", "-8,0", code=2).stderr
        )


class TestKernels:
    def test_a_pattern_with_stars_matches_names(self) -> None:
        assert run("kernels", "list", "gauss*", "-q").stdout == "gaussian\n"
        assert {"sobel-x", "scharr-x"} <= set(
            run("kernels", "list", "*-x", "-q").stdout.splitlines()
        )
        assert "no kernel matches 'gau?'" in run("kernels", "list", "gau?", code=2).stderr

    def test_the_middle_of_a_large_kernel_is_shown(self) -> None:
        told = run("kernels", "show", "gaussian:sigma=2").stdout
        assert "0.0398" in told
        assert "taps with the most weight, [2..14, 2..14] of 17x17; -v shows all" in told
        assert "most weight" not in run("kernels", "show", "gaussian:sigma=2", "-v").stdout
        assert "most weight" not in run("kernels", "show", "sobel-x").stdout

    @pytest.mark.parametrize(
        "words", [["explain", "6x6"], ["gradcheck", "6x6"], ["laws", "9x9"]], ids=" ".join
    )
    def test_a_size_is_not_a_kernel(self, words: list[str]) -> None:
        told = run(*words, "-k", "3x3", code=2).stderr
        assert "write random:3x3 for random taps, or box:size=3x3 for a mean" in told

    def test_help_of_a_command_in_a_group(self) -> None:
        assert run("help", "kernels", "export").stdout == run("kernels", "export", "--help").stdout
        assert "did you mean 'export'?" in run("help", "kernels", "exprt", code=2).stderr
        assert "apply has no commands" in run("help", "apply", "export", code=2).stderr


class TestProgress:
    def test_computations_report_how_far_they_are(self) -> None:
        from convcli.bench.run import BenchRequest, run_bench
        from convcli.jobs.grad import GradRequest, run_grad
        from convcli.jobs.gradcheck import GradcheckRequest, run_gradcheck
        from convcli.learn.laws import LawsRequest, run_laws

        for call in (
            lambda report: run_gradcheck(GradcheckRequest("6x6", "box:size=3", sweep=True), report),
            lambda report: run_laws(LawsRequest("9", "1,2"), report),
            lambda report: run_grad(GradRequest("6x6", "box:size=3"), report),
            lambda report: run_bench(BenchRequest((20, 20), "box:size=3", runs=2), progress=report),
        ):
            shares: list[float] = []
            call(shares.append)
            assert len(shares) > 1
            assert shares == sorted(shares)
            assert shares[-1] == pytest.approx(1)

    def test_the_bar_opens_only_if_work_is_still_going_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from convcli.cli.report import progress

        opened = []
        monkeypatch.setattr(progress, "is_terminal", lambda stream: True)
        monkeypatch.setattr(progress, "_make_bar", lambda **_: opened.append(1) or _Bar())
        with progress.ProgressBar("short") as bar:
            bar(0.5)
        assert opened == []
        monkeypatch.setattr(progress, "DELAY", 0.0)
        with progress.ProgressBar("long") as bar:
            bar._timer.join()
            bar(0.5)
            assert bar._bar.shares[-1] == 0.5
        assert bar._bar.stopped
        with progress.ProgressBar("steady", steady=True) as bar:
            assert len(opened) == 1
            bar(0.25)
            assert len(opened) == 2
        with progress.ProgressBar("hidden", shown=False, steady=True) as bar:
            bar(0.25)
        assert len(opened) == 2


class _Task:
    start_time = 0.0


class _Bar:
    """What a bar of Rich is asked for."""

    def __init__(self) -> None:
        self.tasks = [_Task()]
        self.shares: list[float] = []
        self.stopped = False

    def add_task(self, what: str, total: float) -> int:
        return 0

    def update(self, task: int, *, completed: float, refresh: bool = False) -> None:
        self.shares.append(completed)

    def get_time(self) -> float:
        return 10.0

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True
