"""Recordings, compared with soundfile: samples, their kind, and the rate after a stride."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run

from convcli.errors import DtypeError, FileError, LimitError, ShapeError
from convcli.io import load, save
from convcli.io.arrays.wav import CODED, SUBTYPES, Recording
from convcli.limits import Limits

soundfile = pytest.importorskip("soundfile")


pytestmark = pytest.mark.usefixtures("in_tmp")


def record(
    name: str, subtype: str = "PCM_16", channels: int = 2, rate: int = 48000, **options: Any
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (3001, channels))
    soundfile.write(name, samples, rate, subtype, **options)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_every_sample_comes_back(subtype: str, channels: int) -> None:
    record("x.wav", subtype, channels, rate=44100)
    data = load("x.wav")
    assert data.array.dtype == SUBTYPES[subtype]
    assert data.array.shape == ((3001,) if channels == 1 else (3001, channels))
    run("apply", "x.wav", "-k", "identity:size=1", "-o", "y.wav")
    before, after = soundfile.info("x.wav"), soundfile.info("y.wav")
    assert (after.samplerate, after.subtype, after.channels) == (44100, before.subtype, channels)
    np.testing.assert_array_equal(soundfile.read("y.wav")[0], soundfile.read("x.wav")[0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("options", [{"endian": "BIG"}, {"format": "RF64"}])
def test_big_endian_and_long_recordings_are_read(
    subtype: str, channels: int, options: dict[str, Any]
) -> None:
    record("x.wav", subtype, channels, **{"format": "WAV", **options})
    record("y.wav", subtype, channels)
    assert Path("x.wav").read_bytes()[:4] in (b"RIFX", b"RF64")
    data, plain = load("x.wav"), load("y.wav")
    np.testing.assert_array_equal(data.array, plain.array)
    assert (data.array.dtype, data.header, data.warnings) == (plain.array.dtype, plain.header, ())
    content = Path("x.wav").read_bytes()
    for end in range(12, len(content) - 3000 * channels, 97):
        Path("x.wav").write_bytes(content[:end])
        with pytest.raises(FileError):
            load("x.wav")


def test_what_is_missing_behind_the_samples_is_told() -> None:
    record("x.wav")
    content = bytearray(Path("x.wav").read_bytes())
    content[4:8] = (len(content) + 26 - 8).to_bytes(4, "little")
    Path("y.wav").write_bytes(content)
    data = load("y.wav")
    np.testing.assert_array_equal(data.array, load("x.wav").array)
    declared = f"{len(content) + 26:,} bytes were declared"
    found = f"{len(content):,} are there"
    warning = f"it ends too early: {declared}, {found}; its samples are whole"
    assert data.warnings == (warning,)


def test_a_kind_of_samples_that_is_not_known_is_told_without_the_stream() -> None:
    record("x.wav")
    content = bytearray(Path("x.wav").read_bytes())
    content[34:36] = (45).to_bytes(2, "little")
    Path("x.wav").write_bytes(content)
    with pytest.raises(FileError, match=r"x\.wav is damaged: [^<>]*; expected a whole \.wav file"):
        load("x.wav")


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
def test_what_is_too_loud_is_clipped_and_never_wraps(subtype: str) -> None:
    record("x.wav", subtype)
    told = run("apply", "x.wav", "-k", "identity:size=1", "--scale", "3", "-o", "y.wav").stderr
    assert " below -" in told
    samples = soundfile.read("x.wav")[0]
    step = 2.0 ** (1 - int(subtype[-2:].lstrip("U")))
    np.testing.assert_allclose(
        soundfile.read("y.wav")[0], np.clip(3 * samples, -1, 1 - step), atol=step
    )


def test_each_channel_is_filtered_in_time() -> None:
    record("x.wav", "FLOAT")
    run("apply", "x.wav", "-k", "0.5,0.25,0.25", "-o", "y.wav")
    samples = load("x.wav").array
    expected = np.stack(
        [np.correlate(lane, [0.5, 0.25, 0.25]) for lane in samples.T.astype(np.float64)], 1
    )
    np.testing.assert_allclose(load("y.wav").array, expected, atol=1e-6)


def test_a_stride_divides_the_rate() -> None:
    record("x.wav")
    run("apply", "x.wav", "-k", "box", "--stride", "3", "-o", "y.wav")
    assert soundfile.info("y.wav").samplerate == 16000
    told = run("apply", "x.wav", "-k", "box", "--stride", "7", "-o", "z.wav", code=2).stderr
    assert "stride 7 leaves 6,857.14 of 48,000 samples a second; expected a whole number" in told
    assert not Path("z.wav").exists()
    run("apply", "x.wav", "-k", "box", "--stride", "7", "-o", "z.npy")


def test_a_rate_is_not_invented() -> None:
    np.save("x.npy", np.zeros(9, np.int16))
    told = run("apply", "x.npy", "-k", "box", "-o", "y.wav", code=2).stderr
    assert "wav needs a sample rate; the input has none; begin with a .wav, or write .npy" in told


def test_the_kind_of_samples_follows_the_type() -> None:
    record("x.wav", "PCM_24")
    for dtype, subtype in (
        ("int16", "PCM_16"),
        ("int32", "PCM_24"),
        ("float64", "DOUBLE"),
        ("int8", "PCM_U8"),
    ):
        run("apply", "x.wav", "-k", "box", "--dtype", dtype, "-o", "y.wav", "--overwrite")
        assert soundfile.info("y.wav").subtype == subtype
    told = run(
        "apply", "x.wav", "-k", "box", "--dtype", "uint16", "-o", "y.wav", "--overwrite", code=2
    ).stderr
    assert "wav cannot hold uint16; it holds int8, int16, int32, float32 and float64" in told


@pytest.mark.parametrize("subtype", CODED)
def test_coded_samples_are_decoded_to_sixteen_bits(subtype: str) -> None:
    record("x.wav", subtype, rate=8000)
    data = load("x.wav")
    assert data.notes == ("8,000 samples a second", f"{CODED[subtype]} decoded to 16 bits")
    decoded = soundfile.read("x.wav", dtype="int16")[0]
    np.testing.assert_array_equal(data.array, decoded)
    told = run("apply", "x.wav", "-k", "identity:size=1", "-o", "y.wav").stderr
    assert f"{CODED[subtype]} decoded to 16 bits" in told
    assert soundfile.info("y.wav").subtype == "PCM_16"
    np.testing.assert_array_equal(soundfile.read("y.wav", dtype="int16")[0], decoded)


def test_other_kinds_are_refused() -> None:
    record("x.wav", "GSM610", channels=1, rate=8000)
    with pytest.raises(
        DtypeError, match=r"x\.wav holds GSM610 samples; expected one of PCM_U8, .*, ULAW, "
    ):
        load("x.wav")


def test_a_part_is_not_taken_for_the_whole() -> None:
    record("x.wav")
    content = Path("x.wav").read_bytes()
    for end in (20, 40, 44, 45, len(content) - 1):
        Path("x.wav").write_bytes(content[:end])
        with pytest.raises(FileError, match=r"x\.wav is damaged: it ends too early"):
            load("x.wav")


def test_limits_come_first() -> None:
    record("x.wav")
    with pytest.raises(LimitError, match=r"x\.wav takes 11\.72 KiB of memory"):
        load("x.wav", limits=Limits(2**13))
    with pytest.raises(ShapeError, match="wav holds at most"):
        save("y.wav", np.broadcast_to(np.zeros(1), 2**29), header=Recording(8000, "DOUBLE"))
    assert not Path("y.wav").exists()


def test_a_pipe_carries_one() -> None:
    record("x.wav")
    result = run("apply", "-", "-k", "box", "-o", "-", stdin=Path("x.wav").read_bytes())
    run("apply", "x.wav", "-k", "box", "-o", "y.wav")
    assert result.stdout_bytes == Path("y.wav").read_bytes()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    record("x.wav")
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda name: None)
    told = run("apply", "x.wav", "-k", "box", code=2).stderr
    assert (
        "the soundfile package, which reads and writes it, is not installed; pip install soundfile"
        in told
    )


def test_the_same_samples_give_the_same_bytes_at_any_time() -> None:
    """A PEAK chunk has the time in seconds in its bytes 12 to 16."""
    for subtype, dtype in (("FLOAT", np.float32), ("DOUBLE", np.float64)):
        save(f"{subtype}.wav", np.ones(9, dtype), header=Recording(8000, subtype))
        rest = Path(f"{subtype}.wav").read_bytes().partition(b"PEAK")[2]
        assert rest[8:12] == bytes(4)
        np.testing.assert_array_equal(load(f"{subtype}.wav").array, 1)
