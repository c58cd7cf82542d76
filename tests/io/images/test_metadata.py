"""Keep or report the metadata of a picture's file."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from convcli.cli import main
from convcli.io import Metadata, Text, WriteRequest, all_formats, carry_over, kinds, load, lookup
from convcli.io.codec import codec_of
from convcli.io.images.metadata.carry import WORDS
from convcli.io.images.metadata.exif import rewrite_exif
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.task import Recipe
from convcli.jobs.requests import from_options

PAGE = Path(__file__).parents[3] / "convcli" / "guide" / "formats.md"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
IPTC = b"\x1c\x02\x78\0\5a cat"  # the record 2:120, a caption
CAPTION = b"8BIM\x03\xf0\0\0\0\0\0\5\4text\0"  # the resource 1008
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6" dc:title="Caf\xc3\xa9"/></x:xmpmeta>'
MODEL, ORIENTATION, DESCRIPTION, COPYRIGHT, DATE, NOTE = (
    0x0110,
    0x0112,
    0x010E,
    33432,
    0x9003,
    0x927C,
)
EXIF, GPS = 0x8769, 0x8825


def profile(space: bytes) -> bytes:
    """Return the header of an ICC profile of a colour space, without tags."""
    return struct.pack(">I", 128) + bytes(12) + space + bytes(108)


def block(orientation: int = 6, *, thumbnail: bool = True, order: str = "<") -> bytes:
    """Return an EXIF block with a model, an inner directory (date, sizes) and a thumbnail."""
    small = b"\xff\xd8 the old picture \xff\xd9"
    first, inner, second = 8, 8 + 2 + 3 * 12 + 4, 8 + 2 + 3 * 12 + 4 + 2 + 2 * 12 + 4
    end = second + 2 + 2 * 12 + 4

    def entry(tag: int, kind: int, value: int) -> bytes:
        body = struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
        return struct.pack(f"{order}HHI", tag, kind, 1) + body

    def directory(*entries: bytes, link: int = 0) -> bytes:
        return (
            struct.pack(f"{order}H", len(entries))
            + b"".join(entries)
            + struct.pack(f"{order}I", link)
        )

    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", first)
    main = directory(
        struct.pack(f"{order}HHI", MODEL, 2, 3) + b"X7\0\0",
        entry(ORIENTATION, 3, orientation),
        entry(EXIF, 4, inner),
        link=second if thumbnail else 0,
    )
    sizes = directory(entry(0xA002, 3, 6), entry(0xA003, 3, 4))
    small_one = directory(entry(0x0201, 4, end), entry(0x0202, 4, len(small)))
    return head + main + sizes + (small_one + small if thumbnail else b"")


def picture(path: Path, **options: Any) -> Path:
    """Write a picture of 6 x 4 pixels with encoder options; its suffix selects the format."""
    mode = options.pop("mode", "RGB")
    Image.new(mode, (6, 4), 90 if mode == "L" else None).save(path, **options)
    return path


def texts(**pairs: str) -> PngInfo:
    info = PngInfo()
    for key, value in pairs.items():
        info.add_text(key, value)
    return info


def filtered(source: Path, target: Path, **options: Any) -> Any:
    """Return the output of `apply`, and the outcome."""
    job = from_options(ApplyRequest, str(source), ("box",), str(target), padding="same", **options)
    return run_apply(plan_apply(job))


def reopened(path: Path) -> Any:
    """Open a picture by Pillow; set `tags` to its EXIF with inner directories."""
    with Image.open(path) as image:
        exif = image.getexif()
        image.tags = {**exif, **{name: exif.get_ifd(name) for name in (EXIF, GPS, 1)}}
        image.load()
    return image


ICC_FORMATS = ("png", "jpg", "webp", "tiff")


@pytest.mark.parametrize("source", ICC_FORMATS)
@pytest.mark.parametrize("target", ICC_FORMATS)
def test_profile_exif_and_xmp_go_from_each_format_to_each(
    tmp_path: Path, source: str, target: str
) -> None:
    given = picture(tmp_path / f"a.{source}", icc_profile=SRGB, **described(source))
    outcome = filtered(given, tmp_path / f"b.{target}")
    assert outcome.values.shape == (6, 4, 3)
    assert outcome.plan.dropped == (
        ("density: webp holds none",) if target == "webp" and source != "webp" else ()
    )
    image = reopened(tmp_path / f"b.{target}")
    assert image.info["icc_profile"] == SRGB
    assert image.tags.get(ORIENTATION, 1) == 1
    assert image.tags[MODEL] == "X7"
    assert image.tags[EXIF][DATE] == "2001:02:03 04:05:06"
    assert image.tags[GPS][1] == "N"
    xmp = image.info["xmp"]
    assert xmp.split()[-1] == XMP.split()[-1]
    assert b'tiff:Orientation="6"' not in xmp


def described(source: str) -> dict[str, Any]:
    """Return Pillow's options for EXIF, XMP and, if the format has one, a density."""
    exif = Image.Exif()
    exif[MODEL], exif[ORIENTATION] = "X7", 6
    exif[EXIF], exif[GPS] = {DATE: "2001:02:03 04:05:06"}, {1: "N"}
    if source == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return {"exif": exif, "pnginfo": info, "dpi": (300, 300)}
    if source == "tiff":
        return {"tiffinfo": {**exif, 700: XMP}, "dpi": (300, 300)}
    return {"exif": exif, "xmp": XMP} | ({"dpi": (300, 300)} if source == "jpg" else {})


@pytest.mark.parametrize("source", ["png", "jpg", "tiff", "bmp"])
@pytest.mark.parametrize("target", ["png", "jpg", "tiff", "bmp"])
def test_density_stays(tmp_path: Path, source: str, target: str) -> None:
    filtered(picture(tmp_path / f"a.{source}", dpi=(300, 150)), tmp_path / f"b.{target}")
    assert reopened(tmp_path / f"b.{target}").info["dpi"] == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
def test_density_turns_with_the_picture(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = load(picture(tmp_path / f"a.{suffix}", exif=exif, dpi=(300, 150)))
    assert data.array.shape == (6, 4, 3)
    assert data.metadata.density == pytest.approx((150, 300), abs=0.02)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "bmp", "gif"])
def test_a_picture_that_says_nothing_has_nothing_added(tmp_path: Path, suffix: str) -> None:
    options = {"mode": "L", "optimize": False} if suffix == "gif" else {}
    given = picture(tmp_path / f"a.{suffix}", **options)
    expected = load(given).metadata
    assert kinds(expected) == (
        ["density"] if suffix == "bmp" else []
    )  # its header always has a density
    filtered(given, tmp_path / f"b.{suffix}")
    assert load(tmp_path / f"b.{suffix}").metadata == expected


def test_texts_stay_in_png_and_a_comment_goes_to_jpeg_and_gif(tmp_path: Path) -> None:
    info = texts(Title="Caf\N{LATIN SMALL LETTER E WITH ACUTE}", Comment="a cat", Long="x" * 5000)
    info.add_itxt("Titel", "\N{SNOWMAN}", "de", "Titel")
    given = picture(tmp_path / "a.png", mode="L", pnginfo=info)
    assert filtered(given, tmp_path / "b.png").plan.dropped == ()
    text = reopened(tmp_path / "b.png").text
    assert text == {
        "Title": "Caf\xe9",
        "Comment": "a cat",
        "Long": "x" * 5000,
        "Titel": "\N{SNOWMAN}",
    }
    assert text["Titel"].lang == "de"
    for suffix in ("jpg", "gif"):
        assert filtered(given, tmp_path / f"b.{suffix}").plan.dropped == (
            f"text: {suffix} holds none",
        )
        assert reopened(tmp_path / f"b.{suffix}").info["comment"] == b"a cat"
    filtered(tmp_path / "b.gif", tmp_path / "c.png")
    assert reopened(tmp_path / "c.png").text == {"Comment": "a cat"}


def test_text_beyond_ascii_survives_in_the_tags_of_a_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[DESCRIPTION], exif[COPYRIGHT] = "Gr\xfc\xdfe \u2603".encode(), "\xa9 me".encode()
    given = picture(tmp_path / "a.tiff", exif=exif)
    filtered(given, tmp_path / "b.tiff")
    filtered(tmp_path / "b.tiff", tmp_path / "c.jpg")
    for name in ("b.tiff", "c.jpg"):
        tags = reopened(tmp_path / name).tags
        assert tags[DESCRIPTION].encode("latin-1").decode() == "Gr\xfc\xdfe \u2603"
        assert tags[COPYRIGHT].encode("latin-1").decode() == "\xa9 me"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("target", ["png", "jpg", "webp", "tiff"])
def test_exif_of_a_turned_picture_is_brought_up_to_date(
    tmp_path: Path, order: str, target: str
) -> None:
    given = picture(tmp_path / "a.jpg", exif=b"Exif\0\0" + block(order=order))
    assert b"the old picture" in given.read_bytes()
    filtered(given, tmp_path / f"b.{target}", stride=2)
    assert b"the old picture" not in (tmp_path / f"b.{target}").read_bytes()
    image = reopened(tmp_path / f"b.{target}")
    assert (image.tags[MODEL], image.tags.get(ORIENTATION, 1), image.size) == ("X7", 1, (2, 3))
    assert (image.tags[EXIF][0xA002], image.tags[EXIF][0xA003]) == (2, 3)
    assert image.tags[1] == {}


def test_a_maker_note_is_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF] = {NOTE: b"offsets into the block"}
    content = exif.tobytes()
    filtered(picture(tmp_path / "a.jpg", exif=content), tmp_path / "b.jpg")
    metadata = reopened(tmp_path / "b.jpg").info["exif"]
    assert metadata.index(b"offsets into") == content.index(b"offsets into")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's, which the command mutes
@pytest.mark.parametrize(
    "damaged", [b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM", block()[:40], b"\0" * 30]
)
def test_a_block_that_is_none_is_left_out_and_said_to_be(tmp_path: Path, damaged: bytes) -> None:
    with pytest.raises(ValueError, match="no EXIF block"):
        rewrite_exif(damaged, {})
    data = load(picture(tmp_path / "a.jpg", exif=b"Exif\0\0" + damaged))
    assert data.metadata.exif == b""
    assert data.warnings[-1] == "EXIF left out, as it cannot be read"
    assert load(picture(tmp_path / "b.jpg", exif=b"Exif\0\0")).warnings == ()


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_block_is_rewritten_without_its_thumbnail(order: str) -> None:
    done = rewrite_exif(block(order=order) + b"more behind it", {})
    assert b"old picture" not in done
    assert done == block(thumbnail=False, order=order)
    assert rewrite_exif(done, {}) == done


def test_values_keep_their_types() -> None:
    exif = Image.Exif()
    exif[EXIF] = {
        0x9000: b"0230",
        0x9286: b"ASCII\0\0\0hello",
        0x829A: 0.01,
        0xA002: 7,
        0xEA1C: 70_000,
    }
    content = bytearray(exif.tobytes())
    comment = content.index(b"\x92\x86\0\x01")  # Pillow writes BYTE
    content[comment + 3] = 7  # UNDEFINED, as EXIF has it
    assert rewrite_exif(bytes(content), {}) == content[6:]


PROFILES = [
    ("CMYK", b"CMYK", "tiff", "it describes CMYK samples, the output is RGB"),
    ("L", b"RGB ", "png", "it describes RGB samples, the output is gray"),
    ("L", b"GRAY", "png", ""),
    ("L", b"GRAY", "webp", "it describes gray samples, the output is RGB"),
    ("RGB", b"GRAY", "png", "it describes gray samples, the output is RGB"),
    ("RGB", b"RGB ", "webp", ""),
]


@pytest.mark.parametrize(("mode", "space", "target", "why"), PROFILES)
def test_a_profile_is_kept_where_it_describes_the_samples(
    tmp_path: Path, mode: str, space: bytes, target: str, why: str
) -> None:
    given = picture(tmp_path / "a.tiff", mode=mode, icc_profile=profile(space))
    plan = filtered(given, tmp_path / f"b.{target}").plan
    assert plan.dropped == ((f"ICC profile: {why}",) if why else ())
    assert reopened(tmp_path / f"b.{target}").info.get("icc_profile") == (
        None if why else profile(space)
    )


def test_a_profile_goes_with_its_number_type_and_its_channels(tmp_path: Path) -> None:
    given = picture(tmp_path / "a.png", icc_profile=SRGB)
    told = filtered(given, tmp_path / "gray.png", channels="sum").plan.dropped
    assert told == ("ICC profile: it describes RGB samples, the output is gray",)
    gray = picture(tmp_path / "g.png", mode="L", icc_profile=profile(b"GRAY"))
    assert filtered(gray, tmp_path / "f.tiff", dtype="float32").plan.dropped == (
        "ICC profile: it describes samples of the input's number type",
    )


def test_what_is_too_long_for_jpeg_is_told() -> None:
    metadata = Metadata(
        exif=bytes(70000), comments=(bytes(70000),), icc=profile(b"RGB ") + bytes(20_000_000)
    )
    left, dropped = carry_over(metadata, lookup("jpg"), 3, same_type=True)
    assert left == Metadata()
    assert [told.split(":")[0] for told in dropped] == ["ICC profile", "EXIF", "comment"]


@pytest.mark.parametrize(
    "form", [form for form in all_formats() if form.metadata_limits], ids=lambda form: form.name
)
def test_a_format_writes_as_much_as_the_table_says(tmp_path: Path, form: Any) -> None:
    """The longest metadata of each kind that a JPEG holds, and an EXIF block of the full size."""
    most = {kind: min(size, 100_000) for kind, size in form.metadata_limits.items()}
    full = Metadata(
        icc=profile(b"RGB ") + bytes(most.get("icc", 0)),
        density=(72, 72),
        exif=block(1, thumbnail=False)
        + bytes(most.get("exif", 200) - len(block(1, thumbnail=False))),
        xmp=b"x" * most.get("xmp", 0),
        iptc=IPTC,
        photoshop=CAPTION,
        comments=(b"c" * most.get("comments", 0),),
        text=(Text("Title", "t"),),
    )
    left, _ = carry_over(full, form, 3, same_type=True)
    assert {kind for kind in WORDS if getattr(left, kind)} == set(form.metadata_limits) - {
        "timing",
        "aspect",
    }
    stream = io.BytesIO()
    gray = 3 not in form.channels.get("uint8", ())
    array = np.zeros((4, 6) if gray else (4, 6, 3), "uint8" if "uint8" in form.channels else "bool")
    codec_of(form).write(stream, array, WriteRequest(metadata=left))
    (tmp_path / "x").write_bytes(stream.getvalue())
    data = load(tmp_path / "x", format=form.name)
    assert set(kinds(data.metadata)) == set(kinds(left))


def test_strip_leaves_all_of_it_out(tmp_path: Path) -> None:
    given = picture(tmp_path / "a.jpg", icc_profile=SRGB, comment="a cat", **described("jpg"))
    plan = filtered(given, tmp_path / "b.jpg", strip=True).plan
    assert (plan.metadata, plan.dropped) == (Metadata(), ())
    assert load(tmp_path / "b.jpg").metadata == Metadata()
    plain = Recipe.of(ApplyRequest("", ("box",))).digest
    assert plain != Recipe.of(from_options(ApplyRequest, "", ("box",), strip=True)).digest


def test_the_report_tells_what_is_kept_and_what_is_not(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", icc_profile=SRGB, dpi=(300, 300), pnginfo=texts(Title="t"))
    words = ["apply", str(tmp_path / "a.png"), "-k", "box", "-o", str(tmp_path / "b.jpg")]
    told = CliRunner().invoke(main, words).stderr
    assert "warning: not kept: text: jpg holds none\n" in told
    assert (
        "metadata   ICC profile, density\n"
        in CliRunner().invoke(main, [*words, "--overwrite", "-v"]).stderr
    )
    record = json.loads(CliRunner().invoke(main, [*words, "--overwrite", "--json"]).stdout)
    assert record["output"]["kept"] == ["ICC profile", "density"]
    assert record["output"]["lost"] == ["text: jpg holds none"]


def test_a_batch_counts_what_is_not_kept(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.png", pnginfo=texts(Title="t"))
    words = [
        "batch",
        str(tmp_path),
        "-k",
        "box",
        "--out",
        str(tmp_path / "out"),
        "--format",
        "jpg",
        "--jobs",
        "1",
    ]
    done = CliRunner().invoke(main, words)
    assert "not kept  text: jpg holds none, in 2 files\n" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == ["a.jpg", "b.jpg"]


def test_the_guide_shows_what_each_format_keeps() -> None:
    rows = []
    for form in all_formats():
        kept = [word for kind, word in WORDS.items() if kind in form.metadata_limits]
        if kept:
            rows.append(f"| {form.name} | {', '.join(kept)} |")
    text = PAGE.read_text(encoding="utf-8").replace(" (its own tags)", "")
    assert "| format | keeps |\n|---|---|\n" + "\n".join(rows) + "\n\n" in text
