"""A batch changes only its own files, and follows no link out of its folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from convcli.cli import main
from convcli.errors import FileError
from convcli.io import create_temporary, publish, save
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch import Batch, Search
from convcli.jobs.batch.manifest import NAME, Entry, Manifest
from convcli.jobs.batch.task import process, publish_output
from convcli.jobs.executors import Workers, open_executor

pytestmark = pytest.mark.usefixtures("in_tmp")
BOX = ("-k", "box", "-q")


def pictures(*names: str) -> None:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        save(
            name, np.random.default_rng(number).integers(0, 256, (12, 12), np.uint8), overwrite=True
        )


def batch(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["batch", *words, *BOX])
    assert done.exit_code == code, done.output
    return done.output


def planned(*inputs: str, resume: bool = False) -> Batch:
    request = ApplyRequest(input="", kernels=("box",))
    return Batch.plan(
        Search().find(inputs), Path("out"), request, name="{stem}{ext}", resume=resume
    )


def here(**needs: Any) -> Workers:
    """Open one worker process."""
    return open_executor(None, 1, **needs)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


class TestTemporaries:
    def test_only_those_of_a_killed_batch_of_the_folder_are_removed(self) -> None:
        pictures("in/a.png")
        batch("in", "--out", "out")
        manifest = Manifest(Path("out"))
        own = create_temporary(Path("out/b.png"), manifest.owner())
        manifest.close()
        others = [
            create_temporary(Path("out/b.png")),
            create_temporary(Path("out/b.png"), "01234567"),
        ]
        folder = own.with_name(f"{own.name[:-12]}00000000.tmp")
        folder.mkdir()
        batch("in", "--out", "out", "--resume")
        assert not own.exists()
        assert folder.is_dir()
        assert all(other.exists() for other in others)

    def test_batches_in_nested_folders_at_once_lose_nothing(self) -> None:
        pictures(*(f"in/{n}.png" for n in range(12)), *(f"in/sub/{n}.png" for n in range(12)))
        calls = [("in", "-r", "--out", "out"), ("in/sub", "--out", "out/sub", "--name", "x{name}")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "convcli", "batch", *words, *BOX], env=environment
            )
            for words in calls
        ]
        assert [process.wait(120) for process in running] == [0, 0]
        assert len(list(Path("out").glob("*.png"))) == 12
        assert len(list(Path("out/sub").glob("*.png"))) == 24
        assert not list(Path("out").rglob("*.tmp"))

    def test_a_second_batch_of_an_older_plan_takes_nothing_from_the_first(self) -> None:
        pictures("in/a.png", "in/b.png")
        second = planned("in")
        batch("in", "--out", "out")
        before = Manifest.of(Path("out"))
        assert [record.status for record in second.run(here)] == ["failed", "failed"]
        assert Manifest.of(Path("out")) == before
        assert "skipped  2" in batch("in", "--out", "out", "--resume")


class TestPublication:
    def test_a_task_that_is_tried_again_is_done(self) -> None:
        """If a worker dies, its output is not published."""
        pictures("in/a.png")
        Path("out").mkdir()
        plan = planned("in")
        (task,) = plan.tasks()
        for _ in range(2):
            record = process(plan.recipe, "01234567", "", task)
            assert not task.real.exists()
        assert publish_output(task, record, set()).status == "done"
        assert task.real.exists()

    def test_a_file_that_appears_meanwhile_is_not_claimed(self) -> None:
        pictures("in/a.png")
        plan = planned("in")
        records = plan.run(here)
        Path("out").mkdir()
        Path("out/a.png").write_bytes(b"of somebody")
        (record,) = records
        assert record.status == "failed"
        assert "out/a.png exists; expected a new file" in record.reason
        assert Path("out/a.png").read_bytes() == b"of somebody"
        assert Manifest.of(Path("out")) == {}
        with pytest.raises(FileError, match="no batch made it"):
            planned("in", resume=True)

    def test_what_is_recorded_but_not_published_is_made_anew(self) -> None:
        pictures("in/a.png")
        batch("in", "--out", "out")
        made = Path("out/a.png").read_bytes()
        Path("out/a.png").unlink()
        assert "done     1" in batch("in", "--out", "out", "--resume")
        assert Path("out/a.png").read_bytes() == made

    def test_modes(self) -> None:
        pictures("in/a.png", "in/b.png", "out/a.png")
        Path("out/a.png").chmod(0o600)
        before = os.umask(0o027)
        try:
            batch("in", "--out", "out", "--overwrite")
        finally:
            os.umask(before)
        assert (mode("out/a.png"), mode("out/b.png")) == (0o600, 0o640)

    def test_a_hard_link_that_is_parted_is_told(self) -> None:
        pictures("in/a.png", "out/a.png", "old.png")
        Path("out/a.png").unlink()
        Path("out/a.png").hardlink_to("old.png")
        old = Path("old.png").read_bytes()
        told = batch("in", "--out", "out", "--overwrite")
        assert "out/a.png was a hard link; its 1 other name keeps the old content" in told
        assert Path("old.png").read_bytes() == old
        Path("new.png").hardlink_to("old.png")
        done = CliRunner().invoke(
            main, ["apply", "in/a.png", "-k", "box", "-o", "new.png", "--overwrite"]
        )
        assert "warning: new.png was a hard link" in done.stderr

    def test_a_file_that_is_read_only_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pictures("in/a.png", "out/a.png")
        access = os.access
        monkeypatch.setattr(
            os, "access", lambda path, kind: Path(path).is_dir() and access(path, kind)
        )
        words = ["apply", "in/a.png", "-k", "box", "-o", "out/a.png", "--overwrite"]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 1
        assert (
            "Error: out/a.png cannot be replaced; it is read-only; make it writable (chmod u+w"
            in done.stderr
        )

    @pytest.mark.skipif(
        not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away"
    )
    def test_the_owner_is_kept(self) -> None:
        Path("a").touch()
        os.chown("a", 1234, 2345)
        publish(create_temporary(Path("a")), Path("a"), "a", overwrite=True)
        status = Path("a").stat()
        assert (status.st_uid, status.st_gid) == (1234, 2345)

    def test_a_group_that_cannot_be_kept_gets_no_rights(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("a").touch()
        Path("a").chmod(0o664)
        temporary = create_temporary(Path("a"))
        status = temporary.stat()
        values = [*status][:10]
        values[5] += 1

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "chown", refuse)
        stat_of = Path.stat

        def moved(path: Path, **options: bool) -> os.stat_result:
            return os.stat_result(values) if path == temporary else stat_of(path, **options)

        monkeypatch.setattr(Path, "stat", moved)
        publish(temporary, Path("a"), "a", overwrite=True)
        assert stat.S_IMODE(os.stat("a").st_mode) == 0o644  # noqa: PTH116


class TestLinks:
    @pytest.mark.parametrize("planted", ["out", "out/z", "out/z/a.png"])
    def test_links_that_are_planted_after_the_start_lead_nowhere(self, planted: str) -> None:
        pictures("in/z/a.png", "victim/z/a.png", "victim/a.png")
        request = ApplyRequest(input="", kernels=("box",))
        sources = Search(recursive=True).find(["in"])
        plan = Batch.plan(sources, Path("out"), request, name="{stem}{ext}")
        before = {path: path.read_bytes() for path in Path("victim").rglob("*.png")}
        Path(planted).parent.mkdir(parents=True, exist_ok=True)
        Path(planted).symlink_to(
            Path("victim/a.png" if planted.endswith("png") else "victim").resolve()
        )
        if planted == "out":
            with pytest.raises(FileError, match="has become a symbolic link"):
                list(plan.run(here))
        else:
            assert [record.status for record in plan.run(here)] == ["failed"]
        assert {
            path: path.read_bytes() for path in Path("victim").rglob("*") if path.is_file()
        } == before

    def test_a_link_in_place_of_an_output_is_not_followed_when_it_is_published(self) -> None:
        pictures("in/a.png", "victim.png")
        Path("out").mkdir()
        plan = planned("in")
        (task,) = plan.tasks()
        record = process(plan.recipe, "01234567", "", task)
        before = Path("victim.png").read_bytes()
        Path("out/a.png").symlink_to("../victim.png")
        assert (
            "is a symbolic link or reached through one"
            in publish_output(task, record, set()).reason
        )
        assert Path("victim.png").read_bytes() == before

    @pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
    @pytest.mark.parametrize("kind", ["link", "dangling", "hard", "folder"])
    def test_a_manifest_that_is_no_file_of_its_own_is_refused(self, suffix: str, kind: str) -> None:
        pictures("in/a.png")
        Path("out").mkdir()
        manifest = Manifest(Path("out"))
        manifest.close()
        place = Path("out", NAME + suffix)
        if kind == "hard":
            place.touch()
            Path("victim").hardlink_to(place)
        else:
            place.unlink(missing_ok=True)
            place.mkdir() if kind == "folder" else place.symlink_to(Path("victim").resolve())
        if kind == "link":
            shutil.copy("in/a.png", "victim")
        before = Path("victim").read_bytes() if Path("victim").is_file() else None
        assert place.name in batch("in", "--out", "out", code=2)
        assert (Path("victim").read_bytes() if Path("victim").is_file() else None) == before
        assert not Path("out/a.png").exists()


class TestHostileManifests:
    @pytest.mark.parametrize(
        "script",
        [
            "INSERT INTO outputs VALUES (5, 5, 5, 5, 5)",
            "INSERT INTO outputs VALUES ('a', 'b', 'c', 'd', 'e')",
            "DROP TABLE outputs; CREATE TABLE outputs (other TEXT)",
            "DROP TABLE outputs; CREATE VIEW outputs AS WITH RECURSIVE c(x)"
            " AS (SELECT 1 UNION ALL SELECT x FROM c)"
            " SELECT x AS target, x AS input, x AS recipe, x AS output FROM c",
            "CREATE TABLE batch (owner TEXT); INSERT INTO batch VALUES ('.*')",
            "CREATE TABLE batch (other TEXT)",
        ],
    )
    def test_one_that_no_batch_wrote_is_refused(self, script: str) -> None:
        pictures("in/a.png")
        Path("out").mkdir()
        Manifest(Path("out")).close()
        base = sqlite3.connect(Path("out", NAME))
        base.executescript(script)
        base.close()
        assert "is no manifest" in batch("in", "--out", "out", code=2)

    def test_digests_of_any_type_match_nothing(self) -> None:
        pictures("in/a.png")
        Path("out").mkdir()
        manifest = Manifest(Path("out"))
        entry = Entry(b"1", 2, None)  # type: ignore[arg-type]
        manifest.record([("a.png", "in/a.png", entry)])
        manifest.close()
        assert "done     1" in batch("in", "--out", "out", "--resume")
