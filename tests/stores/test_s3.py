"""Check objects of S3 on a server of this machine, and batches by two workers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from command import run
from s3_server import KEYS, bucket, s3

from convcli import io
from convcli.errors import FileError, OutputError
from convcli.jobs.batch import store_manifest
from convcli.jobs.batch.store_manifest import LOCK, existing_manifest
from convcli.stores import Entry, StorePath, location

__all__ = ["bucket", "s3"]  # fixtures

COUNT = 30
OPTIONS = ("-k", "gaussian:sigma=1", "--padding", "same", "-j", "2")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in a folder, one of them in a sub-folder and one with an odd name."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    random = np.random.default_rng(0)
    for index in range(COUNT):
        name = {0: "below/x.png", 1: "ä #%20 ?[1].png"}.get(index, f"{index}.png")
        io.save(folder / name, random.integers(0, 255, (20, 30, 3), np.uint8))
    return folder


def upload(folder: Path, to: StorePath) -> None:
    for path in folder.rglob("*.png"):
        (to / path.relative_to(folder).as_posix()).put(path)


def contents(path: Path | StorePath) -> dict[str, bytes]:
    """Return the pictures of a folder or a store, by their names below it."""
    if isinstance(path, Path):
        return {
            each.relative_to(path).as_posix(): each.read_bytes() for each in path.rglob("*.png")
        }
    found = {}
    for entry in path.entries():
        if entry.is_folder:
            inside = contents(path / entry.name)
            found |= {f"{entry.name}/{name}": content for name, content in inside.items()}
        elif entry.name.endswith(".png"):
            found[entry.name] = (path / entry.name).open().read()
    return found


def hidden(path: StorePath) -> set[str]:
    return {entry.name for entry in path.entries() if entry.name.startswith(".convcli")}


@pytest.fixture(scope="module")
def expected(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of a batch of files."""
    folder = tmp_path_factory.mktemp("soft")
    run("batch", str(photos), "-r", *OPTIONS, "--out", str(folder))
    return contents(folder)


# Objects.


def test_objects_are_written_listed_and_read(bucket: str, tmp_path: Path) -> None:
    folder = location(f"{bucket}/a b/ü")
    (folder / "x#1?.bin").put(b"first")
    (folder / "below" / "y").put(b"")
    with pytest.raises(FileExistsError):
        (folder / "x#1?.bin").put(b"second")
    (tmp_path / "file").write_bytes(b"third")
    with pytest.raises(FileExistsError):
        (folder / "x#1?.bin").put(tmp_path / "file")
    assert (folder / "x#1?.bin").open().read() == b"first"
    assert list(folder.entries()) == [Entry("below", True), Entry("x#1?.bin", False)]
    assert (folder / "below").kind() == "directory"
    (folder / "x#1?.bin").put(tmp_path / "file", overwrite=True)
    assert (folder / "x#1?.bin").open().read() == b"third"
    assert (folder / "none").kind() == ""


def test_of_many_writers_one_succeeds(bucket: str) -> None:
    path = location(f"{bucket}/x")
    results: list[bool] = []

    def write(content: bytes) -> None:
        try:
            path.put(content)
            results.append(True)
        except FileExistsError:
            results.append(False)

    threads = [threading.Thread(target=write, args=(b"%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 7 + [True]


def test_what_s3_refuses_is_one_line(bucket: str) -> None:
    (location(bucket) / "a" / "x").put(b"1")
    cases = {
        "s3://nobody-has-it/x": "there is no bucket nobody-has-it",
        f"{bucket}/none": "does not exist; expected an existing object",
        f"{bucket}/a": "is a folder; expected an object",
        bucket: "is a bucket; expected an object",
        "s3://No_Bucket!/x": "'No_Bucket!' is not the name of a bucket",
    }
    for url, words in cases.items():
        with pytest.raises(FileError, match=words):
            location(url).open()
    with pytest.raises(OutputError, match="there is no bucket nobody-has-it"):
        location("s3://nobody-has-it/x").put(b"1")


def test_a_server_that_does_not_answer_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    script = "from convcli.__main__ import run; run()"
    result = subprocess.run(
        [sys.executable, "-c", script, "apply", "s3://b/x.npy", "-k", "box", "--debug"],
        env={**os.environ, **KEYS, "AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "x"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "the server of s3:// does not answer; check the network" in result.stderr
    assert not any(value in result.stderr for value in KEYS.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "words"),
    [((), "no credentials were found"), (("of-nobody", "the-wrong-one"), "access was denied")],
)
def test_wrong_and_missing_credentials_are_named_and_not_shown(
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    keys: tuple[str, ...],
    words: str,
) -> None:
    np.save(tmp_path / "x.npy", np.eye(5))
    (location(bucket) / "x.npy").put(tmp_path / "x.npy")
    for name in KEYS:
        monkeypatch.delenv(name)
    for name, value in zip(KEYS, keys, strict=False):
        monkeypatch.setenv(name, value)
    local = str(tmp_path / "x.npy")
    lines = (
        ("apply", f"{bucket}/x.npy", "-k", "box"),
        ("apply", local, "-k", "box", "-o", f"{bucket}/y.npy", "--overwrite"),
        ("batch", local, "-k", "box", "--out", f"{bucket}/out"),
    )
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    for line in lines:
        result = subprocess.run(
            [sys.executable, "-m", "convcli", *line, "--debug"], capture_output=True, text=True
        )
        assert "Error: s3://bucket" in result.stderr
        assert words in result.stderr
        assert "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and" in result.stderr
        assert not re.search("of-nobody|the-wrong-one", result.stdout + result.stderr)


@pytest.mark.slow
def test_a_zarr_array_in_a_bucket_is_read_by_regions(bucket: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(20, 30))
    np.save(tmp_path / "x.npy", values)
    run("apply", str(tmp_path / "x.npy"), "-k", "[[1]]", "-o", str(tmp_path / "x.zarr"))
    for path in (tmp_path / "x.zarr").rglob("*"):
        if path.is_file():
            (location(bucket) / path.relative_to(tmp_path).as_posix()).put(path)
    line = ("-k", "gaussian:sigma=1", "--padding", "same", "-o")
    for name in ("y.npy", "z.zarr"):
        run("apply", f"{bucket}/x.zarr", *line, str(tmp_path / name))
    run("apply", str(tmp_path / "x.npy"), *line, str(tmp_path / "expected.npy"))
    expected = np.load(tmp_path / "expected.npy")
    assert np.array_equal(np.load(tmp_path / "y.npy"), expected)
    assert np.array_equal(io.load(tmp_path / "z.zarr").array, expected)
    missing = run("apply", f"{bucket}/none.zarr", "-k", "box", code=2)
    assert f"{bucket}/none.zarr does not exist; expected a zarr array" in missing.stderr


# Batches.


@pytest.mark.slow
def test_a_batch_between_objects_gives_the_bytes_of_files(
    bucket: str, photos: Path, expected: dict[str, bytes]
) -> None:
    source, soft = location(f"{bucket}/photos"), location(f"{bucket}/soft")
    upload(photos, source)
    line = ("batch", str(source), "-r", *OPTIONS, "--out", str(soft))
    planned = run(*line, "--dry-run")
    assert f"planned  {COUNT}" in planned.stdout
    assert hidden(soft) == set()
    first = run(*line, "--json")
    assert contents(soft) == expected
    assert hidden(soft) == {".convcli-batch.sqlite"}
    again = run(*line, code=2)
    assert f"{COUNT} outputs exist" in again.stderr
    resumed = run(*line, "--resume")
    assert f"skipped  {COUNT}, done before and unchanged" in resumed.stdout
    assert f"skipped  {COUNT}" in run(*line, "--resume", "--dry-run").stdout
    for result in (planned, first, again, resumed):
        assert not any(value in result.output + result.stderr for value in KEYS.values())
    with existing_manifest(soft) as manifest:
        assert manifest is not None
        assert manifest.entries().keys() == expected.keys()


@pytest.mark.slow
def test_inputs_are_named_by_patterns_and_lists(
    bucket: str, photos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    source = location(f"{bucket}/photos")
    upload(photos, source)
    run("batch", f"{bucket}/ph*/[2-9].png", *OPTIONS, "--out", str(tmp_path / "local"))
    names = [f"{number}.png" for number in range(2, 10)]
    assert contents(tmp_path / "local/photos") == {name: expected[name] for name in names}
    listed = [str(source / name) for name in (*names, "none.png")]
    (location(bucket) / "list.txt").put("\n".join(listed).encode())
    line = ("batch", "--files-from", f"{bucket}/list.txt", *OPTIONS, "--out", f"{bucket}/soft")
    failed = run(*line, code=3)
    assert f"{source}/none.png  does not exist" in failed.stdout
    assert contents(location(f"{bucket}/soft")) == contents(tmp_path / "local/photos")


@pytest.mark.slow
def test_a_killed_batch_is_resumed_to_the_same_bytes(
    bucket: str, photos: Path, expected: dict[str, bytes]
) -> None:
    soft = location(f"{bucket}/soft")
    line = ("batch", str(photos), "-r", *OPTIONS, "--out", str(soft))
    with subprocess.Popen(
        [sys.executable, "-m", "convcli", *line, "-v"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert LOCK in hidden(soft)
    assert len(contents(soft)) >= 3
    done = run(*line, "--resume")
    assert "failed   0" in done.stdout
    assert contents(soft) == expected
    assert hidden(soft) == {".convcli-batch.sqlite"}


@pytest.mark.slow
def test_an_object_of_somebody_else_is_never_replaced(
    bucket: str, photos: Path, expected: dict[str, bytes]
) -> None:
    soft = location(f"{bucket}/soft")
    (soft / "5.png").put(b"of somebody else")
    line = ("batch", str(photos), "-r", *OPTIONS, "--out", str(soft))
    result = run(*line, "--resume", code=3)
    assert "5.png exists; no batch made it; pass --overwrite" in result.stdout
    assert (soft / "5.png").open().read() == b"of somebody else"
    run(*line, "--resume", "--overwrite")
    assert contents(soft) == expected


def test_two_batches_into_one_folder_are_noticed(
    bucket: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft = location(f"{bucket}/soft")
    line = ("batch", str(photos / "5.png"), *OPTIONS, "--out", str(soft))
    with (  # noqa: PT012 - it is raised at the end
        pytest.raises(FileError, match="in use by another batch"),
        store_manifest.open_manifest(soft),
    ):
        refused = run(*line, code=2)
        assert f"{soft} is in use by another batch, process {os.getpid()}" in refused.stderr
        monkeypatch.setattr(store_manifest, "STALE_SECONDS", -1.0)
        assert "done     1" in run(*line).stdout  # it takes the lock over, which the first notices
    with existing_manifest(soft) as manifest:
        assert manifest is not None
        assert manifest.entries().keys() == {"5.png"}


def test_what_a_batch_cannot_do_in_a_store_is_refused(bucket: str, photos: Path) -> None:
    (location(bucket) / "x.png").put(photos / "5.png")
    cases = {
        (f"{bucket}/x.png", "--in-place"): "--in-place replaces files",
        (f"{bucket}/x.png", "--out", bucket): "is an input; expected an output of its own",
        (f"{bucket}/none*", "--out", "out"): "nothing matches",
        (f"{bucket}/none", "--out", "out"): "does not exist",
        (f"{bucket}/x.png", "--out", "memory://x"): "exists in one process only",
        ("memory://x", "--out", bucket): "exists in one process only",
        (str(photos), "--out", "s3://nobody-has-it/x"): "there is no bucket nobody-has-it",
        (str(photos), "--out", "https://host/x"): "https:// is only read",
        ("https://host/photos/", "--out", "out"): "a web server has no folders and patterns",
        ("https://host/*.png?x", "--out", "out"): "name each object, or list them with",
    }
    for words, message in cases.items():
        assert message in run("batch", *words, *OPTIONS, code=2).stderr


# Chunked arrays.


@pytest.mark.slow
def test_an_array_of_chunks_is_filtered_between_objects_by_two_workers(
    bucket: str, tmp_path: Path
) -> None:
    pytest.importorskip("zarr")
    values = np.random.default_rng(1).integers(0, 4096, (40, 40, 40)).astype(np.uint16)
    np.save(tmp_path / "x.npy", values)
    kernel = ("-k", "binomial:size=5", "--dims", "3", "--padding", "same", "--dtype", "uint16")
    run("apply", str(tmp_path / "x.npy"), *kernel, "-o", str(tmp_path / "y.npy"))
    blocks = ("--chunks", "16x16x16", "--block", "16", "-j", "2")
    first, second = f"{bucket}/first.zarr", f"{bucket}/second.zarr"
    run(
        "apply",
        str(tmp_path / "x.npy"),
        "-k",
        "identity:1",
        "--dims",
        "3",
        "--dtype",
        "uint16",
        "-o",
        first,
        *blocks,
    )
    result = run("apply", first, *kernel, "-o", second, *blocks)
    np.testing.assert_array_equal(io.load(second).array, np.load(tmp_path / "y.npy"))
    assert "27 regions of 16x16x16" in result.stderr
    assert (
        "exists; expected a new file" in run("apply", first, *kernel, "-o", second, code=2).stderr
    )
    assert not any(value in result.output + result.stderr for value in KEYS.values())
    chunk = location(first) / "c/0/0/1"
    content = chunk.open().read()
    chunk.put(b"no chunk", overwrite=True)
    line = ("apply", first, *kernel, "-o", second, *blocks)
    failed = run(*line, "--overwrite", code=3)
    assert f"chunk c/0/0/1 of {first} is damaged" in failed.stdout + failed.stderr
    chunk.put(content, overwrite=True)
    run(*line, "--resume")
    np.testing.assert_array_equal(io.load(second).array, np.load(tmp_path / "y.npy"))
