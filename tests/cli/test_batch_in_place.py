"""`convcli batch --in-place`, and what a summary tells."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from convcli.cli import main
from convcli.io import load, save
from convcli.jobs.batch import Record, run
from convcli.jobs.batch.manifest import NAME, Manifest
from convcli.jobs.batch.task import Task

pytestmark = pytest.mark.usefixtures("in_tmp")
SHARPEN = ("-k", "sharpen", "--padding", "same")


def pictures(*names: str) -> None:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        save(
            name,
            np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8),
            overwrite=True,
        )


def batch(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["batch", *words, "-q"])
    assert done.exit_code == code, done.output
    return done


def content(*names: str) -> list[bytes]:
    return [Path(name).read_bytes() for name in names]


def made(*names: str) -> list[bytes]:
    """What a batch into a folder makes of the files, by their base names."""
    batch(*names, *SHARPEN, "--out", "made", "--overwrite")
    return content(*(f"made/{Path(name).name}" for name in names))


class TestInPlace:
    def test_each_file_becomes_what_another_folder_would_get(self) -> None:
        names = ("in/a.png", "in/b.bmp", "in/c.npy")
        pictures(*names)
        Path("in/a.png").chmod(0o600)
        expected = made(*names)
        told = batch("in", *SHARPEN, "--in-place").stdout
        assert told.startswith("done     3, in place\n")
        assert content(*names) == expected
        assert stat.S_IMODE(Path("in/a.png").stat().st_mode) == 0o600
        assert sorted(path.name for path in Path("in").iterdir()) == [
            NAME,
            "a.png",
            "b.bmp",
            "c.npy",
        ]

    def test_resumed_it_filters_nothing_twice(self) -> None:
        names = ("in/a.png", "in/sub/b.png")
        pictures(*names)
        expected = made(*names)
        batch("in/a.png", "in/sub", *SHARPEN, "--in-place")
        told = batch("in/a.png", "in/sub", *SHARPEN, "--in-place", "--resume").stdout
        assert "skipped  2, done before and unchanged" in told
        assert content(*names) == expected
        pictures("new.png", "in/a.png")
        (again,) = made("in/a.png")
        batch("in/a.png", "in/sub", *SHARPEN, "--in-place", "--resume")
        assert content(*names) == [again, expected[1]]

    def test_it_is_not_repeated_by_mistake(self) -> None:
        pictures("in/a.png")
        batch("in", *SHARPEN, "--in-place")
        (once,) = content("in/a.png")
        (twice,) = made("in/a.png")
        told = batch("in", *SHARPEN, "--in-place", code=2).stderr
        assert (
            "1 inputs were filtered in place by the same command before, such as in/a.png" in told
        )
        assert content("in/a.png") == [once]
        batch("in", *SHARPEN, "--in-place", "--overwrite")
        assert content("in/a.png") == [twice]
        batch("in", "-k", "box", "--in-place")

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_killed_around_the_publication_it_is_filtered_once(self, moment: str) -> None:
        pictures("in/a.png", "in/b.png")
        expected = made("in/a.png", "in/b.png")
        publish = run.publish_output

        def killed(task: Task, record: Record, safe: set[Path]) -> Record:
            if moment == "after":
                publish(task, record, safe)
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "publish_output", killed)
            told = batch("in", *SHARPEN, "--in-place", code=130).stderr
        assert told == "stopped: 0 of 2 done; to continue, run the same command with --resume\n"
        assert not list(Path("in").glob("*.tmp"))
        batch("in", *SHARPEN, "--in-place", "--resume")
        assert content("in/a.png", "in/b.png") == expected

    def test_a_file_that_fails_stays_as_it_is(self) -> None:
        pictures("in/a.png", "in/b.png")
        Path("in/b.png").write_bytes(content("in/b.png")[0][:200])
        before = content("in/b.png")
        assert "failed   1" in batch("in", *SHARPEN, "--in-place", code=3).stdout
        assert content("in/b.png") == before

    def test_links_keep_pointing_and_a_file_is_taken_once(self) -> None:
        pictures("in/a.png")
        Path("link.png").symlink_to("in/a.png")
        expected = made("in/a.png")
        assert "done     1" in batch("link.png", "in/a.png", *SHARPEN, "--in-place").stdout
        assert Path("link.png").is_symlink()
        assert content("in/a.png") == expected

    def test_all_frames_are_kept(self) -> None:
        frames = [Image.fromarray(np.full((9, 9), level, np.uint8)) for level in (10, 90, 200)]
        frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=50)
        frames[0].save("b.tiff", save_all=True, append_images=frames[1:])
        batch("a.gif", "b.tiff", "-k", "identity", "--in-place")
        for name in ("a.gif", "b.tiff"):
            assert load(name, frames="all").frames == 3

    def test_what_would_change_the_format_is_refused(self) -> None:
        pictures("a.jpg")
        Path("a.jpg").rename("a.png")
        np.savez("b.npz", weights=np.ones((5, 5)))
        before = content("a.png", "b.npz")
        told = batch("a.png", "b.npz", *SHARPEN, "--in-place", code=3).stdout
        assert "a.png  is named as png and holds jpg" in told
        assert "b.npz  is an archive" in told
        assert content("a.png", "b.npz") == before

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ((), "no folder for the outputs; add --out DIR, or --in-place"),
            (("--in-place", "--out", "out"), "leave one of them out"),
            (("--in-place", "--name", "x{ext}"), "leave --name out"),
            (("--in-place", "--format", "png"), "leave --format out"),
            (("--in-place", "--frames", "1"), "leave --frames out"),
        ],
    )
    def test_usage(self, words: tuple[str, ...], says: str) -> None:
        pictures("a.png")
        assert says in batch("a.png", *SHARPEN, *words, code=2).stderr

    def test_a_dry_run_replaces_nothing(self) -> None:
        pictures("in/a.png")
        before = content("in/a.png")
        told = batch("in", *SHARPEN, "--in-place", "-n").stdout
        assert told.splitlines()[:2] == ["in/a.png -> a.png", "planned  1, in place"]
        assert content("in/a.png") == before
        assert not Path("in", NAME).exists()

    def test_the_manifest_is_in_the_folder_that_has_all(self) -> None:
        pictures("x/a.png", "x/y/b.png")
        batch("x/a.png", "x/y", *SHARPEN, "--in-place")
        assert set(Manifest.of(Path("x"))) == {"a.png", os.path.join("y", "b.png")}  # noqa: PTH118


class TestSummary:
    def test_time_rate_bytes_and_clipping(self) -> None:
        pictures("in/a.png", "in/b.png")
        told = batch("in", *SHARPEN, "-o", "out").stdout
        assert re.search(r"^time     [\d.]+ s, [\d.]+ per second$", told, re.M)
        size = sum(path.stat().st_size for path in Path("out").glob("*.png"))
        assert f"\nwrote    {size} bytes\n" in told
        *each, last = map(
            json.loads, batch("in", *SHARPEN, "--output", "json", "--json").stdout.splitlines()
        )
        assert (last["bytes"], last["values"]) == (size, 864)
        assert last["clipped"] == sum(record["clipped"] for record in each) > 0
        assert last["seconds"] > 0
        assert f"\nclipped  {last['clipped'] / 864:.2%} of 864 values\n" in told

    def test_failed_is_red_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("a.png").write_bytes(b"x")
        arguments: dict[str, Any] = {
            "args": ["batch", "a.png", "-k", "box", "-o", "out", "-q"],
            "color": True,
        }
        assert "\x1b[31m\x1b[1mfailed   1\x1b[0m" in CliRunner().invoke(main, **arguments).stdout
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b" not in CliRunner().invoke(main, **arguments).stdout
