r"""Check that the blocks of README.md and of the guide's pages are what really happens.

```console   each `$ ` line is run by bash, and the lines below it are its output, stdout before
             stderr. A line `...` matches any lines, `...` within a line any text. A command
             continues after a `\` at the end of a line. One that fails must show its `Error`
             line, or be followed by `$ echo $?`.
```sh        each line is run and must succeed; its output is not compared.
```python    its `>>>` lines are run as a doctest.

Every block runs alone, in a folder with only a copy of samples/. Only commands that begin with a
word of RUN are run, and of an install line the `.venv/bin/convcli ...` after its last `&&`.
"""

import difflib
import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDE = ROOT / "convcli" / "guide"
RUN = ("convcli", "printf", "echo", "cat")
FENCE = re.compile(r"( *)(`{3,}) *(\w*)")
RUNNABLE = re.compile(rf"(?:\w+=\S* +)*(?:{'|'.join(RUN)})\b")
VENV = ".venv/bin/"
PREPARED = re.compile(r"\w*COLOR\w*|PYTHON\w+|TTY_\w+|LC_\w+|LANG\w*|COLUMNS|LINES|PATH")


# Reading a README.


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the number of its first line, and its lines."""

    language: str
    line: int
    body: tuple[str, ...]
    page: str = "README.md"

    @property
    def place(self) -> str:
        """The file and the line, in the form that editors accept."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Step:
    """A command as written, and the lines shown below it."""

    command: str
    shown: tuple[str, ...] = ()


def blocks(text: str, *languages: str, page: str = "README.md") -> Iterator[Block]:
    """Find the fenced blocks in these languages."""
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if not (fence := FENCE.match(line)):
            continue
        indent, ticks, language = fence.groups()
        body: list[str] = []
        for _, inside in lines:
            if inside.strip() == ticks:
                break
            body.append(inside.removeprefix(indent))
        else:
            raise ValueError(f"{page}:{number}: the fence is never closed")
        if language in languages:
            yield Block(language, number + 1, tuple(body), page)


def steps(block: Block) -> list[Step]:
    """Split a console or sh block into its commands."""
    found: list[Step] = []
    lines = iter(block.body)
    for line in lines:
        if block.language == "console" and not line.startswith("$ "):
            if not found:
                raise ValueError(
                    f"{block.place}: output {line!r} stands before the first '$ ' line"
                )
            found[-1] = Step(found[-1].command, (*found[-1].shown, line))
        elif line.strip() and not line.startswith("#"):
            command = line.removeprefix("$ ")
            while command.endswith("\\"):
                command += "\n" + next(lines).removeprefix("> ")
            found.append(Step(command))
    return found


def runnable(command: str) -> str | None:
    """Return the part of a command that this test runs, or None."""
    if RUNNABLE.match(command):
        return command
    last = command.rpartition("&&")[2].strip()
    return last.removeprefix(VENV) if last.startswith(f"{VENV}convcli") else None


# Matching shown and actual output.


def tidy(lines: Sequence[str]) -> list[str]:
    """Remove blanks at the ends of lines, and blank lines at the end."""
    return "\n".join(line.rstrip() for line in lines).rstrip("\n").splitlines()


def pattern(line: str) -> str:
    """Convert a shown line to a regular expression, line end included."""
    if line.strip() == "...":
        return r"(?:.*\n)*?"
    return ".*?".join(map(re.escape, line.split("..."))) + r"\n"


def matches(shown: Sequence[str], actual: Sequence[str]) -> bool:
    """Return whether the output matches what is shown."""
    text = "".join(f"{line}\n" for line in tidy(actual))
    return re.fullmatch("".join(map(pattern, tidy(shown))), text) is not None


def difference(shown: Sequence[str], actual: Sequence[str]) -> str:
    """Return a diff of the shown and the actual lines, in which matching lines are equal."""
    came = tidy(actual)
    met = [next((line for line in came if matches([want], [line])), want) for want in tidy(shown)]
    return "\n".join(difflib.unified_diff(met, came, "shown", "actual", n=99, lineterm=""))


# Running it.


@dataclass(frozen=True)
class Place:
    """A folder with samples in it, and the environment that commands see there."""

    folder: Path
    environment: dict[str, str]

    def run(self, command: str, status: int) -> tuple[list[str], int]:
        """Run a command after one that exited with `status`; return its output and status."""
        done = subprocess.run(
            ["bash", "-c", f"(exit {status})\n{command}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        return done.stdout.splitlines() + done.stderr.splitlines(), done.returncode


def follow(block: Block, place: Place) -> None:
    """Run a block's commands in order, and fail at the first whose output is not what is shown."""
    status = 0
    todo = steps(block)
    for step, after in zip(todo, [*todo[1:], Step("")], strict=True):
        where = f"{block.place}: $ {step.command}"
        command = runnable(step.command)
        if command is None:
            if step.shown:
                known = ", ".join(RUN)
                reason = f"only commands that begin with {known} are run"
                pytest.fail(f"{where}\nshows output, but {reason}")
            continue
        output, status = place.run(command, status)
        if block.language == "console" and not matches(step.shown, output):
            pytest.fail(f"{where}\n{difference(step.shown, output)}", pytrace=False)
        if status and not admitted(step, after):
            pytest.fail(
                "\n".join([f"{where}\nends with exit code {status}, unannounced", *output]),
                pytrace=False,
            )


def admitted(step: Step, after: Step) -> bool:
    """Return whether the README shows that this step fails."""
    return any(line.startswith("Error") for line in step.shown) or after.command.startswith(
        "echo $?"
    )


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Put this Python and its convcli first on PATH, and set width, colour and language."""
    commands = tmp_path_factory.mktemp("commands")
    python = shlex.quote(sys.executable)
    for name, run in (("convcli", f"{python} -m convcli"), ("python", python), ("python3", python)):
        shim = commands / name
        shim.write_text(f'#!/bin/sh\nexec {run} "$@"\n')
        shim.chmod(0o755)
    package = find_spec("convcli")
    assert package is not None
    assert package.origin is not None
    kept = {name: value for name, value in os.environ.items() if not PREPARED.fullmatch(name)}
    return kept | {
        "PATH": f"{commands}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(Path(package.origin).parent.parent),
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "LC_ALL": "C.UTF-8",
    }


@pytest.fixture
def place(tmp_path: Path, environment: dict[str, str]) -> Place:
    shutil.copytree(
        ROOT / "samples", tmp_path / "samples", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Place(tmp_path, environment)


# The pages themselves.

PAGES = {
    page.name: page.read_text(encoding="utf-8") for page in (README, *sorted(GUIDE.glob("*.md")))
}


def blocks_of_all(*languages: str) -> list[Block]:
    return [block for page, text in PAGES.items() for block in blocks(text, *languages, page=page)]


COMMANDS = [
    b for b in blocks_of_all("console", "sh") if any(runnable(step.command) for step in steps(b))
]
EXAMPLES = [b for b in blocks_of_all("python") if any(line.startswith(">>>") for line in b.body)]


def place_of(block: Block) -> str:
    return block.place


@pytest.mark.parametrize("block", COMMANDS, ids=place_of)
def test_commands_do_what_the_page_shows(block: Block, place: Place) -> None:
    follow(block, place)


@pytest.mark.parametrize("block", EXAMPLES, ids=place_of)
def test_python_does_what_the_page_shows(
    block: Block, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("COLUMNS", "100")
    source = "\n".join((*block.body, ""))
    test = doctest.DocTestParser().get_doctest(source, {}, block.page, block.page, block.line - 1)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(
        test, out=report.append
    )
    if report:
        pytest.fail("".join(report), pytrace=False)


def test_every_command_is_in_the_readme() -> None:
    import click

    from convcli.cli import main

    names = main.list_commands(click.Context(main))
    assert names
    assert [name for name in names if not re.search(rf"convcli {name}\b", PAGES["README.md"])] == []


def test_no_two_blocks_write_the_same_file() -> None:
    """The commands of a page run in one folder, where an existing output is refused."""
    written = Counter(
        output
        for block in COMMANDS
        for output in {
            found
            for step in steps(block)
            for found in re.findall(r" (?:-o|--out) ([^ -]\S*)", step.command)
            if "--overwrite" not in step.command and "--dry-run" not in step.command
        }
    )
    assert [name for name, count in written.items() if count > 1] == []


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 250


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    folder = README.parent if page == "README.md" else GUIDE
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGES[page])
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []


# The harness.


def block_of(text: str, language: str = "console") -> Block:
    return Block(language, 1, tuple(text.splitlines()))


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ("", ""),
        ("one", "one"),
        ("one  ", "one"),
        ("one", "one\n\n"),
        ("...", ""),
        ("...", "one\ntwo"),
        ("one\n...", "one"),
        ("one\n...\nfour", "one\ntwo\nthree\nfour"),
        ("...\ntwo", "one\ntwo"),
        ("took ... s", "took 0.12 s"),
        ("a...b...c", "a 1 b 2 c"),
        ("(28, 28) * [1+]", "(28, 28) * [1+]"),
    ],
)
def test_output_that_matches(shown: str, actual: str) -> None:
    assert matches(shown.splitlines(), actual.splitlines())


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ("", "one"),
        ("one", ""),
        ("one", "one two"),
        ("one", " one"),
        ("one\ntwo", "two\none"),
        ("took ... s", "took 0.12\n s"),
        ("one\n...\nfour", "one\ntwo\nthree"),
        ("a.c", "abc"),
    ],
)
def test_output_that_does_not_match(shown: str, actual: str) -> None:
    assert not matches(shown.splitlines(), actual.splitlines())


def test_difference_marks_only_the_lines_that_differ() -> None:
    diff = difference(["took ... s", "mean 1", "done"], ["took 3 s", "mean 2", "done"]).splitlines()
    assert diff[3:] == [" took 3 s", "-mean 1", "+mean 2", " done"]


def test_blocks_are_found_by_language_with_their_lines() -> None:
    text = "# Title\n```console\n$ echo 1\n1\n```\n- item\n  ```sh\n  echo 2\n  ```\n"
    text += "````text\n```console\n```\n````\n"
    assert list(blocks(text, "console", "sh")) == [
        Block("console", 3, ("$ echo 1", "1")),
        Block("sh", 8, ("echo 2",)),
    ]


def test_a_fence_must_be_closed() -> None:
    with pytest.raises(ValueError, match=r"README\.md:2: the fence is never closed"):
        list(blocks("text\n```sh\necho 1\n", "sh"))


def test_steps_join_continued_lines_and_keep_what_is_shown() -> None:
    text = "$ convcli shape 28x28 \\\n>   -k 3x3\n26x26\n\n$ echo done\ndone"
    assert steps(block_of(text)) == [
        Step("convcli shape 28x28 \\\n  -k 3x3", ("26x26", "")),
        Step("echo done", ("done",)),
    ]
    assert steps(block_of("# why\n\necho 1\necho 2", "sh")) == [Step("echo 1"), Step("echo 2")]


def test_output_before_any_command_is_refused() -> None:
    with pytest.raises(ValueError, match="before the first"):
        steps(block_of("26x26\n$ convcli shape 28x28 -k 3x3"))


@pytest.mark.parametrize(
    ("command", "run"),
    [
        ("convcli --help", "convcli --help"),
        ("printf '1,2' | convcli apply - -k 1", "printf '1,2' | convcli apply - -k 1"),
        ("NO_COLOR=1 convcli bench && rm -r out", "NO_COLOR=1 convcli bench && rm -r out"),
        (
            "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/convcli --help",
            "convcli --help",
        ),
        ('.venv/bin/pip install -e ".[test]" && .venv/bin/python -m pytest', None),
        ("pip install convcli", None),
        ("category", None),
    ],
)
def test_only_known_commands_are_run(command: str, run: str | None) -> None:
    assert runnable(command) == run


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("$ printf '1\\n2\\n3\\n'\n1\n...", "console"),
        (
            "$ cat samples/signal.csv | cat > copy.csv\n"
            "$ echo *.csv samples/*.npy\ncopy.csv ...volume.npy",
            "console",
        ),
        ("$ echo talk >&2; echo result\nresult\ntalk", "console"),
        ("$ cat missing\n...\n$ echo $?\n1", "console"),
        ("$ echo 'Error: no' && false\nError: no", "console"),
        ("$ pip install convcli\n$ echo $COLUMNS $NO_COLOR\n100 1", "console"),
        ("echo 1 > one\ncat one", "sh"),
    ],
)
def test_blocks_that_hold(text: str, language: str, place: Place) -> None:
    follow(block_of(text, language), place)


@pytest.mark.parametrize(
    ("text", "language", "says"),
    [
        ("$ echo 1\n2", "console", r"-2\n\+1"),
        ("$ echo 1", "console", r"\+1"),
        ("$ cat missing\n...", "console", "exit code 1, unannounced"),
        ("cat missing", "sh", "exit code 1, unannounced"),
        ("$ ls samples\nphoto.png", "console", "only commands that begin with convcli"),
    ],
)
def test_blocks_that_do_not_hold(text: str, language: str, says: str, place: Place) -> None:
    with pytest.raises(pytest.fail.Exception, match=says):
        follow(block_of(text, language), place)


def test_convcli_on_the_path_is_this_one(place: Place) -> None:
    from convcli import __version__

    assert place.run("convcli --version", 0) == ([f"convcli, version {__version__}"], 0)
