"""How `--help` is laid out: the examples first, then the options under headings, the most used ones first."""

from __future__ import annotations

from typing import Any

import click

HEADINGS: dict[str, tuple[str, ...]] = {
    "Kernel": ("kernels", "reference", "op", "normalize", "combine"),
    "Options": (),
    "Geometry": (
        *("padding", "boundary", "cval", "stride", "dilation"),
        *("dims", "channels", "groups", "layout", "transposed", "output_padding"),
    ),
    "Output": (
        *("output", "out", "name", "overwrite", "format", "form", "dtype", "range"),
        *("scale", "bias", "verify", "method"),
    ),
    "Picture files": ("frames", "linear", "quality", "compress_level", "strip", "allow_truncated"),
    "Other files": ("input_format", "raw_shape", "raw_dtype", "raw_order", "raw_offset"),
    "Limits": ("threads", "jobs", "timeout", "max_memory", "max_pixels"),
    "Messages": ("dry_run", "quiet", "as_json", "debug", "_click_default_help"),
}
"""The headings in order, each with its options by the name of their parameter; Options has all others."""


class Command(click.Command):
    """A command whose help has examples before options, options under headings, and defaults shown."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        extra["context_settings"] = {"show_default": True, **(extra.get("context_settings") or {})}
        super().__init__(*args, **extra)

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
                    formatter.write_dl([record for _, record in sorted(found, key=lambda row: row[0])])


def _position(name: str) -> tuple[str, int]:
    """Return the heading of an option, and its rank below it."""
    for heading, names in HEADINGS.items():
        if name in names:
            return heading, names.index(name)
    return "Options", 0
