"""The command line under rough use: what is nearly right, half there, or past what a type holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from convcli.cli import main


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    np.save("flat.npy", np.full((6, 6), 10.0, np.float32))
    np.save("colour.npy", np.ones((6, 6, 3), np.uint8))
    np.save("truth.npy", np.ones((6, 6), bool))


def run(*words: str) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return CliRunner().invoke(main, list(words))


def refused(*words: str, code: int = 2) -> str:
    """The one line on stderr with which a command refuses."""
    result = run(*words)
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
    assert result.stderr.count("\n") == 1
    assert "fault" not in result.stderr
    return result.stderr


def ok(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("convcli", f"'{sys.executable}' -m convcli")
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)


class TestStandardStreams:
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
    @pytest.mark.parametrize(
        "words",
        ["shape 8x8 -k 3x3", "shape 8x8 -k 3x3 --json", "kernels list", "gradcheck 4x4 -k box"],
    )
    def test_a_full_disk_is_no_fault_of_ours(self, words: str) -> None:
        done = shell(f"convcli {words} > /dev/full")
        assert done.returncode == 1
        message = "standard output cannot be written; No space left on device"
        if "--json" in words:
            record = json.loads(done.stderr)
            assert (record["error"], record["code"], record["hint"]) == (message, 1, None)
        else:
            assert done.stderr == f"Error: {message}\n"

    @pytest.mark.parametrize(
        "words", ["--help", "shape --help", "shape 8x8 -k 3x3", "kernels list"]
    )
    def test_a_pipe_that_nobody_reads_ends_silently(self, words: str) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "convcli", *words.split()]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, b"")

    @pytest.mark.parametrize(
        "words", ["shape 8x8 -k 3x3", "shape 8x8 -k 3x3 --json", "kernels list"]
    )
    def test_a_closed_standard_output_is_no_fault_of_ours(self, words: str) -> None:
        done = shell(f"convcli {words} >&-")
        assert (done.returncode, done.stderr) == (0, "")

    def test_data_has_nowhere_to_go_where_standard_output_is_closed(self) -> None:
        done = shell("convcli apply flat.npy -k box -o - >&-")
        assert (done.returncode, done.stderr) == (
            1,
            "Error: standard output cannot be written; it is closed\n",
        )

    def test_a_closed_standard_input_is_refused(self) -> None:
        done = shell("convcli apply - -k box <&-")
        assert done.returncode == 2
        assert done.stderr.startswith("Error: standard input is closed;")

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
    @pytest.mark.parametrize(
        "words",
        [
            "apply flat.npy -k box",
            "apply flat.npy -k box --json",
            "apply flat.npy -k box -o closed.npy --overwrite",
            "batch flat.npy -k box --out closed --overwrite --json",
            "explain flat.npy -k box --at 1,1",
            "guide apply",
            "kernels show gaussian",
            "formats",
            "--help",
        ],
    )
    def test_nothing_fails_for_want_of_a_stream_that_it_does_not_need(
        self, words: str, closed: str
    ) -> None:
        done = shell(f"convcli {words} {closed}")
        assert done.returncode == 0, done.stderr

    def test_a_network_has_nowhere_to_go_where_standard_output_is_closed(self) -> None:
        done = shell("convcli shape 8x8x3 conv:2,k=3 --emit onnx >&-")
        assert (done.returncode, done.stderr) == (
            1,
            "Error: standard output cannot be written; it is closed\n",
        )


NAMES = ("gr\u00fcn\u2192.npy", b"bad\xff\xe9.npy".decode("utf-8", "surrogateescape"))
"""A name that few encodings hold, and one that is no text."""


class TestEncodings:
    """What a stream's encoding does not have is written in ASCII, and nothing fails for it."""

    @pytest.mark.slow
    @pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
    @pytest.mark.parametrize(
        "words",
        [
            "apply NAME -k box",
            "apply NAME -k box --json",
            "apply NAME -k box -q -o NAME.npy --overwrite",
            "apply NAMELESS -k box",
            "apply NAME -k NAME",
            "batch NAME -k box --out out --overwrite",
            "explain NAME -k box --at 1,1",
            "animate NAME -k box -o y.gif",
            "laws NAME -k box",
            "grad NAME -k box",
            "shape 3x8x8 conv:2,k=NAME",
            "kernels show gaussian",
            "kernels show NAME",
            "bench 40x40 -k box --runs 1",
            "guide apply",
            "guide NAME",
            "NAME",
            "--NAME",
        ],
    )
    @pytest.mark.parametrize("name", NAMES, ids=["unicode", "bytes"])
    def test_every_command_prints(self, words: str, name: str, encoding: str) -> None:
        shutil.copy("flat.npy", name)
        command = [
            sys.executable,
            "-m",
            "convcli",
            *(word.replace("NAME", name) for word in words.split()),
        ]
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        printed = (done.stdout + done.stderr).decode(encoding)
        assert done.returncode in (0, 2), printed
        assert "fault of convcli" not in printed
        assert "Traceback" not in printed

    def test_bars_arrows_and_names_have_an_ascii_form(self) -> None:
        shutil.copy("flat.npy", NAMES[0])
        environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "LC_ALL": "C"}
        command = [sys.executable, "-m", "convcli", "apply", NAMES[0], "-k", "box"]
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        assert done.stdout.startswith("gr\u00fcn->.npy ".encode("cp1252"))
        environment["PYTHONIOENCODING"] = "ascii"
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        assert done.stdout.startswith(rb"gr\xfcn->.npy ")
        shown = [sys.executable, "-m", "convcli", "kernels", "show", "gaussian"]
        done = subprocess.run(shown, capture_output=True, check=True, env=environment)
        assert b"++##++.." in done.stdout
        assert b" 1 |*******" in done.stdout


class TestSeveralKernels:
    def test_a_dry_run_refuses_what_the_run_refuses(self) -> None:
        call = ("apply", "flat.npy", "-k", "box", "-k", "box:size=5")
        assert refused(*call) == refused(*call, "--dry-run")

    def test_banks_of_unequal_counts_are_stacked(self) -> None:
        call = ("apply", "colour.npy", "-k", "random:2x3x3x3", "-k", "random:4x3x3x3")
        assert "4x4x6 float32" in ok(*call, "--dry-run")
        run(*call, "-o", "out.npy")
        assert np.load("out.npy").shape == (4, 4, 6)

    def test_banks_of_unequal_counts_are_not_added(self) -> None:
        message = refused(
            "apply",
            "colour.npy",
            "-k",
            "random:2x3x3x3",
            "-k",
            "random:4x3x3x3",
            "--combine",
            "sum",
        )
        assert "4x4x2 and 4x4x4" in message
        assert "--padding same" not in message


class TestNumbersOutOfReach:
    @pytest.mark.parametrize("option", ["--scale", "--bias"])
    @pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
    def test_what_is_no_number_is_refused(self, option: str, value: str) -> None:
        message = refused("apply", "flat.npy", "-k", "box", option, value)
        assert f"{option.lstrip('-')} {value}" in message

    @pytest.mark.parametrize("option", ["--scale", "--bias"])
    def test_what_overflows_is_counted_without_a_warning(self, option: str) -> None:
        told = ok("apply", "flat.npy", "-k", "box", option, "1e300")
        assert re.search("clipped 100 %: 16 above 3.40282e|16 of 16 values not finite", told)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_range_error_refuses_what_an_integer_cannot_say(self, value: float) -> None:
        np.save("hole.npy", np.where(np.eye(6) > 0, value, 1.0))
        call = ("apply", "hole.npy", "-k", "identity:size=1", "--dtype", "uint8", "-o", "out.npy")
        assert " 6 of 36" in refused(*call, "--range", "error", code=1)
        assert run(*call).exit_code == 0

    def test_infinities_count_as_clipped(self) -> None:
        np.save("hole.npy", np.where(np.eye(6) > 0, np.inf, 1.0))
        shown = ok("apply", "hole.npy", "-k", "identity:size=1", "--dtype", "uint8")
        assert " 6 above 255" in shown

    def test_a_negative_seed_is_refused(self) -> None:
        assert "--seed" in refused("gradcheck", "4x4", "-k", "box", "--seed", "-1")


class TestChannelsAndAxes:
    def test_a_depthwise_bank_needs_no_dims(self) -> None:
        assert ok("shape", "8x8x5", "-k", "5x3x3x1", "--groups", "5", "-q") == "6x6x5\n"

    def test_groups_that_do_not_divide_the_channels_are_named(self) -> None:
        message = refused("shape", "8x8x5", "-k", "8x3x3x2", "--groups", "2")
        assert "5 channels" in message
        assert "2 groups" in message
        assert "expected 5" not in message

    @pytest.mark.parametrize(
        ("words", "output"),
        [
            (("100", "-k", "box"), "98"),
            (("9x9x9", "-k", "box", "--dims", "3"), "7x7x7"),
            (("9x9x3", "-k", "sobel-x"), "7x7x3"),
            (("9x9", "-k", "random:4x3x3x1"), "7x7x4"),
        ],
    )
    def test_a_named_kernel_takes_the_axes_of_the_shape(
        self, words: tuple[str, ...], output: str
    ) -> None:
        assert ok("shape", *words, "-q") == f"{output}\n"

    def test_a_row_on_a_picture_is_told_how_to_be_one(self) -> None:
        assert "1x3 or 3x1" in refused("apply", "flat.npy", "-k", "1,0,-1", "--dims", "2")


class TestNames:
    def test_an_empty_name(self) -> None:
        assert "no input" in refused("apply", "", "-k", "box")

    def test_a_folder_as_output(self) -> None:
        Path("out").mkdir()
        assert "out is a folder" in refused("apply", "flat.npy", "-k", "box", "-o", "out")
        assert "out is a folder" in refused("kernels", "export", "box", "-o", "out")

    @pytest.mark.parametrize(
        ("output", "words"),
        [("-", "standard output has no suffix"), ("taps", "taps has no suffix")],
    )
    def test_a_kernel_without_a_form(self, output: str, words: str) -> None:
        message = refused("kernels", "export", "box", "-o", output)
        assert words in message
        assert "imagemagick" in message

    def test_a_dump_in_the_way_is_refused_before_the_work(self) -> None:
        Path("proof.npz").touch()
        for name in ("proof.npz", "proof.txt", "missing/proof.npz"):
            result = run("gradcheck", "4x4", "-k", "box", "--dump", name)
            assert (result.exit_code, result.stdout) == (2, ""), name

    @pytest.mark.parametrize("shape", ["0x8", "8x8x"])
    def test_a_shape_with_a_mistake_is_no_missing_file(self, shape: str) -> None:
        assert "shape" in refused("gradcheck", shape, "-k", "box")

    @pytest.mark.parametrize("text", ["gausian,sigma=2", "gaussian,sigma=2", "gaussian sigma=2"])
    def test_parameters_without_a_colon(self, text: str) -> None:
        assert "did you mean 'gaussian:sigma=2'?" in refused("kernels", "show", text)

    def test_the_right_direction_is_suggested_before_another(self) -> None:
        assert "did you mean 'sobel-x'?" in refused("kernels", "show", "sobel-x,size=3")


class TestFormats:
    def test_a_sound_file_that_cannot_be_decoded_is_not_called_damaged(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("convcli.io.formats.find_spec", lambda package: None)
        header = b"II*\x00" + (8).to_bytes(4, "little")
        entries = [(256, 2), (257, 2), (258, 64), (259, 1), (262, 1), (273, 8), (277, 1), (339, 3)]
        body = b"".join(
            tag.to_bytes(2, "little") + b"\x03\x00\x01\x00\x00\x00" + value.to_bytes(4, "little")
            for tag, value in entries
        )
        Path("double.tif").write_bytes(
            header + len(entries).to_bytes(2, "little") + body + bytes(36)
        )
        message = refused("apply", "double.tif", "-k", "identity")
        assert (
            "double.tif holds floating 64-bit samples; which Pillow does not keep whole" in message
        )
        assert "BufferedReader" not in message

    def test_what_is_written_is_what_is_refused(self) -> None:
        message = refused("apply", "truth.npy", "-k", "box", "-o", "out.png")
        assert "float32" in message
        assert message.count("bool") == 1

    def test_one_channel_is_singular(self) -> None:
        message = refused("apply", "flat.npy", "-k", "box", "--dtype", "uint8", "-o", "out.ppm")
        assert "with 1 channel;" in message


class TestTables:
    def test_small_taps_are_shown(self) -> None:
        assert "1.e-05" in ok("kernels", "show", "0.00001,0.00002")

    def test_a_gradient_table_in_80_columns_loses_nothing(self) -> None:
        shown = ok("gradcheck", "100x100x3", "-k", "random:4x3x3x3", "--samples", "5")
        assert "…" not in shown
