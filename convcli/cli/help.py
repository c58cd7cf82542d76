"""The layout of `--help`, and `convcli help`: examples first, then options under headings."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import complete, options
from convcli.errors import did_you_mean

HEADINGS: dict[str, tuple[str, ...]] = {
    "Kernel": ("kernels", "reference", "references", "op", "normalize", "combine"),
    "Inputs": ("recursive", "follow_links", "files_from", "null", "resume"),
    "Options": (),
    "Networks": (
        *("formula", "count", "with_bias", "batch", "versus", "as_csv", "markdown"),
        *("at", "input_for", "emit", "diagram"),
    ),
    "Geometry": (
        *("padding", "boundary", "cval", "stride", "dilation"),
        *("dims", "spacing", "channels", "groups", "layout", "transposed", "output_padding"),
    ),
    "Animation": ("crop", "channel", "frame", "fps", "width", "theme", "numbers"),
    "Output": (
        *("output", "chosen", "out", "in_place", "name", "overwrite", "format", "form", "dtype"),
        *("range", "scale", "bias", "verify", "method", "show", "plot"),
    ),
    "Zarr outputs": ("chunks", "codec", "block"),
    "Picture files": (
        *("frames", "gray", "background", "linear"),
        *("quality", "compress_level", "strip", "allow_truncated"),
    ),
    "Other files": ("input_format", "raw_shape", "raw_dtype", "raw_order", "raw_offset"),
    "Workers and limits": (
        *("threads", "jobs", "scheduler", "timeout"),
        *("max_memory", "max_pixels"),
    ),
    "Messages": (
        *("dry_run", "quiet", "verbose", "columns", "as_json", "debug"),
        *("help", "_click_default_help"),
    ),
}
"""The headings in order, each with its parameters' names; Options has all others."""


class Command(click.Command):
    """A command whose help has examples first, options under headings, and defaults shown."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        extra["context_settings"] = {"show_default": True, **(extra.get("context_settings") or {})}
        super().__init__(*args, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            takes_output = any("-o" in param.opts for param in self.params)
            if not (takes_output and error.message.startswith("Got unexpected extra argument")):
                raise
            raise click.UsageError(
                f"{error.message.rstrip('.')}; name the output with -o FILE", ctx
            ) from None

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_epilog(ctx, formatter)
        self.format_options(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[int, tuple[str, str]]]] = {heading: [] for heading in HEADINGS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                heading, rank = _position(param.name or "")
                rows[heading].append((rank, record))
        for heading, found in rows.items():
            if found:
                with formatter.section(heading):
                    formatter.write_dl(
                        [record for _, record in sorted(found, key=lambda row: row[0])]
                    )


EXAMPLES = """\b
Examples:
  convcli help
  convcli help apply
  convcli help kernels export
"""


@click.command("help", cls=Command, epilog=EXAMPLES)
@click.argument("names", metavar="[COMMAND]...", nargs=-1, shell_complete=complete.commands)
@options.stacked()
@click.pass_context
def command(context: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Show the help of a command, or of convcli itself."""
    from convcli.cli.report.text import print_json

    shown = context.find_root()
    for name in names:
        found = _subcommand(shown, name)
        shown = found.make_context(name, [], parent=shown, resilient_parsing=True)
    if as_json:
        print_json("help", {"name": " ".join(names) or None, "text": shown.get_help()})
    else:
        click.echo(shown.get_help())


def _subcommand(context: click.Context, name: str) -> click.Command:
    """Return a command of a group. Raises UsageError, with a suggestion, if there is none."""
    group = context.command
    if not isinstance(group, click.Group):
        raise click.UsageError(
            f"{context.info_name} has no commands of its own; expected '{context.info_name}' alone"
        )
    found = group.get_command(context, name)
    if found is None:
        known = group.list_commands(context)
        hint = did_you_mean(name, known) or "see 'convcli --help'"
        raise click.UsageError(f"no command {name!r}; expected one of {', '.join(known)}; {hint}")
    return found


def _position(name: str) -> tuple[str, int]:
    """Return the heading of an option, and its rank below it."""
    for heading, names in HEADINGS.items():
        if name in names:
            return heading, names.index(name)
    return "Options", 0
