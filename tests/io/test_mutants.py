"""Bad files: a documented exit code and a message of one line; no traceback, hang or signal.

A part of a file is never read as a whole one.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from mutants import HANG, LEFT_OUT, SAMPLES, Ended, call, mutants, picture
from PIL import Image, ImageFile

from convcli.cli import main
from convcli.errors import InputError
from convcli.io import RawLayout, all_formats, available, load, lookup
from convcli.io.codec import codec_of
from convcli.io.formats import split_suffix
from convcli.io.images.codec import Pillow
from convcli.io.images.tiff_directories import find_broken_deflate

pytestmark = pytest.mark.filterwarnings(
    r"ignore::UserWarning:PIL\..*"
)  # the command mutes them itself

PROGRAM = Path(__file__).parents[1] / "mutants.py"
QUICK, BATCH, BATCHES = 500, 1000, 10
RAW = RawLayout((11, 13), np.dtype("f8"))


def ended(folder: Path, seed: int, count: int, *options: str) -> list[Ended]:
    """Run a batch in its own process; report a signal or a hang with the mutant that caused it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CONVCLI_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(folder), str(seed), str(count), *options]
    with (folder / "stderr").open("w+") as stderr:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            timeout=HANG * 30,
            check=False,
        )
        stderr.seek(0)
        told = stderr.read()
    now = folder / "now"
    last = now.read_text() if now.exists() else "none"
    assert done.returncode == 0, f"{last}: ended with {done.returncode}\n{told[-3000:]}"
    return [Ended(**one) for one in json.loads(done.stdout)]


def check(endings: list[Ended], seed: int, count: int) -> None:
    wrong = [
        f"{seed}:{one.number} {one.sample} {one.way}: {one.wrong}: {one.stderr[:300]}"
        for one in endings
        if one.wrong
    ]
    assert not wrong, "\n".join(wrong)
    codes = Counter(one.code for one in endings)
    assert len(endings) > 0.95 * count
    assert codes[2] > count / 2
    assert codes[0] > count / 10


def test_a_few_hundred_mutants(tmp_path: Path) -> None:
    check(ended(tmp_path, 0, QUICK), 0, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, BATCHES + 1))
def test_ten_thousand_mutants(tmp_path: Path, seed: int) -> None:
    check(ended(tmp_path, seed, BATCH), seed, BATCH)


@pytest.mark.slow
def test_a_thousand_that_may_be_truncated_say_so(tmp_path: Path) -> None:
    endings = ended(tmp_path, 77, BATCH, "--allow-truncated")
    check(endings, 77, BATCH)
    assert sum(one.code == 0 and one.stderr.startswith("warning: ") for one in endings) > BATCH / 20


def test_the_same_seed_makes_the_same_mutants() -> None:
    assert list(mutants(3, 200)) == list(mutants(3, 200))
    assert {mutant.sample for mutant in mutants(3, 200)} == set(SAMPLES)


def test_there_is_a_sample_of_every_format() -> None:
    suffixes = {split_suffix(name)[1] for name, sample in SAMPLES.items() if sample.use == "input"}
    assert all(
        suffixes & set(form.suffixes)
        for form in all_formats()
        if available(form) and not form.store
    )


# Parts and checksums, byte by byte.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("good.npy", np.arange(99.0).reshape(9, 11))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def values(name: str) -> bytes | None:
    """Return what a file is read as, or None if it is refused."""
    try:
        return load(name, raw=RAW, volume="stack" in name).array.tobytes()
    except InputError:
        return None


INPUTS = [name for name, sample in SAMPLES.items() if sample.use == "input"]


@pytest.mark.parametrize("name", [name for name in INPUTS if SAMPLES[name].whole])
def test_no_part_is_taken_for_the_whole(folder: Path, name: str) -> None:
    content = SAMPLES[name].write()
    ends = {
        *range(1, len(content), max(len(content) // 60, 1)),
        *range(max(len(content) - 25, 1), len(content)),
    }
    for end in sorted(ends):
        Path(name).write_bytes(content[:end])
        assert values(name) is None or is_whole_and_told(name, content), (
            f"{end} of {len(content)} bytes"
        )


def is_whole_and_told(name: str, content: bytes) -> bool:
    """Return whether the part that is cut off has no samples, such as a GIF's trailer.

    A warning must report it.
    """
    cut = load(name)
    Path(name).write_bytes(content)
    return bool(cut.warnings) and np.array_equal(cut.array, load(name).array)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*(name for name in INPUTS if SAMPLES[name].summed), "deflate.tiff"]
)
def test_a_checksum_that_differs_is_no_success(folder: Path, name: str) -> None:
    content = SAMPLES[name].write()
    Path(name).write_bytes(content)
    whole = values(name)
    assert whole is not None
    body = (
        range(0, len(content), 3)
        if name != "deflate.tiff"
        else range(8, int.from_bytes(content[4:8], "little"))
    )
    for at in body:
        changed = bytearray(content)
        changed[at] ^= 0x10
        Path(name).write_bytes(changed)
        assert values(name) in (None, whole) or only_left_out(name, whole), f"byte {at}"


def only_left_out(name: str, whole: bytes) -> bool:
    """Return whether a chunk other than the samples is left out with a warning.

    Without EXIF the picture may be rotated.
    """
    data = load(name)
    return any(LEFT_OUT in warning for warning in data.warnings) and sorted(
        data.array.tobytes()
    ) == sorted(whole)


class TestTruncated:
    @pytest.mark.parametrize(
        "name", ["rgb.png", "rgb.jpg", "gray.gif", "rgb.bmp", "rgb.tiff", "rgb.ppm"]
    )
    def test_it_is_read_if_asked_for_and_said(self, folder: Path, name: str) -> None:
        Image.fromarray(
            np.kron(picture(1 if "gray" in name else 3), np.ones((8, 8, 1), np.uint8)).squeeze()
        ).save(name)
        content = Path(name).read_bytes()
        whole = load(name).array
        Path(name).write_bytes(content[: len(content) * 3 // 4])
        words = ["apply", name, "-k", "identity:size=1", "-o", "y.npy"]
        refused = run(*words)
        assert refused.exit_code == 2
        assert f"{name} is damaged: " in refused.stderr
        assert "--allow-truncated" in refused.stderr
        assert not Path("y.npy").exists()
        allowed = run(*words, "--allow-truncated")
        assert allowed.exit_code == 0
        assert allowed.stderr.startswith(f"warning: {name} is damaged: ")
        part = np.load("y.npy")
        assert part.shape == whole.shape
        kept = (
            slice(-20, None) if name == "rgb.bmp" else slice(20)
        )  # a BMP begins with its last row
        np.testing.assert_array_equal(part[kept], whole[kept])
        assert not np.array_equal(part, whole)
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False

    @pytest.mark.parametrize(
        ("name", "chosen"),
        [
            ("x.gif", "first"),
            ("x.gif", "1"),
            ("x.gif", "all"),
            ("x.tiff", "first"),
            ("x.png", "first"),
        ],
    )
    def test_frames_are_read_that_stand_before_the_cut(
        self, folder: Path, name: str, chosen: str
    ) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3), dtype=np.uint8)
        first, *others = map(Image.fromarray, noise)
        first.save(name, save_all=True, append_images=others)
        whole = load(name, frames="all").array
        content = Path(name).read_bytes()
        last = content.rfind(b"!\xf9\x04") if name == "x.gif" else -1
        Path(name).write_bytes(content[: last + 12 if last > 0 else len(content) // 2])
        words = ["apply", name, "-k", "identity:size=1", "-o", "y.npy", "--frames", chosen]
        assert "--allow-truncated" in run(*words).stderr
        allowed = run(*words, "--allow-truncated")
        assert allowed.stderr.startswith(f"warning: {name} is damaged: ")
        part = np.load("y.npy")
        expected = {"first": whole[0], "1": whole[1], "all": whole[:2]}[chosen]
        np.testing.assert_array_equal(part[:2] if chosen == "all" else part, expected)

    def test_a_whole_picture_is_read_without_a_word(self, folder: Path) -> None:
        Image.fromarray(picture()).save("x.png")
        result = run("apply", "x.png", "-k", "box", "-o", "y.png", "--allow-truncated")
        assert result.exit_code == 0
        assert "Warning" not in result.stderr

    @pytest.mark.parametrize("name", ["rgb.jpg", "deflate.tiff"])
    def test_what_cannot_be_read_at_all_does_not_point_to_the_option(
        self, folder: Path, name: str
    ) -> None:
        content = bytearray(SAMPLES[name].write())
        content[int.from_bytes(content[4:8], "little") - 3 if name == "deflate.tiff" else 20] ^= (
            0xFF
        )
        Path(name).write_bytes(content if name == "deflate.tiff" else content[:60])
        assert "--allow-truncated" in run("apply", name, "-k", "box").stderr
        result = run("apply", name, "-k", "box", "--allow-truncated")
        assert result.exit_code == 2
        assert "--allow-truncated" not in result.stderr

    def test_what_is_no_picture_stays_refused(self, folder: Path) -> None:
        content = Path("good.npy").read_bytes()
        Path("good.npy").write_bytes(content[:-9])
        assert run("apply", "good.npy", "-k", "box", "--allow-truncated").exit_code == 2


class TestFromStrangers:
    def test_a_pickle_is_never_opened(self, folder: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, tuple[str, ...]]:
                return os.mkdir, ("gone-off",)

        for use in ("input", "kernel"):
            for name in ("bomb.npy", "bomb.npz"):
                with Path("bomb.npy").open("wb") as stream:
                    np.lib.format.write_array(
                        stream, np.array([Bomb(), 1], dtype=object), allow_pickle=True
                    )
                with zipfile.ZipFile("bomb.npz", "w") as archive:
                    archive.write("bomb.npy", "a.npy")
                assert run(*call(use, name)).exit_code == 2
            Path("bomb.npy").write_bytes(pickle.dumps(Bomb()))
            assert run(*call(use, "bomb.npy")).exit_code == 2
        assert not Path("gone-off").exists()

    @pytest.mark.parametrize("form", ["EPS", "PDF", "ICO", "ICNS", "PCX", "SGI", "TGA", "DDS"])
    @pytest.mark.parametrize("suffix", ["eps", "png", "tiff"])
    def test_formats_that_are_not_of_the_table_are_not_tried(
        self, folder: Path, form: str, suffix: str
    ) -> None:
        Image.new("RGB", (16, 16)).save(f"x.{suffix}", form)
        assert run("apply", f"x.{suffix}", "-k", "box").exit_code == 2

    def test_a_member_s_name_is_no_path(self, folder: Path) -> None:
        with zipfile.ZipFile("x.npz", "w") as archive:
            archive.write("good.npy", "../../outside.npy")
            archive.write("good.npy", "/tmp/outside.npy")
        before = sorted(path.name for path in folder.parent.iterdir())
        assert run("apply", "x.npz:../../outside", "-k", "box").exit_code == 0
        assert (
            run("apply", "good.npy", "-k", "x.npz:../../outside", "--padding", "same").exit_code
            == 0
        )
        assert sorted(path.name for path in folder.parent.iterdir()) == before
        assert not (folder.parent.parent / "outside.npy").exists()

    def test_a_file_s_words_do_not_reach_the_terminal(self, folder: Path) -> None:
        Path("x.csv").write_bytes(b"1,2\n" * 200 + b"3,\x1b[2Jhello\n")
        result = run("apply", "x.csv", "-k", "box")
        assert result.exit_code == 2
        assert "\\x1b[2Jhello" in result.stderr
        assert "\x1b" not in result.stderr

    def test_nor_does_a_file_s_name(self, folder: Path) -> None:
        Path("x\x1b[2J.npy").write_bytes(Path("good.npy").read_bytes())
        Path("n.toml").write_bytes(SAMPLES["net.toml"].write().replace(b"small", b"\\u001b[2J"))
        for words in (
            ["apply", "x\x1b[2J.npy", "-k", "box"],
            ["apply", "good.npy", "-k", "box", "-o", "y\x1b[2J.npy"],
            ["grad", "x\x1b[2J.npy", "-k", "box"],
            ["explain", "x\x1b[2J.npy", "-k", "box", "--at", "0,0"],
            ["laws", "x\x1b[2J.npy", "-k", "box"],
            ["shape", "n.toml"],
        ):
            result = run(*words)
            assert result.exit_code == 0, result.stderr
            assert "\x1b" not in result.output, words
            assert "\\x1b[2J" in result.output, words

    def test_a_library_s_long_words_are_cut(self, folder: Path) -> None:
        np.savez("x.npz", np.ones(400))
        content = Path("x.npz").read_bytes()
        Path("x.npz").write_bytes(
            content.replace(struct.pack("<HH", 9, 20), struct.pack("<HH", 3000, 20), 1)
        )
        for words in (["apply", "x.npz", "-k", "box"], ["kernels", "show", "x.npz"]):
            result = run(*words)
            assert result.exit_code == 2
            assert len(result.stderr) < 300


def find_damage(stream: io.BytesIO, format: str) -> str:
    codec = codec_of(lookup(format))
    assert isinstance(codec, Pillow)
    return codec.damage(stream)


def test_damage_is_found_in_the_middle_of_a_chunk() -> None:
    body = zlib.compress(bytes(1000), 0)
    chunk = (
        struct.pack(">I", len(body))
        + b"IDAT"
        + body
        + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    )
    assert find_damage(io.BytesIO(bytes(8) + chunk[:500]), "png") == "it ends too early"
    assert find_damage(io.BytesIO(bytes(8) + chunk), "png") == "it ends too early"
    assert (
        find_damage(io.BytesIO(bytes(8) + chunk.replace(b"IDAT", b"IDAX")), "png")
        == "the checksum of its chunk 'IDAX' differs"
    )


def test_a_scan_is_followed_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.kron(picture(), np.ones((9, 9, 1), np.uint8))).save(
        stream, "JPEG", progressive=True
    )
    for block in (2, 3, 7, 64, 1000):
        monkeypatch.setattr("convcli.io.images.jpeg_segments.BLOCK", block)
        assert find_damage(stream, "jpg") == ""
        assert find_damage(io.BytesIO(stream.getvalue()[:-1]), "jpg") == "it ends too early"
        assert (
            find_damage(io.BytesIO(stream.getvalue()[:-1] + bytes(block)), "jpg")
            == "it ends too early"
        )


def test_a_strip_is_not_unpacked_for_ever() -> None:
    packed = zlib.compress(bytes(10**6))
    assert find_broken_deflate(io.BytesIO(packed), [(0, len(packed))], 10**6) == ""
    assert (
        find_broken_deflate(io.BytesIO(packed), [(0, len(packed))], 10**4)
        == "a strip holds more than the picture"
    )
    assert (
        find_broken_deflate(io.BytesIO(packed), [(0, len(packed) - 1)], 10**6)
        == "it ends too early"
    )
    assert (
        find_broken_deflate(io.BytesIO(packed[:-1] + b"?"), [(0, len(packed))], 10**6)
        == "the checksum of a strip differs"
    )
