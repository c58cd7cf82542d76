"""What commands print on a terminal and into a pipe: widths, columns, styles, and no binary."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import ROOT, on_terminal, plain, run

pytest.importorskip("pty")

NETWORKS = ROOT / "samples" / "networks"
RESNET = str(NETWORKS / "resnet18.toml")
TABLES = {
    "shape": ["shape", "224x224x3", "-k", "64x7x7x3", "--stride", "2", "--padding", "3"],
    "shape network": ["shape", RESNET],
    "shape network -v": ["shape", RESNET, "-v"],
    "shape formula": ["shape", RESNET, "--formula", "--versus", "dense"],
    "shape at": ["shape", "224x224x3", "conv:64,k=7,s=2,p=3", "maxpool:3,s=2,p=1", "--at", "20,0"],
    "shape solve": ["shape", "--solve", "224x224", "56x56", "--rf", "31", "--max-layers", "3"],
}


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("words", TABLES.values(), ids=list(TABLES))
def test_no_line_is_wider_than_the_terminal(words: list[str], columns: int) -> None:
    lines = plain(on_terminal(*words, columns=columns))
    assert len(lines) > 1
    assert [line for line in lines if len(line) > columns] == []


@pytest.mark.parametrize("words", TABLES.values(), ids=list(TABLES))
def test_a_pipe_gets_whole_rows_without_blanks_or_styles(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
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
        assert "hidden at this width: memory, jump, pad, centre, dropped; choose with --columns" in told
        assert "hidden" not in " ".join(on_terminal("shape", RESNET, columns=200))

    def test_columns_are_chosen(self) -> None:
        words = ("shape", RESNET, "--columns", "layer,macs,centre")
        for lines in (run(*words).stdout.splitlines(), plain(on_terminal(*words, columns=30))):
            assert lines[1].split() == ["layer", "macs", "centre"]
        assert run("shape", RESNET, "--columns", "all").stdout == run("shape", RESNET).stdout
        assert run("shape", RESNET, "--columns", "layer,output", "--csv").stdout.splitlines()[:2] == [
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
        assert "residual[conv:3,k=3,p=1] x2" in run("shape", "9x9x3", "residual[conv:3,k=3,p=1]x2").stdout


class TestBinary:
    def test_a_model_is_never_written_to_a_terminal(self) -> None:
        pytest.importorskip("onnx")
        (line,) = on_terminal("shape", "9x9x1", "conv:2,k=3", "--emit", "onnx", code=2, columns=200)
        assert line == (
            "Error: onnx on a terminal; it is binary; expected a file or a pipe; name a file with -o, or add > FILE"
        )

    @pytest.mark.parametrize(
        "words",
        [
            ["grad", "5x5", "-k", "box", "-o", "-"],
            ["apply", str(ROOT / "samples" / "photo.png"), "-k", "box", "-o", "-"],
            ["apply", str(ROOT / "samples" / "photo.png"), "-k", "box", "-o", "-", "--format", "npy"],
            ["kernels", "export", "box", "-o", "-", "--format", "npy"],
        ],
        ids=" ".join,
    )
    def test_results_neither(self, words: list[str]) -> None:
        (line,) = on_terminal(*words, code=2, columns=200)
        assert "on a terminal; it is binary" in line

    def test_text_is(self) -> None:
        lines = on_terminal("kernels", "export", "box", "-o", "-", "--format", "csv", columns=200)
        assert lines[0].count(",") == 2
        assert on_terminal("shape", "9x9x1", "conv:2,k=3", "--emit", "torch")[0] == "import torch"


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


class TestHints:
    @pytest.mark.parametrize(
        ("words", "warning"),
        [
            (["3x224x224", "conv:4,k=3"], "add --layout channels_first if the first axis is channels"),
            (["3x224x224", "-k", "3x3"], "add --layout channels_first if the first axis is channels"),
            (["1x3x224x224", "conv:4,k=3", "--layout", "channels_first"], "give one picture as 3x224x224"),
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
