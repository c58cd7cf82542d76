"""Filter animations and pages frame by frame, and keep their timing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from convcli import io
from convcli.cli import main
from convcli.errors import FileError, InputError, LimitError, ShapeError
from convcli.io import Metadata
from convcli.io.data import Timing
from convcli.io.images.animation import Stack
from convcli.jobs.apply import ApplyResult, plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import from_options
from convcli.limits import Limits

DURATIONS = (100, 200, 50, 300)
ANIMATED = ("png", "webp", "gif")


def frames(channels: int, count: int = 4) -> NDArray[np.uint8]:
    """Return smooth frames (F, 12, 16, C) that differ everywhere."""
    rows, columns = np.indices((12, 16))
    made = [
        np.stack(
            [
                (rows * (9 + at) + columns * (5 + channel) + 40 * at) % 256
                for channel in range(channels)
            ],
            axis=-1,
        )
        for at in range(count)
    ]
    return np.stack(made).astype(np.uint8)


def written(path: Path, array: NDArray[Any], **options: Any) -> Path:
    """Encode frames losslessly by Pillow."""
    first, *others = (
        Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame) for frame in array
    )
    lossless = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    lossless |= {"optimize": False} if path.suffix == ".gif" else {}
    first.save(path, save_all=True, append_images=others, **lossless, **options)
    return path


def played(path: Path) -> tuple[list[NDArray[Any]], list[Any], Any]:
    """Return the frames as shown in RGBA, their durations, and the number of plays."""
    shown, durations = [], []
    with Image.open(path) as image:
        for at in range(image.n_frames):
            image.seek(at)
            image.load()
            durations.append(image.info.get("duration"))
            shown.append(np.asarray(image.convert("RGBA")))
        return shown, durations, image.info.get("loop")


def filtered(
    source: Path, target: Path | None = None, *kernels: str, **options: Any
) -> ApplyResult:
    options = {"padding": "same", "frames": "all", **options}
    return run_apply(
        plan_apply(
            from_options(
                ApplyRequest, str(source), kernels or ("box",), target and str(target), **options
            )
        )
    )


CASES = [
    (channels, source, target)
    for channels in (1, 3, 4)
    for source in ("png", "webp", "gif", "tiff")
    for target in ("png", "webp", "gif", "tiff")
    if channels == 1 or "gif" not in (source, target)  # with 256 colours
]


@pytest.mark.parametrize(("channels", "source", "target"), CASES)
def test_every_frame_is_filtered_as_a_picture_of_its_own(
    tmp_path: Path, channels: int, source: str, target: str
) -> None:
    array = frames(channels)
    given = written(tmp_path / f"a.{source}", array)
    outcome = filtered(given, tmp_path / f"b.{target}", "gaussian:sigma=1")
    assert outcome.values.shape == array.shape
    shown, _, _ = played(tmp_path / f"b.{target}")
    assert len(shown) == len(array)
    for at, frame in enumerate(array):
        io.save(tmp_path / "one.png", frame, alpha=channels == 4, overwrite=True)
        alone = filtered(tmp_path / "one.png", None, "gaussian:sigma=1").values
        np.testing.assert_array_equal(outcome.values[at].squeeze(), alone)
        np.testing.assert_array_equal(shown[at], rgba(alone))


def rgba(array: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(Image.fromarray(array).convert("RGBA"))


@pytest.mark.parametrize("source", ANIMATED)
@pytest.mark.parametrize("target", ANIMATED)
@pytest.mark.parametrize("plays", [0, 1, 3])
def test_it_plays_as_before(tmp_path: Path, source: str, target: str, plays: int) -> None:
    given = written(tmp_path / f"a.{source}", frames(1), duration=DURATIONS, **loops(source, plays))
    plan = filtered(given, tmp_path / f"b.{target}").plan
    timing = plan.metadata.timing
    assert timing is not None
    assert (timing.durations, timing.plays) == (DURATIONS, plays)
    _, durations, loop = played(tmp_path / f"b.{target}")
    assert durations == pytest.approx(list(DURATIONS))
    assert {"loop": loop} == {"loop": None, **loops(target, plays)}


@pytest.mark.parametrize("source", ANIMATED)
@pytest.mark.parametrize("target", ANIMATED)
@pytest.mark.parametrize("plays", [0, 1, 3])
def test_without_durations_it_plays_as_often(
    tmp_path: Path, source: str, target: str, plays: int
) -> None:
    given = written(tmp_path / f"a.{source}", frames(1), duration=0, **loops(source, plays))
    filtered(given, tmp_path / f"b.{target}")
    _, durations, loop = played(tmp_path / f"b.{target}")
    assert not any(durations)
    assert {"loop": loop} == {"loop": None, **loops(target, plays)}


def test_stripped_it_plays_as_before(tmp_path: Path) -> None:
    given = written(tmp_path / "a.gif", frames(1), duration=DURATIONS, loop=0, comment=b"a cat")
    filtered(given, tmp_path / "b.gif", strip=True)
    assert played(tmp_path / "b.gif")[1:] == (list(DURATIONS), 0)
    assert io.load(tmp_path / "b.gif").metadata.comments == ()


@pytest.mark.parametrize("target", ANIMATED)
def test_long_durations_are_rounded_as_the_format_counts(tmp_path: Path, target: str) -> None:
    long = (70_004, 41, 655_360, 16_000_000)
    filtered(written(tmp_path / "a.webp", frames(1), duration=long), tmp_path / f"b.{target}")
    expected = {
        "png": [70_000, 41, 655_400, 16_000_000],
        "webp": list(long),
        "gif": [70_000, 40, 655_350, 655_350],
    }
    assert played(tmp_path / f"b.{target}")[1] == pytest.approx(expected[target])


@pytest.mark.parametrize(("suffix", "long"), [("png", 64_999.9), ("webp", 60_000_000.0)])
def test_frames_alike_that_last_too_long_are_refused(
    tmp_path: Path, suffix: str, long: float
) -> None:
    array = np.zeros((3, 4, 4, 1), np.uint8)
    array[2] = 9
    refusal = rf"{suffix} cannot store the total duration of equal frames.*; write \.gif"
    with pytest.raises(InputError, match=refusal):
        io.save(
            tmp_path / f"b.{suffix}",
            array,
            frames=True,
            metadata=Metadata(timing=Timing((long, long, 1), 1)),
        )
    assert not list(tmp_path.iterdir())


def loops(suffix: str, plays: int) -> dict[str, int]:
    """Return the loop count as stored: a GIF counts repeats, and has none for one play."""
    if suffix != "gif":
        return {"loop": plays}
    return {"loop": plays - 1 if plays else 0} if plays != 1 else {}


def test_deltas_are_composited_and_opaque_alpha_is_none(tmp_path: Path) -> None:
    """Frames that differ in one corner are stored as that corner."""
    array = np.repeat(frames(3, 1), 3, axis=0)
    array[1, :2, :2], array[2, -2:, -2:] = 255, 0
    for suffix in ("webp", "png"):
        data = io.load(written(tmp_path / f"a.{suffix}", array), frames="all")
        np.testing.assert_array_equal(data.array, array)
        assert (data.frames, data.alpha) == (3, False)


def test_a_gif_that_turns_transparent_has_alpha_in_every_frame(tmp_path: Path) -> None:
    opaque = Image.new("P", (4, 3), 1)
    opaque.putpalette([0, 0, 0, 200, 100, 50])
    clear = opaque.copy()
    clear.putpixel((0, 0), 0)
    opaque.save(
        tmp_path / "a.gif",
        save_all=True,
        append_images=[clear],
        transparency=0,
        disposal=2,
        optimize=False,
    )
    data = io.load(tmp_path / "a.gif", frames="all")
    assert (data.array.shape, data.alpha) == ((2, 3, 4, 4), True)
    assert data.array[:, 0, 0, 3].tolist() == [255, 0]
    assert data.array[:, 1, 1].tolist() == [[200, 100, 50, 255]] * 2


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "tiff"])
def test_one_frame_is_chosen_by_its_number(tmp_path: Path, suffix: str) -> None:
    array = frames(1)
    given = written(tmp_path / f"a.{suffix}", array)
    for at, frame in enumerate(array):
        data = io.load(given, frames=at)
        np.testing.assert_array_equal(data.array.reshape(12, 16, -1)[..., :1], frame)
        assert (data.frames, data.metadata.timing) == (1, None)
        told = f"frame {at} of 4, counted from 0" if at else "first of 4 frames"
        assert told in data.notes
    with pytest.raises(
        InputError, match=r"frame 4 of .*; it has 4, counted from 0; use 0 to 3, or all"
    ):
        io.load(given, frames=4)


def test_a_still_is_all_of_its_frames(tmp_path: Path) -> None:
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    for wanted in ("all", 0):
        data = io.load(tmp_path / "a.png", frames=wanted)  # type: ignore[arg-type]
        assert (data.array.shape, data.frames, data.notes) == ((3, 4), 1, ())
    with pytest.raises(InputError, match=r"frame 1 of .*; it has one alone; leave --frames out"):
        io.load(tmp_path / "a.png", frames=1)
    filtered(tmp_path / "a.png", tmp_path / "b.jpg")


def test_the_picture_shown_where_nothing_plays_is_no_frame(tmp_path: Path) -> None:
    shown, *others = (Image.fromarray(frame[..., 0]) for frame in frames(1))
    shown.save(
        tmp_path / "a.png", save_all=True, append_images=others, default_image=True, duration=70
    )
    data = io.load(tmp_path / "a.png", frames="all")
    np.testing.assert_array_equal(data.array, frames(1)[1:])
    assert data.metadata.timing is not None
    assert data.metadata.timing.durations == (70, 70, 70)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_pages_of_a_tiff_keep_their_numbers(tmp_path: Path, dtype: str) -> None:
    array = frames(1).astype(dtype) * 7
    data = io.load(written(tmp_path / "a.tiff", array), frames="all")
    np.testing.assert_array_equal(data.array, array)
    assert data.array.dtype == dtype
    filtered(tmp_path / "a.tiff", tmp_path / "b.tiff", "identity")
    np.testing.assert_array_equal(io.load(tmp_path / "b.tiff", frames="all").array, array)
    with pytest.raises(
        ShapeError, match=rf"webp cannot hold 4 frames of {dtype}; tiff does; write such a file"
    ):
        filtered(tmp_path / "a.tiff", tmp_path / "b.webp", dtype=dtype)


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ([("L", (4, 3)), ("L", (5, 3))], r"3x4 uint8 and 3x5 uint8 \(frame 1\)"),
        ([("L", (4, 3)), ("F", (4, 3))], r"3x4 uint8 and 3x4 float32 \(frame 1\)"),
    ],
)
def test_pages_that_differ_are_refused_together_and_read_alone(
    tmp_path: Path, pages: list[Any], told: str
) -> None:
    first, other = (Image.new(mode, size) for mode, size in pages)
    first.save(tmp_path / "a.tiff", save_all=True, append_images=[other])
    with pytest.raises(ShapeError, match=f"has frames of {told}; .*; choose one with --frames N"):
        io.load(tmp_path / "a.tiff", frames="all")
    assert io.load(tmp_path / "a.tiff", frames=1).array.shape == pages[1][1][::-1]


def test_pages_of_other_modes_share_the_channels_they_need(tmp_path: Path) -> None:
    pages = [
        Image.new("L", (2, 1), 9),
        Image.new("RGB", (2, 1), (1, 2, 3)),
        Image.new("LA", (2, 1), (5, 6)),
    ]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    data = io.load(tmp_path / "a.tiff", frames="all")
    assert data.array[:, 0, 0].tolist() == [[9, 9, 9, 255], [1, 2, 3, 255], [5, 5, 5, 6]]
    assert data.alpha


@pytest.mark.parametrize("target", ["jpg", "bmp", "ppm"])
def test_a_format_of_one_frame_is_refused_by_those_that_hold_several(
    tmp_path: Path, target: str
) -> None:
    given = written(tmp_path / "a.png", frames(3))
    with pytest.raises(
        ShapeError, match=f"{target} cannot hold 4 frames of uint8; png, webp, gif and tiff do; "
    ):
        filtered(given, tmp_path / f"b.{target}")
    assert not (tmp_path / f"b.{target}").exists()


def test_frames_as_an_array_lose_their_timing_and_an_array_has_none(tmp_path: Path) -> None:
    given = written(tmp_path / "a.gif", frames(1), duration=DURATIONS)
    outcome = filtered(given, tmp_path / "b.npy")
    assert outcome.plan.dropped == ("timing: npy holds none",)
    assert np.load(tmp_path / "b.npy").shape == (4, 12, 16, 1)
    with pytest.raises(InputError, match=r"frames all; .*b\.npy is an array; leave --frames out"):
        io.load(tmp_path / "b.npy", frames="all")


def test_filtering_along_time_loses_the_timing_where_frames_are_lost(tmp_path: Path) -> None:
    given = written(tmp_path / "a.png", frames(4), duration=DURATIONS)
    whole = filtered(given, tmp_path / "b.png", "box:size=3x1x1", dims=3)
    assert whole.plan.metadata.timing is not None
    less = filtered(given, tmp_path / "c.png", "box:size=3x1x1", dims=3, padding="valid")
    assert less.plan.dropped == ("timing: it is of 4 frames, the output has 2",)
    assert len(played(tmp_path / "c.png")[0]) == 2
    np.testing.assert_array_equal(less.values, whole.values[1:-1])


@pytest.mark.parametrize(
    "options", [{"range": "rescale"}, {"linear": True}, {"combine": "magnitude"}]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_parts_and_proofs_go_through_all_frames(
    tmp_path: Path, options: dict[str, Any], channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = written(tmp_path / "a.png", frames(channels))
    whole = filtered(
        given, None, "sobel-x", "sobel-y", verify=True, **{"combine": "sum", **options}
    )
    assert whole.verified
    monkeypatch.setattr("convcli.jobs.chunks.CHUNK_VALUES", 1)
    parts = filtered(
        given, None, "sobel-x", "sobel-y", verify=True, **{"combine": "sum", **options}
    )
    np.testing.assert_array_equal(parts.values, whole.values)
    assert parts.ledger == whole.ledger
    assert parts.verified


def test_all_frames_are_held_against_the_limit_before_they_are_read(tmp_path: Path) -> None:
    still = np.zeros((500, 800, 1), np.uint8)
    array = np.stack([still + shade for shade in range(40)]).astype(np.uint8)
    given = written(tmp_path / "a.gif", array)
    assert io.load(given, limits=Limits.of(memory=4 * 10**6)).array.shape == (500, 800)
    with pytest.raises(
        LimitError, match=r"a\.gif, 40 frames, takes .*; choose one with --frames N, or raise"
    ):
        io.load(given, frames="all", limits=Limits.of(memory=10 * 10**6))
    assert (
        io.load(given, frames="all", limits=Limits.of(memory=40 * 10**6)).array.nbytes == 16_000_000
    )


def test_widening_is_held_against_the_limit_too() -> None:
    stack = Stack("x", 100, Limits.of(memory=3 * 10**6))
    stack.add(0, np.zeros((100, 100), np.uint8), 0)
    with pytest.raises(LimitError, match=r"x, 100 frames, takes 4\.77 MiB"):
        stack.add(1, np.zeros((100, 100, 4), np.uint8), 0)
    assert stack.array.shape == (100, 100, 100, 1)


def test_the_command_tells_the_count(tmp_path: Path) -> None:
    given = written(tmp_path / "a.gif", frames(1), duration=DURATIONS, loop=0)
    words = ["apply", str(given), "-k", "box", "--frames", "all"]
    told = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "b.webp"), "--dry-run"]).stdout
    assert "4x12x16x1 uint8 (4 frames)\n" in told
    assert "metadata   timing\n" in told
    record = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert record["input"]["frames"] == 4
    assert record["output"]["shape"] == [4, 10, 14, 1]
    for wrong in ("-1", "al", "1.5", ""):
        told = CliRunner().invoke(main, [*words[:-1], wrong])
        assert told.exit_code == 2
        assert "expected first, all, or a number from 0" in told.stderr


def test_a_batch_filters_all_frames(tmp_path: Path) -> None:
    written(tmp_path / "a.gif", frames(1), duration=DURATIONS)
    words = [
        "batch",
        str(tmp_path / "a.gif"),
        "-k",
        "box",
        "--padding",
        "same",
        "--jobs",
        "1",
        "--name",
        "{stem}.webp",
    ]
    words += ["--out", str(tmp_path / "out"), "--resume"]
    assert "done     1, " in CliRunner().invoke(main, [*words, "--frames", "all"]).stdout
    shown, durations, _ = played(tmp_path / "out" / "a.webp")
    assert (len(shown), durations) == (4, list(DURATIONS))
    assert "skipped  1, " in CliRunner().invoke(main, [*words, "--frames", "all"]).stdout
    assert "done     1, " in CliRunner().invoke(main, [*words, "--frames", "2"]).stdout
    assert len(played(tmp_path / "out" / "a.webp")[0]) == 1


@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_lzw"])
def test_a_tiff_cut_in_a_later_page_is_told(tmp_path: Path, compression: str | None) -> None:
    pages = [
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8))
        for seed in range(3)
    ]
    path, cut = tmp_path / "pages.tiff", tmp_path / "cut.tiff"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression=compression)
    data = path.read_bytes()
    assert io.load(path).frames == 1
    for length in (len(data) - 20, len(data) - 300, len(data) // 2):
        cut.write_bytes(data[:length])
        with pytest.raises(FileError, match=r"cut\.tiff is damaged"):
            io.load(cut)
