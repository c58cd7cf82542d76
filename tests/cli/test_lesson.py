"""`convcli lesson`: the tour in a pipe and on a terminal, the quiz, and how both end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from command import ROOT, on_terminal, plain, record, run

from convcli.cli.report import lesson as report
from convcli.learn.lesson import read_lesson

STEPS = read_lesson()
RIGHT = [
    *("1010", "25", "-1", "26", "3", "12", "112", "20", "3", "9", "8 4 0", "1", "0", "2"),
    *("28,28", "24x24x32", "9,472", "5", "6", "28x28", "2", "7", "2", "8x8x3"),
]


def quiz(*words: str, answers: str, code: int = 0) -> str:
    return run("lesson", *words, "--quiz", stdin=answers.encode(), code=code).stdout


@pytest.fixture(autouse=True)
def _in_tmp(in_tmp: Path) -> None:
    """Run every test in an empty folder."""


def typed_commands(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Return the commands of a step after `$ `, each with the lines below it."""
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    return [
        (
            lines[start][2:],
            [*takewhile(lambda line: not line.startswith(("$ ", "Notice:")), lines[start + 1 :])],
        )
        for start in starts
    ]


def tidy(lines: list[str]) -> list[str]:
    """Remove what differs from run to run: the seconds."""
    return re.sub(r"took +[\d.]+ s", "took", "\n".join(lines).strip()).splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"step {step.number}")
def test_a_step_can_be_typed_into_a_shell(step, in_tmp: Path) -> None:
    """What a step shows is what its commands do, in bash and in an empty folder."""
    shown = run("lesson", str(step.number)).stdout.splitlines()
    commands = typed_commands(shown)
    assert [
        line.removeprefix("convcli ") for line, _ in commands if line.startswith("convcli")
    ] == [*step.runs]
    assert list(in_tmp.iterdir()) == []
    function = f'convcli() {{ {shlex.quote(sys.executable)} -m convcli "$@"; }}'
    for line, output in commands:
        done = subprocess.run(
            ["bash", "-c", f"{function}\n{line}"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert tidy(done.stdout.splitlines()) == tidy(output)


class TestTour:
    def test_a_pipe_gets_all_steps_without_questions(self) -> None:
        shown = run("lesson").stdout
        for step in STEPS:
            assert f"{step.number}/{len(STEPS)}  {step.title}\n" in shown
        assert "Enter" not in shown
        assert "Question" not in shown
        assert shown.count("Notice:") == len(STEPS)

    def test_steps_are_selected(self) -> None:
        for words, numbers in [("7", [7]), ("23-", [23, 24]), ("4-6", [4, 5, 6])]:
            shown = run("lesson", words).stdout
            assert [int(n) for n in re.findall(r"^(\d+)/24  ", shown, re.M)] == numbers
            assert [step["number"] for step in record(f"lesson {words}")["steps"]] == numbers

    def test_a_terminal_waits_after_each_step(self) -> None:
        lines = plain(on_terminal("lesson", "2-4", typed="\n\n"))
        assert sum("Enter: next step, q: leave >" in line for line in lines) == 2
        assert any(line.startswith("4/24") for line in lines)

    @pytest.mark.parametrize("typed", ["q\n", "Q\n", " quit \n", "exit\n", "\x04"])
    def test_q_or_the_end_of_input_leaves(self, typed: str) -> None:
        lines = plain(on_terminal("lesson", "4-", typed=typed))
        assert lines[-1].endswith("Continue with 'convcli lesson 5-'.")
        assert not any(line.startswith("5/24") for line in lines)

    def test_lines_fit_the_terminal_besides_commands(self) -> None:
        lines = plain(on_terminal("lesson", typed=30 * "\n"))
        assert any(line.startswith("24/24") for line in lines)
        assert [line for line in lines if len(line) > 80 and not line.startswith("$ ")] == []

    @pytest.mark.parametrize("step", STEPS, ids=lambda step: f"step {step.number}")
    def test_texts_fit_a_narrow_terminal(self, step, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(report, "width", lambda: 40)
        lines = [*report.title_lines(step, 24), *report.question_lines(step.ask)]
        assert [line for line in plain(lines) if len(line) > 40] == []

    def test_formulas_are_not_broken(self) -> None:
        shown = run("lesson").stdout
        assert [line for line in shown.splitlines() if line.count("`") % 2] == []

    def test_one_step_does_not_wait(self) -> None:
        assert not any("Enter" in line for line in plain(on_terminal("lesson", "4")))

    def test_the_list_has_every_title(self) -> None:
        lines = run("lesson", "--list").stdout.splitlines()
        assert [line.split(None, 1) for line in lines[1:]] == [
            [str(step.number), step.title] for step in STEPS
        ]
        assert [row["title"] for row in record("lesson --list")["steps"]] == [
            step.title for step in STEPS
        ]

    def test_json_has_outputs_and_facts(self) -> None:
        (step,) = record("lesson 3")["steps"]
        assert step["facts"] == {"y": [17.0, 12.0, 21.0]}
        assert "the outputs 17, 12, 21." in step["notice"]
        assert step["runs"][0]["files"] == {"x.csv": "3\n1\n4\n1\n5\n"}
        assert "y[2] = 4 + 2 + 15 = 21" in step["runs"][0]["output"]

    @pytest.mark.parametrize("words", ["0", "25", "3-2", "x", "--"])
    def test_a_step_that_does_not_exist_is_refused(self, words: str) -> None:
        if words == "--":
            assert "expected it alone" in run("lesson", "--list", "--quiz", code=2).stderr
            return
        assert "expected a number from 1 to 24" in run("lesson", words, code=2).stderr


class TestQuiz:
    def test_right_answers_to_all_questions(self) -> None:
        shown = quiz(answers="\n".join(RIGHT))
        assert shown.endswith("\n24 of 24 right\n")
        assert shown.count("Question:") == shown.count("right: ") == 24
        assert "wrong: " not in shown

    def test_a_wrong_answer_is_corrected_and_its_command_run(self) -> None:
        shown = quiz("3-4", answers="1\n26x26\n", code=1)
        assert "answer > 1\nwrong: the answer is -1\n\n$ printf" in shown
        assert "y[0] = 3 + 0 - 4 = -1" in shown
        assert "1 of 2 right" in shown
        stderr = run("lesson", "3-4", "--quiz", stdin=b"1\n26x26\n", code=1).stderr
        assert stderr == "Error: 1 wrong answer of 2; read 'convcli lesson 3'\n"

    def test_what_is_no_number_is_wrong_in_a_pipe(self) -> None:
        assert "0 of 1 right" in quiz("4", answers="many\n", code=1)

    @pytest.mark.parametrize("answers", [b"", b"26", b"26\nq\n", b"\xff\xfe\n"])
    def test_input_that_ends_early_is_an_error(self, answers: bytes) -> None:
        result = run("lesson", "4-6", "--quiz", stdin=answers, code=1)
        assert result.stderr.startswith("Error: ")
        assert "not answered" in result.stdout

    def test_the_message_says_where_to_continue(self) -> None:
        stderr = run("lesson", "4-6", "--quiz", stdin=b"26\n3\n", code=1).stderr
        assert stderr == (
            "Error: standard input has 2 answers; expected 3, one per line; "
            "continue with 'convcli lesson 6- --quiz'\n"
        )

    def test_json_is_one_object_with_the_documented_fields(self) -> None:
        result = run("lesson", "3-4", "--quiz", "--json", stdin=b"-1\n27\n", code=1)
        found = json.loads(result.stdout)
        table = (ROOT / "convcli" / "guide" / "json.md").read_text()
        row = re.search(r"^\| `lesson quiz` \| (`questions`.*) \|$", table, re.M)
        assert row is not None
        fields = re.findall(r"`(\w+)`", row[1])
        assert [*found] == ["convcli", "schema", "command", "warnings", *fields]
        assert [(q["answer"], q["given"], q["right"]) for q in found["questions"]] == [
            (-1, "-1", True),
            ([26, 26], "27", False),
        ]
        assert (found["right"], found["asked"]) == (1, 2)
        assert json.loads(result.stderr)["code"] == 1

    def test_a_terminal_asks_again_for_what_is_no_number(self) -> None:
        lines = plain(on_terminal("lesson", "4", "--quiz", typed="many\n\n26x26\n"))
        assert sum("expected a number, or numbers such as 26x26" in line for line in lines) == 2
        assert lines[-1] == "1 of 1 right"

    @pytest.mark.parametrize("typed", ["q\n", "\x04"])
    def test_leaving_on_a_terminal_is_no_failure(self, typed: str) -> None:
        lines = plain(on_terminal("lesson", "4-", "--quiz", typed=f"26\n{typed}"))
        assert lines[-2:] == ["1 of 1 right", "20 questions not answered"]

    def test_json_on_a_terminal_asks_on_stderr(self) -> None:
        lines = plain(on_terminal("lesson", "4", "--quiz", "--json", typed="26\n"))
        assert json.loads(lines[-1])["right"] == 1
        assert any("Question:" in line for line in lines)

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
    def test_a_closed_input_is_refused(self) -> None:
        done = subprocess.run(
            ["sh", "-c", f"{shlex.quote(sys.executable)} -m convcli lesson --quiz <&-"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("Error: standard input is closed; ")


INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
from convcli.cli import main
main()
"""


def interrupt(process: subprocess.Popen[bytes]) -> bytes:
    """Interrupt a process until it ends, and return what it wrote to stderr.

    A signal between the prompt and the read has its effect at the next one.
    """
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=10)[1]
    process.kill()
    raise AssertionError("the interrupt had no effect")


@pytest.mark.parametrize("words", [["lesson", "--quiz"], ["lesson"]], ids=" ".join)
def test_an_interrupt_ends_with_130_and_leaves_no_folder(
    words: list[str], in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(in_tmp)},
    )
    os.close(theirs)
    read = b""
    while b" > " not in read:
        read += os.read(ours, 65536)
    assert list(in_tmp.glob("convcli-lesson-*"))
    stderr = interrupt(process)
    os.close(ours)
    assert (process.returncode, stderr) == (130, b"Error: interrupted\n")
    assert list(in_tmp.iterdir()) == []
