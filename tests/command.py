"""The command line, called as a person calls it."""

from __future__ import annotations

from click.testing import CliRunner, Result

from convcli.cli import main


def run(*words: str, code: int = 0, stdin: bytes | None = None) -> Result:
    """What ``convcli WORDS`` answers; fails where it ends with another code than was said."""
    result = CliRunner().invoke(main, list(words), input=stdin)
    assert result.exit_code == code, result.stderr
    return result
