"""`convcli completion`: the completion scripts for shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from convcli.cli import options
from convcli.cli.help import Command
from convcli.cli.types import Choice
from convcli.errors import InputError

INSTALL = {
    "bash": """add this line to ~/.bashrc: eval "$(convcli completion bash)\"""",
    "zsh": """add this line to ~/.zshrc, after compinit: eval "$(convcli completion zsh)\"""",
    "fish": "run once: convcli completion fish > ~/.config/fish/completions/convcli.fish",
    "powershell": "add this line to $PROFILE: "
    "convcli completion powershell | Out-String | Invoke-Expression",
}
VARIABLE = "_CONVCLI_COMPLETE"
"""The environment variable by which click recognises a completion request."""

EXAMPLES = """\b
Examples:
  eval "$(convcli completion bash)"
  convcli completion fish > ~/.config/fish/completions/convcli.fish
"""


@click.command("completion", cls=Command, epilog=EXAMPLES)
@click.argument("shell", type=Choice(INSTALL))
@options.stacked()
def command(shell: str, as_json: bool) -> None:
    """Print the completion script for SHELL: bash, zsh, fish or powershell.

    The first line of the script says how to install it.
    """
    from convcli.cli import main
    from convcli.cli.report.text import print_json

    found = get_completion_class(shell)
    if found is None:
        raise InputError(
            f"completion for {shell}",
            "the installed click has none",
            "run 'pip install --upgrade click'",
        )
    script = found(main, {}, "convcli", VARIABLE).source()
    if as_json:
        print_json("completion", {"shell": shell, "install": INSTALL[shell], "script": script})
    else:
        click.echo(f"# To install it, {INSTALL[shell]}\n{script}", nl=False)
