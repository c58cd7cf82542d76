"""`convcli kernels`: the words that people try."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from command import ROOT, on_terminal, plain
from PIL import Image
from rich.console import Console
from rich.text import Text

from convcli.cli import main
from convcli.cli.report.picture import SCALE
from convcli.drawing.sampling import diverging
from convcli.kernels import kernel
from convcli.learn.figures.kernel import kernel_figure

pytest.importorskip("pty")


def run(*words: str) -> str:
    result = CliRunner().invoke(main, ["kernels", *words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_name_alone_shows_the_kernel() -> None:
    assert run("sobel-x") == run("show", "sobel-x")
    assert run("gaussian:sigma=2", "--json") == run("show", "gaussian:sigma=2", "--json")


def test_a_pattern_lists_the_families_whose_line_contains_it() -> None:
    families = json.loads(run("list", "Edge", "--json"))["kernels"]
    assert {family["names"][0] for family in families} >= {"kirsch-nw", "robinson-nw", "log"}
    assert all(
        "edge" in " ".join((*family["names"], family["meaning"])).lower() for family in families
    )
    assert "gaussian" not in run("list", "edge")


def test_the_list_ends_with_other_names() -> None:
    *_, last = run("list").splitlines()
    assert "blur = gaussian, " in last
    assert "edges = the magnitude of sobel-x and sobel-y" in last
    assert "other names" not in run("list", "edge")


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    result = CliRunner().invoke(main, ["kernels", "list", "nonsense"])
    assert result.exit_code == 2
    assert (
        result.stderr
        == "Error: no kernel matches 'nonsense'; see all with 'convcli kernels list'\n"
    )


SOBEL = ("==··▒▒", "≡≡··██", "==··▒▒", "░▒█ from 0 to 2", "-=≡ from 0 to -2")


def begins(lines: list[str]) -> bool:
    """Return whether the picture of sobel-x without colour is among the lines."""
    return any(
        all(line.startswith(part) for line, part in zip(lines[at:], SOBEL, strict=False))
        for at in range(len(lines) - len(SOBEL))
    )


class TestPicture:
    def colours(self, lines: list[str]) -> np.ndarray:
        """Return the pixels of lines that begin with half-blocks, two rows for each line."""
        rows: list[list[tuple[int, int, int]]] = []
        for line in map(Text.from_ansi, lines):
            halves: list[list[tuple[int, int, int]]] = [[], []]
            for at, letter in enumerate(line.plain):
                if letter not in "▀█":
                    break
                style = line.get_style_at_offset(Console(), at)
                assert style.color is not None
                upper = style.color.get_truecolor()
                ground = style.bgcolor.get_truecolor() if style.bgcolor else None
                lower = upper if letter == "█" else ground
                halves[0].append(tuple(upper))
                halves[1].append(tuple(lower or (0, 0, 0)))
            rows += halves if halves[0] else []
        return np.array(rows)

    def drawn(self, *words: str, **environment: str) -> list[str]:
        lines = on_terminal("kernels", "show", *words, **environment)
        start = next(at for at, line in enumerate(lines) if "▀" in line or "█" in line)
        return lines[start:]

    @pytest.mark.parametrize("name", ["sobel-x", "gabor:theta=45,wavelength=8", "0,0.5;-1,0.25"])
    def test_a_tap_has_the_colour_of_its_value(self, name: str) -> None:
        found = kernel(name).taps
        rows, columns = found.shape
        side = min(36 // columns, 36 // rows, 6)
        lines = self.drawn(name, COLORTERM="truecolor")[: -(-side * rows // 2)]
        pixels = self.colours(lines)
        assert pixels.shape == (2 * len(lines), side * columns, 3)
        wanted = diverging(found / np.abs(found).max(), SCALE).repeat(side, 0).repeat(side, 1)
        assert np.array_equal(pixels[: side * rows], wanted)

    @pytest.mark.parametrize(
        ("environment", "escape"),
        [
            ({"COLORTERM": "truecolor"}, "38;2;"),
            ({"COLORTERM": "", "TERM": "xterm-256color"}, "38;5;"),
            ({"COLORTERM": "", "TERM": "xterm"}, "\x1b[34m"),
        ],
        ids=["truecolor", "256", "16"],
    )
    def test_each_terminal_gets_its_own_colours(
        self, environment: dict[str, str], escape: str
    ) -> None:
        text = "\n".join(self.drawn("sobel-x", **environment))
        assert escape in text
        assert ("38;2;" in text) == (escape == "38;2;")

    def test_sixteen_colours_tell_signs_and_sizes_apart(self) -> None:
        pixels = self.colours(self.drawn("sobel-x", COLORTERM="", TERM="xterm")[:9])
        taps = [pixels[3 + 6 * i, 3 + 6 * j].tolist() for i in range(3) for j in range(3)]
        assert len({tuple(colour) for colour in taps}) == 5
        assert taps[1] == taps[4] == taps[7]

    @pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
    def test_without_colour_signs_are_characters(self, environment: dict[str, str]) -> None:
        lines = on_terminal("kernels", "show", "sobel-x", **environment)
        assert begins(lines)
        assert "▀" not in "".join(lines)

    def test_a_terminal_without_half_blocks_gets_characters(self) -> None:
        lines = on_terminal("kernels", "show", "sobel-x", PYTHONIOENCODING="ascii")
        pictures = [line[:6] for line in lines[-10:-7]]
        assert pictures == ["==''++", "%%''##", "==''++"]

    def test_a_pipe_gets_characters_and_curves(self) -> None:
        assert begins(run("show", "sobel-x").splitlines())
        for name in ("gaussian:sigma=4", "box", "log", "random:9", "random:2x3x3"):
            assert "+" not in "".join(run("show", name).partition("source")[2])
            assert "┤" in run("show", name)

    def test_a_legend_has_the_ends_of_the_scale(self) -> None:
        *_, legend = self.drawn("gaussian:sigma=1", COLORTERM="truecolor")
        (legend,) = plain([legend])
        assert legend.split()[0] == "0"
        assert float(legend.split()[2]) == pytest.approx(kernel("gaussian").taps.max(), rel=1e-3)

    @pytest.mark.parametrize("columns", [40, 80, 200])
    @pytest.mark.parametrize("name", ["gaussian:sigma=40", "random:5x7x9", "random:300", "sobel-x"])
    def test_pictures_fit(self, name: str, columns: int) -> None:
        lines = self.drawn(name, columns=columns)  # type: ignore[arg-type]
        assert max(map(len, plain(lines))) <= columns

    def test_the_taps_of_a_signal_are_a_line_too(self) -> None:
        lines = run("show", "1,-2,1").splitlines()
        start = next(at for at, line in enumerate(lines) if line.endswith(" taps"))
        assert re.search(r" 1 ┤⠙⠲⣄⡀ +⣀⡴⠚$", lines[start + 1])
        assert re.search(r"-2 ┤ +⠈⠓⢦⣠⠖⠋$", lines[start + 6])
        assert lines[start + 8].split() == ["0", "2"]
        assert not any(line.endswith(" taps") for line in run("show", "sobel-x").splitlines())

    def test_large_kernels_say_that_cells_are_means(self) -> None:
        assert "each cell is the mean of several taps" in run("show", "gaussian:sigma=40")
        assert "each cell" not in run("show", "gaussian:sigma=2")
        assert "and 1 more plane; -v shows all" in run("show", "random:9x2x2")
        assert "more plane" not in run("show", "random:9x2x2", "-v")

    def test_a_silent_direction_is_named(self) -> None:
        assert "gain along y: 0\n" in run("show", "sobel-x")
        assert "gain along x and y: 0\n" in run("show", "0,0;0,0")


class TestPlot:
    def test_is_written_beside_the_report(self, tmp_path: Path) -> None:
        path = f"{tmp_path}/k.png"
        assert run("show", "sobel-x", "--plot", path) == run("show", "sobel-x")
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), kernel_figure(kernel("sobel-x")))
        again = CliRunner().invoke(main, ["kernels", "sobel-x", "--plot", path])
        assert again.exit_code == 2
        assert again.stderr == f"Error: {path} exists; expected a new file; pass --overwrite\n"
        record = json.loads(run("show", "sobel-x", "--plot", path, "-f", "--json"))
        assert record["plot"]["path"] == path
        assert json.loads(run("show", "sobel-x", "--json"))["plot"] is None

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["-f"], "--overwrite belongs to a picture; add --plot FILE"),
            (["--plot", "k.npy"], "k.npy is not the name of a picture file"),
            (["--plot", "-"], "standard output, which has the report"),
            (["--plot", "k.pgm"], "pgm cannot hold uint8 with 3 channels"),
        ],
    )
    def test_what_does_not_fit(self, words: list[str], message: str) -> None:
        result = CliRunner().invoke(main, ["kernels", "show", "box", *words])
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stdout == ""


class TestGallery:
    def test_a_sample_or_a_picture(self, tmp_path: Path) -> None:
        path = str(tmp_path / "g.png")
        words = ["kernels", "gallery", "-k", "box", "-k", "sobel-x", "-o", path]
        done = CliRunner().invoke(main, words)
        size = Path(path).stat().st_size
        assert done.stdout == ""
        assert done.stderr == f"2 kernels on the sample, 144x144 -> {path} (png, {size:,} bytes)\n"
        photo = str(ROOT / "samples" / "photo.png")
        record = json.loads(run("gallery", photo, "-k", "box", "-o", path, "-f", "--json"))
        assert record["input"] == photo
        assert record["shape"] == [96, 144]
        assert record["kernels"] == ["box"]
        assert record["written"]["path"] == path

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["-o", "g.npy"], "g.npy is not the name of a picture file"),
            (["-o", "-"], "standard output, which has the report"),
            (["none.png", "-o", "g.png"], "none.png"),
            (["-k", "bxo", "-o", "g.png"], "did you mean 'box'?"),
        ],
    )
    def test_what_does_not_fit(self, words: list[str], message: str) -> None:
        result = CliRunner().invoke(main, ["kernels", "gallery", *words])
        assert result.exit_code == 2
        assert message in result.stderr
