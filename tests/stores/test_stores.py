"""Check URLs: which are taken, how they are shown, and what reading and writing them does."""

import os
import pickle
import re

import pytest

from convcli.errors import ConvError, FileError, LimitError, OutputError
from convcli.stores import Entry, StorePath, is_url, location
from convcli.stores import paths as store_paths
from convcli.stores.failures import translated_errors
from convcli.stores.protocols import LONGEST, PROTOCOLS

SECRET = "https://user:password@example.org/a/photo.png?X-Amz-Signature=abcdef&Expires=9#part"
REFUSED = {
    "s4://bucket/x": "s4:// is no protocol that is known",
    "htps://host/x": "did you mean 'https'?",
    "github://o:r@m/x": "expected s3://, gs://, az://, https://, http://, file://",
    "reference://x": "write ./reference://x for a file of that name",
    "cached://x": "is no protocol",
    "zip://a::b": "is no protocol",
    "simplecache::s3://b/x": "simplecache:: chains URLs; expected one URL",
    "s3://": "s3:// names nothing",
    "s3:///x": "names no object",
    "s3://../..": "expected s3://bucket/name without a part . or ..",
    "s3://bucket/a/../x": "names no object",
    "s3://key:word@bucket/x": "s3://...@bucket holds credentials; expected none in a URL",
    "memory://a\0b": "holds a NUL",
    f"s3://b/{'x' * LONGEST}": f"expected at most {LONGEST:,}",
    "file://other/x": "names another machine",
}


@pytest.fixture
def folder(request):
    """A folder of this test's own among the objects in memory."""
    return location(f"memory://{request.node.name}")


@pytest.mark.parametrize("url", REFUSED)
def test_other_urls_are_refused_in_one_line(url):
    with pytest.raises(FileError, match=re.escape(REFUSED[url])) as caught:
        location(url)
    assert "\n" not in str(caught.value)
    assert "word" not in str(caught.value)
    assert "o:r" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["x.png", "./s3://x", "C://x.png", "-", "a:b", "1,2;3", "file:///x"]
)
def test_files_are_no_urls(name):
    assert not is_url(name)
    assert not isinstance(location(name), StorePath)


def test_credentials_in_a_url_are_never_shown():
    path = location(SECRET)
    shown = (str(path), repr(path), path.name, f"{path}", str(path.parent), repr([path]))
    assert path.url == SECRET
    assert pickle.loads(pickle.dumps(path)).url == SECRET
    for text in shown:
        assert not re.search("user|password|Signature|abcdef|part", text)
    assert str(path) == "https://example.org/a/photo.png"


def test_credentials_are_left_out_of_a_stores_own_words():
    def fail(words):
        with translated_errors(PROTOCOLS["https"], "https://example.org/x", secrets=("pass",)):
            raise ValueError(words)

    with pytest.raises(FileError) as caught:
        fail("400, url='https://u:pass@example.org/x?sig=abc' and pass")
    assert str(caught.value) == (
        "https://example.org/x cannot be read; 400, url='https://u:…@example.org/x' and …"
    )
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_an_object_is_written_read_and_deleted(folder):
    path = folder / "a" / "x.bin"
    assert path.kind() == ""
    path.put(b"first")
    assert path.open().read() == b"first"
    assert path.exists()
    assert folder.is_dir()
    assert list(folder.entries()) == [Entry("a", True)]
    assert list((folder / "a").entries()) == [Entry("x.bin", False)]
    path.delete()
    path.delete()
    assert not path.exists()


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_object_is_replaced_only_on_request(folder, tmp_path, on_disk):
    def content(text):
        if not on_disk:
            return text
        (tmp_path / "x").write_bytes(text)
        return tmp_path / "x"

    path = folder / "x.bin"
    path.put(content(b"first"))
    with pytest.raises(FileExistsError):
        path.put(content(b"second"))
    assert path.open().read() == b"first"
    path.put(content(b"third"), overwrite=True)
    assert path.open().read() == b"third"


def test_a_large_object_is_copied_to_a_temporary_file(folder, monkeypatch):
    monkeypatch.setattr(store_paths, "HELD", 1000)
    monkeypatch.setattr(store_paths, "_BLOCK", 64)
    content = os.urandom(5000)
    (folder / "x").put(content)
    with (folder / "x").open() as stream:
        assert stream.fileno() > 0
        assert stream.read() == content


def test_an_object_without_room_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(store_paths, "HELD", 10)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    (folder / "x").put(bytes(5000))
    with pytest.raises(LimitError, match="set TMPDIR"):
        (folder / "x").open()


def test_an_object_that_is_kept_is_read_once(folder):
    path = folder / "x"
    path.put(b"before")
    with path.kept():
        path.put(b"after", overwrite=True)
        for _ in range(2):
            with path.open() as stream:
                assert stream.read() == b"before"
    assert path.open().read() == b"after"


def test_what_does_not_exist_is_refused(folder):
    (folder / "a" / "x").put(b"1")
    with pytest.raises(FileError, match="does not exist; expected an existing object"):
        (folder / "none").open()
    assert list((folder / "none").entries()) == []


@pytest.mark.parametrize("protocol", [row for row in PROTOCOLS.values() if not row.writable])
def test_web_servers_are_only_read(protocol):
    with pytest.raises(FileError, match=f"{protocol.name}:// is only read"):
        location(f"{protocol.name}://host/x.png").put(b"1")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("convcli.stores.protocols.find_spec", lambda _: None)
    with pytest.raises(FileError, match=r"the s3fs package.*; pip install fsspec s3fs"):
        location("s3://bucket/x").open()


def test_errors_of_writing_fail_the_work_and_those_of_reading_are_usage():
    for writing, kind in ((False, FileError), (True, OutputError)):
        with (
            pytest.raises(ConvError) as caught,
            translated_errors(PROTOCOLS["s3"], "s3://b/x", writing=writing),
        ):
            raise PermissionError("Forbidden")
        assert type(caught.value) is kind
        assert "access was denied (Forbidden); set AWS_PROFILE" in str(caught.value)
