"""`convcli kernels`: the words that people try."""

from __future__ import annotations

import json

from click.testing import CliRunner

from convcli.cli import main


def run(*words: str) -> str:
    result = CliRunner().invoke(main, ["kernels", *words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_name_alone_shows_the_kernel() -> None:
    assert run("sobel-x") == run("show", "sobel-x")
    assert run("gaussian:sigma=2", "--json") == run("show", "gaussian:sigma=2", "--json")


def test_a_pattern_lists_the_families_whose_line_contains_it() -> None:
    families = json.loads(run("list", "Edge", "--json"))["kernels"]
    assert {family["names"][0] for family in families} >= {"kirsch-nw", "robinson-nw", "log"}
    assert all(
        "edge" in " ".join((*family["names"], family["meaning"])).lower() for family in families
    )
    assert "gaussian" not in run("list", "edge")


def test_the_list_ends_with_other_names() -> None:
    *_, last = run("list").splitlines()
    assert "blur = gaussian, " in last
    assert "edges = the magnitude of sobel-x and sobel-y" in last
    assert "other names" not in run("list", "edge")


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    result = CliRunner().invoke(main, ["kernels", "list", "nonsense"])
    assert result.exit_code == 2
    assert (
        result.stderr
        == "Error: no kernel matches 'nonsense'; see all with 'convcli kernels list'\n"
    )
