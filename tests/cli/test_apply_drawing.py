"""`apply --show` and `--plot`: where pictures go, and what they show."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from command import ROOT, STYLES, on_terminal, plain, run
from PIL import Image
from rich.console import Console
from rich.text import Text

from convcli.drawing.sampling import reduced
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.learn.figures.comparison import comparison_figure
from convcli.learn.figures.panels import panels

pytest.importorskip("pty")
PHOTO = str(ROOT / "samples" / "photo.png")
SIGNAL = str(ROOT / "samples" / "signal.csv")
SHOW = ("apply", PHOTO, "-k", "gaussian:sigma=2", "--padding", "same", "--show")


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pixels(lines: list[str], first: int, columns: int) -> np.ndarray:
    """Return the colours of half-blocks in some columns of lines: two rows per line."""
    rows = []
    for line in map(Text.from_ansi, lines):
        styles = [line.get_style_at_offset(Console(), first + at) for at in range(columns)]
        letters = line.plain[first : first + columns]
        if not letters or {*letters} - {"▀", "█"}:
            continue
        colours = [style.color.get_truecolor() for style in styles if style.color]
        rows.append(colours)
        rows.append(
            [
                style.bgcolor.get_truecolor() if letter == "▀" and style.bgcolor else colour
                for letter, style, colour in zip(letters, styles, colours, strict=True)
            ]
        )
    return np.array(rows)


def test_input_and_output_are_side_by_side_in_their_colours() -> None:
    lines = on_terminal(*SHOW, COLORTERM="truecolor")
    with Image.open(PHOTO) as image:
        x = np.asarray(image)
    y = run_apply(plan_apply(ApplyRequest(PHOTO, ("gaussian:sigma=2",)))).values
    scale = min(39 / 384, 34 / 256)
    height, width = round(256 * scale), round(384 * scale)
    drawn = [pixels(lines, first, width)[:height] for first in (0, width + 2)]
    assert np.array_equal(drawn[0], np.rint(reduced(x, height, width)))
    inner = np.abs(drawn[1] - reduced(y, height, width)).mean()
    assert inner < 20
    assert max(map(len, plain(lines))) <= 80
    assert len(lines) < 24
    assert any(line.startswith("before: ") and "after: " in line for line in plain(lines))


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize(
    "words", [(PHOTO, "-k", "sobel-x", "--dtype", "float32"), (SIGNAL, "-k", "box")], ids=str
)
def test_pictures_fit_the_terminal(words: tuple[str, ...], columns: int) -> None:
    lines = plain(on_terminal("apply", *words, "--show", columns=columns))
    assert max(map(len, lines)) <= columns
    assert len([line for line in lines if {*line} & set("▀█┤│")]) >= 4


@pytest.mark.parametrize(
    ("environment", "escape"),
    [
        ({"COLORTERM": "truecolor"}, "38;2;"),
        ({"COLORTERM": "", "TERM": "xterm-256color"}, "38;5;"),
        ({"COLORTERM": "", "TERM": "xterm"}, "\x1b[90"),
        ({"NO_COLOR": "1"}, "▒"),
        ({"TERM": "dumb"}, "▒"),
    ],
    ids=str,
)
def test_each_terminal_gets_what_it_shows(environment: dict[str, str], escape: str) -> None:
    text = "\n".join(on_terminal(*SHOW, **environment))
    assert escape in text
    assert ("▀" in text) == (escape != "▒")
    if escape == "▒":
        assert not STYLES.search(text)


def test_a_signal_is_a_line_above_the_other() -> None:
    lines = plain(on_terminal("apply", SIGNAL, "-k", "gaussian:sigma=4", "--show"))
    before, after = (
        next(at for at, line in enumerate(lines) if line.startswith(word))
        for word in ("before: ", "after: ")
    )
    assert after - before == 10
    assert lines[before + 1].startswith(" 3.007 ┤")
    assert lines[after + 1].startswith(" 2.527 ┤")
    assert lines[after + 9].split() == ["16", "495"]
    assert any("⠋" in line or "⠉" in line for line in lines[after:])


class TestWhere:
    """Nothing that stdout has for others is mixed with a picture."""

    def shell(self, line: str) -> list[str]:
        """Return what a line of a shell writes to its terminal."""
        python = shlex.quote(sys.executable)
        script = f"{python} -m convcli apply {shlex.quote(PHOTO)} -k box {line}"
        return on_terminal(command=["bash", "-c", script], code=None)

    @pytest.mark.parametrize(
        "line", ["-o out.png --show", "-o - --show > out.png", "--json --show > out"]
    )
    def test_beside_a_result_it_goes_to_stderr(self, line: str) -> None:
        assert any("▀" in each for each in self.shell(line))
        if "png" in line:
            with Image.open("out.png") as image:
                assert image.size == (382, 254)
        else:
            assert json.loads(Path("out").read_text())["command"] == "apply"

    @pytest.mark.parametrize(
        ("line", "stream"),
        [
            ("--show > out", "standard output"),
            ("-o out.png --show 2> out", "standard error"),
            ("--json --show 2> out", "standard error"),
        ],
    )
    def test_without_a_terminal_it_is_refused(self, line: str, stream: str) -> None:
        told = self.shell(line)
        if "2>" in line:
            told = Path("out").read_text().splitlines()
        message = f"--show draws in a terminal, and {stream} is none; use --plot FILE"
        assert message in " ".join(each.strip() for each in plain(told))
        assert not Path("out.png").exists()

    def test_quiet_leaves_the_picture(self) -> None:
        lines = plain(on_terminal(*SHOW, "-q"))
        assert not any("not saved" in line for line in lines)
        assert any("▀" in line for line in lines)


class TestPlot:
    def test_is_the_figure_of_the_run(self) -> None:
        done = run("apply", PHOTO, "-k", "sobel-x", "--plot", "c.png", "-o", "y.npy")
        with Image.open("c.png") as image:
            drawn = np.asarray(image)
        result = run_apply(plan_apply(ApplyRequest(PHOTO, ("sobel-x",), "again.npy")))
        assert np.array_equal(drawn, comparison_figure(*panels(result)))
        assert done.stdout == ""
        size = Path("c.png").stat().st_size
        assert f"wrote c.png (png, {size:,} bytes)\n" in done.stderr

    def test_files_in_the_way_and_options(self) -> None:
        words = ("apply", SIGNAL, "-k", "box", "--plot", "c.webp")
        run(*words, "-q")
        before = Path("c.webp").read_bytes()
        assert run(*words, code=2).stderr.endswith("expected a new file; pass --overwrite\n")
        record = json.loads(run(*words, "-f", "--json").stdout)
        assert record["plot"]["format"] == "webp"
        assert Path("c.webp").read_bytes() == before
        assert json.loads(run(*words[:4], "--json").stdout)["plot"] is None

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--plot", "y.png", "-o", "y.png"], "y.png is the input or the output"),
            (["--plot", "./a/../y.png", "-o", "y.png"], "is the input or the output"),
            (["--plot", "x.png", "-f"], "x.png is the input or the output"),
            (["--plot", "y.npy"], "y.npy is not the name of a picture file"),
            (["--plot", "-"], "standard output, which has the report"),
            (["--plot", "y.png", "-n"], "--plot draws a result, and --dry-run has none"),
            (["--show", "-n"], "--show draws a result, and --dry-run has none"),
            (["-f"], "--overwrite belongs to an output; add -o FILE"),
        ],
    )
    def test_what_does_not_fit(self, words: list[str], message: str) -> None:
        Path("x.png").write_bytes(Path(PHOTO).read_bytes())
        Path("a").mkdir()
        assert message in run("apply", "x.png", "-k", "box", *words, code=2).stderr
        assert Path("x.png").read_bytes() == Path(PHOTO).read_bytes()
        assert sorted(path.name for path in Path().iterdir()) == ["a", "x.png"]
