"""Fixtures for the tests of picture formats."""

import pytest


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the optional packages, such as tifffile and imagecodecs."""
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda package: None)
