"""The table of formats agrees with `convcli formats`, the guide, and files that are read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mutants import SAMPLES

from convcli.cli import main
from convcli.cli.report.formats import markdown
from convcli.io import Format, RawLayout, all_formats, available, load, save
from convcli.io.formats import packages

PAGE = Path(__file__).parents[2] / "convcli" / "guide" / "formats.md"
PICTURES = [form for form in all_formats() if form.kind == "image" and form.writable]


def told(*words: str) -> str:
    result = CliRunner().invoke(main, ["formats", *words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_guide_shows_this_very_table() -> None:
    section = PAGE.read_text().split("\n## Formats\n")[1].split("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("|")]
    assert shown == markdown().splitlines() == told("--markdown").splitlines()


def test_every_format_has_a_line() -> None:
    lines = told().splitlines()
    for form in all_formats():
        assert any(line.split()[:1] == [form.name] for line in lines), form.name
        if extra := form.extra or (form.extension and form.extension.extra):
            assert packages(extra) in told()


def test_json_has_every_field_of_the_table() -> None:
    for form, record in zip(all_formats(), json.loads(told("--json"))["formats"], strict=True):
        assert record["name"] == form.name
        assert {dtype: tuple(counts) for dtype, counts in record["writes"].items()} == dict(
            form.channels
        )
        assert record["writable"] is form.writable
        assert record["available"] is available(form)
        assert (record["beyond"] is None) is (form.extension is None)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda name: name != "webp")
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda name: name != "imagecodecs" or None)
    assert [line.split()[0] for line in told().splitlines() if "not installed" in line] == [
        "png",
        "webp",
    ]
    records = {record["name"]: record for record in json.loads(told("--json"))["formats"]}
    assert [name for name, record in records.items() if not record["available"]] == ["webp"]
    assert records["png"]["beyond"] == {
        "needs": "imagecodecs",
        "available": False,
        "reads": {"uint16": [2, 4]},
        "writes": {},
        "volumes": False,
    }
    assert "not installed" not in told("--markdown")


def test_one_table_at_a_time() -> None:
    assert CliRunner().invoke(main, ["formats", "--markdown", "--json"]).exit_code == 2


@pytest.mark.parametrize("form", PICTURES, ids=lambda form: form.name)
def test_a_picture_is_read_as_the_types_that_are_listed(tmp_path: Path, form: Format) -> None:
    seen = set()
    for dtype, counts in form.channels.items():
        values = (np.arange(20 * counts[0]).reshape(4, 5, counts[0]) % 2).astype(dtype)
        save(tmp_path / f"{dtype}.{form.name}", values)
        seen.add(load(tmp_path / f"{dtype}.{form.name}").array.dtype.name)
    assert seen == set(form.reads)


@pytest.mark.parametrize(
    "name", [name for name, sample in SAMPLES.items() if sample.use == "input"]
)
def test_a_sample_gives_a_type_that_is_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SAMPLES[name].write())
    data = load(tmp_path / name, raw=RawLayout((11, 13), np.dtype("f8")))
    form = next(form for form in all_formats() if form.name == data.format)
    assert not form.reads or data.array.dtype.name in form.reads
