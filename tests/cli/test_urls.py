"""Check that every command reads and writes URLs as it does files, and never shows a password.

Objects in memory are in this process only, as are the commands that `run` calls.
"""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from command import run

from convcli.stores import location

LINES = {
    "apply picture": "apply {photo.png} -k {blur.csv} --padding same -o {out}.png",
    "apply array": "apply {x.npy} -k {blur.npz} -o {out}.npy",
    "apply text": "apply {x.npy} -k box -o {out}.csv",
    "apply key": "apply {x.npy} -k {blur.npz:array} -o {out}.npz",
    "grad": "grad {x.npy} -k {blur.csv} --upstream {dy.npy} -o {out}.npz",
    "gradcheck": "gradcheck {x.npy} -k {blur.csv} --dump {out}.json",
    "laws": "laws {x.npy} -k {blur.csv} --json",
    "explain": "explain {x.npy} -k {blur.csv} --at 1,2 --json",
    "explain page": "explain {x.npy} -k {blur.csv} --html {out}.html",
    "animate": "animate {x.npy} -k box --crop 4x4 -o {out}.gif",
    "kernels show": "kernels show {blur.csv} --json",
    "kernels export": "kernels export {blur.npz} -o {out}.json",
    "shape": "shape {net.toml} --json",
}
NETWORK = 'input = "28x28x3"\nlayers = "conv:8,k=3 relu gap linear:10"\n'


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    for name, shape in {"x.npy": (9, 8), "dy.npy": (7, 6), "photo.npy": (10, 12, 3)}.items():
        np.save(folder / name, random.normal(size=shape))
    np.save(folder / "photo.npy", random.integers(0, 255, (10, 12, 3), np.uint8))
    run("apply", str(folder / "photo.npy"), "-k", "identity", "-o", str(folder / "photo.png"))
    run("kernels", "export", "box", "-o", str(folder / "blur.csv"))
    run("kernels", "export", "gaussian:sigma=0.5,size=3", "-o", str(folder / "blur.npz"))
    (folder / "net.toml").write_text(NETWORK)
    return {path.name: path for path in folder.iterdir()}


def words(name: str, here: str, query: str, out: str) -> list[str]:
    """Return a command line with its inputs in one folder or store, and its output in another."""
    line = LINES[name].replace("{out}", f"{out}/y")
    return re.sub(r"\{(.+?)(:\w+)?\}", rf"{here}/\1{query}\2", line).split()


def without_times(text: str, *names: str) -> str:
    """Return text without the names of folders, times and sizes."""
    for name in names:
        text = text.replace(name, "FOLDER")
    return re.sub(r"[\d.,]+ (ms|s|bytes)\b|seconds\": [\d.e-]+", "TIME", text)


def content(content: bytes, *names: str) -> str | bytes:
    try:
        return without_times(content.decode(), *names)
    except UnicodeDecodeError:
        return content


@pytest.fixture(scope="module")
def server(inputs):
    """A web server that serves the inputs to those who know the password and the signature."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            file = inputs.get(path[1:])
            if query != "signature=abcdef" or not self.headers.get("Authorization"):
                self.send_error(403)
            elif file is None:
                self.send_error(404)
            else:
                body = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield f"http://name:password@127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("name", LINES)
def test_objects_give_what_files_give(name, inputs, server, tmp_path, request):
    here = str(next(iter(inputs.values())).parent)
    store = f"memory://{request.node.name.replace(' ', '-')}"
    for each, path in inputs.items():
        (location(store) / each).put(path.read_bytes())
    expected = run(*words(name, here, "", str(tmp_path)))
    found = run(*words(name, store, "", f"{store}/out"))
    signed = run(*words(name, server, "?signature=abcdef", f"{store}/signed"), "--debug")
    shown = server.replace("name:password@", "")
    folders = (str(tmp_path), f"{store}/out", f"{store}/signed", here, store, shown)
    for result in (found, signed):
        assert without_times(result.stdout, *folders) == without_times(expected.stdout, *folders)
        assert without_times(result.stderr, *folders) == without_times(expected.stderr, *folders)
        assert not re.search("password|abcdef", result.output + result.stderr)
    outputs = list(tmp_path.iterdir())
    assert bool(outputs) == ("{out}" in LINES[name])
    for path in outputs:
        wanted = content(path.read_bytes(), *folders)
        for folder in ("out", "signed"):
            made = (location(store) / folder / path.name).open().read()
            assert content(made, *folders) == wanted
            assert b"password" not in made


@pytest.mark.parametrize("name", [name for name in LINES if "{out}" in LINES[name]])
def test_an_object_is_replaced_only_with_overwrite(name, inputs, request):
    here = str(next(iter(inputs.values())).parent)
    store = f"memory://{request.node.name.replace(' ', '-')}"
    line = words(name, here, "", store)
    output = location(line[-1])
    output.put(b"before")
    refused = run(*line, code=2)
    assert f"{output} exists; expected a new file; pass --overwrite" in refused.stderr
    assert output.open().read() == b"before"
    run(*line, "--overwrite")
    assert output.open().read() != b"before"


@pytest.mark.parametrize("name", LINES)
def test_what_is_not_there_is_one_line(name, server):
    for store, query in (("memory://none", ""), (server, "?signature=abcdef")):
        line = words(name, f"{store}/none", query, "memory://none")
        result = run(*line, "--debug", code=2)
        assert "does not exist" in result.stderr
        assert not re.search("password|abcdef", result.stderr)


def test_a_web_server_is_only_read(inputs):
    line = ["apply", str(inputs["x.npy"]), "-k", "box", "-o", "https://host/y.npy"]
    assert "https:// is only read; write to a file, or to s3://" in run(*line, code=2).stderr


@pytest.mark.parametrize(
    "url", ["github://o:r@m/x.npy", "simplecache::s3://b/x.npy", "s3://u:p@b/x"]
)
def test_other_urls_are_refused_everywhere(url, inputs):
    x = str(inputs["x.npy"])
    for line in (["apply", url, "-k", "box"], ["apply", x, "-k", url], ["shape", url]):
        assert run(*line, code=2).stderr.startswith("Error: ")
    assert run("apply", x, "-k", "box", "-o", url, code=2).stderr.startswith("Error: ")


def test_a_file_whose_name_is_like_a_url_is_read_with_a_dot(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s3:/b").mkdir(parents=True)
    Path("s3:/b/x.npy").write_bytes(inputs["x.npy"].read_bytes())
    run("apply", "./s3://b/x.npy", "-k", "box", "-o", "file://" + str(tmp_path / "y.npy"))
    assert np.load("y.npy").shape == (7, 6)


def test_a_large_array_is_mapped_from_its_copy(monkeypatch):
    monkeypatch.setattr("convcli.stores.paths.HELD", 1000)
    monkeypatch.setattr("convcli.io.arrays.npy.MAP_ABOVE", 1000)
    from convcli import io

    path = location("memory://mapped/x.npy")
    io.save("memory://mapped/x.npy", np.arange(1000.0))
    data = io.load(str(path))
    assert isinstance(data.array, np.memmap)
    assert data.array.sum() == 999 * 500
