"""The parts of a batch: search for files, names of outputs, manifest."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcli import __version__, kernel
from convcli.errors import ConvError, FileError, InputError, KernelError, LimitError
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.manifest import NAME, Entry, Manifest
from convcli.jobs.batch.naming import Template, folded
from convcli.jobs.batch.planning import check_existing, collect, name_outputs
from convcli.jobs.batch.rows import Rows
from convcli.jobs.batch.sources import Search, Source, listed
from convcli.jobs.batch.task import NEUTRAL, Recipe
from convcli.jobs.requests import flat_options, from_options

pytestmark = pytest.mark.usefixtures("in_tmp")


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*inputs: str, search: Search | None = None) -> list[tuple[str, str]]:
    return [(source.path, source.relative) for source in (search or Search()).find(inputs)]


class TestSources:
    def test_files_lose_their_folder_and_keep_their_order(self) -> None:
        touch("b/x.png", "a.png")
        assert found("b/x.png", "a.png") == [("b/x.png", "x.png"), ("a.png", "a.png")]

    def test_a_folder_gives_its_readable_files_by_name(self) -> None:
        touch("in/b.png", "in/a.JPG", "in/notes.md", "in/.hidden.png", "in/sub/c.png")
        search = Search()
        assert found("in", search=search) == [("in/a.JPG", "a.JPG"), ("in/b.png", "b.png")]
        assert search.passed_over == Counter({"without a suffix that is read": 1, "hidden": 1})

    def test_files_of_kinds_that_are_not_read_are_named(self) -> None:
        touch("in/a.png", "in/b.heic", "in/c.HEIC", "in/d.nef")
        search = Search()
        assert found("in", search=search) == [("in/a.png", "a.png")]
        assert search.passed_over == Counter(
            {
                "named as a HEIC image, which is not read": 2,
                "named as a Nikon raw picture (NEF), which is not read": 1,
            }
        )

    @pytest.mark.parametrize(
        ("given", "recursive", "count"),
        [("in", False, 2), ("in", True, 4), ("in/*.png", False, 1), ("in/**", False, 4)],
    )
    def test_hidden_ones_are_counted_that_would_be_taken(
        self, given: str, recursive: bool, count: int
    ) -> None:
        touch(
            "in/a.png",
            "in/.b.png",
            "in/.notes",
            "in/.git/c.png",
            "in/sub/d.png",
            "in/sub/.e",
            "in/.convcli-x",
        )
        search = Search(recursive=recursive)
        assert found(given, search=search)
        assert search.passed_over["hidden"] == count

    def test_recursive_keeps_sub_folders(self) -> None:
        touch("in/b.png", "in/a/z.png", "in/a/deep/y.npy", "in/.git/x.png")
        assert [relative for _, relative in found("in", search=Search(recursive=True))] == [
            "a/deep/y.npy",
            "a/z.png",
            "b.png",
        ]

    def test_every_suffix_where_the_format_is_given(self) -> None:
        touch("in/a.dat", "in/b")
        assert [relative for _, relative in found("in", search=Search(every=True))] == [
            "a.dat",
            "b",
        ]

    def test_patterns(self) -> None:
        touch(
            "in/a.png",
            "in/a.txt",
            "in/sub/b.png",
            "in/sub/deep/c.png",
            "in/[odd].png",
            "in/.hidden/d.png",
        )
        assert found("in/*.png") == [("in/[odd].png", "[odd].png"), ("in/a.png", "a.png")]
        assert [path for path, _ in found("in/**/*.png")] == [
            "in/[odd].png",
            "in/a.png",
            "in/sub/b.png",
            "in/sub/deep/c.png",
        ]
        assert found("**/deep/*") == [("in/sub/deep/c.png", "in/sub/deep/c.png")]
        assert found("in/*/b.png") == [("in/sub/b.png", "sub/b.png")]
        assert len(found("in/**")) == 5
        assert found("in/[odd].png") == [("in/[odd].png", "[odd].png")], (
            "a file of that very name comes first"
        )

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ("no.png", "no.png does not exist; expected a file, .*; did you mean 'on.png'?"),
            ("nowhere/a.png", "nowhere/a.png does not exist"),
            ("empty", "empty has no file to take; expected at least one; use --recursive"),
            ("*.tif", r"nothing matches \*.tif; expected at least one file"),
            ("texts", "passed over: 1 without a suffix that is read"),
            ("a" * 300, "a cannot be read; File name too long"),
            ("-", "standard input is one input; expected files, .*; use convcli apply -"),
        ],
    )
    def test_nothing_is_an_error(self, given: str, says: str) -> None:
        touch("on.png", "texts/a.md")
        Path("empty").mkdir()
        with pytest.raises(InputError, match=says):
            found(given)

    def test_a_folder_that_cannot_be_looked_at_fails_in_its_turn(self) -> None:
        (source,) = Search().find([f"{'a' * 300}/*.png"])
        assert source.trouble.endswith("a cannot be read; File name too long")

    def test_links_are_followed_only_when_asked(self) -> None:
        touch("in/a.png", "elsewhere/b.png")
        Path("in/file.png").symlink_to("../elsewhere/b.png")
        Path("in/folder").symlink_to("../elsewhere")
        Path("in/loop").symlink_to(".")
        search = Search(recursive=True)
        assert found("in", search=search) == [("in/a.png", "a.png")]
        assert search.passed_over == Counter({"behind a symbolic link": 3})
        assert found("in/**/*.png") == [("in/a.png", "a.png")]
        assert [
            path for path, _ in found("in", search=Search(recursive=True, follow_links=True))
        ] == [
            "in/a.png",
            "in/file.png",
            "in/folder/b.png",
        ]
        assert found("in/file.png") == [("in/file.png", "file.png")], "what is named is asked for"

    @pytest.mark.parametrize(
        ("given", "recursive", "count"),
        [
            ("in/[ab]*", True, 1),
            ("in/*.png", True, 2),
            ("in/x*", True, 0),
            ("in/c*/x.png", True, 1),
            ("in/**/x.png", True, 1),
            ("in/**", True, 4),
            ("in", True, 3),
            ("in", False, 2),
        ],
    )
    def test_only_links_that_would_be_taken_are_counted(
        self, given: str, recursive: bool, count: int
    ) -> None:
        touch("in/a.png", "in/x.png", "in/core/x.png", "elsewhere/x.png")
        for name, target in (
            ("b.png", "x.png"),
            ("d.png", "x.png"),
            ("cards", ""),
            ("e.md", "x.png"),
            ("f", "f"),
        ):
            Path("in", name).symlink_to(Path("../elsewhere", target) if name != "f" else "f")
        search = Search(recursive=recursive)
        assert found(given, search=search)
        assert search.passed_over["behind a symbolic link"] == count

    def test_the_output_folder_inside_the_input_folder_is_left_out(self) -> None:
        touch("in/a.png", "in/out/a.png", "in/sub/out/b.png")
        search = Search(recursive=True, exclude=str(Path("in/out").resolve()))
        assert [path for path, _ in found("in", search=search)] == ["in/a.png", "in/sub/out/b.png"]
        assert found("in/out", search=search) == [("in/out/a.png", "a.png")], (
            "unless it is searched itself"
        )

    def test_a_folder_that_cannot_be_read_is_told_and_the_others_go_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touch("in/a.png", "in/closed/b.png", "in/z.png")
        scandir = os.scandir

        def guarded(path: str) -> object:
            if path.endswith("closed"):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", guarded)
        sources = list(Search(recursive=True).find(["in"]))
        assert [source.path for source in sources] == ["in/a.png", "in/closed", "in/z.png"]
        assert sources[1].trouble == "in/closed cannot be read; Permission denied"

    def test_lists(self) -> None:
        Path("lines").write_bytes(b"a.png\r\n\nsub/b c.png\n/x/y.png\n../z.png\n\xff.png")
        assert [(source.path, source.relative) for source in listed("lines")] == [
            ("a.png", "a.png"),
            ("sub/b c.png", "sub/b c.png"),
            ("/x/y.png", "y.png"),
            ("../z.png", "z.png"),
            ("\udcff.png", "\udcff.png"),
        ]
        Path("nulls").write_bytes(b"./a\nb.png\0c.png\r\0")
        assert [source.relative for source in listed("nulls", null=True)] == ["a\nb.png", "c.png\r"]
        with pytest.raises(FileError, match="the list none cannot be read; No such file"):
            list(listed("none"))

    def test_a_list_that_is_none_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("one").write_bytes(b"a" * 40_000)
        with pytest.raises(FileError, match="the list one holds a name of more than 32,768 bytes"):
            list(listed("one"))
        Path("nulls").write_bytes(b"a.png\0b.png\0")
        with pytest.raises(
            FileError, match="the list nulls holds a NUL; expected one input a line; add -0"
        ):
            list(listed("nulls"))
        Path("blank").write_bytes(b"a.png\n" + b"\n" * 2**22)
        with pytest.raises(FileError, match=r"the list blank holds no name in 1\.00 MiB"):
            list(listed("blank"))
        Path("long").write_text("".join(f"{n:07}.png\n" for n in range(200_000)))
        assert [source.path for source in listed("long")][-1] == "0199999.png"
        monkeypatch.setattr("convcli.jobs.batch.sources.LIST_BYTES", 99)
        Path("endless").symlink_to("/dev/zero")
        with pytest.raises(
            LimitError, match="the list endless is longer than 99 bytes; expected one that ends"
        ):
            list(listed("endless", null=True))


def named(template: str, *sources: tuple[str, str]) -> list[str]:
    rows = name_outputs(Rows(sources), Path("out"), Template(template), None)
    return [target for _, target in rows]


class TestNames:
    def test_fields(self) -> None:
        source = ("pictures/2024/a.b.png", "2024/a.b.png")
        assert named("{stem}-edges{ext}", source) == ["2024/a.b-edges.png"]
        assert named("{parent}/{index:03}-{name}", source) == ["2024/2024/001-a.b.png"]
        assert named("{{{stem}}}.npy", source) == ["2024/{a.b}.npy"]
        assert Template("{name}").fill("a.jpg", 1, ".png") == "a.png"

    @pytest.mark.parametrize(
        ("template", "says"),
        [
            (
                "{steem}",
                r"has the field \{steem\}; expected one of \{stem\}, .*; did you mean 'stem'\?",
            ),
            ("{}", r"has the field \{\}"),
            ("{stem.__class__}", "has the field"),
            ("{stem[0]}", "has the field"),
            ("{stem!r}", r"formats \{stem\}"),
            ("{stem:99999999999}", r"formats \{stem\}"),
            ("{index:999999999}", r"formats \{index\}"),
            ("{index:{stem}}", r"formats \{index\}"),
            ("{stem", "expected '}' before end of string; double a brace"),
        ],
    )
    def test_bad_templates(self, template: str, says: str) -> None:
        with pytest.raises(InputError, match=says):
            Template(template)

    @pytest.mark.parametrize(
        "template",
        [
            "../{name}",
            "/tmp/{name}",
            "{stem}/../../{name}",
            "a\0{name}",
            "",
            "{stem}/",
            ".",
            "{stem}/.",
            ".convcli-batch.sqlite",
            "..",
        ],
    )
    def test_no_name_leads_out_of_the_folder(self, template: str) -> None:
        with pytest.raises(InputError, match=r"a\.png would go to"):
            named(template, ("a.png", "a.png"))

    @given(
        st.text(max_size=12),
        st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=8),
    )
    def test_no_text_leads_out_of_the_folder(self, template: str, name: str) -> None:
        try:
            (target,) = named(template, (name, name))
        except InputError:
            return
        root = Path("/root/of/all")
        assert Path(os.path.normpath(root / target)).is_relative_to(root)
        assert target not in ("", ".")

    def test_all_collisions_are_told(self) -> None:
        sources = [
            ("x/a.png", "a.png"),
            ("y/a.png", "a.png"),
            ("z/A.PNG", "A.PNG"),
            ("b.png", "b.png"),
        ]
        with pytest.raises(FileError) as refused:
            named("{name}", *sources)
        told = str(refused.value)
        assert "x/a.png -> a.png and y/a.png -> a.png and z/A.PNG -> A.PNG;" in told
        assert "b.png" not in told
        assert "--name" in told

    def test_of_many_collisions_some_are_told(self) -> None:
        sources = [(f"{folder}/{n}.png", f"{n}.png") for folder in "xy" for n in range(1000)]
        with pytest.raises(FileError) as refused:
            named("{name}", *sources)
        assert str(refused.value).count("and y/") == 50
        assert ", and 950 more; expected one output for each" in str(refused.value)

    def test_unicode_forms_collide(self) -> None:
        assert folded("Straße/E\u0301.png") == folded("STRASSE/\xc9.PNG")
        with pytest.raises(FileError, match="would write the same file"):
            named("{name}", ("1/e\u0301.png", "e\u0301.png"), ("2/\xe9.png", "\xe9.png"))

    def test_a_file_and_a_folder_of_one_name_collide(self) -> None:
        with pytest.raises(FileError, match=r"a -> a and a/b\.png -> a/b"):
            named("{stem}", ("a", "a"), ("a/b.png", "a/b.png"))

    def test_places(self, tmp_path: Path) -> None:
        touch("out/old.png", "out/deep/older.png", "in/a.png")
        rows = [("in/a.png", name) for name in ("old.png", "new.png", "deep/older.png", "b/c.png")]
        folders = check_existing(Rows(rows), Path("out"), None, resume=False, replace=True)
        assert folders == {"", "deep", "b"}
        with pytest.raises(FileError, match=r"2 outputs exist, such as out/old\.png; expected new"):
            check_existing(Rows(rows), Path("out"), None, resume=False, replace=False)

    @pytest.mark.parametrize(
        ("folder", "target", "says"),
        [
            ("in", "a.png", r"in/a\.png is an input"),
            ("out", "same.png", r"out/same\.png is an input"),
            ("out", "link.png", "is in the way"),
            ("out", "door/x.png", "door is a symbolic link"),
            ("out", "folder.png", "is in the way"),
        ],
    )
    def test_places_that_are_refused(
        self, tmp_path: Path, folder: str, target: str, says: str
    ) -> None:
        touch("in/a.png", "out/old.png")
        Path("out/same.png").hardlink_to("in/a.png")
        Path("out/link.png").symlink_to("../in/a.png")
        Path("out/door").symlink_to(tmp_path)
        Path("out/folder.png").mkdir()
        rows = Rows([("in/b.png", "b.png"), ("in/a.png", target)])
        with pytest.raises(FileError, match=says):
            check_existing(rows, Path(folder), None, resume=False, replace=True)

    def test_each_source_is_taken_once(self) -> None:
        sources = [
            Source(path, path.rpartition("/")[2])
            for path in ("a.png", "./a.png", "b/a.png", "a.png", "b/../a.png", "c.png")
        ]
        sources += [Source("closed", "closed", "closed cannot be read")] * 2
        rows, failed = collect(sources)
        assert [path for path, _ in rows] == ["a.png", "b/a.png", "b/../a.png", "c.png"]
        assert [record.source for record in failed] == ["closed"]


class TestManifest:
    def test_keeps_what_was_recorded(self, tmp_path: Path) -> None:
        manifest = Manifest(tmp_path)
        entries = {f"{n}.png": Entry("1", "2", str(n)) for n in range(1200)}
        entries["\udcff.png"] = Entry("1", "2", "3")
        manifest.record((name, f"in/{name}", entry) for name, entry in entries.items())
        manifest.record([("7.png", "in/7.png", Entry("4", "5", "6")), ("8.png", "in/8.png", None)])
        entries["7.png"] = Entry("4", "5", "6")
        del entries["8.png"]
        assert manifest.find([*entries, "8.png", "none.png"]) == entries
        manifest.close()
        assert Manifest.of(tmp_path) == entries
        assert [path.name for path in tmp_path.iterdir()] == [NAME]

    def test_a_folder_without_one_has_none(self, tmp_path: Path) -> None:
        assert Manifest.of(tmp_path) == {}
        assert not list(tmp_path.iterdir())

    def test_is_held_by_one(self, tmp_path: Path) -> None:
        manifest = Manifest(tmp_path)
        with pytest.raises(
            FileError,
            match=f"is in use by another batch, process {os.getpid()}; expected it free",
        ):
            Manifest(tmp_path)
        manifest.close()
        Manifest(tmp_path).close()

    def test_one_that_is_opened_twice_at_a_moment_is_opened_after_a_while(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        clock = SimpleNamespace(sleep=lambda _: other.close())
        monkeypatch.setattr("convcli.jobs.batch.manifest.time", clock)
        Manifest(tmp_path).close()

    def test_another_file_of_its_name_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / NAME).write_bytes(b"not a database" * 100)
        with pytest.raises(FileError, match=r"is no manifest; .*; move it away"):
            Manifest(tmp_path)
        assert (tmp_path / NAME).read_bytes() == b"not a database" * 100

    def test_a_database_of_another_program_is_left_alone(self, tmp_path: Path) -> None:
        base = sqlite3.connect(tmp_path / NAME)
        base.execute("CREATE TABLE cookies (name TEXT)")
        base.close()
        before = (tmp_path / NAME).read_bytes()
        with pytest.raises(FileError, match="no manifest; it is a database of another program"):
            Manifest(tmp_path)
        assert (tmp_path / NAME).read_bytes() == before

    def test_another_version_is_refused(self, tmp_path: Path) -> None:
        base = sqlite3.connect(tmp_path / NAME)
        base.execute("PRAGMA user_version = 99")
        base.close()
        with pytest.raises(FileError, match="is of version 99; expected 1"):
            Manifest(tmp_path)

    def test_a_folder_that_is_gone_is_an_output_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConvError, match="cannot be written; unable to open database file"):
            Manifest(tmp_path / "none")


class TestRecipe:
    options: ClassVar[dict[str, Any]] = {"input": "", "kernels": ("gaussian:sigma=2",)}

    def digest(self, **changes: Any) -> str:
        return Recipe.of(from_options(ApplyRequest, **{**self.options, **changes})).digest

    def test_every_parameter_counts(self) -> None:
        """A new field of ApplyRequest or of its groups changes the digest, unless it is NEUTRAL."""
        other: dict[type, object] = {
            bool: True,
            float: 2.5,
            int: 3,
            str: "other",
            type(None): "other",
        }
        options = flat_options(from_options(ApplyRequest, **self.options))
        for name, value in options.items():
            if name not in NEUTRAL and name != "dims":
                assert self.digest(**{name: other[type(value)]}) != self.digest(), name
        assert self.digest(dims=3) != self.digest()
        assert options.keys() >= NEUTRAL

    def test_files_and_checks_do_not(self) -> None:
        assert self.digest(input="a", output="b", overwrite=True, verify=True) == self.digest()
        assert self.digest(max_memory=4000, max_pixels=5) == self.digest()

    def test_a_digest_stays_what_it_was(self) -> None:
        """Manifests store digests: if one changes for the same options, every output is redone."""
        resolved = kernel("gaussian:sigma=2", dims=2)
        taps = hashlib.sha256(resolved.taps.tobytes()).hexdigest()
        record = {"version": __version__, "kernels": [[resolved.shape, taps, resolved.name]]}
        names = """op stride dilation padding boundary cval dims channels groups layout combine
        normalize scale bias range dtype method linear format input_format frames allow_truncated
        strip compress_level quality raw_shape raw_dtype raw_order raw_offset"""
        defaults = [
            "correlate",
            1,
            1,
            "valid",
            "constant",
            0.0,
            2,
            None,
            1,
            "channels_last",
            "stack",
            False,
            1.0,
            0.0,
        ]
        defaults += [
            "clip",
            None,
            "auto",
            False,
            None,
            None,
            "first",
            False,
            False,
            None,
            None,
            None,
            None,
            "C",
            0,
        ]
        text = json.dumps(
            {**record, **dict(zip(names.split(), defaults, strict=True))}, sort_keys=True
        )
        assert self.digest(dims=2) == hashlib.sha256(text.encode()).hexdigest()

    def test_borders_that_are_the_same_have_the_same_digest(self) -> None:
        assert self.digest() == self.digest(padding="valid", boundary="constant")
        assert self.digest(boundary="edge") == self.digest(padding="same", boundary="edge")
        assert self.digest(cval=0.0) == self.digest(padding="same", boundary="constant", cval=0.0)
        reflected = self.digest(padding="same")
        transparent = self.digest(padding="same", boundary="constant")
        assert (
            len({reflected, transparent, self.digest(cval=0.0), self.digest(boundary="reflect")})
            == 4
        )

    def test_kernels_count_by_their_taps(self) -> None:
        np.savetxt("w.csv", [[1.0, 2.0], [3.0, 4.0]], delimiter=",")
        first = self.digest(kernels=("w.csv",))
        assert first == self.digest(kernels=("1,2; 3,4",))
        Path("w.csv").rename("v.csv")
        assert self.digest(kernels=("v.csv",)) == first
        np.savetxt("v.csv", [[1.0, 3.0]], delimiter=",")
        assert self.digest(kernels=("v.csv",)) != first
        assert self.digest(kernels=("gaussian:sigma=3",)) != self.digest()
        assert self.digest(kernels=("gaussian:sigma=2", "box")) != self.digest(
            kernels=("box", "gaussian:sigma=2")
        )

    def test_a_kernel_file_is_read_once(self) -> None:
        np.save("w.npy", [[1.0, 2.0]])
        recipe = Recipe.of(from_options(ApplyRequest, input="", kernels=("w.npy", "box")))
        Path("w.npy").unlink()
        taps = recipe.request.kernels[0].taps  # type: ignore[union-attr]
        np.testing.assert_array_equal(taps, [[1.0, 2.0]])
        assert recipe.request.kernels[1] == "box", "which has two axes or three, as the input wants"

    def test_the_version_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = self.digest()
        monkeypatch.setattr("convcli.jobs.batch.task.__version__", "99")
        assert self.digest() != before
        assert len(before) == hashlib.sha256().digest_size * 2

    def test_a_kernel_that_means_nothing_is_refused_at_once(self) -> None:
        with pytest.raises(KernelError, match="did you mean 'gaussian'"):
            self.digest(kernels=("gausian",))
