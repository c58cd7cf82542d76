"""What several tests stand on."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own empty folder, made the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
