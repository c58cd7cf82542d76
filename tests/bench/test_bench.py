"""Test the bench with an injected clock: its timings, its limits, and its check of every result."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from convcli import correlate
from convcli.bench import peers
from convcli.bench.overhead import REPEATS, measure_overhead
from convcli.bench.peers import Peer, Task, UnableError, on_threads
from convcli.bench.run import STANDARD, BenchRequest, BenchResult, run_bench
from convcli.bench.timing import COPIED, SIDE, Timing, copying, multiplying, take_turns
from convcli.cli import main
from convcli.cli.report.bench import BARS, COLOURS, MARGIN, NAMES, draw_bars
from convcli.engine.problem import Problem
from convcli.errors import ConvError
from convcli.jobs.requests import flat_options, from_options

Offers = dict[str, Callable[[Task], Iterator[Peer]]]


pytestmark = pytest.mark.usefixtures("in_tmp")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Offers:
    """Replace the peers by those that a test adds."""
    offers: Offers = {}
    monkeypatch.setattr(peers, "OFFERS", offers)
    return offers


def offering(
    call: Callable[[Task], Any], seconds: float | None = None
) -> Callable[[Task], Iterator[Peer]]:
    def offer(task: Task) -> Iterator[Peer]:
        yield Peer("peer", lambda: call(task), seconds)

    return offer


def right(task: Task) -> np.ndarray:
    return correlate(task.x, task.w, method="direct")


def steady() -> Callable[[], float]:
    """Return a clock by which every call takes one second."""
    return itertools.count().__next__


def scripted(*each: Sequence[float]) -> Callable[[], float]:
    """Return a clock by which the calls of each turn take the given seconds."""

    def ticks() -> Iterator[float]:
        now = 0.0
        for taken in itertools.chain(*each):
            yield now
            now += taken
            yield now

    return ticks().__next__


def bench_of(
    *arguments: Any, clock: Callable[[], float] = perf_counter, **options: Any
) -> BenchResult:
    return run_bench(from_options(BenchRequest, *arguments, **options), clock)


class TestTurns:
    def test_everybody_has_one_before_anybody_has_another(self) -> None:
        order: list[str] = []
        calls = {name: lambda name=name: order.append(name) for name in "abc"}
        take_turns(calls, 3)
        assert "".join(order) == "abcabcabc"

    def test_each_is_charged_for_its_own_and_the_median_counts(self) -> None:
        clock = scripted([1, 10], [5, 20], [2, 90])
        taken = take_turns({"a": int, "b": int}, 3, clock)
        assert taken == {"a": Timing((1, 5, 2)), "b": Timing((10, 20, 90))}
        assert (taken["a"].median, taken["b"].median) == (2, 20)

    @pytest.mark.parametrize("count", [1, 3])
    def test_the_yardsticks_do_what_they_are_for(
        self, count: int, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        set_threads(count)
        monkeypatch.setattr(
            "convcli.bench.timing.share_out",
            lambda work, items, workers: seen.append([*map(work, items)]),
        )
        copied: list[int] = []
        monkeypatch.setattr(np, "copyto", lambda target, source: copied.append(source.nbytes))
        copy, matmul = copying(), multiplying()
        copy.call()
        matmul.call()
        assert [len(parts) for parts in seen] == [count, count]
        assert sum(copied) == COPIED == copy.amount / 2
        assert matmul.amount == 2 * count * SIDE**3


class TestCases:
    def test_the_numbers_are_what_the_clock_makes_them(self, alone: Offers) -> None:
        report = bench_of((30, 40), "random:3x5", runs=3, clock=steady())
        assert {row.name for row in report.rows} == {"direct", "gemm", "separable", "fft"}
        assert all(row.timing == Timing((1, 1, 1)) for row in report.rows)
        assert report.operations(report.pick) == 2 * 15 * 28 * 36
        assert report.traffic(report.pick) == 4 * (30 * 40 + 28 * 36)
        assert (report.copy.rate, report.matmul.rate) == (2 * COPIED, 2 * report.threads * SIDE**3)
        assert report.reference == "direct"
        assert not report.wrong

    def test_rows_stand_by_their_time(self, alone: Offers) -> None:
        admitted = ["direct", "gemm", "separable", "fft"]
        report = bench_of(
            (30, 40), "random:3x3", runs=1, clock=scripted([0.5] * 4, [9, 9], [3, 2, 4, 1])
        )
        assert [(row.name, row.seconds) for row in report.rows] == list(
            zip([admitted[3], admitted[1], admitted[0], admitted[2]], [1, 2, 3, 4], strict=True)
        )
        assert (report.slowest, report.pick.name) == (4, report.plan.method)

    def test_what_takes_too_long_at_first_is_left_out_but_for_the_pick(self, alone: Offers) -> None:
        report = bench_of((30, 40), "random:3x3", limit=0.5, clock=steady())
        assert [row.name for row in report.rows] == [report.plan.method] == [report.reference]
        assert len(report.left_out) == 3
        assert all(
            why == "took 1 s at first; the limit is 0.5 s a run" for why in report.left_out.values()
        )

    def test_what_would_take_too_long_is_never_called(self, alone: Offers) -> None:
        alone["peer"] = offering(lambda task: pytest.fail("was called"), seconds=7.0)
        report = bench_of((400, 400), "random:9x9", limit=1e-9, runs=1)
        assert [row.name for row in report.rows] == [report.plan.method]
        assert report.left_out["peer"] == "would take about 7 s; the limit is 1e-09 s a run"

    def test_methods_that_cannot_say_why(self, alone: Offers) -> None:
        report = bench_of((9, 9, 3), "random:4x3x3x3", runs=1)
        assert {row.name for row in report.rows} == {"direct", "gemm"}
        assert "spectrum" in report.left_out["fft"]

    def test_whole_numbers_are_exact(self, alone: Offers) -> None:
        report = bench_of((40, 40, 3), "sobel-x", dtype="uint8", runs=1)
        assert [row.difference for row in report.rows] == [0.0] * len(report.rows)
        assert {row.bound for row in report.rows} == {0.0}
        assert report.plan.dtype == "uint8"

    @pytest.mark.parametrize("case", STANDARD, ids=lambda case: f"{case.shape} {case.reference}")
    def test_the_standard_set_fits(self, case: BenchRequest, alone: Offers) -> None:
        report = run_bench(replace(case, runs=1, limit=1e-9))
        assert [row.name for row in report.rows] == [report.plan.method]

    @pytest.mark.parametrize(
        ("case", "says"),
        [
            (BenchRequest((5, 5), "random:7x7"), "kernel 7x7 exceeds"),
            (BenchRequest((10**6, 10**6), "box"), "of memory"),
            (
                from_options(BenchRequest, (3000, 3000), "box", max_memory=100_000_000),
                "comparing results",
            ),
            (from_options(BenchRequest, (5, 5), "box", limit=float("nan")), "limit nan"),
        ],
    )
    def test_refusals(self, case: BenchRequest, says: str) -> None:
        with pytest.raises(ConvError, match=says):
            run_bench(case)


class TestAnswers:
    def test_a_right_peer_is_a_row(self, alone: Offers) -> None:
        alone["peer"] = offering(right)
        report = bench_of((20, 20), "random:3x3", runs=1)
        row = next(row for row in report.rows if row.is_peer)
        assert (row.name, row.difference, row.predicted, row.passed) == ("peer", 0.0, None, True)

    @pytest.mark.parametrize(
        "answer",
        [
            lambda task: correlate(task.x, task.w[::-1, ::-1]),
            lambda task: np.roll(right(task), 1, 0),
            lambda task: right(task)[1:],
            lambda task: np.where(right(task) < 0, np.nan, right(task)),
            lambda task: np.zeros_like(right(task)),
        ],
        ids=["flipped", "shifted", "too short", "nan", "nothing"],
    )
    def test_a_wrong_one_is_found(self, answer: Callable[[Task], Any], alone: Offers) -> None:
        alone["peer"] = offering(answer)
        assert bench_of((60, 60), "random:3x3", runs=1).wrong == ("peer",)

    def test_a_method_that_errs_is_found(
        self, alone: Offers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from convcli.bench import run as bench
        from convcli.engine.calls import run_problem

        monkeypatch.setattr(
            bench,
            "run_problem",
            lambda problem, dtype, method: (
                run_problem(problem, dtype, method) + (method == "fft") * 1e-3
            ),
        )
        assert bench_of((60, 60), "random:3x3", runs=1).wrong == ("fft",)

    def test_one_that_fails_or_is_missing_is_left_out(self, alone: Offers) -> None:
        def missing(task: Task) -> Iterator[Peer]:
            raise ImportError

        def unable(task: Task) -> Iterator[Peer]:
            raise UnableError("has no such border")

        alone |= {"peer": offering(lambda task: task.x / "x"), "missing": missing, "unable": unable}
        left_out = bench_of((20, 20), "random:3x3", runs=1).left_out
        assert left_out["peer"].startswith("fails: ")
        assert (left_out["missing"], left_out["unable"]) == (
            "is not installed",
            "has no such border",
        )


NUMPY, TAPS, PASSES, OVERLAP = (
    "numpy.correlate",
    "scipy.ndimage.correlate",
    "scipy.ndimage.correlate1d",
    "scipy.signal.oaconvolve",
)
BORDERS = ("constant", "edge", "reflect", "symmetric", "wrap")
DONE: list[tuple[BenchRequest, set[str]]] = [
    (BenchRequest((50,), "random:5"), {NUMPY, PASSES, OVERLAP}),
    (from_options(BenchRequest, (50,), "random:4", padding="same"), {NUMPY, PASSES, OVERLAP}),
    (from_options(BenchRequest, (50,), "random:4", padding="full"), {NUMPY, OVERLAP}),
    (BenchRequest((20, 30), "random:4x3"), {TAPS, OVERLAP}),
    (
        from_options(BenchRequest, (20, 30), "random:4x6", dtype="float64", padding="same-lower"),
        {TAPS, OVERLAP},
    ),
    (from_options(BenchRequest, (20, 30), "random:4x3", padding=((0, 2), (1, 0))), {TAPS, OVERLAP}),
    (
        from_options(BenchRequest, (20, 30), "gaussian:sigma=1", padding="same", boundary="edge"),
        {PASSES},
    ),
    (from_options(BenchRequest, (20, 30), "box", padding="same", cval=2.0), {TAPS}),
    *(
        (
            from_options(BenchRequest, (20, 30, 3), "random:3x4", padding="same", boundary=border),
            {TAPS},
        )
        for border in BORDERS[1:]
    ),
    (
        from_options(
            BenchRequest, (3, 20, 30), "random:3x4", padding="same", layout="channels_first", dims=2
        ),
        {TAPS, OVERLAP},
    ),
    (from_options(BenchRequest, (2, 20, 30, 3), "random:3x4", dims=2), {TAPS, OVERLAP}),
    (from_options(BenchRequest, (9, 8, 7), "random:3x2x3", padding="same"), {TAPS, OVERLAP}),
    (from_options(BenchRequest, (20, 30), "random:4x3", stride=2), set()),
    (from_options(BenchRequest, (20, 30), "random:4x3", dilation=2, padding=1), set()),
    (from_options(BenchRequest, (20, 30), "random:4x3", padding=5), set()),
    (
        from_options(
            BenchRequest,
            (20, 30, 3),
            "random:3x3",
            dtype="uint8",
            padding="same",
            boundary="reflect",
        ),
        set(),
    ),
    (from_options(BenchRequest, (20, 30), "sobel-y", dtype="uint16", padding="same"), set()),
    (
        from_options(
            BenchRequest, (20, 30, 4), "random:6x3x3x2", groups=2, padding="same", stride=2
        ),
        set(),
    ),
    (
        from_options(
            BenchRequest,
            (4, 20, 30),
            "random:6x2x3x3",
            groups=2,
            padding=1,
            boundary="wrap",
            layout="channels_first",
        ),
        set(),
    ),
    (
        from_options(
            BenchRequest,
            (20, 30, 4),
            "random:3x3x4",
            channels="each",
            dilation=2,
            boundary="edge",
            padding="same",
        ),
        set(),
    ),
    (
        from_options(
            BenchRequest, (2, 20, 30, 4), "random:3x3x4", dims=2, boundary="reflect", padding="0:1"
        ),
        set(),
    ),
    (
        from_options(BenchRequest, (20, 30, 4), "random:3x3", channels="sum", padding=1, cval=3.0),
        set(),
    ),
    (from_options(BenchRequest, (50, 4), "random:6x3x4", padding=2), set()),
    (from_options(BenchRequest, (6, 7, 8, 2), "random:3x2x2x2x2", padding=1), set()),
]
"""Cases, and the peers of numpy and scipy, which are always installed, that can compute them.
OpenCV and torch are tested if they are installed.
"""
ALSO = {
    "cv2": {"cv2.filter2D", "cv2.sepFilter2D"},
    "torch": {f"torch.conv{dims}d{last}" for dims in (1, 2, 3) for last in ("", ", channels last")},
}


def named(case: BenchRequest) -> str:
    plain = flat_options(BenchRequest(case.shape, ""))
    changed = {name: value for name, value in flat_options(case).items() if value != plain[name]}
    return " ".join(map(str, [case.shape, *changed.values()]))


@pytest.mark.filterwarnings("default")
class TestPeers:
    @pytest.mark.parametrize(
        ("case", "taking_part"),
        DONE,
        ids=lambda value: named(value) if isinstance(value, BenchRequest) else "",
    )
    def test_they_give_our_answer(self, case: BenchRequest, taking_part: set[str]) -> None:
        report = run_bench(replace(case, runs=1))
        there = {row.name for row in report.rows if row.is_peer}
        assert not report.wrong
        assert taking_part == there - ALSO["cv2"] - ALSO["torch"]
        assert not [why for why in report.left_out.values() if why.startswith("fails")]

    @pytest.mark.parametrize("package", ALSO)
    def test_each_takes_part_somewhere(self, package: str) -> None:
        pytest.importorskip(package)
        cases = [case for case, _ in DONE]
        seen = {row.name for case in cases for row in run_bench(replace(case, runs=1)).rows}
        assert seen >= ALSO[package] - {"torch.conv1d, channels last"}

    def test_they_have_the_threads_that_ours_have_and_their_own_back(self) -> None:
        fft = pytest.importorskip("scipy.fft")
        before = fft.get_workers()
        with on_threads(before + 2):
            assert fft.get_workers() == before + 2
        assert fft.get_workers() == before

    @pytest.mark.parametrize(
        ("package", "get"), [("torch", "get_num_threads"), ("cv2", "getNumThreads")]
    )
    def test_so_do_those_with_setters(self, package: str, get: str) -> None:
        module = pytest.importorskip(package)
        before = getattr(module, get)()
        with on_threads(before + 2):
            assert getattr(module, get)() == before + 2
        assert getattr(module, get)() == before


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, words)], env={"COLUMNS": "100"})


class TestCommand:
    def test_the_table(self, alone: Offers) -> None:
        told = run("30x40", "-k", "random:3x3", "--runs", 1).stdout
        assert "height  30 - 3 + 1 = 28" in told
        assert "timed   median of 1 run each" in told
        assert told.count("reference") == 2
        assert "█" * 10 in told
        assert "█" * 11 not in told

    def test_every_number_is_in_the_json(self, alone: Offers) -> None:
        record = json.loads(run("30x40", "-k", "random:3x3", "--runs", 3, "--json").stdout)
        case = record["cases"][0]
        assert record["passed"]
        assert (case["macs"], case["pick"]) == (
            9 * 28 * 38,
            next(r["name"] for r in case["rows"] if r["to_pick"] == 1),
        )
        for timing in (*case["rows"], *case["limits"].values()):
            assert sorted(timing["turns"])[1] == timing["seconds"]
            assert len(timing["turns"]) == 3
        for row in case["rows"]:
            assert row["operations_per_second"] * row["seconds"] == pytest.approx(2 * case["macs"])
            assert row["of_copy"] * case["limits"]["copy"]["bytes_per_second"] == pytest.approx(
                row["bytes_per_second"]
            )

    def test_a_wrong_answer_ends_with_1(self, alone: Offers) -> None:
        alone["peer"] = offering(lambda task: right(task)[1:])
        result = run("30x40", "-k", "random:3x3", "--runs", 1)
        assert result.exit_code == 1
        assert result.stderr == (
            "Error: the answer of peer is wrong; "
            "it differs from the reference by more than its bound; see the rows marked WRONG\n"
        )
        assert "inf WRONG" in result.stdout
        record = json.loads(run("30x40", "-k", "random:3x3", "--runs", 1, "--json").stdout)
        assert not record["passed"]
        assert [row["difference"] for row in record["cases"][0]["rows"] if row["peer"]] == [None]

    def test_the_standard_set(self, alone: Offers, monkeypatch: pytest.MonkeyPatch) -> None:
        small = (
            BenchRequest((20, 20), "box"),
            from_options(BenchRequest, (30,), "random:5", stride=2),
        )
        monkeypatch.setattr("convcli.bench.run.STANDARD", small)
        told = run("--runs", 1, "--seed", 7, "-o", "bars.png")
        assert told.exit_code == 0
        assert told.stdout.count("seed 7") == 2
        assert "wrote bars.png (png, " in told.stderr
        with Image.open("bars.png") as picture:
            assert picture.mode == "RGB"

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["8x8"], "give both, or neither"),
            (["-k", "box"], "give both, or neither"),
            (["--stride", "2"], "--stride does not apply to the standard set"),
            (["--dtype", "uint8"], "--dtype does not apply to the standard set"),
            (["8x8", "-k", "box", "--overwrite"], "--overwrite applies to -o FILE"),
            (["8x8", "-k", "box", "-o", "x.npy"], "x.npy for a picture"),
            (["8x8", "-k", "box", "-o", "x.pgm"], "x.pgm for a picture"),
            (["8x8", "-k", "box", "-o", "-"], "- for a picture"),
            (["8x8", "-k", "box", "--dtype", "int61"], "did you mean 'int16'"),
            (["8x8", "-k", "box", "--limit", "0"], "--limit"),
            (["8by8", "-k", "box"], "not a shape"),
        ],
    )
    def test_refusals(self, words: list[str], says: str) -> None:
        result = run(*words)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert says in result.stderr


def lengths(report: BenchResult, colour: str) -> list[int]:
    """The bars of a colour in the picture, from above: pixels of each."""
    mask = (draw_bars([report])[:, MARGIN + NAMES :] == COLOURS[colour]).all(axis=2)
    starts = np.flatnonzero(mask[:, 0] & ~np.roll(mask[:, 0], 1))
    return [int(np.argmin(mask[start])) for start in starts]


def test_bars_are_as_long_as_their_times(alone: Offers) -> None:
    alone["peer"] = offering(right)
    report = bench_of(
        (30, 40), "random:3x3", runs=1, clock=scripted([0.5] * 5, [9, 9], [3, 2, 4, 1, 2.5])
    )
    times = {
        kind: [row.seconds for row in report.rows if belongs(row)]
        for kind, belongs in (
            ("pick", lambda row: row is report.pick),
            ("peer", lambda row: row.is_peer),
            ("method", lambda row: row is not report.pick and not row.is_peer),
        )
    }
    for kind, seconds in times.items():
        assert lengths(report, kind) == [round(BARS * each / 4) for each in seconds]
    assert lengths(report, "wrong") == []


def test_a_wrong_answer_is_a_bar_of_its_own_colour(alone: Offers) -> None:
    alone["peer"] = offering(lambda task: right(task) + 1)
    report = bench_of(
        (30, 40), "random:3x3", runs=1, clock=scripted([0.5] * 5, [9, 9], [3, 2, 4, 1, 2.5])
    )
    assert lengths(report, "wrong") == [round(BARS * 2.5 / 4)]


class TestOverhead:
    def test_a_first_and_a_repeated_call_of_each_kind(self) -> None:
        ticks = iter(range(1000))
        measured = measure_overhead(2, clock=lambda: float(next(ticks)))
        assert [each.name for each in measured] == ["picture", "signal", "layer"]
        for each in measured:
            assert each.first == Timing((1.0, 1.0))
            assert each.repeated == Timing((1 / REPEATS, 1 / REPEATS))

    def test_a_first_call_is_planned_and_a_repeated_one_is_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        planned = []
        plan = Problem.plan
        monkeypatch.setattr(
            Problem, "plan", lambda self, *given: planned.append(self) or plan(self, *given)
        )
        measure_overhead(3)
        assert len(planned) == 3 * (1 + 3)

    def test_its_table_and_its_json(self) -> None:
        shown = run("--overhead", "--runs", 1)
        assert shown.exit_code == 0
        head, *rows = shown.stdout.splitlines()
        assert head.split()[:3] == ["call", "input", "kernel"]
        assert [row.split()[:3] for row in rows] == [
            ["picture", "16x16", "3x3"],
            ["signal", "64", "9"],
            ["layer", "1x8x8x4", "4x3x3x4"],
        ]
        record = json.loads(run("--overhead", "--runs", 2, "--json").stdout)
        assert record["cases"] == []
        assert [len(each["repeated"]["turns"]) for each in record["overhead"]] == [2, 2, 2]

    @pytest.mark.parametrize("words", [("20x20",), ("--stride", 2), ("-k", "box"), ("-o", "a.png")])
    def test_it_has_its_own_cases(self, words: tuple[object, ...]) -> None:
        refused = run("--overhead", *words)
        assert refused.exit_code == 2
        assert "does not apply to --overhead" in refused.stderr
